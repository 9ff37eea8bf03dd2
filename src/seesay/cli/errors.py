"""`seesay errors`: files that could not be read, whole or in part, and why."""

from typing import Annotated

import typer

from seesay.cli.options import Collection, Json, PathsOnly, Zero
from seesay.cli.output import localized, say

Retry = Annotated[
    bool,
    typer.Option(
        "--retry",
        help=say(
            "Forget them: the next `seesay index` tries them again, changed or not.",
            "清除记录：下次 `seesay index` 会重新尝试，无论文件是否改变。",
        ),
    ),
]


def errors(
    retry: Retry = False,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, print_table, warn
    from seesay.cli.results import print_paths, short_path

    with opened(collection) as here:
        bad = here.errors()
        if retry:
            here.retry_errors()
    if json:
        from seesay.search.plain import to_plain

        print_json(to_plain(bad))
    elif paths or zero:
        print_paths((one.path for one in bad), zero=zero)
    elif not bad:
        print(say("every file could be read", "所有文件都能读取"))
    else:
        rows = [[short_path(one.path), localized(one.error)] for one in bad]
        heads = [say("file", "文件"), say("what is wrong, and what to do", "问题与办法")]
        print_table(heads, rows)
        if not retry:
            warn(
                say(
                    "each is tried again once it changes; to try all again: seesay errors --retry",
                    "文件改变后会自动重试；要全部重试，请运行 seesay errors --retry",
                )
            )
    if retry and bad:
        warn(
            say(
                f"forgot {len(bad)}: seesay index tries them again",
                f"已清除 {len(bad)} 条记录；下次运行 seesay index 会重新尝试",
            )
        )

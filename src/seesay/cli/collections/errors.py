"""`seesay errors`: files that could not be read, and why."""

from typing import Annotated

import typer

from seesay.cli.collections.options import Collection, PathsOnly, Zero
from seesay.cli.messages import say
from seesay.cli.options import Json

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

# What went wrong, by the stage at which it did; the library tells the rest in English.
STAGES = {
    "address": "网址不可用",
    "codec": "缺少解码库",
    "crash": "读取进程崩溃",
    "decode": "图片损坏",
    "fetch": "下载失败",
    "kind": "类型不支持",
    "memory": "内存不足",
    "read": "无法打开",
    "size": "超过上限",
    "table": "表格有误",
    "text": "不是文字",
    "time": "读取超时",
}


def errors(
    retry: Retry = False,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    json: Json = False,
) -> None:
    from seesay.cli.collections.opened import opened
    from seesay.cli.collections.shown import print_paths, shown_path
    from seesay.cli.output import print_json, print_table, warn

    with opened(collection) as here:
        bad = here.errors()
        if retry:
            here.retry_errors()
    if json:
        from seesay.search.report.plain import to_plain

        print_json(to_plain(bad))
    elif paths or zero:
        print_paths((one.path for one in bad), zero=zero)
    elif not bad:
        print(say("every file could be read", "所有文件都能读取"))
    else:
        rows = [
            [shown_path(one.path), say(one.stage, STAGES[one.stage]), one.error, one.tries]
            for one in bad
        ]
        heads = [say("file", "文件"), say("stage", "问题"), say("what is wrong", "详情（英文）")]
        print_table([*heads, say("tries", "尝试次数")], rows)
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

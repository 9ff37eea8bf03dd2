"""`seesay errors`: files that could not be read, and why."""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Collection, Json, PathsOnly, Zero
from seesay.cli.output import language, say

if TYPE_CHECKING:
    from seesay.search.catalog.files import Quarantined

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

# What went wrong, by the stage at which it did, and what to do; the library tells it in English.
STAGES = {
    "address": ("网址不可用", "信得过就自行下载"),
    "codec": ("缺少解码库", "按详情里的命令安装"),
    "crash": ("读取进程崩溃", "重新保存，或缩小"),
    "decode": ("图片损坏", "重新复制、下载，或另存为 JPEG"),
    "fetch": ("下载失败", "在浏览器里检查网址，稍后再试"),
    "kind": ("类型不支持", "换成图片，或另存为文本"),
    "memory": ("内存不足", "缩小，或放宽上限"),
    "read": ("无法打开", "检查路径、链接和权限"),
    "size": ("超过上限", "缩小，或按详情放宽上限"),
    "table": ("表格有误", "按详情改正表格"),
    "text": ("没有可读的文字", "另存为 UTF-8，或补上内容"),
    "time": ("读取超时", "缩小，或用 --seconds 放宽"),
}


def errors(
    retry: Retry = False,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, print_table, warn
    from seesay.cli.results import print_paths

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
        print_table(*_table(bad))
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


def _table(bad: "list[Quarantined]") -> tuple[list[str], list[list[str]]]:
    """Chinese readers get what to do beside what is told in English."""
    from seesay.cli.results import short_path

    if language() == "zh":
        rows = [[short_path(one.path), "：".join(STAGES[one.stage]), one.error] for one in bad]
        return ["文件", "问题与办法", "详情（英文）"], rows
    rows = [[short_path(one.path), one.stage, one.error] for one in bad]
    return ["file", "stage", "what is wrong, and what to do"], rows

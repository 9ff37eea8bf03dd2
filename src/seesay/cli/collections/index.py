"""`seesay index`: files and folders into a collection, as often as one likes."""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.collections.options import Collection, MaxFileSize, MaxPixels, Model, Seconds
from seesay.cli.messages import say
from seesay.cli.options import Device, Json

if TYPE_CHECKING:
    from seesay.search.collection import Collection as Opened
    from seesay.search.indexing.options import IndexReport

ENDING = 12  # characters of an ending that are shown
STOPPED = 130  # the exit code after Ctrl-C

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATHS",
        help=say(
            "Files and folders; without any, the folders of before are brought up to date.",
            "文件和文件夹；不写则更新以前收录过的文件夹。",
        ),
    ),
]
Recursive = Annotated[
    bool,
    typer.Option(
        "--recursive/--no-recursive",
        help=say("Look into folders below, too.", "也查看下级文件夹。"),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=say(
            "Processes that read files; by default one a processor.",
            "读取文件的进程数；默认每个处理器一个。",
        ),
    ),
]
Urls = Annotated[
    bool,
    typer.Option(
        "--urls",
        help=say(
            "Fetch web addresses that are given or that tables name.",
            "下载给出的或表格中列出的网址。",
        ),
    ),
]
KeepMissing = Annotated[
    bool,
    typer.Option(
        "--keep-missing",
        help=say("Keep what is no longer there.", "保留文件已不存在的条目。"),
    ),
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help=say(
            "Remove what is gone even where a whole folder is missing or empty.",
            "即使整个文件夹不见了或变空了，也移除其中的条目。",
        ),
    ),
]


def index(
    paths: Paths = None,
    collection: Collection = None,
    model: Model = None,
    device: Device = None,
    recursive: Recursive = True,
    workers: Workers = None,
    urls: Urls = False,
    keep_missing: KeepMissing = False,
    prune: Prune = False,
    max_pixels: MaxPixels = None,
    max_file_size: MaxFileSize = None,
    seconds: Seconds = None,
    json: Json = False,
) -> None:
    from seesay.cli.collections.limits import read_limits
    from seesay.cli.collections.opened import advise_model, started
    from seesay.cli.collections.switching import switch
    from seesay.cli.output import progress
    from seesay.search.indexing.options import IndexOptions

    limits = read_limits(max_pixels, max_file_size, seconds)
    if model is not None and not paths:
        switch(collection, model, device, limits=limits, as_json=json)
        return
    options = IndexOptions(
        recursive=recursive,
        workers=workers,
        urls=urls,
        delete_missing=not keep_missing,
        prune=prune,
        limits=limits,
    )
    with started(collection, paths or [], model=model, device=device) as here:
        with progress(say("files", "文件")) as tell:
            report = here.index(
                paths or [],
                options,
                on_progress=lambda p: tell(p.done, p.total or 0, p.failed),
            )
        _show(here, report, as_json=json)
        something = report.added or report.updated or report.unchanged
        if something and not (json or report.interrupted):
            advise_model(here, collection)
    if report.interrupted:
        say_how_to_go_on()
        raise typer.Exit(STOPPED)
    if report.failed or report.missing_roots:
        raise typer.Exit(1)


def _show(here: "Opened", report: "IndexReport", *, as_json: bool) -> None:
    from seesay.cli.output import print_json, warn

    if as_json:
        from seesay.search.report.plain import to_plain

        print_json({"collection": str(here.store.folder), **to_plain(report)})
        return
    for root in report.missing_roots:
        warn(
            say(
                f"{root} is not there; what was known of it is kept (--prune removes it)",
                f"{root} 不存在；若曾收录过，其内容予以保留（加 --prune 可移除）",
            )
        )
    for root in report.empty_roots:
        warn(
            say(
                f"{root} is empty; what is known of it was kept (--prune removes it)",
                f"{root} 是空的；其中已收录的内容予以保留（加 --prune 可移除）",
            )
        )
    print(summary(report))
    if report.found_nothing:
        warn(
            say(
                "found nothing to index; expected pictures, texts (.txt, .md) or tables "
                "(.csv, .tsv, .jsonl); name a folder that holds some",
                "没有找到可收录的文件；应为图片、文字（.txt、.md）或表格（.csv、.tsv、.jsonl）；"
                "请换一个文件夹",
            )
        )
    if report.index_problem:
        warn(
            say(
                f"no index was built, so searches compare all vectors: {report.index_problem}",
                f"没有建成索引，查找时会逐一比较全部向量：{report.index_problem}",
            )
        )


def summary(report: "IndexReport") -> str:
    """One line: indexed 9,981 · unchanged 70,012 · skipped 7 (see `seesay errors`)."""
    from seesay.cli.collections.shown import duration

    skipped = report.failed + report.skipped
    counts = [
        (say("indexed", "已收录"), report.added + report.updated, True),
        (say("moved", "已移动"), report.moved, False),
        (say("removed", "已移除"), report.removed, False),
        (say("refilled", "已补算"), report.refilled, False),
        (say("unchanged", "未变"), report.unchanged, True),
        (say("links", "链接"), report.links, False),
        (say("skipped", "跳过"), skipped, True),
    ]
    line = " · ".join(f"{name} {count:,}" for name, count, always in counts if count or always)
    if skipped:
        line += say(" (see `seesay errors`)", "（详见 `seesay errors`）")
    return f"{line}{_left_out(report)} · {duration(report.seconds)}"


def _left_out(report: "IndexReport") -> str:
    """How many files are of kinds that nothing reads, and which those are."""
    kinds = sorted(report.left_out.items(), key=lambda kind: (-kind[1], kind[0]))
    if not kinds:
        return ""
    named = [f"{_shown(ending)} {n:,}" for ending, n in kinds]
    count = sum(report.left_out.values())
    return say(
        f" · not read {count:,} ({', '.join(named)})",
        f" · 不支持 {count:,}（{'、'.join(named)}）",
    )


def _shown(ending: str) -> str:
    """What stands behind the last full stop of a name may be anything."""
    from seesay.text import printable

    told = printable(ending)
    told = told if len(told) <= ENDING else told[: ENDING - 1] + "…"
    return told or say("without ending", "无扩展名")


def say_how_to_go_on() -> None:
    """After Ctrl-C."""
    from seesay.cli.output import warn

    warn(
        say(
            "what was done is kept; resume with the same command",
            "已完成的部分已保存；再次运行同一命令即可继续",
        )
    )

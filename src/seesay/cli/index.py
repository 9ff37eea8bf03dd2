"""`seesay index`: add files and folders to a collection, or update it."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import (
    Adapter,
    Collection,
    CollectionModel,
    Device,
    Json,
    MaxFileSize,
    MaxPages,
    MaxPixels,
    Seconds,
)
from seesay.cli.output import say
from seesay.errors import ConfigError
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.search.collection import Collection as Opened
    from seesay.search.indexing.options import IndexProgress, IndexReport
    from seesay.search.reading.files import ReadLimits

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
Archives = Annotated[
    bool,
    typer.Option(
        "--archives",
        help=say(
            "Also read the pictures and documents in ZIP and TAR archives, without unpacking them.",
            "也读取 ZIP 和 TAR 压缩包里的图片和文档，无需解压。",
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
TextModel = Annotated[
    str | None,
    typer.Option(
        "--text-model",
        metavar="NAME",
        help=say(
            "Text embedder for texts and documents: a name from the catalogue, a folder, or none "
            "to use the collection's model; without paths, the whole collection switches to it. "
            "New collections: seesay-text.",
            "文字和文档所用的文字向量模型：目录里的名称或文件夹；none 表示用资料库自身的模型；"
            "不写路径则整个资料库换用它。新资料库默认为 seesay-text。",
        ),
    ),
]
Detect = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help=say(
            "Look for objects in pictures with this YOLOX file (.onnx), and annotate them.",
            "用这个 YOLOX 文件（.onnx）检测图片里的物体，并记为标注。",
        ),
    ),
]


Ocr = Annotated[
    bool,
    typer.Option(
        "--ocr",
        help=say(
            "Read the text in pictures, those indexed before included; scanned pages are always "
            "read.",
            "识别图片里的文字，包括以前收录的图片；扫描页总会识别。",
        ),
    ),
]


WordsFirst = Annotated[
    bool,
    typer.Option(
        "--words-first",
        help=say(
            "Make documents and texts findable by their words first; the next seesay index "
            "computes their vectors.",
            "先让文档和文字能按字词找到，向量留到下次 seesay index 再计算。",
        ),
    ),
]


Late = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=say(
            "Embed document pages with this late-interaction model, such as colqwen2, for search "
            "--rerank; none removes the vectors.",
            "用这个延迟交互模型（如 colqwen2）为文档页面计算向量，供 search --rerank 使用；"
            "none 表示移除。",
        ),
    ),
]


def index(
    paths: Paths = None,
    collection: Collection = None,
    model: CollectionModel = None,
    adapter: Adapter = None,
    text_model: TextModel = None,
    device: Device = None,
    recursive: Recursive = True,
    workers: Workers = None,
    urls: Urls = False,
    archives: Archives = False,
    keep_missing: KeepMissing = False,
    prune: Prune = False,
    detect: Detect = None,
    ocr: Ocr = False,
    words_first: WordsFirst = False,
    late: Late = None,
    max_pages: MaxPages = None,
    max_pixels: MaxPixels = None,
    max_file_size: MaxFileSize = None,
    seconds: Seconds = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import advise_model, embedder_name, started
    from seesay.cli.output import progress
    from seesay.search.indexing.options import IndexOptions

    model = embedder_name(model, adapter)
    limits = read_limits(max_pixels, max_file_size, seconds, max_pages)
    fills = paths or detect is not None or ocr or words_first or late is not None
    if (model is None) != (text_model is None) and not fills:
        switch(collection, (model, text_model), device, limits=limits, as_json=json)
        return
    options = IndexOptions(
        recursive=recursive,
        workers=workers,
        urls=urls,
        archives=archives,
        delete_missing=not keep_missing,
        prune=prune,
        detect=detect,
        ocr=ocr,
        words_first=words_first,
        late=late,
        limits=limits,
    )
    paths = paths or []
    with started(collection, paths, model=model, text_model=text_model, device=device) as here:
        with progress(say("files", "文件")) as tell:
            report = here.index(
                paths, options, on_progress=lambda p: tell(p.done, p.total or 0, p.failed)
            )
        _show(here, report, as_json=json)
        something = report.added or report.updated or report.unchanged
        if something and not (json or report.interrupted):
            advise_model(here, collection)
    _exit(report)


def _exit(report: "IndexReport") -> None:
    """Exit with an error unless all was indexed."""
    if report.interrupted:
        say_how_to_go_on()
        raise typer.Exit(STOPPED)
    if report.failed or report.missing_roots:
        raise typer.Exit(1)


def _show(here: "Opened", report: "IndexReport", *, as_json: bool) -> None:
    from seesay.cli.output import print_json, warn

    if as_json:
        from seesay.search.plain import to_plain

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
    if report.has_no_file:
        warn(
            say(
                "found nothing to index; expected pictures, videos, documents (.pdf, .docx and "
                "others), texts (.txt, .md) or tables (.xlsx, .csv and others); name a folder that "
                "holds some",
                "没有找到可收录的文件；应为图片、视频、文档（.pdf、.docx 等）、文字（.txt、.md）"
                "或表格（.xlsx、.csv 等）；请换一个文件夹",
            )
        )
    if problem := report.index_problem:
        warn(
            say(
                f"no index was built, so searches compare all vectors: {problem.en}",
                f"没有建成索引，查找时会逐一比较全部向量：{problem.zh}",
            )
        )


def summary(report: "IndexReport") -> str:
    """One line: indexed 9,981 · unchanged 70,012 · skipped 7 (see `seesay errors`)."""
    from seesay.cli.results import duration, size

    skipped = report.failed + report.skipped
    counts = [
        (say("indexed", "已收录"), report.added + report.updated, True),
        (say("moved", "已移动"), report.moved, False),
        (say("removed", "已移除"), report.removed, False),
        (say("searched for objects", "已检测物体"), report.detected, False),
        (say("read by OCR", "已识别文字"), report.ocr, False),
        (say("refilled", "已补算"), report.refilled, False),
        (say("unchanged", "未变"), report.unchanged, True),
        (say("links", "链接"), report.links, False),
        (say("only in part", "部分收录"), report.partial, False),
        (say("skipped", "跳过"), skipped, True),
    ]
    line = " · ".join(f"{name} {count:,}" for name, count, always in counts if count or always)
    if report.pages:
        each = size(report.page_bytes // report.pages)
        line += say(
            f" · page vectors {report.pages:,} ({each} each)",
            f" · 页面向量 {report.pages:,}（每页 {each}）",
        )
    if report.postponed:
        line += say(
            f" · vectors pending {report.postponed:,} (computed by the next `seesay index`)",
            f" · 待算向量 {report.postponed:,}（下次 `seesay index` 时计算）",
        )
    if skipped or report.partial:
        line += say(" (see `seesay errors`)", "（详见 `seesay errors`）")
    return f"{line}{_left_out(report)} · {duration(report.seconds)}"


def _left_out(report: "IndexReport") -> str:
    """How many files have types that no reader supports, and which types."""
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


_MOST = 10**15
_TIMES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BESIDE = 2**30  # bytes that a process needs besides the file and its pixels
_COPIES, _PIXEL_BYTES = 4, 8  # that are in memory at the worst moment


def read_limits(
    max_pixels: str | None,
    max_file_size: str | None,
    seconds: float | None,
    max_pages: int | None = None,
) -> "ReadLimits":
    """The limits, None for what is usual. Who allows larger files allows the memory for them.
    Raises ConfigError for what is no amount."""
    from seesay.search.reading.files import ReadLimits

    usual = ReadLimits()
    pixels = _amount(max_pixels, "--max-pixels") or usual.max_pixels
    size = _amount(max_file_size, "--max-file-size")
    largest = size or usual.max_file_bytes
    return ReadLimits(
        max_file_bytes=largest,
        max_text_bytes=size or usual.max_text_bytes,
        max_pixels=pixels,
        memory_bytes=max(
            usual.memory_bytes, _BESIDE + _PIXEL_BYTES * pixels, _BESIDE + _COPIES * largest
        ),
        max_pages=max_pages or usual.max_pages,
        seconds=usual.seconds if seconds is None else seconds,
    )


def _amount(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    amount = float(found[1]) * _TIMES[found[2]] if found else 0
    if not 1 <= amount <= _MOST:
        raise ConfigError(
            Text(
                f"{option} {text} is no amount; expected a number from 1 to 1000000G; write it as "
                "in 200M or 2G",
                f"{option} {text} 不能用；应为 1 到 1000000G 之间的数；请写成 200M 或 2G 这样",
            )
        )
    return round(amount)


def switch(
    name: str | None,
    models: tuple[str | None, str | None],
    device: str | None,
    *,
    limits: "ReadLimits",
    as_json: bool,
) -> None:
    """Embed the whole collection with this model, or its texts with this text embedder; searches
    use the former one until then."""
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, progress, warn
    from seesay.cli.results import duration

    with opened(name, device=device) as here:
        model, texts = models
        former = _embedder(here, of_texts=model is None)
        if (model or texts) != "none":
            bring(str(model or texts))
        with progress(say("files", "文件") if model else say("texts", "文字")) as tell:

            def on_progress(at: "IndexProgress") -> None:
                tell(at.done, at.total or 0, at.failed)

            if model is not None:
                report = here.switch_model(model, limits=limits, on_progress=on_progress)
            else:
                report = here.switch_text_model(str(texts), on_progress=on_progress)
        now = _embedder(here, of_texts=model is None)
        if as_json:
            from seesay.search.plain import to_plain

            print_json({"model": now, "former": former, **to_plain(report)})
        elif report.complete:
            took = duration(report.seconds)
            print(
                say(
                    f"searches use {now} now: embedded {report.embedded:,} · skipped "
                    f"{report.failed:,} · {took}",
                    f"现在使用 {now} 查找：已计算 {report.embedded:,} · 跳过 "
                    f"{report.failed:,} · {took}",
                )
            )
            if former in {space.model for space in here.store.spaces.all() if not space.active}:
                warn(
                    say(
                        f"the vectors of {former} are kept for switching back; to remove them: "
                        "seesay rebuild --forget-unused",
                        f"{former} 的向量仍保留，便于换回；移除：seesay rebuild --forget-unused",
                    )
                )
    if not report.complete:
        say_how_to_go_on()
        raise typer.Exit(STOPPED)


def _embedder(here: "Opened", *, of_texts: bool) -> str:
    """The name of the model in use, or of the one that embeds text passages."""
    name = here.text_model.name if of_texts else None
    return name or here.model.name


def bring(model: str) -> None:
    """Download a model that is not here yet, with a bar."""
    from seesay.cli.models import bytes_bar
    from seesay.weights.hub import locate

    with bytes_bar(model) as on_progress:
        locate(model, on_progress=on_progress)


Watched = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATHS",
        help=say("Folders; without any, those of before.", "文件夹；不写则为以前收录过的。"),
    ),
]


def watch(
    paths: Watched = None,
    collection: Collection = None,
    device: Device = None,
    archives: Archives = False,
    detect: Detect = None,
    ocr: Ocr = False,
    max_pages: MaxPages = None,
    max_pixels: MaxPixels = None,
    max_file_size: MaxFileSize = None,
    seconds: Seconds = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import started
    from seesay.cli.output import print_json, warn
    from seesay.search.indexing.options import IndexOptions
    from seesay.search.plain import to_plain

    limits = read_limits(max_pixels, max_file_size, seconds, max_pages)
    options = IndexOptions(archives=archives, detect=detect, ocr=ocr, limits=limits)
    with started(collection, paths or [], device=device) as here:
        warn(say("watching; Ctrl-C ends it", "正在留意变化；按 Ctrl-C 结束"))
        here.watch(
            paths or [],
            options,
            on_report=lambda report: (
                print_json(to_plain(report), compact=True)
                if json
                else print(summary(report), flush=True)
            ),
        )

"""`seesay tokens`: how many tokens files cost under each published scheme."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seesay.cli.options import Json
from seesay.cli.output import say

if TYPE_CHECKING:
    from seesay.data.file_costs import FileSize

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILES", help=say("Pictures, PDFs and videos.", "图片、PDF 和视频。")),
]
SchemeName = Annotated[
    list[str] | None,
    typer.Option(
        "--scheme",
        "-s",
        metavar="NAME",
        help=say(
            "Only this scheme, such as qwen2-vl; repeatable; default: all.",
            "只看这个方案，如 qwen2-vl；可重复使用；默认全部。",
        ),
    ),
]


def tokens(files: Files, scheme: SchemeName = None, json: Json = False) -> None:
    from seesay.cli.output import fail_unless_whole, localized, print_json, print_table
    from seesay.data.file_costs import measure_file
    from seesay.data.token_budget import SCHEMES, find_scheme
    from seesay.errors import DataError, ImageError

    names = list(dict.fromkeys(scheme)) if scheme else list(SCHEMES)
    for name in names:
        find_scheme(name)
    measured: list[tuple[str, FileSize]] = []
    failures: list[tuple[str, str]] = []
    for file in files:
        try:
            measured.append((str(file), measure_file(file)))
        except (ImageError, DataError) as error:
            failures.append((str(file), localized(error.text)))
    if json:
        shown = [_record(file, size, names) for file, size in measured]
        failed = [{"source": source, "error": error} for source, error in failures]
        print_json({"files": shown, "failures": failed})
    else:
        heads = [
            say("scheme", "方案"),
            say("tokens", "词元"),
            say("squares", "方块"),
            say("size read", "读取尺寸"),
            say("patches", "图块"),
            say("context", "上下文"),
            say("used", "占用"),
        ]
        for source, size in measured:
            print_table(heads, [_row(size, name) for name in names], _title(source, size))
    fail_unless_whole(failures, len(files), listed=json)


def _record(file: str, size: "FileSize", names: list[str]) -> dict[str, Any]:
    """Returns a file's costs; null for schemes that do not read such files."""
    costs = {}
    for name in names:
        cost, context = _cost(size, name)
        whole = None if cost is None else {**asdict(cost), "total": cost.total}
        costs[name] = whole and {**whole, "context": context, "fits": cost.fits(context)}
    return {"source": file, **asdict(size), "costs": costs}


def _row(size: "FileSize", name: str) -> list[str]:
    cost, context = _cost(size, name)
    if cost is None:
        return [name, "–", "–", "–", "–", f"{context}", say("not read", "不支持")]
    width, height = cost.input_size
    share = f"{100 * cost.total / context:.1f}%"
    read = f"{width} × {height}"
    return [name, f"{cost.total}", f"{cost.squares}", read, f"{cost.patches}", f"{context}", share]


def _cost(size: "FileSize", name: str) -> tuple[Any, int]:
    """Returns the cost and the context; None for a file the scheme refuses."""
    from seesay.data.file_costs import file_cost
    from seesay.data.token_budget import find_scheme
    from seesay.errors import ConfigError, ImageError

    context = find_scheme(name).context
    try:
        return file_cost(size, name), context
    except (ConfigError, ImageError):  # reads no videos, or the picture is too narrow
        return None, context


def _title(file: str, size: "FileSize") -> str:
    (width, height), count = size.sizes[0], len(size.sizes)
    pixels = f"{width} × {height}"
    if size.media_type == "video":
        return f"{file}: {pixels}, {size.seconds:.1f} s"
    if size.media_type == "document":
        return say(
            f"{file}: {count} pages, the first {pixels} at 150 dpi",
            f"{file}：共 {count} 页，首页按 150 dpi 为 {pixels}",
        )
    return f"{file}: {pixels}"

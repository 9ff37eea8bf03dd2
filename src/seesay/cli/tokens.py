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
    typer.Argument(
        metavar="FILES",
        help=say(
            "Pictures, PDFs, videos, or folders with pictures in them.",
            "图片、PDF、视频，或含有图片的文件夹。",
        ),
    ),
]
NOT_READ = "–"
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
    from seesay.cli.inputs import collect_images
    from seesay.cli.output import fail_unless_whole, localized, print_json
    from seesay.data.file_costs import measure_file
    from seesay.data.token_budget import SCHEMES, find_scheme
    from seesay.errors import DataError, ImageError

    names = list(dict.fromkeys(scheme)) if scheme else list(SCHEMES)
    for name in names:
        find_scheme(name)
    measured: list[tuple[str, FileSize]] = []
    found, failures = collect_images(files)
    for file in found:
        try:
            measured.append((str(file), measure_file(file)))
        except (ImageError, DataError) as error:
            failures.append((str(file), localized(error.text)))
    if json:
        shown = [_record(file, size, names) for file, size in measured]
        failed = [{"source": source, "error": error} for source, error in failures]
        print_json({"files": shown, "failures": failed})
    else:
        for source, size in measured:
            _print_costs(source, size, names)
    fail_unless_whole(failures, len(measured) + len(failures), listed=json)


def _print_costs(source: str, size: "FileSize", names: list[str]) -> None:
    from seesay.cli.output import console, print_folded, print_table

    heads = [
        (say("scheme", "方案"), 0),
        (say("tokens", "词元"), 0),
        (say("squares", "方块"), 64),
        (say("size read", "读取尺寸"), 52),
        (say("patches", "图块"), 80),
        (say("context", "上下文"), 72),
        (say("used", "占用"), 0),
    ]
    shown = [at for at, (_, least) in enumerate(heads) if console().width >= least]
    rows = [[row[at] for at in shown] for row in (_row(size, name) for name in names)]
    print_table([heads[at][0] for at in shown], rows, _title(source, size))
    if any(row[1] == NOT_READ for row in rows):
        print_folded(
            say(
                f"{NOT_READ}: this scheme reads no videos, or no picture so narrow",
                f"{NOT_READ}：该方案不支持视频，或不支持这样狭长的图片",
            )
        )


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
        return [name, *[NOT_READ] * 4, f"{context}", NOT_READ]
    width, height = cost.input_size
    share = f"{100 * cost.total / context:.1f}%"
    read = f"{width}×{height}"
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

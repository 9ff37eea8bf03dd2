"""`seesay export`: vectors and what they represent, for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from seesay.cli.options import Collection, Folder, Json, Since, Type, Until, Where
from seesay.cli.output import say

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help=say(
            "Where to: .npz, .parquet, .jsonl, or .csv (without the vectors).",
            "导出到：.npz、.parquet、.jsonl 或 .csv（不含向量）。",
        ),
    ),
]


def export(
    file: File,
    where: Where = None,
    folder: Folder = None,
    since: Since = None,
    until: Until = None,
    type: Type = None,
    collection: Collection = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, working
    from seesay.data.files import by_ending, check_folder
    from seesay.search.catalog.export import WRITERS
    from seesay.search.filtering import make_filter

    by_ending(file, WRITERS)  # report a wrong ending or folder before the work
    check_folder(file)
    filter = make_filter(
        where=where or (), folders=folder or (), since=since, until=until, media=type
    )
    with opened(collection) as here, working(say("writing", "正在写入")):
        count = here.export(file, where=filter or ())
    if json:
        print_json({"file": str(file), "units": count})
    else:
        print(say(f"{count:,} units -> {file}", f"已导出 {count:,} 条 -> {file}"))

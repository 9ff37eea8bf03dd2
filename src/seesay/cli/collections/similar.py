"""`seesay similar`: more like these files."""

from pathlib import Path
from typing import Annotated

import typer

from seesay.cli.collections.options import (
    RESULTS,
    Collection,
    Count,
    Folder,
    PathsOnly,
    Sheet,
    Type,
    Where,
    Zero,
    most_misfits,
)
from seesay.cli.messages import say
from seesay.cli.options import Device, Json

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILES",
        help=say(
            "Files of the collection, or any pictures: more like all of them together.",
            "资料库里的文件，或任意图片；给出多个则查找与它们整体相似的。",
        ),
    ),
]


def similar(
    files: Files,
    count: Count = None,
    where: Where = None,
    folder: Folder = None,
    type: Type = None,
    sheet: Sheet = None,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.collections.opened import load_model, opened
    from seesay.cli.collections.shown import check_sheet, show_results, write_sheet
    from seesay.search.filtering import make_filter

    check_sheet(sheet)
    condition = make_filter(where=where or (), folders=folder or (), kind=type)
    with opened(collection, device=device) as here:
        load_model(here)
        results = here.similar(files, condition=condition, count=count or RESULTS)
        misfits = most_misfits(count, paths=paths or zero)
        show_results(results, as_json=json, paths=paths, zero=zero, explain=False, misfits=misfits)
        if sheet is not None:
            write_sheet(here, sheet, " ".join(file.name for file in files), results)

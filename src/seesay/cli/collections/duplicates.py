"""`seesay duplicates`: files of the same content, and pictures that are nearly the same."""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.collections.options import Collection, PathsOnly, Zero
from seesay.cli.messages import say
from seesay.cli.options import Json

if TYPE_CHECKING:
    from seesay.search.query.duplicates import DuplicateGroup

Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=say(
            "Cosine from which on two pictures count as the same (0-1).",
            "余弦相似度达到此值的两张图片视为相同（0–1）。",
        ),
    ),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact", help=say("Only files of the same content.", "只找内容完全相同的文件。")
    ),
]


def duplicates(
    threshold: Threshold = None,
    exact: Exact = False,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    json: Json = False,
) -> None:
    """Bare paths leave out the first of each group: they are what could go."""
    from seesay.cli.collections.opened import opened
    from seesay.cli.collections.shown import print_paths
    from seesay.cli.output import print_json, working
    from seesay.search.report.plain import to_plain

    with opened(collection) as here, working(say("comparing", "正在比较")):
        groups = [g for g in here.duplicates(threshold=threshold) if g.kind == "exact" or not exact]
    if json:
        print_json(to_plain(groups))
    elif paths or zero:
        print_paths((path for group in groups for path in group.paths[1:]), zero=zero)
    elif not groups:
        print(say("no duplicates", "没有重复的文件"))
    else:
        _draw(groups)


def _draw(groups: "list[DuplicateGroup]") -> None:
    from seesay.cli.collections.shown import shown_path
    from seesay.cli.output import print_table

    rows = []
    for number, group in enumerate(groups, start=1):
        kind = (
            say("same content", "内容相同") if group.kind == "exact" else f"{group.similarity:.3f}"
        )
        for place, path in enumerate(group.paths):
            first = place == 0
            rows.append([str(number) if first else "", kind if first else "", shown_path(path)])
    print_table([say("group", "组"), say("alike", "相似度"), say("file", "文件")], rows)

"""`seesay verify`: check that a collection is intact."""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Collection, Json
from seesay.cli.output import localized, say

if TYPE_CHECKING:
    from seesay.search.checking.findings import Finding

Deep = Annotated[
    bool,
    typer.Option(
        "--deep",
        help=say(
            "Read every page and vector, compare the indexes with them, and try the indexes out.",
            "检查每一页和每个向量，将索引与向量比对，并试查索引。",
        ),
    ),
]
Files = Annotated[
    bool,
    typer.Option(
        "--files",
        help=say(
            "Read every file again, too, and compare it with what was indexed.",
            "另外重新读取每个文件，与收录时的内容比对。",
        ),
    ),
]


def verify(
    deep: Deep = False, files: Files = False, collection: Collection = None, json: Json = False
) -> None:
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, warn, working

    with opened(collection) as here, working(say("checking", "正在检查")):
        found = here.verify(deep=deep, files=files)
    if json:
        print_json({"problems": [_as_json(finding) for finding in found]})
    elif not found:
        print(say("all is well", "一切正常"))
    else:
        for finding in found:
            warn(localized(finding.message))
    if found:
        raise typer.Exit(1)


def _as_json(finding: "Finding") -> dict[str, object]:
    told = {"detail": str(finding.detail), "remedy": finding.remedy, "message": str(finding)}
    return {**vars(finding), **told}

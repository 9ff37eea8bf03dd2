"""`seesay duplicates`: files of the same content, and pictures that show the same."""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Collection, Json, PathsOnly, Zero
from seesay.cli.output import localized, say

if TYPE_CHECKING:
    from seesay.search.asking.duplicates import DuplicateFile, Duplicates

SIMILARITY = 0.98  # that of `likeness`, which help must not load

Threshold = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=say(
            f"Similarity from which on two pictures are copies (0-1); {SIMILARITY} by default.",
            f"两张图片的相似度达到此值视为副本（0–1）；默认 {SIMILARITY}。",
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
    """Bare paths name redundant files: each is a copy of a file that stays, and holds nothing
    that the other lacks. Both are read again before a path is printed."""
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, working
    from seesay.cli.results import print_paths
    from seesay.search.plain import to_plain

    with opened(collection) as here, working(say("comparing", "正在比较")):
        found = here.duplicates(threshold=threshold, exact=exact)
        bare = here.removable(found.groups) if (paths or zero) and not json else None
    if json:
        print_json(to_plain(found))
        return
    _warn(found)
    if bare is not None:
        _warn_of_left_out(bare.left_out)
        print_paths(bare.paths, zero=zero)
    elif not found.groups:
        print(say("no duplicates", "没有重复的文件"))
    else:
        _draw(found)


def _warn(found: "Duplicates") -> None:
    from seesay.cli.output import warn

    if found.changed:
        warn(
            say(
                f"{found.changed} files have changed or gone since they were indexed and are left "
                "out; bring the collection up to date: seesay index",
                f"有 {found.changed} 个文件在收录后已改变或消失，未列入；请先更新资料库："
                "seesay index",
            )
        )
    if found.uncompared:
        warn(
            say(
                f"{found.uncompared} pictures cannot be compared yet; prepare them: seesay index",
                f"有 {found.uncompared} 张图片还不能比较；请先运行：seesay index",
            )
        )


def _warn_of_left_out(paths: tuple[str, ...]) -> None:
    from seesay.cli.output import warn

    if paths:
        warn(
            say(
                f"{len(paths)} files are not printed, since they or the file to keep do not hold "
                f"what was indexed, the first {paths[0]}; index again: seesay index",
                f"有 {len(paths)} 个文件未打印，因为它们或要保留的文件与收录时不同，"
                f"第一个是 {paths[0]}；请重新收录：seesay index",
            )
        )


def _draw(found: "Duplicates") -> None:
    from seesay.cli.output import print_table
    from seesay.cli.results import short_path

    rows = []
    for number, group in enumerate(found.groups, start=1):
        for place, file in enumerate(group.files):
            first = place == 0
            alike = say("same content", "内容相同") if group.kind == "exact" else ""
            if group.kind == "near" and not first:
                alike = f"{file.similarity:.3f}"
            rows.append(
                [
                    str(number) if first else "",
                    alike if first or group.kind == "near" else "",
                    short_path(file.path),
                    _advice(file, first=first),
                ]
            )
    heads = [say("group", "组"), say("alike", "相似度"), say("file", "文件"), say("advice", "建议")]
    print_table(heads, rows)


def _advice(file: "DuplicateFile", *, first: bool) -> str:
    reason = localized(file.reason)
    if not file.keep:
        return say(f"may go; kept: {reason}", f"可删除；保留的那份：{reason}")
    if first:
        return say(f"keep: {reason}", f"保留：{reason}")
    return say(f"keep too: {reason}", f"也保留：{reason}")

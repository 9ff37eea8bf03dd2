"""What is wrong with a collection, said once, with what to do about it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "pages",
    "changed rows",
    "changed table",
    "orphans",
    "short vectors",
    "unsound vectors",
    "missing vectors",
    "missing captions",
    "metadata",
    "missing annotations",
    "undescribed pictures",
    "wrong descriptions",
    "keyword index",
    "missing keywords",
    "index files",
    "index rows",
    "index vectors",
    "index recall",
    "silent changes",
    "unreadable files",
]
Remedy = Literal["index", "rebuild", "restore", "look"]

_INDEX = "run `seesay index`, which computes them again"
_REBUILD = "run `seesay rebuild`, which builds it again from what is stored"
_BOTH = "run `seesay rebuild`, which takes them out, and then `seesay index`, which replaces them"

# What is wrong, what was expected, what to do.
WORDS: dict[Kind, tuple[Remedy, str]] = {
    "pages": (
        "restore",
        "{where} is damaged: {detail}. Expected what was written. Put back a copy of the folder, "
        "or index your files into a new collection.",
    ),
    "changed rows": (
        "rebuild",
        "what is stored of {count} files (the first is {where}) is not what was written: a disk "
        "may be failing. Put back a copy of the folder; or run `seesay rebuild`, which forgets "
        "these files, and then `seesay index`, which reads them again.",
    ),
    "changed table": (
        "restore",
        "rows of the table {where} are not what was written: a disk may be failing. Expected "
        "their checksum. Put back a copy of the folder, or index your files into a new collection.",
    ),
    "orphans": (
        "rebuild",
        "{count} rows of {where} belong to nothing ({detail}). Expected each to belong to a file. "
        "Run `seesay rebuild`, which takes them out.",
    ),
    "short vectors": (
        "rebuild",
        f"{{count}} vectors of {{where}} are cut short. Expected every number of each: {_BOTH}.",
    ),
    "unsound vectors": (
        "rebuild",
        "{count} vectors of {where} are not of length 1, or are no numbers (unit {detail}). "
        f"Expected unit vectors: {_BOTH}.",
    ),
    "missing vectors": (
        "index",
        "{count} pictures and texts have no vector of {where} and are not found by what they show "
        f"(unit {{detail}}). Expected one for each: {_INDEX}.",
    ),
    "missing captions": (
        "index",
        "{count} pictures have captions without a vector of {where} and are not found by the "
        f"meaning of these (unit {{detail}}). Expected one for each: {_INDEX}.",
    ),
    "metadata": (
        "rebuild",
        "{count} values of {where} are none of their type and are shown as text (unit {detail}). "
        "Expected numbers, texts, and dates between the years 1 and 9999. Run `seesay rebuild`, "
        "which takes them out.",
    ),
    "missing annotations": (
        "index",
        "{count} of the {detail} rows of the table {where} are not stored, or not with their "
        "pictures. Expected all: run `seesay index`, which reads the table again.",
    ),
    "undescribed pictures": (
        "index",
        "{count} pictures (the first is {where}) are not described by what tables say now, since "
        "a run was interrupted or still goes on. Expected all: run `seesay index`, which does it.",
    ),
    "wrong descriptions": (
        "rebuild",
        "{count} pictures (the first is {where}) lack a caption or column that a table gives them. "
        "Expected all: run `seesay rebuild`, which notes them, and then `seesay index`, which "
        "describes them again.",
    ),
    "keyword index": (
        "rebuild",
        f"the keyword index of {{where}} is damaged: {{detail}}. Expected what was written: "
        f"{_REBUILD}.",
    ),
    "missing keywords": (
        "rebuild",
        "{count} texts and captions are not in the keyword index of {where} (unit {detail}). "
        f"Expected all: {_REBUILD}.",
    ),
    "index files": (
        "rebuild",
        f"{{detail}}. Expected the index that was written; searching goes on without: {_REBUILD}.",
    ),
    "index rows": (
        "rebuild",
        "the index in {where} holds {count} vectors that are not stored, or lacks some that are "
        f"(unit {{detail}}). Expected the same ones: {_REBUILD}.",
    ),
    "index vectors": (
        "rebuild",
        "the index in {where} holds {count} vectors that differ from the stored ones (unit "
        f"{{detail}}). Expected the same: {_REBUILD}.",
    ),
    "index recall": (
        "rebuild",
        "the index in {where} finds {detail} of the 10 nearest of {count} vectors looked for. "
        f"Expected nearly all: {_REBUILD}.",
    ),
    "silent changes": (
        "look",
        "{count} files hold something else than was indexed, though size and time are the same "
        "(the first is {where}). Expected the same content: a disk may be failing. Put back a "
        "copy; or if you changed them, `touch` them and run `seesay index`.",
    ),
    "unreadable files": (
        "look",
        "{count} files are there and cannot be read (the first is {where}: {detail}). Expected to "
        "read them. Check the disk and their rights.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it was written. `str` says it in words."""

    kind: Kind
    where: str
    """The file, folder, table or model that it is about."""
    count: int = 1
    detail: str = ""
    """The first example, or what the library said."""

    @property
    def remedy(self) -> Remedy:
        """Which command mends it; "restore" and "look" are for people to do."""
        return WORDS[self.kind][0]

    def __str__(self) -> str:
        return WORDS[self.kind][1].format(**vars(self))

"""Files of the same content, and pictures that show the same: which to keep, and which may go.

A group is made around the file to keep. What may go is a copy of a file that stays: of the same
content, or compared with it and alike. So no chain of likenesses leads to a file that is not.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from seesay.errors import ConfigError
from seesay.search.asking.keeping import CopyFile, copy_files, loss, sort_key, why_before
from seesay.search.asking.likeness import (
    IDENTICAL,
    THRESHOLD,
    Likeness,
    ThumbnailOf,
    candidates,
    likenesses,
)
from seesay.search.asking.results import Note
from seesay.search.catalog.files import Item
from seesay.search.catalog.store import Store
from seesay.search.reading.files import RefusedError, read_file, size_and_time

_OTHER_NAMES = Note(en="other names of the same file", zh="同一文件还有其他名称")


@dataclass(frozen=True, kw_only=True)
class DuplicateFile:
    """A file of a group."""

    item: int
    path: str
    size: int
    """Bytes."""
    width: int
    height: int
    """Pixels; 0 for a text."""
    keep: bool
    """False for a file that may go: nothing is lost with it."""
    copy_of: str | None
    """Of a file that may go: the path of the one to keep in its place."""
    similarity: float
    """With that file, or of one to keep with the first of the group; 1 for the same content."""
    reason: Note
    """What the file to keep has before this one; of one to keep, what it has before the others."""
    other_names: tuple[str, ...]
    """Paths in the collection that are names of the same file."""


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Files that are copies of each other, the best first."""

    kind: Literal["exact", "near"]
    """"exact" where all have the same content."""
    similarity: float
    """The smallest of the files."""
    files: tuple[DuplicateFile, ...]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What is in a collection more than once. No file is in two groups."""

    total: int
    """How many groups there are."""
    groups: tuple[DuplicateGroup, ...]
    """Those of the same content first."""
    changed: int
    """Files left out, since they have changed or gone since they were indexed."""
    uncompared: int
    """Pictures not compared yet, since an older version indexed them: the next `index` prepares
    them."""

    def page(self, offset: int, count: int) -> "Duplicates":
        """The same with some of the groups."""
        return replace(self, groups=self.groups[offset : offset + count])


@dataclass(frozen=True, kw_only=True)
class Removable:
    """The files that may go, read a moment ago."""

    paths: tuple[str, ...]
    left_out: tuple[str, ...]
    """Files that may not, since they or the file to keep have changed."""


Near = Mapping[str, Mapping[str, Likeness]]
"""By content, what is alike."""


def duplicates(
    store: Store, thumbnail: ThumbnailOf, *, threshold: float = THRESHOLD, exact: bool = False
) -> Duplicates:
    """Files of the same content and, unless `exact`, pictures that are at least so similar.

    Raises ConfigError for a threshold that is not above 0 and at most 1."""
    if not 0 < threshold <= 1:
        raise ConfigError(
            f"the threshold is {threshold:g}; expected a similarity above 0 and up to 1; "
            f"{THRESHOLD} finds pictures that were made smaller or saved again"
        )
    near = {} if exact else _near(store, thumbnail, threshold)
    items = store.items.by_hash({*store.items.repeated_contents(), *near})
    files, changed = _files(store, items)
    groups = sorted(_groups(files, near), key=lambda group: group.kind != "exact")
    return Duplicates(
        total=len(groups),
        groups=tuple(groups),
        changed=changed,
        uncompared=0 if exact else len(store.fingerprints.missing()),
    )


def removable(store: Store, groups: Iterable[DuplicateGroup]) -> Removable:
    """The files of these groups that may go. They and the files to keep are read once more: what
    was replaced by a link, changed, damaged or removed since is left out."""
    paths, left_out = list[str](), list[str]()
    for group in groups:
        items = {item.path: item for item in store.items.get(file.item for file in group.files)}
        read: dict[str, os.stat_result | None] = {}
        for file in group.files:
            if file.copy_of is None:
                continue
            for path in {file.copy_of, file.path} - read.keys():
                read[path] = _read_again(items[path]) if path in items else None
            kept, copy = read[file.copy_of], read[file.path]
            safe = kept and copy and not os.path.samestat(kept, copy)
            (paths if safe else left_out).append(file.path)
    return Removable(paths=tuple(paths), left_out=tuple(left_out))


def _near(store: Store, thumbnail: ThumbnailOf, threshold: float) -> Near:
    known = store.fingerprints.of_contents()
    pairs = [(int(known.units[a]), int(known.units[b])) for a, b in candidates(known.pixels)]
    contents = dict(zip(known.units.tolist(), known.contents, strict=True))
    near: dict[str, dict[str, Likeness]] = {}
    for (a, b), likeness in likenesses(store, thumbnail, pairs, threshold).items():
        one, other = contents[a], contents[b]
        near.setdefault(one, {})[other] = near.setdefault(other, {})[one] = likeness
    return near


def _files(store: Store, items: Sequence[Item]) -> tuple[list[CopyFile], int]:
    """The files among these that are as they were indexed, each once, and how many are not.

    A table is none of them, since its paths are meant from its own folder, nor is an address; a
    link is only another name."""
    files: dict[int, list[CopyFile]] = {}
    links: dict[int, list[str]] = {}
    changed = 0
    for file in copy_files(store, [item for item in items if item.kind != "table"]):
        path = file.item.path
        if "://" in path:
            continue
        is_link = os.path.islink(path)
        facts = _unchanged(file.item, follow=is_link)
        if facts is None:
            changed += not is_link
            continue
        # Of one content, the number alone: a disk that is mounted twice may be two devices.
        key = hash((facts.st_ino or os.path.realpath(path), file.item.content_hash))
        if is_link:
            links.setdefault(key, []).append(path)
        else:
            files.setdefault(key, []).append(file)
    found = []
    for key, names in files.items():
        first, *others = sorted(names, key=sort_key)
        known = (*(file.item.path for file in others), *links.get(key, ()))
        found.append(replace(first, other_names=known))
    return found, changed


def _unchanged(item: Item, *, follow: bool = False) -> os.stat_result | None:
    """What the system says of a file that has the size and time that it was indexed with."""
    try:
        facts = os.stat(item.path, follow_symlinks=follow)
    except (OSError, ValueError):
        return None
    same = size_and_time(facts) == (item.size, item.mtime_ns)
    return facts if same and stat.S_ISREG(facts.st_mode) else None


def _read_again(item: Item) -> os.stat_result | None:
    """The same for one that holds every byte that was indexed, too."""
    facts = _unchanged(item)
    try:
        whole = facts and read_file(item.path, item.size).content_hash == item.content_hash
    except RefusedError:
        return None
    return facts if whole else None


def _groups(files: Sequence[CopyFile], near: Near) -> Iterator[DuplicateGroup]:
    """Around the best file of all, then around the best that is left, until none has a copy."""
    by_content: dict[str, list[CopyFile]] = {}
    for file in sorted(files, key=sort_key):
        by_content.setdefault(file.item.content_hash, []).append(file)
    taken: set[str] = set()
    for content in by_content:  # in the order of their best files
        if content in taken:
            continue
        others = [c for c in near.get(content, ()) if c in by_content and c not in taken]
        members = [file for c in (content, *others) for file in by_content[c]]
        if len(members) > 1:
            taken.update((content, *others))
            yield _group(sorted(members, key=sort_key), near)


def _group(members: Sequence[CopyFile], near: Near) -> DuplicateGroup:
    kept: list[CopyFile] = []
    files = []
    for file in members:
        told = _described(file, kept, members, near)
        files.append(told)
        if told.keep:
            kept.append(file)
    contents = {file.item.content_hash for file in members}
    return DuplicateGroup(
        kind="exact" if len(contents) == 1 else "near",
        similarity=min(file.similarity for file in files),
        files=tuple(files),
    )


def _described(
    file: CopyFile, kept: Sequence[CopyFile], members: Sequence[CopyFile], near: Near
) -> DuplicateFile:
    """A file may go if one of those to keep is alike and lacks nothing of it."""
    alike = [(one, likeness) for one in kept if (likeness := _likeness(one, file, near))]
    if not alike:
        return _told(file, IDENTICAL, why_before(file, members[1]))
    losses = []
    for one, likeness in alike:
        lost = _OTHER_NAMES if file.other_names else loss(one, file, likeness)
        if lost is None:
            return _told(file, likeness, why_before(one, file), copy_of=one.item.path)
        losses.append(lost)
    return _told(file, alike[0][1], losses[0])


def _told(
    file: CopyFile, likeness: Likeness, reason: Note, copy_of: str | None = None
) -> DuplicateFile:
    return DuplicateFile(
        item=file.item.id,
        path=file.item.path,
        size=file.item.size,
        width=file.width,
        height=file.height,
        keep=copy_of is None,
        copy_of=copy_of,
        similarity=likeness.similarity,
        reason=reason,
        other_names=file.other_names,
    )


def _likeness(one: CopyFile, other: CopyFile, near: Near) -> Likeness | None:
    if one.item.content_hash == other.item.content_hash:
        return IDENTICAL
    return near.get(one.item.content_hash, {}).get(other.item.content_hash)

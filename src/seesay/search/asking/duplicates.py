"""Files with the same content, and pictures that show the same thing: which to keep or delete.

A group forms around the file to keep. A file may go only if it is a copy of a file that stays: with
the same content, or found alike when compared with it. So no chain of similar pictures reaches one
that differs.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from seesay.data.archives import archive_of
from seesay.data.decoding import open_header
from seesay.data.files import open_file
from seesay.errors import ConfigError
from seesay.search.asking.likeness import (
    IDENTICAL,
    THRESHOLD,
    Likeness,
    ThumbnailOf,
    candidates,
    likenesses,
    own_metadata,
)
from seesay.search.asking.tags import TAG_KEY
from seesay.search.catalog.files import File
from seesay.search.catalog.metadata import Metadata
from seesay.search.catalog.store import Store
from seesay.search.reading.files import RefusedError, hash_file, size_and_time
from seesay.text import Text

_OTHER_NAMES = Text(en="other names of the same file", zh="同一文件还有其他名称")


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
    """False for a file that may be deleted without losing anything."""
    copy_of: str | None
    """For a file that may go: the path of the file kept in its place."""
    similarity: float
    """Similarity to that file, or for a file to keep, to the first of the group; 1 for the same
    content."""
    reason: Text
    """Why the kept file is better than this one; for a file to keep, why it is better than the
    others."""
    other_names: tuple[str, ...]
    """Other paths of the same file in the collection."""


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Files that are copies of each other, best first."""

    kind: Literal["exact", "near"]
    """"exact" if all have the same content."""
    similarity: float
    """The lowest similarity of the files."""
    files: tuple[DuplicateFile, ...]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Everything that is in a collection more than once. No file is in two groups."""

    total: int
    """How many groups there are."""
    groups: tuple[DuplicateGroup, ...]
    """Groups with the same content come first."""
    changed: int
    """Number of files left out because they changed or disappeared after indexing."""
    uncompared: int
    """Number of pictures not compared yet, because an older version indexed them; the next `index`
    prepares them."""

    def page(self, offset: int, count: int) -> "Duplicates":
        """Returns a copy with only these groups."""
        return replace(self, groups=self.groups[offset : offset + count])


@dataclass(frozen=True, kw_only=True)
class Removable:
    """The files that may be deleted, checked just now."""

    paths: tuple[str, ...]
    left_out: tuple[str, ...]
    """Files that may not be deleted, because they or the file to keep changed."""


_CAMERA_KEYS = frozenset(("camera", "date", "latitude"))
_LOSSLESS = 3
_FORMATS = {
    **dict.fromkeys((".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".tga"), _LOSSLESS),
    **dict.fromkeys((".heic", ".heif"), 2),  # phones write these; JPEGs are made from them
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jp2"), 1),
}
"""Rank of file endings: higher is nearer to the original; 0 for WebP and other web formats."""
_MORE_BYTES = 1.2  # times the other file's bytes: less may just be metadata

_COPY_MARKS = re.compile(
    r"""^(?:copy|kopie|copie|copia)(?:\ \(\d+\))?\ (?:of|von|de|di)\ |^(?:副本|复件|复制|拷贝)
    |[\ _.-](?:copy|kopie|copie|copia)[\ _]?[(]?\d{0,3}[)]?$
    |(?:副本|复件|复制|拷贝)[\ _]?[(（]?\d{0,3}[)）]?$
    |[(（]\d{1,3}[)）]$""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class CopyFile:
    """A file that has copies, or is a copy."""

    item: File
    other_names: tuple[str, ...] = ()
    """Other paths of the same file in the collection."""
    annotated: bool = False
    """Whether it has a caption, tags or other annotations."""
    width: int = 0
    height: int = 0
    camera_data: frozenset[str] = frozenset()
    """Which of camera, time and place its EXIF tells."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def format(self) -> int:
        """How near to the original files with this ending are; see _FORMATS."""
        return _FORMATS.get(self.ending, 0)

    @property
    def ending(self) -> str:
        return os.path.splitext(self.item.path)[1].lower()

    @cached_property
    def frames(self) -> int:
        """Number of pages, or frames of an animation."""
        try:
            with open_file(self.item.path) as stream:
                return int(getattr(open_header(stream, self.item.path), "n_frames", 1))
        except Exception:  # libraries may raise anything on a damaged file
            return 1


Near = Mapping[str, Mapping[str, Likeness]]
"""For each content, the contents that are alike."""


def duplicates(
    store: Store, thumbnail: ThumbnailOf, *, threshold: float = THRESHOLD, exact: bool = False
) -> Duplicates:
    """Find files with the same content and, unless `exact`, pictures at least this similar.

    Raises ConfigError for a threshold that is not above 0 and at most 1."""
    if not 0 < threshold <= 1:
        raise ConfigError(
            Text(
                f"the threshold is {threshold:g}; expected a similarity above 0 and up to 1; "
                f"{THRESHOLD} finds pictures that were made smaller or saved again",
                f"阈值为 {threshold:g}；应为大于 0、不超过 1 的相似度；"
                f"{THRESHOLD} 可找出缩小过或重新保存过的图片",
            )
        )
    near = {} if exact else _near(store, thumbnail, threshold)
    items = store.files.by_hash({*store.files.repeated_contents(), *near})
    files, changed = _files(store, items)
    groups = sorted(_groups(files, near), key=lambda group: group.kind != "exact")
    return Duplicates(
        total=len(groups),
        groups=tuple(groups),
        changed=changed,
        uncompared=0 if exact else len(store.fingerprints.missing()),
    )


def removable(store: Store, groups: Iterable[DuplicateGroup]) -> Removable:
    """Returns the files of these groups that may be deleted. Reads them and the files to keep
    again, and leaves out files that were replaced by a link, changed, damaged or removed since."""
    paths, left_out = list[str](), list[str]()
    for group in groups:
        items = {item.path: item for item in store.files.get(file.item for file in group.files)}
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
    pairs = [(int(known.passages[a]), int(known.passages[b])) for a, b in candidates(known.pixels)]
    contents = dict(zip(known.passages.tolist(), known.contents, strict=True))
    near: dict[str, dict[str, Likeness]] = {}
    for (a, b), likeness in likenesses(store, thumbnail, pairs, threshold).items():
        one, other = contents[a], contents[b]
        near.setdefault(one, {})[other] = near.setdefault(other, {})[one] = likeness
    return near


def _files(store: Store, items: Sequence[File]) -> tuple[list[CopyFile], int]:
    """Returns the files that are unchanged since indexing, each once, and the number of the others.

    Leaves out tables, whose paths are relative to their own folder, addresses, and files in
    archives, which cannot be deleted alone; a link is only another name."""
    files: dict[int, list[CopyFile]] = {}
    links: dict[int, list[str]] = {}
    changed = 0
    for file in copy_files(store, [item for item in items if item.media_type != "table"]):
        path = file.item.path
        if "://" in path or archive_of(path):
            continue
        is_link = os.path.islink(path)
        facts = _unchanged(file.item, follow=is_link)
        if facts is None:
            changed += not is_link
            continue
        # Among files of one content compare only the inode: a disk mounted twice may be two
        # devices.
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


def _unchanged(item: File, *, follow: bool = False) -> os.stat_result | None:
    """Returns the file's status if its size and time are those it was indexed with."""
    try:
        facts = os.stat(item.path, follow_symlinks=follow)
    except (OSError, ValueError):
        return None
    same = size_and_time(facts) == (item.size, item.mtime_ns)
    return facts if same and stat.S_ISREG(facts.st_mode) else None


def _read_again(item: File) -> os.stat_result | None:
    """Returns the same if, in addition, every byte is as indexed."""
    facts = _unchanged(item)
    try:
        whole = facts and hash_file(item.path, item.size).content_hash == item.content_hash
    except RefusedError:
        return None
    return facts if whole else None


def _groups(files: Sequence[CopyFile], near: Near) -> Iterator[DuplicateGroup]:
    """Form a group around the best file, then around the best of the rest, until none has a
    copy."""
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
        judged = _judged(file, kept, members, near)
        files.append(judged)
        if judged.keep:
            kept.append(file)
    contents = {file.item.content_hash for file in members}
    return DuplicateGroup(
        kind="exact" if len(contents) == 1 else "near",
        similarity=min(file.similarity for file in files),
        files=tuple(files),
    )


def _judged(
    file: CopyFile, kept: Sequence[CopyFile], members: Sequence[CopyFile], near: Near
) -> DuplicateFile:
    """Mark a file as deletable if a file to keep is alike and lacks nothing that it has."""
    alike = [(one, likeness) for one in kept if (likeness := _likeness(one, file, near))]
    if not alike:
        return _listed(file, IDENTICAL, why_before(file, members[1]))
    losses = []
    for one, likeness in alike:
        lost = _OTHER_NAMES if file.other_names else loss(one, file, likeness)
        if lost is None:
            return _listed(file, likeness, why_before(one, file), copy_of=one.item.path)
        losses.append(lost)
    return _listed(file, alike[0][1], losses[0])


def _listed(
    file: CopyFile, likeness: Likeness, reason: Text, copy_of: str | None = None
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


def copy_files(store: Store, items: Sequence[File]) -> list[CopyFile]:
    """Collect the facts that the order of files depends on, as far as the collection knows them."""
    pictures = [item.id for item in items if item.media_type == "image"]
    units = {u.file: u for u in store.passages.of_files(pictures) if u.media_type == "image"}
    numbers = [unit.id for unit in units.values()]
    known, own = store.metadata.get(numbers), own_metadata(store, numbers)
    annotated = store.annotations.own(numbers)
    files = []
    for item in items:
        if (unit := units.get(item.id)) is None:
            files.append(CopyFile(item=item))
            continue
        facts = own[unit.id]
        tagged = unit.id in annotated or TAG_KEY in known[unit.id]
        files.append(
            CopyFile(
                item=item,
                annotated=tagged or bool((unit.text or "").strip()),
                width=_number(facts, "width"),
                height=_number(facts, "height"),
                camera_data=_CAMERA_KEYS.intersection(facts),
            )
        )
    return files


def sort_key(file: CopyFile) -> tuple[Any, ...]:
    """Sorts the file to keep first."""
    return tuple(key(file) for key, _ in _ORDER)


def why_before(kept: CopyFile, other: CopyFile) -> Text:
    """Returns why the first file is better than the other."""
    return next(note(kept) for key, note in _ORDER if key(kept) != key(other))


def loss(kept: CopyFile, other: CopyFile, likeness: Likeness) -> Text | None:
    """Returns what would be lost without `other`, although `kept` is better; None if nothing."""
    if likeness is IDENTICAL:
        return None
    if other.pixels > kept.pixels:
        return _pixels(other)
    if other.camera_data - kept.camera_data:
        return _CAMERA
    if not likeness.same_colours:
        return Text(en="other colours", zh="颜色不同")
    if other.pixels == kept.pixels and (better := _better_kept(kept, other)):
        return better
    if other.frames > kept.frames:
        return Text(en=f"{other.frames} pages or frames", zh=f"有 {other.frames} 页或帧")
    return None


def _better_kept(kept: CopyFile, other: CopyFile) -> Text | None:
    """Returns what the format of `other`, at the same number of pixels, preserves and that of
    `kept` may not. Nobody can tell which of the two was made from the other: the original may be
    the older one, or the one with more bytes. If these disagree, neither may go."""
    if other.format > kept.format:
        return _format(other)
    comparable = other.ending == kept.ending or other.format == kept.format != _LOSSLESS
    if comparable and other.item.size > _MORE_BYTES * kept.item.size:
        return Text(en="more bytes for as many pixels", zh="像素相同而文件更大")
    return None


def has_copy_mark(path: str) -> bool:
    """Whether a file name marks a copy: "copy of x.jpg", "x (1).jpg", "x - 副本.jpg"."""
    return _COPY_MARKS.search(os.path.splitext(os.path.basename(path))[0]) is not None


def _number(metadata: Metadata, key: str) -> int:
    value = metadata.get(key)
    return int(value) if isinstance(value, int | float) else 0


def _pixels(file: CopyFile) -> Text:
    size = f"{file.width} x {file.height}"
    return Text(en=f"more pixels ({size})", zh=f"像素更多（{size}）")


def _format(file: CopyFile) -> Text:
    if file.format == _LOSSLESS:
        return Text(en="a lossless format", zh="无损格式")
    return Text(en="a format nearer to the original", zh="格式更接近原件")


_CAMERA = Text(en="camera data", zh="有相机信息")

# Each with the words for the file that comes first. The path always differs.
_ORDER: tuple[tuple[Callable[[CopyFile], Any], Callable[[CopyFile], Text]], ...] = (
    (
        lambda file: not file.annotated,
        lambda _: Text(en="a caption or tags", zh="有说明或标签"),
    ),
    (lambda file: -file.pixels, _pixels),
    (lambda file: not file.camera_data, lambda _: _CAMERA),
    (lambda file: -file.format, _format),
    (lambda file: file.item.mtime_ns, lambda _: Text(en="older", zh="更早")),
    (
        lambda file: has_copy_mark(file.item.path),
        lambda _: Text(en="a name without a copy mark", zh="名称没有副本标记"),
    ),
    (lambda file: file.item.path, lambda _: Text(en="the first path", zh="路径排在前面")),
)

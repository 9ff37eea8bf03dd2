"""Which of several files of one picture to keep, and what would be lost with another."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from seesay.data.decoding import open_header
from seesay.data.files import open_file
from seesay.search.asking.likeness import IDENTICAL, Likeness, own_metadata
from seesay.search.asking.results import Note
from seesay.search.asking.tags import TAG_KEY
from seesay.search.catalog.files import Item
from seesay.search.catalog.metadata import Metadata
from seesay.search.catalog.store import Store

_CAMERA_KEYS = frozenset(("camera", "date", "latitude"))
_LOSSLESS = 3
_FORMATS = {
    **dict.fromkeys((".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".tga"), _LOSSLESS),
    **dict.fromkeys((".heic", ".heif"), 2),  # as phones write them; JPEG is made of them
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".jp2"), 1),
}
"""Endings, the nearer to the original the higher; 0 for WebP and what else is made for the web."""
_MORE_BYTES = 1.2  # times those of the other file: what is less may be metadata

_COPY_MARKS = re.compile(
    r"""^(?:copy|kopie|copie|copia)(?:\ \(\d+\))?\ (?:of|von|de|di)\ |^(?:副本|复件|复制|拷贝)
    |[\ _.-](?:copy|kopie|copie|copia)[\ _]?[(]?\d{0,3}[)]?$
    |(?:副本|复件|复制|拷贝)[\ _]?[(（]?\d{0,3}[)）]?$
    |[(（]\d{1,3}[)）]$""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class CopyFile:
    """A file that others are copies of, or the other way round."""

    item: Item
    other_names: tuple[str, ...] = ()
    """Paths in the collection that are names of the same file."""
    annotated: bool = False
    """Whether it has a caption, tags, or anything else that a table says."""
    width: int = 0
    height: int = 0
    camera_data: frozenset[str] = frozenset()
    """What its EXIF says of camera, time and place."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def format(self) -> int:
        """How near to the original files of this ending are; see _FORMATS."""
        return _FORMATS.get(self.ending, 0)

    @property
    def ending(self) -> str:
        return os.path.splitext(self.item.path)[1].lower()

    @cached_property
    def frames(self) -> int:
        """Pages, or pictures of an animation."""
        try:
            with open_file(self.item.path) as stream:
                return int(getattr(open_header(stream, self.item.path), "n_frames", 1))
        except Exception:  # whatever a damaged file makes a library do
            return 1


def copy_files(store: Store, items: Sequence[Item]) -> list[CopyFile]:
    """What the order of files depends on, as far as the collection knows it."""
    pictures = [item.id for item in items if item.kind == "image"]
    units = {u.item: u for u in store.units.of_items(pictures) if u.kind == "image"}
    numbers = [unit.id for unit in units.values()]
    known, own = store.units.metadata(numbers), own_metadata(store, numbers)
    annotated = store.annotations.own(numbers)
    files = []
    for item in items:
        if (unit := units.get(item.id)) is None:
            files.append(CopyFile(item=item))
            continue
        facts = own[unit.id]
        told = unit.id in annotated or TAG_KEY in known[unit.id]
        files.append(
            CopyFile(
                item=item,
                annotated=told or bool((unit.text or "").strip()),
                width=_number(facts, "width"),
                height=_number(facts, "height"),
                camera_data=_CAMERA_KEYS.intersection(facts),
            )
        )
    return files


def sort_key(file: CopyFile) -> tuple[Any, ...]:
    """Files in this order have the one to keep first."""
    return tuple(key(file) for key, _ in _ORDER)


def why_before(kept: CopyFile, other: CopyFile) -> Note:
    """What the file that comes first has before another."""
    return next(note(kept) for key, note in _ORDER if key(kept) != key(other))


def loss(kept: CopyFile, other: CopyFile, likeness: Likeness) -> Note | None:
    """What would be gone without `other`, though `kept` comes before it; None for nothing."""
    if likeness is IDENTICAL:
        return None
    if other.pixels > kept.pixels:
        return _pixels(other)
    if other.camera_data - kept.camera_data:
        return _CAMERA
    if not likeness.same_colours:
        return Note(en="other colours", zh="颜色不同")
    if other.pixels == kept.pixels and (better := _better_kept(kept, other)):
        return better
    if other.frames > kept.frames:
        return Note(en=f"{other.frames} pages or frames", zh=f"有 {other.frames} 页或帧")
    return None


def _better_kept(kept: CopyFile, other: CopyFile) -> Note | None:
    """What the format of `other`, of as many pixels, keeps of the picture and that of `kept` may
    not. Which of two was made from the other nobody can tell: it may be the older one, or the one
    of more bytes. Where these disagree, neither may go."""
    if other.format > kept.format:
        return _format(other)
    comparable = other.ending == kept.ending or other.format == kept.format != _LOSSLESS
    if comparable and other.item.size > _MORE_BYTES * kept.item.size:
        return Note(en="more bytes for as many pixels", zh="像素相同而文件更大")
    return None


def has_copy_mark(path: str) -> bool:
    """Whether a name says that the file is a copy: "copy of x.jpg", "x (1).jpg", "x - 副本.jpg"."""
    return _COPY_MARKS.search(os.path.splitext(os.path.basename(path))[0]) is not None


def _number(metadata: Metadata, key: str) -> int:
    value = metadata.get(key)
    return int(value) if isinstance(value, int | float) else 0


def _pixels(file: CopyFile) -> Note:
    size = f"{file.width} x {file.height}"
    return Note(en=f"more pixels ({size})", zh=f"像素更多（{size}）")


def _format(file: CopyFile) -> Note:
    if file.format == _LOSSLESS:
        return Note(en="a lossless format", zh="无损格式")
    return Note(en="a format nearer to the original", zh="格式更接近原件")


_CAMERA = Note(en="camera data", zh="有相机信息")

# Each with how it is said of the file that comes first. The path is different in any case.
_ORDER: tuple[tuple[Callable[[CopyFile], Any], Callable[[CopyFile], Note]], ...] = (
    (
        lambda file: not file.annotated,
        lambda _: Note(en="a caption or tags", zh="有说明或标签"),
    ),
    (lambda file: -file.pixels, _pixels),
    (lambda file: not file.camera_data, lambda _: _CAMERA),
    (lambda file: -file.format, _format),
    (lambda file: file.item.mtime_ns, lambda _: Note(en="older", zh="更早")),
    (
        lambda file: has_copy_mark(file.item.path),
        lambda _: Note(en="a name without a copy mark", zh="名称没有副本标记"),
    ),
    (lambda file: file.item.path, lambda _: Note(en="the first path", zh="路径排在前面")),
)

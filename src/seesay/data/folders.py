"""Find the pictures that a person means who names files and folders."""

import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from PIL import Image

from seesay.data.decoding import SUFFIXES
from seesay.data.images import TensorLike

One = TypeVar("One")


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    files: tuple[Path, ...]
    """Each file once: in the order the paths came, sorted by name within a folder. Paths that do
    not exist are among them, so that reading them tells what is wrong, as for any other file."""
    empty: tuple[Path, ...]
    """Folders without a picture, below them too."""


def several(given: Iterable[One] | str | Path) -> list[One]:
    """A list, also of one text or path that is given without a list around it."""
    one = isinstance(given, str | Path)
    return [given] if one else list(given)  # type: ignore[list-item, arg-type]


def several_images(given: object) -> Iterable[object]:
    """Pictures one after the other: one may be given without a list around it, and a folder stands
    for the pictures below it. A folder without any stays, so that reading it tells what is wrong.
    """
    if isinstance(given, np.ndarray | TensorLike):
        return cast(Iterable[object], given) if given.ndim >= 4 else [given]
    if isinstance(given, str | Path | bytes | Image.Image):
        given = [given]
    assert isinstance(given, Iterable)
    return list(_expanded(given)) if isinstance(given, Sized) else _expanded(given)


def _expanded(images: Iterable[object]) -> Iterator[object]:
    for image in images:
        inside: Sequence[object] = ()
        if isinstance(image, str | Path) and os.path.isdir(image):
            inside = list_images(Path(image))
        yield from inside or [image]


def find_images(paths: Iterable[Path]) -> PictureFiles:
    """Walk the folders, leaving out what is hidden and not following links to other folders."""
    files: dict[Path, None] = {}
    empty = []
    for path in paths:
        inside = list_images(path) if path.is_dir() else [path]
        files.update(dict.fromkeys(inside))
        if not inside:
            empty.append(path)
    return PictureFiles(files=tuple(files), empty=tuple(empty))


def list_images(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted, by file ending in any case."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if _is_picture(name)]
    return sorted(found)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES

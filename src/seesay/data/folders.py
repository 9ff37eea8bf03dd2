"""Find the pictures that a person means who names files and folders."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# What counts as a picture inside a folder. A file that is named outright is always tried.
SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff"),
        *("heic", "heif", "avif", "jp2", "ppm", "pgm", "tga", "ico"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Found:
    files: tuple[Path, ...]
    """Each file once: in the order the paths came, sorted by name within a folder. Paths that do
    not exist are among them, so that reading them tells what is wrong, as for any other file."""
    empty: tuple[Path, ...]
    """Folders without a picture, below them too."""


def find_images(paths: Iterable[Path]) -> Found:
    """Walk the folders, leaving out what is hidden and not following links to other folders."""
    files: dict[Path, None] = {}
    empty = []
    for path in paths:
        inside = list_images(path) if path.is_dir() else [path]
        files.update(dict.fromkeys(inside))
        if not inside:
            empty.append(path)
    return Found(files=tuple(files), empty=tuple(empty))


def list_images(folder: Path) -> list[Path]:
    """Every picture below a folder, sorted, by file ending in any case."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if _is_picture(name)]
    return sorted(found)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES

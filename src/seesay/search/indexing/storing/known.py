"""What the collection knows of files and contents."""

import errno
import os
import stat
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float

from seesay.search.catalog.files import Item
from seesay.search.catalog.store import Store
from seesay.search.reading.files import size_and_time
from seesay.search.reading.messages import Outcome

ROOTS = "roots"  # the setting that lists every folder ever indexed

Vectors = Float[np.ndarray, "units embed"]


def vectors_of_contents(store: Store, space: int, hashes: Iterable[str]) -> Mapping[str, Vectors]:
    """For each content all of whose units have a vector: these, in order."""
    first: dict[str, Item] = {}
    for item in store.items.by_hash(set(hashes)):
        if item.kind != "table":
            first.setdefault(item.content_hash, item)
    if not first:
        return {}  # as for nearly every batch of a first run
    units: dict[int, list[int]] = {}
    for unit in store.units.of_items(item.id for item in first.values()):
        units.setdefault(unit.item, []).append(unit.id)
    numbers, vectors = store.vectors.get(space, [n for own in units.values() for n in own])
    row = {int(number): i for i, number in enumerate(numbers)}
    return {
        content: vectors[[row[number] for number in units[item.id]]]
        for content, item in first.items()
        if item.id in units and all(number in row for number in units[item.id])
    }


def is_gone(path: str, roots: Iterable[str]) -> bool:
    """Whether a file was really removed, and not only the disk it lies on: the folder that was
    indexed must be there, and hold something."""
    if not is_absent(path):
        return False
    above = [root for root in roots if is_below(path, root)]
    return bool(above) and all(holds_something(root) for root in above)


def is_absent(path: str) -> bool:
    """Whether the file system says that there is no such file; one that may not be asked for is
    not absent."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        return _says_nothing_is_there(error)


def is_nothing(path: str) -> bool:
    """Whether not even a folder, pipe or broken link is there."""
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:
        return _says_nothing_is_there(error)
    return False


def is_as_stored(item: Item) -> bool:
    """Whether a file is there and has the size and time that are stored."""
    try:
        facts = os.stat(item.path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False  # ValueError: an address
    return size_and_time(facts) == (item.size, item.mtime_ns)


def is_outdated(read: Outcome, item: Item) -> bool:
    """Whether a file changed after it was read, and another writer has stored what it holds now."""
    same = (read.size, read.mtime_ns) == (item.size, item.mtime_ns)
    try:
        return not same and item.status == "ready" and is_as_stored(item)
    except OSError:
        return False


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def holds_something(folder: str) -> bool:
    """Whether a folder can be listed and is not empty, as the place of an unmounted disk is."""
    try:
        with os.scandir(folder) as listing:
            return next(listing, None) is not None
    except OSError:
        return False


def known_roots(store: Store) -> list[str]:
    """Every folder that was ever indexed."""
    roots = store.settings.get(ROOTS)
    return [str(root) for root in roots] if isinstance(roots, list) else []


def _says_nothing_is_there(error: Exception) -> bool:
    absent = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    return not isinstance(error, OSError) or error.errno in absent

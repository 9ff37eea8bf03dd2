"""Files that were taken out of a collection though they are still on the disk.

The next run over their folder would take them in again, so what was removed is remembered. Naming a
removed file or folder to `index` brings it back.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from seesay.search.catalog.files import Item
from seesay.search.catalog.store import Store
from seesay.search.indexing.storing.known import ROOTS, is_below, known_roots
from seesay.search.indexing.storing.tables import forget_unnamed

EXCLUDED = "excluded"  # the setting that lists files and folders that were removed
_AT_ONCE = 500


def remove(store: Store, paths: Iterable[str]) -> int:
    """Take files, and everything below folders, out of the collection; returns how many files.

    A folder that was indexed is no longer looked through. The files themselves stay."""
    paths = list(dict.fromkeys(paths))
    _exclude(store, paths)  # first: a run that goes on meanwhile must not bring them back
    removed = 0
    for path in paths:
        items = _items(store, path)
        while some := list(islice(items, _AT_ONCE)):
            with store.writing("remove"):
                removed += remove_items(store, some)
    return removed


def remove_items(store: Store, items: Sequence[Item]) -> int:
    """Remove items; what tables say of a picture goes to a copy that stays. Works inside
    `store.writing` only."""
    named = [p for one in items if one.kind == "table" for p in store.annotations.absent(one.id)]
    store.annotations.hand_over(item.id for item in items)
    count = store.items.remove(item.id for item in items)
    forget_unnamed(store, named)
    return count


def readmit(store: Store, places: Iterable[str]) -> None:
    """Files and folders that are named again are no longer excluded. Works inside `store.writing`
    only."""
    places = list(places)
    known = excluded(store)
    kept = [one for one in known if not any(is_below(place, one) for place in places)]
    if len(kept) < len(known):
        store.settings.set(EXCLUDED, kept)


def excluded(store: Store) -> list[str]:
    """The files and folders that runs leave out."""
    paths = store.settings.get(EXCLUDED)
    return [str(path) for path in paths] if isinstance(paths, list) else []


def admits(removed: Iterable[str], inside: Sequence[str] | None) -> Callable[[str], bool]:
    """Whether a run may read a path: nobody removed it and, where `inside` names folders, it lies
    in one of them after every link is followed."""
    out = frozenset(removed)
    within = None if inside is None else [os.path.realpath(folder) for folder in inside]

    def admitted(path: str) -> bool:
        if out and (path in out or any(parent in out for parent in _parents(path))):
            return False
        if within is None:
            return True
        real = os.path.realpath(path)
        return any(is_below(real, folder) for folder in within)

    return admitted


def _exclude(store: Store, paths: Sequence[str]) -> None:
    with store.writing("exclude"):
        roots = [r for r in known_roots(store) if not any(is_below(r, path) for path in paths)]
        store.settings.set(ROOTS, roots)
        known = [one for one in excluded(store) if not any(is_below(one, path) for path in paths)]
        found = [path for path in paths if any(is_below(path, root) for root in roots)]
        store.settings.set(EXCLUDED, [*known, *found])


def _items(store: Store, path: str) -> Iterator[Item]:
    yield from store.items.by_path([path]).values()
    yield from store.items.under(path)


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent

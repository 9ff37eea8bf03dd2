"""Tracks which folders a collection covers, and removes files from it.

Files that no longer exist are removed, unless a whole disk seems to be unmounted. The transaction
that removes a file checks again that it is gone: another writer may have found it under another
name since.

A file that a user removed from the collection but not from the disk would come back with the next
run over its folder, so removed paths are remembered. Naming such a file or folder to `index` brings
it back.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from seesay.data.archives import is_archive
from seesay.search.catalog.files import File
from seesay.search.catalog.store import Store
from seesay.search.indexing.options import IndexOptions, RunState
from seesay.search.indexing.walk import Walk, holds_something, is_absent, is_below, is_nothing

ROOTS = "roots"  # the setting that lists every folder ever indexed
EXCLUDED = "excluded"  # the setting that lists files and folders that were removed
_AT_ONCE = 500


def known_paths(store: Store, setting: str) -> list[str]:
    """Returns the paths in a setting: ROOTS or EXCLUDED."""
    paths = store.settings.get(setting)
    return [str(path) for path in paths] if isinstance(paths, list) else []


def remember_roots(store: Store, places: Sequence[str]) -> None:
    """Remember folders as indexed, and readmit removed files and folders that are named again.
    Works inside `store.writing` only."""
    known = known_paths(store, ROOTS)
    new = [p for p in places if os.path.isdir(p) and not any(is_below(p, root) for root in known)]
    if new:
        store.settings.set(ROOTS, [*known, *new])
    out = known_paths(store, EXCLUDED)
    still = [one for one in out if not any(is_below(place, one) for place in places)]
    if len(still) < len(out):
        store.settings.set(EXCLUDED, still)


def admission(store: Store, inside: Sequence[str] | None) -> Callable[[str], bool]:
    """Returns a function that tells whether a run may read a path: nobody removed it, and if
    `inside` names folders, it is in one of them after following all links."""
    out = frozenset(known_paths(store, EXCLUDED))
    folders = None if inside is None else [os.path.realpath(folder) for folder in inside]

    def admitted(path: str) -> bool:
        if out and (path in out or any(parent in out for parent in _parents(path))):
            return False
        if folders is None:
            return True
        real = os.path.realpath(path)
        return any(is_below(real, folder) for folder in folders)

    return admitted


def remove(store: Store, paths: Iterable[str]) -> int:
    """Remove files, and everything below folders, from the collection; returns the number of files.

    Later runs no longer search an indexed folder that was removed. The files themselves stay."""
    paths = list(dict.fromkeys(paths))
    with store.writing("exclude"):  # first: a concurrent run must not bring them back
        roots, known = (
            [one for one in known_paths(store, name) if not any(is_below(one, p) for p in paths)]
            for name in (ROOTS, EXCLUDED)
        )
        store.settings.set(ROOTS, roots)
        below = [path for path in paths if any(is_below(path, root) for root in roots)]
        store.settings.set(EXCLUDED, [*known, *below])
    removed = 0
    for path in paths:
        items = _items(store, path)
        while some := list(islice(items, _AT_ONCE)):
            with store.writing("remove"):
                removed += remove_files(store, some)
    return removed


def remove_gone(
    store: Store, walk: Walk, options: IndexOptions, run: RunState
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove items below the roots of a finished walk whose file is gone. Returns the missing roots
    and the empty roots whose known files were kept."""
    if not options.delete_missing:
        return (), ()
    missing = [root for root in walk.missing if _knows(store, root)]
    empty = [root for root in walk.counts if not holds_something(root) and _knows(store, root)]
    kept = [] if options.prune else [*missing, *empty]
    for root in (*walk.counts, *walk.missing):
        if root in kept:
            continue
        gone = (
            item.id
            for item in _items(store, root)
            if is_absent(item.path) and not any(is_below(item.path, f) for f in walk.unreadable)
        )
        while some := list(islice(gone, _AT_ONCE)):
            with store.writing("remove", run=run.number):
                still = [item for item in store.files.get(some) if is_absent(item.path)]
                run.counts["removed"] += remove_files(store, still)
    if bad := store.quarantine.all():
        roots = [root for root in walk.counts if root not in kept]
        _forget_failures(store, [one.path for one in bad], roots, run)
    return (tuple(missing), tuple(empty)) if kept else ((), ())


def remove_aliases(store: Store, aliases: Mapping[str, str], run: RunState) -> None:
    """Remove items that a finished walk found to be another name of an indexed file: one of two
    files became a link, or links were once followed twice. Annotations of such a name move to the
    file."""
    run.aliases |= aliases
    run.counts["links"] += len(aliases)
    names = iter(aliases.items())
    while some := dict(islice(names, _AT_ONCE)):
        known = store.files.by_path([*some, *some.values()])
        numbers = [known[a].id for a, name in some.items() if a in known and name in known]
        numbers += [one.id for a in some if is_archive(a) for one in store.files.under(a)]
        if numbers:
            with store.writing("remove", run=run.number):
                store.annotations.hand_over(numbers)
                run.counts["removed"] += store.files.remove(numbers)


def forget_unnamed(store: Store, paths: Iterable[str]) -> None:
    """Release missing pictures from the quarantine once no table names them. Works inside
    `store.writing` only."""
    bad = [path for path in store.quarantine.by_path(paths) if is_nothing(path)]
    store.quarantine.release({*bad} - store.annotations.named(bad))


def remove_files(store: Store, items: Sequence[File]) -> int:
    """Remove items; annotations of a picture move to a copy that stays."""
    named = [
        p for one in items if one.media_type == "table" for p in store.annotations.absent(one.id)
    ]
    store.annotations.hand_over(item.id for item in items)
    count = store.files.remove(item.id for item in items)
    forget_unnamed(store, named)
    return count


def _forget_failures(store: Store, bad: Sequence[str], roots: Sequence[str], run: RunState) -> None:
    """Forget bad files that are gone, unless a table names them."""
    gone = [p for p in bad if any(is_below(p, root) for root in roots) and is_nothing(p)]
    if set(gone) - store.annotations.named(gone):
        with store.writing("release", run=run.number):
            forget_unnamed(store, gone)


def _items(store: Store, path: str) -> Iterator[File]:
    """Yield a file, or everything below a folder."""
    yield from store.files.by_path([path]).values()
    yield from store.files.under(path)


def _knows(store: Store, root: str) -> bool:
    return next(_items(store, root), None) is not None


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent

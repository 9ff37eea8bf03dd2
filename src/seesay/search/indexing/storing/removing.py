"""What is no longer there is taken out of the collection, unless a whole disk seems to be away.

What was seen to be gone is looked at again inside the transaction that removes it: another writer
may have found it under another name since.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from seesay.search.catalog.store import Store
from seesay.search.indexing.options import IngestOptions
from seesay.search.indexing.storing.committing import Tally
from seesay.search.indexing.storing.excluding import remove_items
from seesay.search.indexing.storing.known import holds_something, is_absent, is_below, is_nothing
from seesay.search.indexing.walking import Walk

_AT_ONCE = 500


def remove_what_is_gone(
    store: Store, walk: Walk, options: IngestOptions, run: int, tally: Tally
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove items below the roots of a finished walk whose file is gone. Returns the roots that
    are missing, and those that are empty, where something was known and was kept."""
    if not options.delete_missing:
        return (), ()
    missing = [root for root in walk.missing if _knows(store, root)]
    empty = [r for r in walk.found if not holds_something(r) and _knows(store, r)]
    spared = [] if options.prune else [*missing, *empty]
    for root in (*walk.found, *walk.missing):
        if root in spared:
            continue
        gone = _gone(store, root, walk.unreadable)
        while some := list(islice(gone, _AT_ONCE)):
            with store.writing("remove", run=run):
                tally.counts["removed"] += _remove(store, some)
    _forget_failures(store, [root for root in walk.found if root not in spared], run)
    return (tuple(missing), tuple(empty)) if spared else ((), ())


def remove_aliases(store: Store, aliases: Mapping[str, str], run: int, tally: Tally) -> None:
    """Remove items that are another name of a file that the collection has, by the names that a
    finished walk found: from before one of two files became a link, or links were followed twice.
    What tables say of such a name is said of the file."""
    tally.aliases |= aliases
    tally.counts["links"] += len(aliases)
    names = iter(aliases.items())
    while some := dict(islice(names, _AT_ONCE)):
        known = store.items.by_path([*some, *some.values()])
        numbers = [known[a].id for a, name in some.items() if a in known and name in known]
        if not numbers:
            continue
        with store.writing("remove", run=run):
            store.annotations.hand_over(numbers)
            tally.counts["removed"] += store.items.remove(numbers)


def _gone(store: Store, root: str, unreadable: list[str]) -> Iterator[int]:
    own = store.items.by_path([root]).values()
    for item in (*own, *store.items.under(root)):
        hidden = any(is_below(item.path, folder) for folder in unreadable)
        if not hidden and is_absent(item.path):
            yield item.id


def _remove(store: Store, numbers: Sequence[int]) -> int:
    return remove_items(store, [i for i in store.items.get(numbers) if is_absent(i.path)])


def _forget_failures(store: Store, roots: list[str], run: int) -> None:
    """Bad files that are gone need not be listed any more, unless a table names them."""
    if _forgettable(store, roots):
        with store.writing("release", run=run):
            store.quarantine.release(_forgettable(store, roots))


def _forgettable(store: Store, roots: list[str]) -> set[str]:
    gone = {
        bad.path
        for bad in store.quarantine.all()
        if any(is_below(bad.path, root) for root in roots) and is_nothing(bad.path)
    }
    return gone - store.annotations.named(gone)


def _knows(store: Store, root: str) -> bool:
    return bool(store.items.by_path([root])) or next(store.items.under(root), None) is not None

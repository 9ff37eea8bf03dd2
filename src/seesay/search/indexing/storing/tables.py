"""Tables that describe pictures: their rows are stored, and the pictures that they name come in."""

import os
from collections.abc import Iterable, Iterator, Sequence

from seesay.search.catalog.annotations import Annotation, Table
from seesay.search.catalog.files import ItemDraft, Quarantined
from seesay.search.catalog.store import Store
from seesay.search.indexing.readers import Readers
from seesay.search.indexing.storing.committing import Tally
from seesay.search.indexing.storing.known import is_below, is_nothing, is_outdated
from seesay.search.indexing.storing.rows import rows_by_path, within_limit
from seesay.search.indexing.walking import Seen, seen
from seesay.search.reading.messages import Outcome, Row

_SCHEMES = ("http://", "https://")


class Captions:
    """The tables of one run."""

    def __init__(
        self, store: Store, readers: Readers, run: int, tally: Tally, fetching: Sequence[str]
    ) -> None:
        """Addresses are fetched for tables below the places `fetching`."""
        self._store = store
        self._readers = readers
        self._run = run
        self._fetching = fetching
        self._tally = tally
        self._changed: frozenset[str] = frozenset()

    def awaited(self, places: Sequence[str], changed: Sequence[Seen]) -> Iterator[Seen]:
        """The pictures that the collection does not have though tables below these places name
        them; those of the tables that changed since are left to `pictures`."""
        anew = {table.path for table in changed}
        for table in self._store.annotations.tables():
            if table.path not in anew and any(is_below(table.path, place) for place in places):
                for path in self._store.annotations.absent(table.item):
                    if not path.startswith(_SCHEMES):
                        yield _named(path, table.path)

    def due(self, changed: Sequence[Seen]) -> Iterator[Outcome]:
        """The tables to read: those that changed, those of which rows are lost, and where addresses
        may be fetched, those that name some which were not."""
        found = {table.path: table for table in changed}
        self._changed = frozenset(found)
        for table in self._store.annotations.tables():
            if not (table.is_whole or is_nothing(table.path)) or self._is_to_fetch(table):
                found.setdefault(table.path, seen(table.path, "table"))
        tasks = [table.task() for table in found.values()]
        yield from self._readers.read(tasks)

    def pictures(self, table: Outcome) -> Iterator[Seen]:
        """The pictures that a table names."""
        for path in rows_by_path(table):
            if not path.startswith(_SCHEMES):
                yield _named(path, table.path)
            elif self._fetches(table.path):
                yield Seen(path=path, expected="address")

    def apply(self, table: Outcome) -> None:
        """Store the table with all of its rows, in one transaction."""
        table = within_limit(self._store, table)
        rows = {path: _annotation(row) for path, row in rows_by_path(table).items()}
        with self._store.writing("table", run=self._run):
            item = self._store.items.by_path([table.path]).get(table.path)
            if item is not None and is_outdated(table, item):
                return  # another writer has read a newer one
            before = self._store.quarantine.by_path([table.path]).get(table.path)
            if table.stage is not None or table.content_hash is None:
                self._fail(table, table.stage or "read", table.error, before)
                return
            draft = ItemDraft(
                path=table.path,
                kind="table",
                content_hash=table.content_hash,
                size=table.size,
                mtime_ns=table.mtime_ns,
            )
            (stored,) = self._store.items.put([draft])
            forget_unnamed(self._store, self._store.annotations.replace(stored.item, rows))
            complaints = [table.complaint] if table.complaint else []
            addresses = list(_addresses(self._store, stored.item))
            if addresses and not self._fetches(table.path):
                complaints.append(
                    f"it names {len(addresses)} addresses that were not fetched. Expected paths of "
                    "files, or leave to fetch. Allow it with --urls, or download them."
                )
            if complaints:
                self._fail(table, "table", " ".join(complaints), before)

    def _fail(self, table: Outcome, stage: str, error: str, before: Quarantined | None) -> None:
        """Counted once: a table that was refused before, and is as it was, counts as skipped."""
        facts = {"size": table.size, "mtime_ns": table.mtime_ns}
        same = before is not None and (before.error, before.size, before.mtime_ns) == (
            *(error, table.size, table.mtime_ns),
        )
        if not same or not self._store.quarantine.by_path([table.path]):  # put took it out
            self._store.quarantine.add(
                table.path, stage=stage, error=error, content_hash=table.content_hash, **facts
            )
        if not same:
            self._tally.counts["failed"] += 1
        elif table.path in self._changed:
            self._tally.counts["skipped"] += 1

    def _fetches(self, table: str) -> bool:
        return any(is_below(table, place) for place in self._fetching)

    def _is_to_fetch(self, table: Table) -> bool:
        return (
            self._fetches(table.path)
            and not is_nothing(table.path)
            and any(_addresses(self._store, table.item))
        )


def forget_unnamed(store: Store, paths: Iterable[str]) -> None:
    """Take pictures that are not there out of the quarantine where no table names them any more.
    Works inside `store.writing` only."""
    bad = [path for path in store.quarantine.by_path(paths) if is_nothing(path)]
    store.quarantine.release({*bad} - store.annotations.named(bad))


def _addresses(store: Store, table: int) -> Iterator[str]:
    """Those that a table names and that were not fetched."""
    return (path for path in store.annotations.absent(table) if path.startswith(_SCHEMES))


def _named(path: str, table: str) -> Seen:
    """A picture that a table names."""
    if not is_nothing(path):
        return seen(path, "image")
    problem = (
        f"it is not there, though {os.path.basename(table)} names it. Expected a picture. "
        "Put it there, or correct its path in the table."
    )
    return Seen(path=path, expected="image", problem=problem)


def _annotation(row: Row) -> Annotation:
    return Annotation(text=row.caption or None, metadata=row.metadata)

"""Tables that describe pictures: what they say is kept with the pictures they name."""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from seesay.search.ingest.readers import Readers
from seesay.search.ingest.reading.messages import Outcome, Row, Task
from seesay.search.ingest.storing.committing import CAPTIONS_DUE, TABLES, Tally
from seesay.search.ingest.storing.known import is_below, is_nothing
from seesay.search.ingest.walking import Seen, seen
from seesay.search.store.records import ItemDraft, Metadata, Quarantined, Unit
from seesay.search.store.store import Store

AWAITED = "awaited"  # the setting that lists, by table, the pictures that were not there
_AT_ONCE = 500
_SCHEMES = ("http://", "https://")


class Captions:
    """The tables of one run. Each is noted as done only after all of its rows are."""

    def __init__(self, store: Store, readers: Readers, run: int, urls: bool, tally: Tally) -> None:
        self._store = store
        self._readers = readers
        self._run = run
        self._urls = urls
        self._tally = tally
        self._changed: frozenset[str] = frozenset()

    def awaited(self, places: Sequence[str], changed: Sequence[Seen]) -> Iterator[Seen]:
        """The pictures that were not there when the tables below these places named them; those of
        the tables that changed since are left to `pictures`."""
        anew = {table.path for table in changed}
        for table, paths in awaited_pictures(self._store).items():
            if table not in anew and any(is_below(table, place) for place in places):
                yield from (seen(path, "image") for path in paths)

    def due(self, changed: Sequence[Seen]) -> Iterator[Outcome]:
        """The tables to apply: those that changed, and where pictures were stored since, all."""
        found = {table.path: table for table in changed}
        self._changed = frozenset(found)
        if self._store.settings.get(CAPTIONS_DUE):
            for path in self._known():
                found.setdefault(path, seen(path, "table"))
        tasks = [Task(**vars(table)) for table in found.values()]
        yield from self._readers.read(tasks)

    def pictures(self, table: Outcome) -> Iterator[Seen]:
        """The pictures that a table names."""
        for path in _by_path(table):
            if not path.startswith(_SCHEMES):
                yield seen(path, "image")
            elif self._urls:
                yield Seen(path=path, expected="address")

    def apply(self, table: Outcome) -> None:
        """Keep what the table says with its pictures, and then note the table itself."""
        rows = iter(_by_path(table).items())
        while some := dict(islice(rows, _AT_ONCE)):
            with self._store.writing("describe", run=self._run):
                self._describe(some)
        with self._store.writing("table", run=self._run):
            self._note(table)
            self._await([path for path in _by_path(table) if _is_awaited(path)], table.path)

    def finish(self) -> None:
        """Every table has been applied."""
        if self._store.settings.get(CAPTIONS_DUE):
            with self._store.writing("captions", run=self._run):
                self._store.settings.set(CAPTIONS_DUE, False)

    def _await(self, missing: list[str], table: str) -> None:
        """Keep what a table names and is not there: it stays listed, and is looked for again."""
        known = awaited_pictures(self._store)
        before = known.pop(table, [])
        if missing != before:
            self._store.settings.set(AWAITED, {**known, **({table: missing} if missing else {})})
            others = {path for paths in known.values() for path in paths}
            self._store.quarantine.release({*before} - {*missing} - others)

    def _describe(self, rows: Mapping[str, Row]) -> None:
        items = {item.id: path for path, item in self._store.items.by_path(rows).items()}
        units = [u for u in self._store.units.of_items(items) if u.kind == "image"]
        known = self._store.units.metadata(unit.id for unit in units)
        for unit in units:
            self._describe_one(unit, known[unit.id], rows[items[unit.item]])

    def _describe_one(self, unit: Unit, known: Metadata, row: Row) -> None:
        wanted: dict[str, Any] = {**known}
        wanted |= {key: _in_utc(value) for key, value in row.metadata.items()}
        text = row.caption or unit.text
        if text != unit.text or wanted != known:
            self._store.units.describe(unit.id, text=text, metadata=wanted)

    def _note(self, table: Outcome) -> None:
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
        self._store.items.put([draft])
        if table.path not in self._known():
            self._store.settings.set(TABLES, [*self._known(), table.path])
        addresses = sum(row.path.startswith(_SCHEMES) for row in table.rows)
        complaints = [table.complaint] if table.complaint else []
        if addresses and not self._urls:
            complaints.append(
                f"{addresses} rows name addresses, which are fetched only when that is asked for. "
                "Expected paths of files. Allow addresses, or download them."
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

    def _known(self) -> list[str]:
        paths = self._store.settings.get(TABLES)
        return [str(path) for path in paths] if isinstance(paths, list) else []


def awaited_pictures(store: Store) -> dict[str, list[str]]:
    """By table that is still there: the pictures it names and that were not there."""
    kept = store.settings.get(AWAITED)
    named = dict(kept) if isinstance(kept, dict) else {}
    tables = store.items.by_path(named)
    return {table: list(paths) for table, paths in named.items() if table in tables}


def _is_awaited(path: str) -> bool:
    return not path.startswith(_SCHEMES) and is_nothing(path)


def _by_path(table: Outcome) -> dict[str, Row]:
    """The rows by the path of their picture, which is meant from the folder of the table."""
    folder = os.path.dirname(table.path)
    return {
        row.path
        if row.path.startswith(_SCHEMES)
        else os.path.normpath(os.path.join(folder, row.path)): row
        for row in table.rows
    }


def _in_utc(value: object) -> object:
    """As dates come back from the store."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value

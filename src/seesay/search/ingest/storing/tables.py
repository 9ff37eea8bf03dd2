"""Tables that describe pictures: what they say is kept with the pictures they name."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from seesay.search.ingest.readers import Readers
from seesay.search.ingest.reading.messages import Outcome, Row
from seesay.search.ingest.storing.committing import CAPTIONS_DUE, TABLES, Tally
from seesay.search.ingest.storing.describing import AT_ONCE, Describing
from seesay.search.ingest.storing.known import is_below, is_nothing
from seesay.search.ingest.walking import Seen, seen
from seesay.search.store.records import ItemDraft, Metadata, Quarantined
from seesay.search.store.said import Statement
from seesay.search.store.store import Store

AWAITED = "awaited"  # the setting that lists, by table, the pictures that were not there
ADOPTED = "captions_adopted"  # the setting of collections from before said words were kept apart
UNFETCHED = "unfetched"  # the setting that lists tables whose addresses were not fetched
_SCHEMES = ("http://", "https://")


class Captions:
    """The tables of one run. Each is noted as done only after all of its rows are."""

    def __init__(
        self,
        store: Store,
        readers: Readers,
        describing: Describing,
        tally: Tally,
        fetching: Sequence[str],
    ) -> None:
        """Addresses are fetched for tables below the places `fetching`."""
        self._store = store
        self._readers = readers
        self._describing = describing
        self._run = describing.run
        self._fetching = fetching
        self._tally = tally
        self._changed: frozenset[str] = frozenset()

    def awaited(self, places: Sequence[str], changed: Sequence[Seen]) -> Iterator[Seen]:
        """The pictures that were not there when the tables below these places named them; those of
        the tables that changed since are left to `pictures`."""
        anew = {table.path for table in changed}
        for table, paths in awaited_pictures(self._store).items():
            if table not in anew and any(is_below(table, place) for place in places):
                yield from (_named(path, table) for path in paths)

    def due(self, changed: Sequence[Seen]) -> Iterator[Outcome]:
        """The tables to apply: those that changed, and where pictures were stored since, all; where
        addresses may be fetched, those that name some which were not."""
        found = {table.path: table for table in changed}
        self._changed = frozenset(found)
        again = self._known() if self._store.settings.get(CAPTIONS_DUE) else []
        again += filter(self._fetches, self._listed(UNFETCHED))
        for path in again:
            if not is_nothing(path):
                found.setdefault(path, seen(path, "table"))
        tasks = [table.task() for table in found.values()]
        yield from self._readers.read(tasks)

    def pictures(self, table: Outcome) -> Iterator[Seen]:
        """The pictures that a table names."""
        for path in _by_path(table):
            if not path.startswith(_SCHEMES):
                yield _named(path, table.path)
            elif self._fetches(table.path):
                yield Seen(path=path, expected="address")

    def apply(self, table: Outcome) -> None:
        """Keep what the table says with its pictures, and then note the table itself."""
        rows = _by_path(table)
        awaited = [path for path in rows if _is_awaited(path)]
        if table.stage is None:
            statements = self._statements(rows)
            statements |= self._renamed(table.path, [rows[path] for path in awaited], statements)
            self._describing.describe(table.path, statements)
        with self._store.writing("table", run=self._run):
            self._note(table)
            self._await(awaited, table.path)

    def finish(self) -> None:
        """Every table has been applied, and what is gone was removed."""
        known = self._known()
        there = self._store.items.by_path(known)
        for path in {*known, *self._store.said.sources()} - there.keys():
            self._describing.withdraw(path)
        settings = self._store.settings
        if len(there) < len(known) or settings.get(CAPTIONS_DUE):
            with self._store.writing("captions", run=self._run):
                settings.set(CAPTIONS_DUE, False)
                settings.set(ADOPTED, False)
                settings.set(TABLES, [path for path in known if path in there])

    def _statements(self, rows: Mapping[str, Row]) -> dict[int, Statement]:
        """By unit."""
        found, paths = dict[int, Statement](), iter(rows)
        while some := list(islice(paths, AT_ONCE)):
            known = self._store.items.by_path(some)
            aliases = self._tally.aliases
            names = {aliases[path]: path for path in some if path not in known and path in aliases}
            linked = self._store.items.by_path(names)
            items = {item.id: names[name] for name, item in linked.items()}
            items |= {item.id: path for path, item in known.items()}
            for unit in self._store.units.of_items(items):
                if unit.kind == "image":
                    found[unit.id] = _statement(rows[items[unit.item]])
        return found

    def _renamed(
        self, table: str, rows: Sequence[Row], anew: Mapping[int, Statement]
    ) -> dict[int, Statement]:
        """By unit: what the rows of pictures that are gone from their path go on saying of pictures
        that the table said the same of, and names no more: these have another name now."""
        if not rows:
            return {}
        waiting = Counter(_words(_statement(row)) for row in rows)
        former = [unit for unit in self._store.said.units_of(table) if unit not in anew]
        found = {}
        for unit, said in self._store.said.of_units(former).items():
            if waiting[_words(said[table])] > 0:
                waiting[_words(said[table])] -= 1
                found[unit] = said[table]
        return found

    def _await(self, missing: list[str], table: str) -> None:
        """Keep what a table names and is not there: it stays listed, and is looked for again."""
        known = awaited_pictures(self._store)
        before = known.pop(table, [])
        if missing != before:
            self._store.settings.set(AWAITED, {**known, **({table: missing} if missing else {})})
            others = {path for paths in known.values() for path in paths}
            self._store.quarantine.release({*before} - {*missing} - others)

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
        self._list(TABLES, table.path, listed=True)
        addresses = {row.path for row in table.rows if row.path.startswith(_SCHEMES)}
        addresses -= self._store.items.by_path(addresses).keys()
        self._list(UNFETCHED, table.path, listed=bool(addresses))
        complaints = [table.complaint] if table.complaint else []
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

    def _known(self) -> list[str]:
        return self._listed(TABLES)

    def _listed(self, setting: str) -> list[str]:
        paths = self._store.settings.get(setting)
        return [str(path) for path in paths] if isinstance(paths, list) else []

    def _list(self, setting: str, path: str, *, listed: bool) -> None:
        paths = self._listed(setting)
        if listed != (path in paths):
            others = [other for other in paths if other != path]
            self._store.settings.set(setting, [*others, *([path] if listed else [])])


def awaited_pictures(store: Store) -> dict[str, list[str]]:
    """By table that is still there: the pictures it names and that were not there."""
    kept = store.settings.get(AWAITED)
    named = dict(kept) if isinstance(kept, dict) else {}
    tables = store.items.by_path(named)
    return {table: list(paths) for table, paths in named.items() if table in tables}


def _named(path: str, table: str) -> Seen:
    """A picture that a table names."""
    if not is_nothing(path):
        return seen(path, "image")
    problem = (
        f"it is not there, though {os.path.basename(table)} names it. Expected a picture. "
        "Put it there, or correct its path in the table."
    )
    return Seen(path=path, expected="image", problem=problem)


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


def _statement(row: Row) -> Statement:
    return Statement(text=row.caption or None, metadata=_in_utc(row.metadata))


def _words(statement: Statement) -> tuple[str | None, frozenset[tuple[str, object]]]:
    """To compare by."""
    return statement.text, frozenset(statement.metadata.items())


def _in_utc(metadata: Metadata) -> Metadata:
    """As dates come back from the store."""
    return {
        key: value.replace(tzinfo=UTC)
        if isinstance(value, datetime) and not value.tzinfo
        else value
        for key, value in metadata.items()
    }

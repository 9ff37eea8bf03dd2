"""What a collection remembers of itself: every committed change by its number, every start of a
command, and settings by name."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from seesay.search.catalog.database import Database, decoded


class Position(NamedTuple):
    """A state in the history of a collection. No other history contains it."""

    seq: int
    """The number of the newest change; 0 before the first."""
    token: int
    """The random number of that change. A backup that is restored and changed reaches the same
    `seq` again, with another token."""


START = Position(0, 0)


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One committed change."""

    seq: int
    time_ns: int
    action: str
    run: int | None
    rows: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One start of a command that changes the collection."""

    id: int
    action: str
    arguments: Mapping[str, object]
    state: Literal["running", "done", "failed", "interrupted"]
    started_ns: int
    ended_ns: int | None
    counts: Mapping[str, int]


class Ledger:
    """The changes of a collection. `store.writing` adds to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> int:
        """The number of the newest change; 0 before the first."""
        return self.position().seq

    def position(self) -> Position:
        """The present state."""
        newest = self._database.rows("SELECT seq, token FROM ledger ORDER BY seq DESC LIMIT 1")
        return Position(*newest[0]) if newest else START

    def has_passed(self, position: Position) -> bool:
        """Whether this was once the state of this collection."""
        if not position.token:  # the beginning, or an index of a version without tokens
            return position == START
        sql = "SELECT 1 FROM ledger WHERE seq = ? AND token = ?"
        return bool(self._database.rows(sql, position))

    def since(self, seq: int) -> list[LedgerEntry]:
        """The changes after number `seq`, the oldest first."""
        rows = self._database.rows(
            "SELECT seq, time_ns, action, run, rows FROM ledger WHERE seq > ? ORDER BY seq", (seq,)
        )
        names = ("seq", "time_ns", "action", "run", "rows")
        return [LedgerEntry(**dict(zip(names, row, strict=True))) for row in rows]


class Runs:
    """Starts of commands. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, action: str, arguments: Mapping[str, object]) -> int:
        """Note that a command has begun; returns its number. A run of before that still counts as
        running was killed: only one writes at a time."""
        self._database.run("UPDATE runs SET state = 'interrupted' WHERE state = 'running'")
        self._database.run(
            "INSERT INTO runs (action, arguments, state, started_ns) VALUES (?, ?, 'running', ?)",
            (action, json.dumps(arguments, ensure_ascii=False), time.time_ns()),
        )
        ((number,),) = self._database.rows("SELECT max(id) FROM runs")
        return number

    def note(self, run: int, counts: Mapping[str, int]) -> None:
        """How far it has come."""
        self._database.run("UPDATE runs SET counts = ? WHERE id = ?", (json.dumps(counts), run))

    def finish(self, run: int, state: Literal["done", "failed", "interrupted"]) -> None:
        """Note how it ended."""
        self._database.run(
            "UPDATE runs SET state = ?, ended_ns = ? WHERE id = ?", (state, time.time_ns(), run)
        )

    def newest(self, count: int = 10) -> list[Run]:
        """The last runs, the newest first."""
        rows = self._database.rows(
            "SELECT id, action, arguments, state, started_ns, ended_ns, counts FROM runs"
            " ORDER BY id DESC LIMIT ?",
            (count,),
        )
        return [
            Run(
                id=number,
                action=action,
                arguments=decoded(json.loads, arguments),
                state=state,
                started_ns=started_ns,
                ended_ns=ended_ns,
                counts=decoded(json.loads, counts),
            )
            for number, action, arguments, state, started_ns, ended_ns, counts in rows
        ]


class Settings:
    """JSON values by name: which folders were indexed, how, and so on. What changes something works
    inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> object:
        """None where there is none."""
        found = self._database.rows("SELECT value FROM settings WHERE name = ?", (name,))
        return decoded(json.loads, found[0][0]) if found else None

    def set(self, name: str, value: object) -> None:
        """Remember a value that JSON can hold."""
        self._database.run(
            "INSERT INTO settings (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )

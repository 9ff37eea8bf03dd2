"""A collection's file: read from any thread, written one transaction at a time.

It records every committed change by number, every run of a command, and settings by name.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from seesay.errors import CollectionDamagedError, CollectionError
from seesay.search.catalog.annotations import Annotations
from seesay.search.catalog.cells import CellTables
from seesay.search.catalog.database import Change, Database, connect, decoded, explained
from seesay.search.catalog.files import File, Files, Quarantine
from seesay.search.catalog.keywords import KeywordIndex
from seesay.search.catalog.lock import WriterLock
from seesay.search.catalog.metadata import MetadataTable
from seesay.search.catalog.page_vectors import PageVectors
from seesay.search.catalog.passages import Fingerprints, Passage, Passages
from seesay.search.catalog.schema import APPLICATION_ID, NEWEST, migrate
from seesay.search.catalog.vectors import EmbeddingSpaces, Vectors
from seesay.text import Text

FILE = "collection.sqlite"
LOCK = "writer.lock"


class Position(NamedTuple):
    """A state in the history of a collection. No other history contains it."""

    seq: int
    """The number of the newest change; 0 before the first."""
    token: int
    """The random number of that change. A restored backup that is changed reaches the same `seq`
    again, with another token."""


START = Position(0, 0)
RunStatus = Literal["running", "done", "failed", "interrupted"]


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
    """One run of a command that changes the collection."""

    id: int
    action: str
    arguments: Mapping[str, object]
    state: RunStatus
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
        """Whether the collection was once in this state."""
        if not position.token:  # the start, or an index from a version without tokens
            return position == START
        sql = "SELECT 1 FROM ledger WHERE seq = ? AND token = ?"
        return bool(self._database.rows(sql, position))

    def since(self, seq: int) -> list[LedgerEntry]:
        """Returns the changes after number `seq`, oldest first."""
        rows = self._database.rows(
            "SELECT seq, time_ns, action, run, rows FROM ledger WHERE seq > ? ORDER BY seq", (seq,)
        )
        names = ("seq", "time_ns", "action", "run", "rows")
        return [LedgerEntry(**dict(zip(names, row, strict=True))) for row in rows]


class Runs:
    """Runs of commands. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, action: str, arguments: Mapping[str, object]) -> int:
        """Record the start of a command; returns the number of the run. An earlier run still marked
        as running was killed: only one writes at a time."""
        self._database.run("UPDATE runs SET state = 'interrupted' WHERE state = 'running'")
        self._database.run(
            "INSERT INTO runs (action, arguments, state, started_ns) VALUES (?, ?, 'running', ?)",
            (action, json.dumps(arguments, ensure_ascii=False), time.time_ns()),
        )
        ((number,),) = self._database.rows("SELECT max(id) FROM runs")
        return number

    def note(self, run: int, counts: Mapping[str, int], state: RunStatus = "running") -> None:
        """Record the progress of a run, and how it ended."""
        ended = None if state == "running" else time.time_ns()
        self._database.run(
            "UPDATE runs SET counts = ?, state = ?, ended_ns = ? WHERE id = ?",
            (json.dumps(counts), state, ended, run),
        )

    def newest(self, count: int = 10) -> list[Run]:
        """Returns the last runs, newest first."""
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
    """JSON values by name: which folders were indexed, how, and so on. Methods that write work only
    inside `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> object:
        """Returns a value; None if it is not set."""
        found = self._database.rows("SELECT value FROM settings WHERE name = ?", (name,))
        return decoded(json.loads, found[0][0]) if found else None

    def set(self, name: str, value: object) -> None:
        """Store a JSON value."""
        self._database.run(
            "INSERT INTO settings (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )


class Store:
    """The data of a collection. `with Store(folder) as store:` closes it at the end.

    Any thread can read at any time. Write like this; the changes are on disk when the block ends,
    or leave no trace:

        with store.writing("index"):
            stored = store.files.put(drafts)
            store.vectors.put(space.id, passages, vectors)
    """

    def __init__(
        self,
        folder: Path,
        *,
        create: bool = False,
        read_only: bool | None = None,
        wait_s: float = 30.0,
    ) -> None:
        """Open the collection in `folder`; `create` makes it if needed. `read_only` of None means:
        if the folder is not writable. `wait_s` is how long to wait for another writer.

        Raises CollectionError if there is no collection, or the file is not a seesay collection."""
        self.folder = folder
        self.file = folder / FILE
        self.read_only = _is_read_only(self.file) if read_only is None else read_only
        self.lock = WriterLock(folder / LOCK)
        self._wait_s = wait_s
        self._prepare(create)
        self.database = database = Database(self.file, read_only=self.read_only)
        self.settings = Settings(database)
        self.ledger = Ledger(database)
        self.runs = Runs(database)
        self.spaces = EmbeddingSpaces(database)
        self.keywords = KeywordIndex(database)
        self.fingerprints = Fingerprints(database)
        self.metadata = MetadataTable(database)
        self.cells = CellTables(database)
        self.passages = Passages(
            database, self.metadata, self.keywords, self.fingerprints, self.cells
        )
        self.quarantine = Quarantine(database)
        self.files = Files(database, self.passages, self.quarantine)
        self.vectors = Vectors(database, self.spaces)
        self.page_vectors = PageVectors(database)
        self.annotations = Annotations(database)

    @contextmanager
    def writing(
        self, action: str, *, run: int | None = None, wait_s: float | None = None
    ) -> Iterator[Change]:
        """One change, numbered in the ledger under the name `action`. Raises CollectionBusyError if
        another writer does not finish within `wait_s`, and CollectionError if the folder is
        read-only or the disk is full; then no change of the block is kept."""
        self.require_writable()
        with (
            self.lock.held(action, self._wait_s if wait_s is None else wait_s),
            self.database.writing(action, run) as change,
        ):
            yield change

    def require_writable(self) -> None:
        """Raises CollectionError if the collection is open read-only."""
        if self.read_only:
            raise CollectionError(
                Text(
                    f"{self.folder} is open for reading alone, expected the right to write; "
                    "searching needs none; change the rights of the folder, or copy the collection",
                    f"{self.folder} 以只读方式打开；应有写入权限（搜索不需要）；"
                    "请修改文件夹的权限，或复制一份资料库",
                )
            )

    @property
    def key(self) -> str:
        """A random name that is unique to this collection, created when first needed."""
        known = self.settings.get("key")
        if known is None:
            with self.writing("name"):
                known = self.settings.get("key") or secrets.token_hex(8)
                self.settings.set("key", known)
        return str(known)

    def passage_with_file(self, number: int) -> tuple[Passage, File]:
        """Returns a passage and its file. Raises CollectionError if the passage does not exist."""
        found = self.passages.get([number])
        files = self.files.get([passage.file for passage in found])
        if not files:
            raise CollectionError(
                Text(
                    f"there is no unit {number} in {self.folder}, expected the number of one that "
                    "a search has found; search again: it may have been removed since",
                    f"{self.folder} 里没有条目 {number}；应为搜索结果中的编号；"
                    "请重新搜索：它可能已被移除",
                )
            )
        return found[0], files[0]

    def close(self) -> None:
        """Close the file. The store cannot be used afterwards."""
        self.database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare(self, create: bool) -> None:
        """Make sure that the file exists and has the newest tables."""
        version = _version(self.file, self.read_only)
        if version == NEWEST:
            return
        if problem := self._problem_of(version, create):
            raise CollectionError(problem)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectionError(_unmade(self.folder, error.strerror or "")) from error
        action = "upgrade" if version else "create"
        with self.lock.held(action, self._wait_s), explained(self.file):
            migrate(self.file)

    def _problem_of(self, version: int, create: bool) -> Text | None:
        """Returns why a file of this format (0: no file) cannot be upgraded to the newest."""
        if version > NEWEST:
            return Text(
                f"{self.file} has format {version}, expected {NEWEST} or older: a newer version of "
                "this package made it; update with: pip install -U seesay",
                f"{self.file} 的格式是 {version}，应为 {NEWEST} 或更早：它由更新的版本建立；"
                "请升级：pip install -U seesay",
            )
        if not version and not create:
            return Text(
                f"there is no collection in {self.folder}, expected a folder that holds "
                f"{self.file.name}; index some files into it first, or name another folder",
                f"{self.folder} 里没有资料库；应为含有 {self.file.name} 的文件夹；"
                "请先收录一些文件，或指定另一个文件夹",
            )
        if self.read_only and not version:
            return _unmade(self.folder, Text("there is no right to write", "没有写入权限"))
        if self.read_only:
            return Text(
                f"{self.file} has format {version}, expected {NEWEST}, and may not be changed; "
                "make it writable once, and open it, or copy it to another folder",
                f"{self.file} 的格式是 {version}，应为 {NEWEST}，但没有修改权限；"
                "请给予写入权限后打开一次，或复制到另一个文件夹",
            )
        return None


def _is_read_only(file: Path) -> bool:
    place = file.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    return not os.access(place, os.W_OK) or (file.exists() and not os.access(file, os.W_OK))


def _version(file: Path, read_only: bool) -> int:
    """Returns the format of the file; 0 if there is no file or it was never completed."""
    if not file.exists():
        return 0
    with explained(file), closing(connect(file, read_only)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and tables:
        raise CollectionDamagedError(
            Text(
                f"{file} is a database of another program, expected a collection; name another "
                "folder",
                f"{file} 是其他程序的数据库；应为资料库；请指定另一个文件夹",
            )
        )
    return int(version)


def _unmade(folder: Path, reason: object) -> Text:
    why = Text.of(reason)
    return Text(
        f"{folder} cannot be made ({why.en}), expected a place where folders may be made; choose "
        "another one",
        f"无法建立 {folder}（{why.zh}）；应为可以建立文件夹的位置；请换一个",
    )

"""The scores of texts in SQLite: those of a block of records are stored together or not at all, so
that a killed run goes on behind the last block."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from seesay.data.kept import KeptCaption
from seesay.errors import ConfigError, DataError
from seesay.text import Language, Text

DIGITS = 6
"""Of a score, after the point: what is stored, compared and shown."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS others (vectors BLOB);
CREATE TABLE IF NOT EXISTS progress (done INTEGER, records INTEGER, damaged INTEGER, unwritten
    INTEGER);
CREATE TABLE IF NOT EXISTS captions (number INTEGER, language TEXT, place INTEGER, key TEXT, written
    INTEGER, text TEXT, score REAL, random REAL, PRIMARY KEY (number, language, place))
    WITHOUT ROWID;
"""


class ScoredCaption(NamedTuple):
    """A caption with its scores."""

    number: int
    """Of its record."""
    language: Language
    place: int
    """Among the record's captions of the language, from 0; a written one follows the others."""
    key: str
    """Of its record."""
    written: bool
    """Whether a captioner wrote it."""
    text: str
    score: float = nan
    random: float | None = None
    """Score with a random other picture."""

    @property
    def as_kept(self) -> KeptCaption:
        return KeptCaption(self.number, self.key, self.language, self.place)


class Progress(NamedTuple):
    """What has been done so far."""

    done: int = 0
    """Records, damaged ones included."""
    records: int = 0
    """Records that could be read."""
    damaged: int = 0
    unwritten: int = 0
    """Captions that the captioner did not bring to an end, or wrote in another language."""


class ScoreStore:
    """The scores of a run. One process at a time has it open."""

    def __init__(self, file: Path, settings: Mapping[str, Any]) -> None:
        """Opens or creates it. Raises ConfigError if it was begun with other settings or is open
        elsewhere, DataError if the file is damaged or cannot be written."""
        self._file = file
        try:
            self._database = sqlite3.connect(file, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("BEGIN EXCLUSIVE")
            for one in _SCHEMA.split(";")[:-1]:
                self._database.execute(one)
            self._compare(settings)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from None
        except ConfigError:
            self.close()  # so that the same process can open it again
            raise

    def _compare(self, settings: Mapping[str, Any]) -> None:
        now = {name: json.dumps(value, ensure_ascii=False) for name, value in settings.items()}
        before = dict(self._database.execute("SELECT name, value FROM settings"))
        if not before:
            self._database.executemany("INSERT INTO settings VALUES (?, ?)", now.items())
            self._database.execute("INSERT INTO progress VALUES (0, 0, 0, 0)")
            return
        for name in (one for one in now if before.get(one) != now[one]):
            raise ConfigError(
                Text(
                    f"{self._file.parent} was begun with {name} = {before.get(name)}, not "
                    f"{now[name]}; expected the same data and models, to go on with it: correct "
                    "that, or choose a new folder",
                    f"{self._file.parent} 开始时的 {name} 是 {before.get(name)}，不是 {now[name]}；"
                    "要接着做，数据和模型应与开始时相同；请改正，或换一个新文件夹",
                )
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Those it was begun with."""
        rows = self._all("SELECT name, value FROM settings ORDER BY rowid")
        return {name: json.loads(value) for name, value in rows}

    def close(self) -> None:
        self._database.close()

    @property
    def progress(self) -> Progress:
        [row] = self._all("SELECT * FROM progress")
        return Progress(*row)

    @property
    def others(self) -> bytes | None:
        """The vectors of random pictures; None before they are stored."""
        rows = self._all("SELECT vectors FROM others")
        return rows[0][0] if rows else None

    def put_others(self, vectors: bytes) -> None:
        self._all("INSERT INTO others VALUES (?)", [vectors])

    def add(self, captions: Iterable[ScoredCaption], progress: Progress) -> None:
        """Stores the captions of a block, and what has been done with it."""
        marks = ", ".join("?" * len(ScoredCaption._fields))
        try:
            self._database.execute("BEGIN")
            self._database.executemany(f"INSERT INTO captions VALUES ({marks})", captions)
            self._database.execute(
                "UPDATE progress SET done = ?, records = ?, damaged = ?, unwritten = ?", progress
            )
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def captions(self) -> Iterator[ScoredCaption]:
        """Yields all captions, in the order of their records."""
        query = "SELECT * FROM captions ORDER BY number, language, place"
        for row in self._database.execute(query):
            one = ScoredCaption(*row)
            yield one._replace(written=bool(one.written))

    def scores(self, language: Language) -> Float[np.ndarray, "captions 2"]:
        """Returns the scores of the captions in a language with their own and with a random other
        picture, NaN where there is none."""
        query = "SELECT score, random FROM captions WHERE language = ?"
        rows = self._database.execute(query, [language])
        return np.fromiter((row for row in rows), dtype=np.dtype((float, 2)))

    def _all(self, query: str, values: Iterable[Any] = ()) -> list[Any]:
        try:
            return self._database.execute(query, list(values)).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> ConfigError | DataError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return ConfigError(
                Text(
                    f"{self._file.parent} is being written by another process, expected one at a "
                    "time: wait until it ends, or choose another folder",
                    f"{self._file.parent} 正由另一个进程写入；同一时间只应有一个；请等它结束，"
                    "或换一个文件夹",
                )
            )
        return DataError(
            Text(
                f"{self._file} cannot be used ({error}), expected the scores of an earlier run or "
                "a place to write them: choose another folder, or remove the file to begin anew",
                f"{self._file} 无法使用（{error}）；应为以前运行的分数，或可以写入的位置；请换一个"
                "文件夹，或删除该文件重新开始",
            )
        )

"""The answers of a model to a suite, in one SQLite file: prompt, digest of the pictures, the answer
as it came, the truth, and the verdict of each scorer.

Answers are stored as they come, so that a killed run goes on behind the last ones; scoring needs
nothing but this file.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from seesay.errors import ConfigError, DataError
from seesay.evaluation.samples import LeftOut
from seesay.evaluation.scoring import Judge, Truth, Verdict
from seesay.text import Text, to_unicode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS answers (task TEXT, sample TEXT, number INTEGER, prompt TEXT, pictures
    TEXT, settings TEXT, answer TEXT, finish TEXT, certainty REAL, prompt_tokens INTEGER,
    answer_tokens INTEGER, seconds REAL, truth TEXT, PRIMARY KEY (task, sample));
CREATE TABLE IF NOT EXISTS left_out (task TEXT, sample TEXT, en TEXT, zh TEXT,
    PRIMARY KEY (task, sample));
CREATE TABLE IF NOT EXISTS verdicts (task TEXT, scorer TEXT, sample TEXT, parsed TEXT, score REAL,
    left_out INTEGER, en TEXT, zh TEXT, exchanges TEXT, PRIMARY KEY (task, scorer, sample));
CREATE TABLE IF NOT EXISTS replies (judge TEXT, prompt TEXT, number INTEGER, reply TEXT,
    PRIMARY KEY (judge, prompt, number));
CREATE TABLE IF NOT EXISTS measured (name TEXT, settings TEXT, measured TEXT, PRIMARY KEY (name));
"""


@dataclass(frozen=True, kw_only=True)
class StoredAnswer:
    """An answer, and everything that it depends on besides the model."""

    sample: str
    """Key of its sample."""
    prompt: str
    pictures: str
    """SHA-256 of all pictures."""
    settings: str
    """How it was written, as JSON."""
    truth: Truth
    answer: str
    finish: str = "stop"
    certainty: float | None = None
    prompt_tokens: int | None = None
    """Tokens read; None if nobody tells."""
    answer_tokens: int | None = None
    """Tokens written; None if nobody tells."""
    seconds: float = field(default=0.0, compare=False)
    """Since the answer before."""


class AnswerStore:
    """The answers of one model. One process at a time has them open."""

    def __init__(self, file: Path, facts: Mapping[str, str] | None = None) -> None:
        """Opens it, or creates it with facts that say whose answers they are.

        Raises ConfigError if it is of another model, or is to be read and is not there; DataError
        if it is damaged or open elsewhere.
        """
        if facts is None and not file.is_file():
            raise ConfigError(
                Text(
                    f"there are no answers in {file}, expected those of an earlier run: name the "
                    "folder of one, or ask a model first",
                    f"{file} 里没有回答；应为之前评测的结果；请指定其文件夹，或先让模型回答",
                )
            )
        self.file = file
        self.facts: dict[str, str] = {}
        """What there is to know about the answers, such as the model."""
        try:
            self._database = sqlite3.connect(file, timeout=0, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        try:
            self._prepare(facts or {})
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from None
        except ConfigError:
            self.close()
            raise

    def _prepare(self, facts: Mapping[str, str]) -> None:
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")  # a power cut costs an answer
        self._database.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        for name, value in facts.items():
            self._database.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
        self.facts |= dict(self._database.execute("SELECT * FROM facts"))
        for name, value in facts.items():
            if self.facts[name] != value:
                raise ConfigError(
                    Text(
                        f"{self.file} holds answers of {name} {self.facts[name]!r}, not of "
                        f"{value!r}; expected the same: choose another folder",
                        f"{self.file} 里是 {name} 为 {self.facts[name]!r} 的回答，不是 {value!r}；"
                        "两者应相同；请换一个文件夹",
                    )
                )

    def _unusable(self, error: sqlite3.Error) -> DataError:
        return DataError(
            Text(
                f"{self.file} cannot be used ({error}), expected the answers of an earlier run "
                "that no other process has open, or a place to write: wait, or name another folder",
                f"{self.file} 不能用（{error}）；应为之前的回答（没有其他进程打开），或可写的位置；"
                "请稍后再试，或换一个文件夹",
            )
        )

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def __enter__(self) -> "AnswerStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_fact(self, name: str, value: str) -> None:
        """Stores what else there is to know about the answers."""
        self.facts[name] = value
        self._database.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?)", (to_unicode(name), value)
        )

    # Answers

    def begin(self, task: str) -> None:
        """Starts a pass over the samples of a task: what is not seen in it no longer counts."""
        self._database.execute("UPDATE answers SET number = NULL WHERE task = ?", (task,))
        self._database.execute("DELETE FROM left_out WHERE task = ?", (task,))

    def keep(self, task: str, number: int, question: StoredAnswer) -> bool:
        """Whether the question has been answered; then the answer counts for the sample with this
        number."""
        row = self._database.execute(
            "SELECT prompt, pictures, settings FROM answers WHERE task = ? AND sample = ?",
            (task, to_unicode(question.sample)),
        ).fetchone()
        if row != (to_unicode(question.prompt), question.pictures, question.settings):
            return False
        self._database.execute(
            "UPDATE answers SET number = ?, truth = ? WHERE task = ? AND sample = ?",
            (number, _dump(asdict(question.truth)), task, to_unicode(question.sample)),
        )
        return True

    def add(self, task: str, answers: Iterable[tuple[int, StoredAnswer]]) -> None:
        """Stores answers, each with the number of its sample, all or none."""
        rows = []
        for number, one in answers:
            texts = (one.prompt, one.pictures, one.settings, one.answer, one.finish)
            truth = _dump(asdict(one.truth))
            sample = to_unicode(one.sample)
            cost = (one.certainty, one.prompt_tokens, one.answer_tokens, one.seconds)
            rows.append((task, sample, number, *map(to_unicode, texts), *cost, truth))
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(
            f"INSERT OR REPLACE INTO answers VALUES ({', '.join('?' * 13)})", rows
        )
        self._database.execute("COMMIT")

    def leave_out(self, task: str, one: LeftOut) -> None:
        """Stores why a sample has no answer."""
        values = (task, *map(to_unicode, (one.key, one.reason.en, one.reason.zh)))
        self._database.execute("INSERT OR REPLACE INTO left_out VALUES (?, ?, ?, ?)", values)

    def answers(self, task: str) -> list[StoredAnswer]:
        """The answers of the last pass, in the order of the samples."""
        names = [one.name for one in fields(StoredAnswer)]
        rows = self._database.execute(
            f"SELECT {', '.join(names)} FROM answers WHERE task = ? AND number IS NOT NULL "
            "ORDER BY number",
            (task,),
        )
        columns = [dict(zip(names, row, strict=True)) for row in rows]
        return [StoredAnswer(**row | {"truth": _truth(row["truth"])}) for row in columns]

    def left_out(self, task: str) -> list[LeftOut]:
        """What was left out in the last pass."""
        rows = self._database.execute(
            "SELECT sample, en, zh FROM left_out WHERE task = ? ORDER BY rowid", (task,)
        )
        return [LeftOut(key, Text(en, zh)) for key, en, zh in rows]

    # Verdicts

    def judge(self, task: str, scorer: str, verdicts: Iterable[tuple[str, Verdict]]) -> None:
        """Stores the verdicts of a scorer by sample, in place of earlier ones."""
        rows = [
            (task, scorer, sample, one.parsed, one.score, one.left_out, *_note_and_exchanges(one))
            for sample, one in verdicts
        ]
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("DELETE FROM verdicts WHERE task = ? AND scorer = ?", (task, scorer))
        self._database.executemany(
            "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [[to_unicode(v) if isinstance(v, str) else v for v in row] for row in rows],
        )
        self._database.execute("COMMIT")

    def scores(self, task: str, scorer: str) -> dict[str, tuple[str, float]]:
        """Of each sample that counts, the digest of its pictures and its score."""
        rows = self._database.execute(
            "SELECT sample, pictures, score FROM verdicts JOIN answers USING (task, sample) "
            "WHERE task = ? AND scorer = ? AND NOT left_out AND number IS NOT NULL "
            "ORDER BY number",
            (task, scorer),
        )
        return {sample: (pictures, score) for sample, pictures, score in rows}

    def remembering(self, judge: Judge, name: str) -> Judge:
        """The same judge, which is asked only what it has not yet been asked: the same prompt again
        gets the second reply, and so on."""
        times: dict[str, int] = {}

        def ask(prompt: str) -> str:
            number = times[prompt] = times.get(prompt, 0) + 1
            key = (name, to_unicode(prompt), number)
            row = self._database.execute(
                "SELECT reply FROM replies WHERE judge = ? AND prompt = ? AND number = ?", key
            ).fetchone()
            if row is None:
                row = (to_unicode(judge.ask(prompt)),)
                self._database.execute(
                    "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", (*key, row[0])
                )
            return str(row[0])

        return replace(judge, ask=ask)

    # Measures

    def measured(self, name: str, settings: str) -> dict[str, float] | None:
        """The values of a measure, if it was measured with these settings."""
        row = self._database.execute(
            "SELECT measured FROM measured WHERE name = ? AND settings = ?", (name, settings)
        ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def add_measured(self, name: str, settings: str, values: Mapping[str, float]) -> None:
        """Stores the values of a measure."""
        self._database.execute(
            "INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", (name, settings, _dump(values))
        )


def _note_and_exchanges(verdict: Verdict) -> tuple[str | None, str | None, str]:
    note = (None, None) if verdict.note is None else (verdict.note.en, verdict.note.zh)
    return *note, _dump([asdict(exchange) for exchange in verdict.exchanges])


def _dump(value: Any) -> str:
    return to_unicode(json.dumps(value, ensure_ascii=False))


def _truth(text: str) -> Truth:
    values = json.loads(text)
    return Truth(**values | {"answers": tuple(values["answers"])})

"""What tables say of pictures, row by row, and which picture each row describes.

A table and all of its rows are written in one transaction, and rows go with the file of their
table: a part of a table is never stored. Triggers of the schema attach rows to pictures, whichever
of the two comes first and whoever brings it, and list in `undescribed` every picture whose rows
have changed since it was last described.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from seesay.search.catalog.database import (
    ANY_OF,
    Database,
    as_list,
    decoded,
    path_to_text,
    text_to_path,
)
from seesay.search.catalog.metadata import Metadata, sound

_Words = tuple[str | None, str]  # text and metadata as they are stored
_PICTURE_THERE = "EXISTS (SELECT 1 FROM items i WHERE i.path = a.path AND i.kind = 'image')"
_NOT_THERE = "NOT EXISTS (SELECT 1 FROM items i WHERE i.path = a.path)"


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What one row says of a picture."""

    text: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OwnDescription:
    """What is known of a picture apart from its annotations."""

    text: str | None
    metadata: Metadata
    """The values that annotations hide."""
    keys: Sequence[str]
    """The keys that annotations give, and that go with them."""

    def metadata_of(self, known: Metadata) -> Metadata:
        """The metadata of the picture as it would be without annotations."""
        rest = {key: value for key, value in known.items() if key not in self.keys}
        return rest | {key: self.metadata[key] for key in self.keys if key in self.metadata}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the collection."""

    file: int
    path: str
    rows: int | None
    """How many pictures its file names; None where version 0.1.0 took it in and did not count."""
    stored: int
    """How many of these rows there are."""
    detached: int
    """How many of them are not attached to their picture, though it is there."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost. What is not whole is read again by the next run."""
        return self.rows == self.stored and not self.detached


class Annotations:
    """The annotations of a collection. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_empty(self) -> bool:
        """Whether no picture has an annotation."""
        return not self._database.rows("SELECT 1 FROM annotations WHERE item > 0 LIMIT 1")

    def tables(self) -> list[Table]:
        """Every table, in the order of the paths."""
        rows = self._database.rows(
            "SELECT t.id, t.path, c.rows,"
            " (SELECT count(*) FROM annotations WHERE source = t.id),"
            " (SELECT count(*) FROM annotations a"
            f" WHERE a.source = t.id AND a.item IS NULL AND {_PICTURE_THERE})"
            " FROM items t LEFT JOIN tables c ON c.item = t.id WHERE t.kind = 'table'"
            " ORDER BY t.path"
        )
        return [
            Table(file=file, path=text_to_path(path), rows=count, stored=stored, detached=detached)
            for file, path, count, stored, detached in rows
        ]

    def replace(self, table: int, rows: Mapping[str, Annotation]) -> list[str]:
        """Store all rows of a table, by the path of their picture, in place of those it had;
        returns the paths that it named before and no longer names."""
        wanted = {path_to_text(path): _stored(row) for path, row in rows.items()}
        known = self._rows_of(table)
        gone = self._gone(table, known, wanted)
        self._database.run_many(
            "DELETE FROM annotations WHERE path = ? AND source = ?",
            ((path, table) for path in gone),
        )
        self._database.run_many(
            "INSERT INTO annotations (source, path, item, text, metadata) VALUES"
            " (?, ?, (SELECT id FROM items WHERE path = ? AND kind = 'image'), ?, ?)"
            " ON CONFLICT (path, source) DO UPDATE SET text = excluded.text,"
            " metadata = excluded.metadata, item = coalesce(excluded.item, item)",
            (
                (table, path, path, *words)
                for path, words in wanted.items()
                if known.get(path) != words
            ),
        )
        self._database.run(
            "INSERT INTO tables (item, rows) VALUES (?, ?)"
            " ON CONFLICT (item) DO UPDATE SET rows = excluded.rows WHERE rows != excluded.rows",
            (table, len(wanted)),
        )
        return [text_to_path(path) for path in gone]

    def of_files(self, files: Iterable[int]) -> dict[int, list[Annotation]]:
        """What each of these pictures is annotated with, in the order of the tables' paths. A
        picture that was renamed keeps its row while the table has none of its present path."""
        files = list(files)
        rows = self._database.rows(
            "SELECT a.item, t.path, a.path = p.path, a.text, a.metadata FROM annotations a"
            " JOIN items t ON t.id = a.source JOIN items p ON p.id = a.item"
            f" WHERE a.item IN {ANY_OF} ORDER BY t.path, a.path",
            (as_list(files),),
        )
        exact = {(file, table) for file, table, is_exact, *_ in rows if is_exact}
        found: dict[int, list[Annotation]] = {file: [] for file in files}
        for file, table, is_exact, text, metadata in rows:
            if is_exact or (file, table) not in exact:
                found[file].append(_annotation(text, metadata))
        return found

    def annotated(self, size: int = 500) -> Iterator[list[int]]:
        """Every picture with annotations, `size` at a time, from one state."""
        sql = "SELECT DISTINCT item FROM annotations WHERE item > 0 ORDER BY item"
        for page in self._database.pages(sql, (), size):
            yield [file for (file,) in page]

    def paths(self, table: int) -> set[str]:
        """The paths and addresses that a table names."""
        return {text_to_path(path) for path in self._rows_of(table)}

    def absent(self, table: int) -> list[str]:
        """The paths and addresses that a table names and the collection does not have."""
        rows = self._database.rows(
            f"SELECT path FROM annotations a WHERE source = ? AND {_NOT_THERE} ORDER BY id",
            (table,),
        )
        return [text_to_path(path) for (path,) in rows]

    def named(self, paths: Iterable[str]) -> set[str]:
        """Those of these paths that some table names."""
        texts = as_list(path_to_text(path) for path in paths)
        rows = self._database.rows(
            f"SELECT DISTINCT path FROM annotations WHERE path IN {ANY_OF}", (texts,)
        )
        return {text_to_path(path) for (path,) in rows}

    def hand_over(self, files: Iterable[int]) -> None:
        """Attach the rows of pictures that are about to be removed to a copy of each, if there is
        one that stays and that the table says nothing of."""
        gone = as_list(files)
        self._database.run(
            "UPDATE annotations AS a SET item = (SELECT copy.id FROM items gone JOIN items copy"
            " ON copy.content_hash = gone.content_hash AND copy.kind = gone.kind"
            f" WHERE gone.id = a.item AND copy.id NOT IN {ANY_OF} AND NOT EXISTS"
            " (SELECT 1 FROM annotations o WHERE o.source = a.source AND o.item = copy.id)"
            f" ORDER BY copy.id LIMIT 1) WHERE item IN {ANY_OF}",
            (gone, gone),
        )

    def attach_aliases(self, aliases: Mapping[str, str]) -> None:
        """Attach the rows that name a link to the picture that it leads to."""
        pairs = [(path_to_text(alias), path_to_text(path)) for alias, path in aliases.items()]
        self._database.run_many(
            "UPDATE annotations SET item = i.id FROM items i WHERE annotations.path = ?"
            " AND annotations.item IS NULL AND i.path = ? AND i.kind = 'image'",
            pairs,
        )

    def undescribed(self, count: int) -> list[int]:
        """The first `count` pictures whose rows changed since they were last described."""
        rows = self._database.rows("SELECT item FROM undescribed ORDER BY item LIMIT ?", (count,))
        return [file for (file,) in rows]

    def count_undescribed(self) -> int:
        """How many pictures wait to be described."""
        ((count,),) = self._database.rows("SELECT count(*) FROM undescribed")
        return count

    def set_undescribed(self, files: Iterable[int]) -> None:
        """Let the next run describe these pictures again."""
        self._database.run(
            f"INSERT OR IGNORE INTO undescribed SELECT id FROM items WHERE id IN {ANY_OF}",
            (as_list(files),),
        )

    def set_described(self, files: Iterable[int]) -> None:
        """These pictures are described by the rows that they have now."""
        self._database.run(f"DELETE FROM undescribed WHERE item IN {ANY_OF}", (as_list(files),))

    def own(self, passages: Iterable[int]) -> dict[int, OwnDescription]:
        """What is known apart from annotations, of those of these passages that have some."""
        rows = self._database.rows(
            # As bytes: half a surrogate pair in a key is no valid UTF-8.
            "SELECT unit, text, metadata, CAST(keys AS BLOB) FROM own_descriptions"
            f" WHERE unit IN {ANY_OF}",
            (as_list(passages),),
        )
        return {
            passage: OwnDescription(
                text=None if text is None else text_to_path(text),
                metadata=decoded(_read, metadata),
                keys=decoded(_read_keys, keys),
            )
            for passage, text, metadata, keys in rows
        }

    def set_own(self, own: Mapping[int, OwnDescription | None]) -> None:
        """Store what is known of passages apart from annotations; None where they have none."""
        self._database.run(f"DELETE FROM own_descriptions WHERE unit IN {ANY_OF}", (as_list(own),))
        self._database.run_many(
            "INSERT INTO own_descriptions (unit, text, metadata, keys) VALUES (?, ?, ?, ?)",
            (
                (passage, *_stored(one), json.dumps(list(one.keys)))
                for passage, one in own.items()
                if one is not None
            ),
        )

    def _rows_of(self, table: int) -> dict[str, _Words | None]:
        """By path; None for a row that must be attached to its picture."""
        rows = self._database.rows(
            f"SELECT path, text, metadata, item IS NULL AND {_PICTURE_THERE}"
            " FROM annotations a WHERE source = ?",
            (table,),
        )
        return {
            path: None if is_detached else (text, metadata)
            for path, text, metadata, is_detached in rows
        }

    def _gone(
        self, table: int, known: Mapping[str, _Words | None], wanted: Mapping[str, _Words]
    ) -> list[str]:
        gone = [path for path in known if path not in wanted]
        counted = self._database.rows("SELECT 1 FROM tables WHERE item = ?", (table,))
        if not gone or counted:
            return gone
        return self._renamed(table, gone, known, wanted)

    def _renamed(
        self,
        table: int,
        gone: Sequence[str],
        known: Mapping[str, _Words | None],
        wanted: Mapping[str, _Words],
    ) -> list[str]:
        """Version 0.1.0 knew rows by their picture alone, so that those of a renamed one came over
        with its present path. Give them the path that the table has; returns the others."""
        ((absent,),) = self._database.rows(
            "SELECT json_group_array(value) FROM json_each(?)"
            " WHERE value NOT IN (SELECT path FROM items)",
            (as_list(path for path in wanted if path not in known),),
        )
        waiting: dict[str, list[str]] = {}
        for path in json.loads(absent):
            waiting.setdefault(_compared(wanted[path]), []).append(path)
        rest = []
        for path in gone:
            words = known[path]
            names = waiting.get(_compared(words)) if words else None
            if not names:
                rest.append(path)
                continue
            self._database.run(
                "UPDATE annotations SET path = ? WHERE path = ? AND source = ?",
                (names.pop(0), path, table),
            )
        return rest


def _compared(words: _Words) -> str:
    """Equal for rows that say the same."""
    return json.dumps([words[0], json.loads(words[1])], sort_keys=True)


def _stored(row: Annotation | OwnDescription) -> _Words:
    text = None if row.text is None else path_to_text(row.text)
    return text, json.dumps(dict(row.metadata), default=_dated, sort_keys=True)


def _annotation(text: str | None, metadata: str) -> Annotation:
    return Annotation(
        text=None if text is None else text_to_path(text), metadata=decoded(_read, metadata)
    )


def _dated(value: object) -> object:
    assert isinstance(value, date)  # text, number and date are all that there is
    return {"time": value.isoformat()}


def _read_keys(raw: bytes) -> list[str]:
    keys: list[str] = json.loads(raw.decode("utf-8", "surrogatepass"))
    return keys


def _read(text: str) -> Metadata:
    known: dict[str, Any] = json.loads(text)
    return sound({name: _value(value) for name, value in known.items()})


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_value, value))
    return datetime.fromisoformat(value["time"]) if isinstance(value, dict) else value

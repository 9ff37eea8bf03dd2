"""Annotations of pictures: the rows of tables, and which picture each row describes.

A table and all its rows are written in one transaction, and rows are removed with the file of their
table, so a table is never stored in part. Triggers of the schema attach rows to pictures, whichever
comes first and whoever adds it, and list in `undescribed` every picture whose rows have changed
since it was last described.
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
    """The annotation of a picture by one row."""

    text: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OwnDescription:
    """The text and metadata of a picture without its annotations."""

    text: str | None
    metadata: Metadata
    """Values hidden by annotations."""
    keys: Sequence[str]
    """Keys that come from annotations and are removed with them."""

    def metadata_of(self, known: Metadata) -> Metadata:
        """Returns the picture's metadata as it would be without annotations."""
        rest = {key: value for key, value in known.items() if key not in self.keys}
        return rest | {key: self.metadata[key] for key in self.keys if key in self.metadata}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the collection."""

    file: int
    path: str
    rows: int | None
    """Number of pictures that its file names; None if version 0.1.0 indexed it, without
    counting."""
    stored: int
    """Number of these rows that are stored."""
    detached: int
    """Number of rows not attached to their picture, although it is in the collection."""

    @property
    def is_whole(self) -> bool:
        """Whether no row is lost. The next run reads incomplete tables again."""
        return self.rows == self.stored and not self.detached


class Annotations:
    """The annotations of a collection. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_empty(self) -> bool:
        """Whether no picture has an annotation."""
        return not self._database.rows("SELECT 1 FROM annotations WHERE item > 0 LIMIT 1")

    def tables(self) -> list[Table]:
        """Returns every table, ordered by path."""
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
        """Replace all rows of a table, keyed by picture path; returns the paths that it no longer
        names."""
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
        """Returns the annotations of each of these pictures, ordered by table path. A renamed
        picture keeps its row as long as the table has none for its new path."""
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
        """Yield every picture with annotations, `size` at a time, from one snapshot."""
        sql = "SELECT DISTINCT item FROM annotations WHERE item > 0 ORDER BY item"
        for page in self._database.pages(sql, (), size):
            yield [file for (file,) in page]

    def paths(self, table: int) -> set[str]:
        """Returns the paths and addresses that a table names."""
        return {text_to_path(path) for path in self._rows_of(table)}

    def absent(self, table: int) -> list[str]:
        """Returns the paths and addresses that a table names but the collection lacks."""
        rows = self._database.rows(
            f"SELECT path FROM annotations a WHERE source = ? AND {_NOT_THERE} ORDER BY id",
            (table,),
        )
        return [text_to_path(path) for (path,) in rows]

    def named(self, paths: Iterable[str]) -> set[str]:
        """Returns the paths among these that a table names."""
        texts = as_list(path_to_text(path) for path in paths)
        rows = self._database.rows(
            f"SELECT DISTINCT path FROM annotations WHERE path IN {ANY_OF}", (texts,)
        )
        return {text_to_path(path) for (path,) in rows}

    def hand_over(self, files: Iterable[int]) -> None:
        """Attach the rows of pictures about to be removed to a copy that stays, if there is one
        that the table does not describe itself."""
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
        """Returns the first `count` pictures whose rows changed since they were last described."""
        rows = self._database.rows("SELECT item FROM undescribed ORDER BY item LIMIT ?", (count,))
        return [file for (file,) in rows]

    def count_undescribed(self) -> int:
        """Returns the number of pictures to describe."""
        ((count,),) = self._database.rows("SELECT count(*) FROM undescribed")
        return count

    def set_undescribed(self, files: Iterable[int]) -> None:
        """Let the next run describe these pictures again."""
        self._database.run(
            f"INSERT OR IGNORE INTO undescribed SELECT id FROM items WHERE id IN {ANY_OF}",
            (as_list(files),),
        )

    def set_described(self, files: Iterable[int]) -> None:
        """Mark these pictures as described by their present rows."""
        self._database.run(f"DELETE FROM undescribed WHERE item IN {ANY_OF}", (as_list(files),))

    def own(self, passages: Iterable[int]) -> dict[int, OwnDescription]:
        """Returns the description without annotations, for those of these passages that are
        annotated."""
        rows = self._database.rows(
            # As bytes: half a surrogate pair in a key is not valid UTF-8.
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
        """Store the description of passages without annotations; None if they are not annotated."""
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
        """Returns the rows by path; None for a row that must be attached to its picture."""
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
        """Version 0.1.0 stored rows by picture only, so rows of a renamed picture migrated with its
        new path. Give them the path from the table; returns the other paths."""
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
    """Returns a form that is equal for rows with the same content."""
    return json.dumps([words[0], json.loads(words[1])], sort_keys=True)


def _stored(row: Annotation | OwnDescription) -> _Words:
    text = None if row.text is None else path_to_text(row.text)
    return text, json.dumps(dict(row.metadata), default=_dated, sort_keys=True)


def _annotation(text: str | None, metadata: str) -> Annotation:
    return Annotation(
        text=None if text is None else text_to_path(text), metadata=decoded(_read, metadata)
    )


def _dated(value: object) -> object:
    assert isinstance(value, date)  # only text, number and date exist
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

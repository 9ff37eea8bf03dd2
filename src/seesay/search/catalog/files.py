"""Files, each stored and removed with all of its passages, and the files that could not be read.

The latter are in quarantine: recorded with the reason, and not read again until they change.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seesay.errors import CollectionError
from seesay.search.catalog.database import (
    ANY_OF,
    Database,
    as_list,
    decoded,
    folder_and_name,
    path_to_text,
    text_to_path,
)
from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.passages import Passages
from seesay.text import Text

FileStatus = Literal["pending", "ready", "missing"]

_SELECT = (
    "SELECT id, path, kind, content_hash, size, mtime_ns, status, added_ns, seq FROM items WHERE"
)
_BAD = "path, content_hash, size, mtime_ns, stage, error, tries, first_ns, last_ns"


@dataclass(frozen=True, kw_only=True)
class FileDraft:
    """A file, or anything else with a path, to store with all its passages."""

    path: str
    """A path as Python spells it (`os.fsdecode`), whatever its bytes; or a URL."""
    media_type: str
    """What the file is: "image", "text", "document", "video" ..."""
    content_hash: str
    size: int
    """Bytes."""
    mtime_ns: int
    status: FileStatus = "ready"
    passages: tuple[PassageDraft, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """The numbers that a draft was given."""

    file: int
    passages: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as stored in the collection."""

    id: int
    path: str
    media_type: str
    content_hash: str
    size: int
    """Bytes."""
    mtime_ns: int
    status: FileStatus
    added_ns: int
    seq: int
    """The last change that wrote it."""


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A file that could not be read, and why; not tried again until it changes."""

    path: str
    content_hash: str | None
    size: int
    mtime_ns: int
    stage: str
    """The step that failed: "read", "decode" ...; "part" if the rest of the file was stored."""
    error: Text
    tries: int
    first_ns: int
    last_ns: int


class Files:
    """The files of a collection. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database, passages: Passages, quarantine: "Quarantine") -> None:
        self._database = database
        self._passages = passages
        self._quarantine = quarantine

    def put(self, drafts: Sequence[FileDraft]) -> tuple[StoredFile, ...]:
        """Store files with their passages. A file with a known path keeps its number, and loses its
        old passages with their vectors, keywords and metadata. Stored files leave the
        quarantine."""
        texts = {draft.path: path_to_text(draft.path) for draft in drafts}
        if len(texts) < len(drafts):
            raise _repeated(drafts)
        known = {path: file.id for path, file in self.by_path(texts).items()}
        seq, now = self._database.change.seq, time.time_ns()
        fresh = self._database.next_number("items")
        numbers, rows = [], []
        for one in drafts:
            number = known.get(one.path, fresh)
            fresh += number == fresh
            numbers.append(number)
            place = (texts[one.path], *folder_and_name(texts[one.path]))
            facts = (one.media_type, one.content_hash, one.size, one.mtime_ns, one.status)
            rows.append((number, *place, *facts, now, seq))
        self._database.run_many(
            "INSERT INTO items (id, path, folder, name, kind, content_hash, size, mtime_ns, status,"
            " added_ns, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET kind = excluded.kind, content_hash = excluded.content_hash, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, status = excluded.status, seq = excluded.seq",
            rows,
        )
        self._quarantine.release(texts)
        passages = self._passages.put(numbers, [draft.passages for draft in drafts])
        return tuple(StoredFile(file=n, passages=u) for n, u in zip(numbers, passages, strict=True))

    def get(self, ids: Iterable[int]) -> list[File]:
        """Returns files in the order of `ids`, leaving out those that are gone."""
        ids = list(ids)
        rows = self._database.rows(f"{_SELECT} id IN {ANY_OF}", (as_list(ids),))
        found = {file.id: file for file in _read(rows)}
        return [found[number] for number in ids if number in found]

    def by_path(self, paths: Iterable[str]) -> dict[str, File]:
        """Returns the files with these paths, by path."""
        texts = as_list(path_to_text(path) for path in paths)
        rows = self._database.rows(f"{_SELECT} path IN {ANY_OF}", (texts,))
        return {file.path: file for file in _read(rows)}

    def by_hash(self, hashes: Iterable[str]) -> list[File]:
        """Returns every file with one of these contents, in order of storing."""
        sql = f"{_SELECT} content_hash IN {ANY_OF} ORDER BY id"
        return _read(self._database.rows(sql, (as_list(hashes),)))

    def paths_of(self, media_type: str) -> list[str]:
        """Returns the paths of the files of a media type."""
        rows = self._database.rows("SELECT path FROM items WHERE kind = ?", (media_type,))
        return [text_to_path(path) for (path,) in rows]

    def repeated_contents(self) -> list[str]:
        """Returns the contents that several files share."""
        rows = self._database.rows(
            "SELECT content_hash FROM items WHERE content_hash != '' AND status = 'ready'"
            " GROUP BY content_hash HAVING count(*) > 1"
        )
        return [content for (content,) in rows]

    def under(self, folder: str) -> Iterator[File]:
        """Yield the files in and below a folder, ordered by path, from one snapshot."""
        text = path_to_text(folder).rstrip("/") + "/"
        sql = f"{_SELECT} path > ? AND path < ? ORDER BY path"
        for page in self._database.pages(sql, (text, text[:-1] + "0")):
            yield from _read(page)

    def all(self) -> Iterator[File]:
        """Yield every file in order of storing, from one snapshot."""
        for page in self._database.pages(f"{_SELECT} true ORDER BY id"):
            yield from _read(page)

    def move(self, paths: Mapping[int, str]) -> None:
        """Give files, by number, new paths; all their data stays."""
        seq = self._database.change.seq
        rows = [(number, path_to_text(path)) for number, path in paths.items()]
        # Go through a name that no file has, so that two files can swap names.
        self._database.run_many(
            "UPDATE items SET path = ? WHERE id = ?", [(f"\0{n}", n) for n, _ in rows]
        )
        self._database.run_many(
            "UPDATE items SET path = ?, folder = ?, name = ?, seq = ? WHERE id = ?",
            ((text, *folder_and_name(text), seq, number) for number, text in rows),
        )
        self._passages.touch_files(paths)

    def set_file(self, number: int, *, size: int, mtime_ns: int) -> None:
        """Update size and time of a file that was touched but has the same content."""
        seq = self._database.change.seq
        self._database.run(
            "UPDATE items SET size = ?, mtime_ns = ?, seq = ? WHERE id = ?",
            (size, mtime_ns, seq, number),
        )
        self._passages.touch_files([number])

    def set_status(self, ids: Iterable[int], status: FileStatus) -> None:
        """Mark files as ready, pending or missing."""
        ids = list(ids)
        self._database.run(
            f"UPDATE items SET status = ?, seq = ? WHERE id IN {ANY_OF}",
            (status, self._database.change.seq, as_list(ids)),
        )
        self._passages.touch_files(ids)

    def remove(self, ids: Iterable[int]) -> int:
        """Remove files with their passages, vectors, keywords and metadata; returns their
        number."""
        return self._database.run(f"DELETE FROM items WHERE id IN {ANY_OF}", (as_list(ids),))


def _read(rows: Iterable[tuple[Any, ...]]) -> list[File]:
    # Name by name, since a server makes thousands of these a second.
    return [
        File(
            id=number,
            path=text_to_path(path),
            media_type=kind,
            content_hash=content_hash,
            size=size,
            mtime_ns=mtime_ns,
            status=status,
            added_ns=added_ns,
            seq=seq,
        )
        for number, path, kind, content_hash, size, mtime_ns, status, added_ns, seq in rows
    ]


def _repeated(drafts: Sequence[FileDraft]) -> CollectionError:
    paths = [draft.path for draft in drafts]
    twice = next(path for path in paths if paths.count(path) > 1)
    return CollectionError(
        Text(
            f"a batch holds {twice!r} more than once, expected each path once: leave out all but "
            "the newest",
            f"一批文件中 {twice!r} 出现了多次；每个路径应只出现一次；请只保留最新的",
        )
    )


class Quarantine:
    """The bad files of a collection. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        path: str,
        *,
        size: int,
        mtime_ns: int,
        stage: str,
        error: Text,
        content_hash: str | None = None,
    ) -> None:
        """Record a failure; a repeated failure of a file increases its tries. `content_hash` is
        None if the file could not even be hashed."""
        now = time.time_ns()
        told = path_to_text(json.dumps([error.en, error.zh], ensure_ascii=False))
        facts = (content_hash, size, mtime_ns, stage, told)
        self._database.run(
            f"INSERT INTO quarantine ({_BAD}) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET content_hash = excluded.content_hash,"
            " size = excluded.size, mtime_ns = excluded.mtime_ns, stage = excluded.stage,"
            " error = excluded.error, tries = tries + 1, last_ns = excluded.last_ns",
            (path_to_text(path), *facts, now, now),
        )

    def all(self) -> list[Quarantined]:
        """Returns every bad file, ordered by path."""
        return self._select("true ORDER BY path")

    def by_path(self, paths: Iterable[str]) -> dict[str, Quarantined]:
        """Returns the entries of these paths that are in quarantine."""
        texts = as_list(path_to_text(path) for path in paths)
        return {bad.path: bad for bad in self._select(f"path IN {ANY_OF}", texts)}

    def release(self, paths: Iterable[str]) -> int:
        """Release files from quarantine; returns how many were in it."""
        texts = as_list(path_to_text(path) for path in paths)
        return self._database.run(f"DELETE FROM quarantine WHERE path IN {ANY_OF}", (texts,))

    def retry(self) -> int:
        """Let the next run read all bad files again; returns their number. Those of which a part
        was used stay, as if they had been changed since. Archives are looked into again, since
        bad files may be in them."""
        seq = self._database.change.seq
        self._database.run(
            "UPDATE items SET status = 'pending', seq = ? WHERE kind = 'archive'", (seq,)
        )
        told = self._database.run("UPDATE quarantine SET mtime_ns = -1 WHERE stage = 'part'")
        return told + self._database.run("DELETE FROM quarantine WHERE stage != 'part'")

    def _select(self, condition: str, *values: object) -> list[Quarantined]:
        rows = self._database.rows(f"SELECT {_BAD} FROM quarantine WHERE {condition}", values)
        known = [dict(zip(_BAD.split(", "), row, strict=True)) for row in rows]
        for one in known:
            one |= {"path": text_to_path(one["path"]), "error": decoded(_reason, one["error"])}
        return [Quarantined(**one) for one in known]


def _reason(stored: str) -> Text:
    en, zh = json.loads(text_to_path(stored))
    return Text(en, zh)

"""Files, and what else has a path: each with all of its units, stored and removed as one; and the
files that could not be read, which are recorded, shown, and left alone until they change."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from seesay.errors import CollectionError
from seesay.search.catalog.database import ANY_OF, Database, as_list
from seesay.search.catalog.passages import UnitDraft, Units
from seesay.search.catalog.paths import folder_and_name, path_to_text, text_to_path
from seesay.text import Text

ItemStatus = Literal["pending", "ready", "missing"]

_SELECT = (
    "SELECT id, path, kind, content_hash, size, mtime_ns, status, added_ns, seq FROM items WHERE"
)
_BAD = "path, content_hash, size, mtime_ns, stage, error, tries, first_ns, last_ns"


@dataclass(frozen=True, kw_only=True)
class ItemDraft:
    """A file, or something else with a path, to be stored with all of its units."""

    path: str
    """As Python spells it (`os.fsdecode`), whatever its bytes; or a URL."""
    kind: str
    """What the file is: "image", "text", "document", "video" ..."""
    content_hash: str
    size: int
    """Bytes."""
    mtime_ns: int
    status: ItemStatus = "ready"
    units: tuple[UnitDraft, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Which numbers a draft was given."""

    item: int
    units: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A file as the collection knows it."""

    id: int
    path: str
    kind: str
    content_hash: str
    size: int
    """Bytes."""
    mtime_ns: int
    status: ItemStatus
    added_ns: int
    seq: int
    """The change that wrote it last."""


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """A file that could not be read, and why; left alone until it changes."""

    path: str
    content_hash: str | None
    size: int
    mtime_ns: int
    stage: str
    """What was being done: "read", "decode", "embed" ..."""
    error: str
    tries: int
    first_ns: int
    last_ns: int


class Items:
    """The items of a collection. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database, units: Units, quarantine: "Quarantine") -> None:
        self._database = database
        self._units = units
        self._quarantine = quarantine

    def put(self, drafts: Sequence[ItemDraft]) -> tuple[Stored, ...]:
        """Store items with their units. One of a path that is known keeps its number, and its
        former units go, with their vectors, keywords and metadata. What could be stored is no
        longer in quarantine."""
        texts = {draft.path: path_to_text(draft.path) for draft in drafts}
        if len(texts) < len(drafts):
            raise _repeated(drafts)
        known = {path: item.id for path, item in self.by_path(texts).items()}
        self._units.remove_of_items(known.values())
        seq, now = self._database.change.seq, time.time_ns()
        fresh = self._database.next_number("items")
        numbers, rows = [], []
        for one in drafts:
            number = known.get(one.path, fresh)
            fresh += number == fresh
            numbers.append(number)
            place = (texts[one.path], *folder_and_name(texts[one.path]))
            facts = (one.kind, one.content_hash, one.size, one.mtime_ns, one.status)
            rows.append((number, *place, *facts, now, seq))
        self._database.run_many(
            "INSERT INTO items (id, path, folder, name, kind, content_hash, size, mtime_ns, status,"
            " added_ns, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET kind = excluded.kind, content_hash = excluded.content_hash, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, status = excluded.status, seq = excluded.seq",
            rows,
        )
        self._quarantine.release(texts)
        units = self._units.put(numbers, [draft.units for draft in drafts])
        return tuple(Stored(item=n, units=u) for n, u in zip(numbers, units, strict=True))

    def get(self, ids: Iterable[int]) -> list[Item]:
        """In the order of `ids`; those that are gone are left out."""
        ids = list(ids)
        rows = self._database.rows(f"{_SELECT} id IN {ANY_OF}", (as_list(ids),))
        found = {item.id: item for item in _items(rows)}
        return [found[number] for number in ids if number in found]

    def by_path(self, paths: Iterable[str]) -> dict[str, Item]:
        """The items that have one of these paths, by path."""
        texts = as_list(path_to_text(path) for path in paths)
        rows = self._database.rows(f"{_SELECT} path IN {ANY_OF}", (texts,))
        return {item.path: item for item in _items(rows)}

    def by_hash(self, hashes: Iterable[str]) -> list[Item]:
        """Every item with one of these contents, the first stored first."""
        sql = f"{_SELECT} content_hash IN {ANY_OF} ORDER BY id"
        return _items(self._database.rows(sql, (as_list(hashes),)))

    def by_status(self, status: ItemStatus) -> list[Item]:
        """Every item of this status, the first stored first."""
        return _items(self._database.rows(f"{_SELECT} status = ? ORDER BY id", (status,)))

    def repeated_contents(self) -> list[str]:
        """The contents that several items have."""
        rows = self._database.rows(
            "SELECT content_hash FROM items WHERE content_hash != '' AND status = 'ready'"
            " GROUP BY content_hash HAVING count(*) > 1"
        )
        return [content for (content,) in rows]

    def under(self, folder: str) -> Iterator[Item]:
        """The items in a folder and below it, in the order of their paths, from one state."""
        text = path_to_text(folder).rstrip("/") + "/"
        sql = f"{_SELECT} path > ? AND path < ? ORDER BY path"
        for page in self._database.pages(sql, (text, text[:-1] + "0")):
            yield from _items(page)

    def all(self) -> Iterator[Item]:
        """Every item, the first stored first, from one state."""
        for page in self._database.pages(f"{_SELECT} true ORDER BY id"):
            yield from _items(page)

    def move(self, paths: Mapping[int, str]) -> None:
        """Give items, by number, new paths: what is known of them stays."""
        seq = self._database.change.seq
        rows = [(number, path_to_text(path)) for number, path in paths.items()]
        # By way of a name that no file has, so that two files may change names with each other.
        self._database.run_many(
            "UPDATE items SET path = ? WHERE id = ?", [(f"\0{n}", n) for n, _ in rows]
        )
        self._database.run_many(
            "UPDATE items SET path = ?, folder = ?, name = ?, seq = ? WHERE id = ?",
            ((text, *folder_and_name(text), seq, number) for number, text in rows),
        )
        self._units.touch_items(paths)

    def set_file(self, number: int, *, size: int, mtime_ns: int) -> None:
        """The file was touched and holds the same as before."""
        seq = self._database.change.seq
        self._database.run(
            "UPDATE items SET size = ?, mtime_ns = ?, seq = ? WHERE id = ?",
            (size, mtime_ns, seq, number),
        )
        self._units.touch_items([number])

    def set_status(self, ids: Iterable[int], status: ItemStatus) -> None:
        """Say that items are ready, pending or missing."""
        ids = list(ids)
        self._database.run(
            f"UPDATE items SET status = ?, seq = ? WHERE id IN {ANY_OF}",
            (status, self._database.change.seq, as_list(ids)),
        )
        self._units.touch_items(ids)

    def remove(self, ids: Iterable[int]) -> int:
        """Remove items with all their units, vectors, keywords and metadata; returns how many."""
        return self._database.run(f"DELETE FROM items WHERE id IN {ANY_OF}", (as_list(ids),))


def _items(rows: Iterable[tuple[Any, ...]]) -> list[Item]:
    # Name by name, since a server makes thousands of these a second.
    return [
        Item(
            id=number,
            path=text_to_path(path),
            kind=kind,
            content_hash=content_hash,
            size=size,
            mtime_ns=mtime_ns,
            status=status,
            added_ns=added_ns,
            seq=seq,
        )
        for number, path, kind, content_hash, size, mtime_ns, status, added_ns, seq in rows
    ]


def _repeated(drafts: Sequence[ItemDraft]) -> CollectionError:
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
    """The bad files of a collection. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        path: str,
        *,
        size: int,
        mtime_ns: int,
        stage: str,
        error: str,
        content_hash: str | None = None,
    ) -> None:
        """Record a failure; another one of the same file counts its tries up. `content_hash` is
        None where the file could not even be hashed."""
        now = time.time_ns()
        facts = (content_hash, size, mtime_ns, stage, path_to_text(error))
        self._database.run(
            f"INSERT INTO quarantine ({_BAD}) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET content_hash = excluded.content_hash,"
            " size = excluded.size, mtime_ns = excluded.mtime_ns, stage = excluded.stage,"
            " error = excluded.error, tries = tries + 1, last_ns = excluded.last_ns",
            (path_to_text(path), *facts, now, now),
        )

    def all(self) -> list[Quarantined]:
        """Every bad file, in the order of the paths."""
        return self._select("true ORDER BY path")

    def by_path(self, paths: Iterable[str]) -> dict[str, Quarantined]:
        """Those of these paths that are in quarantine."""
        texts = as_list(path_to_text(path) for path in paths)
        return {bad.path: bad for bad in self._select(f"path IN {ANY_OF}", texts)}

    def release(self, paths: Iterable[str]) -> int:
        """Forget that these files were bad; returns how many were."""
        texts = as_list(path_to_text(path) for path in paths)
        return self._database.run(f"DELETE FROM quarantine WHERE path IN {ANY_OF}", (texts,))

    def _select(self, condition: str, *values: object) -> list[Quarantined]:
        rows = self._database.rows(f"SELECT {_BAD} FROM quarantine WHERE {condition}", values)
        known = [dict(zip(_BAD.split(", "), row, strict=True)) for row in rows]
        for one in known:
            one |= {"path": text_to_path(one["path"]), "error": text_to_path(one["error"])}
        return [Quarantined(**one) for one in known]

"""Files, and what else has a path: each with all of its units, stored and removed as one."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from seesay.errors import CollectionError
from seesay.search.catalog.records import Item, ItemDraft, ItemStatus, Stored
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list, next_number
from seesay.search.catalog.sqlite.paths import folder_and_name, path_to_text, text_to_path
from seesay.search.catalog.units import Units

_COLUMNS = "id, path, kind, content_hash, size, mtime_ns, status, added_ns, seq"


class Items:
    """The items of a collection. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database, units: Units) -> None:
        self._database = database
        self._units = units

    def put(self, drafts: Sequence[ItemDraft]) -> tuple[Stored, ...]:
        """Store items with their units. One of a path that is known keeps its number, and its
        former units go, with their vectors, keywords and metadata."""
        known = self._known(drafts)
        self._units.remove_of_items(known.values())
        fresh = next_number(self._database, "items")
        numbers = []
        for draft in drafts:
            numbers.append(known.get(draft.path, fresh))
            fresh += draft.path not in known
        self._database.run_many(
            "INSERT INTO items (id, path, folder, name, kind, content_hash, size, mtime_ns, status,"
            " added_ns, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET kind = excluded.kind, content_hash = excluded.content_hash, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, status = excluded.status, seq = excluded.seq",
            map(self._row, numbers, drafts),
        )
        self._release([draft.path for draft in drafts])
        units = self._units.put(numbers, [draft.units for draft in drafts])
        return tuple(Stored(item=n, units=u) for n, u in zip(numbers, units, strict=True))

    def get(self, ids: Iterable[int]) -> list[Item]:
        """In the order of `ids`; those that are gone are left out."""
        ids = list(ids)
        found = {item.id: item for item in self._select(f"id IN {ANY_OF}", as_list(ids))}
        return [found[number] for number in ids if number in found]

    def by_path(self, paths: Iterable[str]) -> dict[str, Item]:
        """The items that have one of these paths, by path."""
        texts = as_list(path_to_text(path) for path in paths)
        return {item.path: item for item in self._select(f"path IN {ANY_OF}", texts)}

    def by_hash(self, hashes: Iterable[str]) -> list[Item]:
        """Every item with one of these contents, the first stored first."""
        return self._select(f"content_hash IN {ANY_OF} ORDER BY id", as_list(hashes))

    def repeated_contents(self) -> list[str]:
        """The contents that several items have."""
        rows = self._database.rows(
            "SELECT content_hash FROM items WHERE content_hash != '' AND status = 'ready'"
            " GROUP BY content_hash HAVING count(*) > 1"
        )
        return [content for (content,) in rows]

    def by_status(self, status: ItemStatus) -> list[Item]:
        """Every item of this status, the first stored first."""
        return self._select("status = ? ORDER BY id", status)

    def under(self, folder: str) -> Iterator[Item]:
        """The items in a folder and below it, in the order of their paths, from one state."""
        text = path_to_text(folder).rstrip("/") + "/"
        return self._pages("path > ? AND path < ? ORDER BY path", (text, text[:-1] + "0"))

    def all(self) -> Iterator[Item]:
        """Every item, the first stored first, from one state."""
        return self._pages("true ORDER BY id", ())

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

    def _known(self, drafts: Sequence[ItemDraft]) -> dict[str, int]:
        paths = {draft.path for draft in drafts}
        if len(paths) < len(drafts):
            twice = next(p for p in paths if sum(draft.path == p for draft in drafts) > 1)
            raise CollectionError(
                f"a batch holds {twice!r} more than once, expected each path once: leave out all "
                "but the newest"
            )
        return {path: item.id for path, item in self.by_path(paths).items()}

    def _row(self, number: int, draft: ItemDraft) -> tuple[object, ...]:
        text = path_to_text(draft.path)
        facts = (draft.kind, draft.content_hash, draft.size, draft.mtime_ns, draft.status)
        seq = self._database.change.seq
        return (number, text, *folder_and_name(text), *facts, time.time_ns(), seq)

    def _release(self, paths: Sequence[str]) -> None:
        """What could be stored is no longer in quarantine."""
        texts = as_list(path_to_text(path) for path in paths)
        self._database.run(f"DELETE FROM quarantine WHERE path IN {ANY_OF}", (texts,))

    def _select(self, condition: str, *values: object) -> list[Item]:
        sql = f"SELECT {_COLUMNS} FROM items WHERE {condition}"
        return [_item(row) for row in self._database.rows(sql, values)]

    def _pages(self, condition: str, values: Sequence[object]) -> Iterator[Item]:
        pages = self._database.pages(f"SELECT {_COLUMNS} FROM items WHERE {condition}", values)
        return map(_item, chain.from_iterable(pages))


def _item(row: tuple[Any, ...]) -> Item:
    # Name by name, since a server makes thousands of these a second.
    number, path, kind, content_hash, size, mtime_ns, status, added_ns, seq = row
    return Item(
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

"""Passages: the pictures, pages, moments and pieces of text that are embedded, found and shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from seesay.search.catalog.cells import CellTables
from seesay.search.catalog.database import (
    ANY_OF,
    Database,
    as_list,
    decoded,
    path_to_text,
    text_to_path,
)
from seesay.search.catalog.drafts import (
    FINGERPRINT_SIDE,
    Modality,
    PassageDraft,
    Place,
)
from seesay.search.catalog.keywords import KeywordIndex
from seesay.search.catalog.metadata import (
    OBJECT_KEY,
    READABLE,
    Metadata,
    MetadataTable,
    read,
    sound,
)

_COLUMNS = "id, item, position, kind, modality, locator, text"


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A picture, page, moment or piece of text of a file. Numbers are never used twice."""

    id: int
    file: int
    position: int
    """Order within the file, from 0."""
    modality: Modality
    media_type: str
    """"image", "page", "moment", "text", "table" ..."""
    place: Place
    text: str | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentFingerprints:
    """One fingerprint for each content that has one."""

    contents: list[str]
    passages: Int[np.ndarray, " contents"]
    """A picture of this content."""
    pixels: UInt8[np.ndarray, "contents levels"]


class Fingerprints:
    """The fingerprints of pictures; removed with their passage. Methods that write work only inside
    `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, fingerprints: Mapping[int, bytes]) -> None:
        """Store the fingerprints of passages, by number; skips passages that are gone."""
        self._database.run_many(
            "INSERT INTO fingerprints (unit, pixels) SELECT id, ? FROM units WHERE id = ?"
            " ON CONFLICT (unit) DO UPDATE SET pixels = excluded.pixels",
            ((pixels, passage) for passage, pixels in fingerprints.items()),
        )

    def of_passages(self, passages: Iterable[int]) -> dict[int, UInt8[np.ndarray, " levels"]]:
        """Returns fingerprints by passage; if a passage has none, that of a file with the same
        content."""
        rows = self._database.rows(
            "SELECT u.id, (SELECT f.pixels FROM items twin JOIN units other ON other.item = twin.id"
            " JOIN fingerprints f ON f.unit = other.id WHERE twin.content_hash = i.content_hash"
            f" LIMIT 1) FROM units u JOIN items i ON i.id = u.item WHERE u.id IN {ANY_OF}",
            (as_list(passages),),
        )
        return {passage: np.frombuffer(pixels, np.uint8) for passage, pixels in rows if pixels}

    def of_contents(self) -> ContentFingerprints:
        """Returns the fingerprints of all contents."""
        # SQLite takes the other columns from the row with the minimum.
        rows = self._database.rows(
            "SELECT i.content_hash, min(f.unit), f.pixels FROM fingerprints f JOIN units u"
            " ON u.id = f.unit JOIN items i ON i.id = u.item"
            " WHERE i.status = 'ready' GROUP BY i.content_hash"
        )
        pixels = np.frombuffer(b"".join(row[2] for row in rows), np.uint8)
        return ContentFingerprints(
            contents=[row[0] for row in rows],
            passages=np.array([row[1] for row in rows], np.int64),
            pixels=pixels.reshape(len(rows), FINGERPRINT_SIDE**2),
        )

    def missing(self) -> list[int]:
        """Returns a picture of each content without a fingerprint, except addresses, which are
        fetched only once. Files with the same content share one."""
        rows = self._database.rows(
            "SELECT min(u.id) FROM units u JOIN items i ON i.id = u.item"
            " WHERE u.kind = 'image' AND i.status = 'ready'"
            " AND i.path NOT GLOB 'http://*' AND i.path NOT GLOB 'https://*'"
            " AND NOT EXISTS (SELECT 1 FROM fingerprints WHERE unit = u.id)"
            " AND NOT EXISTS (SELECT 1 FROM items twin JOIN units other ON other.item = twin.id"
            " JOIN fingerprints f ON f.unit = other.id WHERE twin.content_hash = i.content_hash)"
            " GROUP BY i.content_hash ORDER BY 1"
        )
        return [passage for (passage,) in rows]


class Passages:
    """The passages of a collection. Methods that write work only inside `store.writing`."""

    def __init__(
        self,
        database: Database,
        metadata: MetadataTable,
        keywords: KeywordIndex,
        fingerprints: Fingerprints,
        cells: CellTables,
    ) -> None:
        self._database = database
        self._cells = cells
        self._fingerprints = fingerprints
        self._metadata = metadata
        self._keywords = keywords

    def put(
        self, files: Sequence[int], drafts: Sequence[Sequence[PassageDraft]]
    ) -> list[tuple[int, ...]]:
        """Replace the passages of each file; the old ones are removed with their vectors, keywords
        and metadata. Returns the new numbers."""
        self._database.run(f"DELETE FROM units WHERE item IN {ANY_OF}", (as_list(files),))
        seq, number = self._database.change.seq, self._database.next_number("units")
        numbers: list[tuple[int, ...]] = []
        rows: list[tuple[object, ...]] = []
        flat = [passage for passages in drafts for passage in passages]
        ids = range(number, number + len(flat))
        for file, passages in zip(files, drafts, strict=True):
            numbers.append(tuple(range(number, number + len(passages))))
            for position, passage in enumerate(passages):
                text = None if passage.text is None else path_to_text(passage.text)
                media_type = passage.media_type or passage.modality
                place = passage.place.to_json()
                rows.append(
                    (number, file, position, media_type, passage.modality, place, text, seq)
                )
                number += 1
        self._database.run_many(
            "INSERT INTO units (id, item, position, kind, modality, locator, text, seq)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._metadata.put(ids, [passage.metadata for passage in flat])
        words = [_words(one.text, _object_names(one.metadata)) for one in flat]
        if any(words):
            self._keywords.put(ids, words)
        self._fingerprints.put(
            {n: u.fingerprint for n, u in zip(ids, flat, strict=True) if u.fingerprint}
        )
        self._cells.put({n: u.table for n, u in zip(ids, flat, strict=True) if u.table})
        return numbers

    @property
    def newest(self) -> int:
        """Returns the highest passage number ever used."""
        return self._database.next_number("units") - 1

    def get(self, ids: Iterable[int] | Int[np.ndarray, " passages"]) -> list[Passage]:
        """Returns passages in the order of `ids`, leaving out those that are gone."""
        ids = [int(number) for number in ids]
        found = {passage.id: passage for passage in self._select(f"id IN {ANY_OF}", as_list(ids))}
        return [found[number] for number in ids if number in found]

    def pictures(self, ids: Iterable[int] | Int[np.ndarray, " passages"]) -> list[int]:
        """Returns the `ids` that are pictures, pages or moments."""
        wanted = as_list(int(number) for number in ids)
        rows = self._database.rows(
            f"SELECT id FROM units WHERE id IN {ANY_OF} AND modality = 'image'", (wanted,)
        )
        return [number for (number,) in rows]

    def of_files(self, files: Iterable[int]) -> list[Passage]:
        """Returns all passages of these files, in order."""
        return self._select(f"item IN {ANY_OF} ORDER BY item, position", as_list(files))

    def describe(
        self, passage: int, *, text: str | None = None, metadata: Metadata | None = None
    ) -> None:
        """Replace the text, the metadata or both of a passage, with its keywords. None keeps the
        old value; an empty text removes the text. Drops metadata that cannot be stored."""
        seq = self._database.change.seq
        objects = now = self._objects(passage)
        if text is not None:
            self._database.run(
                "UPDATE units SET text = nullif(?, '') WHERE id = ?", (path_to_text(text), passage)
            )
        if metadata is not None:
            values = sound(metadata)
            now = _object_names(values)
            self._metadata.remove([passage])
            self._metadata.put([passage], [values])
        if text is not None or now != objects:
            known = self.get([passage])[0].text if text is None else text
            self._keywords.remove([passage])
            self._keywords.put([passage], [_words(known, now)])
        self._database.run("UPDATE units SET seq = ? WHERE id = ?", (seq, passage))

    def index_words(self, passages: Iterable[int]) -> None:
        """Add passages to the keyword index that are not in it."""
        some = self.get(passages)
        metadata = self._metadata.get(one.id for one in some)
        texts = [_words(one.text, _object_names(metadata[one.id])) for one in some]
        self._keywords.put([one.id for one in some], texts)

    def touch_files(self, files: Iterable[int]) -> None:
        """Record that the descriptions of these files' passages have changed."""
        self._database.run(
            f"UPDATE units SET seq = ? WHERE item IN {ANY_OF}",
            (self._database.change.seq, as_list(files)),
        )

    def _objects(self, passage: int) -> list[str]:
        rows = self._database.rows(
            f"SELECT {READABLE.format('m.value')} FROM metadata m"
            " JOIN metadata_keys k ON k.id = m.key"
            " WHERE m.unit = ? AND k.name = ? AND k.type = 'text' ORDER BY m.value",
            (passage, OBJECT_KEY),
        )
        return [str(read("text", value)) for (value,) in rows]

    def _select(self, condition: str, *values: object) -> list[Passage]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM units WHERE {condition}", values)
        return [
            Passage(
                id=number,
                file=file,
                position=position,
                media_type=kind,
                modality=modality,
                place=decoded(Place.from_json, place),
                # Spelled like paths: a text made from a file name may contain bytes that are not
                # UTF-8
                text=None if text is None else text_to_path(text),
            )
            for number, file, position, kind, modality, place, text in rows
        ]


def _object_names(metadata: Metadata) -> list[str]:
    """Returns the names of objects in a picture: word searches find it by these, too."""
    values = metadata.get(OBJECT_KEY, ())
    some = (values,) if isinstance(values, str) or not isinstance(values, Sequence) else values
    return [value for value in some if isinstance(value, str)]


def _words(text: str | None, objects: Sequence[str]) -> str:
    """Returns the words by which the keyword index finds a passage."""
    return "\n".join(filter(None, (text, *objects)))

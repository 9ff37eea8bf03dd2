"""The vectors, float16, and what an index must know of changes: for each space one of each unit,
and of pictures that have captions a second one, of these, in the lane of texts."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Float16, Int

from seesay.errors import CollectionError
from seesay.search.catalog.records import Modality
from seesay.search.catalog.spaces import Spaces
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list

HALF = np.dtype("<f2")
NORM_TOLERANCE = 0.01
_WITHOUT_OWN = (
    "NOT EXISTS (SELECT 1 FROM vectors v"
    " WHERE v.unit = units.id AND v.space = ? AND v.modality = units.modality)"
)
_BLANK = "".join(filter(str.isspace, map(chr, range(0x3001))))  # the last is that of Chinese
_WITHOUT_CAPTION = (
    "modality = 'image' AND trim(text, ?) != '' AND NOT EXISTS (SELECT 1 FROM vectors v"
    " WHERE v.unit = units.id AND v.space = ? AND v.modality = 'text')"
)


class Vectors:
    """The vectors of a collection. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database, spaces: Spaces) -> None:
        self._database = database
        self._spaces = spaces

    def put(
        self,
        space: int,
        units: Sequence[int] | Int[np.ndarray, " rows"],
        vectors: Float[np.ndarray, "rows embed"],
        *,
        lane: Modality | None = None,
    ) -> None:
        """Store unit vectors; one that a unit already has in this space and lane is replaced.
        `lane` of None is that of each unit.

        Raises CollectionError where dimension, length or number do not fit, or a unit is gone.
        """
        self._check(space, len(units), vectors)
        raw = np.ascontiguousarray(vectors, HALF).tobytes()
        width = HALF.itemsize * vectors.shape[1]
        seq = self._database.change.seq
        rows = (
            (space, lane, seq, raw[i * width : (i + 1) * width], int(unit))
            for i, unit in enumerate(units)
        )
        written = self._database.run_many(
            "INSERT INTO vectors (unit, space, modality, seq, vector)"
            " SELECT id, ?, coalesce(?, modality), ?, ? FROM units WHERE id = ?"
            " ON CONFLICT (unit, space, modality)"
            " DO UPDATE SET vector = excluded.vector, seq = excluded.seq",
            rows,
        )
        if written != len(units):
            raise CollectionError(
                f"{len(units) - written} of {len(units)} vectors belong to units that are not in "
                "the collection, expected units that are; store the items first"
            )

    def get(
        self, space: int, units: Iterable[int], *, lane: Modality | None = None
    ) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows embed"]]:
        """Those of these units that have a vector in a lane (None: its own), in the order of their
        numbers, and the vectors (float32)."""
        rows = self._database.rows(
            f"SELECT unit, vector FROM vectors WHERE space = ? AND unit IN {ANY_OF} AND modality"
            " = coalesce(?, (SELECT modality FROM units WHERE id = unit)) ORDER BY unit",
            (space, as_list(units), lane),
        )
        numbers, vectors = _arrays(rows, self._spaces.get(space).dim)
        return numbers, vectors.astype(np.float32)

    def missing(self, space: int, count: int, after: int = 0) -> list[int]:
        """The first `count` units after number `after` that have no vector in this space."""
        rows = self._database.rows(
            f"SELECT id FROM units WHERE id > ? AND {_WITHOUT_OWN} ORDER BY id LIMIT ?",
            (after, space, count),
        )
        return [unit for (unit,) in rows]

    def count_missing(self, space: int) -> int:
        """How many units have no vector in this space."""
        sql = f"SELECT count(*) FROM units WHERE {_WITHOUT_OWN}"
        ((count,),) = self._database.rows(sql, (space,))
        return count

    def without_caption(self, space: int, count: int, after: int = 0) -> list[int]:
        """The first `count` pictures after unit `after` whose captions have no vector here."""
        rows = self._database.rows(
            f"SELECT id FROM units WHERE id > ? AND {_WITHOUT_CAPTION} ORDER BY id LIMIT ?",
            (after, _BLANK, space, count),
        )
        return [unit for (unit,) in rows]

    def count_without_caption(self, space: int) -> int:
        """How many pictures have captions without a vector here."""
        sql = f"SELECT count(*) FROM units WHERE {_WITHOUT_CAPTION}"
        ((count,),) = self._database.rows(sql, (_BLANK, space))
        return count

    def captioned(self, space: int, units: Iterable[int]) -> Int[np.ndarray, " found"]:
        """Those of these units that are pictures with captions in the lane of texts."""
        rows = self._database.rows(
            "SELECT u.id FROM units u JOIN vectors v ON v.unit = u.id AND v.space = ? AND"
            f" v.modality = 'text' WHERE u.id IN {ANY_OF} AND u.modality = 'image'",
            (space, as_list(units)),
        )
        return np.fromiter((unit for (unit,) in rows), np.int64, len(rows))

    def remove_captions(self, units: Iterable[int]) -> None:
        """Take the vectors of these pictures' captions out of every space."""
        self._database.run(
            f"DELETE FROM vectors WHERE unit IN {ANY_OF} AND modality = 'text'", (as_list(units),)
        )

    def count(self, space: int, modality: Modality) -> int:
        """How many vectors this lane has."""
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM vectors WHERE space = ? AND modality = ?", (space, modality)
        )
        return count

    def count_captions(self, space: int) -> int:
        """How many of the vectors in the lane of texts are those of pictures' captions."""
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM vectors v JOIN units u ON u.id = v.unit"
            " WHERE v.space = ? AND v.modality = 'text' AND u.modality = 'image'",
            (space,),
        )
        return count

    def remove(self, space: int, units: Iterable[int]) -> int:
        """Take vectors out of this space; returns how many there were."""
        return self._database.run(
            f"DELETE FROM vectors WHERE space = ? AND unit IN {ANY_OF}", (space, as_list(units))
        )

    def written_since(
        self, space: int, modality: Modality, seq: int
    ) -> Iterator[tuple[Int[np.ndarray, " rows"], Float16[np.ndarray, "rows embed"]]]:
        """Units and raw vectors of a lane that were written after change `seq` and are still there,
        in pages, in the order of the changes, from one state."""
        dim = self._spaces.get(space).dim
        pages = self._database.pages(
            "SELECT unit, vector FROM vectors WHERE space = ? AND modality = ? AND seq > ?"
            " ORDER BY seq, unit",
            (space, modality, seq),
        )
        return (_arrays(page, dim) for page in pages)

    def removed_since(
        self, space: int, modality: Modality, seq: int
    ) -> Int[np.ndarray, " units"] | None:
        """Units of a lane whose vector was removed or replaced after change `seq`; None where that
        is no longer known."""
        forgotten = self._database.rows(
            "SELECT 1 FROM forgotten_removals WHERE space = ? AND modality = ? AND seq > ?",
            (space, modality, seq),
        )
        if forgotten:
            return None
        rows = self._database.rows(
            "SELECT DISTINCT unit FROM removed_vectors WHERE space = ? AND modality = ?"
            " AND seq > ?",
            (space, modality, seq),
        )
        return np.fromiter((unit for (unit,) in rows), np.int64, len(rows))

    def forget_removals(self, space: int, modality: Modality, seq: int) -> None:
        """Drop the notes of removals up to change `seq`: no index older than that is in use."""
        self._database.run(
            "DELETE FROM removed_vectors WHERE space = ? AND modality = ? AND seq <= ?",
            (space, modality, seq),
        )
        self._database.run(
            "INSERT INTO forgotten_removals (space, modality, seq) VALUES (?, ?, ?)"
            " ON CONFLICT (space, modality) DO UPDATE SET seq = max(seq, excluded.seq)",
            (space, modality, seq),
        )

    def _check(self, space: int, units: int, vectors: np.ndarray) -> None:
        dim = self._spaces.get(space).dim
        if vectors.shape != (units, dim):
            raise CollectionError(
                f"the vectors are {vectors.shape[0]} x {vectors.shape[1]}, expected {units} x "
                f"{dim}: one for each unit, from the model of this space; embed with that model"
            )
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))  # NaN is wrong too
        if len(wrong):
            raise CollectionError(
                f"{len(wrong)} of {units} vectors are not of length 1 (row {wrong[0]} has "
                f"{norms[wrong[0]]:g}), expected unit vectors: normalise them, or look for NaN"
            )


def _arrays(
    rows: Sequence[tuple[int, bytes]], dim: int
) -> tuple[Int[np.ndarray, " rows"], Float16[np.ndarray, "rows embed"]]:
    units = np.fromiter((unit for unit, _ in rows), np.int64, len(rows))
    flat = np.frombuffer(b"".join(vector for _, vector in rows), HALF)
    return units, flat.reshape(len(rows), dim)

"""Embedding spaces, their vectors (float16), and the changes that an index must follow.

The main space has the vectors of a model with pictures: one for each passage, and one more, among
the text vectors, for the captions of a picture. If a text space is in use too, it has the vectors
of all text passages, and spaces of the main role have none of them.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float16, Int

from seesay.errors import CollectionError
from seesay.search.catalog.database import ANY_OF, Database, as_list, decoded
from seesay.search.catalog.drafts import Modality
from seesay.text import Text

HALF = np.dtype("<f2")
NORM_TOLERANCE = 0.01
_WITHOUT_OWN = (
    "NOT EXISTS (SELECT 1 FROM vectors v"
    " WHERE v.unit = units.id AND v.space = ? AND v.modality = units.modality)"
)
_BLANK = "".join(filter(str.isspace, map(chr, range(0x3001))))  # the last is the Chinese space
_WITHOUT_CAPTION = (
    "modality != 'text' AND trim(text, ?) != '' AND NOT EXISTS (SELECT 1 FROM vectors v"
    " WHERE v.unit = units.id AND v.space = ? AND v.modality = 'text')"
)
_COLUMNS = "id, key, model, revision, preprocessing, dim, state, active, role"

SpaceRole = Literal["main", "text"]
Holding = Literal["all", "text", "other"]
"""Which passages a space should have vectors of: all, text passages, or all others."""
_HELD = {"all": "true", "text": "modality = 'text'", "other": "modality != 'text'"}


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpaceDraft:
    """Everything that makes vectors comparable: spaces that differ in any of it are never mixed."""

    model: str
    revision: str
    preprocessing: str
    """A hash of all preprocessing."""
    dim: int


@dataclass(frozen=True, kw_only=True)
class EmbeddingSpace(EmbeddingSpaceDraft):
    """The vectors of one model."""

    id: int
    key: str
    """Short hash of its settings; the same in every collection."""
    state: Literal["filling", "ready"]
    active: bool
    """Whether searches use it."""
    role: SpaceRole


class EmbeddingSpaces:
    """The spaces of a collection. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, draft: EmbeddingSpaceDraft, role: SpaceRole = "main", *, at_once: bool | None = None
    ) -> EmbeddingSpace:
        """Returns the space of this model, adding it if needed. The first main space is used at
        once; later ones, and text spaces, are filled first, unless `at_once` says otherwise."""
        first = at_once if at_once is not None else role == "main"
        self._database.run(
            "INSERT INTO spaces"
            " (key, model, revision, preprocessing, dim, created_ns, role, state, active)"
            " SELECT ?, ?, ?, ?, ?, ?, ?, iif(first, 'ready', 'filling'), first FROM (SELECT"
            " ? AND NOT EXISTS (SELECT 1 FROM spaces WHERE active = 1 AND role = ?) AS first)"
            " WHERE true ON CONFLICT (key) DO NOTHING",
            (key_of(draft), *astuple(draft), time.time_ns(), role, first, role),
        )
        return self._select("key = ?", key_of(draft))[0]

    def all(self) -> list[EmbeddingSpace]:
        """Returns every space, oldest first."""
        return self._select("true ORDER BY id")

    def get(self, number: int) -> EmbeddingSpace:
        """Returns a space by number. Raises CollectionError if it does not exist."""
        found = self._select("id = ?", number)
        if not found:
            known = ", ".join(f"{space.id} ({space.model})" for space in self.all())
            raise CollectionError(
                Text(
                    f"there is no space {number}, expected one of: {known or 'none'}; index with "
                    "this model first",
                    f"没有编号为 {number} 的向量空间；应为以下之一：{known or '（没有）'}；"
                    "请先用这个模型收录",
                )
            )
        return found[0]

    def active(self, role: SpaceRole = "main") -> EmbeddingSpace | None:
        """Returns the space of this role that searches use."""
        found = self._select("active = 1 AND role = ?", role)
        return found[0] if found else None

    def in_use(self) -> dict[EmbeddingSpace, Holding]:
        """Returns the spaces that searches use, with the passages that each should hold."""
        found = self._select("active = 1 ORDER BY role")
        several = len(found) > 1
        return {
            space: "text" if space.role == "text" else "other" if several else "all"
            for space in found
        }

    def activate(self, number: int) -> None:
        """Let searches use this space, which must be complete, instead of others of its role."""
        self._database.run(
            "UPDATE spaces SET active = 0 WHERE active = 1"
            " AND role = (SELECT role FROM spaces WHERE id = ?)",
            (number,),
        )
        self._database.run("UPDATE spaces SET active = 1, state = 'ready' WHERE id = ?", (number,))

    def retire_text(self) -> None:
        """Let searches use the main space alone, which must have vectors of all passages."""
        self._database.run("UPDATE spaces SET active = 0 WHERE active = 1 AND role = 'text'")

    def drop(self, number: int) -> None:
        """Remove a space with all its vectors. Raises CollectionError for the space in use."""
        if self.get(number).active:
            raise CollectionError(
                Text(
                    f"space {number} is the one that searches use, expected another; activate "
                    "another one first",
                    f"搜索正在使用向量空间 {number}；应为其他空间；请先启用另一个",
                )
            )
        self._database.run("DELETE FROM spaces WHERE id = ?", (number,))

    def _select(self, condition: str, *values: object) -> list[EmbeddingSpace]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM spaces WHERE {condition}", values)
        names = _COLUMNS.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [EmbeddingSpace(**{**fields, "active": bool(fields["active"])}) for fields in found]


def key_of(draft: EmbeddingSpaceDraft) -> str:
    """Returns a short hash of everything that makes vectors comparable."""
    facts = [draft.model, draft.revision, draft.preprocessing, draft.dim]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


class Vectors:
    """The vectors of a collection. Methods that write work only inside `store.writing`."""

    def __init__(self, database: Database, spaces: EmbeddingSpaces) -> None:
        self._database = database
        self._spaces = spaces

    def put(
        self,
        space: int,
        passages: Sequence[int] | Int[np.ndarray, " rows"],
        vectors: Float[np.ndarray, "rows embed"],
        *,
        modality: Modality | None = None,
    ) -> None:
        """Store unit vectors for `modality`, by default that of each passage, replacing existing
        vectors.

        Raises CollectionError if dimension, length or number do not fit, or a passage is gone.
        """
        self._check(space, len(passages), vectors)
        raw = np.ascontiguousarray(vectors, HALF).tobytes()
        width = HALF.itemsize * vectors.shape[1]
        seq = self._database.change.seq
        rows = (
            (space, modality, seq, raw[i * width : (i + 1) * width], int(passage))
            for i, passage in enumerate(passages)
        )
        written = self._database.run_many(
            "INSERT INTO vectors (unit, space, modality, seq, vector)"
            " SELECT id, ?, coalesce(?, modality), ?, ? FROM units WHERE id = ?"
            " ON CONFLICT (unit, space, modality)"
            " DO UPDATE SET vector = excluded.vector, seq = excluded.seq",
            rows,
        )
        if written != len(passages):
            raise CollectionError(
                Text(
                    f"{len(passages) - written} of {len(passages)} vectors belong to passages that "
                    "are not in the collection, expected passages that are; store the files first",
                    f"{len(passages)} 个向量中有 {len(passages) - written} 个所属的条目不在"
                    "资料库里；应为已有的条目；请先存入文件",
                )
            )

    def get(
        self, space: int, passages: Iterable[int], *, modality: Modality | None = None
    ) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows embed"]]:
        """Returns the passages that have a vector of `modality` (by default their own), ordered by
        number, and the vectors (float32)."""
        rows = self._database.rows(
            f"SELECT unit, vector FROM vectors WHERE space = ? AND unit IN {ANY_OF} AND modality"
            " = coalesce(?, (SELECT modality FROM units WHERE id = unit)) ORDER BY unit",
            (space, as_list(passages), modality),
        )
        numbers, vectors = _arrays(rows, self._spaces.get(space).dim)
        return numbers, vectors.astype(np.float32)

    def missing(
        self, space: int, count: int, after: int = 0, *, held: Holding = "all"
    ) -> list[int]:
        """Returns the first `count` passages after number `after` that should have a vector in this
        space and have none."""
        rows = self._database.rows(
            f"SELECT id FROM units WHERE id > ? AND {_HELD[held]} AND {_WITHOUT_OWN}"
            " ORDER BY id LIMIT ?",
            (after, space, count),
        )
        return [passage for (passage,) in rows]

    def count_missing(self, space: int, *, held: Holding = "all") -> int:
        """Returns the number of passages that should have a vector in this space and have none."""
        sql = f"SELECT count(*) FROM units WHERE {_HELD[held]} AND {_WITHOUT_OWN}"
        ((count,),) = self._database.rows(sql, (space,))
        return count

    def without_caption(self, space: int, count: int, after: int = 0) -> list[int]:
        """Returns the first `count` pictures after passage `after` whose captions have no vector
        here."""
        rows = self._database.rows(
            f"SELECT id FROM units WHERE id > ? AND {_WITHOUT_CAPTION} ORDER BY id LIMIT ?",
            (after, _BLANK, space, count),
        )
        return [passage for (passage,) in rows]

    def count_without_caption(self, space: int) -> int:
        """Returns the number of pictures whose captions have no vector here."""
        sql = f"SELECT count(*) FROM units WHERE {_WITHOUT_CAPTION}"
        ((count,),) = self._database.rows(sql, (_BLANK, space))
        return count

    def captioned(self, space: int, passages: Iterable[int]) -> Int[np.ndarray, " found"]:
        """Returns the passages among these whose captions have a vector."""
        rows = self._database.rows(
            "SELECT u.id FROM units u JOIN vectors v ON v.unit = u.id AND v.space = ? AND"
            f" v.modality = 'text' WHERE u.id IN {ANY_OF} AND u.modality != 'text'",
            (space, as_list(passages)),
        )
        return np.fromiter((passage for (passage,) in rows), np.int64, len(rows))

    def remove_captions(self, passages: Iterable[int]) -> None:
        """Remove the caption vectors of these pictures from every space."""
        self._database.run(
            f"DELETE FROM vectors WHERE unit IN {ANY_OF} AND modality = 'text'",
            (as_list(passages),),
        )

    def remove_texts_from_main(self) -> None:
        """Remove the vectors of text passages from every space of the main role: a text space has
        them."""
        self._database.run(
            "DELETE FROM vectors WHERE modality = 'text'"
            " AND space IN (SELECT id FROM spaces WHERE role = 'main')"
            " AND unit IN (SELECT id FROM units WHERE modality = 'text')"
        )

    def count(self, space: int, modality: Modality) -> int:
        """Returns the number of vectors of this modality."""
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM vectors WHERE space = ? AND modality = ?", (space, modality)
        )
        return count

    def modalities(self, space: int, most: int = 1) -> dict[Modality, int]:
        """Returns the number of vectors per modality in this space, counted up to `most`. Includes
        pictures and texts even without vectors, and in a text space texts alone."""
        # One index lookup per modality, however many vectors there are.
        rows = self._database.rows(
            "WITH RECURSIVE known (modality) AS ("
            "SELECT min(modality) FROM vectors WHERE space = :space UNION ALL"
            " SELECT (SELECT min(modality) FROM vectors WHERE space = :space AND modality >"
            " known.modality) FROM known WHERE modality IS NOT NULL)"
            " SELECT modality, (SELECT count(*) FROM (SELECT 1 FROM vectors WHERE space = :space"
            " AND modality = known.modality LIMIT :most)) FROM known WHERE modality IS NOT NULL",
            {"space": space, "most": most},
        )
        usual = ("text",) if self._spaces.get(space).role == "text" else ("image", "text")
        return {**dict.fromkeys(usual, 0), **dict(rows)}

    def count_captions(self, space: int) -> int:
        """Returns the number of caption vectors among the text vectors."""
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM vectors v JOIN units u ON u.id = v.unit"
            " WHERE v.space = ? AND v.modality = 'text' AND u.modality != 'text'",
            (space,),
        )
        return count

    def remove(self, space: int, passages: Iterable[int]) -> int:
        """Remove vectors from this space; returns their number."""
        return self._database.run(
            f"DELETE FROM vectors WHERE space = ? AND unit IN {ANY_OF}", (space, as_list(passages))
        )

    def written_since(
        self, space: int, modality: Modality, seq: int
    ) -> Iterator[tuple[Int[np.ndarray, " rows"], Float16[np.ndarray, "rows embed"]]]:
        """Yield passages and raw vectors written after change `seq` that still exist, in pages, in
        the order of the changes, from one snapshot."""
        dim = self._spaces.get(space).dim
        pages = self._database.pages(
            "SELECT unit, vector FROM vectors WHERE space = ? AND modality = ? AND seq > ?"
            " ORDER BY seq, unit",
            (space, modality, seq),
        )
        return (_arrays(page, dim) for page in pages)

    def removed_since(
        self, space: int, modality: Modality, seq: int
    ) -> Int[np.ndarray, " passages"] | None:
        """Returns the passages whose vector was removed or replaced after change `seq`; None if
        that is no longer known."""
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
        return np.fromiter((passage for (passage,) in rows), np.int64, len(rows))

    def forget_removals(self, space: int, modality: Modality, seq: int) -> None:
        """Drop the records of removals up to change `seq`: no older index is in use."""
        self._database.run(
            "DELETE FROM removed_vectors WHERE space = ? AND modality = ? AND seq <= ?",
            (space, modality, seq),
        )
        self._database.run(
            "INSERT INTO forgotten_removals (space, modality, seq) VALUES (?, ?, ?)"
            " ON CONFLICT (space, modality) DO UPDATE SET seq = max(seq, excluded.seq)",
            (space, modality, seq),
        )

    def _check(self, space: int, passages: int, vectors: np.ndarray) -> None:
        dim = self._spaces.get(space).dim
        if vectors.shape != (passages, dim):
            raise CollectionError(
                Text(
                    f"the vectors are {vectors.shape[0]} x {vectors.shape[1]}, expected "
                    f"{passages} x {dim}: one for each passage, from the model of this space; "
                    "embed with that model",
                    f"向量的形状是 {vectors.shape[0]} x {vectors.shape[1]}；"
                    f"应为 {passages} x {dim}："
                    "每个条目一个，由这个空间的模型计算；请用该模型计算",
                )
            )
        norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
        wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))  # NaN is wrong too
        if len(wrong):
            raise CollectionError(
                Text(
                    f"{len(wrong)} of {passages} vectors are not of length 1 (row {wrong[0]} has "
                    f"{norms[wrong[0]]:g}), expected unit vectors: normalise them, or look for NaN",
                    f"{passages} 个向量中有 {len(wrong)} 个长度不为 1（第 {wrong[0]} 行为 "
                    f"{norms[wrong[0]]:g}）；应为单位向量；请归一化，或检查是否有 NaN",
                )
            )


def _arrays(
    rows: Sequence[tuple[int, bytes]], dim: int
) -> tuple[Int[np.ndarray, " rows"], Float16[np.ndarray, "rows embed"]]:
    def arrays(
        _: str,
    ) -> tuple[Int[np.ndarray, " rows"], Float16[np.ndarray, "rows embed"]]:
        passages = np.fromiter((passage for passage, _ in rows), np.int64, len(rows))
        flat = np.frombuffer(b"".join(vector for _, vector in rows), HALF)
        return passages, flat.reshape(len(rows), dim)

    return decoded(arrays, f"one of {len(rows)} vectors")

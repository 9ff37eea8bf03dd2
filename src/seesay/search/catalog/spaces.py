"""Spaces: sets of vectors that may be compared, one of which the searches use."""

import hashlib
import json
import time

from seesay.errors import CollectionError
from seesay.search.catalog.records import Space, SpaceDraft
from seesay.search.catalog.sqlite.database import Database

_COLUMNS = "id, key, model, revision, preprocessing, dim, state, active"


class Spaces:
    """The spaces of a collection. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, draft: SpaceDraft) -> Space:
        """The space of this model, made where there is none yet; it begins as "filling"."""
        found = self._select("key = ?", key_of(draft))
        if found:
            return found[0]
        facts = (draft.model, draft.revision, draft.preprocessing, draft.dim)
        self._database.run(
            "INSERT INTO spaces (key, model, revision, preprocessing, dim, state, created_ns)"
            " VALUES (?, ?, ?, ?, ?, 'filling', ?)",
            (key_of(draft), *facts, time.time_ns()),
        )
        return self._select("key = ?", key_of(draft))[0]

    def all(self) -> list[Space]:
        """Every space, the first made first."""
        return self._select("true ORDER BY id")

    def get(self, number: int) -> Space:
        """Raises CollectionError where there is none of this number."""
        found = self._select("id = ?", number)
        if not found:
            known = ", ".join(f"{space.id} ({space.model})" for space in self.all()) or "none"
            raise CollectionError(
                f"there is no space {number}, expected one of: {known}; index with this model first"
            )
        return found[0]

    def active(self) -> Space | None:
        """The one that searches use."""
        found = self._select("active = 1")
        return found[0] if found else None

    def set_ready(self, number: int) -> None:
        """Say that every unit that can have a vector in it has one."""
        self._database.run("UPDATE spaces SET state = 'ready' WHERE id = ?", (number,))

    def activate(self, number: int) -> None:
        """Let searches use this one, and no other. Raises CollectionError where it is not ready."""
        space = self.get(number)
        if space.state != "ready":
            raise CollectionError(
                f"the space of {space.model} is still being filled, expected a complete one; let "
                "the same `seesay index` command finish first"
            )
        self._database.run("UPDATE spaces SET active = 0 WHERE active = 1")
        self._database.run("UPDATE spaces SET active = 1 WHERE id = ?", (number,))

    def drop(self, number: int) -> None:
        """Remove a space with all its vectors. Raises CollectionError for the one in use."""
        if self.get(number).active:
            raise CollectionError(
                f"space {number} is the one that searches use, expected another; activate another "
                "one first"
            )
        self._database.run("DELETE FROM spaces WHERE id = ?", (number,))

    def _select(self, condition: str, *values: object) -> list[Space]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM spaces WHERE {condition}", values)
        names = _COLUMNS.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [Space(**{**fields, "active": bool(fields["active"])}) for fields in found]


def key_of(draft: SpaceDraft) -> str:
    """A short hash of what makes vectors comparable."""
    facts = [draft.model, draft.revision, draft.preprocessing, draft.dim]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

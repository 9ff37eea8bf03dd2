"""Files that could not be read, and why: recorded, shown, and left alone until they change."""

import time
from collections.abc import Iterable

from seesay.search.catalog.records import Quarantined
from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list
from seesay.search.catalog.sqlite.paths import path_to_text, text_to_path

_COLUMNS = "path, content_hash, size, mtime_ns, stage, error, tries, first_ns, last_ns"


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
            f"INSERT INTO quarantine ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)"
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
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM quarantine WHERE {condition}", values)
        names = _COLUMNS.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [
            Quarantined(
                **{
                    **fields,
                    "path": text_to_path(fields["path"]),
                    "error": text_to_path(fields["error"]),
                }
            )
            for fields in found
        ]

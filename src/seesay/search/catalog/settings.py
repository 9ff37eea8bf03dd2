"""What a collection remembers of itself, by name: which folders were indexed, how, and so on."""

import json

from seesay.search.catalog.sqlite.database import Database
from seesay.search.catalog.sqlite.failures import decoded


class Settings:
    """JSON values by name. What changes something works inside `store.writing` only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> object:
        """None where there is none."""
        found = self._database.rows("SELECT value FROM settings WHERE name = ?", (name,))
        return decoded(json.loads, found[0][0]) if found else None

    def set(self, name: str, value: object) -> None:
        """Remember a value that JSON can hold."""
        self._database.run(
            "INSERT INTO settings (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )

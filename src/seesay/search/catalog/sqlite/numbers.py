"""Many numbers in one statement: SQLite takes a JSON list where it would not take 100,000 marks."""

import json
from collections.abc import Iterable

from seesay.search.catalog.sqlite.database import Database

ANY_OF = "(SELECT value FROM json_each(?))"


def as_list(values: Iterable[int] | Iterable[str]) -> str:
    """The value for an `IN` followed by ANY_OF."""
    return json.dumps([int(v) if not isinstance(v, str) else v for v in values])


def next_number(database: Database, table: str) -> int:
    """The number that the next row gets in a table whose numbers are never used twice."""
    found = database.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
    return found[0][0] + 1 if found else 1

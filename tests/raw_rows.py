"""Change the rows of a collection as no command of ours does, with checksums that fit."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from seesay.search.catalog.database import checksum


@contextmanager
def raw_rows(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the file of a collection, whose changes are committed at the end."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.create_function("checksum", -1, checksum, deterministic=True)
        yield connection

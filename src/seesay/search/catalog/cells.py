"""The cells of tables, stored so that answers can be computed from them."""

import zlib
from collections.abc import Iterable, Mapping

from seesay.search.catalog.database import ANY_OF, Database, as_list, decoded
from seesay.search.catalog.drafts import TableData

_LARGEST = 1 << 30  # bytes of JSON: more than a reader takes in


class CellTables:
    """The cells of tables; removed with their passage. Methods that write work only inside
    `store.writing`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, tables: Mapping[int, TableData]) -> None:
        """Store tables by the number of their first passage."""
        self._database.run_many(
            "INSERT INTO cell_tables (unit, data) VALUES (?, ?)",
            (
                (passage, zlib.compress(one.to_json().encode(errors="replace")))
                for passage, one in tables.items()
            ),
        )

    def of_passages(self, passages: Iterable[int]) -> dict[int, tuple[int, TableData]]:
        """Returns, for each of these passages that shows rows of a table, the number of the table's
        first passage, and the whole table."""
        rows = self._database.rows(
            "SELECT u.id, (SELECT max(f.id) FROM units f JOIN cell_tables c ON c.unit = f.id"
            " WHERE f.item = u.item AND f.id <= u.id)"
            f" FROM units u WHERE u.kind = 'table' AND u.id IN {ANY_OF}",
            (as_list(passages),),
        )
        first = {passage: table for passage, table in rows if table is not None}
        tables = self.get(set(first.values()))
        return {one: (table, tables[table]) for one, table in first.items() if table in tables}

    def get(self, tables: Iterable[int]) -> dict[int, TableData]:
        """Returns tables by the number of their first passage, leaving out those that are gone."""
        rows = self._database.rows(
            f"SELECT unit, data FROM cell_tables WHERE unit IN {ANY_OF}", (as_list(tables),)
        )
        return {passage: decoded(_read, data) for passage, data in rows}

    def all(self) -> list[int]:
        """Returns the number of the first passage of every table, in order."""
        rows = self._database.rows("SELECT unit FROM cell_tables ORDER BY unit")
        return [passage for (passage,) in rows]


def _read(data: bytes) -> TableData:
    try:
        text = zlib.decompressobj().decompress(data, _LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return TableData.from_json(text.decode())

"""Checksums of rows, to detect bytes changed by a disk or a cable.

SQLite notices damage to its own structure, not to the content of a row. So each row has a CRC-32,
and the table `checksums` keeps the sum of these for every file, every passage, and every table that
belongs to neither. Triggers add and subtract within the transaction that changes the row: no writer
can forget this, and a crash leaves both or neither. A table with a sum of 0 has no entry.
"""

from collections.abc import Mapping
from typing import NamedTuple

TABLE = """
CREATE TABLE checksums (
    owner TEXT NOT NULL,
    id INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;
"""
COUNTERS = "sqlite_sequence"
"""The table where SQLite keeps the last number of each table. It cannot have triggers; its sum is
updated at the end of every transaction, when the ledger is written."""
_SUM_OF_COUNTERS = f"SELECT coalesce(sum(checksum(name, seq)), 0) FROM {COUNTERS}"


class Checked(NamedTuple):
    """How to compute the checksums of a table."""

    columns: str
    """All stored columns."""
    owner: str = ""
    """"item" or "unit"; empty for a table that belongs to neither."""
    id: str = ""
    """The column with the number of that file or passage."""


Tables = Mapping[str, Checked]


def trigger_sql(tables: Tables) -> str:
    """Returns SQL that fills the table of sums from the stored rows, and creates its triggers."""
    rows = "\nUNION ALL ".join(
        f"SELECT '{checked.owner or table}' AS owner, {checked.id or 0} AS id,"
        f" {_of_row(table, checked)} AS sum FROM {table}"
        for table, checked in tables.items()
    )
    fill = (
        f"INSERT INTO checksums SELECT owner, id, sum(sum) FROM ({rows}) GROUP BY owner, id;\n"
        f"INSERT INTO checksums SELECT '{COUNTERS}', 0, ({_SUM_OF_COUNTERS});\n"
    )
    return TABLE + fill + "\n".join(triggers(table, c) for table, c in tables.items())


def differing(tables: Tables) -> str:
    """Returns SQL for the owners between two numbers (`:first`, `:last`) whose rows do not match
    the sums. Tables without an owner have the number 0."""
    parts = [
        f"SELECT '{c.owner or table}' AS owner, {c.id or 0} AS id, {_of_row(table, c)} AS sum"
        f" FROM {table} WHERE {c.id or 0} BETWEEN :first AND :last"
        for table, c in tables.items()
    ]
    parts.append(f"SELECT '{COUNTERS}', 0, ({_SUM_OF_COUNTERS}) WHERE :first <= 0")
    parts.append("SELECT owner, id, -sum FROM checksums WHERE id BETWEEN :first AND :last")
    rows = " UNION ALL ".join(parts)
    return f"SELECT owner, id FROM ({rows}) GROUP BY owner, id HAVING sum(sum) != 0"


def _of_row(table: str, checked: Checked, row: str = "") -> str:
    """Returns SQL for the checksum of a row: OLD or NEW in a trigger, else the current row."""
    prefix = f"{row}." if row else ""
    values = (
        f"CASE typeof({prefix}{c}) WHEN 'text' THEN CAST({prefix}{c} AS BLOB) ELSE {prefix}{c} END"
        for c in checked.columns.split()
    )
    return f"checksum('{table}', {', '.join(values)})"


def changed_columns(table: str, before: Checked, after: Checked) -> str:
    """Returns SQL that updates the sums of a table from the old columns to the new ones, while its
    rows have both. Damaged rows still count as damaged."""
    return f"""
INSERT INTO checksums (owner, id, sum)
SELECT '{after.owner or table}', {after.id or 0}, {_of_row(table, after)} - {_of_row(table, before)}
FROM {table} WHERE true
ON CONFLICT (owner, id) DO UPDATE SET sum = sum + excluded.sum;
"""


def triggers(table: str, checked: Checked) -> str:
    """Returns SQL for the triggers that update the sums of a table."""

    def change(row: str, sign: str) -> str:
        # An upsert works however the statement that fires the trigger handles conflicts.
        return f"""
    INSERT INTO checksums (owner, id, sum)
    VALUES ('{checked.owner or table}', {_id(checked, row)}, {sign}{_of_row(table, checked, row)})
    ON CONFLICT (owner, id) DO UPDATE SET sum = sum + excluded.sum;"""

    empty = f"""
    DELETE FROM checksums
    WHERE owner = '{checked.owner or table}' AND id = {_id(checked, "OLD")} AND sum = 0;"""
    counters = f"""
    UPDATE checksums SET sum = ({_SUM_OF_COUNTERS}) WHERE owner = '{COUNTERS}';"""
    add, subtract = change("NEW", ""), change("OLD", "-")
    last = counters if table == "ledger" else ""
    return f"""
CREATE TRIGGER {table}_insert_sum AFTER INSERT ON {table} BEGIN{add}
END;
CREATE TRIGGER {table}_delete_sum AFTER DELETE ON {table} BEGIN{subtract}{empty}
END;
CREATE TRIGGER {table}_update_sum AFTER UPDATE ON {table} BEGIN{subtract}{add}{empty}{last}
END;"""


def _id(checked: Checked, row: str) -> str:
    return f"{row}.{checked.id}" if checked.id else "0"

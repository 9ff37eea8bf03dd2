"""The rows of a table as they belong to files, and to a collection that holds only so much."""

import os
from dataclasses import replace

from seesay.data.spelling import as_on_disk
from seesay.search.catalog.metadata import MOST_KEYS
from seesay.search.catalog.store import Store
from seesay.search.reading.messages import Outcome, Row

_SCHEMES = ("http://", "https://")


def rows_by_path(table: Outcome) -> dict[str, Row]:
    """The rows by the path of their picture, which is meant from the folder of the table, in the
    spelling that the disk has. Rows of one path are one, in which the first counts."""
    folder = os.path.dirname(table.path)
    found: dict[str, Row] = {}
    for row in table.rows:
        path = row.path
        if not path.startswith(_SCHEMES):
            path = as_on_disk(os.path.normpath(os.path.join(folder, path)))
        found[path] = _joined(found[path], row) if path in found else row
    return found


def within_limit(store: Store, table: Outcome) -> Outcome:
    """The table without the columns for which the collection has no room."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.metadata))
    if len(store.units.metadata_keys().union(names)) <= MOST_KEYS:
        return table
    with store.writing("make room"):
        known = store.units.room_for_keys(names)
    left_out = len(set(names) - known)
    if not left_out:
        return table
    rows = (
        replace(row, metadata={key: row.metadata[key] for key in row.metadata if key in known})
        for row in table.rows
    )
    told = (
        f"{left_out:,} of its columns were left out, since the collection has {MOST_KEYS:,} keys "
        "already. Expected no more. Take out what is not needed of this table or of others."
    )
    complaint = f"{table.complaint} {told}" if table.complaint else told
    return replace(table, rows=tuple(rows), complaint=complaint)


def _joined(first: Row, second: Row) -> Row:
    lines = dict.fromkeys([*first.caption.splitlines(), *second.caption.splitlines()])
    metadata = {**second.metadata, **first.metadata}
    return replace(first, caption="\n".join(lines), metadata=metadata)

"""Take out what is unsound, so that the rest fits together and the next run can fill the gaps."""

from seesay.search.catalog.sqlite.schema import KEYWORD_TABLE
from seesay.search.catalog.store import Store
from seesay.search.checking.annotations import misdescribed
from seesay.search.checking.metadata import mend_metadata
from seesay.search.checking.rows import mend_rows
from seesay.search.checking.truth import (
    WITHOUT_KEYWORDS,
    WITHOUT_UNIT,
    keywords_are_damaged,
    unsound_vectors,
)

_AT_ONCE = 1000  # texts
_ORPHANS = (  # what others belong to comes first
    "DELETE FROM units WHERE item NOT IN (SELECT id FROM items)",
    "DELETE FROM metadata WHERE unit NOT IN (SELECT id FROM units)"
    " OR key NOT IN (SELECT id FROM metadata_keys)",
    "DELETE FROM vectors WHERE unit NOT IN (SELECT id FROM units)"
    " OR space NOT IN (SELECT id FROM spaces)",
    "DELETE FROM own_descriptions WHERE unit NOT IN (SELECT id FROM units)",
    "DELETE FROM annotations WHERE source NOT IN (SELECT id FROM items)",
    "UPDATE annotations SET item = NULL WHERE item NOT IN (SELECT id FROM items)",
    "DELETE FROM tables WHERE item NOT IN (SELECT id FROM items)",
    "DELETE FROM undescribed WHERE item NOT IN (SELECT id FROM items)",
    "DELETE FROM fingerprints WHERE unit NOT IN (SELECT id FROM units)",
    f"DELETE FROM keywords WHERE rowid IN ({WITHOUT_UNIT})",
    "DELETE FROM vectors WHERE length(vector) != (SELECT 2 * dim FROM spaces WHERE id = space)",
)


def mend(store: Store) -> int:
    """Take out files whose rows are not what was written, rows that belong to nothing, and vectors
    and metadata that are none; put every text into the keyword index again where that is damaged or
    lacks some; and let the next run describe pictures that lack what tables say of them. Returns
    how many rows that changed."""
    damaged = keywords_are_damaged(store) is not None
    with store.writing("mend") as change:
        if damaged:
            store.database.run("DROP TABLE keywords")
            store.database.run(KEYWORD_TABLE)
        mend_rows(store)
        for statement in _ORPHANS:
            store.database.run(statement)
        for space in store.spaces.all():
            wrong = list(unsound_vectors(store, space))
            store.vectors.remove(space.id, wrong)
        units = [unit for (unit,) in store.database.rows(WITHOUT_KEYWORDS)]
        for start in range(0, len(units), _AT_ONCE):
            some = store.units.get(units[start : start + _AT_ONCE])
            store.keywords.put([unit.id for unit in some], [unit.text or "" for unit in some])
        mend_metadata(store)
        store.annotations.set_undescribed(list(misdescribed(store)))
        return change.rows

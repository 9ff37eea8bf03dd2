"""Do the stored rows still say what was written? See `store/sqlite/checksums`."""

from collections.abc import Iterator

from seesay.search.catalog.sqlite.checksums import differing
from seesay.search.catalog.sqlite.numbers import ANY_OF, as_list
from seesay.search.catalog.sqlite.schema import CHECKED
from seesay.search.catalog.store import Store
from seesay.search.checking.findings import Finding

_AT_ONCE = 100_000  # numbers of items and units
_LAST = "SELECT max(coalesce(max(id), 0), (SELECT coalesce(max(id), 0) FROM checksums)) FROM units"


def check_rows(store: Store) -> Iterator[Finding]:
    """Files and tables of which a row is not what was written."""
    items, units, tables = changed_rows(store)
    items |= _items_of(store, units)
    if items:
        paths = [item.path for item in store.items.get(sorted(items))]
        yield Finding(
            kind="changed rows", where=paths[0] if paths else str(store.file), count=len(items)
        )
    for table in sorted(tables):
        yield Finding(kind="changed table", where=table)


def mend_rows(store: Store) -> None:
    """Forget the files of which a row is not what was written, so that the next run reads them
    again. Only inside `store.writing`."""
    items, units, _ = changed_rows(store)
    items |= _items_of(store, units)
    units |= {unit.id for unit in store.units.of_items(items)}
    store.items.remove(sorted(items))
    for owner, ids in (("item", items), ("unit", units)):
        store.database.run(
            f"DELETE FROM checksums WHERE owner = ? AND id IN {ANY_OF}",
            (owner, as_list(sorted(ids))),
        )


def changed_rows(store: Store) -> tuple[set[int], set[int], set[str]]:
    """Numbers of items and units, and names of tables, whose rows do not have their checksums."""
    items: set[int] = set()
    units: set[int] = set()
    tables: set[str] = set()
    ((last,),) = store.database.rows(_LAST)
    sql = differing(CHECKED)
    for first in range(0, last + 1, _AT_ONCE):
        bounds = {"first": first, "last": first + _AT_ONCE - 1}
        for owner, number in store.database.rows(sql, bounds):
            if owner == "item":
                items.add(number)
            elif owner == "unit":
                units.add(number)
            else:
                tables.add(owner)
    return items, units, tables


def _items_of(store: Store, units: set[int]) -> set[int]:
    return {unit.item for unit in store.units.get(sorted(units))}

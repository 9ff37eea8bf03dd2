"""Is all that tables say stored, and are the pictures described by it?"""

from collections.abc import Iterator, Sequence

from seesay.data.squares import ImageTransformConfig
from seesay.errors import CollectionDamagedError
from seesay.search.catalog.annotations import Table
from seesay.search.catalog.store import Store
from seesay.search.checking.findings import Finding
from seesay.search.indexing.read import ReadingProcesses
from seesay.search.indexing.tables import rows_by_path
from seesay.search.indexing.walk import is_as_stored
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, ReadResult, ReadSettings


def check_annotations(store: Store, *, deep: bool = False) -> list[Finding]:
    """What is lost of what tables say; nothing where all is well. Counts rows; the file of a table
    is read only where version 0.1.0 took it in, which did not count. `deep` compares the text and
    the columns of every picture with its rows."""
    try:
        return [*_missing(store), *_undescribed(store), *(_misdescribed(store) if deep else ())]
    except CollectionDamagedError as error:
        return [Finding(kind="pages", where=str(store.file), detail=str(error.__cause__))]


def misdescribed(store: Store) -> Iterator[int]:
    """Pictures without a caption or column that a table gives them, those aside that the next run
    describes in any case."""
    waiting = set(store.annotations.undescribed(store.annotations.count_undescribed()))
    for items in store.annotations.annotated():
        rows = store.annotations.of_items(items)
        units = [unit for unit in store.units.of_items(items) if unit.kind == "image"]
        known = store.units.metadata(unit.id for unit in units)
        for unit in units:
            lines = {line for row in rows[unit.item] for line in _lines(row.text)}
            keys = {key for row in rows[unit.item] for key in row.metadata}
            lost = lines - _lines(unit.text) or keys - known[unit.id].keys()
            if lost and unit.item not in waiting:
                yield unit.item


def _missing(store: Store) -> Iterator[Finding]:
    tables = [table for table in store.annotations.tables() if not table.is_whole]
    counted = {table: table.rows for table in tables if table.rows is not None}
    lost = {table: abs(rows - table.stored) + table.detached for table, rows in counted.items()}
    for table, result in _read(store, [table for table in tables if table.rows is None]):
        counted[table] = len(rows_by_path(result))
        lost[table] = _lost_of(store, table, result)
    for table, count in lost.items():
        if count:
            yield Finding(
                kind="missing annotations",
                where=table.path,
                count=count,
                detail=str(counted[table]),
            )


def _read(store: Store, tables: Sequence[Table]) -> Iterator[tuple[Table, ReadResult]]:
    """The files of those that have not changed since: the next run reads the others."""
    items = store.items.get(table.item for table in tables)
    there = [item.path for item in items if is_as_stored(item)]
    if not there:
        return
    by_path = {table.path: table for table in tables}
    settings = ReadSettings(
        transform=ImageTransformConfig(), reduce_large=False, limits=ReadLimits()
    )
    with ReadingProcesses(settings, 1) as processes:
        for result in processes.read(ListedFile(path=path, expected="table") for path in there):
            if result.stage is None:
                yield by_path[result.path], result


def _lost_of(store: Store, table: Table, result: ReadResult) -> int:
    """How many pictures are there and lack their row: version 0.1.0 kept no others."""
    named = rows_by_path(result)
    there = store.items.by_path(named)
    pictures = [item for item in there.values() if item.kind == "image"]
    known = store.annotations.paths(table.item)
    return sum(item.path not in known for item in pictures)


def _undescribed(store: Store) -> Iterator[Finding]:
    if count := store.annotations.count_undescribed():
        first = store.items.get(store.annotations.undescribed(1))
        where = first[0].path if first else ""
        yield Finding(kind="undescribed pictures", where=where, count=count)


def _misdescribed(store: Store) -> Iterator[Finding]:
    items = list(misdescribed(store))
    if items:
        (first,) = store.items.get(items[:1])
        yield Finding(kind="wrong descriptions", where=first.path, count=len(items))


def _lines(text: str | None) -> set[str]:
    return {line for line in (text or "").splitlines() if line.strip()}

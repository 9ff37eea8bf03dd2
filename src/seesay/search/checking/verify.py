"""Checks that a collection is undamaged and consistent.

`check_truth` checks the stored rows, `check_metadata` the values, `check_annotations` the
annotations from tables, `check_files` the files themselves. `repair` fixes what can be fixed.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from operator import index

import numpy as np

from seesay.data.archives import archive_of
from seesay.data.files import open_file
from seesay.data.squares import ImageTransformConfig
from seesay.errors import CollectionBusyError, CollectionDamagedError
from seesay.search.catalog.annotations import Table
from seesay.search.catalog.checksums import differing
from seesay.search.catalog.database import decoded, text_to_path
from seesay.search.catalog.metadata import (
    DATE_KEY,
    EARLIEST,
    LATEST,
    MOST_TEXT,
    READABLE,
    is_sound,
)
from seesay.search.catalog.schema import CHECKED, DEFINITIONS, new_definitions
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import HALF, NORM_TOLERANCE, EmbeddingSpace
from seesay.search.checking.findings import Finding
from seesay.search.indexing.objects import BOX_KEY
from seesay.search.indexing.read import reading_processes
from seesay.search.indexing.tables import rows_by_path
from seesay.search.indexing.walk import is_as_stored
from seesay.search.reading.files import ReadLimits, RefusedError, hash_file, reason_of
from seesay.search.reading.messages import ListedFile, ReadResult, ReadSettings
from seesay.text import Text

INTEGRITY = "INSERT INTO keywords (keywords) VALUES ('integrity-check')"
# Keywords find a text by its words and a picture by the names of its objects: each needs a row.
WITHOUT_KEYWORDS = (
    "SELECT id FROM units WHERE (coalesce(text, '') != '' OR id IN (SELECT m.unit FROM metadata m"
    f" JOIN metadata_keys k ON k.id = m.key WHERE k.name = '{BOX_KEY}'))"
    " AND id NOT IN (SELECT id FROM keywords_content)"
)
WITHOUT_UNIT = "SELECT id FROM keywords_content WHERE id NOT IN (SELECT id FROM units)"
_AT_ONCE = 100_000  # numbers of files and passages
_LAST = "SELECT max(coalesce(max(id), 0), (SELECT coalesce(max(id), 0) FROM checksums)) FROM units"
# A value of another type than its key, a number that is not finite, an impossible date, an absurdly
# long text: SQLite scans millions of rows for them, and Python checks only its results.
_SUSPECT = f"""(
    (k.type = 'text') != (typeof(m.value) = 'text')
    OR k.type != 'text' AND (typeof(m.value) NOT IN ('real', 'integer') OR abs(m.value) > 1e308)
    OR k.type = 'date' AND NOT m.value BETWEEN {EARLIEST} AND {LATEST}
    OR k.type = 'text' AND length(m.value) > {MOST_TEXT}
    OR k.name = '{DATE_KEY}' AND k.type != 'date'
)"""
_TEXT = "k.type = 'text'"  # may contain bytes that are not text
_BLOCK = 1 << 20


def check_truth(store: Store, *, deep: bool = False) -> list[Finding]:
    """Returns the problems of the stored rows; none if all is well. `deep` reads every page and
    vector."""
    checks: list[Callable[[Store], Iterator[Finding]]] = [
        _whole_pages if deep else _pages,
        _orphans,
        _short,
        _missing,
    ]
    if deep:
        checks += [
            _definitions,
            check_rows,
            _unsound,
            _missing_captions,
            _keyword_index,
            _missing_keywords,
        ]
    found: list[Finding] = []
    for check in checks:
        try:
            found += check(store)
        except CollectionDamagedError as error:
            found.append(_damaged(store, error))
    return list(dict.fromkeys(found))


def unsound_vectors(store: Store, space: EmbeddingSpace) -> Iterator[int]:
    """Yield passages whose vector in this space does not have length 1, or contains NaN."""
    sql = "SELECT unit, vector FROM vectors WHERE space = ? AND length(vector) = ?"
    width = HALF.itemsize * space.dim
    for page in store.database.pages(sql, (space.id, width)):
        raw = np.frombuffer(b"".join(vector for _, vector in page), HALF)
        lengths = np.linalg.norm(raw.reshape(len(page), space.dim).astype(np.float32), axis=1)
        wrong = ~(np.abs(lengths - 1) <= NORM_TOLERANCE)  # NaN is wrong too
        yield from (page[row][0] for row in np.flatnonzero(wrong))


def keywords_are_damaged(store: Store) -> str | None:
    """Returns what FTS5 reports about its index, compared with its texts; None if all is well. The
    check needs write access, although it writes nothing; without it, it is skipped."""
    if store.read_only:
        return None
    try:
        with store.writing("verify"):
            store.database.rows(INTEGRITY)
    except CollectionDamagedError as error:
        return str(error.__cause__)
    except CollectionBusyError:
        return None  # a writer is active and must not wait for a check
    return None


def _pages(store: Store, pragma: str = "quick_check") -> Iterator[Finding]:
    for (text,) in store.database.rows(f"PRAGMA {pragma}"):
        if text != "ok":
            yield Finding(kind="pages", where=str(store.file), detail=text.replace("\n", " "))


def _whole_pages(store: Store) -> Iterator[Finding]:
    return _pages(store, "integrity_check")


def _orphans(store: Store) -> Iterator[Finding]:
    rows: dict[str, list[int]] = {}
    for table, row, *_ in store.database.rows("PRAGMA foreign_key_check"):
        rows.setdefault(table, []).append(row)
    for (row,) in store.database.rows(WITHOUT_UNIT):
        rows.setdefault("keywords", []).append(row)
    for table, some in rows.items():
        detail = Text(f"row {some[0]}", f"第 {some[0]} 行")
        if some[0] is None:
            detail = Text("table without row numbers", "该表没有行号")
        yield Finding(kind="orphans", where=table, count=len(some), detail=detail)


def _definitions(store: Store) -> Iterator[Finding]:
    """Report tables, indexes and triggers that differ from those of a new collection."""
    for _, name, _, _ in new_definitions() ^ set(store.database.rows(DEFINITIONS)):
        shown = (name or b"").decode("utf-8", "replace")
        detail = Text(f"the definition of {shown} is another one", f"{shown} 的定义不同")
        yield Finding(kind="pages", where=str(store.file), detail=detail)


def _short(store: Store) -> Iterator[Finding]:
    wrong = store.database.rows(
        "SELECT s.model, count(*) FROM vectors v JOIN spaces s ON s.id = v.space"
        " WHERE length(v.vector) != 2 * s.dim GROUP BY s.id"
    )
    for model, count in wrong:
        yield Finding(kind="short vectors", where=model, count=count)


def _missing(store: Store) -> Iterator[Finding]:
    """Report missing vectors, only in the spaces that searches use: others are filled when switched
    to."""
    for space, held in store.spaces.in_use().items():
        if count := store.vectors.count_missing(space.id, held=held):
            first = store.vectors.missing(space.id, 1, held=held)  # none, where an index is damaged
            detail = str(first[0]) if first else ""
            yield Finding(kind="missing vectors", where=space.model, count=count, detail=detail)


def _unsound(store: Store) -> Iterator[Finding]:
    for space in store.spaces.all():
        passages = list(unsound_vectors(store, space))
        if passages:
            yield Finding(
                kind="unsound vectors",
                where=space.model,
                count=len(passages),
                detail=str(passages[0]),
            )


def _missing_captions(store: Store) -> Iterator[Finding]:
    space = store.spaces.active()
    if space is not None and (count := store.vectors.count_without_caption(space.id)):
        first = store.vectors.without_caption(space.id, 1)
        detail = str(first[0]) if first else ""
        yield Finding(kind="missing captions", where=space.model, count=count, detail=detail)


def _keyword_index(store: Store) -> Iterator[Finding]:
    if problem := keywords_are_damaged(store):
        yield Finding(kind="keyword index", where=str(store.file), detail=problem)


def _missing_keywords(store: Store) -> Iterator[Finding]:
    passages = [passage for (passage,) in store.database.rows(WITHOUT_KEYWORDS)]
    if passages:
        yield Finding(
            kind="missing keywords",
            where=str(store.file),
            count=len(passages),
            detail=str(passages[0]),
        )


def _damaged(store: Store, error: CollectionDamagedError) -> Finding:
    return Finding(kind="pages", where=str(store.file), detail=str(error.__cause__))


def check_rows(store: Store) -> Iterator[Finding]:
    """Report files and tables with a damaged row."""
    files, _, tables = changed_rows(store)
    if files:
        paths = [file.path for file in store.files.get(sorted(files))]
        yield Finding(
            kind="changed rows", where=paths[0] if paths else str(store.file), count=len(files)
        )
    for table in sorted(tables):
        yield Finding(kind="changed table", where=table)


def changed_rows(store: Store) -> tuple[set[int], set[int], set[str]]:
    """Returns numbers of files and passages, and names of tables, whose rows do not match their
    checksums. The files include the file of each such passage."""
    files: set[int] = set()
    passages: set[int] = set()
    tables: set[str] = set()
    ((stored,),) = store.database.rows(_LAST)
    last = decoded(index, stored)  # a damaged number may come back as text
    sql = differing(CHECKED)
    for first in range(0, last + 1, _AT_ONCE):
        bounds = {"first": first, "last": first + _AT_ONCE - 1}
        for owner, number in store.database.rows(sql, bounds):
            if number is None:  # a row that an index lost the number of
                tables.add(f"{owner}s")
            elif owner == "item":
                files.add(number)
            elif owner == "unit":
                passages.add(number)
            else:
                tables.add(owner)
    files |= {passage.file for passage in store.passages.get(sorted(passages))}
    return files, passages, tables


def check_metadata(store: Store, *, deep: bool = False) -> list[Finding]:
    """Report values that are shown as text because they do not have their type. `deep` also looks
    for texts whose bytes are damaged."""
    found: dict[str, list[int]] = {}
    try:
        for passage, key in unsound_values(store, deep=deep):
            found.setdefault(key, []).append(passage)
    except CollectionDamagedError as error:
        return [Finding(kind="pages", where=str(store.file), detail=str(error.__cause__))]
    return [
        Finding(kind="metadata", where=key, count=len(passages), detail=str(passages[0]))
        for key, passages in found.items()
    ]


def unsound_values(store: Store, *, deep: bool) -> Iterator[tuple[int, str]]:
    """Yield passages and keys of values that do not have their type."""
    for page in store.database.pages(select_values(f"{_SUSPECT} OR {_TEXT}" if deep else _SUSPECT)):
        for passage, name, kind, value in page:
            if not is_sound(text_to_path(name), kind, value):
                yield passage, text_to_path(name)


def select_values(condition: str) -> str:
    """Returns SQL for passage, key, type and value of metadata."""
    return (
        f"SELECT m.unit, k.name, k.type, {READABLE.format('m.value')} FROM metadata m"
        f" JOIN metadata_keys k ON k.id = m.key WHERE {condition}"
    )


def check_annotations(store: Store, *, deep: bool = False) -> list[Finding]:
    """Returns lost annotations; none if all is well. Counts rows; reads a table's file only if
    version 0.1.0 indexed it, which did not count. `deep` compares the text and columns of every
    picture with its rows."""
    try:
        return [*_lost_rows(store), *_undescribed(store), *(_misdescribed(store) if deep else ())]
    except CollectionDamagedError as error:
        return [Finding(kind="pages", where=str(store.file), detail=str(error.__cause__))]


def misdescribed(store: Store) -> Iterator[int]:
    """Yield pictures without a caption or column that a table gives them, except those that the
    next run describes anyway."""
    waiting = set(store.annotations.undescribed(store.annotations.count_undescribed()))
    for files in store.annotations.annotated():
        rows = store.annotations.of_files(files)
        passages = [
            passage for passage in store.passages.of_files(files) if passage.media_type == "image"
        ]
        known = store.metadata.get(passage.id for passage in passages)
        for passage in passages:
            lines = {line for row in rows[passage.file] for line in _lines(row.text)}
            keys = {key for row in rows[passage.file] for key in row.metadata}
            lost = lines - _lines(passage.text) or keys - known[passage.id].keys()
            if lost and passage.file not in waiting:
                yield passage.file


def _lost_rows(store: Store) -> Iterator[Finding]:
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
    """Read the files of unchanged tables; the next run reads the others."""
    files = store.files.get(table.file for table in tables)
    there = [file.path for file in files if is_as_stored(file)]
    if not there:
        return
    by_path = {table.path: table for table in tables}
    settings = ReadSettings(
        transform=ImageTransformConfig(), reduce_large=False, limits=ReadLimits()
    )
    with reading_processes(settings, 1) as processes:
        for result in processes.read(ListedFile(path=path, expected="table") for path in there):
            if result.stage is None:
                yield by_path[result.path], result


def _lost_of(store: Store, table: Table, result: ReadResult) -> int:
    """Returns how many existing pictures lack their row: version 0.1.0 kept no other rows."""
    named = rows_by_path(result)
    there = store.files.by_path(named)
    pictures = [file for file in there.values() if file.media_type == "image"]
    known = store.annotations.paths(table.file)
    return sum(file.path not in known for file in pictures)


def _undescribed(store: Store) -> Iterator[Finding]:
    if count := store.annotations.count_undescribed():
        first = store.files.get(store.annotations.undescribed(1))
        where = first[0].path if first else ""
        yield Finding(kind="undescribed pictures", where=where, count=count)


def _misdescribed(store: Store) -> Iterator[Finding]:
    files = list(misdescribed(store))
    if files:
        (first,) = store.files.get(files[:1])
        yield Finding(kind="wrong descriptions", where=first.path, count=len(files))


def _lines(text: str | None) -> set[str]:
    return {line for line in (text or "").splitlines() if line.strip()}


def check_files(store: Store) -> list[Finding]:
    """Report files whose size and time are unchanged but whose content differs or cannot be read.
    The next run handles files that were changed normally or removed."""
    changed, unreadable = [], []
    for file in store.files.all():
        try:
            if is_as_stored(file) and _content_hash(file.path) != file.content_hash:
                changed.append(file.path)
        except RefusedError as error:
            unreadable.append((file.path, error.text))
        except OSError as error:
            unreadable.append((file.path, reason_of(error)))
    return list(_findings(changed, unreadable))


def _findings(changed: list[str], unreadable: list[tuple[str, Text]]) -> Iterator[Finding]:
    if changed:
        yield Finding(kind="silent changes", where=changed[0], count=len(changed))
    if unreadable:
        (path, reason), count = unreadable[0], len(unreadable)
        yield Finding(kind="unreadable files", where=path, count=count, detail=reason)


def _content_hash(path: str) -> str:
    if archive_of(path):
        return hash_file(path, sys.maxsize).content_hash
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()

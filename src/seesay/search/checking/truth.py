"""Is what the collection's file holds whole, and does it fit together?"""

from collections.abc import Callable, Iterator

import numpy as np

from seesay.errors import CollectionBusyError, CollectionDamagedError
from seesay.search.catalog.records import Space
from seesay.search.catalog.sqlite.opening import DEFINITIONS, new_definitions
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import HALF, NORM_TOLERANCE
from seesay.search.checking.findings import Finding
from seesay.search.checking.rows import check_rows

INTEGRITY = "INSERT INTO keywords (keywords) VALUES ('integrity-check')"
# Every text is found by its words, so that each needs a row there.
WITHOUT_KEYWORDS = (
    "SELECT id FROM units WHERE coalesce(text, '') != ''"
    " AND id NOT IN (SELECT id FROM keywords_content)"
)
WITHOUT_UNIT = "SELECT id FROM keywords_content WHERE id NOT IN (SELECT id FROM units)"


def check_truth(store: Store, *, deep: bool = False) -> list[Finding]:
    """What is wrong with the stored rows; nothing where all is well. `deep` reads every page and
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


def unsound_vectors(store: Store, space: Space) -> Iterator[int]:
    """Units whose vector in this space is not of length 1, or has something else than numbers."""
    sql = "SELECT unit, vector FROM vectors WHERE space = ? AND length(vector) = ?"
    width = HALF.itemsize * space.dim
    for page in store.database.pages(sql, (space.id, width)):
        raw = np.frombuffer(b"".join(vector for _, vector in page), HALF)
        lengths = np.linalg.norm(raw.reshape(len(page), space.dim).astype(np.float32), axis=1)
        wrong = ~(np.abs(lengths - 1) <= NORM_TOLERANCE)  # NaN is wrong too
        yield from (page[row][0] for row in np.flatnonzero(wrong))


def keywords_are_damaged(store: Store) -> str | None:
    """What FTS5 says of its index, compared with the texts it keeps; None where all is well. It
    takes the right to write, though nothing is written: without that it is not asked."""
    if store.read_only:
        return None
    try:
        with store.writing("verify"):
            store.database.rows(INTEGRITY)
    except CollectionDamagedError as error:
        return str(error.__cause__)
    except CollectionBusyError:
        return None  # who is writing just now will not wait for a check
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
        detail = "table without row numbers" if some[0] is None else f"row {some[0]}"
        yield Finding(kind="orphans", where=table, count=len(some), detail=detail)


def _definitions(store: Store) -> Iterator[Finding]:
    """Tables, indexes and triggers that are not those of a new collection."""
    for _, name, _, _ in new_definitions() ^ set(store.database.rows(DEFINITIONS)):
        detail = f"the definition of {(name or b'').decode('utf-8', 'replace')} is another one"
        yield Finding(kind="pages", where=str(store.file), detail=detail)


def _short(store: Store) -> Iterator[Finding]:
    wrong = store.database.rows(
        "SELECT s.model, count(*) FROM vectors v JOIN spaces s ON s.id = v.space"
        " WHERE length(v.vector) != 2 * s.dim GROUP BY s.id"
    )
    for model, count in wrong:
        yield Finding(kind="short vectors", where=model, count=count)


def _missing(store: Store) -> Iterator[Finding]:
    """Only in the space that searches use: another one is filled when it is switched to."""
    space = store.spaces.active()
    if space is not None and (count := store.vectors.count_missing(space.id)):
        first = store.vectors.missing(space.id, 1)
        yield Finding(kind="missing vectors", where=space.model, count=count, detail=str(first[0]))


def _unsound(store: Store) -> Iterator[Finding]:
    for space in store.spaces.all():
        units = list(unsound_vectors(store, space))
        if units:
            yield Finding(
                kind="unsound vectors", where=space.model, count=len(units), detail=str(units[0])
            )


def _missing_captions(store: Store) -> Iterator[Finding]:
    space = store.spaces.active()
    if space is not None and (count := store.vectors.count_without_caption(space.id)):
        first = store.vectors.without_caption(space.id, 1)
        yield Finding(kind="missing captions", where=space.model, count=count, detail=str(first[0]))


def _keyword_index(store: Store) -> Iterator[Finding]:
    if problem := keywords_are_damaged(store):
        yield Finding(kind="keyword index", where=str(store.file), detail=problem)


def _missing_keywords(store: Store) -> Iterator[Finding]:
    units = [unit for (unit,) in store.database.rows(WITHOUT_KEYWORDS)]
    if units:
        yield Finding(
            kind="missing keywords", where=str(store.file), count=len(units), detail=str(units[0])
        )


def _damaged(store: Store, error: CollectionDamagedError) -> Finding:
    return Finding(kind="pages", where=str(store.file), detail=str(error.__cause__))

"""Repairs a collection: removes damaged data, so that the rest is consistent and the next run can
fill the gaps; and rebuilds the indexes, with the same engine or another."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from seesay.search.catalog.database import ANY_OF, as_list, text_to_path
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.metadata import DATE_KEY, Value, ValueType, is_sound, read, sound
from seesay.search.catalog.schema import KEYWORD_TABLE
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.checking.verify import (
    WITHOUT_KEYWORDS,
    WITHOUT_UNIT,
    changed_rows,
    keywords_are_damaged,
    misdescribed,
    select_values,
    unsound_values,
    unsound_vectors,
)
from seesay.search.reading.dates import read_day
from seesay.search.vectors.engines import engine_in_use, reached, use_engine
from seesay.search.vectors.vector_index import IndexStatus, VectorIndex

_AT_ONCE = 1000  # texts
_ORPHANS = (  # owners come first
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
    "DELETE FROM page_vectors WHERE unit NOT IN (SELECT id FROM units)"
    " OR length(vectors) = 0 OR length(vectors) % (2 * dim) != 0",
    "DELETE FROM fingerprints WHERE unit NOT IN (SELECT id FROM units)",
    f"DELETE FROM keywords WHERE rowid IN ({WITHOUT_UNIT})",
    "DELETE FROM vectors WHERE length(vector) != (SELECT 2 * dim FROM spaces WHERE id = space)",
)


@dataclass(frozen=True, kw_only=True)
class BuiltIndex:
    """An index that `rebuild` has built."""

    model: str
    modality: Modality
    status: IndexStatus
    seconds: float


def rebuild(store: Store, engine: str | None = None) -> list[BuiltIndex]:
    """Build the indexes in use from the stored vectors: nothing is embedded again. Searches use
    each old index until the new one is complete; then the old one is removed. Damaged vectors are
    removed first.

    `engine` is a name for `engine_of` and becomes the collection's engine; this user's collections
    may then contact its server. Indexes of other spaces with another engine are removed: they are
    rebuilt when needed.

    Raises ConfigError, MissingExtraError and CollectionError as `reached` does, before changing
    anything; CollectionBusyError if another process is building; CollectionError if a server goes
    away midway: the collection then keeps its engine.
    """
    store.require_writable()
    wanted = engine_in_use(store.settings) if engine is None else engine
    chosen = reached(wanted, chosen=engine is not None).name
    mend(store)
    used = store.spaces.in_use()
    built = [
        _built(store, space, modality, chosen)
        for space in used
        for modality in store.vectors.modalities(space.id)
    ]
    if engine is not None:
        with store.writing("choose an engine"):
            use_engine(store.settings, chosen)
        for other in store.spaces.all():
            if other not in used:
                for modality in store.vectors.modalities(other.id):
                    _forget_others(VectorIndex(store, other, modality), chosen)
    return built


def _built(store: Store, space: EmbeddingSpace, modality: Modality, engine: str) -> BuiltIndex:
    start = time.perf_counter()
    index = VectorIndex(store, space, modality)
    try:
        status = index.build(engine)
    finally:
        index.close()
    seconds = time.perf_counter() - start
    return BuiltIndex(model=space.model, modality=modality, status=status, seconds=seconds)


def _forget_others(index: VectorIndex, engine: str) -> None:
    if index.engine not in (None, engine):
        index.discard()


def mend(store: Store) -> int:
    """Remove files with damaged rows, rows without an owner, and invalid vectors and metadata;
    rebuild the keyword index if it is damaged or incomplete; and let the next run describe pictures
    that lack their annotations. Returns the number of rows changed."""
    damaged = keywords_are_damaged(store) is not None
    with store.writing("mend") as change:
        if damaged:
            store.database.run("DROP TABLE keywords")
            store.database.run(KEYWORD_TABLE)
        _mend_rows(store)
        for statement in _ORPHANS:
            store.database.run(statement)
        for space in store.spaces.all():
            wrong = list(unsound_vectors(store, space))
            store.vectors.remove(space.id, wrong)
        passages = [passage for (passage,) in store.database.rows(WITHOUT_KEYWORDS)]
        for start in range(0, len(passages), _AT_ONCE):
            store.passages.index_words(passages[start : start + _AT_ONCE])
        _mend_metadata(store)
        store.annotations.set_undescribed(list(misdescribed(store)))
        return change.rows


def _mend_rows(store: Store) -> None:
    """Forget files with a damaged row, so that the next run reads them again. Only inside
    `store.writing`."""
    files, passages, _ = changed_rows(store)
    passages |= {passage.id for passage in store.passages.of_files(files)}
    store.files.remove(sorted(files))
    for owner, ids in (("item", files), ("unit", passages)):
        store.database.run(
            f"DELETE FROM checksums WHERE owner = ? AND id IN {ANY_OF}",
            (owner, as_list(sorted(ids))),
        )


def _mend_metadata(store: Store) -> None:
    """Remove invalid values. A text in place of a date is parsed as a date; if that fails, the
    picture's own date is restored. Unused keys are removed. Only inside `writing`."""
    passages = sorted({passage for passage, _ in unsound_values(store, deep=True)})
    own = store.annotations.own(passages)
    for passage, rows in groupby(list(_values_of(store, passages)), key=lambda row: row[0]):
        values: dict[str, list[Value]] = {}
        for _, key, kind, value in rows:
            mended = _mended(key, kind, value)
            if mended is not None:
                values.setdefault(key, []).append(mended)
        known = sound(values)
        if DATE_KEY not in known and passage in own:
            known |= sound({DATE_KEY: own[passage].metadata.get(DATE_KEY)})
        store.passages.describe(passage, metadata=known)
    store.metadata.forget_unused()


def _mended(key: str, kind: ValueType, value: object) -> Value | None:
    found = read(kind, value)
    if is_sound(key, kind, value):
        return found
    return read_day(found) if key == DATE_KEY and isinstance(found, str) else None


def _values_of(
    store: Store, passages: Iterable[int]
) -> Iterator[tuple[int, str, ValueType, object]]:
    rows = store.database.rows(
        f"{select_values(f'm.unit IN {ANY_OF}')} ORDER BY m.unit", (as_list(passages),)
    )
    for passage, name, kind, value in rows:
        yield passage, text_to_path(name), kind, value

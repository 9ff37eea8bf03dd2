"""Exports a collection for other programs: vectors with their passages."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16

from seesay.data.files import by_ending, import_pyarrow, write_whole
from seesay.data.tables import EXPORTED, write_csv
from seesay.search.catalog.filters import All, Filter, matching_passages
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.text import to_unicode

_PAGE = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One exported passage."""

    unit: int
    kind: str
    source: str
    """Path of the file."""
    locator: Mapping[str, object]
    """The place of the passage in the file."""
    text: str | None
    metadata: Mapping[str, object]
    """Values for JSON; dates in ISO 8601."""
    vector: Float[np.ndarray, " embed"]
    model: str
    """The model that made the vector."""


def export(store: Store, space: EmbeddingSpace, file: Path, filter: Filter | None = None) -> int:
    """Write every passage with a vector in `space`, or in the text space in use, or only those that
    match the filter; returns their number. Passages of the text space come last. The file ending
    selects the format: .npz, .parquet, .jsonl, or .csv, which has no vectors. Writes the whole file
    or nothing.

    Raises ConfigError for another ending, MissingExtraError if a package is missing, DataError if
    the file cannot be written."""
    write = by_ending(file, WRITERS)
    with store.database.snapshot(), write_whole(file) as unfinished:
        texts = store.spaces.active("text")
        spaces = [space] if texts is None else [space, texts]
        numbers = np.sort(matching_passages(filter or All(()), store.database)).tolist()
        rows = chain.from_iterable(_rows(store, one, numbers) for one in spaces)
        return write(unfinished, rows, spaces)


def _rows(store: Store, space: EmbeddingSpace, every: Sequence[int]) -> Iterator[Row]:
    numbers = iter(every)
    while page := list(islice(numbers, _PAGE)):
        have, vectors = store.vectors.get(space.id, page)
        passages = store.passages.get(have.tolist())
        paths = {
            file.id: file.path for file in store.files.get({passage.file for passage in passages})
        }
        metadata = store.metadata.get(passage.id for passage in passages)
        for passage, vector in zip(passages, vectors, strict=True):
            yield Row(
                unit=passage.id,
                kind=passage.media_type,
                source=to_unicode(paths[passage.file]),
                locator=json.loads(passage.place.to_json()),
                text=None if passage.text is None else to_unicode(passage.text),
                metadata={to_unicode(k): _json(value) for k, value in metadata[passage.id].items()},
                vector=vector,
                model=space.model,
            )


def _json(value: Any) -> object:
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    if isinstance(value, str):
        return to_unicode(value)
    return value.isoformat() if isinstance(value, date) else value


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _write_npz(file: Path, rows: Iterator[Row], spaces: Sequence[EmbeddingSpace]) -> int:
    """Write `vectors`, and if there is a text space, `text_vectors` of the last passages."""
    kept: list[tuple[Any, ...]] = []
    vectors: dict[str, list[Float16[np.ndarray, " embed"]]] = {one.model: [] for one in spaces}
    for row in rows:
        kept.append((row.unit, row.kind, row.source, row.text or "", row.locator, row.metadata))
        vectors[row.model].append(row.vector.astype(np.float16))  # the stored precision
    arrays: dict[str, Any] = {}
    # Without a text embedder there is one space.
    for prefix, one in zip(("", "text_"), spaces, strict=False):
        some = np.array(vectors[one.model], np.float16)
        arrays[f"{prefix}vectors"] = some.reshape(len(some), one.dim)
        arrays[f"{prefix}model"] = np.array(one.model)
    passages, kinds, sources, texts, locators, metadata = (
        zip(*kept, strict=True) if kept else [()] * 6
    )
    with file.open("wb") as stream:
        np.savez(
            stream,
            units=np.array(passages, np.int64),
            kinds=np.array(kinds, np.str_),
            sources=np.array(sources, np.str_),
            texts=np.array(texts, np.str_),
            locators=np.array([_dumped(one) for one in locators], np.str_),
            metadata=np.array([_dumped(one) for one in metadata], np.str_),
            **arrays,
        )
    return len(kept)


def _write_jsonl(file: Path, rows: Iterator[Row], spaces: Sequence[EmbeddingSpace]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as stream:
        for row in rows:
            count += 1
            line = {**vars(row), "vector": row.vector.tolist()}
            stream.write(_dumped(line) + "\n")
    return count


def _write_csv(file: Path, rows: Iterator[Row], spaces: Sequence[EmbeddingSpace]) -> int:
    """Write a column for every metadata key, without vectors. Adds the mark by which spreadsheets
    recognise UTF-8, and an apostrophe before text that they would read as a formula."""
    kept = []
    for row in rows:  # without vectors, which would fill the memory
        locator = _dumped(row.locator) if row.locator else ""
        kept.append(([row.unit, row.kind, row.source, row.text or "", locator], row.metadata))
    keys = sorted({key for _, metadata in kept for key in metadata})
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        write_csv(stream, [[*EXPORTED, *keys]])
        write_csv(
            stream,
            ((*facts, *(_cell(data.get(key)) for key in keys)) for facts, data in kept),
        )
    return len(kept)


def _cell(value: object) -> object:
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _write_parquet(file: Path, rows: Iterator[Row], spaces: Sequence[EmbeddingSpace]) -> int:
    """With a text space the vectors have two widths, so their column has lists of any length."""
    arrow, parquet = import_pyarrow()
    texts = [(name, arrow.string()) for name in ("kind", "source", "text", "locator", "metadata")]
    width = spaces[0].dim if len({one.dim for one in spaces}) == 1 else -1
    vector = arrow.list_(arrow.float32(), width)
    schema = arrow.schema([("unit", arrow.int64()), *texts, ("vector", vector)])
    # Without a text embedder there is one model.
    models = dict(zip(("model", "text_model"), (one.model for one in spaces), strict=False))
    schema = schema.with_metadata(models)
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while page := list(islice(rows, _PAGE)):
            lines = [
                {**vars(row), "locator": _dumped(row.locator), "metadata": _dumped(row.metadata)}
                for row in page
            ]
            writer.write_table(arrow.Table.from_pylist(lines, schema))
            count += len(page)
    return count


WRITERS: dict[str, Callable[[Path, Iterator[Row], Sequence[EmbeddingSpace]], int]] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
}

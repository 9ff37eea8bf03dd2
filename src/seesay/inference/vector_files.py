"""Write embeddings to a file that other programs read: .npz, .npy, .jsonl or .parquet."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from seesay.data.files import by_ending, import_pyarrow, write_whole
from seesay.text import to_unicode


@dataclass(frozen=True, kw_only=True)
class VectorTable:
    """Vectors with their sources; all columns have the same length."""

    model: str
    kinds: tuple[str, ...]
    """"image" or "text"."""
    sources: tuple[str, ...]
    """The path of the picture, or the text itself."""
    windows: tuple[int, ...]
    """How many windows a text was divided into; 1 if it fits the context."""
    vectors: Float[np.ndarray, "rows embed"]


def save_vectors(file: Path, table: VectorTable) -> None:
    """Write the file completely or not at all; the extension decides the format. Nothing is
    pickled."""
    write = by_ending(file, WRITERS)
    with write_whole(file) as unfinished:
        write(unfinished, table)


def _write_npz(file: Path, table: VectorTable) -> None:
    with file.open("wb") as stream:  # given a path, numpy would append .npz to the temporary name
        np.savez(
            stream,
            vectors=table.vectors,
            sources=np.array(table.sources, dtype=np.str_),
            kinds=np.array(table.kinds, dtype=np.str_),
            windows=np.array(table.windows, dtype=np.int32),
            model=np.array(table.model),
        )


def _write_npy(file: Path, table: VectorTable) -> None:
    with file.open("wb") as stream:
        np.save(stream, table.vectors)


def _write_jsonl(file: Path, table: VectorTable) -> None:
    # A file name that is not UTF-8 becomes an escape, which JSON readers decode.
    with file.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for row in zip(*_columns(table), strict=True):
            line = dict(zip(("kind", "source", "windows", "vector"), row, strict=True))
            stream.write(json.dumps({**line, "model": table.model}, ensure_ascii=False) + "\n")


def _write_parquet(file: Path, table: VectorTable) -> None:
    arrow, parquet = import_pyarrow()
    kinds, sources, windows, _ = _columns(table)
    flat = arrow.array(table.vectors.ravel(), type=arrow.float32())
    vectors = arrow.FixedSizeListArray.from_arrays(flat, table.vectors.shape[1])
    names = [to_unicode(source) for source in sources]
    columns = {"kind": kinds, "source": names, "windows": windows, "vector": vectors}
    rows = arrow.table(columns).replace_schema_metadata({"model": table.model})
    parquet.write_table(rows, file)


def _columns(table: VectorTable) -> list[list[Any]]:
    return [list(table.kinds), list(table.sources), list(table.windows), table.vectors.tolist()]


WRITERS: dict[str, Callable[[Path, VectorTable], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}

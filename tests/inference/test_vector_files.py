"""Vectors on disk: whole, in the format that the file's ending names, never pickled."""

import json

import numpy as np
import pytest

from seesay.data.files import by_ending
from seesay.errors import ConfigError, MissingExtraError
from seesay.inference import vector_files
from seesay.inference.vector_files import WRITERS, VectorTable, save_vectors

SOURCES = ("图 1.jpg", "a cat\non two lines", "bad\udcff.jpg")


@pytest.fixture
def table() -> VectorTable:
    vectors = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    return VectorTable(
        model="m", kinds=("image", "text", "image"), sources=SOURCES, windows=(1, 2, 1),
        vectors=vectors,
    )  # fmt: skip


def test_npz_gives_back_vectors_and_sources_without_pickle(table, tmp_path):
    save_vectors(tmp_path / "v.npz", table)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["vectors"], table.vectors)
        assert tuple(stored["sources"]) == SOURCES
        assert tuple(stored["kinds"]) == table.kinds
        assert tuple(stored["windows"]) == table.windows
        assert str(stored["model"]) == "m"


def test_npy_gives_back_the_vectors(table, tmp_path):
    save_vectors(tmp_path / "v.NPY", table)
    np.testing.assert_array_equal(np.load(tmp_path / "v.NPY", allow_pickle=False), table.vectors)


def test_jsonl_has_a_line_per_input(table, tmp_path):
    save_vectors(tmp_path / "v.jsonl", table)
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text("utf-8").splitlines()]
    assert tuple(row["source"] for row in rows) == SOURCES
    np.testing.assert_array_equal(np.array([r["vector"] for r in rows], np.float32), table.vectors)
    assert rows[1] | {"vector": 0} == {
        "kind": "text", "source": SOURCES[1], "windows": 2, "vector": 0, "model": "m"
    }  # fmt: skip


def test_parquet_gives_back_every_column(table, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    save_vectors(tmp_path / "v.parquet", table)
    rows = parquet.read_table(tmp_path / "v.parquet")
    assert rows["source"].to_pylist()[:2] == list(SOURCES[:2])
    np.testing.assert_array_equal(np.array(rows["vector"].to_pylist(), np.float32), table.vectors)
    assert rows.schema.metadata[b"model"] == b"m"


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in '\.txt'; expected one of \.npz, \.npy, .*"):
        by_ending(tmp_path / "v.txt", WRITERS)


def test_parquet_without_its_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"seesay\[train\]"):
        by_ending(tmp_path / "v.parquet", WRITERS)


def test_a_writer_that_fails_leaves_the_old_file(table, tmp_path, monkeypatch):
    file = tmp_path / "v.npz"
    file.write_bytes(b"old")

    def fail(path, _):
        path.write_bytes(b"half of it")
        raise RuntimeError("killed")

    monkeypatch.setitem(vector_files.WRITERS, ".npz", fail)
    with pytest.raises(RuntimeError, match="killed"):
        save_vectors(file, table)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]

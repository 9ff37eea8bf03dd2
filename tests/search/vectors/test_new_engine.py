"""A new engine is one new file and one line in the table of engines."""

import contextlib
import importlib.util

import numpy as np
import pytest

import made_collections as made
from engine_contract import CONTRACT, build
from seesay.search.catalog.filters import Where
from seesay.search.catalog.store import Store
from seesay.search.vectors import engines
from seesay.search.vectors.engine import Engine
from seesay.search.vectors.vector_index import VectorIndex

NEW_FILE = '''
"""A product of matrices."""

import numpy as np

from seesay.search.vectors.engine import IndexDamagedError
from seesay.text import Text


class MatrixEngine:
    name = "matrix"

    def reach(self):
        pass

    def build(self, rows, folder, name):
        np.save(folder / "matrix.npy", rows.vectors.astype(np.float32))
        return {"kind": "matrix", "files": ["matrix.npy"]}

    def open(self, rows, folder, notes):
        try:
            matrix = np.load(folder / "matrix.npy")
        except OSError as error:
            raise IndexDamagedError(Text(f"no matrix: {error}", f"没有矩阵：{error}")) from error
        if matrix.shape != (len(rows), rows.dim):
            raise IndexDamagedError(Text("another matrix", "是另一个矩阵"))
        return OpenMatrix(matrix, rows)

    def drop(self, notes):
        pass


class OpenMatrix:
    def __init__(self, matrix, rows):
        self.matrix, self.rows = matrix, rows

    def search(self, query, count, allowed):
        scores = self.matrix @ query
        if allowed is not None:
            scores = np.where(allowed.mask, scores, -np.inf)
        numbers = np.argsort(-scores)[: count + 1]
        numbers = numbers[np.isfinite(scores[numbers])]
        return numbers, self.rows.score(query, numbers)

    def close(self):
        pass
'''


@pytest.fixture
def engine(tmp_path, monkeypatch):
    file = tmp_path / "matrix.py"
    file.write_text(NEW_FILE, "utf-8")
    spec = importlib.util.spec_from_file_location("matrix", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(engines.LOCAL, "matrix", module.MatrixEngine)
    return engines.engine_of("matrix")


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_a_new_engine_keeps_the_contract(engine, check, tmp_path):
    assert isinstance(engine, Engine)
    check(build(engine, tmp_path / "index"))


def test_a_collection_searches_with_a_new_engine(engine, tmp_path):
    vectors = made.clustered(500, made.DIM)
    with Store(tmp_path / "collection", create=True) as store:
        space = made.add_space(store)
        made.add_photos(store, space, vectors)
        with contextlib.closing(VectorIndex(store, space, "image")) as index:
            assert index.build("matrix").kind == "matrix"
            made.add_photos(store, space, vectors[:9], first=500)
            for filter in (None, Where("number", "<", 200)):
                for query in vectors[::50]:
                    found = index.search(query, 5, filter=filter)
                    exact = index.search(query, 5, filter=filter, exact=True)
                    assert found.plan.path == "index"
                    assert found.units.tolist() == exact.units.tolist()
                    assert np.array_equal(found.scores, exact.scores)

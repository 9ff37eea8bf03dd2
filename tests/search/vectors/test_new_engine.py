"""A new engine is one new file and one line in the table of engines."""

import contextlib
import importlib.util
import inspect

import numpy as np
import pytest

import made_collections as made
from engine_contract import CONTRACT, HOLDING_CONTRACT, build, held
from seesay.search.catalog.filters import Compare
from seesay.search.catalog.store import Store
from seesay.search.vectors import engines, generations
from seesay.search.vectors.engine import HoldingEngine, LocalEngine
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


NEW_FILE_OF_A_SERVER = '''
"""Dicts, as a server that holds the vectors."""

import operator
from functools import partial

import numpy as np

from seesay.search.catalog.store import START
from seesay.search.vectors.engine import CandidateIndex, IndexDamagedError, Progress
from seesay.search.vectors.pushdown import OPERATORS, Every, Number, Some, Token
from seesay.text import Text

SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
INDEXES = {}


class DictServer:
    operators = OPERATORS

    def __init__(self, address, token):
        self.name = f"dicts={address}"

    def reach(self):
        pass

    def create(self, name, dim):
        INDEXES[name] = {"progress": Progress(START, START), "passages": {}}
        return {"collection": name, "kind": "dict"}

    def send(self, notes, progress, batches, gone):
        index = INDEXES[notes["collection"]]
        index["progress"] = progress
        for unit in gone:
            index["passages"].pop(unit, None)
        for batch in batches:
            for unit, vector, columns in zip(*batch):
                index["passages"][int(unit)] = vector, columns
        index["progress"] = Progress(progress.sending, progress.sending)

    def open(self, rows, notes):
        if notes["collection"] not in INDEXES:
            raise IndexDamagedError(Text("there is no such index", "没有这个索引"))
        index = INDEXES[notes["collection"]]
        return CandidateIndex(
            engine="Dicts",
            rows=rows,
            most=10_000,
            ask=partial(ask, index["passages"]),
            close=lambda: None,
            held=lambda: len(index["passages"]),
            read_progress=lambda: index["progress"],
        )

    def drop(self, notes):
        INDEXES.pop(notes["collection"], None)


def ask(passages, query, count, expression):
    scores = {unit: v @ query for unit, (v, c) in passages.items() if fits(c, expression)}
    return sorted(scores, key=scores.get, reverse=True)[:count]


def fits(columns, expression):
    match expression:
        case None:
            return True
        case Token(token, has):
            return (token in columns.tokens) == has
        case Number(name, sign, value):
            return name in columns.numbers and SIGNS[sign](columns.numbers[name], value)
        case Every(parts):
            return all(fits(columns, part) for part in parts)
        case Some(parts):
            return any(fits(columns, part) for part in parts)
'''


def load(name, text, folder):
    file = folder / f"{name}.py"
    file.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engine(tmp_path, monkeypatch):
    module = load("matrix", NEW_FILE, tmp_path)
    monkeypatch.setitem(engines.LOCAL, "matrix", module.MatrixEngine)
    return engines.engine_of("matrix")


@pytest.fixture(scope="module")
def collection(tmp_path_factory, index_from_few_rows_on):
    """With an index on a server."""
    folder = tmp_path_factory.mktemp("dicts")
    module = load("dicts", NEW_FILE_OF_A_SERVER, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engines.SERVERS, "dicts", module.DictServer)
        patch.setenv("SEESAY_DICTS_TOKEN", "http://127.0.0.1:9=")
        built = held(engines.engine_of("dicts=127.0.0.1:9"), folder / "collection")
        yield built
        built.index.discard()
        built.store.close()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_a_new_engine_keeps_the_contract(engine, check, tmp_path):
    assert isinstance(engine, LocalEngine)
    check(build(engine, tmp_path / "index"))


def test_an_index_of_rows_that_an_older_version_sent_to_a_server_is_built_anew(collection):
    index = collection.index
    index.discard()
    index.build("faiss")
    number = generations.newest(index.folder)
    manifest = generations.manifest_of(index.folder, number)
    generations.write_manifest(
        generations.folder_of(index.folder, number),
        position=manifest.position,
        engine=collection.engine.name,
        notes={**manifest.notes, "collection": "as it was"},
    )
    index.close()
    collection.assert_right(path="scan")
    assert "older version" in index.status().problem.en
    assert index.verify(deep=True) == []
    assert index.update().problem is None
    collection.assert_right()


@pytest.mark.parametrize("check", HOLDING_CONTRACT, ids=lambda check: check.__name__)
def test_a_new_engine_on_a_server_keeps_the_contract(collection, check, request):
    assert isinstance(collection.engine, HoldingEngine)
    more = list(inspect.signature(check).parameters)[1:]
    check(collection, *(request.getfixturevalue(name) for name in more))


def test_a_collection_searches_with_a_new_engine(engine, tmp_path):
    vectors = made.clustered(500, made.DIM)
    with Store(tmp_path / "collection", create=True) as store:
        space = made.add_space(store)
        made.add_photos(store, space, vectors)
        with contextlib.closing(VectorIndex(store, space, "image")) as index:
            assert index.build("matrix").kind == "matrix"
            made.add_photos(store, space, vectors[:9], first=500)
            for filter in (None, Compare("number", "<", 200)):
                for query in vectors[::50]:
                    found = index.search(query, 5, filter=filter)
                    exact = index.search(query, 5, filter=filter, exact=True)
                    assert found.plan.path == "index"
                    assert found.units.tolist() == exact.units.tolist()
                    assert np.array_equal(found.scores, exact.scores)

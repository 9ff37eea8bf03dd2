"""Every engine keeps the contract."""

import inspect

import pytest

from engine_contract import CONTRACT, HOLDING_CONTRACT, build, held
from seesay.search.vectors.engine import HoldingEngine, LocalEngine


@pytest.fixture(scope="module")
def built(engine, index_from_few_rows_on, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    assert isinstance(engine, LocalEngine) != isinstance(engine, HoldingEngine)
    if isinstance(engine, LocalEngine):
        yield build(engine, folder)
        return
    built = held(engine, folder)
    yield built
    built.index.discard()
    built.store.close()


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("engine", ["faiss", "chroma"], indirect=True, scope="module")
def test_an_engine_in_this_process(built, check):
    check(built)


@pytest.mark.parametrize("check", HOLDING_CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("engine", ["chroma server", "milvus"], indirect=True, scope="module")
def test_an_engine_on_a_server(built, check, request):
    more = list(inspect.signature(check).parameters)[1:]
    check(built, *(request.getfixturevalue(name) for name in more))

"""Every engine keeps the contract, and questions get the same answers with each."""

import inspect
import shutil

import pytest

import every_kind_in_a_collection as every_kind
from engine_contract import CONTRACT, HOLDING_CONTRACT, build, held
from seesay.search.asking import searcher
from seesay.search.collection import Collection
from seesay.search.vectors import engine as engines
from seesay.search.vectors import faiss
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


@pytest.fixture(scope="module")
def engines_are_asked():
    """A collection of some hundred passages is searched as one of many thousands is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searcher, "_DEPTH", 8)
        patch.setattr(searcher, "_FIRST_PAGE", 8)
        patch.setattr(faiss, "SCANNED_ROWS", every_kind.MANY)
        patch.setattr(engines, "_READ", 8)
        yield


@pytest.fixture(scope="module")
def without_an_index(engines_are_asked, tmp_path_factory):
    """A collection of every kind of passage, and what is seen of it before and after a change,
    while all vectors are compared."""
    place = tmp_path_factory.mktemp("every kind") / "collection"
    every_kind.make(place)
    copy = shutil.copytree(place, place.with_name("changed"))
    with Collection.open(copy) as collection:
        before = every_kind.seen(collection)
        every_kind.change(collection)
        return place, before, every_kind.seen(collection)


def test_without_an_index_questions_are_answered(without_an_index):
    _, before, after = without_an_index
    for question, expected in every_kind.QUESTIONS.items():
        claims, evidence = before["answers"][question]
        if expected is None:
            assert claims == ()
            continue
        part, path = expected
        assert part in claims[0].text
        assert [evidence[number - 1].path for number in claims[0].evidence] == [path]
    changed = {
        one for one in every_kind.QUESTIONS if before["answers"][one] != after["answers"][one]
    }
    opened, income = "When did the library open?", "How much did the income of Acme grow?"
    assert {opened, income} <= changed
    assert "1954" in after["answers"][opened][0][0].text and after["answers"][income][0] == ()


@pytest.mark.parametrize(
    "engine", ["faiss", "chroma", "chroma server", "milvus"], indirect=True, scope="module"
)
def test_questions_get_the_same_answers_and_citations(engine, without_an_index, tmp_path):
    place, before, after = without_an_index
    with Collection.open(shutil.copytree(place, tmp_path / "c")) as collection:
        built = collection.rebuild(engine.name)
        assert all(one.status.problem is None for one in built)
        searched = collection.search("lanterns").explain.retrievers
        paths = {(one.model, one.retriever): one.plan.path for one in searched if one.plan}
        path = "scan" if engine.name == "faiss" else "index"  # FAISS knows when that is faster
        assert paths == {("seesay-mini", "image"): path, ("seesay-text", "text"): path}
        assert every_kind.seen(collection) == before
        every_kind.change(collection)
        assert every_kind.seen(collection) == after
        assert collection.verify(deep=True) == []
        collection.rebuild("faiss")
        assert {one.engine for one in collection.stats().spaces[1].indexes} == {"faiss"}
        assert every_kind.seen(collection) == after

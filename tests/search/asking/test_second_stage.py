"""Pages of a real document, scored again by late interaction with a tiny ColQwen2."""

import threading

import numpy as np
import pytest

from made_pdfs import pdf, write
from raw_rows import raw_rows
from seesay.errors import CollectionDamagedError, WeightsError
from seesay.models.late_interaction import max_sim
from seesay.search.asking import second_stage
from seesay.search.catalog.store import FILE
from seesay.search.checking.repair import mend
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions
from tiny_late import late_folder

WORDS = ("dogs", "boats", "cats and kites", "trains", "the moon")
QUERY = "a page about boats"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(late_folder(tmp_path_factory.mktemp("late")).folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    draw = [lambda canvas, one=one: write(canvas, [f"A page about {one}."]) for one in WORDS]
    (folder / "letter.pdf").write_bytes(pdf(*draw))
    (folder / "note.txt").write_text("A note about boats.")
    return folder


@pytest.fixture
def collection(tmp_path, files):
    with Collection.open(tmp_path / "c", create=True) as opened:
        opened.index(files, IndexOptions(workers=1))
        yield opened


def late(name):
    return IndexOptions(workers=1, late=name)


def test_pages_get_vectors_once_and_lose_them_with_their_file(collection, model, files):
    report = collection.index(files, late(model))
    tokens = {number: len(one) for number, one in vectors(collection).items()}
    assert report.pages == len(tokens) == len(WORDS)
    assert report.page_bytes == sum(tokens.values()) * 128 * 2 > 0
    assert collection.store.page_vectors.size() == (len(WORDS), report.page_bytes)
    assert collection.index(files, late(model)).pages == 0
    assert collection.verify(deep=True) == []
    collection.remove(files / "letter.pdf")
    assert collection.store.page_vectors.size() == (0, 0)


def vectors(collection):
    pages = [one.id for one in passages(collection) if one.media_type == "page"]
    return dict(collection.store.page_vectors.stream(pages))


def passages(collection):
    files = [file.id for file in collection.store.files.all()]
    return collection.store.passages.of_files(files)


def test_pages_and_the_texts_on_them_come_in_the_order_of_their_scores(collection, model, files):
    collection.index(files, late(model))
    before, found = collection.search(QUERY), collection.search(QUERY, rerank=model)
    query = second_stage.load(model).embed_query(QUERY)
    scores = {number: max_sim(query, own) for number, own in vectors(collection).items()}
    page_of = collection.store.page_vectors.of_passages([hit.unit for hit in found.hits])
    assert sorted(scores.values()) != sorted(set(scores.values())) or len(scores) == len(WORDS)
    for kind in ("page", "text"):
        order = [
            scores[page_of[h.unit]] for h in found.hits if h.kind == kind and h.unit in page_of
        ]
        assert len(order) == len(WORDS) and order == sorted(order, reverse=True)
        was = [page_of[h.unit] for h in before.hits if h.kind == kind and h.unit in page_of]
        assert was != [page_of[h.unit] for h in found.hits if h.kind == kind and h.unit in page_of]
    confidences = [hit.confidence for hit in found.hits]
    assert confidences == sorted(confidences, reverse=True)
    assert found.explain.notes == before.explain.notes
    (note,) = (hit for hit in found.hits if hit.path.endswith("note.txt"))
    (same,) = (hit for hit in before.hits if hit.path.endswith("note.txt"))
    assert note.confidence == same.confidence


def test_pages_without_vectors_keep_their_places_and_are_counted(collection, model, files):
    collection.index(files, late(model))
    units = [one.id for one in passages(collection) if one.media_type == "page"]
    with collection.store.writing("test"):
        collection.store.database.run("DELETE FROM page_vectors WHERE unit = ?", (units[0],))
    again = collection.rerank(model, QUERY, units)
    assert again.order[0] == 0 and sorted(again.order.tolist()) == list(range(len(units)))
    scores = {u: max_sim(second_stage.load(model).embed_query(QUERY), v)
              for u, v in vectors(collection).items()}  # fmt: skip
    rest = [scores[units[row]] for row in again.order[1:]]
    assert rest == sorted(rest, reverse=True)
    assert "1 of the first 5 pages have no vectors" in again.notes[0].en
    assert f"seesay index --late {model}" in again.notes[0].zh


def test_a_model_is_not_loaded_for_pages_without_vectors(collection, model, monkeypatch):
    monkeypatch.setattr(second_stage, "load", lambda _: pytest.fail("loaded"))
    found = collection.search(QUERY, rerank=model)
    assert "5 of the first 5 pages" in found.explain.notes[-1].en
    same = collection.search(QUERY)
    assert [hit.unit for hit in found.hits] == [hit.unit for hit in same.hits]


def test_another_model_replaces_the_vectors_and_none_removes_them(
    collection, model, files, tmp_path
):
    collection.index(files, late(model))
    other = str(late_folder(tmp_path, seed=1).folder)
    units = list(vectors(collection))
    assert "5 of the first 5" in collection.rerank(other, QUERY, units).notes[0].en
    before = vectors(collection)
    assert collection.index(files, late(other)).pages == len(WORDS)
    assert not np.array_equal(before[units[0]], vectors(collection)[units[0]])
    assert collection.rerank(other, QUERY, units).notes == ()
    collection.index(files, late("none"))
    assert collection.store.page_vectors.size() == (0, 0)


def test_what_was_computed_before_a_stop_is_kept(collection, model, files):
    stop = threading.Event()

    def on_progress(at):
        if collection.store.page_vectors.size()[0] == 2:
            stop.set()

    report = collection.index(files, late(model), on_progress=on_progress, stop=stop)
    assert report.interrupted and collection.store.page_vectors.size()[0] == 2
    assert collection.index(files, late(model)).pages == len(WORDS) - 2


def test_damaged_vectors_are_named_and_repaired(collection, model, files):
    collection.index(files, late(model))
    units = list(vectors(collection))
    with raw_rows(collection.store.folder / FILE) as connection:
        connection.execute("UPDATE page_vectors SET vectors = x'00' WHERE unit = ?", (units[1],))
    with pytest.raises(CollectionDamagedError, match=r"stored value is damaged.*verify --deep"):
        collection.search(QUERY, rerank=model)
    mend(collection.store)
    assert "1 of the first 5" in collection.rerank(model, QUERY, units).notes[0].en
    assert collection.index(files, late(model)).pages == 1


def test_a_model_of_another_kind_is_refused_before_anything_is_indexed(collection, files, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}', encoding="utf-8")
    with pytest.raises(WeightsError, match="compares a query with pages"):
        collection.index(files, late(str(tmp_path)))
    with pytest.raises(WeightsError, match="scores a query with a text"):
        collection.search(QUERY, rerank=str(tmp_path))

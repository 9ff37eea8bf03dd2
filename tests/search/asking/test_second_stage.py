"""Pages of a real document, scored again by late interaction with a tiny ColQwen2."""

import shutil
import threading

import numpy as np
import pytest

from made_pdfs import pdf, write
from raw_rows import raw_rows
from seesay.cli.index import summary
from seesay.cli.results import size
from seesay.errors import CollectionDamagedError, WeightsError
from seesay.models.late_interaction import max_sim
from seesay.rag.answer import ask
from seesay.search.asking import second_stage
from seesay.search.catalog.store import FILE
from seesay.search.checking.repair import mend
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.pages import embed_pages
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


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, model, files):
    """The folder of a collection whose pages have vectors, and the report of making it."""
    place = tmp_path_factory.mktemp("home") / "c"
    with Collection.open(place, create=True) as made:
        return place, made.index(files, late(model))


@pytest.fixture
def collection(tmp_path, indexed):
    with Collection.open(shutil.copytree(indexed[0], tmp_path / "c")) as opened:
        yield opened


def late(name):
    return IndexOptions(workers=1, late=name)


def vectors(collection):
    files = [file.id for file in collection.store.files.all()]
    passages = collection.store.passages.of_files(files)
    pages = [one.id for one in passages if one.media_type == "page"]
    return dict(collection.store.page_vectors.stream(pages))


def test_pages_get_vectors_and_lose_them_with_their_file(collection, indexed, files):
    report, found = indexed[1], vectors(collection)
    assert report.pages == len(found) == len(WORDS)
    assert report.page_bytes == sum(map(len, found.values())) * 128 * 2 > 0
    assert collection.store.page_vectors.size() == (len(WORDS), report.page_bytes)
    assert f"{len(WORDS)} ({size(report.page_bytes // len(WORDS))}" in summary(report)
    assert collection.verify(deep=True) == []
    collection.remove(files / "letter.pdf")
    assert collection.store.page_vectors.size() == (0, 0)


def test_pages_and_the_texts_on_them_come_in_the_order_of_their_scores(collection, model):
    before, found = collection.search(QUERY), collection.search(QUERY, rerank=model)
    query = second_stage.load(model).embed_query(QUERY)
    scores = {number: max_sim(query, own) for number, own in vectors(collection).items()}
    page_of = collection.store.page_vectors.of_passages([hit.unit for hit in found.hits])
    for kind in ("page", "text"):
        was, now = (
            [page_of[hit.unit] for hit in one.hits if hit.kind == kind and hit.unit in page_of]
            for one in (before, found)
        )
        assert len(now) == len(WORDS) and was != now
        assert now == sorted(now, key=lambda page: -scores[page])
    confidences = [hit.confidence for hit in found.hits]
    assert confidences == sorted(confidences, reverse=True)
    assert found.explain.notes == before.explain.notes


def test_with_another_engine_pages_are_scored_again_alike(collection, model):
    pytest.importorskip("chromadb")

    def seen():
        hits = collection.search(QUERY, rerank=model).hits
        return [hit.unit for hit in hits], ask(
            f"What is {QUERY}?", collection, rerank=model
        ).evidence

    before = seen()
    assert len(before[0]) == 2 * len(WORDS) + 1 and before[1]
    assert {one.status.engine for one in collection.rebuild("chroma")} == {"chroma"}
    assert seen() == before


def test_the_pages_of_a_book_are_read_once_for_all_passages(collection, monkeypatch):
    asked, rows = [], collection.store.database.rows
    monkeypatch.setattr(
        collection.store.database, "rows", lambda *one: asked.append(one) or rows(*one)
    )
    texts = [hit.unit for hit in collection.search(QUERY).hits if hit.locator.page]
    asked.clear()
    assert len(collection.store.page_vectors.of_passages(texts)) == 2 * len(WORDS)
    ((sql, values),) = asked
    plan = " ".join(row[3] for row in rows(f"EXPLAIN QUERY PLAN {sql}", values))
    assert "AUTOMATIC COVERING INDEX (item=? AND page=?)" in plan


def test_pages_without_vectors_keep_their_places_and_are_counted(collection, model):
    units = list(vectors(collection))
    with collection.store.writing("test"):
        collection.store.database.run("DELETE FROM page_vectors WHERE unit = ?", (units[0],))
    again = collection.rerank(model, QUERY, units)
    assert again.order[0] == 0 and sorted(again.order.tolist()) == list(range(len(units)))
    query, found = second_stage.load(model).embed_query(QUERY), vectors(collection)
    rest = [max_sim(query, found[units[row]]) for row in again.order[1:]]
    assert rest == sorted(rest, reverse=True)
    assert "1 of the first 5 pages have no vectors" in again.notes[0].en
    assert f"seesay index --late {model}" in again.notes[0].zh


def test_a_model_is_not_loaded_for_pages_without_vectors(collection, model, files, monkeypatch):
    assert collection.index(files, late("none")).pages == 0
    assert collection.store.page_vectors.size() == (0, 0)
    monkeypatch.setattr(second_stage, "load", lambda _: pytest.fail("loaded"))
    found, same = collection.search(QUERY, rerank=model), collection.search(QUERY)
    assert "5 of the first 5 pages" in found.explain.notes[-1].en
    assert [hit.unit for hit in found.hits] == [hit.unit for hit in same.hits]


def test_vectors_of_another_model_are_not_compared_and_are_replaced(collection, model):
    store, units = collection.store, list(vectors(collection))
    other = np.eye(4, 128, dtype=np.float16)
    with store.writing("test"):
        assert store.page_vectors.put(units[0], "another", other) == 4 * 128 * 2
        assert store.page_vectors.put(10**6, "another", other) == 0  # a passage that is gone
    np.testing.assert_array_equal(vectors(collection)[units[0]], other)
    assert "1 of the first 5" in collection.rerank(model, QUERY, units).notes[0].en
    fingerprint = second_stage.load(model).fingerprint
    assert store.page_vectors.due(fingerprint, 9) == [units[0]]


def test_what_was_computed_before_a_stop_is_kept(collection, model):
    store, pages, stop = collection.store, second_stage.load(model), threading.Event()
    with store.writing("test"):
        store.page_vectors.clear()

    def run(tell):
        how = dict(run=None, stopping=stop, tell=tell)
        return embed_pages(store, pages, IndexOptions(), **how)[0]

    assert run(lambda done, total: stop.set() if (done, total) == (2, len(WORDS)) else None) == 2
    assert store.page_vectors.size()[0] == 2
    stop.clear()
    assert run(lambda done, total: None) == len(WORDS) - 2
    assert store.page_vectors.count_due(pages.fingerprint) == 0


def test_damaged_vectors_are_named_and_removed_by_a_repair(collection, model):
    units = list(vectors(collection))
    with raw_rows(collection.store.folder / FILE) as connection:
        connection.execute("UPDATE page_vectors SET vectors = x'00' WHERE unit = ?", (units[1],))
    with pytest.raises(CollectionDamagedError, match=r"stored value is damaged.*verify --deep"):
        collection.search(QUERY, rerank=model)
    mend(collection.store)
    assert "1 of the first 5" in collection.rerank(model, QUERY, units).notes[0].en


def test_a_model_of_another_kind_is_refused_before_anything_is_indexed(collection, files, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}', encoding="utf-8")
    with pytest.raises(WeightsError, match="compares a query with pages"):
        collection.index(files, late(str(tmp_path)))
    with pytest.raises(WeightsError, match="scores a query with a text"):
        collection.search(QUERY, rerank=str(tmp_path))

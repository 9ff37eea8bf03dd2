import threading
from pathlib import Path

import numpy as np
import pytest

import made_collections as made
from seesay.errors import CollectionError, ConfigError
from seesay.inference.background import Backgrounds
from seesay.inference.embedder import load
from seesay.search.asking.query import Part, Query
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.drafts import PassageDraft
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.filters import Compare
from seesay.search.catalog.store import Store
from tiny_checkpoint import write_checkpoint

TEXTS = [
    "南京市长江大桥在夜晚灯火通明",
    "两只鹦鹉站在树枝上，一只是绿色的",
    "北京烤鸭和豆汁儿都是老北京的味道",
    "一只猫趴在窗台上晒太阳",
    "我在清华大学的图书馆里看书，旁边放着 iPhone 15 手机",
    "The old stone bridge over the river at night",
    "草地上有一只棕色的狗在奔跑",
    "会议记录：三月份的销售额比去年增长了百分之十",
]
PROBES = [
    ("桥", 0),
    ("长江", 0),
    ("猫", 3),
    ("北京", 2),
    ("鹦鹉", 1),
    ("大学", 4),
    ("销售额 增长", 7),
    ("长江大桥", 0),
    ("清华大学图书馆", 4),
    ("手机 iphone", 4),
    ("狗奔跑", 6),
]


@pytest.fixture(scope="session")
def embedder(tmp_path_factory):
    return load(write_checkpoint(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    with Store(tmp_path / "c", create=True) as store:
        yield store


def start(store, embedder):
    space = made.add_space(store, dim=embedder.dim)
    with store.writing("activate"):
        store.spaces.activate(space.id)
    return space


def add_texts(store, space, embedder, texts):
    drafts = [made.note(str(n), text) for n, text in enumerate(texts)]
    with store.writing("index"):
        stored = store.files.put(drafts)
        units = [one.passages[0] for one in stored]
        store.vectors.put(space.id, units, embedder.embed_texts(texts).vectors)
    return units


@pytest.fixture
def pictures(store, embedder):
    """A searcher over 300 pictures, and their vectors by unit."""
    space = start(store, embedder)
    vectors = made.unit_vectors(300, embedder.dim)
    units = made.add_photos(store, space, vectors)
    searcher = Searcher(store, embedder)
    yield searcher, dict(zip(units, vectors, strict=True))
    searcher.close()


def test_a_collection_of_pictures_is_ranked_as_the_model_ranks_it(pictures, embedder):
    searcher, vectors = pictures
    units = np.array(list(vectors))
    halves = np.stack(list(vectors.values())).astype(np.float16).astype(np.float32)
    backgrounds = Backgrounds(embedder)
    for text in ("sunset over the sea", "海上的日落和帆船", "a dog", "两只鹦鹉"):
        asked = embedder.embed_texts([text]).vectors[0]
        if len(text) < 6:  # a word or two: without what all words share
            asked = backgrounds.of("en" if text.isascii() else "zh").without_shared(asked)
        hits = searcher.search(Query.of(text)).hits
        assert [hit.unit for hit in hits] == units[np.argsort(-(halves @ asked))][:20].tolist()
        confidences = [hit.confidence for hit in hits]
        assert confidences == sorted(confidences, reverse=True)


def test_pages_are_cut_from_one_ranking(pictures):
    searcher, _ = pictures
    whole = searcher.search(Query(parts=(Part(text="a dog"),), count=200)).hits
    pages = [
        searcher.search(Query(parts=(Part(text="a dog"),), count=50, offset=offset)).hits
        for offset in (0, 50, 100, 150)
    ]
    assert [hit.unit for page in pages for hit in page] == [hit.unit for hit in whole]
    assert searcher.search(Query(parts=(Part(text="a dog"),), offset=400)).hits == ()


def test_a_picture_is_found_by_itself_first_and_a_unit_is_not_like_itself(pictures):
    searcher, vectors = pictures
    units = list(vectors)
    own = searcher.search(Query(parts=(Part(unit=units[7]),)))
    assert own.hits[0].unit == units[7]
    like = searcher.search(Query(like=(units[7],)))
    assert [hit.unit for hit in like.hits] == [hit.unit for hit in own.hits[1:]] + [
        like.hits[-1].unit
    ]
    assert {one.retriever for one in like.explain.retrievers} == {"image"}


def test_what_is_unwanted_goes_down(pictures):
    searcher, vectors = pictures
    units = list(vectors)
    plain = [hit.unit for hit in searcher.search(Query(parts=(Part(unit=units[7]),))).hits]
    unwanted = Part(unit=plain[1], weight=-1.0)
    hits = searcher.search(Query(parts=(Part(unit=units[7]), unwanted), count=300)).hits
    place = [hit.unit for hit in hits].index(plain[1])
    assert place > 4 and hits[place].confidence < 20
    only = searcher.search(Query(parts=(unwanted,), count=300)).hits
    assert only[-1].unit == plain[1]


@pytest.mark.parametrize(("query", "row"), PROBES, ids=[query for query, _ in PROBES])
def test_chinese_words_find_their_text_first_by_keyword(store, embedder, query, row):
    units = add_texts(store, start(store, embedder), embedder, TEXTS)
    searcher = Searcher(store, embedder)
    results = searcher.search(Query(parts=Query.of(query).parts, retrievers=("keyword",)))
    assert results.hits[0].unit == units[row]
    assert results.hits[0].confidence >= 90 or len(query) > 3
    # Among all retrievers, with vectors that mean nothing, it is still among the first.
    first = [hit.unit for hit in searcher.search(Query.of(query)).hits[:3]]
    assert units[row] in first
    searcher.close()


@pytest.mark.parametrize("retrievers", [("image", "text"), None], ids=["vectors", "all"])
def test_texts_do_not_push_pictures_out(store, embedder, retrievers):
    space = start(store, embedder)
    query = embedder.embed_texts(["zebra lion"]).vectors[0]
    # All fit, and every picture is farther from the query than every text.
    pictures = query + 0.03 * made.unit_vectors(30, embedder.dim)
    made.add_photos(store, space, pictures / np.linalg.norm(pictures, axis=1, keepdims=True))
    add_texts(store, space, embedder, [f"zebra {n}" for n in range(30)])
    asked = Query(parts=(Part(text="zebra lion"),), retrievers=retrievers, count=10)
    hits = Searcher(store, embedder).search(asked).hits
    assert [hit.kind for hit in hits].count("image") >= 4


def test_copies_are_folded_into_the_first(store, embedder):
    space = start(store, embedder)
    with store.writing("index"):
        drafts = [
            FileDraft(
                path=f"/{name}.jpg",
                media_type="image",
                content_hash="same" if name < "c" else name,
                size=1,
                mtime_ns=1,
                passages=(PassageDraft(modality="image"),),
            )
            for name in "abcd"
        ]
        units = [one.passages[0] for one in store.files.put(drafts)]
        vectors = made.unit_vectors(3, embedder.dim)
        store.vectors.put(space.id, units, vectors[[0, 0, 1, 2]])
    hits = Searcher(store, embedder).search(Query(parts=(Part(unit=units[0]),))).hits
    assert [hit.path for hit in hits].count("/b.jpg") == 0
    assert (hits[0].path, hits[0].duplicates, len(hits)) == ("/a.jpg", ("/b.jpg",), 3)


def test_filters_hold_in_every_lane_and_unknown_keys_are_named(pictures):
    searcher, _ = pictures
    found = searcher.search(
        Query(parts=Query.of("a dog").parts, filter=Compare("number", "<", 5), count=50)
    )
    assert len(found.hits) == 5
    assert all(hit.metadata["number"] < 5 for hit in found.hits)
    with pytest.raises(CollectionError, match=r"asks for colour.*number"):
        searcher.search(Query(parts=Query.of("a dog").parts, filter=Compare("colour", "=", "red")))
    alone = searcher.search(Query(parts=(), filter=Compare("number", "<", 5)))
    assert len(alone.hits) == 5


def test_a_time_is_a_filter_only_where_something_has_a_date(pictures):
    searcher, _ = pictures
    results = searcher.search(Query.of("a dog in May 2021"))
    assert len(results.hits) == 20
    (note,) = results.explain.notes
    assert "nothing in this collection has a date" in note.en and "都没有日期" in note.zh


def test_odd_queries_have_an_answer(pictures):
    searcher, _ = pictures
    for text in ("😀", "'; DROP TABLE items; --", '" OR 1=1', "words:*", "a " * 5000, "没有人"):
        assert len(searcher.search(Query.of(text)).hits) == 20
    (part,) = searcher.search(Query.of("a dog " * 500)).explain.parts
    assert part.windows > 1
    with pytest.raises(ConfigError, match="no words and no picture"):
        searcher.search(Query(parts=()))


def test_an_empty_collection_says_so(store, embedder):
    with pytest.raises(CollectionError, match="is empty"):
        Searcher(store, embedder).search(Query.of("a dog"))
    start(store, embedder)
    assert Searcher(store, embedder).search(Query.of("a dog")).hits == ()


def test_another_models_collection_is_refused(store, embedder):
    made.add_space(store, dim=embedder.dim + 1)
    with pytest.raises(CollectionError, match="switch the collection"):
        Searcher(store, embedder).search(Query.of("a dog"))


def test_threads_search_while_another_one_writes(pictures, store):
    searcher, _ = pictures
    space = store.spaces.active()
    failures = []

    def ask(number):
        try:
            for _ in range(6):
                assert len(searcher.search(Query.of(f"a dog {number % 2}")).hits) == 20
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for batch in range(5):
        vectors = made.unit_vectors(50, space.dim, seed=batch + 1)
        made.add_photos(store, space, vectors, first=1000 + 50 * batch)
        with store.writing("remove"):
            gone = store.files.by_path(
                [f"/photos/{n % 3}/{n}.jpg" for n in range(batch * 9, batch * 9 + 9)]
            )
            store.files.remove(item.id for item in gone.values())
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_explain_view_tells_everything(pictures):
    searcher, _ = pictures
    explain = searcher.search(Query.of("a dog -cat")).explain
    assert [(part.shown, part.weight) for part in explain.parts] == [("a dog", 1), ("cat", -0.5)]
    assert {one.retriever for one in explain.retrievers} == {"image"}  # there is no text
    (image,) = (one for one in searcher.search(Query.of("a dog")).explain.retrievers if one.plan)
    assert image.plan.matching == 300
    assert image.comparison.against == "en" and 0 <= image.comparison.share <= 1


def test_everyday_words_are_embedded_once_for_all_processes(
    pictures, tmp_path, embedder, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Searcher(pictures[0]._store, embedder).search(Query.of("a dog"))
    (file,) = (tmp_path / "cache" / "seesay" / "background").glob("*.npy")
    assert np.load(file).shape[1] == embedder.dim
    Path(file).write_bytes(b"damaged")
    again = Searcher(pictures[0]._store, embedder)
    assert again.search(Query.of("a dog")).hits
    assert np.load(file).shape[1] == embedder.dim

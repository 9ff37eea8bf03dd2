"""Times named in a query: how they are read, and what a collection makes of them."""

from datetime import UTC, date, datetime

import pytest

import made_collections as made
from seesay.inference.embedder import load
from seesay.search.asking.query import Query
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.store import Store
from seesay.search.filtering import make_filter
from tiny_checkpoint import write_checkpoint

TODAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("text", "rest", "first", "end"),
    [
        ("去年夏天的海滩", "海滩", (2025, 6), (2025, 9)),
        ("a beach last summer", "a beach", (2026, 6), (2026, 9)),
        ("a dog in May 2021", "a dog", (2021, 5), (2021, 6)),
        ("a car from 1965", "a car", (1965, 1), (1966, 1)),
        ("a car from 1965 to 1970", "a car", (1965, 1), (1971, 1)),
        ("2019年到2021年的猫", "猫", (2019, 1), (2022, 1)),
        ("2023年的猫", "猫", (2023, 1), (2024, 1)),
        ("2023年12月的猫", "猫", (2023, 12), (2024, 1)),
        ("２０２３年的貓", "貓", (2023, 1), (2024, 1)),
        ("上個月的照片", "", (2026, 10), (2026, 11)),
        ("去年夏天的照片", "", (2025, 6), (2025, 9)),
        ("from 2019 – 2021 a cat", "a cat", (2019, 1), (2022, 1)),
        ("last month", "", (2026, 10), (2026, 11)),
        ("photos from last summer", "photos from", (2026, 6), (2026, 9)),
        ("photos of last summer", "photos of", (2026, 6), (2026, 9)),
        ("去年夏天的照片", "", (2025, 6), (2025, 9)),
        ("my pictures in 2021", "", (2021, 1), (2022, 1)),
    ],
)
def test_times_are_read_and_the_words_stay(text, rest, first, end):
    query = Query.of(text, today=TODAY)
    assert [part.text for part in query.parts] == [text]
    assert query.period.cut_from(text) == rest
    assert (query.period.first, query.period.end) == (date(*first, 1), date(*end, 1))


@pytest.mark.parametrize(
    "text", ['"in 2021" sign', "「2021年」的牌子", "room 2021", "in may", "blade runner 2049"]
)
def test_numbers_and_months_alone_are_no_times(text):
    assert Query.of(text, today=TODAY).period is None


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    """Thirty photographs of 2021, thirty without a date, and a text about 1965 without one."""
    embedder = load(write_checkpoint(tmp_path_factory.mktemp("model")), device="cpu")
    taken = {"date": datetime(2021, 5, 7, 12, tzinfo=UTC)}
    drafts = [made.photo(n, metadata=taken if n < 30 else {}) for n in range(60)]
    words = ("a car from 1965 in the old town", "2021年的日记")
    drafts += [made.note(str(n), text) for n, text in enumerate(words)]
    with Store(tmp_path_factory.mktemp("times") / "c", create=True) as store:
        space = made.add_space(store, dim=embedder.dim)
        vectors = made.unit_vectors(60, embedder.dim)
        with store.writing("index"):
            units = [stored.passages[0] for stored in store.files.put(drafts)]
            store.vectors.put(space.id, units[:60], vectors)
            store.vectors.put(space.id, units[60:], embedder.embed_texts(list(words)).vectors)
            store.spaces.activate(space.id)
        searcher = Searcher(store, embedder)
        yield searcher
        searcher.close()


def ask(searcher, text, **asked):
    query = Query.of(text, today=TODAY)
    return searcher.search(Query(parts=query.parts, period=query.period, count=100, **asked))


def dated(hits):
    return [hit.metadata["date"].year if "date" in hit.metadata else hit.kind for hit in hits]


@pytest.mark.parametrize("text", ["a dog in May 2021", "2021年的狗"])
def test_only_pictures_taken_then_are_found_and_texts_by_their_words(searcher, text):
    results = ask(searcher, text)
    assert sorted(map(str, dated(results.hits))) == ["2021"] * 30 + ["text"] * 2
    (part,) = results.explain.parts
    assert part.shown in ("a dog", "狗")
    (note,) = results.explain.notes
    assert "only pictures from 2021-0" in note.en and "拍摄的图片" in note.zh
    assert "2021" in results.explain.filter


def test_a_time_without_pictures_is_searched_for_as_words_and_said(searcher):
    results = ask(searcher, "a car from 1965")
    assert len(results.hits) == 62 and results.explain.filter == ""
    (part,) = results.explain.parts
    assert part.shown == "a car from 1965"
    (note,) = results.explain.notes
    assert note.en == (
        "nothing was taken in 'from 1965' (1965-01-01 to 1965-12-31); searched without it"
    )
    text = next(hit for hit in results.hits if hit.kind == "text")
    assert text.text.startswith("a car from 1965") and text.confidence >= 90
    surer = [hit for hit in results.hits if hit.confidence > text.confidence]
    assert results.hits.index(text) <= len(surer) + 1  # of equal ones, pictures and texts in turn


def test_a_time_that_was_asked_for_by_a_filter_stays_hard(searcher):
    since = make_filter(since="1965", until="1965")
    assert ask(searcher, "a car", filter=since).hits == ()
    both = ask(searcher, "a car from 1965", filter=since)
    assert both.hits == () and len(both.explain.notes) == 1


def test_a_time_and_a_filter_hold_together(searcher):
    only = make_filter(where=["file.name=3.jpg"])
    (hit,) = ask(searcher, "a dog in 2021", filter=only).hits
    assert hit.path.endswith("/3.jpg")
    undated = make_filter(where=["file.name=31.jpg"])
    results = ask(searcher, "a dog in 2021", filter=undated)
    assert len(results.hits) == 1 and "searched without it" in results.explain.notes[0].en


@pytest.mark.parametrize("text", ["photos in 2021", "2021年的照片"])
def test_nothing_but_a_time_lists_what_was_taken_then(searcher, text):
    results = ask(searcher, text)
    assert dated(results.hits)[:30] == [2021] * 30 and not results.no_good_match
    assert results.explain.parts == ()


def test_a_text_that_holds_every_word_follows_what_was_taken_then(searcher):
    results = ask(searcher, "2021年")
    assert dated(results.hits) == [2021] * 30 + ["text"]
    assert results.hits[-1].text == "2021年的日记"
    assert dated(ask(searcher, "2021年", retrievers=("keyword",)).hits) == ["text"]

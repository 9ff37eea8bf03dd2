"""How sure a find is, in collections of any size: the built-in model on real photographs."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from seesay.search.query.calibration import each_confidence, judged, level_of

import made_collections as made
from photographs import PHOTOGRAPHS, photographs
from seesay.inference.load import load
from seesay.search.query.asking import parse
from seesay.search.query.searcher import Searcher
from seesay.search.store.filters.conditions import Where
from seesay.search.store.store import Store

NAMES = list(PHOTOGRAPHS)
KNOWN = ["chelsea.png", "camera.png"]  # which the small model knows; no moon was in its training
NOTES = ["two cats asleep on a chair", "how to roast coffee", "月亮绕着地球转", "会议记录"]
SAID = {"en": 0, "zh": 1}
ABSENT = {
    "en": [
        "a plate of sushi with wasabi",
        "a spreadsheet with quarterly sales",
        "a giraffe",
        "stars in the sky",
    ],
    "zh": ["一盘寿司和芥末", "季度销售额的电子表格", "长颈鹿在吃树叶", "天上的星星"],
}


@pytest.fixture(scope="module")
def embedder():
    return load("seesay-mini", device="cpu")


@pytest.fixture(scope="module")
def searcher_of(tmp_path_factory, embedder):
    """From names of photographs to a searcher over these alone."""
    vectors = dict(zip(NAMES, embedder.embed_images(photographs()).vectors, strict=True))
    opened = []

    def searcher(*names: str) -> Searcher:
        store = Store(tmp_path_factory.mktemp("sure") / "c", create=True)
        space = made.add_space(store, dim=embedder.dim)
        with store.writing("activate"):
            store.spaces.set_ready(space.id)
            store.spaces.activate(space.id)
        made.add_photos(store, space, np.stack([vectors[name] for name in names]))
        opened.append((store, Searcher(store, embedder)))
        return opened[-1][1]

    yield searcher
    for store, one in opened:
        one.close()
        store.close()


def add_notes(store, embedder):
    drafts = [made.note(str(n), text) for n, text in enumerate(NOTES)]
    with store.writing("index"):
        units = [stored.units[0] for stored in store.items.put(drafts)]
        space = next(iter(store.spaces.all()))
        store.vectors.put(space.id, units, embedder.embed_texts(NOTES).vectors)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_photograph_alone_is_found_by_what_it_shows_and_by_nothing_else(
    searcher_of, name, language
):
    searcher = searcher_of(name)
    assert not searcher.search(parse(PHOTOGRAPHS[name][SAID[language]])).no_good_match
    assert sum(searcher.search(parse(text)).no_good_match for text in ABSENT[language]) >= 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_among_six_a_caption_finds_its_photograph_and_others_have_no_good_match(
    searcher_of, language
):
    searcher = searcher_of(*NAMES)
    for name in KNOWN:
        results = searcher.search(parse(PHOTOGRAPHS[name][SAID[language]]))
        assert not results.no_good_match
        assert results.hits[0].metadata["number"] == NAMES.index(name)
        assert results.hits[0].confidence > 85 > 2 * results.hits[1].confidence
    assert all(searcher.search(parse(text)).no_good_match for text in ABSENT[language])


@pytest.mark.parametrize("names", [("chelsea.png",), ("chelsea.png", "moon.png"), tuple(NAMES)])
def test_a_picture_is_like_its_own_crop_whether_there_are_others_or_not(searcher_of, names):
    searcher = searcher_of(*names)
    with Image.open(photographs()[NAMES.index("chelsea.png")]) as cat:
        crop = ImageOps.mirror(cat.convert("RGB").crop((60, 40, 400, 280)))
    found = searcher.search(parse("", images=[crop]))
    assert not found.no_good_match and found.hits[0].metadata["number"] == names.index(
        "chelsea.png"
    )
    if len(names) < 3:  # the rocket is like neither of the two
        rocket = photographs()[NAMES.index("rocket.jpg")]
        assert searcher.search(parse("", images=[rocket])).no_good_match


def test_a_filter_that_keeps_few_is_held_against_few(searcher_of):
    searcher = searcher_of(*NAMES)
    asked = parse("the face of a cat")
    whole = searcher.search(asked).explain.lanes[0].background
    only = Where("number", "=", NAMES.index("chelsea.png"))
    query = type(asked)(parts=asked.parts, filter=only)
    alone = searcher.search(query).explain.lanes[0].background
    assert alone.top_mean < whole.top_mean - 0.5 * whole.top_spread
    assert not searcher.search(query).no_good_match


def test_what_does_not_fit_is_in_the_order_of_how_sure_it_is(searcher_of):
    searcher = searcher_of(*NAMES)
    for text in ("a giraffe -moon", "长颈鹿 -月亮", "sushi"):
        sure = [round(hit.confidence) for hit in searcher.search(parse(text)).hits]
        low = [one for one in sure if one < 40]
        assert low and low == sorted(low, reverse=True) and sure[len(sure) - len(low) :] == low


def test_what_is_unlikely_of_several_kinds_comes_in_one_order(searcher_of, embedder):
    searcher = searcher_of(*NAMES)
    add_notes(searcher._store, embedder)
    for text in ("a close-up of a cat", "一辆自行车", "a giraffe"):
        hits = searcher.search(parse(text)).hits
        sure = [round(hit.confidence) for hit in hits]
        low = [one for one in sure if one < 40]
        assert {hit.kind for hit in hits[len(sure) - len(low) :]} == {"image", "text"}
        assert low == sorted(low, reverse=True) and sure[len(sure) - len(low) :] == low


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_second_photograph_of_the_same_is_as_sure_as_where_it_is_the_only_one(
    searcher_of, language
):
    asked = parse(PHOTOGRAPHS["chelsea.png"][SAID[language]])
    alone = searcher_of(*NAMES).search(asked).hits[0].confidence
    first, second, third = searcher_of("chelsea.png", *NAMES).search(asked).hits[:3]
    assert first.confidence == second.confidence > 2 * third.confidence
    assert second.confidence == pytest.approx(alone, abs=10)


def test_a_later_hit_that_is_surer_lends_to_those_before_it():
    things, sample = made.unit_vectors(50, 32, seed=1), made.unit_vectors(200, 32, seed=2)
    level = level_of("en", things, sample)
    lent = 0
    for part in made.unit_vectors(20, 32, seed=3):
        ranked = sample[np.argsort(-(sample @ part))]
        each = each_confidence(level, part, ranked[:10], 200)
        sure, _ = judged(level, part, ranked @ part, ranked[:10], 200)
        assert (np.diff(sure) <= 0).all() and len(sure) == 200
        assert each.min() - 1e-3 <= sure[9] and sure[0] <= each.max() + 1e-3
        lent += sure[0] > each[0] + 1e-3
    assert 0 < lent < 20


def test_words_that_tell_pictures_apart_are_surer_the_more_pictures_say_so(searcher_of):
    known, unknown = "a man with a camera", "blorptang"
    for names in (NAMES, NAMES[:1]):
        lanes = [searcher_of(*names).search(parse(text)).explain.lanes for text in (known, unknown)]
        one, other = (lane[0].background.contrast for lane in lanes)
        assert one > other if len(names) > 1 else one == other == 0


def test_levels_grow_with_the_size_and_beyond_the_sample():
    rng = np.random.default_rng(0)
    things, sample = made.unit_vectors(50, 32, seed=1), made.unit_vectors(500, 32, seed=2)
    level = level_of("en", things, sample)
    tops = [level.top(size)[0] for size in (1, 2, 7, 100, 500, 1000, 10_000)]
    assert tops == sorted(tops) and tops[-1] < 1.2
    assert level.top(1000)[0] - level.top(500)[0] == pytest.approx(
        level.top(500)[0] - level.top(250)[0], abs=1e-6
    )
    best = [(things @ sample[rng.permutation(500)[:7]].T).max(axis=1).mean() for _ in range(40)]
    assert level.top(7)[0] == pytest.approx(np.mean(best), abs=0.03)

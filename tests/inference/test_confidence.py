"""From cosines to chances: for any model, in collections of any size."""

from threading import Event

import numpy as np
import pytest

import made_collections as made
from fakes import FakeEmbedder
from photographs import photographs
from seesay.inference.background import Background, Backgrounds
from seesay.inference.cancelling import cancelled_by, check_cancelled
from seesay.inference.confidence import Calibration, Mixture, sentence_weight
from seesay.inference.embedder import load
from seesay.inference.prompts import concepts, scenes


@pytest.fixture(scope="module")
def mini():
    return load("seesay-mini", device="cpu")


@pytest.fixture(scope="module")
def backgrounds(mini):
    return Backgrounds(mini)


def drawn(*groups: tuple[int, float]) -> np.ndarray:
    """Standard scores: so many around so high."""
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(count) + mean for count, mean in groups]
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("match", [2.5, 3.5, 6.0])
@pytest.mark.parametrize("scores", [drawn((1, 0)), drawn((300, 0)), drawn((200, 0), (100, 3.5))])
def test_a_chance_lies_between_0_and_1_and_never_falls_as_the_score_rises(match, scores):
    chances = Mixture(match, scores)(np.linspace(-50, 50, 2001))
    assert chances[0] < 0.05 and (np.diff(chances) >= 0).all() and chances[-1] <= 1


@pytest.mark.parametrize("size", [1, 10, 100, 1000])
def test_where_nothing_fits_nothing_is_likely(size):
    scores = drawn((size, 0))
    chance = Mixture(3.0, scores)
    assert (chance(scores) > 0.4).mean() < 0.02 and chance.share < 0.2


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9, 1.0])
def test_a_collection_tells_how_much_of_it_fits(share):
    scores = drawn((round(400 * (1 - share)), 0), (round(400 * share), 4.5))
    chance = Mixture(4.5, scores)
    assert chance.share == pytest.approx(share, abs=0.1)
    fits = scores[round(400 * (1 - share)) :]
    assert (chance(fits) > 0.4).mean() > 0.85


def test_the_more_of_a_collection_fits_the_less_is_asked_of_each():
    line = np.linspace(0, 6, 601)
    cuts = []
    for fitting in (3, 60, 240):
        chances = Mixture(3.5, drawn((300 - fitting, 0), (fitting, 3.5)))(line)
        cuts.append(line[chances > 0.4][0])
    assert cuts[0] > cuts[1] > cuts[2]


def test_a_scale_that_is_off_by_half_a_spread_is_seen_through():
    scores = drawn((250, -0.5), (250, 3.0))
    assert (Mixture(3.5, scores)(scores[250:]) > 0.4).mean() > 0.9


def test_one_score_alone_is_judged_by_what_is_usual():
    low, middle, high = (
        float(Mixture(3.5, drawn((1, 0)))(np.array([x]))[0]) for x in (0.0, 2.0, 5.0)
    )
    assert low < 0.1 < middle < high and high > 0.7


@pytest.mark.parametrize(
    ("text", "language", "least", "most"),
    [
        ("dog", "en", 0, 0),
        ("a dog", "en", 0, 0),
        ("a dog on grass", "en", 0.3, 0.7),
        ("a dog runs over the wet grass", "en", 1, 1),
        ("狗", "zh", 0, 0),
        ("游泳池", "zh", 0, 0),
        ("草地上的狗", "zh", 0, 0.5),
        ("一只棕色的狗在草地上奔跑", "zh", 1, 1),
    ],
)
def test_a_sentence_is_told_by_its_length(text, language, least, most):
    assert least <= sentence_weight(text, language) <= most


@pytest.mark.parametrize("language", ["en", "zh"])
def test_one_photograph_tells_a_models_level_about_as_well_as_six(mini, backgrounds, language):
    vectors = mini.embed_images(photographs()).vectors
    background = backgrounds.of(language)
    whole = Calibration.measure(background, vectors)
    for vector in vectors:
        alone = Calibration.measure(background, vector[None])
        assert alone.offset == pytest.approx(whole.offset, abs=0.5 * whole.spread)
        assert alone.spread == pytest.approx(whole.spread, rel=0.25)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_frequent_words_are_expected_to_lie_lower_than_rare_ones(mini, backgrounds, language):
    background = backgrounds.of(language)
    level = Calibration.measure(background, mini.embed_images(photographs()).vectors)
    words = {"en": ("man", "dog", "cactus", "keyboard"), "zh": ("男人", "狗", "仙人掌", "键盘")}
    scales = [level.scale(vector, 0.0) for vector in mini.embed_texts(words[language]).vectors]
    nulls = [scale.null for scale in scales]
    assert max(nulls[:2]) < min(nulls[2:])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_sentence_lies_further_up_and_its_cosines_further_apart(mini, backgrounds, language):
    background = backgrounds.of(language)
    level = Calibration.measure(background, mini.embed_images(photographs()).vectors)
    (text,) = mini.embed_texts([scenes(language)[44]]).vectors
    word, sentence = level.scale(text, 0.0), level.scale(text, 1.0)
    assert sentence.spread > word.spread
    assert sentence.match * sentence.spread > word.match * word.spread


def test_texts_of_which_the_model_understands_nothing_are_told_from_others(mini, backgrounds):
    texts = [
        "A child plays with a ball on the beach.",
        "Snow lies on the mountains behind the lake.",
        "Minutes of the meeting about the new heating system.",
        "The contract ends on 31 December unless it is renewed in writing.",
    ]
    vectors = mini.embed_texts(texts).vectors
    level = Calibration.measure(backgrounds.of("en"), vectors, of_texts=True)
    understood = level.understood(vectors)
    assert understood[:2].min() > 0.8 and understood[2:].max() < 0.45


@pytest.mark.parametrize("level", [0.0, 0.3, 0.7])
def test_a_models_level_makes_no_difference(level):
    """Cosines of any picture with any text may be 0.1 in one model and 0.7 in another."""
    embedder = FakeEmbedder(level=level)
    pictures = [f"{thing}-{n}.jpg" for thing in ("dog", "cat", "lamp") for n in range(20)]
    vectors = embedder.embed_images(pictures).vectors
    measured = Calibration.measure(Backgrounds(embedder).of("en"), vectors)
    scale = measured.scale(embedder.embed_texts(["dog"]).vectors[0], 0.0)
    scores = scale.scores(vectors)
    likely = Mixture(scale.match, scores)(scores) > 0.4
    assert likely[:20].all() and not likely[20:].any()


def test_what_all_words_share_is_mostly_taken_off():
    words = made.unit_vectors(200, 32) + 2 * made.unit_vectors(1, 32, seed=1)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    background = Background(words, made.unit_vectors(100, 32, seed=2))
    before = float((words @ background.shared).mean())
    after = float((background.directions @ background.shared).mean())
    assert after == pytest.approx(before / 4, rel=1e-3)
    low, high = background.levels(words)
    assert (low < high).all()


def test_backgrounds_hold_the_everyday_words_and_scenes_of_each_language():
    embedder = FakeEmbedder()
    backgrounds = Backgrounds(embedder)
    for language in ("en", "zh"):
        background = backgrounds.of(language)
        assert len(background.directions) == len(concepts(language))
        assert len(background.scenes) == len(scenes(language)) >= 100
    asked = len(embedder.texts)
    assert backgrounds.of("en") is backgrounds.of("en") and len(embedder.texts) == asked


def test_a_search_that_is_given_up_does_not_leave_the_background_half_embedded():
    class Asking(FakeEmbedder):
        def embed_texts(self, texts, **options):
            check_cancelled()
            return super().embed_texts(texts, **options)

    given_up = Event()
    given_up.set()
    with cancelled_by(given_up):
        assert len(Backgrounds(Asking()).of("en").scenes) == len(scenes("en"))


@pytest.mark.parametrize("pictures", [1, 2, 50])
def test_a_model_that_gives_everything_the_same_vector_finds_nothing_and_breaks_nothing(pictures):
    same = np.full((200, 16), 0.25, np.float32)
    background = Background(same, same[:100])
    calibration = Calibration.measure(background, same[:pictures])
    for sentence in (0.0, 1.0):
        scale = calibration.scale(same[0], sentence)
        scores = scale.scores(same[:pictures])
        assert np.isfinite(scores).all()
        assert Mixture(scale.match, scores)(scores).max() < 0.4


def test_a_sample_of_many_pictures_calibrates_as_all_of_them_do(mini, backgrounds):
    vectors = mini.embed_images(photographs()).vectors
    background = backgrounds.of("en")
    few, many = (Calibration.measure(background, np.repeat(vectors, n, 0)) for n in (1, 2000))
    assert many.offset == pytest.approx(few.offset, abs=0.1 * few.spread)
    assert many.spread == pytest.approx(few.spread, rel=0.1)

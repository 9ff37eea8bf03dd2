"""Facts about the published weights themselves, for one checkpoint of each family.

Only what was published, or what anybody can see, is asked for; no number was stored by us. They
need a hub or a filled cache, and are skipped where there is neither:

    python -m pytest -m network tests/golden
"""

import numpy as np
import pytest

import seesay
from photographs import folder
from seesay.errors import DownloadError
from seesay.inference.embedder import Embedder
from seesay.weights.catalog import published_models

pytestmark = pytest.mark.network

# The smallest of each family: which languages its catalogue entry names decides what it is asked.
CHECKPOINTS = (
    "clip-b32",
    "clip-rn50",
    "laion-b32",
    "datacomp-b16",
    "metaclip-b32",
    "dfn-b16",
    "siglip-b16-224",
    "siglip2-b16-224",
    "chinese-clip-b16",
    "chinese-clip-rn50",
    "taiyi-clip-b32",
    "eva02-b16",
)
# Learned without a limit above, or with another loss: their scale is not 100 by construction.
HUNDRED = ("clip-b32", "clip-rn50", "laion-b32", "datacomp-b16")
OBVIOUS = {
    "chelsea.png": {"en": "a photo of a cat", "zh": "一张猫的照片"},
    "coffee.png": {"en": "a photo of a cup of coffee", "zh": "一张一杯咖啡的照片"},
    "rocket.jpg": {"en": "a photo of a rocket launch", "zh": "一张火箭发射的照片"},
    "astronaut.png": {"en": "a photo of an astronaut", "zh": "一张宇航员的照片"},
}


@pytest.fixture(params=CHECKPOINTS, scope="module")
def published(request) -> Embedder:
    try:
        return seesay.load(request.param, device="cpu", dtype="float32")
    except DownloadError as error:
        pytest.skip(f"{request.param} cannot be had here: {error}"[:200])


def test_every_family_has_a_checkpoint_here():
    named = {published_models()[alias].family for alias in CHECKPOINTS}
    assert named == {entry.family for entry in published_models().values()} - {"seesay"}


def test_each_photograph_fits_its_own_words_best(published):
    languages = [
        code for code in ("en", "zh") if code in published_models()[alias_of(published)].languages
    ]
    files = [folder() / name for name in OBVIOUS]
    pictures = published.embed_images(files).vectors
    for language in languages:
        texts = published.embed_texts([words[language] for words in OBVIOUS.values()]).vectors
        assert (pictures @ texts.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_vectors_are_of_length_one_and_finite(published):
    vectors = published.embed_images([folder() / name for name in OBVIOUS]).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_scale_is_the_hundred_at_which_training_clips_it(published):
    """Radford et al. 2021, section 2.5; open_clip clips at the same value."""
    if alias_of(published) not in HUNDRED:
        pytest.skip("its training does not end at 100")
    assert published.scale == pytest.approx(100, rel=1e-3)


def test_sigmoid_models_have_a_bias_below_zero_and_the_others_none(published):
    """Zhai et al. 2023, section 3.2: most pairs do not belong together."""
    if "siglip" in alias_of(published):
        assert published.bias is not None and published.bias < 0
    else:
        assert published.bias is None


def alias_of(published: Embedder) -> str:
    return next(
        e.alias
        for e in published_models().values()
        if published.name in (e.alias, e.repo, e.modelscope)
    )

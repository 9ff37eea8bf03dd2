"""Published matchers, from files and texts to probabilities, give what transformers gives."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from reference_parts import IMAGE, TEXT, VOCAB, randomise
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder
from seesay.inference.matcher import Matcher, load_comparing, load_matcher

WORDS = ["a", "red", "green", "square", "dog", "at", "the", "top"]
TEXTS = ["a red square", "a dog at the top", "green"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tiny BLIP matcher with a vocabulary of BERT."""
    import transformers

    folder = tmp_path_factory.mktemp("blip")
    torch.manual_seed(0)
    config = transformers.BlipConfig(
        vision_config=IMAGE, text_config=dict(TEXT, pad_token_id=0), image_text_hidden_size=10
    )
    model = randomise(transformers.BlipForImageTextRetrieval(config), norms=1.0)
    model.save_pretrained(folder)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    pieces += [f"[unused{n}]" for n in range(VOCAB - 2 - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder, model.eval()


def pictures():
    numbers = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in numbers]


@torch.no_grad()
def test_a_matcher_of_blip_gives_the_probabilities_of_transformers(published):
    folder, theirs = published
    matcher = load_matcher(folder)
    images, texts = matcher.look([*pictures(), b"broken"]), matcher.read(TEXTS)
    assert [one.index for one in images.failures] == [2]
    pairs = [(image, text) for image in range(2) for text in range(len(TEXTS))]
    mine = matcher.match_probabilities(images, texts, *zip(*pairs, strict=True))

    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4])
    pixels = np.stack([(np.array(one) / 255 - mean) / std for one in pictures()])
    pixels = torch.from_numpy(pixels).float().permute(0, 3, 1, 2)
    for at, (image, text) in enumerate(pairs):
        # [ENC], which stands behind [DEC] at the end of the vocabulary, takes the place of [CLS].
        ids = [VOCAB - 1, *(5 + WORDS.index(word) for word in TEXTS[text].split()), 3]
        given = dict(pixel_values=pixels[image : image + 1], input_ids=torch.tensor([ids]))
        expected = theirs(**given, use_itm_head=True).itm_score.softmax(-1)[0, 1]
        assert mine[at] == pytest.approx(float(expected), abs=2e-3)  # patches are kept in float16
        given["input_ids"][0, 0] = 2  # [CLS], as texts are embedded
        cosine = theirs(**given, use_itm_head=False).itm_score
        similarity = matcher.similarities(images, texts)[image, text]
        assert similarity == pytest.approx(float(cosine), abs=1e-5)
    assert np.ptp(mine) > 0.05


def test_what_compares_is_told_by_its_folder(published):
    assert isinstance(load_comparing(published[0]), Matcher)
    assert isinstance(load_comparing("seesay-mini"), Embedder)


def test_a_captioner_is_no_matcher(tmp_path):
    import transformers

    config = transformers.BlipConfig(vision_config=IMAGE, text_config=dict(TEXT, pad_token_id=0))
    transformers.BlipForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="BlipCaptioner, expected a model with a matching head"):
        load_matcher(tmp_path)

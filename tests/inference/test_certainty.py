"""How sure an answer is: short answers by their probabilities, pictures by what was learnt."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import seesay
from seesay.data.tokenizer import Tokenizer, TokenizerConfig
from seesay.errors import WeightsError
from seesay.inference.answer import Answer
from seesay.inference.assistant import LocalAssistant
from seesay.inference.certainty import FILE, LONGEST, Certainty, read_certainty
from seesay.inference.visual_inputs import PictureInputs
from seesay.training.assistant import AssistantConfig, NewDecoderConfig, build_assistant
from seesay.training.tokenizer import VocabularyConfig, train_tokenizer
from seesay.weights.saving import save_bundle

CERTAINTY = Certainty(
    mean_weight=4.0,
    least_weight=1.0,
    bias=2.0,
    farthest=3.0,
    center=np.array([1.0, 2.0], np.float32),
    whitening=np.array([[2.0, 0.0], [0.0, 0.5]], np.float32),
)
PICTURES = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "white")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that was trained on nothing."""
    words = train_tokenizer(
        ["What is it?", "a cat", "a dog"], VocabularyConfig(size=300, chat=True)
    )
    tokenizer = Tokenizer(words, TokenizerConfig(context=64, pad_id=0))
    config = AssistantConfig(
        tower="seesay-mini", decoder=NewDecoderConfig(dim=32, depth=1, heads=2, hidden=32)
    )
    place = tmp_path_factory.mktemp("certain") / "model"
    save_bundle(place, build_assistant(config, tokenizer, 0, "tiny"))
    return place


@pytest.fixture(scope="module")
def assistant(folder):
    return seesay.chat(folder, dtype="float32")


def judged(assistant: LocalAssistant, **changed: object) -> LocalAssistant:
    """The same with a certainty to whose pictures the red one belongs, and not much else."""
    inputs = assistant.files.inputs
    assert isinstance(inputs, PictureInputs)
    red = inputs.picture(PICTURES[0], alone=True)
    inputs.see([red])
    center = inputs.means_of([red.digest])[0]
    whitening = np.eye(len(center), dtype=np.float32)
    known = replace(CERTAINTY, center=center, whitening=whitening, farthest=1e-3, **changed)
    return LocalAssistant(replace(assistant.files, certainty=known))


def test_a_likely_answer_is_sure_and_an_unlikely_one_is_not():
    assert CERTAINTY.of([-0.01, -0.02]) > 0.85
    assert CERTAINTY.of([-0.01, -2.0]) < 0.2
    assert CERTAINTY.of([-0.5]) == pytest.approx(1 / (1 + np.exp(0.5)))


def test_sentences_and_beams_are_not_judged():
    assert CERTAINTY.of([-0.1] * LONGEST) is not None
    assert CERTAINTY.of([-0.1] * (LONGEST + 1)) is None
    assert CERTAINTY.of([-0.1, float("nan")]) is None
    assert CERTAINTY.of([]) is None


def test_a_picture_is_as_far_as_its_mean_from_theirs():
    means = np.array([[1, 2], [3, 2], [1, 10]], np.float32)
    np.testing.assert_allclose(CERTAINTY.distances(means), np.sqrt([0, 8, 8]), rtol=1e-6)
    assert not CERTAINTY.is_unfamiliar(means) and CERTAINTY.is_unfamiliar(means * 2)


def test_an_answer_says_whether_its_picture_is_unfamiliar(assistant):
    sure = judged(assistant)
    # The second question finds the picture's beginning in the cache and sees nothing anew.
    for question in ("What is it?", "Is it a cat?"):
        answers = [sure.ask(one, question, max_tokens=3) for one in PICTURES]
        assert [one.unfamiliar for one in answers] == [False, True, True]
    assert answers[1].doubt.en.startswith("not sure: the picture is unlike")
    assert "差别很大" in answers[1].doubt.zh
    both = sure.ask_batch(
        [(PICTURES[0], "What is it?"), (PICTURES[1], "What is it?")], max_tokens=3
    )
    assert [one.unfamiliar for one in both] == [False, True]


def test_an_answer_says_how_likely_it_is_right(assistant):
    asked = PICTURES[0], "What is it?"
    tokens = assistant.ask(*asked, max_tokens=3, log_probabilities=True).tokens
    answer = judged(assistant).ask(*asked, max_tokens=3)
    expected = CERTAINTY.of([one.log_probability for one in tokens])
    assert answer.certainty == pytest.approx(expected, abs=1e-6)
    assert answer.doubt.en == f"not sure: of such answers, {expected:.0%} are right"
    assert judged(assistant, bias=60.0).ask(*asked, max_tokens=3).doubt is None
    assert assistant.ask(*asked, max_tokens=3).certainty is None


def test_a_short_sentence_is_not_judged(assistant, monkeypatch):
    sure = judged(assistant)
    asked = PICTURES[0], "What is it?"
    assert sure.ask(*asked, max_tokens=3).certainty is not None
    monkeypatch.setattr("seesay.inference.answer_writer.SENTENCE_ENDS", ("",))  # of any text
    assert sure.ask(*asked, max_tokens=3).certainty is None


def test_a_model_without_the_file_has_no_doubt(folder):
    assert read_certainty(folder) is None
    assert Answer(text="x", model="m", finish_reason="stop").doubt is None


def test_the_file_is_read_and_a_broken_one_is_told(tmp_path):
    arrays = {"center": CERTAINTY.center, "whitening": CERTAINTY.whitening}
    names = ("mean_weight", "least_weight", "bias", "farthest")
    save_file(arrays, tmp_path / FILE, {name: str(getattr(CERTAINTY, name)) for name in names})
    again = read_certainty(tmp_path)
    assert again.of([-0.3]) == CERTAINTY.of([-0.3]) and again.farthest == 3.0
    save_file(arrays, tmp_path / FILE, {"bias": "1"})
    with pytest.raises(WeightsError, match=r"cannot be read .* remove the file"):
        read_certainty(tmp_path)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_certainty(tmp_path)

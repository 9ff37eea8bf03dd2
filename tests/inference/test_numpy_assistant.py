"""The numpy assistant gives the torch model's answers, and loads no torch."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

import seesay
from seesay.data.chat import Media, Message
from seesay.data.tokenizer import Tokenizer, TokenizerConfig
from seesay.errors import ConfigError, DataError, ImageError, WeightsError
from seesay.inference.answer import Conversation
from seesay.inference.answering import (
    AnswerConfig,
    answer_several,
    open_assistant,
    stream_answer,
    whole,
    write_captions,
)
from seesay.inference.assistant import LocalAssistant, chat
from seesay.inference.decoding import DecodingConfig
from seesay.inference.generation import keep_likeliest
from seesay.inference.numpy_assistant import NumpyAssistant, choose_token, load_numpy_assistant
from seesay.models.dual_encoder import DualEncoder
from seesay.models.mobilenet import MobileNetConfig
from seesay.training.assistant import AssistantConfig, NewDecoderConfig, build_assistant
from seesay.training.tokenizer import VocabularyConfig, train_tokenizer
from seesay.weights import hub
from seesay.weights.bundle import load_bundle
from seesay.weights.saving import save_bundle

QUESTION, ZH = "What is in the picture?", "图里有什么？"
TEXTS = (QUESTION, ZH, "a red square", "a blue dog at the left of a cat", "左边有一只狗")
SYSTEM = Message("system", "Answer in a word.")
# Both filters at both strides, blocks with and without widening, a residual connection, and more
# channels than are computed at once.
STAGES, KERNELS = ((1, 8, 1, 1), (6, 12, 2, 2), (3, 12, 2, 2), (2, 8, 2, 2)), (3, 5, 3, 5)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    """A dual encoder whose image tower is tiny."""
    folder = tmp_path_factory.mktemp("tower") / "model"
    mini = load_bundle(Path(seesay.__file__).parent / "weights" / "seesay-mini")
    image = MobileNetConfig(stages=STAGES, kernels=KERNELS, stem=8, dim=16, classes=4)
    text = replace(mini.config.text, depth=0)
    model = DualEncoder(replace(mini.config, image=image, text=text)).eval()
    save_bundle(folder, replace(mini, model=model))
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    trained = train_tokenizer(TEXTS * 9, VocabularyConfig(size=330, chat=True))
    return Tokenizer(trained, TokenizerConfig(context=70, pad_id=0))


@pytest.fixture(scope="module")
def make(tower, tokenizer, tmp_path_factory):
    """Writes a model with random weights, once for each choice of its parts."""
    made = {}

    def write(connector="pixel-shuffle", size=64, dtype=torch.float32, key_heads=4, **changes):
        key = connector, size, dtype, key_heads, *changes.items()
        if key not in made:
            decoder = NewDecoderConfig(dim=32, depth=2, heads=4, hidden=40)
            config = AssistantConfig(
                tower=str(tower), size=size, connector=connector, decoder=decoder
            )
            bundle = build_assistant(config, tokenizer, 0, "tiny")
            c = bundle.config
            changed = replace(c.decoder, key_heads=key_heads)
            changed = replace(changed, **{n: v for n, v in changes.items() if hasattr(changed, n)})
            built = replace(c.connector, **{n: v for n, v in changes.items() if n == "transposed"})
            model = type(bundle.model)(replace(c, decoder=changed, connector=built)).eval()
            randomise(model)
            made[key] = tmp_path_factory.mktemp("assistant") / "model"
            save_bundle(made[key], replace(bundle, model=model), dtype)
        return made[key]

    return write


def randomise(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            inputs = parameter[0].numel() if parameter.ndim > 1 else 1
            spread = 3.0 if "token_embed" in name else 1.5
            values = torch.randn(parameter.shape, generator=generator) * spread / inputs**0.5
            parameter.copy_(values + (0.5 if "norm" in name else 0))


def picture(seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def opened(folder: Path) -> tuple[NumpyAssistant, LocalAssistant]:
    ours = load_numpy_assistant(str(folder), lambda: chat(folder, dtype="float32", device="cpu"))
    assert isinstance(ours, NumpyAssistant)
    return ours, chat(folder, dtype="float32", device="cpu")


def assert_same(ours: NumpyAssistant, theirs: LocalAssistant, images: object, asked: object):
    """Returns the answer's text and its first log probability."""
    given = {"max_tokens": 8, "log_probabilities": True}
    found, wanted = ours.ask(images, asked, **given), theirs.ask(images, asked, **given)
    assert replace(found, tokens=None) == replace(wanted, tokens=None)
    assert [one.text for one in found.tokens] == [one.text for one in wanted.tokens]
    logs = [[one.log_probability for one in answer.tokens] for answer in (found, wanted)]
    np.testing.assert_allclose(*logs, rtol=0, atol=1e-4)
    return found.text, found.tokens[0].log_probability


@pytest.mark.parametrize(
    "parts",
    [
        {"connector": "linear", "size": 33},
        {"connector": "mlp", "size": 47},
        {"connector": "pixel-shuffle"},
        {"connector": "pixel-shuffle", "dtype": torch.int8},
        {"connector": "mlp", "dtype": torch.float16, "key_heads": 2},
        {"transposed": True, "activation": "gelu", "norm_eps": 0.01, "key_heads": 1},
    ],
    ids=lambda parts: "-".join(map(str, parts.values())),
)
def test_answers_and_probabilities_equal_the_torch_models(make, parts):
    ours, theirs = opened(make(**parts))
    assert (ours.name, ours.files.context) == (theirs.name, theirs.files.context)
    answers = {assert_same(ours, theirs, picture(seed), QUESTION) for seed in range(2)}
    assert len(answers) > 1  # the picture counts
    assert_same(ours, theirs, None, ZH)


def test_rows_of_a_picture_equal_the_torch_models(make):
    for size in (64, 96):
        ours, theirs = opened(make(size=size))
        inputs = [one.files.inputs for one in (ours, theirs)]
        seen = [
            one.picture(seesay.data.images.open_image(picture(3)), alone=True) for one in inputs
        ]
        np.testing.assert_array_equal(seen[0].pixels, seen[1].pixels)
        [rows], wanted = inputs[0].see(seen[:1]), inputs[1].see(seen[1:]).detach()
        np.testing.assert_allclose(rows, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def test_several_turns_captions_and_streams_are_the_same(make):
    ours, theirs = opened(make())
    turns = (Message("user", (Media("image", (1,)), QUESTION)), Message("assistant", "a cat"))
    assert_same(ours, theirs, [picture(1)], (SYSTEM, *turns, Message("user", ZH)))
    talks = [Conversation(one, picture(2)) for one in (ours, theirs)]
    for question in (QUESTION, ZH):
        answers = [talk.ask(question, max_tokens=4) for talk in talks]
        assert answers[0] == answers[1]
    stop = theirs.ask(picture(1), QUESTION, max_tokens=9).text[2:]
    how = AnswerConfig(max_tokens=9, stop=(stop,))
    streams = [stream_answer(one, picture(1), QUESTION, how) for one in (ours, theirs)]
    assert list(streams[0]) == list(streams[1])
    answers = [whole(stream_answer(one, picture(1), QUESTION, how)) for one in (ours, theirs)]
    assert answers[0] == answers[1] and answers[0].finish_reason == "stop"
    some = [picture(1), b"no picture", picture(2)]
    captions = [list(write_captions(one, some, config=how)) for one in (ours, theirs)]
    assert [c.text for c in captions[0]] == [c.text for c in captions[1]]
    several = [answer_several(one, picture(1), [QUESTION, ZH], how) for one in (ours, theirs)]
    assert [one.text for one in several[0]] == [one.text for one in several[1]]


def test_a_picture_is_seen_once_for_several_questions(make, monkeypatch):
    ours, _ = opened(make())
    looks, look = [], ours.files.inputs._look
    monkeypatch.setattr(ours.files.inputs, "_look", lambda one: looks.append(1) or look(one))
    ours.ask_several(picture(5), [QUESTION, ZH], max_tokens=2)
    ours.ask(picture(5), ZH, max_tokens=2)
    assert len(looks) == 1
    for seed in range(10):
        ours.ask(picture(seed), ZH, max_tokens=1)
    assert len(ours.files.inputs._seen) == 8


def test_what_is_refused_is_refused_alike(make, tmp_path):
    ours, theirs = opened(make())
    (tmp_path / "clip.mp4").write_bytes(b"\0" * 99)
    refused = (
        (picture(1), "what " * 99, DataError),
        (picture(1), "", DataError),
        (picture(1), "<image>", DataError),
        ([picture(1), picture(2)], QUESTION, DataError),
        (tmp_path / "clip.mp4", QUESTION, DataError),
        (b"none", QUESTION, ImageError),
    )
    for images, question, error in refused:
        messages = []
        for one in (ours, theirs):
            with pytest.raises(error) as caught:
                one.ask(images, question)
            messages.append(caught.value.text)
        assert messages[0] == messages[1]
    with pytest.raises(ConfigError):
        ours.ask(picture(1), QUESTION, max_tokens=0)


def test_sampled_answers_repeat_with_a_seed_and_follow_the_probabilities(make):
    ours, _ = opened(make())

    def sampled(**how):
        config = AnswerConfig(max_tokens=8, temperature=2.0, **how)
        return whole(stream_answer(ours, picture(1), QUESTION, config)).text

    assert sampled(seed=1) == sampled(seed=1)
    assert len({sampled(seed=seed) for seed in range(-2, 3)}) > 2
    assert sampled(top_p=1e-9) == ours.ask(picture(1), QUESTION, max_tokens=8).text
    logits = np.random.default_rng(0).standard_normal(30).astype(np.float32)
    for top_k, top_p in ((0, 1.0), (5, 1.0), (0, 0.6), (9, 0.5)):
        config = DecodingConfig(temperature=0.7, top_k=top_k, top_p=top_p)
        scores = keep_likeliest(torch.from_numpy(logits)[None] / 0.7, top_k, top_p)
        random = Random(0)
        drawn = np.bincount(
            [choose_token(logits, config, random) for _ in range(400)], minlength=30
        )
        np.testing.assert_allclose(drawn / 400, scores[0].softmax(-1), atol=0.1)
        assert ((drawn > 0) <= (scores[0] > -torch.inf).numpy()).all()


@pytest.mark.parametrize("length", [5, 30])
def test_beams_find_the_same_text_as_in_torch(make, length):
    ours, theirs = opened(make())
    for one in (ours, theirs):  # many ends, so that texts differ in length
        one.files = replace(one.files, end_ids=tuple(range(9, 330, 8)))
    texts = []
    for beams in (2, 3, 6):
        how = AnswerConfig(max_tokens=length, beams=beams)
        for one in range(3):
            found = whole(stream_answer(ours, picture(one), QUESTION, how))
            assert found == whole(stream_answer(theirs, picture(one), QUESTION, how))
            texts.append(found.text)
    assert len(set(texts)) > 2


def test_captions_have_the_beams_of_the_model(make, tmp_path):
    plain = make()
    folder = tmp_path / "beams"
    shutil.copytree(plain, folder)
    described = json.loads((folder / "seesay.json").read_text())
    (folder / "seesay.json").write_text(json.dumps({**described, "generation": {"beams": 4}}))
    for one in range(3):
        wanted = [
            load_numpy_assistant(str(plain), None)
            .configured(DecodingConfig(beams=beams))
            .caption(picture(one), max_tokens=9)
            .text
            for beams in (4, 1)
        ]
        for assistant in opened(folder):
            assert assistant.caption(picture(one), max_tokens=9).text == wanted[0]
            greedy = assistant.configured(DecodingConfig(beams=1))
            assert greedy.caption(picture(one), max_tokens=9).text == wanted[1]
            assert assistant.ask(picture(one), QUESTION, max_tokens=9).tokens is None
            assistant.caption(picture(one), max_tokens=3, temperature=1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"connector": "perceiver"},
        {"connector": "gated-cross-attention"},
        {"size": 16},  # pixel-shuffle cannot divide its only row
        {"tied": False},
        {"query_key_norm": True},
        {"norm": "layer"},
        {"input_bias": True},
    ],
    ids=str,
)
def test_other_models_are_left_to_torch(make, changes):
    if changes.get("size") == 16:
        with pytest.raises(ConfigError):
            chat(make(**changes))
    assert load_numpy_assistant(str(make(**changes)), None) is None


def test_other_folders_are_left_to_torch(tower, tmp_path):
    assert load_numpy_assistant(str(tower), None) is None
    assert load_numpy_assistant(str(tmp_path), None) is None


def _edit(change):
    def edit(folder: Path) -> None:
        described = json.loads((folder / "seesay.json").read_text())
        change(described)
        (folder / "seesay.json").write_text(json.dumps(described))

    return edit


DAMAGES = {
    "no JSON": lambda folder: (folder / "seesay.json").write_text("?"),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "a cut file": lambda folder: os.truncate(folder / "model.safetensors", 30_000),
    "no vocabulary": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "another format": _edit(lambda one: one.update(format=2)),
    "more layers": _edit(lambda one: one["model"]["decoder"].update(depth=1 << 40)),
    "fewer layers": _edit(lambda one: one["model"]["decoder"].update(depth=1)),
    "more blocks": _edit(lambda one: one["model"]["tower"]["stages"][0].__setitem__(2, 1 << 40)),
    "another width": _edit(lambda one: one["model"]["decoder"].update(dim=64)),
    "no stem": _edit(lambda one: one["model"]["tower"].update(stem=None)),
    "an unknown setting": _edit(lambda one: one["model"]["decoder"].update(new=1)),
    "a short vocabulary": _edit(lambda one: one["model"]["decoder"].update(vocab_size=9)),
    "huge pictures": _edit(lambda one: one["transform"].update(size=1 << 20)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_is_left_to_torch_which_explains_it(make, tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(make(), folder)
    DAMAGES[damage](folder)
    assert load_numpy_assistant(str(folder), None) is None
    with pytest.raises(WeightsError):
        chat(folder)


def test_numpy_answers_about_a_few_pictures_on_the_processor(make):
    folder = make()
    assert isinstance(open_assistant(folder, pictures=1), NumpyAssistant)
    assert isinstance(open_assistant(folder, pictures=1, device="cpu"), NumpyAssistant)
    assert isinstance(open_assistant(folder, pictures=1000), LocalAssistant)
    assert isinstance(open_assistant(folder), LocalAssistant)
    with pytest.raises(ConfigError, match="answers no questions"):
        open_assistant("seesay-mini", pictures=1)


def test_models_on_disk_are_found_without_the_catalogues(make, monkeypatch):
    folder = make()
    with monkeypatch.context() as patched:
        patched.setattr(hub, "find", None)
        assert hub.on_disk("seesay-mini") == Path(hub.__file__).with_name("seesay-mini")
        assert hub.on_disk(str(folder)) == folder
        for missing in ("", "no-such-model", "owner/model", "x" * 5000, "a\0b", str(folder / "no")):
            assert hub.on_disk(missing) is None
    monkeypatch.chdir(folder.parent)
    assert isinstance(open_assistant("model", pictures=1), NumpyAssistant)
    monkeypatch.chdir(folder)
    assert isinstance(open_assistant(".", pictures=1), NumpyAssistant)
    (folder / "siglip2-b16-224").mkdir()
    assert hub.on_disk("siglip2-b16-224") is None  # of the catalogue
    (folder / "siglip2-b16-224").rmdir()


@pytest.mark.parametrize("command", [["ask", "{picture}", QUESTION], ["caption", "{picture}"]])
def test_the_command_line_never_loads_torch(make, tmp_path, command):
    file = tmp_path / "picture.png"
    seesay.data.images.open_image(picture(1)).save(file)
    words = [one.format(picture=file) for one in command]
    code = (
        "import sys; from seesay.cli.main import run\n"
        f"code = run([*{words!r}, '--model', {str(make())!r}, '--max-tokens', '3'])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()

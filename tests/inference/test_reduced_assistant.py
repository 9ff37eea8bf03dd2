"""An assistant that reads fewer tokens of a picture, or contrasts it with noise: each question is
answered as alone, and as the formulas say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import seesay
from seesay.errors import ConfigError
from seesay.inference.assistant import LocalAssistant, chat
from seesay.inference.decoding import ContrastConfig, DecodingConfig
from seesay.inference.generation import choose_tokens, contrasted, write_tokens
from seesay.inference.visual_inputs import signal_share
from seesay.models.quantized import Int8Linear
from seesay.models.token_reduction import FastVConfig, PruMergeConfig
from tiny_assistants import TinyAssistant, picture, tiny_llava, tiny_qwen, tiny_tiles

FAMILIES: dict[str, Callable] = {
    "llava": tiny_llava,
    "llava_next": tiny_tiles,
    "qwen2_vl": tiny_qwen,
    "qwen3_vl": lambda folder: tiny_qwen(folder, "Qwen3VL"),
}
CPU = dict(device="cpu", dtype="float32")
QUESTIONS = ["What is it?", "图里有什么？", "Why does it look so long?"]
HALF = DecodingConfig(reduction=FastVConfig(layer=1, keep=0.4))
CONTRAST = DecodingConfig(contrast=ContrastConfig(alpha=2.0, beta=0.01))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Callable[[str], TinyAssistant]:
    kept: dict[str, TinyAssistant] = {}

    def get(name: str) -> TinyAssistant:
        if name not in kept:
            torch.manual_seed(name == "qwen3_vl")
            kept[name] = FAMILIES[name](tmp_path_factory.mktemp(name))
        return kept[name]

    return get


@pytest.fixture(scope="module")
def plain(tiny) -> Callable[[str], LocalAssistant]:
    kept: dict[str, LocalAssistant] = {}
    return lambda name: kept.setdefault(name, chat(tiny(name).folder, **CPU))


def texts(assistant: LocalAssistant, ask: str = "alone", **settings: object) -> list[str]:
    given = dict(max_tokens=8) | settings
    if ask == "alone":
        return [assistant.ask(picture(), q, **given).text for q in QUESTIONS]
    if ask == "several":
        return [a.text for a in assistant.ask_several(picture(), QUESTIONS, **given)]
    rows = [(picture(), QUESTIONS[0]), (picture(1, (61, 20)), "Why?"), (None, "No picture?")]
    if ask == "batch":
        return [a.text for a in assistant.ask_batch(rows, **given)]
    return [assistant.ask(*row, **given).text for row in rows]


CASES = [(name, HALF) for name in FAMILIES] + [
    ("llava", DecodingConfig(reduction=PruMergeConfig(neighbours=3))),
    ("llava", DecodingConfig(reduction=PruMergeConfig(plus=True))),
    ("llava", CONTRAST),
    ("qwen2_vl", CONTRAST),
    ("llava", DecodingConfig(reduction=PruMergeConfig(), contrast=ContrastConfig())),
    ("llava_next", DecodingConfig(reduction=FastVConfig(layer=1), contrast=ContrastConfig())),
]


@pytest.mark.parametrize(("name", "decoding"), CASES, ids=str)
def test_each_question_is_answered_as_alone(name, decoding, plain):
    files = plain(name).files
    fresh = [LocalAssistant(files, decoding) for _ in range(4)]
    alone = texts(fresh[0])
    assert texts(fresh[1], "several") == alone
    assert texts(fresh[2], "batch") == texts(fresh[0], "rows")
    assert alone != texts(plain(name)) and len(set(alone)) > 1
    talk = seesay.Conversation(fresh[3], picture())
    first = talk.ask(QUESTIONS[0], max_tokens=8)
    assert first.text == alone[0]
    second = "".join(talk.stream("And then?", max_tokens=8))
    fresh[0].ask(picture(1), "Something else?", max_tokens=2)
    assert fresh[0].ask(picture(), talk.messages[:3], max_tokens=8).text == second


def test_what_changes_nothing_changes_nothing(plain):
    for name in FAMILIES:
        expected = texts(plain(name))
        for decoding in (
            DecodingConfig(reduction=FastVConfig(layer=2, keep=1.0)),
            DecodingConfig(contrast=ContrastConfig(alpha=0.0, beta=1e-9)),
        ):
            assert texts(LocalAssistant(plain(name).files, decoding), "several") == expected


@pytest.mark.parametrize("name", ["llava", "qwen2_vl"])
def test_a_batch_sees_each_picture_once(name, plain, monkeypatch):
    assistant, seen = LocalAssistant(plain(name).files, HALF), []
    inputs = assistant._reader.inputs
    see = type(inputs).see
    monkeypatch.setattr(
        type(inputs), "see", lambda self, some: seen.append(len(some)) or see(self, some)
    )
    assistant.ask_several(picture(), QUESTIONS, max_tokens=1)
    assert seen == [1]


def test_pruned_tokens_are_missing_from_later_layers_and_merged_ones_from_all(plain):
    files = plain("llava").files
    lengths = {}
    for name, reduction in (("none", None), ("fastv", HALF.reduction), ("merge", PruMergeConfig())):
        assistant = LocalAssistant(files, DecodingConfig(reduction=reduction))
        request = assistant._request(picture(), "Why?")
        cache = assistant._reader.read([request]).cache
        lengths[name] = [layer.length for layer in cache.layers]
    whole = lengths["none"][0]
    assert lengths["fastv"] == [whole, whole - 10, whole - 10]  # 6 of 16 are left
    merged = lengths["merge"][0]
    assert whole - 15 < merged < whole - 8 and lengths["merge"] == [merged] * 3


def test_answers_are_drawn_of_the_contrasted_tokens_with_noise_in_the_picture(plain):
    """Each step anew, without caches, from pictures that are noised as the paper says."""
    assistant = plain("llava")
    files, contrast = assistant.files, ContrastConfig(alpha=1.5, beta=0.2)
    request = assistant._request(picture(), "Why?")
    [one] = request.inputs
    mean, std = (
        torch.tensor(v)[:, None, None]
        for v in (assistant.files.inputs._square.mean, assistant.files.inputs._square.std)
    )
    pixels = (torch.tensor(np.array(one.pixels)).permute(0, 3, 1, 2) / 255 - mean) / std
    betas = 1 / (1 + np.exp(-np.linspace(-6, 6, 1000))) * (0.5e-2 - 1e-5) + 1e-5
    share = float(np.prod(1 - betas[:500]))
    assert signal_share(500) == pytest.approx(share)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    noised = share**0.5 * pixels + (1 - share) ** 0.5 * noise
    for temperature in (0.0, 1.0):
        decoding = DecodingConfig(temperature=temperature, seed=5, top_k=9, contrast=contrast)
        ids, written = list(request.ids), []
        generator = [torch.Generator().manual_seed(5)]
        for _ in range(6):
            clean, other = (
                files.model.logits(
                    files.model(torch.tensor([ids]), files.model.see(some).flatten(0, 1))[:, -1:]
                )[0, -1:].detach()
                for some in (pixels, noised)
            )
            scores = (1 + 1.5) * clean - 1.5 * other
            scores[clean < clean.max() + np.log(0.2)] = -torch.inf
            written.append(int(choose_tokens(scores, decoding, generator)))
            ids.append(written[-1])
            if written[-1] in files.end_ids:
                break
        answer = LocalAssistant(files, decoding).ask(
            picture(), "Why?", max_tokens=6, temperature=temperature, log_probabilities=True
        )
        assert answer.text == "".join(files.tokenizer.decode([i]) for i in written).strip()
        assert answer.tokens[-1].log_probability == pytest.approx(
            float(clean.log_softmax(-1)[0, written[-1]]), abs=1e-4
        )


def test_noise_of_a_still_picture_is_that_of_both_its_frames(plain):
    inputs = plain("qwen2_vl").files.inputs
    one = inputs.picture(picture(), alone=True)
    other = type(one)(one.media, one.pixels, one.shape, one.grids, noise_step=500)
    clean, noised = inputs._patches(one), inputs._patches(other)
    both = (noised - signal_share(500) ** 0.5 * clean).unflatten(1, (3, 2, -1))
    torch.testing.assert_close(both[:, :, 0], both[:, :, 1])
    assert both.std() == pytest.approx((1 - signal_share(500)) ** 0.5, rel=0.05)
    assert one.digest != other.digest and torch.equal(noised, inputs._patches(other))


def test_unlikely_tokens_are_cut_whatever_the_contrast():
    logits = torch.tensor([[3.0, 2.9, 0.0]])
    noised = torch.tensor([[4.0, 2.0, -90.0]])
    scores = contrasted(logits, noised, ContrastConfig(alpha=1.0, beta=0.1))
    torch.testing.assert_close(scores, torch.tensor([[2.0, 3.8, -torch.inf]]))
    rows = torch.cat([logits, noised])
    decoding = DecodingConfig(contrast=ContrastConfig())
    [[token]] = write_tokens(lambda ids, _: (rows, None), 1, decoding, max_tokens=1, end_ids=[])
    assert token.id == 1 and token.log_probability == pytest.approx(
        float(logits.log_softmax(-1)[0, 1])
    )


# What is refused


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ContrastConfig(alpha=-1.0), "alpha=-1.0"),
        (lambda: ContrastConfig(beta=0.0), "beta=0.0"),
        (lambda: ContrastConfig(noise_step=1001), "noise_step=1001"),
        (lambda: DecodingConfig(beams=2, contrast=ContrastConfig()), "beams=2 and contrast"),
    ],
)
def test_impossible_contrasts_are_refused(make, words):
    with pytest.raises(ConfigError, match=words) as raised:
        make()
    assert "请" in raised.value.text.zh


def test_reductions_that_a_model_cannot_do_are_refused(plain):
    merge = DecodingConfig(reduction=PruMergeConfig())
    deep = DecodingConfig(reduction=FastVConfig(layer=9))
    for name, decoding, words in (
        ("qwen2_vl", merge, "without a class token"),
        ("llava_next", merge, "made of tiles"),
        ("llava", deep, "layer=9"),
    ):
        with pytest.raises(ConfigError, match=words) as raised:
            LocalAssistant(plain(name).files, decoding).ask(picture(), "Why?", max_tokens=1)
        assert "请" in raised.value.text.zh


# Number formats


def test_an_assistant_is_loaded_in_the_format_and_bits_that_it_is_asked_for(tiny, plain):
    folder = tiny("qwen2_vl").folder
    half = chat(folder, device="cpu", dtype="bfloat16")
    assert {p.dtype for p in half.files.model.parameters()} == {torch.bfloat16}
    small = chat(folder, **CPU, weights="int8")
    decoder = small.files.model.decoder
    assert isinstance(decoder.blocks[0].mlp.up, Int8Linear) and decoder.head is not None
    assert isinstance(small.files.model.tower.blocks[0].mlp.up, torch.nn.Linear)
    expected, actual = (
        one._reader.read([one._request(picture(), "Why?")]).logits[0]
        for one in (plain("qwen2_vl"), small)
    )
    assert torch.nn.functional.cosine_similarity(expected, actual, dim=0) > 0.99


def test_the_ways_of_answering_are_public():
    decoding = seesay.DecodingConfig(
        contrast=seesay.ContrastConfig(), reduction=seesay.FastVConfig(keep=0.25)
    )
    assert isinstance(decoding.reduction, FastVConfig)
    assert seesay.PruMergeConfig() == PruMergeConfig()

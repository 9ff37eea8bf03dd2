"""OpenFlamingo, which transformers does not have, follows its formulas: latents, logits and greedy
tokens, with some pictures in a dialogue and with none."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import rule_slips
from decoder_references import close
from seesay.errors import ConfigError, WeightsError
from seesay.models.cache import KeyValueCache
from seesay.models.flamingo import Flamingo
from seesay.weights.flamingo import KNOWN, load_flamingo, read_flamingo
from seesay.weights.settings import every_setting
from seesay.weights.tensors import load_weights
from tiny_flamingo import PIXELS, TOWER, TinyFlamingo, language_config, tiny_flamingo


def load(folder: Path) -> Flamingo:
    return load_flamingo(folder, folder / "language_model", folder / "image_tower")


@pytest.fixture(params=["mosaic_gpt", "mpt", "gpt_neox"], scope="module")
def reference(request) -> TinyFlamingo:
    return tiny_flamingo(request.param)


@pytest.fixture(scope="module")
def model(reference, tmp_path_factory) -> Flamingo:
    return load(reference.save(tmp_path_factory.mktemp("flamingo")))


def pictures() -> Tensor:
    return torch.randn(3, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(4))


def prompts(image: int) -> list[list[int]]:
    """Two pictures, one that comes late, and none."""
    return [[image, 5, 9, 11, image, 7, 8], [4, 6, image, 3, 12], [9, 5, 2]]


@torch.no_grad()
def test_latents_logits_and_greedy_tokens_follow_the_formulas(reference, model):
    latents = model.see(pictures())
    expected = [reference.latents(one) for one in pictures()]
    close(latents, torch.stack(expected))
    rows, own = prompts(reference.image), [expected[:2], expected[2:], []]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(one)) + one for one in rows])
    mask = torch.tensor([[False] * (longest - len(one)) + [True] * len(one) for one in rows])
    cache = KeyValueCache()
    hidden = model(ids, latents, cache=cache, mask=mask)
    for row, one in enumerate(rows):
        close(model.logits(hidden)[row, mask[row]], reference.logits(one, own[row]))
    written = [list(one) for one in rows]
    for _ in range(32):
        logits = model.logits(hidden[:, -1:])[:, 0]
        for row in range(3):  # nothing is written twice, or it would be for ever
            logits[row, [reference.image, *written[row]]] = -torch.inf
            theirs = reference.logits(written[row], own[row])[-1]
            theirs[[reference.image, *written[row]]] = -torch.inf
            assert int(theirs.argmax()) == int(logits[row].argmax())
            written[row].append(int(theirs.argmax()))
        hidden = model(logits.argmax(-1, keepdim=True), cache=cache)


@torch.no_grad()
def test_a_prompt_may_come_in_parts_with_further_pictures(reference, model):
    [ids, _, _], latents = prompts(reference.image), model.see(pictures())
    whole = model(torch.tensor([ids]), latents[:2])
    cache = KeyValueCache()
    parts = [
        model(torch.tensor([ids[:3]]), latents[:1], cache=cache),
        model(torch.tensor([ids[3:4]]), cache=cache),
        model(torch.tensor([ids[4:]]), latents[1:2], cache=cache),
    ]
    close(torch.cat(parts, dim=1), whole)


def test_every_slip_in_the_rule_table_is_noticed(reference, model):
    with (
        every_setting(language_config(reference), "config.json", KNOWN) as text,
        every_setting(TOWER, "config.json", KNOWN) as image,
    ):
        rules = dict(read_flamingo(text, image, reference.tensors).rules)
    ids = torch.tensor(prompts(reference.image)[:1])

    def numbers(model: Flamingo) -> dict[str, Tensor]:
        return {"logits": model.logits(model(ids, model.see(pictures()[:2])))}

    slips = rule_slips.unnoticed(model, reference.tensors, rules, numbers, most=60)
    # CLIP's last norm is in the file, and OpenFlamingo reads what is before it; the weights of the
    # norms of queries and keys are multiplied with one another in every score.
    known = "post_layernorm", "k_ln"
    assert [slip for slip in slips if not any(name in slip for name in known)] == []
    load_weights(model, reference.tensors, rules)


def test_as_many_tokens_as_pictures_are_needed(reference, model):
    with pytest.raises(ConfigError, match=r"2 image tokens, but 3 pictures") as raised:
        model(torch.tensor(prompts(reference.image)[:1]), model.see(pictures()))
    assert "2 个图片词元" in raised.value.text.zh


def test_what_is_missing_is_named(tmp_path):
    tiny = tiny_flamingo("mpt")
    for name, words in {
        "perceiver.latents": r"checkpoint.pt has no perceiver.latents",
        "perceiver.norm.bias": r"missing from the checkpoint: resampler.norm_out.bias",
        "lang_encoder.transformer.blocks.2.gated_cross_attn_layer.ff_gate": r"blocks.2.cross.gate2",
        "language_model.transformer.norm_f.weight": r"missing .*: decoder.norm_out.weight",
    }.items():
        kept = {one: value for one, value in tiny.tensors.items() if one != name}
        with pytest.raises(WeightsError, match=words):
            load(TinyFlamingo(tiny.family, tiny.vocab, tiny.every, kept).save(tmp_path))
    more = tiny.tensors | {"perceiver.more": torch.ones(2)}
    with pytest.raises(WeightsError, match=r"1 not in the rule table: perceiver\.more"):
        load(TinyFlamingo(tiny.family, tiny.vocab, tiny.every, more).save(tmp_path))

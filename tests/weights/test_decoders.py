"""Our decoders give the numbers of transformers', stage by stage, in batches, with padding on
either side, and with a cache."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import rule_slips
from decoder_references import (
    DECODER_FAMILIES,
    TOLERANCE,
    VOCAB,
    DecoderReference,
    close,
    gpt_neox,
    opt,
    outputs,
    qwen2,
)
from seesay.errors import WeightsError
from seesay.models.cache import STEP, KeyValueCache
from seesay.models.decoder import Decoder
from seesay.weights.decoders import DECODERS, KNOWN, load_decoder, read_decoder
from seesay.weights.settings import every_setting
from seesay.weights.tensors import Grouped, read_tensors

TOKENS, WRITTEN = 11, 32


@pytest.fixture(params=DECODER_FAMILIES, scope="module")
def reference(request, tmp_path_factory) -> DecoderReference:
    torch.manual_seed(0)
    return DECODER_FAMILIES[request.param](tmp_path_factory.mktemp("model"))


def some_ids(rows: int = 3) -> torch.Tensor:
    return torch.randint(3, VOCAB, (rows, TOKENS), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_every_hidden_state_and_logit_matches(reference):
    model, ids = load_decoder(reference.folder), some_ids()
    ours = outputs(model, list(reference.stages))
    theirs = outputs(reference.model, list(reference.stages.values()))
    expected = reference.model(input_ids=ids).logits
    logits = model.logits(model(model.embed(ids)))
    assert expected.std() > 0.1
    for mine, their in reference.stages.items():
        close(ours[mine], theirs[their])
    close(logits, expected)


@torch.no_grad()
def test_greedy_tokens_are_the_same_with_and_without_a_cache(reference):
    model, ids = load_decoder(reference.folder), some_ids()
    expected = reference.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=WRITTEN,
        min_new_tokens=WRITTEN,
        do_sample=False,
    )
    end = reference.model.generation_config.eos_token_id
    cache, plain, given = KeyValueCache(), ids, ids
    for _ in range(WRITTEN):
        quick = model.logits(model(model.embed(given), cache=cache)[:, -1:])
        slow = model.logits(model(model.embed(plain))[:, -1:])
        close(quick, slow)
        if end is not None:  # transformers does not end before `min_new_tokens`
            quick[..., end] = -torch.inf
        given = quick.argmax(-1)
        plain = torch.cat([plain, given], dim=1)
    assert torch.equal(plain, expected)
    assert cache.length == plain.shape[1] - 1


@torch.no_grad()
def test_padding_on_either_side_changes_nothing(reference):
    model, ids = load_decoder(reference.folder), some_ids()
    lengths = (TOKENS, 4, 7)
    further = torch.randint(3, VOCAB, (3, 3))
    for left in (True, False):
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, length in enumerate(lengths):
            mask[row, TOKENS - length if left else 0 : TOKENS if left else length] = True
        cache = KeyValueCache()
        padded = ids.masked_fill(~mask, 0)
        hidden = model(model.embed(padded), cache=cache, mask=mask)
        assert hidden.isfinite().all()
        # Two further tokens at once, and then one.
        after = [
            model(model.embed(further[:, :2]), cache=cache),
            model(model.embed(further[:, 2:]), cache=cache),
        ]
        for row in range(3):
            alone = torch.cat([ids[row][mask[row]], further[row]])[None]
            expected = model(model.embed(alone))[0]
            close(torch.cat([hidden[row][mask[row]], *(one[row] for one in after)]), expected)


@torch.no_grad()
def test_the_reference_agrees_on_padding_at_the_left(reference):
    model, ids = load_decoder(reference.folder), some_ids()
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, :6] = False
    given = dict(attention_mask=mask.long())
    if model.config.positions == "rope":
        given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    expected = reference.model(input_ids=ids, **given).logits
    close(model.logits(model(model.embed(ids), mask=mask))[mask], expected[mask])


def test_every_slip_in_a_rule_table_is_noticed(reference):
    model, ids = load_decoder(reference.folder), some_ids(2)
    tensors = read_tensors(reference.folder)
    published = json.loads((reference.folder / "config.json").read_text())
    with every_setting(published, "config.json", KNOWN) as config:
        rules = dict(read_decoder(config, tensors).rules)

    def numbers(model: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {"logits": model.logits(model(model.embed(ids)))}

    slips = rule_slips.unnoticed(model, tensors, rules, numbers, most=60)
    # Where attention and MLP read the same input, their results are added, biases too.
    allowed = (
        ["attention.dense.bias <-> ", "mlp.dense_4h_to_h.bias"] if model.config.parallel else []
    )
    assert [slip for slip in slips if not allowed or any(a not in slip for a in allowed)] == []


@torch.no_grad()
@pytest.mark.parametrize("name", ["internlm2", "gpt-neox"])
def test_heads_split_another_way_are_noticed(name, tmp_path):
    torch.manual_seed(0)
    reference = DECODER_FAMILIES[name](tmp_path)
    model, ids = load_decoder(tmp_path), some_ids()
    expected = reference.model(input_ids=ids).logits
    config = model.config
    family = DECODERS[{"gpt-neox": "gpt_neox"}.get(name, name)]
    rules = dict(family.rules(config, family.body, family.head))
    [key] = [key for key in rules if isinstance(rules[key], Grouped) and "weight" in key]
    right = rules[key]
    turned = right.names[1:] + right.names[:1]
    thirds = Grouped(right.names, 1, tuple(right.groups * share for share in right.shares))
    for wrong in (thirds, Grouped(turned, right.groups, right.shares[1:] + right.shares[:1])):
        try:
            rule_slips.load_weights(model, read_tensors(tmp_path), {**rules, key: wrong})
        except WeightsError:
            continue
        difference = (model.logits(model(model.embed(ids))) - expected).abs().max()
        assert difference > 100 * TOLERANCE


@torch.no_grad()
def test_a_cache_outgrows_its_buffers_and_gives_rows_away(tmp_path):
    torch.manual_seed(0)
    model = load_decoder(qwen2(tmp_path).folder)
    ids = torch.randint(3, VOCAB, (2, STEP + 9))
    expected = model(model.embed(ids))
    cache = KeyValueCache()
    model(model.embed(ids[:, : STEP - 2]), cache=cache)
    swapped = cache.select(torch.tensor([1, 0, 1]))
    for place in range(STEP - 2, STEP + 9):
        column = ids[[1, 0, 1], place : place + 1]
        hidden = model(model.embed(column), cache=swapped)
        close(hidden[:, 0], expected[[1, 0, 1], place])
    assert (cache.length, swapped.length) == (STEP - 2, STEP + 9)
    close(model(model.embed(ids[:, STEP - 2 :]), cache=cache), expected[:, STEP - 2 :])


@torch.no_grad()
def test_rows_given_away_keep_their_padding(tmp_path):
    torch.manual_seed(0)
    model, ids = load_decoder(qwen2(tmp_path).folder), some_ids(2)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 5:] = False
    cache = KeyValueCache()
    model(model.embed(ids), cache=cache, mask=mask)
    chosen = cache.select(torch.tensor([1, 1]))
    further = torch.tensor([[5], [6]])
    hidden = model(model.embed(further), cache=chosen)
    for row in range(2):
        alone = torch.cat([ids[1, :5], further[row]])[None]
        close(hidden[row], model(model.embed(alone))[0, -1:])


def test_a_head_is_tied_only_where_the_file_has_none(tmp_path):
    torch.manual_seed(0)
    qwen2(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    assert load_decoder(tmp_path).head is not None
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    assert load_decoder(tmp_path).head is None


def test_a_folder_that_lacks_a_shard_names_it(tmp_path):
    torch.manual_seed(0)
    DECODER_FAMILIES["vicuna of 2023"](tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2
    shards[1].unlink()
    with pytest.raises(WeightsError, match=shards[1].name) as raised:
        load_decoder(tmp_path)
    assert shards[1].name in raised.value.text.zh


@pytest.mark.parametrize(
    ("build", "change", "named"),
    [
        (qwen2, {"use_sliding_window": True}, "use_sliding_window"),
        (qwen2, {"layer_types": ["sliding_attention"]}, "layer_types"),
        (qwen2, {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling"),
        (qwen2, {"hidden_act": "swish7"}, "hidden_act"),
        (qwen2, {"model_type": "gemma"}, "model_type"),
        (qwen2, {"num_key_value_heads": 3}, "key_heads=3"),
        (qwen2, {"hidden_size": "wide"}, "TypeError"),
        (qwen2, {"vocab_size": 60}, "token_embed.weight"),
        (qwen2, {"a_new_setting": 1}, "a_new_setting"),
        (opt, {"do_layer_norm_before": False}, "do_layer_norm_before"),
        (opt, {"word_embed_proj_dim": 16}, "word_embed_proj_dim"),
        (gpt_neox, {"rope_parameters": {"partial_rotary_factor": 0.4}}, "fraction=0.4"),
    ],
)
def test_what_would_give_other_numbers_is_refused_by_name(build, change, named, tmp_path):
    torch.manual_seed(0)
    build(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WeightsError, match=named):
        load_decoder(tmp_path)


ABSENT = {"internlm2", "qwen", "mosaic_gpt"}
"""Language models that transformers does not have."""


@pytest.mark.parametrize("name", sorted(DECODERS.keys() - ABSENT))
def test_defaults_are_those_of_transformers(name):
    from transformers import CONFIG_MAPPING

    published, defaults = CONFIG_MAPPING[name](), DECODERS[name].defaults
    # These have no settings for their biases, and derive the width of a head.
    known = {key for key in defaults if hasattr(published, key)} - {"head_dim", "rope_theta"}
    unknown = {"head_dim", "rope_theta", "attention_bias", "mlp_bias"}
    assert defaults.keys() - known <= unknown
    if "rope_theta" in defaults:
        assert published.rope_parameters["rope_theta"] == defaults["rope_theta"]
    filled = defaults | {"num_key_value_heads": _key_heads(defaults)}
    assert {key: getattr(published, key) for key in known} == {key: filled[key] for key in known}


def _key_heads(defaults: Mapping[str, Any]) -> int | None:
    return defaults.get("num_key_value_heads") or defaults.get("num_attention_heads")


def test_a_decoder_is_built_from_its_defaults():
    with torch.device("meta"):
        model = Decoder(DECODERS["llama"].config(settings_of("llama")))
    assert sum(p.numel() for p in model.parameters()) == 6_738_415_616  # Llama 7B


def settings_of(name: str):
    from seesay.weights.settings import Settings

    return Settings("config.json", "", {}, DECODERS[name].defaults)

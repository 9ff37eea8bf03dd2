"""Our T5 gives the numbers of transformers', stage by stage, with padding and with a cache."""

from pathlib import Path

import pytest
import torch

import rule_slips
from decoder_references import close, outputs
from reference_parts import layers, randomise
from seesay.data.model_files import read_json
from seesay.models.cache import KeyValueCache
from seesay.models.t5 import distance_buckets
from seesay.weights.settings import every_setting
from seesay.weights.t5 import DEFAULTS, KNOWN, load_t5, read_t5
from seesay.weights.tensors import read_tensors

VOCAB, WRITTEN = 61, 32
STAGES = {
    **layers("encoder.blocks", "encoder.block", 3),
    "encoder.norm_out": "encoder.final_layer_norm",
    **layers("decoder.blocks", "decoder.block", 3),
    "decoder.norm_out": "decoder.final_layer_norm",
}


def saved(folder: Path, *, flan: bool):
    """Flan-T5 has a gated MLP and a head of its own; the first T5 neither, and scales what the
    tied head reads."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=VOCAB,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=3,
        num_decoder_layers=3,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
        feed_forward_proj="gated-gelu" if flan else "relu",
        tie_word_embeddings=not flan,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    if flan:
        model.lm_head.weight = torch.nn.Parameter(torch.empty(VOCAB, 32))
    randomise(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(1.0)
    model.config.tie_word_embeddings = not flan
    model.save_pretrained(folder)
    return model


@pytest.fixture(params=[True, False], ids=["flan-t5", "t5"], scope="module")
def reference(request, tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("t5")
    return folder, saved(folder, flan=request.param)


def some_texts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCAB, (3, 19), generator=generator)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 4:], mask[2, 11:] = False, False
    written = torch.randint(3, VOCAB, (3, 17), generator=generator)
    return ids, mask, written


@torch.no_grad()
def test_every_hidden_state_and_logit_matches(reference):
    folder, their_model = reference
    model = load_t5(folder)
    ids, mask, written = some_texts()
    ours = outputs(model, list(STAGES))
    theirs = outputs(their_model, list(STAGES.values()))
    expected = their_model(
        input_ids=ids, attention_mask=mask.long(), decoder_input_ids=written
    ).logits
    hidden = model(model.embed(written), model.encode(model.embed(ids), mask), mask)
    assert expected.std() > 0.1
    for mine, their in STAGES.items():
        real = mask if mine.startswith("encoder") else torch.ones_like(written, dtype=torch.bool)
        close(ours[mine][real], theirs[their][real])
    close(model.logits(hidden), expected)


@torch.no_grad()
def test_greedy_tokens_are_the_same_with_and_without_a_cache(reference):
    folder, their_model = reference
    model = load_t5(folder)
    ids, mask, _ = some_texts()
    expected = their_model.generate(
        ids,
        attention_mask=mask.long(),
        max_new_tokens=WRITTEN,
        min_new_tokens=WRITTEN,
        do_sample=False,
    )
    encoded = model.encode(model.embed(ids), mask)
    cache, plain = KeyValueCache(), torch.zeros(3, 1, dtype=torch.long)
    given = plain
    for _ in range(WRITTEN):
        quick = model.logits(model(model.embed(given), encoded, mask, cache)[:, -1:])
        close(quick, model.logits(model(model.embed(plain), encoded, mask)[:, -1:]))
        quick[..., 1] = -torch.inf  # transformers does not end before `min_new_tokens`
        given = quick.argmax(-1)
        plain = torch.cat([plain, given], dim=1)
    assert torch.equal(plain, expected)


@torch.no_grad()
def test_a_row_does_not_depend_on_its_neighbours_or_on_padding(reference):
    model = load_t5(reference[0])
    ids, mask, written = some_texts()
    hidden = model(model.embed(written), model.encode(model.embed(ids), mask), mask)
    for row in range(3):
        alone = model.encode(model.embed(ids[row : row + 1, mask[row]]))
        close(model(model.embed(written[row : row + 1]), alone)[0], hidden[row])


def test_every_slip_in_a_rule_table_is_noticed(reference):
    folder, _ = reference
    model, tensors = load_t5(folder), read_tensors(folder)
    with every_setting(read_json(folder / "config.json"), "config.json", KNOWN) as config:
        rules = dict(read_t5(config, tensors).rules)
    ids, mask, written = some_texts()

    def numbers(model) -> dict[str, torch.Tensor]:
        hidden = model(model.embed(written), model.encode(model.embed(ids), mask), mask)
        return {"logits": model.logits(hidden)}

    assert rule_slips.unnoticed(model, tensors, rules, numbers, most=60) == []


@pytest.mark.parametrize("both_ways", [True, False])
def test_buckets_are_those_of_the_reference(both_ways):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-300, 301)[None]
    expected = T5Attention._relative_position_bucket(distance, bidirectional=both_ways)
    assert torch.equal(distance_buckets(distance, 32, 128, both_ways=both_ways), expected)


def test_defaults_are_those_of_transformers():
    from transformers import T5Config

    published = T5Config()
    expected = {**DEFAULTS, "num_decoder_layers": DEFAULTS["num_layers"]}
    assert {key: getattr(published, key) for key in DEFAULTS} == expected

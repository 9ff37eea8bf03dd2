"""Gated cross-attention against the blocks of Idefics and Llama 3.2, and against Flamingo's
formulas; and inside a decoder, with and without a cache."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from decoder_references import close
from reference_parts import randomise
from seesay.models.cache import KeyValueCache
from seesay.models.cross_attention import (
    GatedCrossBlock,
    GatedCrossConfig,
    Media,
    latest_images,
)
from seesay.models.decoder import Decoder, DecoderConfig

DIM, MEDIA, LATENTS, HEADS = 32, 24, 5, 4
LATEST = torch.tensor([[0, 0, 1, 1, 2, 2], [1, 1, 1, 2, 2, 2]])


def features(images: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, images, LATENTS, MEDIA, generator=torch.Generator().manual_seed(seed))


def text() -> torch.Tensor:
    return torch.randn(2, 6, DIM, generator=torch.Generator().manual_seed(5))


def block_of(**settings: object) -> GatedCrossBlock:
    torch.manual_seed(0)
    config = GatedCrossConfig(
        every=1, media_dim=MEDIA, heads=HEADS, head_dim=8, hidden=48, **settings
    )
    block = randomise(GatedCrossBlock(config, DIM), norms=1.0)
    with torch.no_grad():  # gates that are wide open
        for gate in (block.gate1, block.gate2):
            gate.add_(0.5)
    return block


def copied(block: GatedCrossBlock, theirs: nn.Module, names: dict[str, str]) -> None:
    given = {b: block.get_parameter(a).detach() for a, b in names.items()}
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    assert given.keys() == shapes.keys() - {"cross_attn.rotary_emb.inv_freq"}
    theirs.load_state_dict({n: value.reshape(shapes[n]) for n, value in given.items()})


LLAMA_NAMES = {
    "norm1.weight": "input_layernorm.weight",
    "norm2.weight": "post_attention_layernorm.weight",
    **{
        f"attention.{a}.weight": f"cross_attn.{b}_proj.weight"
        for a, b in {"query": "q", "key": "k", "value": "v", "out": "o"}.items()
    },
    **{f"mlp.{part}.weight": f"mlp.{part}_proj.weight" for part in ("gate", "up", "down")},
}


@torch.no_grad()
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("gates", [1, DIM])
def test_a_block_is_that_of_idefics(norm, gates):
    from transformers import IdeficsConfig
    from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

    block = block_of(
        activation="silu",
        gated_mlp=True,
        norm="rms",
        norm_eps=1e-6,
        query_key_norm=norm,
        gate_dim=gates,
    )
    config = IdeficsConfig(
        hidden_size=DIM,
        num_attention_heads=HEADS,
        intermediate_size=48,
        vision_config=dict(embed_dim=MEDIA),
        qk_layer_norms=norm,
        alpha_type="float" if gates == 1 else "vector",
        attn_implementation="eager",
    )
    theirs = IdeficsGatedCrossAttentionLayer(config, layer_idx=0).eval()
    names = {**LLAMA_NAMES, "gate1": "alpha_cross_attn", "gate2": "alpha_dense"}
    if norm:
        names |= {
            f"attention.{a}_norm.weight": f"cross_attn.{b}_layer_norm.weight"
            for a, b in {"query": "q", "key": "k"}.items()
        }
    copied(block, theirs, names)
    places = torch.arange(2 * LATENTS) // LATENTS + 1
    hidden = torch.finfo(torch.float32).min * (LATEST[..., None] != places)[:, None].float()
    expected = theirs(
        text(),
        image_hidden_states=features().flatten(1, 2),
        image_attention_mask=hidden,
        cross_attention_gate=(LATEST > 0).float(),
    )
    close(block(text(), Media(features(), LATEST)), expected)


@torch.no_grad()
def test_a_block_is_that_of_llama_3_2():
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig
    from transformers.models.mllama.modeling_mllama import MllamaCrossAttentionDecoderLayer

    block = block_of(
        activation="silu", gated_mlp=True, norm="rms", norm_eps=1e-5, query_key_norm=True
    )
    # Its pictures are as wide as its text.
    block.attention.key, block.attention.value = (
        randomise(nn.Linear(DIM, DIM, bias=False)) for _ in range(2)
    )
    config = MllamaTextConfig(
        hidden_size=DIM,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        intermediate_size=48,
        attn_implementation="eager",
    )
    theirs = MllamaCrossAttentionDecoderLayer(config, layer_idx=0).eval()
    names = {**LLAMA_NAMES, "gate1": "cross_attn_attn_gate", "gate2": "cross_attn_mlp_gate"}
    names |= {
        f"attention.{a}_norm.weight": f"cross_attn.{b}_norm.weight"
        for a, b in {"query": "q", "key": "k"}.items()
    }
    copied(block, theirs, names)
    latest = LATEST.clamp(min=1)  # without a picture, Llama 3.2 closes the MLP too
    seen = torch.randn(2, 2, LATENTS, DIM)
    places = torch.arange(2 * LATENTS) // LATENTS + 1
    hidden = torch.finfo(torch.float32).min * (latest[..., None] != places)[:, None].float()
    expected = theirs(
        text(),
        cross_attention_states=seen.flatten(1, 2),
        cross_attention_mask=hidden,
        attention_mask=None,
        full_text_row_masked_out_mask=None,
    )
    close(block(text(), Media(seen, latest)), expected)


@torch.no_grad()
def test_a_block_follows_flamingos_formulas():
    block = block_of()
    x, seen = text(), features()
    expected = torch.empty_like(x)
    w = dict(block.named_parameters())
    for row in range(2):
        for token in range(6):
            y = x[row, token]
            if number := int(LATEST[row, token]):
                normed = F.layer_norm(y, (DIM,), w["norm1.weight"], w["norm1.bias"])
                picture = seen[row, number - 1]
                q = (w["attention.query.weight"] @ normed).view(HEADS, 8)
                k = (picture @ w["attention.key.weight"].T).view(LATENTS, HEADS, 8)
                v = (picture @ w["attention.value.weight"].T).view(LATENTS, HEADS, 8)
                weights = (torch.einsum("hd,lhd->hl", q, k) / 8**0.5).softmax(-1)
                mixed = torch.einsum("hl,lhd->hd", weights, v).flatten()
                y = y + w["gate1"].tanh() * (w["attention.out.weight"] @ mixed)
            normed = F.layer_norm(y, (DIM,), w["norm2.weight"], w["norm2.bias"])
            mlp = w["mlp.down.weight"] @ F.gelu(w["mlp.up.weight"] @ normed)
            expected[row, token] = y + w["gate2"].tanh() * mlp
    close(block(x, Media(seen, LATEST)), expected)


def flamingo() -> Decoder:
    torch.manual_seed(0)
    cross = GatedCrossConfig(every=2, media_dim=MEDIA, heads=HEADS, head_dim=8, hidden=48)
    config = DecoderConfig(
        vocab_size=50,
        dim=DIM,
        depth=4,
        heads=HEADS,
        key_heads=HEADS,
        head_dim=8,
        hidden=48,
        cross=cross,
    )
    model = randomise(Decoder(config), norms=1.0)
    assert [block.cross is not None for block in model.blocks] == [False, True, False, True]
    return model


@torch.no_grad()
def test_closed_gates_leave_the_language_model_as_it_was():
    model, ids = flamingo(), torch.randint(0, 50, (2, 6))
    opened = model(model.embed(ids), media=Media(features(), LATEST))
    for block in model.blocks:
        if block.cross is not None:
            block.cross.gate1.zero_()
            block.cross.gate2.zero_()
    closed = model(model.embed(ids), media=Media(features(), LATEST))
    close(closed, model(model.embed(ids), media=Media(features(seed=9), LATEST)))
    assert (closed - opened).abs().max() > 0.1


@torch.no_grad()
def test_a_text_token_sees_the_latest_picture_and_no_other():
    model, ids = flamingo(), torch.randint(0, 50, (2, 6))
    before = model(model.embed(ids), media=Media(features(), LATEST))
    seen = features()
    seen[:, 1] += 1.0  # the second picture
    after = model(model.embed(ids), media=Media(seen, LATEST))
    same = (after - before).abs().amax(2) == 0
    assert torch.equal(same, LATEST < 2)


@torch.no_grad()
def test_pictures_are_kept_in_the_cache_and_more_may_come():
    model, ids = flamingo(), torch.randint(0, 50, (2, 6))
    seen = features()
    expected = model(model.embed(ids), media=Media(seen, LATEST))
    # Row 0 has its first picture at token 2, row 1 at token 0; the second ones come later.
    cache = KeyValueCache()
    first = model(model.embed(ids[:, :3]), cache=cache, media=Media(seen[:, :1], LATEST[:, :3]))
    marks = torch.tensor([[False, True], [True, False]])
    latest = latest_images(marks, cache.latest_image, images=1)
    assert torch.equal(latest, LATEST[:, 3:5])
    second = model(model.embed(ids[:, 3:5]), cache=cache, media=Media(seen[:, 1:], latest))
    third = model(model.embed(ids[:, 5:]), cache=cache)  # no new picture
    close(torch.cat([first, second, third], dim=1), expected)


@torch.no_grad()
def test_a_row_without_pictures_is_that_of_a_call_without_any():
    model, ids = flamingo(), torch.randint(0, 50, (2, 6))
    latest = LATEST * torch.tensor([[0], [1]])
    both = model(model.embed(ids), media=Media(features(), latest))
    close(both[:1], model(model.embed(ids[:1])))
    assert torch.equal(
        latest_images(torch.tensor([[True, False, True]])), torch.tensor([[1, 1, 2]])
    )

"""Rotary positions in three dimensions, and what the layers of a decoder let a caller do."""

import pytest
import torch

from decoder_references import close
from reference_parts import randomise
from seesay.errors import ConfigError
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.rope import RopeConfig, rope_angles, rotate_halves

HEAD_DIM = 16
SIZES = dict(vocab_size=50, dim=32, depth=4, heads=4, key_heads=2, head_dim=HEAD_DIM, hidden=48)


def positions() -> torch.Tensor:
    """Text, a picture of 3 x 2 merged patches, and text behind it, in two rows."""
    grid = [[4] * 6, [4, 4, 5, 5, 6, 6], [4, 5, 4, 5, 4, 5]]
    one = [[*range(4), *axis, *range(7, 10)] for axis in grid]
    return torch.tensor([one, [[p + 5 for p in axis] for axis in one]]).transpose(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("interleaved", [False, True])
def test_positions_in_time_row_and_column_are_those_of_qwen(interleaved):
    if interleaved:
        from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig as Config
        from transformers.models.qwen3_vl.modeling_qwen3_vl import (
            Qwen3VLTextRotaryEmbedding as Rotary,
        )
    else:
        from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig as Config
        from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding as Rotary
    from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb

    sections = (4, 2, 2)
    theirs = Rotary(
        Config(
            hidden_size=64,
            num_attention_heads=4,
            head_dim=HEAD_DIM,
            rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=list(sections)),
        )
    )
    q, k = torch.randn(2, 4, 13, HEAD_DIM), torch.randn(2, 2, 13, HEAD_DIM)
    expected = apply_rotary_pos_emb(q, k, *theirs(q, positions()))
    config = RopeConfig(sections=sections, interleaved=interleaved)
    angles = rope_angles(config, positions(), HEAD_DIM)
    close(rotate_halves(q, angles), expected[0])
    close(rotate_halves(k, angles), expected[1])
    text = torch.arange(13).expand(2, -1)
    plain = rope_angles(RopeConfig(), text, HEAD_DIM)
    close(rope_angles(config, text.expand(3, -1, -1), HEAD_DIM).cos, plain.cos)
    close(rope_angles(config, text, HEAD_DIM).sin, plain.sin)


def decoder(**settings: object) -> Decoder:
    torch.manual_seed(0)
    model = randomise(Decoder(DecoderConfig(**SIZES | settings)), norms=1.0)
    with torch.no_grad():  # so that attention tells tokens apart
        for block in model.blocks:
            block.attention.query.weight.mul_(3)
    return model


@torch.no_grad()
def test_a_prompt_with_a_picture_goes_on_from_its_last_position():
    model = decoder(rope=RopeConfig(sections=(4, 2, 2)))
    embeds = torch.randn(2, 13, 32)
    expected = model(embeds, positions())
    assert (expected - model(embeds)).abs().max() > 0.1
    cache = KeyValueCache()
    first = model(embeds[:, :10], positions()[..., :10], cache)
    # The text behind the picture counts on from where the picture ends.
    rest = [
        model(embeds[:, i : i + 1], torch.tensor([[i - 3], [i + 2]]), cache) for i in range(10, 13)
    ]
    close(torch.cat([first, *rest], dim=1), expected)


@torch.no_grad()
def test_later_layers_may_go_on_with_fewer_tokens():
    # As when tokens are pruned: the later layers' caches are shorter, and stay so.
    model, embeds = decoder(), torch.randn(1, 9, 32)
    kept = torch.tensor([0, 1, 4, 7, 8])
    depth, split, cache = range(4), 2, KeyValueCache()
    place = torch.arange(9)[None]
    x, step = model.begin(embeds, place, cache, None, None)
    x = model.run(x, step, cache, depth[:split])[:, kept]
    _, fewer = model.begin(x, place[:, kept], None, None, None)
    x = model.run(x, fewer, cache, depth[split:])
    assert [layer.length for layer in cache.layers] == [9, 9, 5, 5]
    token = torch.randn(1, 1, 32)
    after = model(token, torch.tensor([[9]]), cache)
    assert [layer.length for layer in cache.layers] == [10, 10, 6, 6]
    # The same in one go.
    whole, step = model.begin(torch.cat([embeds, token], 1), None, None, None, None)
    some = torch.tensor([*kept, 9])
    y = model.run(whole, step, None, depth[:split])[:, some]
    _, fewer = model.begin(y, some[None], None, None, None)
    close(after, model.norm_out(model.run(y, fewer, None, depth[split:]))[:, -1:])


@torch.no_grad()
def test_a_token_does_not_see_what_follows():
    for kind in ("rope", "learned", "alibi"):
        model, embeds = decoder(positions=kind, context=16), torch.randn(2, 7, 32)
        changed = embeds.clone()
        changed[:, 5:] += 1
        before, after = model(embeds), model(changed)
        close(after[:, :5], before[:, :5])
        assert (after[:, 5:] - before[:, 5:]).abs().amin() > 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (dict(key_heads=3), r"heads=4 and key_heads=3"),
        (dict(rope=RopeConfig(sections=(4, 4, 4))), r"sections=\(4, 4, 4\) and head_dim=16"),
        (dict(rope=RopeConfig(fraction=0.05)), r"head_dim=16 and fraction=0.05"),
        (dict(activation="swish"), r"activation='swish'"),
        (dict(depth=0), r"depth=0"),
        (dict(norm_eps=0.0), r"norm_eps=0.0"),
    ],
)
def test_nonsense_is_refused_with_its_values(settings, named):
    with pytest.raises(ConfigError, match=named) as raised:
        DecoderConfig(**SIZES | settings)
    assert raised.value.text.zh != raised.value.text.en


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (dict(theta=-1.0), "theta=-1.0"),
        (dict(fraction=1.5), "fraction=1.5"),
        (dict(factor=2.0), "scaling='none' and factor=2.0"),
        (dict(scaling="linear"), "scaling='linear' and factor=1.0"),
        (dict(scaling="llama3", factor=2.0, low=4.0, high=1.0), "low=4.0 and high=1.0"),
        (dict(sections=(1, 2, -1)), "column=-1"),
    ],
)
def test_impossible_rotations_are_refused_with_their_values(settings, named):
    with pytest.raises(ConfigError, match=named):
        RopeConfig(**settings)


def test_three_positions_need_sections():
    with pytest.raises(ConfigError, match="sections=None"):
        rope_angles(RopeConfig(), positions(), HEAD_DIM)

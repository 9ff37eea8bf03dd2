"""Dropped image tokens are as if they were masked; merged patches are those of the formulas."""

import numpy as np
import pytest
import torch

from decoder_references import close
from reference_parts import randomise
from seesay.errors import ConfigError
from seesay.models.cache import KeyValueCache
from seesay.models.connectors import MlpConnectorConfig, PatchMergerConfig, PixelShuffleConfig
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.packed_vit import PackedVitConfig
from seesay.models.rope import RopeConfig
from seesay.models.token_reduction import FastVConfig, Prompt, PruMergeConfig, fastv, prumerge
from seesay.models.vit import Vit, VitConfig
from seesay.models.vlm import PackedVlm, PackedVlmConfig, Seen, Vlm, VlmConfig

SIZES = dict(vocab_size=50, dim=32, depth=4, heads=4, key_heads=2, head_dim=16, hidden=48)
SECTIONS = RopeConfig(sections=(4, 2, 2))
DECODERS = {
    "llama": {},
    "qwen2-vl": dict(rope=SECTIONS, input_bias=True),
    "qwen3": dict(query_key_norm=True, key_heads=1),
    "gpt-neox": dict(parallel=True, norm="layer", gated=False, key_heads=4, mlp_bias=True),
    "opt": dict(positions="learned", context=64, norm="layer", gated=False),
}
TOKENS, DEPTH = 17, SIZES["depth"]
IMAGES = torch.zeros(3, TOKENS, dtype=torch.bool)
IMAGES[0, 2:11] = IMAGES[1, 6:9] = IMAGES[1, 10:14] = True  # the last row has none
PADDING = {
    "none": [[]] * 3,
    "left": [[0], range(5), []],
    "right": [[], [16, 15], range(12, 17)],
}


def decoder(**settings: object) -> Decoder:
    torch.manual_seed(0)
    model = randomise(Decoder(DecoderConfig(**SIZES | settings)), norms=1.0)
    with torch.no_grad():
        for block in model.blocks:  # so that attention tells tokens apart
            block.attention.query.weight.mul_(4)
    return model


def prompt(padding: str, sections: bool = False, deepstack: int = 0) -> Prompt:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(3, TOKENS, dtype=torch.bool)
    for row, places in enumerate(PADDING[padding]):
        mask[row, list(places)] = False
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    if sections:
        positions = torch.stack([positions, positions // 2, positions % 5])
    deep = torch.randn(deepstack, 3, TOKENS, 32, generator=generator) * IMAGES[..., None]
    embeds = torch.randn(3, TOKENS, 32, generator=generator)
    return Prompt(embeds, positions, mask, tuple(deep))


def masked(
    model: Decoder, given: Prompt, dropped: torch.Tensor | None, layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """What stands at each place if `dropped` are masked in all layers from this one on, and the
    mean of the attention of all tokens in the one before. Every score is computed."""
    mask = given.mask
    x, step = model.begin(given.embeds, given.positions, None, mask, None)
    tokens, attention = x.shape[1], torch.zeros(0)
    places = torch.arange(tokens)
    for index, block in enumerate(model.blocks):
        seen = mask if dropped is None or index < layer else mask & ~dropped
        allowed = (places <= places[:, None]) & seen[:, None] | torch.eye(tokens, dtype=torch.bool)
        y = block.norm1(x)
        attend = block.attention
        q, k = attend.queries(y, step.angles), attend.keys(y, step.angles)
        v = attend.value(y).unflatten(-1, (-1, 16)).transpose(1, 2)
        k, v = (one.repeat_interleave(q.shape[1] // k.shape[1], 1) for one in (k, v))
        scores = (q @ k.mT / 16**0.5).masked_fill(~allowed[:, None], -torch.inf).softmax(-1)
        if index == layer - 1:
            attention = scores.mean(1)
        z = x + attend.out((scores @ v).transpose(1, 2).flatten(2))
        x = z + block.mlp(block.norm2(x if model.config.parallel else z))
        if index < len(given.deepstack):
            x = x + given.deepstack[index]
    return model.norm_out(x), attention


def expected_drops(model: Decoder, given: Prompt, config: FastVConfig) -> torch.Tensor:
    """By the definition, one row after another."""
    _, attention = masked(model, given, None, config.layer)
    dropped = torch.zeros_like(IMAGES)
    for row in range(3):
        last = max(i for i in range(TOKENS) if given.mask[row, i])
        places = [i for i in range(TOKENS) if IMAGES[row, i] and given.mask[row, i]]
        places.sort(key=lambda i: -float(attention[row, last, i]))
        dropped[row, places[max(1, int(config.keep * len(places))) :]] = True
    return dropped


@torch.no_grad()
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("name", DECODERS)
def test_dropped_tokens_are_as_if_they_were_masked(name, padding):
    model = decoder(**DECODERS[name])
    given = prompt(padding, sections=name == "qwen2-vl", deepstack=3 if name == "qwen3" else 0)
    config = FastVConfig(layer=2, keep=0.4)
    dropped = expected_drops(model, given, config)
    expected, _ = masked(model, given, dropped, 2)
    kept = fastv(model, given, IMAGES, config)
    for row in range(3):
        places = kept.places[row, kept.real[row]]
        assert places.tolist() == (given.mask[row] & ~dropped[row]).nonzero()[:, 0].tolist()
        close(kept.hidden[row, kept.real[row]], expected[row, places])
    assert dropped.sum() == 6 + 5
    assert bool(kept.real[:, -1].all())  # the last token is at the end
    every, _ = masked(model, given, None, 2)
    assert (kept.hidden[0, -1] - every[0, kept.places[0, -1]]).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("padding", PADDING)
def test_text_goes_on_behind_what_is_left_of_a_prompt(padding):
    model, given, config = decoder(), prompt(padding), FastVConfig(layer=1, keep=0.3)
    dropped, cache = expected_drops(model, given, config), KeyValueCache()
    kept = fastv(model, given, IMAGES, config, cache)
    lengths = [layer.length for layer in cache.layers]
    assert lengths == [TOKENS] + [kept.hidden.shape[1]] * (DEPTH - 1)
    next_embeds = torch.randn(3, 4, 32)
    written = [model(next_embeds[:, :1], None, cache), model(next_embeds[:, 1:3], None, cache)]
    written.append(model(next_embeds[:, 3:], None, cache))
    assert given.positions is not None and given.mask is not None
    following = given.positions.amax(1, keepdim=True) + torch.arange(1, 5)
    whole = Prompt(
        torch.cat([given.embeds, next_embeds], 1),
        torch.cat([given.positions, following], 1),
        torch.cat([given.mask, torch.ones(3, 4, dtype=torch.bool)], 1),
    )
    longer = torch.cat([dropped, torch.zeros(3, 4, dtype=torch.bool)], 1)
    close(torch.cat(written, 1), masked(model, whole, longer, 1)[0][:, TOKENS:])


@torch.no_grad()
@pytest.mark.parametrize("ranking", ["attention", "random", "uniform"])
def test_a_row_is_read_as_alone_and_after_earlier_tokens(ranking):
    model, given = decoder(), prompt("left")
    config = FastVConfig(layer=2, keep=0.5, ranking=ranking)
    together = fastv(model, given, IMAGES, config)
    assert given.positions is not None and given.mask is not None
    for row in range(3):
        real = given.mask[row]
        embeds, images = given.embeds[row : row + 1, real], IMAGES[row : row + 1, real]
        alone = fastv(model, Prompt(embeds), images, config)
        close(alone.hidden[0], together.hidden[row, together.real[row]])
        cache = KeyValueCache()
        model(embeds[:, :1], cache=cache)
        later = fastv(model, Prompt(embeds[:, 1:]), images[:, 1:], config, cache)
        close(later.hidden[0, -3:], alone.hidden[0, -3:])


@torch.no_grad()
def test_nothing_is_lost_if_all_is_kept_or_no_layer_is_left():
    model, given = decoder(), prompt("right")
    expected = model(*given[:2], mask=given.mask)
    for config in (FastVConfig(keep=1.0), FastVConfig(layer=DEPTH, keep=0.2)):
        kept = fastv(model, given, IMAGES, config)
        places = kept.places[..., None]
        different = (kept.hidden - expected.take_along_dim(places, 1))[kept.real]
        assert different.abs().max() < 1e-5
        assert (kept.hidden.shape[1] == TOKENS) == (config.keep == 1.0)


@torch.no_grad()
def test_baselines_draw_tokens_or_take_them_at_equal_distances():
    model, embeds = decoder(), torch.randn(1, 103, 32)
    images = torch.arange(103)[None] < 100

    def left(**settings: object) -> list[int]:
        config = FastVConfig(layer=0, **settings)
        return fastv(model, Prompt(embeds), images, config).places[0, :-3].tolist()

    assert left(ranking="uniform", keep=0.25) == list(range(3, 100, 4))
    steps = np.diff(left(ranking="uniform", keep=0.3))
    assert set(steps.tolist()) == {3, 4} and len(steps) == 29
    drawn = left(ranking="random", keep=0.25)
    assert len(drawn) == 25 and drawn == left(ranking="random", keep=0.25) != list(range(25))
    assert drawn != left(ranking="random", keep=0.25, seed=1)
    assert len(left(ranking="random", keep=0.001)) == 1


def refused(words: str, *settings: object) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        make, *given = settings
        make(*given)  # type: ignore[operator]
    assert "请" in raised.value.text.zh


def test_impossible_reductions_are_refused():
    refused("keep=0.0", lambda: FastVConfig(keep=0.0))
    refused("keep=nan", lambda: FastVConfig(keep=float("nan")))
    refused("layer=0", lambda: FastVConfig(layer=0))
    refused("neighbours=0", lambda: PruMergeConfig(neighbours=0))
    for model, config, words in (
        (decoder(), FastVConfig(layer=9), "layer=9"),
        (decoder(positions="alibi"), FastVConfig(), "'alibi'"),
    ):
        refused(words, fastv, model, prompt("none"), IMAGES, config)


# Both kinds of models


@torch.no_grad()
def test_models_hand_their_pictures_tokens_over():
    ids = torch.tensor([[5, 6, *[7] * 12, 8, 9, 4]])
    square = VitConfig(image_size=8, patch_size=4, dim=32, depth=1, heads=2, hidden=32, pool="none")
    connector = MlpConnectorConfig(image_dim=32, text_dim=32)
    config = DecoderConfig(**SIZES)
    vlm = Vlm(VlmConfig(tower=square, connector=connector, decoder=config, image_ids=(7,)))
    rows, mask = torch.randn(12, 32), None
    reduction = FastVConfig(layer=1, keep=0.5)
    expected = fastv(vlm.decoder, Prompt(vlm.embed(ids, rows)), ids == 7, reduction)
    close(vlm(ids, rows, reduction=reduction), expected.hidden)
    tower = PackedVitConfig(dim=32, depth=3, heads=2, hidden=32, deepstack=(0, 1, 2))
    packed = PackedVlm(
        PackedVlmConfig(
            tower=tower,
            connector=PatchMergerConfig(image_dim=32, text_dim=32),
            decoder=DecoderConfig(**SIZES, rope=SECTIONS),
            image_ids=(7,),
        )
    )
    seen = Seen(rows, tuple(torch.randn(3, 12, 32)))
    positions = torch.arange(17).expand(3, 1, -1)
    whole = packed(ids, seen, positions, None, mask)
    close(packed(ids, seen, positions, reduction=FastVConfig(layer=1, keep=1.0)), whole)
    half = packed(ids, seen, positions, reduction=reduction)
    assert half.shape == (1, 11, 32) and (half[:, -1] - whole[:, -1]).abs().max() > 1e-3


# PruMerge


def slow_prumerge(x, keys, attention, plus: bool, neighbours: int):
    """By the published steps, one patch after another."""
    x, keys, attention = (one.double().numpy() for one in (x, keys, attention))
    lower, upper = np.percentile(attention, [25, 75])
    count = int((attention > upper + 1.5 * (upper - lower)).sum())
    kept = np.argsort(-attention, kind="stable")[: max(1, count)].tolist()
    if plus:
        step = max(1, int(int(1 / (len(kept) / len(x))) / 3))
        kept += [i for i in range(0, len(x), step) if i not in kept]
    rows = []
    for i in kept:
        cosines = keys @ keys[i] / np.linalg.norm(keys, axis=1) / np.linalg.norm(keys[i])
        others = sorted((j for j in range(len(x)) if j != i), key=lambda j: -cosines[j])
        rows.append(x[i] + sum(attention[j] * x[j] for j in others[:neighbours]))
    rows.append(sum((attention[j] * x[j] for j in range(len(x)) if j not in kept), np.zeros(1)))
    return torch.tensor(np.stack(rows), dtype=torch.float32)


@pytest.mark.parametrize("neighbours", [32, 5])
@pytest.mark.parametrize("plus", [False, True])
def test_patches_are_merged_as_published(plus, neighbours):
    torch.manual_seed(0)
    x, keys = torch.randn(100, 8), torch.randn(100, 8)
    attention = (2 * torch.randn(100)).softmax(0)
    rows = prumerge(x, keys, attention, PruMergeConfig(plus=plus, neighbours=neighbours))
    close(rows, slow_prumerge(x, keys, attention, plus, neighbours))
    alone = prumerge(x, keys, attention, PruMergeConfig(neighbours=neighbours))
    close(rows[: len(alone) - 1], alone[:-1])
    assert (5 < len(alone) < 25) and (len(rows) > 2.5 * len(alone) if plus else True)


def test_one_patch_and_all_patches_may_be_kept():
    x, keys = torch.randn(12, 4), torch.randn(12, 4)
    even = torch.full((12,), 1 / 12)
    assert prumerge(x, keys, even, PruMergeConfig()).shape == (2, 4)
    # Of four patches that stand out, every third and fewer is kept: all are.
    some = torch.tensor([0.2, 0.2] + [0.06] * 10)
    assert prumerge(x, keys, some, PruMergeConfig(plus=True)).shape == (8, 4)
    assert prumerge(x[:4], keys[:4], even[:4], PruMergeConfig(plus=True)).shape == (4, 4)


@torch.no_grad()
def test_a_tower_tells_how_its_class_token_attends():
    torch.manual_seed(0)
    config = VitConfig(
        image_size=32, patch_size=8, dim=32, depth=3, heads=4, hidden=48, pool="none", layer=-2
    )
    vit = randomise(Vit(config), norms=1.0)
    heard = {}
    for name in ("query", "key"):
        module = vit.blocks[-1].attention.get_submodule(name)
        module.register_forward_hook(lambda _, __, y, name=name: heard.update({name: y}))
    pixels = torch.randn(2, 3, 32, 32)
    vit.tokens(pixels)
    every = (heard["query"] @ heard["key"].mT / 32**0.5).softmax(-1)
    expected, expected_keys = every[:, 0, 1:], heard["key"][:, 1:]
    attention, keys = vit.class_attention(vit.features(pixels))
    close(attention, expected)
    close(keys, expected_keys)
    connector = MlpConnectorConfig(image_dim=32, text_dim=24)
    text = DecoderConfig(**SIZES | dict(dim=24))
    for full in (False, True):
        vlm = Vlm(
            VlmConfig(
                tower=config, connector=connector, decoder=text, image_ids=(7,), class_token=full
            )
        )
        vlm.tower = vit
        rows = vlm.see_merged(pixels, PruMergeConfig())
        for one, picture in zip(rows, vit.features(pixels), strict=True):
            number = [one is row for row in rows].index(True)
            merged = prumerge(
                picture[1:], expected_keys[number], expected[number], PruMergeConfig()
            )
            close(one, vlm.connector(torch.cat([picture[:full], merged])[None])[0])
    last = VitConfig(image_size=32, patch_size=8, dim=32, depth=1, heads=2, hidden=48, pool="none")
    refused("layer -1", Vit(last).class_attention, torch.randn(1, 17, 32))
    shuffle = PixelShuffleConfig(image_dim=32, text_dim=24)
    vlm = Vlm(VlmConfig(tower=config, connector=shuffle, decoder=text, image_ids=(7,)))
    refused("PixelShuffleConfig", vlm.see_merged, pixels, PruMergeConfig())

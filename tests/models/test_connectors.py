"""Connectors give the numbers of the published ones, whatever else stands in the batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from reference_parts import randomise
from rule_slips import unnoticed
from seesay.errors import ConfigError
from seesay.models.connectors import (
    CONNECTORS,
    ConnectorConfig,
    LinearConnector,
    LinearConnectorConfig,
    MlpConnectorConfig,
    PatchMerger,
    PatchMergerConfig,
    Perceiver,
    PerceiverConfig,
    PixelShuffle,
    PixelShuffleConfig,
    QueryResampler,
    QueryResamplerConfig,
    merge_squares,
    sincos_square,
)
from seesay.weights.connectors import (
    flamingo_rules,
    idefics_rules,
    mlp_rules,
    numbered_mlp_rules,
    patch_merger_rules,
    pixel_shuffle_rules,
    query_resampler_rules,
    qwen3_merger_rules,
)
from seesay.weights.tensors import Rules, blank_model, load_weights

WIDE, TEXT = 8, 12


@dataclass(frozen=True)
class Reference:
    """A published connector with random weights, and what it makes of some patches."""

    config: ConnectorConfig
    module: nn.Module
    rules: Rules
    patches: Tensor
    expected: Tensor
    options: dict[str, int | Tensor] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {f"theirs.{name}": tensor for name, tensor in self.module.state_dict().items()}


@torch.no_grad()
def reference(
    config: ConnectorConfig,
    module: nn.Module,
    rules: Callable[[str, str], Rules],
    patches: Tensor,
    shuffle: Callable[[Tensor], Tensor] = lambda patches: patches,
) -> Reference:
    randomise(module, norms=1.0)
    expected = module(shuffle(patches))
    return Reference(config, module, rules("theirs", "connector"), patches, expected)


def llava() -> Reference:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    theirs = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=WIDE, num_attention_heads=2),
        text_config=LlamaConfig(hidden_size=TEXT, num_attention_heads=2),
    )
    ours = MlpConnectorConfig(image_dim=WIDE, text_dim=TEXT)
    patches = torch.randn(3, 9, WIDE)
    return reference(ours, LlavaMultiModalProjector(theirs), mlp_rules, patches)


def internvl() -> Reference:
    """The MLP of transformers behind the pixel shuffle of its model."""
    from transformers import InternVLConfig
    from transformers.models.internvl.modeling_internvl import (
        InternVLModel,
        InternVLMultiModalProjector,
    )

    theirs = InternVLConfig(
        vision_config={"hidden_size": WIDE, "model_type": "internvl_vision"},
        text_config={"hidden_size": TEXT, "model_type": "qwen2"},
    )

    def shuffle(patches: Tensor) -> Tensor:
        return InternVLModel.pixel_shuffle(None, patches.unflatten(1, (6, 6))).flatten(1, 2)

    ours = PixelShuffleConfig(image_dim=WIDE, text_dim=TEXT)
    module, patches = InternVLMultiModalProjector(theirs), torch.randn(3, 36, WIDE)
    return reference(ours, module, pixel_shuffle_rules, patches, shuffle)


def internvl_own() -> Reference:
    """The same as the original keeps it: a sequence of LayerNorm, map, GELU, map."""
    theirs = internvl()
    m = theirs.module
    return replace(
        theirs,
        module=nn.Sequential(m.layer_norm, m.linear_1, nn.GELU(), m.linear_2),
        rules=numbered_mlp_rules("theirs", "connector"),
    )


def qwen2() -> Reference:
    from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchMerger as Theirs

    ours = PatchMergerConfig(image_dim=WIDE, text_dim=TEXT)
    return reference(ours, Theirs(TEXT, WIDE), patch_merger_rules, torch.randn(20, WIDE))


def qwen2_5() -> Reference:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLPatchMerger

    module = Qwen2_5_VLPatchMerger(TEXT, WIDE)
    ours = PatchMergerConfig(image_dim=WIDE, text_dim=TEXT, norm="rms")
    return reference(ours, module, patch_merger_rules, torch.randn(20, WIDE))


def qwen3(*, norm_merged: bool = False) -> Reference:
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionPatchMerger

    theirs = Qwen3VLVisionConfig(hidden_size=WIDE, out_hidden_size=TEXT)
    module = Qwen3VLVisionPatchMerger(theirs, use_postshuffle_norm=norm_merged)
    ours = PatchMergerConfig(image_dim=WIDE, text_dim=TEXT, norm_merged=norm_merged)
    return reference(ours, module, qwen3_merger_rules, torch.randn(20, WIDE))


def deepstack() -> Reference:
    return qwen3(norm_merged=True)


class FlamingoAttention(nn.Module):
    """The original's names: keys and values are one map, cut in two."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_media, self.norm_latents = nn.LayerNorm(WIDE), nn.LayerNorm(WIDE)
        self.to_q = nn.Linear(WIDE, 6, bias=False)
        self.to_kv = nn.Linear(WIDE, 12, bias=False)
        self.to_out = nn.Linear(6, WIDE, bias=False)

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        media, latents = self.norm_media(media), self.norm_latents(latents)
        seen = torch.cat([media, latents], dim=1)
        q, kv = self.to_q(latents), self.to_kv(seen)
        heads = []
        for i in range(2):  # of width 3
            one = q[..., 3 * i : 3 * i + 3] @ kv[..., 3 * i : 3 * i + 3].transpose(1, 2)
            heads.append((one / 3**0.5).softmax(-1) @ kv[..., 6 + 3 * i : 9 + 3 * i])
        return self.to_out(torch.cat(heads, dim=-1))


class FlamingoResampler(nn.Module):
    """Two frames of four patches each; every video has its place in the dialogue."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.empty(3, WIDE))
        self.frame_embs = nn.Parameter(torch.empty(5, WIDE))
        self.media_time_embs = nn.Parameter(torch.empty(4, 1, WIDE))
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    FlamingoAttention(),
                    nn.Sequential(
                        nn.LayerNorm(WIDE),
                        nn.Linear(WIDE, 16, bias=False),
                        nn.GELU(),
                        nn.Linear(16, WIDE, bias=False),
                    ),
                ]
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(WIDE)

    def forward(self, patches: Tensor) -> Tensor:
        frames = [patches[:, :4] + self.frame_embs[0], patches[:, 4:] + self.frame_embs[1]]
        media = torch.cat(frames, dim=1) + self.media_time_embs[: len(patches)]
        latents = self.latents.expand(len(patches), -1, -1)
        for attention, mlp in self.layers:
            latents = attention(media, latents) + latents
            latents = mlp(latents) + latents
        return self.norm(latents)


VIDEOS = {"frames": 2, "order": torch.arange(3)}
PERCEIVER = dict(dim=WIDE, queries=3, depth=2, heads=2, head_dim=3, hidden=16)


def flamingo() -> Reference:
    ours = PerceiverConfig(**PERCEIVER, frames=5, media=4)
    videos = torch.randn(3, 8, WIDE)
    return replace(reference(ours, FlamingoResampler(), flamingo_rules, videos), options=VIDEOS)


def idefics() -> Reference:
    from transformers import IdeficsConfig
    from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

    theirs = IdeficsConfig(
        vision_config={"embed_dim": WIDE, "num_attention_heads": 2},
        perceiver_config={"qk_layer_norms_perceiver": True},
    )
    module = IdeficsPerceiverResampler(theirs, WIDE, depth=2, n_heads=2, head_dim=3, n_latents=3)
    ours = PerceiverConfig(**{**PERCEIVER, "hidden": 32}, activation="relu", norm_heads=True)
    return reference(ours, module, idefics_rules, torch.randn(3, 7, WIDE))


class QwenResampler(nn.Module):
    """As published, over torch's own attention, which keeps tokens before the batch."""

    def __init__(self) -> None:
        super().__init__()
        pool = nn.Module()
        pool.query = nn.Parameter(torch.empty(4, TEXT))
        pool.pos_embed = nn.Parameter(torch.empty(4, TEXT))
        pool.kv_proj = nn.Linear(WIDE, TEXT, bias=False)
        pool.attn = nn.MultiheadAttention(TEXT, 3)
        pool.ln_q, pool.ln_kv = nn.LayerNorm(TEXT, eps=1e-6), nn.LayerNorm(TEXT, eps=1e-6)
        self.attn_pool = pool
        self.ln_post = nn.LayerNorm(TEXT, eps=1e-6)
        self.proj = nn.Parameter(torch.empty(TEXT, TEXT))

    def forward(self, patches: Tensor) -> Tensor:
        pool = self.attn_pool
        table = pool.pos_embed.T.reshape(1, TEXT, 2, 2)
        table = nn.functional.interpolate(table, size=(4, 4), mode="bicubic", align_corners=False)
        places = table.flatten(2)[0].T[:, None]
        values = pool.ln_kv(pool.kv_proj(patches)).transpose(0, 1)
        queries = (pool.ln_q(pool.query) + pool.pos_embed)[:, None].expand(-1, len(patches), -1)
        gathered, _ = pool.attn(queries, values + places, values)
        return self.ln_post(gathered.transpose(0, 1)) @ self.proj


def qwen() -> Reference:
    ours = QueryResamplerConfig(image_dim=WIDE, text_dim=TEXT, side=2, heads=3)
    return reference(ours, QwenResampler(), query_resampler_rules, torch.randn(3, 16, WIDE))


REFERENCES = {
    one.__name__: one
    for one in (
        *(llava, internvl, internvl_own, qwen2, qwen2_5, qwen3, deepstack),
        *(flamingo, idefics, qwen),
    )
}

NOTHING_TO_SWAP = {"internvl_own", "qwen2_5"}  # all their tensors have different shapes


@pytest.fixture(params=REFERENCES)
def theirs(request) -> Reference:
    torch.manual_seed(0)
    return REFERENCES[request.param]()


def blank(config: ConnectorConfig) -> nn.ModuleDict:
    build = CONNECTORS[type(config)]
    return blank_model(lambda c: nn.ModuleDict({"connector": build(c)}), config)


@torch.no_grad()
def test_tokens_are_those_of_the_published_connector(theirs):
    model = blank(theirs.config)
    load_weights(model, theirs.tensors, theirs.rules)
    actual = model["connector"](theirs.patches, **theirs.options)
    torch.testing.assert_close(actual, theirs.expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("theirs", sorted(REFERENCES.keys() - NOTHING_TO_SWAP), indirect=True)
def test_every_slip_in_a_rule_table_is_noticed(theirs):
    def numbers(model: nn.ModuleDict) -> dict[str, Tensor]:
        return {"tokens": model["connector"](theirs.patches, **theirs.options)}

    assert unnoticed(blank(theirs.config), theirs.tensors, theirs.rules, numbers) == []


def test_pixel_shuffle_puts_a_square_row_by_row_into_a_token():
    grid = torch.arange(16.0).reshape(1, 16, 1)  # 4 rows of 4
    squares = merge_squares(grid, 2)
    assert squares.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]
    turned = merge_squares(grid, 2, transposed=True)
    assert turned[0].tolist() == squares[0, [0, 2, 1, 3]].tolist()


def test_the_first_version_of_pixel_shuffle_leaves_rows_and_columns_swapped():
    patches = torch.randn(2, 36, 4)
    config = PixelShuffleConfig(image_dim=4, text_dim=6)
    along = PixelShuffle(config)
    down = PixelShuffle(replace(config, transposed=True))
    down.load_state_dict(along.state_dict())
    expected = along(patches).unflatten(1, (3, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(down(patches), expected, rtol=0, atol=1e-6)


def test_a_linear_map_is_all_there_is_of_the_first_llava():
    connector = LinearConnector(LinearConnectorConfig(image_dim=4, text_dim=6))
    patches = torch.randn(2, 5, 4)
    expected = patches @ connector.map.weight.T + connector.map.bias
    torch.testing.assert_close(connector(patches), expected)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_neighbours(theirs):
    model = blank(theirs.config)
    load_weights(model, theirs.tensors, theirs.rules)
    connector, patches = model["connector"], theirs.patches
    first = 8 if patches.ndim == 2 else 1  # packed: eight patches are two squares
    parts = []
    for part in (slice(first), slice(first, None)):
        own = {k: v[part] if isinstance(v, Tensor) else v for k, v in theirs.options.items()}
        parts.append(connector(patches[part], **own))
    torch.testing.assert_close(theirs.expected, torch.cat(parts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("patches", [15, 25, 37])
def test_patches_that_do_not_make_up_squares_are_refused(patches):
    shuffle = PixelShuffle(PixelShuffleConfig(image_dim=4, text_dim=6))
    with pytest.raises(
        ConfigError, match=f"{patches} patches do not divide into squares of 2 by 2"
    ):
        shuffle(torch.randn(1, patches, 4))
    merger = PatchMerger(PatchMergerConfig(image_dim=4, text_dim=6))
    with pytest.raises(ConfigError, match=f"{patches} patches do not divide into squares of 4"):
        merger(torch.randn(patches, 4))


def test_more_frames_or_pictures_than_have_a_time_are_refused():
    perceiver = Perceiver(PerceiverConfig(**PERCEIVER, frames=2, media=2))
    with pytest.raises(ConfigError, match="3 frames were given, expected at most frames=2"):
        perceiver(torch.randn(1, 6, WIDE), frames=3)
    with pytest.raises(ConfigError, match="3 media were given, expected at most media=2"):
        perceiver(torch.randn(1, 6, WIDE), order=torch.tensor([2]))


@torch.no_grad()
def test_a_picture_without_a_place_stands_first_in_its_dialogue():
    torch.manual_seed(0)
    perceiver = Perceiver(PerceiverConfig(**PERCEIVER, media=2))
    patches = torch.randn(2, 6, WIDE)
    first, second = perceiver(patches), perceiver(patches, order=torch.tensor([1, 1]))
    assert torch.equal(first, perceiver(patches, order=torch.tensor([0, 0])))
    assert not torch.allclose(first, second, atol=1e-3)


def test_places_of_the_square_are_sines_and_cosines_of_column_and_row():
    table = sincos_square(3, 8).unflatten(0, (3, 3))
    for row in range(3):
        for column in range(3):
            expected = [
                wave(place * frequency)
                for place in (column, row)
                for wave in (math.sin, math.cos)
                for frequency in (1, 0.01)  # 1 / 10000 ** (i / 2)
            ]
            assert table[row, column].tolist() == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_a_square_of_the_queries_own_size_keeps_the_table_as_it_is():
    resampler = QueryResampler(QueryResamplerConfig(image_dim=WIDE, text_dim=TEXT, side=2, heads=3))
    assert resampler(torch.randn(1, 4, WIDE)).shape == (1, 4, TEXT)
    with pytest.raises(ConfigError, match="5 patches do not form a square"):
        resampler(torch.randn(1, 5, WIDE))


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (LinearConnectorConfig, {"text_dim": 0}),
        (MlpConnectorConfig, {"activation": "swish"}),
        (PixelShuffleConfig, {"side": 0}),
        (PatchMergerConfig, {"norm_eps": 0.0}),
        (PerceiverConfig, {"frames": 0}),
        (PerceiverConfig, {"head_dim": 0}),
        (QueryResamplerConfig, {"heads": 3}),
        (QueryResamplerConfig, {"text_dim": 30, "heads": 3}),
    ],
)
def test_nonsense_in_a_config_is_refused(config, setting):
    name, value = next(iter(setting.items()))
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        config(**setting)

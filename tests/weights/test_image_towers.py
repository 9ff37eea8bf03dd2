"""Image towers inside vision-language models give transformers' numbers at every layer."""

from dataclasses import replace

import pytest
import torch

import rule_slips
from decoder_references import close
from seesay.errors import WeightsError
from seesay.models.connectors import PatchMerger, PatchMergerConfig
from seesay.models.packed_vit import PackedVit, PackedVitConfig
from seesay.models.vit import Vit
from seesay.weights import image_towers as towers
from seesay.weights.connectors import patch_merger_rules, qwen3_merger_rules
from seesay.weights.tensors import load_weights
from tower_references import (
    GRIDS,
    OURS,
    PACKED_TOWERS,
    QWEN,
    SIDE,
    SQUARE_TOWERS,
    TowerReference,
    clip,
    eva,
    internvl,
    patches_of,
    qwen_vl,
    read,
    siglip,
    siglip_with_head,
    unwindowed,
)


@pytest.fixture(params=SQUARE_TOWERS | {"qwen-vl": qwen_vl}, scope="module")
def square(request) -> TowerReference:
    torch.manual_seed(0)
    return (SQUARE_TOWERS | {"qwen-vl": qwen_vl})[request.param]()


@pytest.fixture(params=PACKED_TOWERS, scope="module")
def packed(request) -> TowerReference:
    torch.manual_seed(0)
    return PACKED_TOWERS[request.param]()


class Whole(torch.nn.Module):
    """A model of which the tower is one part, so that the rules' prefixes are seen."""

    def __init__(self, config) -> None:
        super().__init__()
        self.tower = (PackedVit if isinstance(config, PackedVitConfig) else Vit)(config)


def ours(reference: TowerReference, **changes) -> torch.nn.Module:
    whole = Whole(replace(reference.config, **changes)).eval()
    load_weights(whole, reference.tensors, reference.rules)
    return whole.tower


def images(rows: int = SIDE, columns: int = SIDE) -> torch.Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(1))


# Square images


@torch.no_grad()
def test_every_layer_of_a_square_tower_matches(square):
    expected = square.hidden(images())
    assert expected[-1].std() > 0.1
    for layer in range(-len(expected), len(expected)):
        tower = ours(square, layer=layer, feature_norm=False)
        close(tower.features(images()), expected[layer])


@torch.no_grad()
@pytest.mark.parametrize("make", [siglip, siglip_with_head, eva])
def test_the_last_layer_with_its_norm_matches(make):
    torch.manual_seed(0)
    reference = make()
    expected = reference.model(images()).last_hidden_state
    close(ours(reference, feature_norm=True).features(images()), expected)
    assert not torch.allclose(expected, reference.hidden(images())[-1], atol=0.1)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(48, 48), (40, 24)])
def test_positions_are_resized_to_other_images_as_the_reference_does(square, shape):
    expected = square.hidden(images(*shape))[-1]
    close(ours(square, feature_norm=False).features(images(*shape)), expected)


def test_what_a_square_tower_is_read_as():
    assert (clip().config.pool, clip().config.has_class_token) == ("cls", True)
    assert (siglip().config.pool, siglip().config.has_class_token) == ("none", False)
    assert (eva().config.feature_norm, eva().config.has_class_token) == (True, True)
    assert (internvl().config.final_norm, internvl().config.has_class_token) == (False, True)
    assert qwen_vl().config.grid == QWEN["image_size"] // QWEN["patch_size"]


@torch.no_grad()
def test_layers_behind_the_chosen_one_are_not_computed():
    tower = ours(clip(), layer=-2)
    tower.blocks[-1].forward = None  # calling it would fail
    assert tower.features(images()).shape == (2, 17, 32)


def test_every_slip_in_a_square_towers_rules_is_noticed(square):
    norm = square.config.final_norm
    whole = Whole(replace(square.config, layer=-1, feature_norm=norm)).eval()

    def numbers(model):
        return {"features": model.tower.features(images())}

    passed = rule_slips.unnoticed(whole, square.tensors, square.rules, numbers, most=60)
    # Over the whole width, both factors come to one in each product of a query and a key.
    assert [slip for slip in passed if not ("q_norm" in slip and "k_norm" in slip)] == []


def test_a_tensor_that_no_rule_knows_is_an_error(square, packed):
    for reference in (square, packed):
        prefix = next(iter(reference.tensors)).partition(".")[0]
        with pytest.raises(WeightsError, match=r"not in the rule table: .*further"):
            load_weights(
                Whole(reference.config),
                reference.tensors | {f"{prefix}.further.weight": torch.zeros(1)},
                reference.rules,
            )


# Packed patches


@torch.no_grad()
def test_every_layer_of_a_packed_tower_matches(packed):
    expected = packed.hidden(patches_of(), GRIDS)
    assert expected[-1].std() > 0.1
    tower = ours(packed, deepstack=tuple(range(packed.config.depth)))
    features = tower.features(patches_of(), GRIDS)
    assert len(features.deepstack) == len(expected) == 4
    for state, theirs in zip(features.deepstack, expected, strict=True):
        close(state, theirs)
    close(features.patches, expected[-1])
    assert torch.equal(tower(patches_of(), GRIDS), features.patches)


def mergers(reference: TowerReference, theirs: str, count: int, **options) -> torch.nn.ModuleList:
    """The connectors behind the tower; `theirs` is their common name, with `{}` for a number."""
    make = qwen3_merger_rules if reference.config.patch_bias else patch_merger_rules
    place = "all.{}" if "{}" in theirs else "all.0"
    start = f"{theirs}.".partition("{}")[0]
    tensors = {
        name: value
        for name, value in reference.model.state_dict().items()
        if name.startswith(start)
    }
    config = PatchMergerConfig(image_dim=32, text_dim=24, norm=reference.config.norm, **options)
    whole = torch.nn.Module()
    whole.all = torch.nn.ModuleList(PatchMerger(config) for _ in range(count))
    load_weights(whole, tensors, make(theirs, place))
    return whole.all


@torch.no_grad()
def test_the_tower_with_its_merger_gives_the_tokens_of_the_language_model(packed):
    features = ours(packed).features(patches_of(), GRIDS)
    expected = packed.model(patches_of(), grid_thw=GRIDS)
    close(mergers(packed, "merger", 1)[0](features.patches), expected.pooler_output)
    close(features.patches, expected.last_hidden_state[unwindowed(packed.model, GRIDS)])


@torch.no_grad()
def test_deepstack_features_are_those_of_their_layers():
    torch.manual_seed(0)
    reference = PACKED_TOWERS["qwen3-vl"]()
    features = ours(reference).features(patches_of(), GRIDS)
    expected = reference.model(patches_of(), grid_thw=GRIDS).deepstack_features
    both = mergers(reference, "deepstack_merger_list.{}", 2, norm_merged=True)
    for merger, ours_, theirs in zip(both, features.deepstack, expected, strict=True):
        close(merger(ours_), theirs)


def test_every_slip_in_a_packed_towers_rules_is_noticed(packed):
    def numbers(model):
        features = model.tower.features(patches_of(), GRIDS)
        return {"patches": features.patches}

    whole = Whole(packed.config).eval()
    assert rule_slips.unnoticed(whole, packed.tensors, packed.rules, numbers, most=60) == []


# Configs


def test_defaults_are_those_of_transformers():
    from transformers import Blip2VisionConfig
    from transformers.models.internvl.configuration_internvl import InternVLVisionConfig
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig

    for config, defaults in (
        (Blip2VisionConfig(), towers.EVA_DEFAULTS),
        (InternVLVisionConfig(), towers.INTERNVL_DEFAULTS),
        (Qwen2VLVisionConfig(), towers.QWEN2_DEFAULTS),
        (Qwen2_5_VLVisionConfig(), towers.QWEN2_5_DEFAULTS),
        (Qwen3VLVisionConfig(), towers.QWEN3_DEFAULTS),
    ):
        theirs = config.to_dict()
        for name, value in defaults.items():
            plain = list(theirs[name]) if isinstance(theirs[name], tuple) else theirs[name]
            assert plain == value, name


# As published beside the weights, without what transformers adds to every config.
QWEN2_VL_7B = {
    **{"depth": 32, "embed_dim": 1280, "mlp_ratio": 4, "num_heads": 16, "in_chans": 3},
    **{"hidden_size": 3584, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14},
    "temporal_patch_size": 2,
}
QWEN2_5_VL_7B = {
    **{"depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420},
    **{"num_heads": 16, "in_chans": 3, "out_hidden_size": 3584, "patch_size": 14},
    **{"spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112},
    **{"fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2},
    "temporal_patch_size": 2,
}
QWEN_VL = {
    **{"heads": 16, "image_size": 448, "image_start_id": 151857, "layers": 48},
    **{"mlp_ratio": 4.9231, "output_dim": 4096, "patch_size": 14, "width": 1664},
}


def test_published_configs_are_read():
    assert read(QWEN2_VL_7B, towers.read_qwen2) == PackedVitConfig()
    assert read(QWEN2_5_VL_7B, towers.read_qwen2_5) == PackedVitConfig(
        hidden=3420,
        activation="silu",
        gated=True,
        norm="rms",
        window=8,
        full_layers=(7, 15, 23, 31),
    )
    qwen = read(QWEN_VL, towers.read_qwen)
    assert (qwen.hidden, qwen.grid, qwen.position_side) == (8192, 32, 16)


@pytest.mark.parametrize(
    ("reader", "wrong"),
    [
        ("read_clip", {"further": 1}),
        ("read_intern_vit", {"use_moe": True}),
        ("read_intern_vit", {"norm_type": "batch_norm"}),
        ("read_internvl", {"use_mask_token": True}),
        ("read_internvl", {"image_size": [448, 224]}),
        ("read_qwen2", {"in_chans": 4}),
        ("read_qwen2_5", {"spatial_patch_size": 16}),
        ("read_qwen3", {"rope_parameters": {"rope_type": "yarn"}}),
    ],
)
def test_a_setting_that_is_not_there_is_refused_by_name(reader, wrong):
    name = next(iter(wrong)).partition("_")[0]  # of a section, the setting in it is named
    with pytest.raises(WeightsError, match=f"sets vision_config.*{name}"):
        read(wrong, getattr(towers, reader))


@pytest.mark.parametrize("model_type", towers.TOWERS)
def test_the_table_of_towers_builds_each_of_them(model_type):
    reader, rules = towers.TOWERS[model_type]
    config = read({"model_type": model_type}, reader)
    assert config.depth >= 12
    assert all(rule is None or OURS in str(rule) for rule in rules("theirs", OURS).values())

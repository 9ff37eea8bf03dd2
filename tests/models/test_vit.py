import pytest
import torch

from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.layers import Block, BlockConfig
from seesay.models.vit import Vit, VitConfig

TINY = dict(image_size=32, patch_size=8, dim=16, depth=3, heads=2, hidden=32)


@pytest.mark.parametrize("eva", [False, True])
@torch.inference_mode()
def test_the_class_token_computed_alone_is_the_same_as_among_all_tokens(eva):
    torch.manual_seed(0)
    vit = Vit(VitConfig(**TINY, eva=eva)).eval()
    images = torch.randn(3, 3, 32, 32)
    tokens = vit.tokens(images)
    assert tokens.shape == (3, 17, 16)
    torch.testing.assert_close(vit(images), vit.norm_out(tokens[:, 0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"post_norm": True}, {"causal": True}, {"gated": True}])
@torch.inference_mode()
def test_leading_tokens_computed_alone_are_the_same_as_among_all(options):
    torch.manual_seed(0)
    block = Block(BlockConfig(dim=16, heads=2, hidden=32, **options))
    x = torch.randn(2, 5, 16)
    mask = None if "causal" in options else torch.tensor([True, True, True, True, False])
    mask = None if mask is None else mask.expand(2, 1, 1, 5)
    for first in (1, 2):
        alone = block(x, mask=mask, first=first)
        torch.testing.assert_close(alone, block(x, mask=mask)[:, :first], rtol=0, atol=1e-6)


@torch.inference_mode()
def test_features_are_those_of_the_chosen_layer():
    torch.manual_seed(0)
    vit = Vit(VitConfig(**TINY)).eval()
    images, kept = torch.randn(2, 3, 32, 32), []
    for block in vit.blocks:
        block.register_forward_hook(lambda module, inputs, output: kept.append(output))
    tokens = vit.tokens(images)
    for layer, expected in ((-1, tokens), (3, tokens), (-2, kept[1]), (1, kept[0])):
        vit.config = VitConfig(**TINY, layer=layer)
        torch.testing.assert_close(vit.features(images), expected)
    vit.config = VitConfig(**TINY, feature_norm=True)
    torch.testing.assert_close(vit.features(images), vit.norm_out(tokens))


@torch.inference_mode()
def test_an_image_of_another_shape_gets_resized_positions():
    torch.manual_seed(0)
    vit = Vit(VitConfig(**TINY)).eval()
    assert vit.features(torch.randn(2, 3, 48, 24)).shape == (2, 1 + 6 * 3, 16)
    # Positions that differ from row to row alone stay so where the columns are more.
    with torch.no_grad():
        vit.positions[1:] = torch.arange(4.0).repeat_interleave(4)[:, None]
    wide, high = vit._positions(4, 8), vit._positions(8, 4)
    torch.testing.assert_close(wide[0], vit.positions[0])
    torch.testing.assert_close(wide[1:, 0], torch.arange(4.0).repeat_interleave(8))
    rows = high[1:, 0].unflatten(0, (8, 4))
    torch.testing.assert_close(rows, rows[:, :1].expand(8, 4))
    assert (rows[1:, 0] > rows[:-1, 0]).all()


@pytest.mark.parametrize("rotary", ["eva", "pe"])
def test_rotary_positions_hold_for_one_shape_of_images(rotary):
    vit = Vit(VitConfig(**TINY, **{rotary: True}))
    with pytest.raises(ConfigError, match=r"image of 6 x 4 patches, expected 4 x 4") as error:
        vit(torch.randn(1, 3, 48, 32))
    assert "6 x 4 个图块" in error.value.text.zh


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 4}, r"layer=4 .* -4 to 3"),
        ({"layer": -5}, r"layer=-5"),
        ({"position_grid": 0}, "position_grid=0"),
        ({"position_grid": 3, "eva": True}, r"position_grid=3 and 4 patches along one side"),
        ({"final_norm": False}, r"final_norm=False, pool='cls' and feature_norm=False"),
        ({"final_norm": False, "pool": "none", "feature_norm": True}, "feature_norm=True"),
    ],
)
def test_features_that_no_tower_has_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        VitConfig(**TINY, **changes)


def test_a_tower_without_a_vector_of_the_image_stands_in_no_dual_encoder():
    with pytest.raises(ConfigError, match="pool='none' and a text tower") as error:
        DualEncoderConfig(image=VitConfig(**TINY, pool="none"))
    assert "pool='none'" in error.value.text.zh


@torch.inference_mode()
def test_leading_tokens_are_the_same_with_every_variation_of_internvit():
    torch.manual_seed(0)
    options = dict(norm="rms", query_key_norm=True, layer_scale=True, input_bias=False)
    vit = Vit(VitConfig(**TINY, **options)).eval()
    images = torch.randn(3, 3, 32, 32)
    tokens = vit.norm_out(vit.tokens(images)[:, 0])
    torch.testing.assert_close(vit(images), tokens, rtol=0, atol=1e-6)
    assert not hasattr(vit.blocks[0].norm1, "bias")

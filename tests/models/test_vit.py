import pytest
import torch

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

import pytest
import torch

from seesay.errors import ConfigError
from seesay.models.captioner import CaptionerConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig

PAD = 0
TOWER = dict(dim=16, depth=1, heads=2, hidden=32)
IMAGE = VitConfig(
    image_size=16, patch_size=8, pool="queries", queries=4, query_dim=8, query_heads=2, **TOWER
)
TEXT = TextConfig(vocab_size=5, context=6, pool="cls", pad_id=PAD, **TOWER)
CAPTIONER = CaptionerConfig(depth=2, heads=4, hidden=32)


@pytest.fixture
def model() -> DualEncoder:
    torch.manual_seed(0)
    model = DualEncoder(
        DualEncoderConfig(image=IMAGE, text=TEXT, embed_dim=12, captioner=CAPTIONER)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def test_a_token_is_told_from_the_image_and_what_stands_before_it(model):
    images, ids = torch.randn(2, 3, 16, 16), torch.randint(1, 5, (2, 6))
    logits = model.caption_logits(model.embed_with_tokens(images)[1], ids)
    assert logits.shape == (2, 6, 5)
    later = ids.clone()
    later[:, 4:] = 3
    changed = model.caption_logits(model.embed_with_tokens(images)[1], later)
    torch.testing.assert_close(changed[:, :4], logits[:, :4])
    assert not torch.allclose(changed[:, 4:], logits[:, 4:])
    other = model.caption_logits(model.embed_with_tokens(images.flip(0))[1], ids)
    assert (other - logits).abs().amax(2).min() > 1e-4  # at every place


def test_a_captioner_upon_other_towers_is_refused():
    with pytest.raises(ConfigError, match=r"pool='cls' .* expected a VitConfig"):
        DualEncoderConfig(text=TEXT, captioner=CAPTIONER)
    with pytest.raises(ConfigError, match="causal=False"):
        text = TextConfig(vocab_size=5, eos_id=2, causal=False, **TOWER)
        DualEncoderConfig(image=IMAGE, text=text, captioner=CAPTIONER)
    with pytest.raises(ConfigError, match="pad_id=None"):
        TextConfig(pool="cls")

import pytest
import torch

from seesay.errors import ConfigError
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig

SIZE = dict(dim=16, depth=1, heads=2, hidden=32)
VIT = VitConfig(image_size=16, patch_size=8, **SIZE)
TEXT = TextConfig(vocab_size=20, context=6, eos_id=19, **SIZE)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (VIT, TEXT),
        (VIT, BertConfig(vocab_size=20, context=6, **SIZE)),
        (ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=4, heads=2, output_dim=8), TEXT),
    ],
    ids=["vit+text", "vit+bert", "resnet+text"],
)
def test_both_towers_end_on_the_unit_sphere_of_one_space(image, text):
    if isinstance(image, ResNetConfig):
        image = ResNetConfig(image_size=32, layers=(1, 1, 1, 1), width=4, heads=2, output_dim=8)
    config = DualEncoderConfig(
        image=image, text=text, embed_dim=8, project_image=isinstance(image, VitConfig)
    )
    model = DualEncoder(config).eval()
    images = model.embed_images(torch.randn(2, 3, image.image_size, image.image_size))
    texts = model.embed_texts(torch.tensor([[3, 4, 5, 19, 0, 0]]))
    torch.testing.assert_close(images.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(1))
    assert model.logits(images, texts).shape == (2, 1)


def test_logits_are_multiplied_by_the_scale_and_not_divided():
    """tau = 0.07, so s = 1 / 0.07 = 14.29 multiplies."""
    model = DualEncoder(DualEncoderConfig(image=VIT, text=TEXT, embed_dim=8))
    vector = torch.nn.functional.normalize(torch.randn(1, 8), dim=-1)
    torch.testing.assert_close(model.logits(vector, vector), torch.tensor([[1 / 0.07]]))


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ConfigError, match=r"image_size=8 and patch_size=16 .* one patch"):
        VitConfig(image_size=8, patch_size=16)


def test_a_text_that_could_not_end_is_refused():
    with pytest.raises(ConfigError, match="eos_id=49407 is not one of vocab_size=100"):
        TextConfig(vocab_size=100)

"""Preprocessing equals the published implementations', on pictures of every awkward shape."""

import numpy as np
import pytest
import torch
from cn_clip.clip.utils import image_transform as cn_clip_transform
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from open_clip.transform import image_transform as open_clip_transform
from PIL import Image
from skimage import data as photographs
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import (
    ChineseCLIPImageProcessorPil,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError

HALF = (0.5, 0.5, 0.5)
SQUASH = {"height": 64, "width": 64}
CLIP = dict(size={"shortest_edge": 64}, crop_size=SQUASH)

# (reference, our settings)
REFERENCES = {
    "clip": (CLIPImageProcessorPil(**CLIP), dict(size=64)),
    "clip at an odd size": (
        CLIPImageProcessorPil(size={"shortest_edge": 63}, crop_size={"height": 63, "width": 63}),
        dict(size=63),
    ),
    "siglip bicubic": (
        SiglipImageProcessorPil(size=SQUASH, resample=Image.Resampling.BICUBIC),
        dict(size=64, resize="squash", crop=False, mean=HALF, std=HALF),
    ),
    "siglip bilinear": (
        SiglipImageProcessorPil(size=SQUASH, resample=Image.Resampling.BILINEAR),
        dict(size=64, resize="squash", interpolation="bilinear", mean=HALF, std=HALF),
    ),
    "chinese-clip": (
        # the published preprocessor_config.json: both sides pressed to the size, no crop
        ChineseCLIPImageProcessorPil(size=SQUASH, do_center_crop=False),
        dict(size=64, resize="squash"),
    ),
    "cn_clip": (cn_clip_transform(64), dict(size=64, resize="squash")),
    "open_clip": (
        open_clip_transform(64, is_train=False, mean=OPENAI_MEAN, std=OPENAI_STD),
        dict(size=64, crop_rounding="half_even"),
    ),
    "open_clip at an odd size": (
        open_clip_transform(63, is_train=False, mean=OPENAI_MEAN, std=OPENAI_STD),
        dict(size=63, crop_rounding="half_even"),
    ),
    "open_clip squash": (
        open_clip_transform(
            64, is_train=False, mean=HALF, std=HALF, resize_mode="squash", interpolation="bilinear"
        ),
        dict(size=64, resize="squash", interpolation="bilinear", mean=HALF, std=HALF),
    ),
}


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def expected(reference, image: Image.Image) -> torch.Tensor:
    if hasattr(reference, "image_mean"):  # transformers
        return reference(image, return_tensors="pt")["pixel_values"][0]
    return reference(image)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(
    "shape",
    [(64, 64), (63, 64), (67, 64), (64, 71), (500, 375), (375, 501), (13, 9), (1, 5), (640, 97)],
    ids=str,
)
def test_preprocessing_equals_the_reference(name, shape):
    reference, ours = REFERENCES[name]
    image = noise(*shape)
    actual = ImageTransform(ImageTransformConfig(**ours))(image)
    torch.testing.assert_close(actual, expected(reference, image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", REFERENCES)
@settings(max_examples=15)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_preprocessing_equals_the_reference_for_any_shape(name, width, height):
    assume(max(width, height) <= 16 * min(width, height))  # a longer strip: see the test below
    reference, ours = REFERENCES[name]
    image = noise(width, height)
    actual = ImageTransform(ImageTransformConfig(**ours))(image)
    torch.testing.assert_close(actual, expected(reference, image), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", REFERENCES)
def test_preprocessing_equals_the_reference_on_a_photograph(name):
    reference, ours = REFERENCES[name]
    image = Image.fromarray(photographs.chelsea())
    actual = ImageTransform(ImageTransformConfig(**ours))(image)
    torch.testing.assert_close(actual, expected(reference, image), rtol=0, atol=1e-5)


def test_crop_roundings_differ_where_the_margin_is_three():
    """Else the two families' rules could be swapped unseen."""
    image = noise(67, 64)
    down = ImageTransform(ImageTransformConfig(size=64))(image)
    half_even = ImageTransform(ImageTransformConfig(size=64, crop_rounding="half_even"))(image)
    assert torch.equal(down[..., 1:], half_even[..., :-1])


def test_a_strip_costs_one_square_and_differs_from_the_reference_by_one_step_at_most():
    image = noise(1700, 100)
    actual = ImageTransform(ImageTransformConfig(size=64)).pixels(image)
    top = 64 * 1700 // 100
    left = (top - 64) // 2
    whole = image.resize((top, 64), Image.Resampling.BICUBIC).crop((left, 0, left + 64, 64))
    assert np.abs(np.asarray(whole).astype(int) - actual.numpy()).max() <= 1
    longest = Image.new("RGB", (60_000, 1))  # would take 39 gigabytes
    assert ImageTransform(ImageTransformConfig()).pixels(longest).shape == (224, 224, 3)


def test_normalising_a_batch_equals_normalising_each():
    transform = ImageTransform(ImageTransformConfig(size=32))
    images = [noise(40, 50), noise(90, 33)]
    batch = transform.normalise(torch.stack([transform.pixels(image) for image in images]))
    assert torch.equal(batch, torch.stack([transform(image) for image in images]))
    assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("size", 0, "size=0"),
        ("resize", "longest", "resize='longest'"),
        ("crop", False, "crop=False"),
        ("crop_rounding", "up", "crop_rounding='up'"),
        ("interpolation", "bicubik", "interpolation='bicubik'.*bicubic"),
        ("std", (1.0, 0.0, 1.0), r"std=\(1.0, 0.0, 1.0\)"),
    ],
)
def test_impossible_settings_are_refused_with_their_value(name, value, words):
    config = ImageTransformConfig()
    object.__setattr__(config, name, value)  # past the type check, which users do not have
    with pytest.raises(ConfigError, match=words):
        config.__post_init__()

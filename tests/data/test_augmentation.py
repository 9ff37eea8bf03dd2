import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seesay.data.augmentation import (
    AugmentationConfig,
    augment,
    change_colours,
    random_crop,
    turn_hue,
)
from seesay.errors import ConfigError

STRONG = AugmentationConfig(crop_scale=(0.2, 1.0), flip=0.5, jitter=0.8, greyscale=0.3)
NONE = AugmentationConfig(crop_scale=(1.0, 1.0))


def photograph(width=40, height=30, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width * 2, height * 2), Image.Resampling.BICUBIC)


def pixels(image):
    return np.asarray(image).astype(int)


@given(st.integers(0, 2**31))
def test_the_same_generator_gives_the_same_image(seed):
    one, two = (augment(photograph(), STRONG, 24, np.random.default_rng(seed)) for _ in range(2))
    assert (pixels(one) == pixels(two)).all()


def test_other_generators_give_other_images():
    seen = {
        augment(photograph(), STRONG, 24, np.random.default_rng(s)).tobytes() for s in range(20)
    }
    assert len(seen) == 20


def test_nothing_asked_for_changes_nothing():
    image = photograph()
    assert (pixels(augment(image, NONE, 24, np.random.default_rng(0))) == pixels(image)).all()


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_a_crop_of_any_image_has_the_size_asked_for(width, height, seed):
    image = Image.new("RGB", (width, height), (9, 8, 7))
    cropped = random_crop(image, STRONG, 16, np.random.default_rng(seed))
    assert cropped.size == (16, 16)
    assert (pixels(cropped) == (9, 8, 7)).all()


def test_crops_keep_the_asked_part_of_the_area():
    # Red rises with x and green with y, so a crop's own range tells how much of the image it kept.
    x, y = np.meshgrid(np.arange(200), np.arange(200))
    image = Image.fromarray(np.stack([x, y, x * 0], -1).astype(np.uint8))
    config = AugmentationConfig(crop_scale=(0.25, 0.5), crop_ratio=(0.8, 1.25))
    for seed in range(50):
        crop = pixels(random_crop(image, config, 100, np.random.default_rng(seed)))
        width, height = np.ptp(crop[..., 0]) + 2, np.ptp(crop[..., 1]) + 2
        assert 0.23 < width * height / 200**2 < 0.54
        assert 0.75 < width / height < 1.35


def test_a_flip_turns_left_and_right():
    image = photograph()
    config = AugmentationConfig(crop_scale=(1.0, 1.0), flip=1.0)
    flipped = pixels(augment(image, config, 24, np.random.default_rng(0)))
    assert (flipped == pixels(image)[:, ::-1]).all()


def test_greyscale_leaves_no_colour():
    config = AugmentationConfig(crop_scale=(1.0, 1.0), greyscale=1.0)
    grey = pixels(augment(photograph(), config, 24, np.random.default_rng(0)))
    assert (grey == grey[..., :1]).all()


def test_colours_change_within_their_bounds():
    config = AugmentationConfig(brightness=0.3, contrast=0.0, saturation=0.0, hue=0.0)
    image = Image.new("RGB", (4, 4), (100, 100, 100))
    levels = [
        pixels(change_colours(image, config, np.random.default_rng(s)))[0, 0, 0] for s in range(99)
    ]
    assert 69 <= min(levels) < 75 and 125 < max(levels) <= 130


def test_a_third_of_the_colour_circle_turns_red_into_green():
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    assert turn_hue(red, 1 / 3).getpixel((0, 0)) == pytest.approx((0, 255, 0), abs=6)
    assert turn_hue(red, 1.0).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (1.0, 0.5)},
        {"hue": 0.6},
        {"crop_ratio": (2.0, 1.0)},
        {"jitter": -0.1},
    ],
)
def test_impossible_settings_are_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AugmentationConfig(**wrong)

"""Patches of Qwen's towers: sizes, layout and values against transformers and qwen-vl-utils."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from seesay.data import native_resolution as native
from seesay.errors import ConfigError, ImageError

MANY = 2_000  # more find nothing new: 20,000 were compared once
CONFIGS = {"qwen2": native.QWEN2_VL, "qwen3": native.QWEN3_VL}


def sizes(count: int, seed: int, least: int = 1) -> list[tuple[int, int]]:
    draw = random.Random(seed)
    result = []
    while len(result) < count:
        size = round(2 ** draw.uniform(0, 13)), round(2 ** draw.uniform(0, 13))
        if min(size) >= least and max(size) / min(size) <= 200:
            result.append(size)
    return result


def picture(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(sum(size))
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def reference_size(size, factor, least, most):
    """qwen-vl-utils, smart_resize, with (height, width) turned round."""
    width, height = size
    rows = max(factor, round(height / factor) * factor)
    columns = max(factor, round(width / factor) * factor)
    if rows * columns > most:
        beta = math.sqrt(height * width / most)
        rows = math.floor(height / beta / factor) * factor
        columns = math.floor(width / beta / factor) * factor
    elif rows * columns < least:
        beta = math.sqrt(least / (height * width))
        rows = math.ceil(height * beta / factor) * factor
        columns = math.ceil(width * beta / factor) * factor
    return columns, rows


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_picture_has_the_size_of_the_reference(config):
    f = config.factor
    for size in sizes(MANY, 0):
        assert native.smart_resize(size, config) == reference_size(
            size, f, 4 * f * f, 16384 * f * f
        )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_picture_that_is_not_tiny_has_the_size_of_transformers(config):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    f = config.factor
    for least, most in ((4, 16384), (64, 1280), (256, 256)):
        bounded = replace(config, least_tokens=least, most_tokens=most)
        for size in sizes(MANY // 3, most, least=f // 2 + 1):
            height, width = smart_resize(*size[::-1], f, least * f * f, most * f * f)
            assert native.smart_resize(size, bounded) == (width, height), size
            grid = native.patch_grid((width, height), bounded)
            assert grid.tokens(bounded) == width * height // f**2


def test_transformers_makes_a_thin_picture_smaller_than_the_reference():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    assert native.smart_resize((2000, 10), native.QWEN2_VL) == (1988, 28)
    assert smart_resize(10, 2000) == (28, 812)


def test_no_side_of_a_long_picture_becomes_nothing():
    few = replace(native.QWEN2_VL, most_tokens=16)
    assert reference_size((4000, 30), 28, 4 * 784, 16 * 784)[1] == 0  # the reference's own slip
    assert native.smart_resize((4000, 30), few) == (1288, 28)


@pytest.mark.parametrize("size", [(2010, 10), (0, 5), (7, 7 * 201)], ids=str)
def test_a_picture_that_is_too_narrow_is_refused(size):
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]} pixels is too narrow"):
        native.smart_resize(size, native.QWEN2_VL)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_video_has_the_size_of_the_reference(config):
    f = config.factor
    draw = random.Random(5)
    for size in sizes(MANY, 1):
        frames = round(2 ** draw.uniform(0, 12))
        least, total = 128 * f * f, 128000 * f * f * 0.9
        most = max(min(768 * f * f, total / frames * 2), int(least * 1.05))
        expected = tuple(max(f, side) for side in reference_size(size, f, least, most))
        assert native.smart_resize_video(size, frames, config) == expected, (size, frames)


def test_a_video_of_qwen2_has_the_tokens_of_transformers_with_its_cap():
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import smart_resize

    draw = random.Random(6)
    for size in sizes(MANY, 2, least=15):
        frames = round(2 ** draw.uniform(1, 9.6))
        total = int(128000 * 784 * 0.9)  # Qwen2VLVideoProcessor.resize with cap_pixels_per_frame
        most = max(min(768 * 784, total * 2 // frames), int(128 * 784 * 1.05))
        height, width = smart_resize(*size[::-1], 28, 128 * 784, most)
        assert native.smart_resize_video(size, frames, native.QWEN2_VL) == (width, height)


def test_a_video_of_qwen3_has_the_tokens_of_transformers_with_its_cap():
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    clip = 115_200 * 1024 * 2
    processor = Qwen3VLVideoProcessor(
        size={"shortest_edge": 128 * 1024, "longest_edge": clip}, cap_pixels_per_frame=True
    )
    draw = random.Random(7)
    compared = 0
    for size in sizes(MANY, 3, least=32):
        frames = 2 * round(2 ** draw.uniform(1, 8.6))
        ours = native.smart_resize_video(size, frames, native.QWEN3_VL)
        if math.prod(round(side / 32) * 32 for side in size) < 128 * 1024:
            continue  # its lower bound holds for the whole video, the reference's for a frame
        grid = native.patch_grid(ours, native.QWEN3_VL, frames=frames)
        assert grid.patches == processor.get_num_of_video_patches(frames, *size[::-1])
        compared += 1
    assert compared > MANY // 4


@pytest.mark.parametrize("size", [(300, 200), (57, 56), (20, 300), (1000, 700), (90, 31)], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_patches_of_a_picture_are_those_of_transformers(name, size):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    config = CONFIGS[name]
    f = config.factor
    processor = Qwen2VLImageProcessorPil(
        patch_size=config.patch,
        size={"shortest_edge": 4 * f * f, "longest_edge": 16384 * f * f},
        image_mean=config.mean,
        image_std=config.std,
    )
    image = picture(size)
    theirs = processor(image, return_tensors="np")
    patches, grid = native.image_patches(image, config)
    assert [grid.time, grid.height, grid.width] == theirs["image_grid_thw"][0].tolist()
    assert patches.shape == (grid.patches, config.patch_dim)
    np.testing.assert_allclose(
        native.normalise_patches(patches, config), theirs["pixel_values"], rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("frames", [1, 2, 5, 6])
def test_patches_of_a_video_are_those_of_transformers(frames):
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    rng = np.random.default_rng(frames)
    video = rng.integers(0, 256, (frames, 96, 160, 3), dtype=np.uint8)
    theirs = Qwen3VLVideoProcessor().patchify(
        torch.from_numpy(video).permute(0, 3, 1, 2)[None].float(), 16, 2, 2
    )
    patches, grid = native.pack_patches(video, native.QWEN3_VL)
    assert (grid.time, grid.height, grid.width) == theirs[1:]
    np.testing.assert_array_equal(patches, theirs[0][0].numpy())


def test_frames_of_a_video_are_resized_to_one_size():
    frames = [picture((320, 240)) for _ in range(3)]
    patches, grid = native.video_patches(frames, native.QWEN2_VL)
    assert native.smart_resize_video((320, 240), 3, native.QWEN2_VL) == (392, 280)
    assert grid == native.PatchGrid(2, 20, 28)
    assert patches.shape == (grid.patches, native.QWEN2_VL.patch_dim)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 0}, "patch=0"),
        ({"std": (0.0, 1.0, 1.0)}, "are impossible"),
        ({"least_tokens": 9, "most_tokens": 8}, r"\(9, 8\) of a picture"),
        ({"frame_least_tokens": 0}, r"\(0, 768\) of a frame"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words):
    with pytest.raises(ConfigError, match=words) as refused:
        replace(native.QWEN2_VL, **change)
    assert refused.value.text.zh != refused.value.text.en

"""Costs that are known before anything runs, against what the pixels then become."""

import math

import numpy as np
import pytest
from PIL import Image

import original_counts
from seesay.data import native_resolution, tiling
from seesay.data import token_budget as budget
from seesay.data.video import FrameSampling, sample_frames
from seesay.errors import ConfigError, ImageError

SIZES = ((800, 600), (1920, 1080), (100, 100), (300, 100), (1240, 1754))
# Tokens of each of SIZES. The first three columns were measured with the published processors; a
# page is 2 x 3 tiles of InternVL and a thumbnail.
KNOWN = {
    "llava-1.5": (576, 576, 576, 576, 576),
    "internvl-2.5": (3328, 2304, 256, 1024, 1792),
    "internvl-2.5-max-6": (1792, 768, 256, 1024, 1792),
    "qwen2-vl": (609, 2691, 16, 44, 2772),  # transformers' default bound of 1,280 gives 1,222
    "blip-2": (32, 32, 32, 32, 32),
}


@pytest.mark.parametrize("name", KNOWN)
def test_pictures_cost_what_published_code_makes_of_them(name):
    assert tuple(budget.picture_cost(size, name).tokens for size in SIZES) == KNOWN[name]


def test_llava_next_costs_what_either_code_makes_of_it():
    tokens = [budget.picture_cost(size, "llava-1.6").tokens for size in SIZES[:4]]
    assert tokens == [2340, 1948, 1176, 776]
    tokens = [budget.picture_cost(size, "llava-1.6-hf").tokens for size in SIZES[:4]]
    assert tokens == [2340, 1948, 1176, 1360]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["llava-1.6", "llava-onevision", "internvl-2", "qwen2-vl"])
def test_the_image_tower_sees_as_many_patches_as_were_counted(name, size):
    image = Image.new("RGB", size)
    cost = budget.picture_cost(size, name)
    rule = budget.SCHEMES[name].picture
    if isinstance(rule, tiling.AnyResConfig):
        tiles = tiling.anyres_tiles(image, rule)
    elif isinstance(rule, tiling.DynamicTilesConfig):
        tiles = tiling.dynamic_tiles(image, rule)
    else:
        patches, grid = native_resolution.image_patches(image, rule)
        assert cost.patches == len(patches) and cost.tokens == grid.tokens(rule)
        assert cost.input_size == (grid.width * rule.patch, grid.height * rule.patch)
        return
    assert cost.squares == len(tiles)
    assert cost.input_size == tiles.shape[2:0:-1]
    assert cost.patches == len(tiles) * (tiles.shape[1] // 14) ** 2


@pytest.mark.parametrize("name", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl"])
def test_a_video_of_qwen_costs_what_its_frames_become(name):
    sampling = FrameSampling(fps=2.0)
    numbers = sample_frames([n / 10 for n in range(45)], sampling)
    cost = budget.video_cost((90, 60), 4.5, name, sampling, fps=10.0)
    rule = budget.SCHEMES[name].picture
    frames = [Image.fromarray(np.zeros((60, 90, 3), np.uint8))] * len(numbers)
    patches, grid = native_resolution.video_patches(frames, rule)
    assert (cost.frames, cost.patches, cost.tokens) == (8, len(patches), grid.tokens(rule))
    assert cost.marks == (2 * grid.time if name == "qwen3-vl" else 2)


def test_videos_of_other_families_cost_a_number_for_each_frame():
    eight = budget.video_cost((640, 480), 60.0, "internvl-2.5")
    assert (eight.tokens, eight.marks, eight.frames) == (8 * 256, 16, 8)
    many = budget.video_cost((640, 480), 60.0, "llava-onevision")
    assert (many.tokens, many.marks, many.frames) == (32 * 196 + 1, 0, 32)
    assert many.patches == 32 * 27 * 27
    short = budget.video_cost((640, 480), 0.2, "internvl-2.5", fps=10.0)
    assert short.frames == 2


def test_a_long_video_of_qwen_stays_below_its_bound():
    for seconds in (10, 100, 380, 3600):
        cost = budget.video_cost((1920, 1080), float(seconds), "qwen2-vl")
        assert cost.frames == min(768, 2 * seconds)
        assert cost.tokens <= 115_200
    assert budget.video_cost((1920, 1080), 384.0, "qwen2-vl").tokens > 100_000


def test_documents_cost_their_pages():
    one = budget.picture_cost(budget.A4_AT_150_DPI, "qwen2-vl")
    ten = budget.document_cost(10, "qwen2-vl")
    assert (ten.total, ten.patches, ten.squares) == (10 * one.total, 10 * one.patches, 10)


def test_what_fits_is_the_largest_that_fits():
    pages = budget.most_pages(32_768, "qwen2-vl", text=1000)
    assert budget.document_cost(pages, "qwen2-vl").fits(32_768, text=1000)
    assert not budget.document_cost(pages + 1, "qwen2-vl").fits(32_768, text=1000)
    assert budget.most_pages(100, "qwen2-vl") == 0
    seconds = budget.longest_video(32_768, (640, 480), "qwen2-vl", text=500)
    assert 0 < seconds < 24 * 3600
    assert budget.video_cost((640, 480), float(seconds), "qwen2-vl").fits(32_768, text=500)
    assert not budget.video_cost((640, 480), seconds + 1.0, "qwen2-vl").fits(32_768, text=500)
    assert budget.longest_video(8192, (640, 480), "internvl-2") == 24 * 3600  # always 8 frames


@pytest.mark.parametrize("name", budget.SCHEMES)
def test_every_scheme_has_a_context_that_a_picture_fits_into(name):
    cost = budget.picture_cost((640, 480), name)
    assert cost.fits(budget.SCHEMES[name].context)
    assert not cost.fits(cost.total - 1) and cost.fits(cost.total)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: budget.picture_cost((9, 9), "gpt"), ConfigError, "no scheme is called 'gpt'"),
        (lambda: budget.picture_cost((0, 9), "qwen2-vl"), ConfigError, "0 x 9 pixels"),
        (lambda: budget.picture_cost((9, 9000), "qwen2-vl"), ImageError, "too narrow"),
        (lambda: budget.document_cost(0, "qwen2-vl"), ConfigError, "0 pages"),
        (lambda: budget.video_cost((9, 9), 5.0, "llava-1.5"), ConfigError, "reads no videos"),
        (lambda: budget.video_cost((9, 9), math.nan, "qwen2-vl"), ConfigError, "nan s"),
    ],
)
def test_what_cannot_be_counted_is_refused(call, error, words):
    with pytest.raises(error, match=words) as refused:
        call()
    assert refused.value.text.zh != refused.value.text.en


PUBLISHED = {
    "internvl-2.5": original_counts.internvl,
    "llava-onevision-hf": original_counts.onevision,
    "qwen2-vl": original_counts.qwen("Qwen2VL"),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_two_pages_and_a_video_cost_what_transformers_makes_of_them(name):
    page = Image.new("RGB", budget.A4_AT_150_DPI)
    pages = budget.document_cost(2, name)
    assert pages.total == PUBLISHED[name]("hf", (page, page))
    seconds = float(original_counts.SECONDS)
    video = budget.video_cost(original_counts.FRAME, seconds, name, fps=10.0)
    assert video.total == PUBLISHED[name]("hf", None)


def test_pictures_beside_others_are_not_cut_by_onevision():
    page, name = budget.A4_AT_150_DPI, "llava-onevision"
    assert budget.document_cost(1, name).tokens == 7353
    assert budget.pages_cost([page, page[::-1]], name).tokens == 2 * 730
    assert budget.pages_cost([page, page[::-1]], name).squares == 2
    assert budget.most_pages(32_768, name) == 32_768 // 730
    assert budget.most_pages(7_353, name) == 10 and budget.most_pages(1_000, name) == 0

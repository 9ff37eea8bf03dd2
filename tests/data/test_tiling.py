"""Tiles of pictures: sizes, counts and pixels against transformers and the original formulas."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from seesay.data import tiling
from seesay.data.squares import OPENAI_MEAN
from seesay.errors import ConfigError

MANY = 2_000  # more find nothing new: 20,000 were compared once
PICTURES = (
    *[(640, 480), (480, 640), (333, 1000), (1000, 333), (336, 336), (100, 100), (300, 100)],
    *[(1, 1), (7, 900), (900, 7), (449, 447), (1344, 672), (671, 673), (50, 1200)],
)


def sizes(count: int, seed: int) -> list[tuple[int, int]]:
    """Widths and heights of every order of magnitude, so that small and long ones are common."""
    draw = random.Random(seed)
    return [
        (round(2 ** draw.uniform(0, 12)), round(2 ** draw.uniform(0, 12))) for _ in range(count)
    ]


def picture(size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(sum(size))
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def hf_pinpoints(config: tiling.AnyResConfig) -> list[list[int]]:
    return [[height, width] for width, height in config.resolutions]


def original_canvas(size, resolutions):
    """LLaVA's rule: most effective pixels, then least waste, then the first."""
    scored = []
    for number, (width, height) in enumerate(resolutions):
        scale = min(width / size[0], height / size[1])
        used = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        scored.append((-used, width * height - used, number, (width, height)))
    return min(scored)[-1]


def test_anyres_chooses_the_canvas_of_the_original_code():
    for size in sizes(MANY, 0):
        for config in (tiling.LLAVA_NEXT, tiling.ONEVISION):
            expected = original_canvas(size, config.resolutions)
            assert tiling.anyres_resolution(size, config) == expected, size


def test_anyres_chooses_the_canvas_of_transformers():
    from transformers.image_processing_utils import select_best_resolution

    for size in sizes(MANY, 1):
        for config in (tiling.LLAVA_NEXT_HF, tiling.ONEVISION_HF):
            height, width = select_best_resolution(size[::-1], hf_pinpoints(config))
            assert tiling.anyres_resolution(size, config) == (width, height), size


def hf_counter(config: tiling.AnyResConfig, maximum: str):
    """The token count of transformers' processor, without a tokenizer."""
    from types import SimpleNamespace

    from transformers.models.llava_onevision.processing_llava_onevision import (
        LlavaOnevisionProcessor,
    )

    processor = object.__new__(LlavaOnevisionProcessor)
    processor.image_processor = SimpleNamespace(image_grid_pinpoints=hf_pinpoints(config))
    processor.num_image_tokens = config.side**2
    processor.vision_aspect_ratio = maximum
    return lambda width, height: processor._get_number_of_features(
        height, width, config.tile, config.tile
    )


@pytest.mark.parametrize(
    ("config", "maximum"),
    [(tiling.LLAVA_NEXT_HF, "anyres_max_1000"), (tiling.ONEVISION_HF, "anyres_max_9")],
    ids=["llava-next", "onevision"],
)
def test_anyres_counts_the_tokens_of_transformers(config, maximum):
    count = hf_counter(config, maximum)
    for width, height in sizes(MANY, 2):
        assert tiling.anyres_layout((width, height), config).tokens == count(width, height)


def test_the_feature_map_loses_what_the_original_code_cuts_off():
    config = tiling.ONEVISION
    for width, height in sizes(MANY, 3):
        layout = tiling.anyres_layout((width, height), config)
        columns, rows = (count * 27 for count in layout.grid)
        if width / height > columns / rows:
            cut = (rows - int(height * (columns / width))) // 2
            assert layout.kept == (0, cut, columns, rows - cut)
        else:
            cut = (columns - int(width * (rows / height))) // 2
            assert layout.kept == (cut, 0, columns - cut, rows)


def test_the_two_readings_of_the_published_list_differ_for_small_pictures():
    # The figures are those of either code; the same weights, and three quarters more tokens.
    assert tiling.anyres_layout((300, 100), tiling.LLAVA_NEXT).tokens == 776
    assert tiling.anyres_layout((300, 100), tiling.LLAVA_NEXT_HF).tokens == 1360
    assert tiling.anyres_layout((800, 600), tiling.LLAVA_NEXT).tokens == 2340
    assert tiling.anyres_layout((800, 600), tiling.LLAVA_NEXT_HF).tokens == 2340


def test_rounding_decides_when_a_float_is_just_short():
    # 55 * (24 / 88) is 15 on paper and 14.999999999999998 in floats.
    down = tiling.anyres_layout((88, 55), tiling.LLAVA_NEXT)
    near = tiling.anyres_layout((88, 55), replace(tiling.LLAVA_NEXT, rounding="hf"))
    assert (down.kept, down.tokens) == ((0, 17, 24, 31), 926)
    assert (near.kept, near.tokens) == ((0, 16, 24, 32), 976)


@pytest.mark.parametrize("size", PICTURES, ids=str)
@pytest.mark.parametrize("name", ["llava_next", "onevision"])
def test_anyres_tiles_are_those_of_transformers(size, name):
    image = picture(size)
    if name == "llava_next":
        from transformers.models.llava_next.image_processing_pil_llava_next import (
            LlavaNextImageProcessorPil as Processor,
        )

        config, options = (
            tiling.LLAVA_NEXT_HF,
            {
                "size": {"shortest_edge": 336},
                "crop_size": {"height": 336, "width": 336},
            },
        )
    else:
        from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
            LlavaOnevisionImageProcessorPil as Processor,
        )

        config, options = tiling.ONEVISION_HF, {}
    processor = Processor(
        do_rescale=False,
        do_normalize=False,
        image_grid_pinpoints=hf_pinpoints(config),
        **options,
    )
    theirs = processor(image, return_tensors="np")["pixel_values"][0]
    ours = tiling.anyres_tiles(image, config)
    assert len(ours) == tiling.anyres_layout(size, config).tiles
    np.testing.assert_array_equal(ours, theirs.transpose(0, 2, 3, 1))


def test_the_original_cuts_a_small_wide_picture_from_a_tall_canvas():
    tiles = tiling.anyres_tiles(picture((300, 100)), tiling.LLAVA_NEXT)
    layout = tiling.anyres_layout((300, 100), tiling.LLAVA_NEXT)
    assert (layout.canvas, layout.resized, layout.offset) == ((336, 672), (336, 113), (0, 279))
    assert tiles.shape == (3, 336, 336, 3)
    assert not tiles[1, :279].any() and tiles[1, 279:].any()  # black above the picture


def original_grid(size, least, most, tile):
    """InternVL's find_closest_aspect_ratio, over its own order of candidates."""
    ratios = {
        (i, j)
        for n in range(least, most + 1)
        for i in range(1, n + 1)
        for j in range(1, n + 1)
        if least <= i * j <= most
    }
    best, closest = (1, 1), float("inf")
    for ratio in sorted(ratios, key=lambda one: one[0] * one[1]):
        distance = abs(size[0] / size[1] - ratio[0] / ratio[1])
        if distance < closest:
            best, closest = ratio, distance
        elif distance == closest and size[0] * size[1] > 0.5 * tile * tile * ratio[0] * ratio[1]:
            best = ratio
    return best


@pytest.mark.parametrize("most", [1, 6, 12])
def test_dynamic_grids_are_those_of_the_original_code_and_of_transformers(most):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

    config = replace(tiling.INTERNVL, most=most)
    squares = [(side, side) for side in range(1, 2000, 7)]  # where grids of one shape compete
    for size in sizes(MANY // 3, most) + squares:
        grid = tiling.dynamic_grid(size, config)
        assert grid == original_grid(size, 1, most, 448), size
        assert grid == get_optimal_tiled_canvas(size[::-1], (448, 448), 1, most), size


def test_a_large_square_gets_more_tiles_than_a_small_one():
    grids = [tiling.dynamic_grid((side, side), tiling.INTERNVL) for side in (300, 700, 1000)]
    assert grids == [(1, 1), (2, 2), (3, 3)]
    assert tiling.dynamic_tile_count((800, 600), tiling.INTERNVL) == 13
    assert tiling.dynamic_tile_count((300, 300), tiling.INTERNVL) == 1


@pytest.mark.parametrize("size", PICTURES, ids=str)
def test_dynamic_tiles_are_those_of_transformers(size):
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    processor = GotOcr2ImageProcessorPil(
        size={"height": 448, "width": 448},
        do_rescale=False,
        do_normalize=False,
        crop_to_patches=True,
    )
    image = picture(size)
    theirs = processor(image, return_tensors="np")["pixel_values"]
    ours = tiling.dynamic_tiles(image, tiling.INTERNVL)
    assert len(ours) == tiling.dynamic_tile_count(size, tiling.INTERNVL)
    np.testing.assert_array_equal(ours, theirs.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("size", PICTURES, ids=str)
def test_a_padded_square_is_that_of_transformers(size):
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    image = picture(size)
    theirs = LlavaImageProcessorPil().pad_to_square(
        np.asarray(image).transpose(2, 0, 1), tuple(int(value * 255) for value in OPENAI_MEAN)
    )
    ours = tiling.pad_to_square(image, OPENAI_MEAN)
    np.testing.assert_array_equal(np.asarray(ours), theirs.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: tiling.AnyResConfig(resolutions=((300, 336),)), "tiles of 336"),
        (lambda: tiling.AnyResConfig(resolutions=()), "at least one canvas"),
        (lambda: replace(tiling.LLAVA_NEXT, patch=0), "patch=0"),
        (lambda: replace(tiling.LLAVA_NEXT, most_tiles=0), "most_tiles=0"),
        (lambda: tiling.DynamicTilesConfig(least=3, most=2), "least=3"),
        (lambda: tiling.dynamic_grid((0, 5), tiling.INTERNVL), "0 x 5"),
        (lambda: tiling.anyres_layout((5, -1), tiling.LLAVA_NEXT), "5 x -1"),
    ],
)
def test_settings_and_sizes_that_make_no_sense_are_refused(build, words):
    with pytest.raises(ConfigError, match=words) as refused:
        build()
    assert refused.value.text.zh != refused.value.text.en

"""Weights in 8 bits: how near they are, when they are exact, and what a damaged file says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from seesay.errors import DataError, WeightsError
from seesay.inference.embedder import load
from seesay.inference.text_embedder import load_texts
from seesay.weights.bundle import load_bundle
from seesay.weights.quantization import dequantize, quantize
from seesay.weights.saving import save_bundle
from tiny_checkpoint import write_checkpoint

MINI = Path(__file__).parents[2] / "src" / "seesay" / "weights" / "seesay-mini"


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(3, 64), (5, 7), (4, 1, 3, 3), (2, 8, 2, 2), (1, 1), (0, 32)])
def test_weights_are_off_by_a_254th_of_the_largest_of_their_block(shape):
    weights = 0.02 * random(*shape)
    numbers, scales = quantize(weights)
    again = dequantize(numbers, scales)
    assert (numbers.dtype, scales.dtype, again.shape) == (np.int8, np.float16, shape)
    blocks = (*scales.shape, -1) if weights.size else scales.shape
    error = np.abs(again - weights).reshape(blocks)
    largest = np.abs(weights).reshape(blocks)
    if weights.size:
        assert (error.max(axis=2) <= 1.01 * largest.max(axis=2) / 254).all()


@pytest.mark.parametrize("steps", [8, 7, 5])
def test_weights_of_a_4_bit_grid_keep_their_exact_values(steps):
    generator = np.random.default_rng(1)
    grid = generator.integers(-steps, steps, (300, 4, 32)).astype(np.float32)
    grid[..., 0] = -steps  # as Q4_0 has it: the largest number is at the end of its grid
    scale = generator.uniform(-0.01, 0.01, (300, 4, 1)).astype(np.float16).astype(np.float32)
    weights = (grid * scale).reshape(300, 128)
    np.testing.assert_array_equal(dequantize(*quantize(weights)), weights)


def test_zeros_stay_zeros():
    np.testing.assert_array_equal(dequantize(*quantize(np.zeros((2, 64), np.float32))), 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_no_scale_reaches_are_refused(value):
    weights = random(2, 32)
    weights[1, 3] = value
    with pytest.raises(DataError, match="cannot be stored in 8 bits"):
        quantize(weights)


def test_a_model_in_8_bits_is_loaded_as_any_other_and_gives_nearly_the_same_vectors(tmp_path):
    mini = load_bundle(MINI)
    save_bundle(tmp_path / "m", mini, torch.int8)
    whole = (MINI / "model.safetensors").stat().st_size
    assert (tmp_path / "m" / "model.safetensors").stat().st_size < 0.56 * whole
    texts = ["a dog in the snow", "雪地里的狗", "two children play football"]
    wanted = load(MINI).embed_texts(texts).vectors
    found = load(tmp_path / "m", dtype="float32")
    assert (found.embed_texts(texts).vectors * wanted).sum(axis=1).min() > 0.999
    in_numpy = load_texts(str(tmp_path / "m"))
    np.testing.assert_allclose(
        in_numpy.embed_texts(texts).vectors, found.embed_texts(texts).vectors, rtol=0, atol=1e-5
    )
    assert in_numpy.fingerprint() == found.fingerprint()


def test_saving_again_changes_nothing(tmp_path):
    save_bundle(tmp_path / "once", load_bundle(MINI), torch.int8)
    save_bundle(tmp_path / "twice", load_bundle(tmp_path / "once"), torch.int8)
    once, twice = (load_bundle(tmp_path / name).model.state_dict() for name in ("once", "twice"))
    for name, value in once.items():
        torch.testing.assert_close(twice[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("damage", ["missing", "another shape", "float32"])
def test_scales_that_do_not_fit_are_named(tmp_path, damage):
    save_bundle(tmp_path / "m", load_bundle(write_checkpoint(tmp_path)), torch.int8)
    file = tmp_path / "m" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith(".scale"))
    scales = tensors.pop(name)
    if damage == "another shape":
        tensors[name] = scales[:, :0].contiguous()
    elif damage == "float32":
        tensors[name] = scales.float()
    save_file(dict(tensors), file)
    with pytest.raises(WeightsError, match=r"has 8-bit numbers .* as their scales"):
        load_bundle(tmp_path / "m")

"""What weights of 8 and 4 bits change, and what they leave as it is."""

from typing import get_args

import pytest
import torch

import seesay
from reference_parts import randomise
from seesay.errors import ConfigError
from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.quantized import (
    GROUP,
    PACKED_ROWS,
    Bits,
    Int4Linear,
    Int8Linear,
    check_quantization,
    quantize,
)

# Of a product of random numbers, and of logits behind four layers of them: the mean error as a
# share of the mean size, and the largest as a share of the largest.
LINEAR = {Int8Linear: (0.009, 0.01), Int4Linear: (0.10, 0.10)}
LOGITS = {"int8": (0.05, 0.08), "int4": (0.6, 0.9)}
VECTORS = {Int8Linear: 1e-5, Int4Linear: 5e-4}
"""Of real weights: how far the cosine with the vector that they give unquantized is from 1."""


def errors(actual: torch.Tensor, expected: torch.Tensor) -> tuple[float, float]:
    off, size = (actual - expected).abs(), expected.abs()
    return float(off.mean() / size.mean()), float(off.max() / size.max())


@torch.no_grad()
@pytest.mark.parametrize("make", LINEAR)
def test_a_layer_loses_no_more_than_its_bits_do(make):
    torch.manual_seed(0)
    linear = torch.nn.Linear(128, 96)
    linear.weight.mul_(torch.logspace(-3, 3, 96)[:, None])  # rows of all sizes
    layer, scale = make(linear.weight, linear.bias), torch.logspace(-3, 3, 96)
    for rows in (1, PACKED_ROWS, PACKED_ROWS + 1, 70):
        x = torch.randn(2, rows, 128)
        one = layer(x)
        mean, most = errors(one / scale, linear(x) / scale)
        assert mean < LINEAR[make][0] and most < LINEAR[make][1]
        assert one.shape == (2, rows, 96) and one.dtype == torch.float32
    assert mean > 0.0003
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


@torch.no_grad()
def test_numbers_of_the_grid_are_exact():
    numbers = torch.randint(-127, 128, (16, 64)).float()
    numbers[:, 0] = 127
    x = torch.randint(-3, 4, (1, 64)).float()
    rounding = dict(rtol=2**-8, atol=1e-4)  # of results in bfloat16
    for rows in (1, 9):
        y = Int8Linear(numbers / 8, None)(x.repeat(rows, 1))[:1]
        torch.testing.assert_close(y, x @ numbers.T / 8, **rounding)
    numbers = torch.randint(0, 16, (16, 2 * GROUP)).float()
    numbers[:, ::GROUP], numbers[:, 1::GROUP] = 0, 15
    y = Int4Linear((numbers - 8) / 4, None)(x)
    torch.testing.assert_close(y, x @ (numbers - 8).T / 4, **rounding)


@torch.no_grad()
@pytest.mark.parametrize("make", VECTORS)
def test_real_weights_give_nearly_the_same_vectors(make):
    embedder = seesay.load("seesay-mini", dtype="float32")
    texts = ["a dog on the grass", "一只猫在垫子上", "two people in the snow", "夜晚的城市"]
    expected = embedder.embed_texts(texts).vectors
    for module in list(embedder.model.text.blocks.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(module, name, make(child.weight, child.bias))
    cosines = (embedder.embed_texts(texts).vectors * expected).sum(1)
    assert 1 - cosines.min() < VECTORS[make]
    assert make is Int8Linear or cosines.mean() < 1 - 1e-5


def decoder(**settings: object) -> Decoder:
    torch.manual_seed(0)
    sizes = dict(vocab_size=97, dim=64, depth=4, heads=4, key_heads=2, head_dim=16, hidden=96)
    return randomise(Decoder(DecoderConfig(**sizes | settings)), norms=1.0)


@torch.no_grad()
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("bits", get_args(Bits))
def test_a_decoder_writes_nearly_the_same(bits, tied):
    model, ids = decoder(tied=tied, input_bias=True), torch.randint(0, 97, (3, 24))
    expected, table = model.logits(model(model.embed(ids))), model.token_embed.weight.clone()
    quantize(model, bits)
    assert not [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    kinds = {type(m) for m in model.blocks.modules()}
    assert (Int4Linear if bits == "int4" else Int8Linear) in kinds
    assert isinstance(model.head, Int8Linear) and torch.equal(model.token_embed.weight, table)
    whole = model.logits(model(model.embed(ids)))
    mean, most = errors(whole, expected)
    assert 0.001 < mean < LOGITS[bits][0] and most < LOGITS[bits][1]
    cache = KeyValueCache()
    model(model.embed(ids[:, :-1]), cache=cache)
    last = model.logits(model(model.embed(ids[:, -1:]), cache=cache))
    mean, _ = errors(last, whole[:, -1:])
    assert mean < 0.05  # a few rows are multiplied by other kernels than many
    written = model.bfloat16().logits(model(model.embed(ids)))
    assert errors(written.float(), expected)[0] < LOGITS[bits][0] + 0.02


def test_weights_take_a_quarter_or_an_eighth_of_the_bytes():
    def size(bits: Bits | None) -> int:
        model = decoder(dim=128, hidden=256)
        if bits is not None:
            quantize(model, bits)
        return sum(t.nbytes for t in (*model.blocks.parameters(), *model.blocks.buffers()))

    assert size("int8") < 0.28 * size(None) and size("int4") < 0.17 * size(None)


@pytest.mark.parametrize(("bits", "device"), [("int2", "cpu"), ("int8", "meta")])
def test_other_bits_and_devices_are_refused(bits, device):
    with pytest.raises(ConfigError, match=f"weights='{bits}' and device='{device}'") as raised:
        check_quantization(bits, torch.device(device))
    assert "请" in raised.value.text.zh

"""Adapters on weights in 4 bits: what they compute and learn is what they do on the same numbers in
full, and what is merged computes it too."""

import sys

import pytest
import torch
from torch import nn

import quick_bitsandbytes  # noqa: F401
from seesay.errors import MissingExtraError
from seesay.models import lora
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.lora import (
    LoraConfig,
    LoraLinear,
    adapter_off,
    add_lora,
    is_adapter,
    merge_lora,
    use_adapter,
)

# Rows of 48 numbers do not fill blocks of 64.
CONFIG = DecoderConfig(vocab_size=50, dim=32, depth=2, heads=4, key_heads=2, head_dim=8, hidden=48)
NF4 = LoraConfig(rank=3, alpha=5.0, targets=("query", "value", "down"), base="nf4")


def randomised(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adapters" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def decoder(config: LoraConfig | None = None) -> Decoder:
    torch.manual_seed(0)
    made = Decoder(CONFIG).eval()
    if config is not None:
        add_lora(made, config)
        randomised(made)
    return made


def hidden(model: Decoder):
    dtype = model.token_embed.weight.dtype
    with torch.no_grad():
        return model(model.embed(torch.arange(14).reshape(2, 7)).to(dtype))


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 40), (48, 20), (7, 33)])
def test_results_and_gradients_are_those_over_the_same_numbers_in_full(dora, inputs, outputs):
    torch.manual_seed(0)
    linear = nn.Linear(inputs, outputs)
    packed = LoraLinear(linear)
    before = linear.weight.detach().clone()
    packed.store_in_nf4()
    packed.add("one", 3, 1.5, dora)
    randomised(packed)
    full = LoraLinear(nn.Linear(inputs, outputs))
    full.weight, full.bias = nn.Parameter(packed.whole_weight()), linear.bias
    full.add("one", 3, 1.5, dora).load_state_dict(packed.adapters["one"].state_dict())
    x = torch.randn(2, 5, inputs)
    results, gradients = [], []
    for layer in (packed, full):
        given = x.clone().requires_grad_()
        results.append(layer(given))
        results[-1].square().sum().backward()
        learned = {n: p.grad for n, p in layer.named_parameters() if "adapters" in n}
        gradients.append({"x": given.grad, **learned})
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(packed.merged()(x), results[0])
    blocks = full.weight.detach().flatten().split(64)
    assert all(len(one.unique()) <= 16 for one in blocks)
    error = (full.weight - before).norm() / before.norm()
    assert 0.02 < error < 0.12  # 4 bits: neither more nor noise


def test_only_layers_with_adapters_are_in_4_bits_and_several_adapters_share_them():
    made, plain = decoder(NF4), decoder()
    tensors, before = made.state_dict(), plain.state_dict()
    missing = {name for name in before if name not in tensors}
    assert missing == {
        f"blocks.{at}.{place}.weight"
        for at in (0, 1)
        for place in ("attention.query", "attention.value", "mlp.down")
    }
    assert all(torch.equal(tensors[name], before[name]) for name in before.keys() - missing)
    packed = {n: p for n, p in made.named_parameters() if ".nf4." in n}
    assert not any(is_adapter(n) or p.requires_grad for n, p in packed.items())
    bits = 8 * sum(p.nbytes for n, p in packed.items() if not n.endswith("offset"))
    numbers = sum(before[name].numel() for name in missing)
    assert 4 * numbers < bits < 4.3 * numbers

    first = hidden(made)
    add_lora(made, NF4, "second")
    randomised(made)
    with adapter_off(made):
        bare = hidden(made)
    use_adapter(made, "default")
    assert not torch.allclose(first, bare, atol=1e-2)
    full = decoder()
    for name, layer in made.named_modules():
        if isinstance(layer, LoraLinear):
            full.get_submodule(name).weight = nn.Parameter(layer.whole_weight())
    torch.testing.assert_close(hidden(full), bare)
    with_default = hidden(made)
    merge_lora(made)
    assert made.state_dict().keys() == before.keys()
    torch.testing.assert_close(hidden(made), with_default)


def test_the_dtype_of_the_arithmetic_may_be_any():
    made = decoder(NF4)
    expected = hidden(made)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(hidden(made).float(), expected, rtol=0.05, atol=0.1)
    made.double()
    found = hidden(made)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected)


def test_without_bitsandbytes_an_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    lora._library.cache_clear()
    with pytest.raises(MissingExtraError) as error:
        decoder(NF4)
    for told in (error.value.text.en, error.value.text.zh):
        assert "bitsandbytes" in told and "pip install 'seesay[qlora]'" in told

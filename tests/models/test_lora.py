"""Low-rank adapters compute what their formula says, alone are trained, and merge away."""

import pytest
import torch
from torch import nn

from seesay.errors import ConfigError, WeightsError
from seesay.models.cross_attention import GatedCrossConfig
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.lora import LoraConfig, LoraLinear, add_lora, is_adapter, merge_lora
from seesay.weights.lora import load_adapter, save_adapter

SIZES = {"vocab_size": 50, "context": 64, "dim": 32, "depth": 2, "heads": 4, "key_heads": 2}
CONFIG = DecoderConfig(**SIZES, head_dim=8, hidden=48)
LORA = LoraConfig(rank=3, alpha=5.0, targets=("query", "value", "down"))


def decoder(config: DecoderConfig = CONFIG) -> Decoder:
    torch.manual_seed(0)
    return Decoder(config).eval()


def adapted(config: LoraConfig = LORA) -> Decoder:
    """With adapters that change the result."""
    made = decoder()
    add_lora(made, config)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    return made


@torch.no_grad()
def hidden(model: Decoder):
    return model(model.embed(torch.arange(14).reshape(2, 7)))


def test_a_new_adapter_changes_nothing():
    made, plain = decoder(), decoder()
    add_lora(made, LORA)
    assert torch.equal(hidden(made), hidden(plain))
    names = {name for name, _ in made.named_parameters() if is_adapter(name)}
    assert len(names) == 2 * 2 * len(LORA.targets)
    assert {n for n, _ in made.named_parameters()} - names == {
        n for n, _ in plain.named_parameters()
    }


@pytest.mark.parametrize(("rslora", "scale"), [(False, 5 / 3), (True, 5 / 3**0.5)])
def test_an_adapter_adds_the_product_of_its_matrices(rslora, scale):
    linear = nn.Linear(6, 4)
    layer = LoraLinear(linear)
    adapter = layer.add("one", 3, LoraConfig(rank=3, alpha=5.0, rslora=rslora).scale(3), False)
    assert not adapter.b.any() and adapter.a.abs().max() <= 6**-0.5
    nn.init.normal_(adapter.b)
    x = torch.randn(2, 5, 6)
    whole = linear.weight + scale * adapter.b @ adapter.a
    torch.testing.assert_close(layer(x), x @ whole.T + linear.bias)


def test_merging_keeps_the_result_and_leaves_plain_layers():
    made = adapted()
    before = hidden(made)
    assert not torch.allclose(before, hidden(decoder()), atol=1e-2)
    merge_lora(made)
    torch.testing.assert_close(hidden(made), before)
    assert made.state_dict().keys() == decoder().state_dict().keys()


def test_only_adapters_get_gradients_from_a_frozen_decoder():
    made = adapted()
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(is_adapter(name))
    made(made.embed(torch.arange(7)[None])).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert (parameter.grad is not None) == is_adapter(name), name


def test_gated_cross_attention_gets_no_adapter():
    cross = GatedCrossConfig(every=1, media_dim=16, heads=2, head_dim=8, hidden=32)
    made = decoder(DecoderConfig(**SIZES, head_dim=8, hidden=48, cross=cross))
    add_lora(made, LORA)
    assert not any(is_adapter(name) for name, _ in made.named_parameters() if ".cross." in name)


def test_impossible_adapters_are_refused():
    for wrong in ({"rank": 0}, {"alpha": 0.0}, {"targets": ()}, {"targets": ("q_proj",)}):
        with pytest.raises(ConfigError):
            LoraConfig(**wrong)
    plain = decoder(DecoderConfig(**SIZES, head_dim=8, hidden=48, gated=False))
    with pytest.raises(ConfigError, match="a model without gate"):
        add_lora(plain, LoraConfig(targets=("query", "gate")))
    with pytest.raises(ConfigError, match="and a model without such layers there"):
        add_lora(plain, LoraConfig(ranks={"tower": 4}))


@pytest.mark.parametrize("rslora", [False, True])
def test_a_saved_adapter_gives_the_same_numbers(tmp_path, rslora):
    config = LoraConfig(rank=3, alpha=5.0, targets=("query", "up"), rslora=rslora)
    made, again = adapted(config), decoder()
    save_adapter(tmp_path / "adapter", made.state_dict(), config, "some/base")
    assert load_adapter(again, tmp_path / "adapter") == config
    assert torch.equal(hidden(again), hidden(made))
    with pytest.raises(WeightsError, match="is no layer of this model"):
        load_adapter(
            Decoder(DecoderConfig(**SIZES | {"depth": 1}, head_dim=8, hidden=48)),
            tmp_path / "adapter",
        )
    (tmp_path / "adapter" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds more than an adapter"):
        save_adapter(tmp_path / "adapter", made.state_dict(), config, "some/base")


@pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning"
)  # of peft in transformers
def test_peft_reads_what_is_saved_and_the_other_way_round(tmp_path):
    peft = pytest.importorskip("peft")
    from decoder_references import llama
    from seesay.weights.decoders import load_decoder

    reference = llama(tmp_path / "base")
    ours = load_decoder(reference.folder)
    add_lora(ours, LORA)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    save_adapter(tmp_path / "ours", ours.state_dict(), LORA, str(reference.folder))
    theirs = peft.PeftModel.from_pretrained(reference.model, tmp_path / "ours").eval()
    ids = torch.arange(14).reshape(2, 7)
    with torch.no_grad():
        expected = theirs(ids).logits
        torch.testing.assert_close(ours.logits(ours(ours.embed(ids))), expected, rtol=0, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_decoder(reference.folder)
    assert load_adapter(again, tmp_path / "theirs") == LORA
    with torch.no_grad():
        assert torch.equal(again(again.embed(ids)), ours(ours.embed(ids)))

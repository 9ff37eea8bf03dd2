"""Adapters of published models give peft's numbers: forward, gradients, and files read both ways,
in four families with all that an adapter can be."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from references import openai_clip
from seesay.errors import WeightsError
from seesay.models.lora import LoraConfig, LoraLinear, adapter_off, merge_lora, use_adapter
from seesay.weights.bundle import load_bundle
from seesay.weights.decoders import load_decoder
from seesay.weights.internvl import load_internvl
from seesay.weights.llava import load_llava
from seesay.weights.lora import load_adapter, rules_of, save_adapter
from seesay.weights.qwen_vl import load_qwen_vl

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning"  # of peft in transformers
)
peft = pytest.importorskip("peft")
from decoder_references import gpt_neox  # noqa: E402
from weights import test_internvl, test_llava, test_qwen_vl  # noqa: E402

Numbers = Callable[[Any], Tensor]


@dataclass
class Family:
    folder: Path
    theirs: nn.Module
    of_theirs: Numbers
    load: Callable[[Path], Any]
    of_ours: Numbers
    config: LoraConfig
    targets: str
    """The names of the same layers in transformers."""
    ranks: dict[str, int]
    """Those with another rank."""


def llava(folder: Path) -> Family:
    made = test_llava.llava_15(folder)
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    ids = torch.tensor([[1, 7, *[test_llava.IMAGE] * 16, 9, 11]])
    return Family(
        folder,
        made.model,
        lambda model: model(input_ids=ids, pixel_values=pixels).logits,
        load_llava,
        lambda model: model.logits(model(ids, model.see(pixels).flatten(0, 1))),
        LoraConfig(
            rank=3, alpha=5.0, targets=("query", "up"), ranks={"decoder": 3, "tower": 2}, dora=True
        ),
        ".*(language_model.*(q_proj|up_proj)|vision_tower.*(q_proj|fc1))",
        {".*vision_tower.*": 2},
    )


def qwen2_vl(folder: Path) -> Family:
    made = test_qwen_vl.qwen2_vl(folder)
    patches, (ids, mask) = test_qwen_vl.some_patches(), test_qwen_vl.prompts()
    types, grids = (ids == test_qwen_vl.IMAGE).int(), test_qwen_vl.GRIDS
    places, _ = made.model.model.get_rope_index(
        ids, types, image_grid_thw=grids, attention_mask=mask.long()
    )
    given = dict(pixel_values=patches, image_grid_thw=grids, mm_token_type_ids=types)
    return Family(
        folder,
        made.model,
        lambda model: model(input_ids=ids, attention_mask=mask.long(), **given).logits[mask],
        load_qwen_vl,
        lambda model: model.logits(model(ids, model.see(patches, grids), places, None, mask))[mask],
        LoraConfig(
            rank=3, alpha=5.0, targets=("query", "key", "value"), ranks={"decoder": 3, "tower": 1}
        ),
        ".*(q_proj|k_proj|v_proj|qkv)",
        {".*visual.*": 1},
    )


def internvl(folder: Path) -> Family:
    made = test_internvl.saved(folder, "qwen2")
    tiles, (ids, mask) = test_internvl.some_tiles(), test_internvl.prompts()
    places = (mask.cumsum(1) - 1).clamp(min=0)
    given = dict(pixel_values=tiles, attention_mask=mask.long(), position_ids=places)
    return Family(
        folder,
        made.model,
        lambda model: model(input_ids=ids, **given).logits[mask],
        load_internvl,
        lambda model: model.logits(model(ids, model.see(tiles).flatten(0, 1), mask=mask))[mask],
        LoraConfig(rank=4, alpha=3.0, targets=("out", "gate", "down"), rslora=True),
        ".*language_model.*(o_proj|gate_proj|down_proj)",
        {},
    )


def clip(folder: Path) -> Family:
    made = openai_clip(folder)
    size = made.image_size
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(4))

    def theirs(model: Any) -> Tensor:
        inner = model.base_model.model if hasattr(model, "peft_config") else model
        seen = inner.get_image_features(pixel_values=pixels).pooler_output
        read = inner.get_text_features(input_ids=made.ids).pooler_output
        return torch.cat([nn.functional.normalize(one, dim=-1) for one in (seen, read)])

    def ours(model: Any) -> Tensor:
        both = model.embed_images(pixels), model.embed_texts(made.ids)
        return torch.cat([nn.functional.normalize(one, dim=-1) for one in both])

    return Family(
        folder,
        made.model,
        theirs,
        lambda folder: load_bundle(folder).model,
        ours,
        LoraConfig(
            rank=2, alpha=4.0, targets=("value", "out", "down"), ranks={"image": 2, "text": 4}
        ),
        ".*(v_proj|out_proj|fc2)",
        {".*text_model.*": 4},
    )


FAMILIES = {one.__name__: one for one in (llava, qwen2_vl, internvl, clip)}


@pytest.fixture(params=FAMILIES, scope="module")
def family(request, tmp_path_factory) -> Family:
    torch.manual_seed(0)
    return FAMILIES[request.param](tmp_path_factory.mktemp(request.param))


def of_peft(family: Family) -> nn.Module:
    """transformers' model with an adapter of peft in which every parameter counts."""
    c = family.config
    config = peft.LoraConfig(
        r=c.rank,
        lora_alpha=c.alpha,
        target_modules=family.targets,
        rank_pattern=family.ranks,
        use_rslora=c.rslora,
        use_dora=c.dora,
    )
    model = peft.get_peft_model(copy.deepcopy(family.theirs), config).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "lora_B" in parameter_name:
                parameter.normal_(std=0.2)
            elif "magnitude" in parameter_name:
                parameter.mul_(torch.empty_like(parameter).uniform_(0.8, 1.2))
    return model


def gradients(model: nn.Module, numbers: Numbers) -> dict[str, Tensor]:
    result = numbers(model)
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(7))
    (result * weights).sum().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_numbers_gradients_and_files_are_those_of_peft(family, tmp_path):
    theirs = of_peft(family)
    theirs.save_pretrained(tmp_path / "theirs")
    model = family.load(family.folder)
    plain = family.of_ours(model).detach()
    config = load_adapter(model, tmp_path / "theirs", family.folder)
    assert (config.rank, config.alpha, config.dora) == (
        family.config.rank,
        family.config.alpha,
        family.config.dora,
    )
    expected = family.of_theirs(theirs).detach()
    with torch.no_grad():
        torch.testing.assert_close(family.of_ours(model), expected, rtol=0, atol=2e-5)
        assert (expected - plain).abs().max() > 0.01
        with adapter_off(model):
            assert torch.equal(family.of_ours(model), plain)
    _same_gradients(family, model, theirs)
    # What we write, peft reads on a fresh model.
    rules = rules_of(family.folder)
    save_adapter(tmp_path / "ours", model.state_dict(), config, str(family.folder), rules)
    again = peft.PeftModel.from_pretrained(copy.deepcopy(family.theirs), tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(family.of_theirs(again), expected, rtol=0, atol=2e-5)
        merge_lora(model)
        torch.testing.assert_close(family.of_ours(model), expected, rtol=0, atol=2e-5)
    assert not any(isinstance(one, LoraLinear) for one in model.modules())


def _same_gradients(family: Family, model: nn.Module, theirs: nn.Module) -> None:
    """Our gradients, under peft's names: those of a fused layer's A add up, its rows stand one
    after another."""
    mine, named = gradients(model, family.of_ours), {}
    for name, gradient in gradients(theirs, family.of_theirs).items():
        if "lora_" in name:
            named[name.replace(".default", "")] = gradient
    rules = rules_of(family.folder)
    # Of two names of a layer, the first is the one in memory.
    of_ours = {ours: name for name, rule in reversed(rules.items()) for ours in _names(rule)}
    found: dict[str, list[Tensor]] = {}
    for name, gradient in mine.items():
        layer, found_it, which = name.partition(".adapters.default.")
        if found_it:
            numbers = [part for part in layer.split(".") if part.isdigit()]
            template = ".".join("{}" if p.isdigit() else p for p in f"{layer}.weight".split("."))
            published = of_ours[template].format(*numbers).removesuffix(".weight")
            found.setdefault(f"{published}.{which}", []).append(gradient)
    assert found
    for place, parts in found.items():
        module, _, which = place.rpartition(".")
        key = {"a": "lora_A.weight", "b": "lora_B.weight", "magnitude": "lora_magnitude_vector"}
        [expected] = [g for n, g in named.items() if f"{module}.{key[which]}" in n]
        whole = sum(parts) if which == "a" else torch.cat(parts)
        scale = float(expected.abs().max())
        torch.testing.assert_close(whole, expected, rtol=0, atol=1e-4 * scale, msg=place)


def _names(rule: object) -> tuple[str, ...]:
    return (rule,) if isinstance(rule, str) else rule if isinstance(rule, tuple) else ()


def test_several_adapters_stand_side_by_side(tmp_path):
    torch.manual_seed(0)
    family = internvl(tmp_path / "base")
    model, numbers = family.load(family.folder), {}
    for name in ("one", "other"):
        theirs = of_peft(family)
        theirs.save_pretrained(tmp_path / name)
        load_adapter(model, tmp_path / name, family.folder, name)
        with torch.no_grad():
            numbers[name] = family.of_theirs(theirs)
    with torch.no_grad():
        for name, expected in numbers.items():
            use_adapter(model, name)
            torch.testing.assert_close(family.of_ours(model), expected, rtol=0, atol=2e-5)
        use_adapter(model, None)
        plain = family.of_theirs(family.theirs)
        torch.testing.assert_close(family.of_ours(model), plain, rtol=0, atol=2e-5)


def test_an_adapter_of_another_model_is_refused_in_a_line(tmp_path):
    torch.manual_seed(0)
    one, other = internvl(tmp_path / "one"), llava(tmp_path / "other")
    of_peft(other).save_pretrained(tmp_path / "adapter")
    with pytest.raises(WeightsError, match="is no layer of this model") as refused:
        load_adapter(one.load(one.folder), tmp_path / "adapter", one.folder)
    assert "\n" not in str(refused.value)
    without = peft.get_peft_model(
        copy.deepcopy(one.theirs), peft.LoraConfig(target_modules=["gate_proj"])
    )
    without.save_pretrained(tmp_path / "nothing")
    with pytest.raises(WeightsError, match="it changes nothing: all of its B are zero"):
        load_adapter(one.load(one.folder), tmp_path / "nothing", one.folder)


@pytest.mark.parametrize("dora", [False, True])
def test_layers_that_are_fused_head_by_head_are_written_as_one(dora, tmp_path):
    """GPT-NeoX keeps query, key and value of each head side by side."""
    torch.manual_seed(0)
    reference = gpt_neox(tmp_path / "base")
    ids = torch.arange(14).reshape(2, 7)
    config = peft.LoraConfig(r=2, target_modules=["query_key_value"], use_dora=dora)
    theirs = peft.get_peft_model(copy.deepcopy(reference.model), config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
        expected = theirs(ids).logits
        theirs.save_pretrained(tmp_path / "theirs")
        ours = load_decoder(reference.folder)
        read = load_adapter(ours, tmp_path / "theirs", reference.folder)
        torch.testing.assert_close(ours.logits(ours(ours.embed(ids))), expected, rtol=0, atol=1e-4)
        rules = rules_of(reference.folder)
        save_adapter(tmp_path / "ours", ours.state_dict(), read, "base", rules)
        fresh = copy.deepcopy(reference.model)
        again = peft.PeftModel.from_pretrained(fresh, tmp_path / "ours").eval()
        torch.testing.assert_close(again(ids).logits, expected, rtol=0, atol=1e-4)

"""Low-rank adapters in files, in the layout of the peft package: adapter_config.json and
adapter_model.safetensors.

Layers have the names that transformers gives them in memory, so that peft can put an adapter on the
published model. In files of older versions they have those of the published files; both are read.
Where a model has fused what is several layers here, an adapter of it is read as several, and those
of several layers are written as one of a larger rank.
"""

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seesay.data.files import write_whole_folder
from seesay.data.model_files import read_json
from seesay.errors import ConfigError, WeightsError
from seesay.models.decoder import Decoder
from seesay.models.lora import (
    DEFAULT,
    LAYERS,
    LoraConfig,
    adapted_parts,
    linear_places,
    merge_lora,
)
from seesay.text import Text
from seesay.weights import dual_encoder
from seesay.weights.catalog import find, find_assistant
from seesay.weights.decoder_rules import LLAMA_MODULES
from seesay.weights.decoders import DECODERS, KNOWN, read_decoder
from seesay.weights.hub import is_repository, split_adapter
from seesay.weights.settings import every_setting
from seesay.weights.tensors import (
    NUMBER,
    Grouped,
    Rule,
    Rules,
    Tensors,
    read_safetensors,
    rename,
    with_prefix,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_NAME = re.compile(r"[\w.]+")
_MOST = 1e6  # far above every alpha
# Settings of peft that change the result, and the values that are read; the first is written.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "fan_in_fan_out": (False,),
    "init_lora_weights": (True, False, "gaussian"),  # others change the model, too
    "modules_to_save": (None, []),
}
_UNUSED: dict[str, tuple[Any, ...]] = {
    "lora_bias": (False,),
    "use_qalora": (False,),
    "layer_replication": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
}
_READERS = {
    **dict.fromkeys(("llava", "llava_next", "llava_onevision"), "llava.read_llava"),
    **dict.fromkeys(("internvl", "internvl_chat"), "internvl.read_internvl"),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), "qwen_vl.read_qwen_vl"),
}
"""The value of "model_type" in config.json -> the function of this package that knows the names of
its tensors, for models that `load_bundle` does not read."""
_IN_MEMORY = ("model.language_model.layers.", "model.visual.blocks.")
"""Beginnings of names in transformers' models, once they are loaded."""


def own_rules(*, bare: bool) -> Rules:
    """The names of layers in a model of our own, or in its decoder alone (`bare`): the decoder's
    are those of Llama, Mistral, Qwen2 and Qwen3 in transformers, others keep their own."""
    llama: dict[str, Rule] = {
        f"model.layers.{{}}.{theirs}.weight": f"blocks.{{}}.{ours}.weight"
        for theirs, ours in LLAMA_MODULES.items()
    }
    return llama if bare else with_prefix(llama, "", "decoder.")


def rules_of(folder: Path, names: Collection[str] = _IN_MEMORY) -> Rules:
    """Returns the names of the layers of a published model in `folder`, as transformers has them in
    memory, or as in `names`. A model of our own, or of another family, has its own names."""
    if not (folder / "config.json").is_file() or (folder / "seesay.json").is_file():
        return own_rules(bare=False)
    published = read_json(folder / "config.json")
    kind = published.get("model_type")
    if kind in _READERS:
        module, _, function = _READERS[kind].partition(".")
        family = import_module(f"seesay.weights.{module}")
        with every_setting(published, "config.json", family.KNOWN) as config:
            rules: Rules = getattr(family, function)(config, names).rules
            return rules
    if kind in dual_encoder.READERS:
        found = dual_encoder.read(folder, None)
        published_rules = None if found is None else found.blueprint.rules
        return published_rules or own_rules(bare=False)
    if kind in DECODERS:
        with every_setting(published, "config.json", KNOWN) as config:
            return read_decoder(config, names).rules
    return own_rules(bare=False)


class _Part(NamedTuple):
    """Where an adapted layer of ours is in the published model."""

    module: str
    rule: Rule
    number: int
    """Which of the layers that are fused there."""


def _published(ours: str, table: Mapping[str, _Part]) -> _Part:
    """The place of our layer; without a rule, it keeps its name."""
    name = f"{ours}.weight"
    part = table.get(NUMBER.sub("{}", name))
    if part is None:
        return _Part(ours, name, 0)
    return part._replace(module=part.module.format(*NUMBER.findall(name)))


def _inverted(rules: Rules) -> dict[str, _Part]:
    """By our name of a weight, with {} for numbers, its place. Of several names, the first."""
    table: dict[str, _Part] = {}
    for theirs, rule in rules.items():
        if theirs.endswith(".weight"):
            for number, ours in enumerate(_names(rule)):
                table.setdefault(ours, _Part(theirs.removesuffix(".weight"), rule, number))
    return table


def _names(rule: Rule) -> tuple[str, ...]:
    """Our names of the layers that are one published matrix; none if its form is another."""
    match rule:
        case str(name):
            return (name,)
        case tuple(names) | Grouped(names):
            return names
    return ()


# Writing


def save_adapter(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: LoraConfig,
    base: str,
    rules: Rules | None = None,
    name: str = DEFAULT,
) -> None:
    """Writes an adapter among a model's weights; `base` is the model that it belongs to, and
    `rules` are its names of layers (`rules_of`; none: a model of our own). An adapter in `folder`
    is replaced. Raises ConfigError if anything else is there, DataError if the folder cannot be
    written."""
    if folder.exists() and {path.name for path in folder.iterdir()} - {CONFIG, WEIGHTS}:
        raise ConfigError(
            Text(
                f"{folder} holds more than an adapter; expected no such folder, or the adapter "
                "that is to be replaced: move it away, or choose another folder",
                f"{folder} 里不只有适配器；应为尚不存在的文件夹，或要替换的适配器；请移走，"
                "或换一个文件夹",
            )
        )
    with write_whole_folder(folder, replace=True) as unfinished:
        write_adapter(unfinished, weights, config, base, rules, name)


def write_adapter(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: LoraConfig,
    base: str,
    rules: Rules | None = None,
    name: str = DEFAULT,
) -> None:
    """Writes the same into a folder that is there."""
    end = f".adapters.{name}.b"
    bare = any(key.startswith("blocks.") for key in weights)
    table = _inverted(own_rules(bare=bare) if rules is None else rules)
    layers: dict[str, dict[int, str]] = {}
    places = {}
    for ours in [key.removesuffix(end) for key in weights if key.endswith(end)]:
        place = _published(ours, table)
        layers.setdefault(place.module, {})[place.number] = ours
        places[place.module] = place.rule
    tensors: Tensors = {}
    ranks, alphas = {}, {}
    for module, parts in layers.items():
        joined = _joined(weights, parts, places[module], config, name)
        tensors |= {f"{PREFIX}{module}.{key}": one.contiguous() for key, one in joined.items()}
        rank = len(joined["lora_A.weight"])
        scale = config.scale(len(weights[f"{next(iter(parts.values()))}.adapters.{name}.a"]))
        if rank != config.rank:
            ranks[module] = rank
        if abs((alpha := scale * config.alpha / config.scale(rank)) - config.alpha) > 1e-9:
            alphas[module] = alpha
    writes = bare or any(key.startswith(("decoder.", "language.")) for key in weights)
    described = {name: values[0] for name, values in _PLAIN.items()} | {
        "task_type": "CAUSAL_LM" if writes else None,
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "use_rslora": config.rslora,
        "use_dora": config.dora,
        "target_modules": sorted(layers),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "inference_mode": True,
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    save_file(tensors, folder / WEIGHTS)
    shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # else nobody else may read them


def _joined(
    weights: Mapping[str, Tensor],
    parts: Mapping[int, str],
    rule: Rule,
    config: LoraConfig,
    name: str,
) -> Tensors:
    """The tensors of a published layer. Of fused ones, each keeps its own A, and B is zero where
    the A of one would meet the rows of another."""

    def of(number: int, which: str) -> Tensor:
        return weights[f"{parts[number]}.adapters.{name}.{which}"].detach().cpu()

    names = _names(rule)
    groups, shares = 1, (1,) * len(names)
    if isinstance(rule, Grouped):
        groups, shares = rule.groups, rule.shares
    first = next(iter(parts))
    scale = config.scale(len(of(first, "a")))
    rows: list[Tensor] = []
    heads = len(of(first, "b")) // (groups * shares[first])
    width = sum(len(of(number, "a")) for number in parts)
    done = 0
    for number in range(len(names)):
        block = torch.zeros(groups * shares[number] * heads, width)
        if number in parts:
            rank = len(of(number, "a"))
            block[:, done : done + rank] = of(number, "b") * (config.scale(rank) / scale)
            done += rank
        rows.append(block.unflatten(0, (groups, shares[number], heads)))
    joined = {"lora_B.weight": torch.cat(rows, dim=1).flatten(0, 2)}
    joined["lora_A.weight"] = torch.cat([of(number, "a") for number in sorted(parts)])
    if config.dora:
        if len(parts) < len(names):
            raise _unwritable(parts[first], names)
        lengths = [
            of(number, "magnitude").unflatten(0, (groups, shares[number], heads))
            for number in range(len(names))
        ]
        joined["lora_magnitude_vector"] = torch.cat(lengths, dim=1).flatten(0, 2)
    return joined


def _unwritable(ours: str, names: Collection[str]) -> ConfigError:
    needed = ", ".join(name.split(".")[-2] for name in names)
    return ConfigError(
        Text(
            f"DoRA in {ours} alone cannot be written for a model that fuses it with others; "
            f"expected adapters in all of {needed}: add them to targets",
            f"只在 {ours} 里的 DoRA 无法写给把它与其他层合并的模型；应在 {needed} 里都有适配器；"
            "请补进 targets",
        )
    )


# Reading


def load_adapter(
    model: nn.Module, folder: Path, base: Path | None = None, name: str = DEFAULT
) -> LoraConfig:
    """Gives a model the adapter in a folder, as the active one, and returns its config. `base` is
    the folder of the published model; none: a model of our own. Raises WeightsError unless settings
    and tensors fit to the last, or if the adapter changes nothing."""
    described = read_json(folder / CONFIG)
    config = _config(described, folder)
    alphas = described.get("alpha_pattern") or {}
    layers = _layers(folder, config)
    rules = _rules(model, base, [f"{one}.weight" for one in layers])
    places = linear_places(model)
    parts: list[tuple[str, Tensors, float]] = []
    for module, tensors in layers.items():
        ends = [alpha for key, alpha in alphas.items() if f".{module}".endswith(f".{key}")]
        alpha = float(ends[0]) if ends else config.alpha
        scale = replace(config, alpha=alpha).scale(len(tensors["A"]))
        for ours, found in _split(module, tensors, rules).items():
            if ours not in places or _misshapen(found, places[ours].linear):
                raise _unread(folder / WEIGHTS, f"{module} is no layer of this model")
            parts.append((ours, found, scale))
    for ours, found, scale in parts:
        adapter = places[ours].adapted().add(name, len(found["A"]), scale, config.dora)
        given = {"a": found["A"], "b": found["B"]}
        if config.dora:
            given["magnitude"] = found["magnitude_vector"]
        adapter.load_state_dict(given)
    return _as_ours(config, {ours: len(found["A"]) for ours, found, _ in parts}, model)


def merge_adapter(model: nn.Module, whole_name: str, base: Path) -> None:
    """Merges the adapter that a name has in it (`adapted_name`), if any, into the model from the
    folder `base`, in place. Raises WeightsError unless the adapter is one of this model."""
    name, folder = split_adapter(whole_name)
    if folder is None:
        return
    if (folder / "seesay.json").is_file():
        raise _unread(folder, Text("it is a whole model", "它是一个完整的模型"))
    if not (folder / CONFIG).is_file():
        raise _unread(folder, Text(f"there is no {CONFIG} in it", f"里面没有 {CONFIG}"))
    recorded = read_json(folder / CONFIG).get("base_model_name_or_path")
    if isinstance(recorded, str) and _differ(recorded, name):
        raise WeightsError(
            Text(
                f"the adapter in {folder} is of {recorded:.100}, and the model is {name}; expected "
                "the same. Choose that model, or, if it is the same under another name, correct "
                f"base_model_name_or_path in {CONFIG}",
                f"{folder} 里的适配器属于 {recorded:.100}，而模型是 {name}；两者应相同；"
                f"请选用那个模型，若只是名称不同，请改正 {CONFIG} 里的 base_model_name_or_path",
            )
        )
    load_adapter(model, folder, base)
    merge_lora(model)


def _differ(recorded: str, name: str) -> bool:
    """Whether both are names of published models, and not of the same. The owner does not count,
    for many publish copies; what a folder holds cannot be told, and a folder may have moved."""

    def published(one: str) -> str:
        entry = find(one) or find_assistant(one)
        if entry is None and (not is_repository(one) or Path(one).expanduser().exists()):
            return ""
        whole = one if entry is None else entry.repo or entry.alias
        return whole.rpartition("/")[2].casefold()

    both = published(recorded), published(name)
    return "" not in both and both[0] != both[1]


def _layers(folder: Path, config: LoraConfig) -> dict[str, Tensors]:
    """The tensors of each published layer, as A, B and magnitude_vector. Raises WeightsError for
    others, and if none changes anything."""
    layers: dict[str, Tensors] = {}
    for key, tensor in read_safetensors(folder / WEIGHTS).items():
        module, _, which = key.removeprefix(PREFIX).rpartition(".lora_")
        layers.setdefault(module, {})[which.removesuffix(".weight")] = tensor
    wanted = {"A", "B", "magnitude_vector"} if config.dora else {"A", "B"}
    for module, tensors in layers.items():
        if tensors.keys() != wanted or any(
            not one.numel() or not one.ndim for one in tensors.values()
        ):
            raise _unread(folder / WEIGHTS, f"{module} has {', '.join(sorted(tensors))}")
    if not config.dora and not any(bool(one["B"].any()) for one in layers.values()):
        raise _unread(folder / WEIGHTS, "it changes nothing: all of its B are zero")
    return layers


def _rules(model: nn.Module, base: Path | None, names: Collection[str]) -> Rules:
    return rules_of(base, names) if base else own_rules(bare=isinstance(model, Decoder))


def _config(described: Mapping[str, Any], folder: Path) -> LoraConfig:
    """The settings of an adapter. Raises WeightsError for others than ours."""
    wrong = [
        f"{name}={described[name]!r:.60}"
        for name, values in (_PLAIN | _UNUSED).items()
        if described.get(name, values[0]) not in values
    ]
    alphas = described.get("alpha_pattern") or {}
    pairs = alphas.items() if isinstance(alphas, dict) else [("", alphas)]
    wrong += [
        f"alpha_pattern={key!r:.60}"
        for key, alpha in pairs
        if not _NAME.fullmatch(key) or not isinstance(alpha, int | float) or not 0 < alpha < _MOST
    ]
    try:
        config = LoraConfig(
            rank=described["r"],
            alpha=float(described["lora_alpha"]),
            rslora=bool(described.get("use_rslora", False)),
            dora=bool(described.get("use_dora", False)),
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        wrong.append(repr(error)[:100])
    if wrong:
        raise _unread(folder / CONFIG, "; ".join(wrong))
    return config


def _split(module: str, tensors: Tensors, rules: Rules) -> dict[str, Tensors]:
    """The tensors by our names of layers: of a fused one, all with the same A. A layer without a
    rule keeps its name."""
    found: dict[str, Tensors] = {}
    name = f"{module}.weight"
    for which in tensors.keys() - {"A"}:
        parts, problems = rename({name: tensors[which]}, rules)
        for ours, part in ({name: tensors[which]} if any(problems.values()) else parts).items():
            found.setdefault(ours.removesuffix(".weight"), {"A": tensors["A"]})[which] = part
    return found


def _misshapen(found: Tensors, linear: nn.Linear) -> bool:
    rank = len(found["A"])
    expected = {
        "A": (rank, linear.in_features),
        "B": (linear.out_features, rank),
        "magnitude_vector": (linear.out_features,),
    }
    return any(tuple(one.shape) != expected[which] for which, one in found.items())


def _as_ours(config: LoraConfig, ranks: Mapping[str, int], model: nn.Module) -> LoraConfig:
    """The config with the layers that have adapters, and with the rank of each part where they
    differ from what it says of them."""
    targets = {ours.rpartition(".")[2] for ours in ranks}
    usual = dict.fromkeys(adapted_parts(model), config.rank)
    parts = {"" if "" in usual else ours.split(".")[0]: rank for ours, rank in ranks.items()}
    return replace(
        config,
        targets=tuple(one for one in LAYERS if one in targets),
        ranks={} if parts == usual else parts,
    )


def _unread(path: Path, reason: Text | str) -> WeightsError:
    why = Text.of(reason)
    return WeightsError(
        Text(
            f"{path} cannot be used ({why.en}); expected an adapter that peft or seesay saved for "
            "this model: choose another folder",
            f"{path} 不能用（{why.zh}）；应为 peft 或 seesay 为这个模型保存的适配器；"
            "请换一个文件夹",
        )
    )

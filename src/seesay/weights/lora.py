"""Low-rank adapters of a decoder in files, in the layout of the peft package: adapter_config.json
and adapter_model.safetensors.

The layers have the names that transformers gives those of Llama, Mistral, Qwen2 and Qwen3, so that
peft can put an adapter on the language model it was trained with.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from seesay.data.files import write_whole_folder
from seesay.data.model_files import read_json
from seesay.errors import ConfigError, WeightsError
from seesay.models.lora import LoraConfig, add_lora, is_adapter
from seesay.text import Text
from seesay.weights.tensors import read_safetensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LAYERS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""Our names of layers -> theirs."""
_OURS = re.compile(r"(?:decoder\.)?blocks\.(\d+)\.\w+\.(\w+)\.lora_([ab])")
# Settings of peft that change the result, and the only value that is read.
_PLAIN: dict[str, Any] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "use_dora": False,
    "modules_to_save": None,
    "layers_to_transform": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}
_UNUSED: dict[str, Any] = {
    "lora_bias": False,
    "use_qalora": False,
    "layer_replication": None,
    "target_parameters": None,
    "trainable_token_indices": None,
}


def save_adapter(
    folder: Path, weights: Mapping[str, Tensor], config: LoraConfig, base: str
) -> None:
    """Writes the adapters among a model's weights; `base` is the language model that they belong
    to. An adapter in `folder` is replaced. Raises ConfigError if anything else is there, DataError
    if the folder cannot be written."""
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
        write_adapter(unfinished, weights, config, base)


def write_adapter(
    folder: Path, weights: Mapping[str, Tensor], config: LoraConfig, base: str
) -> None:
    """Writes the same into a folder that is there."""
    described = _PLAIN | {
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "use_rslora": config.rslora,
        "target_modules": [LAYERS[name].split(".")[1] for name in config.targets],
        "inference_mode": True,
    }
    tensors = {
        _published(name): value.detach().cpu().contiguous()
        for name, value in weights.items()
        if is_adapter(name)
    }
    (folder / CONFIG).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    save_file(tensors, folder / WEIGHTS)
    shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # else nobody else may read them


def load_adapter(model: nn.Module, folder: Path) -> LoraConfig:
    """Gives a model's decoder the adapters in a folder, and returns their config. Raises
    WeightsError unless settings and tensors fit to the last."""
    described = read_json(folder / CONFIG)
    theirs = {name.split(".")[1]: ours for ours, name in LAYERS.items()}
    wrong = [
        f"{name}={described[name]!r:.60}"
        for name, value in (_PLAIN | _UNUSED).items()
        if described.get(name, value) not in (value, value or None)
    ]
    try:
        config = LoraConfig(
            rank=described["r"],
            alpha=float(described["lora_alpha"]),
            targets=tuple(
                ours for one, ours in theirs.items() if one in described["target_modules"]
            ),
            rslora=bool(described.get("use_rslora", False)),
        )
        unknown = sorted(set(described["target_modules"]) - set(theirs))
        wrong += [f"target_modules={unknown}"] if unknown else []
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        wrong.append(repr(error)[:100])
    if wrong:
        raise _unread(folder / CONFIG, "; ".join(wrong))
    tensors = read_safetensors(folder / WEIGHTS)
    add_lora(model, config)
    own = {n: p for n, p in model.named_parameters() if is_adapter(n)}
    names = {_published(name): name for name in own}
    shapes = {name: tuple(own[ours].shape) for name, ours in names.items()}
    if shapes != {name: tuple(one.shape) for name, one in tensors.items()}:
        raise _unread(folder / WEIGHTS, "its tensors are not those of this decoder's layers")
    for name, ours in names.items():
        own[ours].data.copy_(tensors[name])
    return config


def _published(name: str) -> str:
    match = _OURS.fullmatch(name)
    assert match is not None
    layer, ours, which = match.groups()
    return f"base_model.model.model.layers.{layer}.{LAYERS[ours]}.lora_{which.upper()}.weight"


def _unread(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        Text(
            f"{path} cannot be used ({reason}); expected an adapter that peft or seesay saved for "
            "this language model: choose another folder",
            f"{path} 不能用（{reason}）；应为 peft 或 seesay 为这个语言模型保存的适配器；"
            "请换一个文件夹",
        )
    )

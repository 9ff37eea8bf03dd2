"""Ready configurations for ms-swift and LLaMA-Factory, written beside the data.

They train low-rank adapters on one GPU, with the vision tower and the connector frozen, by the
values of the toolkits' own examples (ms-swift:examples/train/multimodal/, LLaMA-Factory:
examples/train_lora/). `benchmarks/peers/finetuning_loaders.py` has the toolkits read them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seesay.data.conversations.layouts import PREFERENCES, TRAIN, Layout, Target
from seesay.errors import ConfigError
from seesay.text import Text

CHECKED: Mapping[str, str] = {
    "ms-swift": "ms-swift 4.6.0, transformers 5.6.0, datasets 4.8.4",
    "llama-factory": "llamafactory 0.9.5, transformers 5.6.0, datasets 4.0.0",
}
"""The versions whose loaders read the data and the configuration."""
DEFAULT_MODEL = "Qwen/Qwen3-VL-2B-Instruct"
# LLaMA-Factory asks for the template of a model; ms-swift knows it.
_TEMPLATES = {
    r"qwen3-vl-.*instruct": "qwen3_vl_nothink",
    r"qwen3-vl-.*thinking": "qwen3_vl",
    r"qwen2(\.5)?-vl-": "qwen2_vl",
    r"llava-1\.5-.*hf": "llava",
    r"internvl.*-hf": "intern_vl",
}
_PIXELS = 512 * 512
"""Maximum pixels of a picture. At 32 x 32 pixels a token (Qwen3-VL), it takes 256 tokens."""
_LENGTH = 4096
"""Maximum tokens of a sample. ms-swift drops longer ones, LLaMA-Factory cuts them."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One way of training."""

    data: str
    """Name of the file of data."""
    stage: str
    lr: float


_TRAININGS = (
    Training(data=TRAIN, stage="sft", lr=1e-4),
    Training(data=PREFERENCES, stage="dpo", lr=5e-6),
)


def require_template(target: Target, model: str) -> None:
    """Raises ConfigError if the template that LLaMA-Factory needs for a model is unknown."""
    if target.startswith("llama-factory") and _template_of(model) is None:
        known = "Qwen2-VL, Qwen2.5-VL, Qwen3-VL, llava-1.5-hf, InternVL-hf"
        raise ConfigError(
            Text(
                f"LLaMA-Factory's template for {model} is unknown, expected a model of {known}: "
                "choose one, then correct the model and template in the files written",
                f"不知道 {model} 在 LLaMA-Factory 里的模板；应为 {known} 之一；请先选其中一个，再"
                "改写出文件里的模型和模板",
            )
        )


def configurations(
    target: Target, layout: Layout, model: str, data: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yields the name and text of each configuration for the files of data that there are."""
    if target == "ms-swift":
        commands = {"sft": "swift sft", "dpo": "swift rlhf"}
    elif layout.formatting:
        commands = dict.fromkeys(("sft", "dpo"), "llamafactory-cli train")
    else:
        return
    for one in _TRAININGS:
        if one.data in data:
            name = f"{one.stage}.yaml"
            is_swift = target == "ms-swift"
            settings = _ms_swift(one, layout, model) if is_swift else _llama_factory(one, model)
            versions = CHECKED["ms-swift" if is_swift else "llama-factory"]
            yield name, _text(f"{commands[one.stage]} {name}", versions, settings)


def _ms_swift(one: Training, layout: Layout, model: str) -> dict[str, Any]:
    """`strict`, because ms-swift otherwise drops what it cannot read."""
    preference = {"rlhf_type": "dpo", "beta": 0.1} if one.stage == "dpo" else {}
    return {
        "model": model,
        **preference,
        "dataset": [f"{one.data}.{layout.ending}"],
        "strict": True,
        "split_dataset_ratio": 0,
        "max_length": _LENGTH,
        "tuner_type": "lora",
        "lora_rank": 8,
        "lora_alpha": 32,
        "target_modules": "all-linear",
        "freeze_vit": True,
        "freeze_aligner": True,
        "torch_dtype": "bfloat16",
        "num_train_epochs": 1,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16,
        "learning_rate": one.lr,
        "logging_steps": 5,
        "save_steps": 100,
        "save_total_limit": 2,
        "output_dir": f"runs/{one.stage}",
        "ENV": {"ROOT_IMAGE_DIR": ".", "MAX_PIXELS": str(_PIXELS)},
    }


def _llama_factory(one: Training, model: str) -> dict[str, Any]:
    preference = {"pref_beta": 0.1, "pref_loss": "sigmoid"} if one.stage == "dpo" else {}
    return {
        "model_name_or_path": model,
        "template": _template_of(model),
        "image_max_pixels": _PIXELS,
        "stage": one.stage,
        "do_train": True,
        **preference,
        "dataset_dir": ".",
        "dataset": one.data,
        "cutoff_len": _LENGTH,
        "finetuning_type": "lora",
        "lora_rank": 8,
        "lora_target": "all",
        "freeze_vision_tower": True,
        "freeze_multi_modal_projector": True,
        "bf16": True,
        "num_train_epochs": 1.0,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16,
        "learning_rate": one.lr,
        "lr_scheduler_type": "cosine",
        "logging_steps": 5,
        "save_steps": 100,
        "save_total_limit": 2,
        "output_dir": f"runs/{one.stage}",
        "report_to": "none",
    }


def _template_of(model: str) -> str | None:
    name = model.rstrip("/").rpartition("/")[2].lower()
    return next((value for form, value in _TEMPLATES.items() if re.match(form, name)), None)


def _text(command: str, versions: str, settings: Mapping[str, Any]) -> str:
    lines = [f"# In this folder: {command}", f"# 在本文件夹里运行：{command}"]
    lines += [f"# Read without errors by / 已用以下版本验证能读取：{versions}"]
    for name, value in settings.items():
        if isinstance(value, Mapping):
            lines += [f"{name}:", *(f"  {key}: {_scalar(one)}" for key, one in value.items())]
        elif isinstance(value, list):
            lines += [f"{name}:", *(f"  - {_scalar(one)}" for one in value)]
        else:
            lines.append(f"{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value < 1e-3:
        return f"{value:.1e}"  # YAML takes 1e-4 for a text, and 1.0e-04 for a number
    return f'"{value}"' if isinstance(value, str) else str(value)

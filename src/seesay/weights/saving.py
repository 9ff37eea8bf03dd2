"""Save a model in seesay's own layout, which `load_bundle` reads: seesay.json, model.safetensors
and tokenizer.json in one folder."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from seesay.data.files import write_whole_folder
from seesay.data.model_files import read_json
from seesay.errors import ConfigError, WeightsError
from seesay.text import Text
from seesay.weights import lora
from seesay.weights.bundle import FILE, FORMAT, PARTS, WEIGHTS, Bundle, family_of
from seesay.weights.parts import checksum, is_borrowed
from seesay.weights.quantization import SCALE, is_stored_in_8_bits, quantize
from seesay.weights.tensors import read_safetensors

FILES = frozenset({FILE, WEIGHTS, "tokenizer.json"})
ADAPTER_FILES = frozenset({lora.CONFIG, lora.WEIGHTS})
"""What stands beside them in a folder without its decoder."""


def save_bundle(
    folder: Path,
    bundle: Bundle[Any],
    dtype: torch.dtype = torch.float32,
    *,
    run: str = "",
    parts: Mapping[str, str] | None = None,
) -> None:
    """Write a complete model folder in seesay's own layout, or nothing: it gets its name only when
    complete.

    `dtype` is the stored number format; torch.float16 halves the size, and torch.int8 halves it
    again (see `seesay.weights.quantization`). `run` is the id of the training run that produced the
    model. `parts`, "tower" or "decoder" of a vision-language model, are left out and read from the
    models of these names when the folder is loaded; low-rank adapters are stored beside.

    A model in `folder` is replaced; with `run`, only a model of the same run. Raises ConfigError if
    anything else is there, DataError if the folder cannot be written.
    """
    check_replaceable(folder, run)
    described = _description(bundle) | ({"run": run} if run else {})
    weights, parts = bundle.model.state_dict(), parts or {}
    if parts:
        described[PARTS] = {
            part: {"model": name, "crc32": checksum(weights, part)} for part, name in parts.items()
        }
    tensors = _stored({n: one for n, one in weights.items() if not is_borrowed(n, parts)}, dtype)
    with write_whole_folder(folder, replace=True) as unfinished:
        (unfinished / FILE).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        bundle.tokenizer.save(unfinished)
        save_file(tensors, unfinished / WEIGHTS)
        shutil.copymode(unfinished / FILE, unfinished / WEIGHTS)  # else nobody else may read them
        if bundle.lora is not None:
            lora.write_adapter(unfinished, weights, bundle.lora, parts.get("decoder", ""))
        check_replaceable(folder, run)  # again: writing a large model takes minutes


def _stored(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for name, value in weights.items():
        value = value.detach().cpu()
        if dtype is torch.int8 and is_stored_in_8_bits(name, tuple(value.shape)):
            numbers, scales = quantize(value.float().numpy())
            stored[name], stored[name + SCALE] = torch.from_numpy(numbers), torch.from_numpy(scales)
        elif value.is_floating_point():
            stored[name] = value.to(torch.float32 if dtype is torch.int8 else dtype).contiguous()
        else:
            stored[name] = value.contiguous()
    return stored


def _description(bundle: Bundle[Any]) -> dict[str, Any]:
    """Returns the content of seesay.json."""
    family = family_of(bundle.model)
    names = {kind: part for part, kind in family.parts.items()}
    described = {
        "format": FORMAT,
        "family": family.name,
        "model": _plain(bundle.config, names),
        "transform": asdict(bundle.transform),
        "tokenizer": asdict(bundle.tokenizer.config),
    }
    if bundle.generation is not None:
        described["generation"] = asdict(bundle.generation)
    if bundle.template:
        described["template"] = bundle.template
    return described


def _plain(config: Any, names: Mapping[type[Any], str]) -> dict[str, Any]:
    """A config as JSON; "tower" names it if there are alternatives."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    plain = {n: _plain(v, names) if is_dataclass(v) else v for n, v in values.items()}
    return ({"tower": names[type(config)]} if type(config) in names else {}) | plain


def check_replaceable(folder: Path, run: str = "") -> None:
    """Raises ConfigError if writing a model to `folder` would remove anything but a model that
    seesay wrote there; with `run`, anything but the model of this run."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if (problem := _obstacle(folder, run)) is not None:
        raise ConfigError(
            Text(
                f"{folder} {problem.en}; expected no such folder, or the model that is to be "
                "replaced, since replacing it removes all that is in it; move it away, or choose "
                "another folder",
                f"{folder} {problem.zh}；应为尚不存在的文件夹，或要替换掉的模型，因为替换会删除其中"
                "所有内容；请移走，或换一个文件夹",
            )
        )


def _obstacle(folder: Path, run: str) -> Text | None:
    """Why a folder may not be replaced."""
    if not folder.is_dir():
        return Text("is not a folder", "不是文件夹")
    if others := sorted({path.name for path in folder.iterdir()} - FILES - ADAPTER_FILES):
        return Text(
            f"holds {others[0]!r}, which no saved model has",
            f"里有 {others[0]!r}，保存的模型里不会有它",
        )
    try:
        by = read_json(folder / FILE).get("run", "")
    except WeightsError:
        return Text(f"has no {FILE} that can be read", f"里没有能读的 {FILE}")
    if not run or by == run:
        return None
    if by:
        return Text(f"holds the model of the run {by}", f"里是训练 {by} 的模型")
    return Text("holds the model of an unknown run", "里的模型来自未知的训练")


def mark_run(folder: Path, run: str, candidates: Iterable[Mapping[str, Tensor]]) -> None:
    """Write the id of a run into a model that names none, if its weights equal one of the
    candidates, which are weights of that run. Version 0.1.0 exported models without an id.

    Leaves anything else unchanged. Raises DataError if the folder cannot be written.
    """
    try:
        described = read_json(folder / FILE)
        if "run" in described or {path.name for path in folder.iterdir()} != FILES:
            return
        weights = read_safetensors(folder / WEIGHTS)
    except WeightsError:
        return
    if not any(_equal(weights, candidate) for candidate in candidates):
        return
    with write_whole_folder(folder, replace=True) as unfinished:
        shutil.copytree(folder, unfinished, dirs_exist_ok=True)
        text = json.dumps({**described, "run": run}, indent=1) + "\n"
        (unfinished / FILE).write_text(text, encoding="utf-8")


def _equal(saved: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> bool:
    """Whether the saved weights are the trained ones in the saved number format."""
    return saved.keys() == trained.keys() and all(
        torch.equal(value, trained[name].to(value.dtype)) for name, value in saved.items()
    )

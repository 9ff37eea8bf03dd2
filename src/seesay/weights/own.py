"""seesay's own layout: seesay.json, model.safetensors and tokenizer.json in one folder. Training
writes it, and the built-in model is shipped in it."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from seesay.data.atomic import write_whole_folder
from seesay.data.model_files import read_json
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizers import Tokenizer, TokenizerConfig
from seesay.errors import ConfigError, WeightsError
from seesay.models.bert import BertConfig
from seesay.models.captioner import CaptionerConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.fastvit import FastVitConfig
from seesay.models.mean_text import MeanTextConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights.blueprint import Blueprint
from seesay.weights.files import read_tensors

FILE = "seesay.json"
FORMAT = 1
FILES = frozenset({FILE, "model.safetensors", "tokenizer.json"})
TOWERS: dict[str, type] = {
    "vit": VitConfig,
    "resnet": ResNetConfig,
    "mobilenet": MobileNetConfig,
    "fastvit": FastVitConfig,
    "text": TextConfig,
    "bert": BertConfig,
    "mean_text": MeanTextConfig,
}


def read(published: dict[str, Any], path: Path) -> Blueprint:
    """The blueprint that `write` put into `path`. WeightsError for another format or key."""
    if published.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is of format {published.get('format')!r}; this version of seesay reads "
            f"format {FORMAT}. Install the version that wrote it, or train the model again"
        )
    model = dict(published["model"])
    for half in ("image", "text"):
        tower = dict(model[half])
        model[half] = _build(TOWERS[tower.pop("tower")], tower, path)
    if model.get("captioner") is not None:
        model["captioner"] = _build(CaptionerConfig, model["captioner"], path)
    return Blueprint(
        model=_build(DualEncoderConfig, model, path),
        rules=None,
        transform=_build(ImageTransformConfig, published["transform"], path),
        tokenizer=_build(TokenizerConfig, published["tokenizer"], path),
    )


def write(
    folder: Path,
    model: DualEncoder,
    transform: ImageTransformConfig,
    tokenizer: Tokenizer,
    dtype: torch.dtype = torch.float32,
    run: str = "",
) -> None:
    """Write a whole model folder, or nothing: it appears under its name when it is complete.

    `dtype` is what the weights are stored in; torch.float16 halves the size. `run` is the id of the
    training run that the model comes from. A folder that is there already is replaced if
    `check_replaceable` lets it.
    """
    check_replaceable(folder, run)
    described = describe(model.config, transform, tokenizer.config)
    if run:
        described["run"] = run
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() else value).detach().contiguous()
        for name, value in model.state_dict().items()
    }
    with write_whole_folder(folder, replace=True) as unfinished:
        (unfinished / FILE).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        tokenizer.save(unfinished)
        weights = unfinished / "model.safetensors"
        save_file(tensors, weights)
        shutil.copymode(unfinished / FILE, weights)  # safetensors lets nobody else read
        check_replaceable(folder, run)  # again: writing a large model takes minutes


def check_replaceable(folder: Path, run: str = "") -> None:
    """Raises ConfigError where writing a model to `folder` would remove anything but a model that
    seesay wrote there; with `run`, anything but the model of this run."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        problem = "is not a folder"
    elif others := sorted({path.name for path in folder.iterdir()} - FILES):
        problem = f"holds {others[0]!r}, which no saved model has"
    else:
        try:
            by = read_json(folder / FILE).get("run", "")
        except WeightsError:
            problem = f"has no {FILE} that can be read"
        else:
            if not run or by == run:
                return
            problem = f"holds the model of {f'the run {by}' if by else 'an unknown run'}"
    raise ConfigError(
        f"{folder} {problem}; expected no such folder, or the model that is to be replaced, since "
        "replacing it removes all that is in it; move it away, or choose another folder"
    )


def mark_run(folder: Path, run: str, candidates: Iterable[Mapping[str, Tensor]]) -> None:
    """Write the id of a run into a model that names none, if its weights equal one of the
    candidates, which are weights of that run. Version 0.1.0 exported models without an id.

    Leaves anything else as it is. Raises DataError where the folder cannot be written.
    """
    try:
        described = read_json(folder / FILE)
        if "run" in described or {path.name for path in folder.iterdir()} != FILES:
            return
        weights = read_tensors(folder)
    except WeightsError:
        return
    if not any(_equal(weights, candidate) for candidate in candidates):
        return
    with write_whole_folder(folder, replace=True) as unfinished:
        shutil.copytree(folder, unfinished, dirs_exist_ok=True)
        text = json.dumps({**described, "run": run}, indent=1) + "\n"
        (unfinished / FILE).write_text(text, encoding="utf-8")


def _equal(saved: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> bool:
    """Whether saving the trained weights in the number format of the saved ones gives these."""
    return saved.keys() == trained.keys() and all(
        torch.equal(value, trained[name].to(value.dtype)) for name, value in saved.items()
    )


def describe(
    model: DualEncoderConfig, transform: ImageTransformConfig, tokenizer: TokenizerConfig
) -> dict[str, Any]:
    """What seesay.json holds."""
    described = asdict(model)
    for half, config in (("image", model.image), ("text", model.text)):
        tower = next(name for name, kind in TOWERS.items() if kind is type(config))
        described[half] = {"tower": tower, **described[half]}
    return {
        "format": FORMAT,
        "model": described,
        "transform": asdict(transform),
        "tokenizer": asdict(tokenizer),
    }


def _build(kind: type, values: dict[str, Any], path: Path) -> Any:
    known = [field.name for field in fields(kind)]
    if unknown := sorted(values.keys() - set(known)):
        raise WeightsError(
            f"{path} has a setting {unknown[0]!r} that {kind.__name__} does not know; "
            f"expected {', '.join(known)}. It was written by a newer seesay: update"
        )
    return kind(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    """JSON has only lists; frozen configs hold tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value

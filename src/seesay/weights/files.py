"""Read the files of a checkpoint folder: JSON, safetensors in one piece or in shards, and pickles
of tensors where nothing better was published (never anything that could run code)."""

import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seesay.errors import WeightsError

# Best first. An index names shards beside it.
SAFETENSORS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
)
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
PICKLES = ("pytorch_model.bin", "open_clip_pytorch_model.bin")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; WeightsError if the file is missing, damaged or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"{path.parent} has no {path.name}; expected a checkpoint folder as a hub publishes it"
            "; name the folder that holds it, or download it again: seesay models download NAME"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(
            f"{path} cannot be read as JSON ({error}); delete it and download it again"
        ) from None
    if not isinstance(value, dict):
        raise WeightsError(
            f"{path} holds a {type(value).__name__}; expected a JSON object. Download it again"
        )
    return value


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the folder's checkpoint, by its published name."""
    for name in (*SAFETENSORS, INDEXES[0], *PICKLES, INDEXES[1]):
        path = folder / name
        if path.is_file():
            return _read_shards(path) if name in INDEXES else read_file(path)
    raise WeightsError(
        f"{folder} has no weights; expected one of {', '.join((*SAFETENSORS, INDEXES[0]))}"
        f" (or {', '.join(PICKLES)}). Was the download interrupted?"
    )


def read_file(path: Path) -> dict[str, Tensor]:
    """One file of tensors. Safetensors are mapped into memory, not copied."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise WeightsError(
                f"{path} is not a whole safetensors file ({error}); it was cut short, renamed from "
                "another format or damaged: delete it and download it again"
            ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what matters is raised
            published = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path} cannot be read as plain tensors ({_found(error)}); a file that is "
            "damaged, or would run code, is never opened: download it again, or convert it "
            "to safetensors"
        ) from None
    return _only_tensors(published, path)


def _found(error: Exception) -> str:
    """What torch found wrong, without its advice to let the file run code after all."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if not re.search("weights.only load|weights_only", line, re.I)
    ]
    return telling[0].split(" Please ")[0].rstrip(".") if telling else type(error).__name__


def _read_shards(index: Path) -> dict[str, Tensor]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise WeightsError(
            f'{index} has no "weight_map"; expected that of an index of shards; delete it and '
            "download it again"
        )
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(shards.values())):
        path = index.parent / name
        if path.parent != index.parent or not path.is_file():
            raise WeightsError(
                f"{index} names the shard {name}, which is not beside it; "
                "download the missing shard, or the whole folder again"
            )
        tensors |= read_file(path)
    if missing := sorted(shards.keys() - tensors.keys()):
        raise WeightsError(
            f"{index} promises {len(missing)} tensors that no shard holds, {missing[0]} first; "
            "the shards are of another checkpoint: download the folder again"
        )
    return tensors


def _only_tensors(published: Any, path: Path) -> dict[str, Tensor]:
    """Training scripts wrap the tensors in {"state_dict": ...}; more than that is not ours."""
    if isinstance(published, dict) and isinstance(published.get("state_dict"), dict):
        published = published["state_dict"]
    if not isinstance(published, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in published.items()
    ):
        raise WeightsError(
            f"{path} holds something else than named tensors; expected a checkpoint of weights. "
            "Give the file of weights, not that of a whole program or of an optimizer"
        )
    return published

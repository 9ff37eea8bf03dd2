"""A folder of published files -> a model, its picture preparation and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seesay.data.images import ImageTransformConfig
from seesay.data.tokenizers import Tokenizer, load_tokenizer
from seesay.errors import WeightsError
from seesay.models.dual_encoder import DualEncoder
from seesay.weights import chinese_clip, clip, cn_clip, open_clip, own, siglip, taiyi
from seesay.weights.blank import blank_dual_encoder
from seesay.weights.blueprint import Blueprint
from seesay.weights.files import read_file, read_json, read_tensors
from seesay.weights.mapping import load_weights

# config.json's "model_type" -> the family that reads it
FAMILIES = {"clip": clip.read, "siglip": siglip.read, "chinese_clip": chinese_clip.read}


@dataclass(frozen=True)
class Checkpoint:
    """A dual encoder with all that goes around it."""

    model: DualEncoder
    transform: ImageTransformConfig
    tokenizer: Tokenizer
    name: str
    """What the user calls it."""
    revision: str
    """Which state of the published checkpoint it is; "" where that is not known."""


def load_dual_encoder(
    folder: Path,
    *,
    image_folder: Path | None = None,
    name: str | None = None,
    revision: str = "",
) -> Checkpoint:
    """Load a checkpoint folder in Hugging Face, open_clip, Chinese-CLIP or seesay's own layout.

    `image_folder` is for Taiyi-CLIP, whose image half is published apart. The weights come back in
    float32 and in evaluation mode. Raises WeightsError, with the reason, for anything that does
    not fit to the last tensor.
    """
    blueprint, tensors = _read(folder, image_folder)
    model = blank_dual_encoder(blueprint.model)
    wide = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    load_weights(model, wide, blueprint.rules)
    return Checkpoint(
        model=model.eval(),
        transform=blueprint.transform,
        tokenizer=load_tokenizer(folder, blueprint.tokenizer),
        name=name or str(folder),
        revision=revision,
    )


def save_dual_encoder(
    folder: Path,
    checkpoint: Checkpoint,
    dtype: torch.dtype = torch.float32,
    *,
    run: str = "",
) -> None:
    """Write `checkpoint` in seesay's own layout; `dtype` is what its weights are stored in, `run`
    the id of the training run that it comes from.

    A model that is in `folder` is replaced; with `run`, only that of the same run. Raises
    ConfigError where anything else is there, DataError where the folder cannot be written.
    """
    c = checkpoint
    own.write(folder, c.model, c.transform, c.tokenizer, dtype, run)


def _read(folder: Path, image_folder: Path | None) -> tuple[Blueprint, dict[str, Tensor]]:
    if not folder.is_dir():
        raise WeightsError(
            f"{folder} is not a folder; expected a checkpoint folder. Check how it is spelt"
        )
    if (folder / own.FILE).is_file():
        return own.read(read_json(folder / own.FILE), folder / own.FILE), read_tensors(folder)
    if (folder / "open_clip_config.json").is_file():
        published = read_json(folder / "open_clip_config.json")
        return _described(open_clip.read, published, folder=folder), read_tensors(folder)
    if not (folder / "config.json").is_file() and (files := sorted(folder.glob("clip_cn_*.pt"))):
        return cn_clip.read(files[0]), cn_clip.unwrap(read_file(files[0]))
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if family == "bert":
        return _read_taiyi(folder, config, image_folder)
    if family not in FAMILIES:
        raise WeightsError(
            f"{folder} holds a model of type {family!r}; expected one of "
            f"{', '.join((*FAMILIES, 'bert (Taiyi-CLIP)'))}, or open_clip's or seesay's own layout"
            "; choose another model: seesay models list"
        )
    blueprint = _described(FAMILIES[family], config, _preprocessing(folder), folder=folder)
    return blueprint, read_tensors(folder)


def _read_taiyi(
    folder: Path, config: dict[str, Any], image_folder: Path | None
) -> tuple[Blueprint, dict[str, Tensor]]:
    if image_folder is None:
        raise WeightsError(
            f"{folder} holds only the text half of Taiyi-CLIP; expected the image half too: load "
            "it by its catalogue name, or give image_folder= the OpenAI CLIP folder it belongs to"
        )
    image_config = read_json(image_folder / "config.json")
    blueprint = _described(
        taiyi.read, config, image_config, _preprocessing(image_folder), folder=folder
    )
    return blueprint, {**read_tensors(image_folder), **read_tensors(folder)}


def _described(read: Any, *published: dict[str, Any], folder: Path) -> Blueprint:
    """`read(*published)`, where a config that lacks or twists a value gives a clear error."""
    try:
        blueprint: Blueprint = read(*published)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"the config files in {folder} do not describe a model that seesay can build "
            f"({error!r}); they were changed or cut short: download the folder again"
        ) from None
    return blueprint


def _preprocessing(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json, or the same inside the newer processor_config.json, or nothing."""
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        inside = read_json(folder / "processor_config.json").get("image_processor")
        return inside if isinstance(inside, dict) else {}
    return {}

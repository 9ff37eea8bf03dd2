"""A folder of published files -> a model, its picture preparation and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seesay.data.model_files import MOST_CONFIG, is_there, parse_json, read_json, read_text
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizers import Tokenizer, load_tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import WeightsError
from seesay.models.dual_encoder import DualEncoder
from seesay.weights import (
    altclip,
    chinese_clip,
    clip,
    cn_clip,
    m_clip,
    open_clip,
    openai,
    own,
    siglip,
    taiyi,
)
from seesay.weights.blank import blank_dual_encoder
from seesay.weights.blueprint import Blueprint, block_count, described
from seesay.weights.files import has_weights, read_file, read_tensors
from seesay.weights.mapping import load_weights

DIFFERENT = ("a cat", "狗")
SAME = 1e-5  # far above rounding, far below what a word makes
SENTENCE_TRANSFORMERS = "0_CLIPModel"
"""Where sentence-transformers keeps CLIP in a folder of modules; the rest is its own index."""
# config.json's "model_type" -> the family that reads it
FAMILIES = {
    "clip": clip.read,
    "metaclip_2": clip.read,
    "siglip": siglip.read,
    "siglip2": siglip.read,
    "fgclip2": siglip.read,
    "chinese_clip": chinese_clip.read,
    "altclip": altclip.read,
}
# Those that are published without the image half
TEXT_HALVES = {"bert": ("Taiyi-CLIP", taiyi.read), "M-CLIP": ("M-CLIP", m_clip.read)}


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
    """Load a checkpoint folder in the layout of Hugging Face, sentence-transformers, open_clip,
    OpenAI, Chinese-CLIP or seesay.

    `image_folder` is for Taiyi-CLIP and M-CLIP, whose image half is published apart. The weights
    come back in float32 and in evaluation mode. Raises WeightsError, with the reason, for anything
    that does not fit to the last tensor. A folder may come from anyone: its sizes are compared with
    its weights before any memory is taken, and nothing in it is run.
    """
    if is_there(folder / SENTENCE_TRANSFORMERS) and not is_there(folder / "config.json"):
        _check_modules(folder)
        folder, name = folder / SENTENCE_TRANSFORMERS, name or str(folder)
    blueprint, tensors = _read(folder, image_folder)
    if (layers := block_count(blueprint.model)) > len(tensors):
        raise WeightsError(
            f"the config in {folder} describes {layers} layers, and there are only "
            f"{len(tensors)} tensors; expected the config that belongs to the weights: "
            "download the folder again"
        )
    model = blank_dual_encoder(blueprint.model)
    load_weights(model, tensors, blueprint.rules)
    tokenizer = load_tokenizer(folder, blueprint.tokenizer)
    if tokenizer.largest_id >= model.config.text.vocab_size:
        raise WeightsError(
            f"the tokenizer in {folder} gives ids up to {tokenizer.largest_id}, and the text tower "
            f"knows {model.config.text.vocab_size} tokens; expected the tokenizer that belongs to "
            "the weights: download the folder again"
        )
    model.eval()
    if blueprint.rules is not None:  # our own layout leaves nothing to misread
        _check_differences(model, blueprint.transform, tokenizer, folder)
    return Checkpoint(
        model=model,
        transform=blueprint.transform,
        tokenizer=tokenizer,
        name=name or str(folder),
        revision=revision,
    )


@torch.inference_mode()
def _check_differences(
    model: DualEncoder, transform: ImageTransformConfig, tokenizer: Tokenizer, folder: Path
) -> None:
    """Raises WeightsError where different texts, or different pictures, have the same vector: then
    a setting is not what it seems, whatever the tables say of it."""
    # A small vocabulary may know none of them.
    ids = torch.from_numpy(tokenizer.encode(DIFFERENT).ids).unique(dim=0)
    size, see = transform.size, ImageTransform(transform)
    colours = np.linspace(0, 255, 3 * size * size).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(colours.reshape(3, size, size).T))
    pictures = torch.stack([see(picture), see(picture.rotate(180))])
    vectors = {
        "texts": model.embed_texts(model.text.trim(ids)),  # type: ignore[operator]
        "pictures": model.embed_images(pictures),
    }
    for what, found in vectors.items():
        if len(found) > 1 and not (found - found[:1]).abs().max() > SAME:
            raise WeightsError(
                f"the model in {folder} gives different {what} the same vector; expected one of "
                "its own for each. Its weights or settings are damaged, or of a kind that seesay "
                "does not have: choose another model: seesay models list"
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
    if is_there(folder / own.FILE):
        published = read_json(folder / own.FILE)
        blueprint = described(lambda: own.read(published, folder / own.FILE), folder)
        return blueprint, read_tensors(folder)
    if _is_open_clip(folder):
        published = read_json(folder / "open_clip_config.json")
        blueprint = described(lambda: open_clip.read(published), folder)
        tensors = read_tensors(folder, "open_clip")
        return blueprint, open_clip.fit_positions(tensors, blueprint.model)
    if is_there(folder / "config.json"):
        return _read_hugging_face(folder, image_folder)
    if files := sorted(folder.glob("clip_cn_*.pt")) or sorted(folder.glob("*.pt")):
        return _read_one_file(files[0], folder)
    return _read_hugging_face(folder, image_folder)  # which says what is missing


def _read_hugging_face(
    folder: Path, image_folder: Path | None
) -> tuple[Blueprint, dict[str, Tensor]]:
    config = read_json(folder / "config.json")
    family = config.get("model_type")
    if not isinstance(family, str) or family not in {**FAMILIES, **TEXT_HALVES}:
        raise WeightsError(
            f"{folder} holds a model of type {family!r:.60}; expected one of "
            f"{', '.join((*FAMILIES, 'bert (Taiyi-CLIP)', 'M-CLIP'))}, or open_clip's or seesay's "
            "own layout; choose another model: seesay models list"
        )
    if family in TEXT_HALVES:
        return _read_halves(folder, config, image_folder)
    preprocessing = _preprocessing(folder)
    blueprint = described(lambda: FAMILIES[family](config, preprocessing), folder)
    return blueprint, read_tensors(folder)


def _read_one_file(file: Path, folder: Path) -> tuple[Blueprint, dict[str, Tensor]]:
    """A file that is published alone: Chinese-CLIP's, which its name describes, or OpenAI's."""
    if file.name.startswith("clip_cn_"):
        return described(lambda: cn_clip.read(file), folder), read_file(file)
    tensors = read_file(file)
    return described(lambda: openai.read(tensors, file), folder), tensors


def _check_modules(folder: Path) -> None:
    """Raises WeightsError where sentence-transformers does more with a vector than CLIP does."""
    path = folder / "modules.json"
    listed = f'{{"modules": {read_text(path, MOST_CONFIG)}}}'  # the file is a list
    modules = parse_json(listed, path)["modules"]
    if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules):
        raise WeightsError(
            f"{path} is no list of modules; expected the file as published: download it again"
        )
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if others := [kind for kind in kinds[1:] if kind != "Normalize"]:
        raise WeightsError(
            f"{path} lists {others[0]:.60} behind CLIP, which seesay does not have; expected "
            "CLIPModel, and at most Normalize; choose another model: seesay models list"
        )


def _is_open_clip(folder: Path) -> bool:
    """Whether to read open_clip's layout, which may stand beside Hugging Face's: the one with
    safetensors, and where both have them, open_clip's, as the download chooses too."""
    if not is_there(folder / "open_clip_config.json"):
        return False
    if not is_there(folder / "config.json") or not has_weights(folder, "hf"):
        return True
    if has_weights(folder, "open_clip", safe=True):
        return True
    return has_weights(folder, "open_clip") and not has_weights(folder, "hf", safe=True)


def _read_halves(
    folder: Path, config: dict[str, Any], image_folder: Path | None
) -> tuple[Blueprint, dict[str, Tensor]]:
    name, read = TEXT_HALVES[config["model_type"]]
    if image_folder is None:
        raise WeightsError(
            f"{folder} holds only the text half of {name}; expected the image half too: load it "
            "by its catalogue name, or give image_folder= the OpenAI CLIP folder it belongs to"
        )
    image_config = read_json(image_folder / "config.json")
    preprocessing = _preprocessing(image_folder)
    blueprint = described(lambda: read(config, image_config, preprocessing), folder)
    return blueprint, {**read_tensors(image_folder), **read_tensors(folder)}


def _preprocessing(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json, or the same inside the newer processor_config.json, or nothing."""
    if is_there(folder / "preprocessor_config.json"):
        return read_json(folder / "preprocessor_config.json")
    if is_there(folder / "processor_config.json"):
        inside = read_json(folder / "processor_config.json").get("image_processor")
        return inside if isinstance(inside, dict) else {}
    return {}

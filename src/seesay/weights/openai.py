"""OpenAI's CLIP as OpenAI published it: one `.pt` file, a TorchScript archive or the tensors of
one, and no config. The shapes of its tensors tell the architecture (openai/CLIP, model.py).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from seesay.errors import WeightsError
from seesay.weights import open_clip
from seesay.weights.blueprint import Blueprint

# Beside its weights, OpenAI's own file keeps these numbers as tensors.
MARKS = ("input_resolution", "context_length", "vocab_size")
NAMES = r"(RN50|RN101|RN50x4|RN50x16|RN50x64|ViT-B-32|ViT-B-16|ViT-L-14|ViT-L-14-336px)\.pt"


def read(tensors: Mapping[str, Tensor], file: Path) -> Blueprint:
    """The blueprint of a file of OpenAI's, known by its marks or its name.

    Raises WeightsError for tensors of the same names that another program trained: no shape tells
    their activation.
    """
    if not set(MARKS) & tensors.keys() and not re.fullmatch(NAMES, file.name):
        raise WeightsError(
            f"{file} comes without a config, and is not one of OpenAI's own files (ViT-B-32.pt, "
            "...); expected open_clip_config.json beside it. Write one, with the model's file from "
            'open_clip\'s model_configs: {"model_cfg": ...}'
        )
    blueprint = open_clip.read({"model_cfg": _config(tensors)})
    assert blueprint.rules is not None
    return replace(blueprint, rules={**blueprint.rules, **dict.fromkeys(MARKS)})


def _config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The same model as open_clip describes it."""
    width = tensors["ln_final.weight"].shape[0]
    return {
        "embed_dim": tensors["text_projection"].shape[1],
        "quick_gelu": True,
        "vision_cfg": _vit(tensors) if "visual.proj" in tensors else _resnet(tensors),
        "text_cfg": {
            "context_length": tensors["positional_embedding"].shape[0],
            "vocab_size": tensors["token_embedding.weight"].shape[0],
            "width": width,
            "heads": width // 64,
            "layers": _count(tensors, r"transformer\.resblocks\.(\d+)\."),
        },
    }


def _vit(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    width, _, _, patch = tensors["visual.conv1.weight"].shape
    return {
        "width": width,
        "patch_size": patch,
        "image_size": patch * _grid(tensors["visual.positional_embedding"]),
        "layers": _count(tensors, r"visual\.transformer\.resblocks\.(\d+)\."),
    }


def _resnet(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "width": tensors["visual.layer1.0.conv1.weight"].shape[0],
        "image_size": 32 * _grid(tensors["visual.attnpool.positional_embedding"]),
        "layers": [_count(tensors, rf"visual\.layer{n}\.(\d+)\.") for n in range(1, 5)],
    }


def _grid(positions: Tensor) -> int:
    """Patches along one side; one position more is the class token's."""
    return isqrt(positions.shape[0] - 1)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})

"""Checkpoints published as one `.pt` file without a config: OpenAI's CLIP and Chinese-CLIP.

OpenAI's file is a TorchScript archive or the tensors of one, whose shapes tell the architecture
(openai/CLIP, model.py). The name of Chinese-CLIP's tells it (cn_clip/clip/model_configs and
utils.py); ResNet-50 with the three-layer RBT3 is published in no other form.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig
from seesay.errors import WeightsError
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.vit import VitConfig
from seesay.text import Text
from seesay.weights import open_clip
from seesay.weights.bundle import Blueprint
from seesay.weights.chinese_clip import CONTEXT, bert_rules
from seesay.weights.tensors import Rules, Transposed

# Beside its weights, OpenAI's own file keeps these numbers as tensors.
OPENAI_MARKS = ("input_resolution", "context_length", "vocab_size")
OPENAI_NAMES = r"(RN50|RN101|RN50x4|RN50x16|RN50x64|ViT-B-32|ViT-B-16|ViT-L-14|ViT-L-14-336px)\.pt"


def read_openai(tensors: Mapping[str, Tensor], file: Path) -> Blueprint:
    """The blueprint of a file of OpenAI's, known by its marks or its name.

    Raises WeightsError for tensors of the same names that another program trained: no shape tells
    their activation.
    """
    if not set(OPENAI_MARKS) & tensors.keys() and not re.fullmatch(OPENAI_NAMES, file.name):
        raise WeightsError(
            Text(
                f"{file} comes without a config, and is not one of OpenAI's own files "
                "(ViT-B-32.pt, ...); expected open_clip_config.json beside it. Write one, with the "
                "model's file from open_clip's model_configs: {\"model_cfg\": ...}",
                f"{file} 没有配置，也不是 OpenAI 自己的文件（ViT-B-32.pt 等）；旁边应有 "
                "open_clip_config.json。请用 open_clip 的 model_configs 里该模型的文件写一份："
                '{"model_cfg": ...}',
            )
        )
    blueprint = open_clip.read({"model_cfg": _config(tensors)})
    assert blueprint.rules is not None
    return replace(blueprint, rules={**blueprint.rules, **dict.fromkeys(OPENAI_MARKS)})


def _config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The model's config in open_clip's terms, read from the shapes of its tensors."""
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


ROBERTA_LARGE = BertConfig(dim=1024, depth=24, heads=16, hidden=4096)
CHINESE_CLIPS = {
    "rn50": DualEncoderConfig(
        image=ResNetConfig(), text=BertConfig(depth=3), embed_dim=1024, project_image=False
    ),
    "vit-b-16": DualEncoderConfig(image=VitConfig(), text=BertConfig(), embed_dim=512),
    "vit-l-14": DualEncoderConfig(
        image=VitConfig(patch_size=14, dim=1024, depth=24, heads=16, hidden=4096),
        text=BertConfig(),
        embed_dim=768,
    ),
    "vit-l-14-336": DualEncoderConfig(
        image=VitConfig(image_size=336, patch_size=14, dim=1024, depth=24, heads=16, hidden=4096),
        text=BertConfig(),
        embed_dim=768,
    ),
    "vit-h-14": DualEncoderConfig(
        image=VitConfig(patch_size=14, dim=1280, depth=32, heads=16, hidden=5120),
        text=ROBERTA_LARGE,
        embed_dim=1024,
    ),
}

CHINESE_TEXT_RULES: Rules = {
    **bert_rules("bert"),
    "bert.pooler.dense.weight": None,  # Chinese-CLIP takes the first token as it is
    "bert.pooler.dense.bias": None,
    "logit_scale": "log_scale",
    "text_projection": Transposed("text_proj.weight"),
}


def read_chinese_clip(file: Path) -> Blueprint:
    """The blueprint of a file with one of the published names, such as clip_cn_rn50.pt."""
    size = file.stem.removeprefix("clip_cn_")
    if size not in CHINESE_CLIPS:
        raise WeightsError(
            Text(
                f"{file} is none of Chinese-CLIP's published files; expected clip_cn_NAME.pt with "
                f"NAME one of {', '.join(CHINESE_CLIPS)}",
                f"{file} 不是 Chinese-CLIP 公开的文件；应为 clip_cn_NAME.pt，其中 NAME 是 "
                f"{'、'.join(CHINESE_CLIPS)} 之一",
            )
        )
    model = CHINESE_CLIPS[size]
    assert isinstance(model.image, VitConfig | ResNetConfig)
    resnet = isinstance(model.image, ResNetConfig)
    return Blueprint(
        model=model,
        rules={
            **(open_clip.RESNET_RULES if resnet else open_clip.VIT_RULES),
            **CHINESE_TEXT_RULES,
        },
        transform=ImageTransformConfig(
            size=model.image.image_size,
            resize="squash",
            crop=False,
            interpolation="bicubic",
            mean=OPENAI_MEAN,
            std=OPENAI_STD,
        ),
        tokenizer=TokenizerConfig(context=min(CONTEXT, model.text.context), pad_id=0, clean="none"),
    )

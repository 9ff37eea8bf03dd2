"""Chinese-CLIP in its authors' own form: one `clip_cn_*.pt` file and no config. ResNet-50 with the
three-layer RBT3 is published in this form only.

Sizes: Chinese-CLIP, cn_clip/clip/model_configs and utils.py (the pairs of towers).
"""

from pathlib import Path

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig
from seesay.data.tokenizers import TokenizerConfig
from seesay.errors import WeightsError
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.vit import VitConfig
from seesay.weights.blueprint import Blueprint
from seesay.weights.chinese_clip import CONTEXT, bert_rules
from seesay.weights.mapping import Rules, Transposed
from seesay.weights.open_clip.layout import RESNET_RULES, VIT_RULES

ROBERTA_LARGE = BertConfig(dim=1024, depth=24, heads=16, hidden=4096)
MODELS = {
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

TEXT_RULES: Rules = {
    **bert_rules("bert"),
    "bert.pooler.dense.weight": None,  # Chinese-CLIP takes the first token as it is
    "bert.pooler.dense.bias": None,
    "logit_scale": "log_scale",
    "text_projection": Transposed("text_proj.weight"),
}


def read(file: Path) -> Blueprint:
    """The blueprint of a file with one of the published names, such as clip_cn_rn50.pt."""
    size = file.stem.removeprefix("clip_cn_")
    if size not in MODELS:
        raise WeightsError(
            f"{file} is none of Chinese-CLIP's published files; "
            f"expected clip_cn_NAME.pt with NAME one of {', '.join(MODELS)}"
        )
    model = MODELS[size]
    assert isinstance(model.image, VitConfig | ResNetConfig)
    return Blueprint(
        model=model,
        rules={
            **(RESNET_RULES if isinstance(model.image, ResNetConfig) else VIT_RULES),
            **TEXT_RULES,
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

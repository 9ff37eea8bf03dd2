"""CLIP image towers with a BERT trained to match them: AltCLIP, Taiyi-CLIP and M-CLIP.

Taiyi-CLIP and M-CLIP are published as text halves only. Taiyi's is transformers'
BertForSequenceClassification, whose "classes" are the axes of CLIP's space (model card of
IDEA-CCNL/Taiyi-CLIP-Roberta-102M-Chinese); M-CLIP's is XLM-R, taught in 100 languages
(multilingual_clip, pt_multilingual_clip.py). The image half is the untouched OpenAI or LAION CLIP.
"""

from dataclasses import replace
from typing import Any

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD
from seesay.data.tokenizer import TokenizerConfig
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.weights import clip
from seesay.weights.bundle import Blueprint
from seesay.weights.chinese_clip import BERT_KNOWN, TEXT_DEFAULTS, bert, bert_rules
from seesay.weights.open_clip_towers import HF_TOWERS
from seesay.weights.preprocessing import transform_from_hf
from seesay.weights.settings import HUGGING_FACE, Known, Settings, every_setting
from seesay.weights.tensors import Rules, both

# Defaults of transformers' AltCLIPTextConfig; a test compares them.
ALTCLIP_DEFAULTS: dict[str, Any] = {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "project_dim": 768,
}
CONTEXT = 77
"""Tokens in a text of AltCLIP (FlagAI, examples/AltCLIP: max_length), and of M-CLIP, whose own code
sets no limit but the table's 512; it learnt from captions."""


def read_altclip(config: dict[str, Any], preprocessing: dict[str, Any]) -> Blueprint:
    """The blueprint of a folder whose config.json says `"model_type": "altclip"`."""
    with every_setting(config, "config.json", {**clip.KNOWN, **BERT_KNOWN}) as settings:
        return _altclip(settings, preprocessing)


def _altclip(config: Settings, preprocessing: dict[str, Any]) -> Blueprint:
    t = config.section("text_config", ALTCLIP_DEFAULTS)
    first = t["pad_token_id"] + 1
    text = replace(
        bert(t),
        context=t["max_position_embeddings"] - first,
        first_position=first,
        mapped_dim=t["project_dim"],
    )
    image = clip.vit(config.section("vision_config", clip.VISION_DEFAULTS))
    return Blueprint(
        model=DualEncoderConfig(
            image=image, text=text, embed_dim=config.get("projection_dim", 768)
        ),
        rules=ALTCLIP_RULES,
        transform=transform_from_hf(
            preprocessing, size=image.image_size, mean=OPENAI_MEAN, std=OPENAI_STD
        ),
        tokenizer=TokenizerConfig(
            context=min(CONTEXT, text.context), pad_id=text.pad_id, clean="none"
        ),
    )


ALTCLIP_RULES: Rules = {
    **clip.IMAGE_RULES,
    "logit_scale": "log_scale",
    "text_projection.weight": "text_proj.weight",
    **bert_rules("text_model.roberta"),
    **both("text_model.pre_LN", "text.map.0"),
    **both("text_model.transformation", "text.map.1"),
}

# The folder of the image half holds CLIP's own text half as well, which is not wanted.
HALF_RULES: Rules = {
    **{name: None for name in clip.RULES if name.startswith("text_")},
    **clip.IMAGE_RULES,
    "logit_scale": "log_scale",
}


def read_taiyi(
    config: dict[str, Any], image_config: dict[str, Any], preprocessing: dict[str, Any]
) -> Blueprint:
    """`config` is the text half's config.json; the other two come from the image half's folder."""
    image = clip.read(image_config, preprocessing)
    published = {**TEXT_DEFAULTS, **config}
    with every_setting(published, "config.json", {**HUGGING_FACE, **BERT_KNOWN}) as text:
        return Blueprint(
            model=replace(image.model, text=replace(bert(text), pool="pooler"), text_bias=True),
            rules=TAIYI_RULES,
            transform=image.transform,
            tokenizer=TokenizerConfig(
                context=text["max_position_embeddings"], pad_id=text["pad_token_id"], clean="none"
            ),
        )


TAIYI_RULES: Rules = {
    **HALF_RULES,
    **bert_rules("bert"),
    **both("bert.pooler.dense", "text.pooler"),
    **both("classifier", "text_proj"),
}

M_CLIP_KNOWN: Known = {
    **HUGGING_FACE,
    **dict.fromkeys(("numDims", "transformerDimensions"), "as the image half and modelBase say"),
}


def read_m_clip(
    config: dict[str, Any], image_config: dict[str, Any], preprocessing: dict[str, Any]
) -> Blueprint:
    """`config` is the text half's config.json; the other two come from the image half's folder."""
    image = clip.read(image_config, preprocessing)
    with every_setting(config, "config.json", M_CLIP_KNOWN) as settings:
        base = settings.get("modelBase", "xlm-roberta-large")
        text = HF_TOWERS.get(str(base))
        if not isinstance(text, BertConfig):
            raise settings.refusal("modelBase", base, "xlm-roberta-large")
    return Blueprint(
        model=replace(image.model, text=replace(text, pool="mean"), text_bias=True),
        rules=M_CLIP_RULES,
        transform=image.transform,
        tokenizer=TokenizerConfig(
            context=min(CONTEXT, text.context), pad_id=text.pad_id, clean="none"
        ),
    )


M_CLIP_RULES: Rules = {
    **HALF_RULES,
    **bert_rules("transformer"),
    **dict.fromkeys(both("transformer.pooler.dense", "")),  # unused
    **both("LinearTransformation", "text_proj"),
}

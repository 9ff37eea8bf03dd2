"""Taiyi-CLIP: a Chinese RoBERTa trained to meet a frozen OpenAI (or LAION) image tower.

It is published as two checkpoints: the text half as transformers' BertForSequenceClassification,
whose "classes" are the axes of CLIP's space, and the image half as the untouched CLIP
(model card of IDEA-CCNL/Taiyi-CLIP-Roberta-102M-Chinese).
"""

from dataclasses import replace
from typing import Any

from seesay.data.tokenizers import TokenizerConfig
from seesay.weights import clip
from seesay.weights.blueprint import Blueprint
from seesay.weights.chinese_clip import BERT_KNOWN, TEXT_DEFAULTS, bert, bert_rules
from seesay.weights.mapping import Rules, both
from seesay.weights.settings import HUGGING_FACE, every_setting


def read(
    config: dict[str, Any], image_config: dict[str, Any], preprocessing: dict[str, Any]
) -> Blueprint:
    """`config` is the text half's config.json; the other two come from the image half's folder."""
    image = clip.read(image_config, preprocessing)
    published = {**TEXT_DEFAULTS, **config}
    with every_setting(published, "config.json", {**HUGGING_FACE, **BERT_KNOWN}) as text:
        return Blueprint(
            model=replace(image.model, text=replace(bert(text), pool="pooler"), text_bias=True),
            rules=RULES,
            transform=image.transform,
            tokenizer=TokenizerConfig(
                context=text["max_position_embeddings"], pad_id=text["pad_token_id"], clean="none"
            ),
        )


RULES: Rules = {
    # CLIP's own text half comes with the image half; it is not wanted.
    **{name: None for name in clip.RULES if name.startswith("text_")},
    **clip.IMAGE_RULES,
    "logit_scale": "log_scale",
    **bert_rules("bert"),
    **both("bert.pooler.dense", "text.pooler"),
    **both("classifier", "text_proj"),
}

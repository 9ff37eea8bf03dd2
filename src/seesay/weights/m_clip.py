"""M-CLIP: XLM-R text towers taught to meet an untouched OpenAI CLIP image tower in 100 languages.

Published as the text half alone (multilingual_clip, pt_multilingual_clip.py); the image half is
OpenAI's own checkpoint.
"""

from dataclasses import replace
from typing import Any

from seesay.data.tokenizers import TokenizerConfig
from seesay.models.bert import BertConfig
from seesay.weights import clip
from seesay.weights.blueprint import Blueprint
from seesay.weights.chinese_clip import bert_rules
from seesay.weights.mapping import Rules, both
from seesay.weights.open_clip.hf_towers import TOWERS
from seesay.weights.settings import HUGGING_FACE, Known, every_setting

KNOWN: Known = {
    **HUGGING_FACE,
    **dict.fromkeys(("numDims", "transformerDimensions"), "as the image half and modelBase say"),
}
CONTEXT = 77
"""Tokens in a row. Its own code sets no limit but the table's 512; it learnt from captions."""


def read(
    config: dict[str, Any], image_config: dict[str, Any], preprocessing: dict[str, Any]
) -> Blueprint:
    """`config` is the text half's config.json; the other two come from the image half's folder."""
    image = clip.read(image_config, preprocessing)
    with every_setting(config, "config.json", KNOWN) as settings:
        base = settings.get("modelBase", "xlm-roberta-large")
        text = TOWERS.get(str(base))
        if not isinstance(text, BertConfig):
            raise settings.refusal("modelBase", base, "xlm-roberta-large")
    return Blueprint(
        model=replace(image.model, text=replace(text, pool="mean"), text_bias=True),
        rules=RULES,
        transform=image.transform,
        tokenizer=TokenizerConfig(
            context=min(CONTEXT, text.context), pad_id=text.pad_id, clean="none"
        ),
    )


RULES: Rules = {
    # CLIP's own text half comes with the image half; it is not wanted.
    **{name: None for name in clip.RULES if name.startswith("text_")},
    **clip.IMAGE_RULES,
    "logit_scale": "log_scale",
    **bert_rules("transformer"),
    **dict.fromkeys(both("transformer.pooler.dense", "")),  # unused
    **both("LinearTransformation", "text_proj"),
}

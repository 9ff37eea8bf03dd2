"""Text towers that open_clip takes from transformers: BERT, RoBERTa, XLM-R and NLLB (hf_model.py).

Its configs name them by their repositories; the sizes are those of the repositories' config.json.
"""

from dataclasses import replace
from typing import Literal

from seesay.models.bert import BertConfig
from seesay.models.text_encoder import TextConfig
from seesay.weights.chinese_clip import bert_rules
from seesay.weights.mapping import Rules, both
from seesay.weights.settings import Settings

XLM_R_BASE = BertConfig(
    vocab_size=250_002, context=512, norm_eps=1e-5, token_types=1, pad_id=1, first_position=2
)
XLM_R_LARGE = replace(XLM_R_BASE, dim=1024, depth=24, heads=16, hidden=4096)
NLLB_600M = TextConfig(
    vocab_size=256_206,
    context=1024,
    dim=1024,
    heads=16,
    hidden=4096,
    activation="relu",
    causal=False,
    pool="first",
    pad_id=1,
    pad_mask=True,
    positions="sinusoidal",
)
TOWERS: dict[str, BertConfig | TextConfig] = {
    "xlm-roberta-base": XLM_R_BASE,
    "xlm-roberta-large": XLM_R_LARGE,
    "roberta-base": replace(XLM_R_BASE, vocab_size=50_265),
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": BertConfig(vocab_size=30_522),
    "facebook/nllb-200-distilled-600M": NLLB_600M,
    "facebook/nllb-200-distilled-1.3B": replace(NLLB_600M, depth=24, hidden=8192),
}
POOLS: dict[str, Literal["first", "pooler", "mean"]] = {
    "mean_pooler": "mean",
    "cls_pooler": "pooler",
    "cls_last_hidden_state_pooler": "first",
}


def hf_text(t: Settings) -> BertConfig | TextConfig:
    """The tower of a `text_cfg` with a `hf_model_name`."""
    name, pooler = t["hf_model_name"], t.get("hf_pooler_type", "mean_pooler")
    tower = TOWERS.get(str(name).removeprefix("FacebookAI/"))
    if tower is None:
        raise t.refusal("hf_model_name", name, *TOWERS)
    if isinstance(tower, TextConfig):
        if pooler != "cls_pooler":
            raise t.refusal("hf_pooler_type", pooler, "cls_pooler")
        return tower
    if pooler not in POOLS:
        raise t.refusal("hf_pooler_type", pooler, *POOLS)
    return replace(tower, pool=POOLS[pooler])


def hf_hidden(t: Settings, text: BertConfig | TextConfig, embed_dim: int) -> int | None:
    """Width between the two maps into the space, or none where there is one map."""
    if t.get("hf_model_name") is None or t.one_of("hf_proj_type", "mlp", "linear") == "linear":
        return None
    return (text.output_dim + embed_dim) // 2


def _nllb_rules() -> Rules:
    layer, block = "text.transformer.layers.{}", "text.blocks.{}"
    modules = {
        "self_attn.q_proj": "attention.query",
        "self_attn.k_proj": "attention.key",
        "self_attn.v_proj": "attention.value",
        "self_attn.out_proj": "attention.out",
        "self_attn_layer_norm": "norm1",
        "final_layer_norm": "norm2",
        "fc1": "mlp.up",
        "fc2": "mlp.down",
    }
    rules = both("text.transformer.layer_norm", "text.norm_out")
    for a, b in modules.items():
        rules |= both(f"{layer}.{a}", f"{block}.{b}")
    return {
        **rules,
        "text.transformer.embed_tokens.weight": "text.token_embed.weight",
        "text.transformer.embed_positions.weights": None,  # computed
    }


HF_RULES: Rules = {
    "logit_scale": "log_scale",
    "logit_bias": "bias",
    "text.proj.weight": "text_proj.weight",
    "text.proj.{}.weight": "text_proj.{}.weight",
    **bert_rules("text.transformer"),
    **both("text.transformer.pooler.dense", "text.pooler"),
    **_nllb_rules(),
}

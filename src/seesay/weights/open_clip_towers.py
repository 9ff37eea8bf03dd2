"""Towers that open_clip builds with timm and transformers: sizes, and names of tensors.

Image towers of timm: SigLIP, EVA, PE-Core, MobileCLIP and BiomedCLIP. Text towers of transformers
(hf_model.py): BERT, RoBERTa, XLM-R and NLLB, whose sizes are those in their repositories.
"""

import re
from dataclasses import replace
from typing import Literal

from seesay.errors import WeightsError
from seesay.models.bert import BertConfig
from seesay.models.fastvit import FastVitConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.text import Text
from seesay.weights.chinese_clip import bert_rules
from seesay.weights.settings import Settings
from seesay.weights.tensors import Rule, Rules, batch_norm, both, fused

# Vision transformers of timm

# width, layers, heads, MLP width (timm, vision_transformer.py and eva.py)
SIGLIP_SIZES = {
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "giantopt": (1536, 40, 16, 6144),
}
EVA02_SIZES = {"base": (768, 12, 12, 2048), "large": (1024, 24, 16, 2730)}
# Those that timm builds with the tanh approximation of GELU; the others use the exact one.
TANH_SIZES = {
    "base_patch32_siglip_256",
    "large_patch16_siglip_512",
    "so400m_patch16_siglip_256",
    "so400m_patch16_siglip_384",
    "so400m_patch16_siglip_512",
    "giantopt_patch16_siglip_256",
    "giantopt_patch16_siglip_384",
}


PLAIN = VitConfig(activation="gelu", norm_eps=1e-6, patch_bias=True, pre_norm=False)
PE = VitConfig(activation="gelu", pool="attention", class_token=True, pool_heads=8, pe=True)
# timm, eva.py, vision_transformer.py and vision_transformer_hybrid.py
NAMED = {
    "vit_base_patch16_224": PLAIN,
    "vit_base_mci_224": replace(PLAIN, stem="convs", class_position=False),
    "vit_large_patch14_clip_224": VitConfig(
        patch_size=14, dim=1024, depth=24, heads=16, hidden=4096, activation="gelu"
    ),
    "eva_giant_patch14_224": replace(
        PLAIN, patch_size=14, dim=1408, depth=40, heads=16, hidden=6144, key_bias=False
    ),
    "vit_pe_core_tiny_patch16_384": replace(PE, dim=192, heads=3, hidden=768, rope_reference=24),
    "vit_pe_core_small_patch16_384": replace(PE, dim=384, heads=6, hidden=1536, rope_reference=24),
    "vit_pe_core_base_patch16_224": replace(PE, rope_reference=14),
    "vit_pe_core_large_patch14_336": replace(
        PE, patch_size=14, dim=1024, depth=24, heads=16, hidden=4096, rope_reference=24
    ),
    "vit_pe_core_gigantic_patch14_448": replace(
        PE,
        patch_size=14,
        dim=1536,
        depth=50,
        heads=16,
        hidden=8960,
        pool_hidden=6144,
        class_token=False,
        rope_reference=32,
    ),
}


def timm_vit(name: str, image_size: int) -> VitConfig:
    """`vit_base_patch16_siglip_256`, `eva02_large_patch14_clip_336`, ... -> the tower."""
    if name in NAMED:
        return replace(NAMED[name], image_size=image_size)
    if found := re.fullmatch(r"vit_((\w+)_patch(\d+)_siglip_\d+)", name):
        variant, size, patch = found.groups()
        if size in SIGLIP_SIZES:
            dim, depth, heads, hidden = SIGLIP_SIZES[size]
            return VitConfig(
                image_size=image_size,
                patch_size=int(patch),
                dim=dim,
                depth=depth,
                heads=heads,
                hidden=hidden,
                activation="gelu_tanh" if variant in TANH_SIZES else "gelu",
                norm_eps=1e-6,
                pool="attention",
                patch_bias=True,
                pre_norm=False,
            )
    found = re.fullmatch(r"eva02_(base|large)_patch(\d+)_clip_\d+", name)
    if found is None:
        siglip, eva = ", ".join(SIGLIP_SIZES), ", ".join(EVA02_SIZES)
        named = ", ".join(NAMED)
        raise WeightsError(
            Text(
                f"this checkpoint's image tower is timm's {name}, which seesay does not have; "
                f"expected a SigLIP tower ({siglip}), an EVA-02-CLIP one ({eva}), or one of "
                f"{named}; choose another model: seesay models list",
                f"这份权重的图像塔是 timm 的 {name}，seesay 没有；应为 SigLIP 的（{siglip}）、"
                f"EVA-02-CLIP 的（{eva}），或以下之一：{named}；请换一个模型：seesay models list",
            )
        )
    dim, depth, heads, hidden = EVA02_SIZES[found[1]]
    return VitConfig(
        image_size=image_size,
        patch_size=int(found[2]),
        dim=dim,
        depth=depth,
        heads=heads,
        hidden=hidden,
        norm_eps=1e-6,
        patch_bias=True,
        pre_norm=False,
        eva=True,
    )


_BLOCK, _OURS, _POOL = "visual.trunk.blocks.{}", "image.blocks.{}", "visual.trunk.attn_pool"

TIMM_RULES: Rules = {
    "visual.trunk.cls_token": "image.cls_token",
    "visual.trunk.pos_embed": "image.positions",
    **both("visual.trunk.patch_embed.proj", "image.patch_embed"),
    **both("visual.trunk.norm", "image.norm_out"),
    **both("visual.trunk.head", "image_proj"),
    **both("visual.head.proj", "image_proj"),
    **both("visual.trunk.norm_pre", "image.norm_in"),
    **both("visual.trunk.patch_embed.backbone.{}.conv", "image.patch_embed.{}.0"),
    **batch_norm("visual.trunk.patch_embed.backbone.{}.bn", "image.patch_embed.{}.1"),
    **both(f"{_BLOCK}.norm1", f"{_OURS}.norm1"),
    **both(f"{_BLOCK}.norm2", f"{_OURS}.norm2"),
    **both(f"{_BLOCK}.attn.proj", f"{_OURS}.attention.out"),
    # SigLIP
    **fused(f"{_BLOCK}.attn.qkv", f"{_OURS}.attention", ("query", "key", "value")),
    **both(f"{_BLOCK}.mlp.fc1", f"{_OURS}.mlp.up"),
    **both(f"{_BLOCK}.mlp.fc2", f"{_OURS}.mlp.down"),
    f"{_POOL}.latent": "image.pool.probe",
    **both(f"{_POOL}.q", "image.pool.attention.query"),
    **fused(f"{_POOL}.kv", "image.pool.attention", ("key", "value")),
    **both(f"{_POOL}.proj", "image.pool.attention.out"),
    **both(f"{_POOL}.norm", "image.pool.norm"),
    **both(f"{_POOL}.mlp.fc1", "image.pool.mlp.up"),
    **both(f"{_POOL}.mlp.fc2", "image.pool.mlp.down"),
    # EVA-01
    f"{_BLOCK}.attn.q_bias": f"{_OURS}.attention.query.bias",
    f"{_BLOCK}.attn.v_bias": f"{_OURS}.attention.value.bias",
    # EVA-02
    **both(f"{_BLOCK}.attn.q_proj", f"{_OURS}.attention.query"),
    f"{_BLOCK}.attn.k_proj.weight": f"{_OURS}.attention.key.weight",
    **both(f"{_BLOCK}.attn.v_proj", f"{_OURS}.attention.value"),
    **both(f"{_BLOCK}.attn.norm", f"{_OURS}.attention.norm"),
    **both(f"{_BLOCK}.mlp.fc1_g", f"{_OURS}.mlp.gate"),
    **both(f"{_BLOCK}.mlp.fc1_x", f"{_OURS}.mlp.up"),
    **both(f"{_BLOCK}.mlp.norm", f"{_OURS}.mlp.norm"),
}


# FastViT, MobileCLIP's tower in timm

# timm, fastvit.py
FASTVITS = {
    "fastvit_mci0": FastVitConfig(layers=(2, 6, 10, 2)),
    "fastvit_mci1": FastVitConfig(),
    "fastvit_mci2": FastVitConfig(layers=(4, 12, 24, 4), dims=(80, 160, 320, 640)),
    "fastvit_mci3": FastVitConfig(
        layers=(2, 12, 24, 4, 2),
        dims=(96, 192, 384, 768, 1536),
        mlp_ratio=4,
        attention_stages=2,
        large=True,
    ),
    "fastvit_mci4": FastVitConfig(
        layers=(2, 12, 24, 4, 4),
        dims=(128, 256, 512, 1024, 2048),
        mlp_ratio=4,
        attention_stages=2,
        large=True,
    ),
}


def _conv_norm(theirs: str, ours: str) -> dict[str, Rule]:
    return {f"{theirs}.conv.weight": f"{ours}.0.weight", **batch_norm(f"{theirs}.bn", f"{ours}.1")}


def _branches(theirs: str, ours: str) -> dict[str, Rule]:
    return {
        **_conv_norm(f"{theirs}.conv_kxk.{{}}", f"{ours}.conv"),  # a list of one
        **_conv_norm(f"{theirs}.conv_scale", f"{ours}.pixels"),
        **batch_norm(f"{theirs}.identity", f"{ours}.same"),
    }


def _gate(theirs: str, ours: str) -> dict[str, Rule]:
    return {**both(f"{theirs}.fc1", f"{ours}.down"), **both(f"{theirs}.fc2", f"{ours}.up")}


def _rules() -> Rules:
    theirs, ours = "visual.trunk.stages.{}", "image.stages.{}"
    block, mine = f"{theirs}.blocks.{{}}", f"{ours}.blocks.{{}}"
    # The first is in timm a list of two, whose second part is named with its number.
    smaller = f"{theirs}.downsample.proj.{{}}"
    names = ("query", "key", "value")
    return {
        **_branches("visual.trunk.stem.{}", "image.stem.{}"),
        **_conv_norm(f"{smaller}.large_conv", f"{ours}.smaller.wide"),
        **_conv_norm(f"{smaller}.small_conv", f"{ours}.smaller.narrow"),
        **_gate(f"{smaller}.se", f"{ours}.smaller.gate"),
        **_branches(smaller, f"{ours}.smaller.mix"),
        **both(f"{theirs}.pos_emb.pos_enc", f"{ours}.positions"),
        # convolutions
        **_branches(f"{block}.token_mixer.mixer", f"{mine}.mixer.mix"),
        **batch_norm(f"{block}.token_mixer.norm.identity", f"{mine}.mixer.norm"),
        f"{block}.token_mixer.layer_scale.gamma": f"{mine}.mixer_scale",
        f"{block}.layer_scale.gamma": f"{mine}.mlp_scale",
        # attention
        **batch_norm(f"{block}.norm", f"{mine}.mixer.norm"),
        f"{block}.token_mixer.qkv.weight": tuple(
            f"{mine}.mixer.attention.{n}.weight" for n in names
        ),
        **both(f"{block}.token_mixer.proj", f"{mine}.mixer.attention.out"),
        f"{block}.layer_scale_1.gamma": f"{mine}.mixer_scale",
        f"{block}.layer_scale_2.gamma": f"{mine}.mlp_scale",
        **_conv_norm(f"{block}.mlp.conv", f"{mine}.mlp.conv"),
        **both(f"{block}.mlp.fc1", f"{mine}.mlp.up"),
        **both(f"{block}.mlp.fc2", f"{mine}.mlp.down"),
        **_branches("visual.trunk.final_conv", "image.wider"),
        **_gate("visual.trunk.final_conv.se", "image.gate"),
        **both("visual.trunk.head.fc", "image_proj"),
    }


FASTVIT_RULES = _rules()


# Text towers of transformers

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
HF_TOWERS: dict[str, BertConfig | TextConfig] = {
    "xlm-roberta-base": XLM_R_BASE,
    "xlm-roberta-large": XLM_R_LARGE,
    "roberta-base": replace(XLM_R_BASE, vocab_size=50_265),
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": BertConfig(vocab_size=30_522),
    "facebook/nllb-200-distilled-600M": NLLB_600M,
    "facebook/nllb-200-distilled-1.3B": replace(NLLB_600M, depth=24, hidden=8192),
}
HF_POOLS: dict[str, Literal["first", "pooler", "mean"]] = {
    "mean_pooler": "mean",
    "cls_pooler": "pooler",
    "cls_last_hidden_state_pooler": "first",
}


def hf_text(t: Settings) -> BertConfig | TextConfig:
    """The tower of a `text_cfg` with a `hf_model_name`."""
    name, pooler = t["hf_model_name"], t.get("hf_pooler_type", "mean_pooler")
    tower = HF_TOWERS.get(str(name).removeprefix("FacebookAI/"))
    if tower is None:
        raise t.refusal("hf_model_name", name, *HF_TOWERS)
    if isinstance(tower, TextConfig):
        if pooler != "cls_pooler":
            raise t.refusal("hf_pooler_type", pooler, "cls_pooler")
        return tower
    if pooler not in HF_POOLS:
        raise t.refusal("hf_pooler_type", pooler, *HF_POOLS)
    return replace(tower, pool=HF_POOLS[pooler])


def hf_hidden(t: Settings, text: BertConfig | TextConfig, embed_dim: int) -> int | None:
    """Width between the two maps into the space, or None if there is one map."""
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

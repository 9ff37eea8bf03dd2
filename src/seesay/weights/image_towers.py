"""Image towers as parts of published vision-language models: how their configs are read, and under
which names their tensors are published.

    clip         LLaVA, LLaVA-NeXT            eva        BLIP-2, InstructBLIP
    siglip       LLaVA-OneVision              qwen       Qwen-VL
    intern_vit   InternVL, its own layout     qwen2      Qwen2-VL
    internvl     the same, transformers'      qwen2_5    Qwen2.5-VL
                                              qwen3      Qwen3-VL

A config is read from the "vision_config" (or "visual") of config.json. The functions for rules take
the published prefix and ours, both without a dot behind them. What a vision-language model chooses
itself, such as the layer whose features it takes, it sets with `dataclasses.replace`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from seesay.models.packed_vit import PackedVitConfig
from seesay.models.vit import VitConfig
from seesay.weights import clip, siglip
from seesay.weights.clip import activation, block_rules
from seesay.weights.settings import Settings
from seesay.weights.tensors import Flattened, Grouped, Rule, Rules, both, fused

PARTS = ("query", "key", "value")
# Defaults of transformers' configs, which leave out of a file what equals them; a test compares.
EVA_DEFAULTS: dict[str, Any] = {
    "hidden_size": 1408,
    "intermediate_size": 6144,
    "num_hidden_layers": 39,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "qkv_bias": True,
}
INTERNVL_DEFAULTS: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": [448, 448],
    "patch_size": [14, 14],
    "hidden_act": "gelu",
    "norm_type": "layer_norm",
    "layer_norm_eps": 1e-6,
    "attention_bias": False,
    "use_qk_norm": False,
}
# OpenGVLab's own code, configuration_intern_vit.py: the defaults are those of the 6B tower.
INTERN_VIT_DEFAULTS: dict[str, Any] = {
    "hidden_size": 3200,
    "intermediate_size": 12800,
    "num_hidden_layers": 48,
    "num_attention_heads": 25,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
    "norm_type": "rms_norm",
    "layer_norm_eps": 1e-6,
    "qkv_bias": False,
    "qk_normalization": True,
}
QWEN2_DEFAULTS: dict[str, Any] = {
    "depth": 32,
    "embed_dim": 1280,
    "hidden_act": "quick_gelu",
    "mlp_ratio": 4,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
QWEN2_5_DEFAULTS: dict[str, Any] = {
    "depth": 32,
    "hidden_size": 3584,
    "hidden_act": "silu",
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
QWEN3_DEFAULTS: dict[str, Any] = {
    "depth": 27,
    "hidden_size": 1152,
    "hidden_act": "gelu_pytorch_tanh",
    "intermediate_size": 4304,
    "num_heads": 16,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}

# From a section of config.json to our config


def read_clip(v: Settings) -> VitConfig:
    """CLIP with its class token; a vision-language model takes a layer before the last."""
    v.complete(clip.VISION_DEFAULTS)
    _ignore(v, "projection_dim", "vocab_size")
    return clip.vit(v)


def read_siglip(v: Settings) -> VitConfig:
    """SigLIP without the query that would gather its patches."""
    v.complete(siglip.VISION_DEFAULTS)
    _ignore(v, "projection_dim", "vocab_size")
    v.one_of("vision_use_head", False, True)
    return replace(siglip.siglip_vit(v), pool="none", class_token=False)


def read_eva(v: Settings) -> VitConfig:
    """EVA-CLIP g as BLIP-2 takes it: every token, through the last norm."""
    v.complete(EVA_DEFAULTS)
    _ignore(v)
    return replace(_plain(v), input_bias=v["qkv_bias"], feature_norm=True)


def read_intern_vit(v: Settings) -> VitConfig:
    """InternViT, 300M or 6B, as OpenGVLab describes it."""
    v.complete(INTERN_VIT_DEFAULTS)
    _ignore(v, "auto_map", "drop_path_rate", "use_flash_attn", *UNUSED_EXPERTS)
    v.one_of("use_moe", False)
    return _intern_vit(v, input_bias=v["qkv_bias"], query_key_norm=v["qk_normalization"])


def read_internvl(v: Settings) -> VitConfig:
    """InternViT, 300M or 6B, as transformers describes it."""
    v.complete(INTERNVL_DEFAULTS)
    _ignore(v, "projection_dropout", "layer_scale_init_value")
    v.one_of("use_absolute_position_embeddings", True)
    v.one_of("use_mask_token", False)
    v.one_of("use_mean_pooling", True)
    return _intern_vit(v, input_bias=v["attention_bias"], query_key_norm=v["use_qk_norm"])


# In the files of InternVL 2.5 and later, beside "use_moe": false.
UNUSED_EXPERTS = (
    "capacity_factor",
    "ep_size",
    "eval_capacity_factor",
    "laux_allreduce",
    "moe_coeff_ratio",
    "moe_intermediate_size",
    "moe_output_scale",
    "noisy_gate_policy",
    "num_experts",
    "num_routed_experts",
    "num_shared_experts",
    "shared_expert_intermediate_size",
    "use_residual",
    "use_rts",
    "use_weighted_residual",
)


def _intern_vit(v: Settings, *, input_bias: bool, query_key_norm: bool) -> VitConfig:
    norm = v.require("norm_type", "layer_norm", ("layer_norm", "rms_norm"))
    return replace(
        _plain(v),
        input_bias=input_bias,
        norm="rms" if norm == "rms_norm" else "layer",
        query_key_norm=query_key_norm,
        layer_scale=True,
        final_norm=False,
    )


def _plain(v: Settings) -> VitConfig:
    """What EVA-CLIP g and InternViT have in common."""
    return VitConfig(
        image_size=_one(v, "image_size"),
        patch_size=_one(v, "patch_size"),
        dim=v["hidden_size"],
        depth=v["num_hidden_layers"],
        heads=v["num_attention_heads"],
        hidden=v["intermediate_size"],
        activation=activation(v["hidden_act"]),
        norm_eps=v["layer_norm_eps"],
        pool="none",
        patch_bias=True,
        pre_norm=False,
    )


def _one(v: Settings, name: str) -> Any:
    """A side that may be given for both directions."""
    value = v[name]
    if isinstance(value, list | tuple):
        if len(set(value)) != 1:
            raise v.refusal(name, value, [value[0], value[0]])
        return value[0]
    return value


def read_qwen(v: Settings) -> VitConfig:
    """Qwen-VL's tower: that of OpenCLIP's ViT-bigG, without class token and last norm, on images of
    twice the side (visual.py of Qwen-VL)."""
    _ignore(v, "output_dim", "n_queries", "image_start_id")
    dim = v["width"]
    return VitConfig(
        image_size=v["image_size"],
        patch_size=v["patch_size"],
        dim=dim,
        depth=v["layers"],
        heads=v["heads"],
        hidden=int(dim * v["mlp_ratio"]),
        activation="gelu",
        norm_eps=1e-6,
        pool="none",
        class_token=False,
        final_norm=False,
        position_grid=16,
    )


def read_qwen2(v: Settings) -> PackedVitConfig:
    v.complete(QWEN2_DEFAULTS)
    _ignore(v, "hidden_size")  # which the merger has
    dim = v["embed_dim"]
    return PackedVitConfig(**_packed(v, dim=dim, hidden=int(dim * v["mlp_ratio"])))


def read_qwen2_5(v: Settings) -> PackedVitConfig:
    v.complete(QWEN2_5_DEFAULTS)
    _ignore(v, "out_hidden_size", "tokens_per_second")
    merged = v["window_size"] // v["spatial_merge_size"] // v["patch_size"]
    return PackedVitConfig(
        **_packed(v, dim=v["hidden_size"], hidden=v["intermediate_size"]),
        gated=True,
        norm="rms",
        window=merged * v["spatial_merge_size"],
        full_layers=tuple(v["fullatt_block_indexes"]),
    )


def read_qwen3(v: Settings) -> PackedVitConfig:
    v.complete(QWEN3_DEFAULTS)
    _ignore(v, "out_hidden_size")
    side = int(v["num_position_embeddings"] ** 0.5)
    return PackedVitConfig(
        **_packed(v, dim=v["hidden_size"], hidden=v["intermediate_size"]),
        patch_bias=True,
        position_grid=side,
        deepstack=tuple(v["deepstack_visual_indexes"]),
    )


def _packed(v: Settings, *, dim: int, hidden: int) -> dict[str, Any]:
    """What Qwen's towers of packed patches have in common."""
    for name in ("in_channels", "in_chans"):
        v.one_of(name, 3)
    v.require("spatial_patch_size", v["patch_size"], (v["patch_size"],))
    rope = v.section("rope_parameters")
    rope.one_of("rope_type", "axial")
    return {
        "patch_size": v["patch_size"],
        "patch_frames": v["temporal_patch_size"],
        "merge": v["spatial_merge_size"],
        "dim": dim,
        "depth": v["depth"],
        "heads": v["num_heads"],
        "hidden": hidden,
        "activation": activation(v["hidden_act"]),
        "rope_base": rope.get("rope_theta", 10000.0),
    }


def _ignore(v: Settings, *names: str) -> None:
    v.ignore("_name_or_path", *names)


# Rule tables


def clip_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """CLIP: `vision_tower.vision_model`, or `vision_tower` where transformers 5 saved it."""
    return {
        f"{theirs}.embeddings.class_embedding": f"{ours}.cls_token",
        f"{theirs}.embeddings.patch_embedding.weight": f"{ours}.patch_embed.weight",
        f"{theirs}.embeddings.position_embedding.weight": f"{ours}.positions",
        f"{theirs}.embeddings.position_ids": None,
        **both(f"{theirs}.pre_layrnorm", f"{ours}.norm_in"),  # the typo is theirs
        **both(f"{theirs}.post_layernorm", f"{ours}.norm_out"),
        **block_rules(theirs, ours),
    }


def siglip_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """SigLIP, whose head no vision-language model uses."""
    attention = ("probe", "attention.in_proj_weight", "attention.in_proj_bias")
    unused = ("attention.out_proj", "layernorm", "mlp.fc1", "mlp.fc2")
    head = (*attention, *(f"{name}.{part}" for name in unused for part in ("weight", "bias")))
    return {
        **both(f"{theirs}.embeddings.patch_embedding", f"{ours}.patch_embed"),
        f"{theirs}.embeddings.position_embedding.weight": f"{ours}.positions",
        f"{theirs}.embeddings.position_ids": None,
        **both(f"{theirs}.post_layernorm", f"{ours}.norm_out"),
        **block_rules(theirs, ours),
        **{f"{theirs}.head.{name}": None for name in head},
    }


def eva_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """EVA-CLIP g as transformers keeps it: `vision_model`."""
    layer, block = f"{theirs}.encoder.layers.{{}}", f"{ours}.blocks.{{}}"
    return {
        f"{theirs}.embeddings.class_embedding": f"{ours}.cls_token",
        **both(f"{theirs}.embeddings.patch_embedding", f"{ours}.patch_embed"),
        f"{theirs}.embeddings.position_embedding": f"{ours}.positions",
        **both(f"{theirs}.post_layernorm", f"{ours}.norm_out"),
        **fused(f"{layer}.self_attn.qkv", f"{block}.attention", PARTS),
        **_modules(
            layer,
            block,
            {
                "layer_norm1": "norm1",
                "layer_norm2": "norm2",
                "self_attn.projection": "attention.out",
                "mlp.fc1": "mlp.up",
                "mlp.fc2": "mlp.down",
            },
        ),
    }


def lavis_eva_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """EVA-CLIP g as LAVIS keeps it: `visual_encoder`, with its last norm beside it. Keys have no
    bias: read the config with `replace(config, key_bias=False)`."""
    layer, block = f"{theirs}.blocks.{{}}", f"{ours}.blocks.{{}}"
    modules = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "attention.out"}
    modules |= {"mlp.fc1": "mlp.up", "mlp.fc2": "mlp.down"}
    return {
        f"{theirs}.cls_token": f"{ours}.cls_token",
        **both(f"{theirs}.patch_embed.proj", f"{ours}.patch_embed"),
        f"{theirs}.pos_embed": f"{ours}.positions",
        **both("ln_vision", f"{ours}.norm_out"),
        f"{layer}.attn.q_bias": f"{block}.attention.query.bias",
        f"{layer}.attn.v_bias": f"{block}.attention.value.bias",
        f"{layer}.attn.qkv.weight": tuple(f"{block}.attention.{name}.weight" for name in PARTS),
        **_modules(layer, block, modules),
    }


def intern_vit_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """InternViT in OpenGVLab's layout: `vision_model`."""
    layer, block = f"{theirs}.encoder.layers.{{}}", f"{ours}.blocks.{{}}"
    modules = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "attention.out"}
    modules |= {"mlp.fc1": "mlp.up", "mlp.fc2": "mlp.down"}
    return {
        f"{theirs}.embeddings.class_embedding": f"{ours}.cls_token",
        **both(f"{theirs}.embeddings.patch_embedding", f"{ours}.patch_embed"),
        f"{theirs}.embeddings.position_embedding": f"{ours}.positions",
        **fused(f"{layer}.attn.qkv", f"{block}.attention", PARTS),
        f"{layer}.attn.q_norm.weight": f"{block}.attention.query_norm.weight",
        f"{layer}.attn.k_norm.weight": f"{block}.attention.key_norm.weight",
        f"{layer}.ls1": f"{block}.scale1.weight",
        f"{layer}.ls2": f"{block}.scale2.weight",
        **_modules(layer, block, modules),
    }


def internvl_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """InternViT in transformers' layout: `vision_tower`."""
    layer, block = f"{theirs}.encoder.layer.{{}}", f"{ours}.blocks.{{}}"
    modules = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.q_proj": "attention.query",
        "attention.k_proj": "attention.key",
        "attention.v_proj": "attention.value",
        "attention.projection_layer": "attention.out",
        "mlp.fc1": "mlp.up",
        "mlp.fc2": "mlp.down",
    }
    return {
        f"{theirs}.embeddings.cls_token": f"{ours}.cls_token",
        **both(f"{theirs}.embeddings.patch_embeddings.projection", f"{ours}.patch_embed"),
        f"{theirs}.embeddings.position_embeddings": f"{ours}.positions",
        f"{layer}.attention.q_norm.weight": f"{block}.attention.query_norm.weight",
        f"{layer}.attention.k_norm.weight": f"{block}.attention.key_norm.weight",
        f"{layer}.lambda_1": f"{block}.scale1.weight",
        f"{layer}.lambda_2": f"{block}.scale2.weight",
        **_modules(layer, block, modules),
    }


def qwen_rules(theirs: str, ours: str, heads: int = 16) -> dict[str, Rule]:
    """Qwen-VL's tower: `transformer.visual`. Query, key and value are fused head by head."""
    layer, block = f"{theirs}.transformer.resblocks.{{}}", f"{ours}.blocks.{{}}"
    modules = {"ln_1": "norm1", "ln_2": "norm2", "attn.out_proj": "attention.out"}
    modules |= {"mlp.c_fc": "mlp.up", "mlp.c_proj": "mlp.down"}
    inputs: dict[str, Rule] = {
        f"{layer}.attn.in_proj.{part}": Grouped(
            tuple(f"{block}.attention.{name}.{part}" for name in PARTS), heads, (1, 1, 1)
        )
        for part in ("weight", "bias")
    }
    return {
        f"{theirs}.conv1.weight": f"{ours}.patch_embed.weight",
        f"{theirs}.positional_embedding": f"{ours}.positions",
        **both(f"{theirs}.ln_pre", f"{ours}.norm_in"),
        **inputs,
        **_modules(layer, block, modules),
    }


def qwen2_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Qwen2-VL's tower: `visual`. The merger has rules of its own (connectors.py)."""
    return _packed_rules(theirs, ours, {"mlp.fc1": "mlp.up", "mlp.fc2": "mlp.down"})


def qwen2_5_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Qwen2.5-VL's tower: `visual`. An RMSNorm has no bias."""
    modules = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
    return _packed_rules(theirs, ours, {f"mlp.{a}": f"mlp.{b}" for a, b in modules.items()})


def qwen3_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Qwen3-VL's tower: `model.visual`."""
    return {
        f"{theirs}.patch_embed.proj.bias": f"{ours}.patch_embed.bias",
        f"{theirs}.pos_embed.weight": f"{ours}.positions",
        **_packed_rules(theirs, ours, {"mlp.linear_fc1": "mlp.up", "mlp.linear_fc2": "mlp.down"}),
    }


def _packed_rules(theirs: str, ours: str, mlp: Mapping[str, str]) -> dict[str, Rule]:
    layer, block = f"{theirs}.blocks.{{}}", f"{ours}.blocks.{{}}"
    modules = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "attention.out", **mlp}
    return {
        f"{theirs}.patch_embed.proj.weight": Flattened(f"{ours}.patch_embed.weight"),
        **fused(f"{layer}.attn.qkv", f"{block}.attention", PARTS),
        **_modules(layer, block, modules),
    }


def _modules(theirs: str, ours: str, modules: Mapping[str, str]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for a, b in modules.items():
        rules |= both(f"{theirs}.{a}", f"{ours}.{b}")
    return rules


Read = Callable[[Settings], VitConfig | PackedVitConfig]
TOWERS: dict[str, tuple[Read, Callable[[str, str], Rules]]] = {
    "clip_vision_model": (read_clip, clip_rules),
    "siglip_vision_model": (read_siglip, siglip_rules),
    "blip_2_vision_model": (read_eva, eva_rules),
    "instructblip_vision_model": (read_eva, eva_rules),
    "intern_vit_6b": (read_intern_vit, intern_vit_rules),
    "internvl_vision": (read_internvl, internvl_rules),
    # The older files give the whole model's type to its tower.
    **dict.fromkeys(("qwen2_vl", "qwen2_vl_vision"), (read_qwen2, qwen2_rules)),
    **dict.fromkeys(("qwen2_5_vl", "qwen2_5_vl_vision"), (read_qwen2_5, qwen2_5_rules)),
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_vision"), (read_qwen3, qwen3_rules)),
}
"""By "model_type" of the tower's section: how it is read, and its rules. Qwen-VL's has none."""

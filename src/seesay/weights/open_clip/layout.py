"""CLIP with a ViT or a ResNet; CoCa, whose own parts are in coca.py; SigLIP and EVA-02-CLIP, whose
image towers open_clip takes from timm (timm_towers.py)."""

from typing import Any, Literal

from seesay.data.tokenizers import TokenizerConfig
from seesay.errors import WeightsError
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights.blueprint import Blueprint
from seesay.weights.mapping import Rule, Rules, Transposed, both, fused
from seesay.weights.open_clip.coca import COCA_RULES, captioner, pool_settings
from seesay.weights.open_clip.timm_towers import TIMM_RULES, timm_vit
from seesay.weights.preprocessing import transform_from_open_clip
from seesay.weights.siglip import siglip_tokenizer


def read(published: dict[str, Any]) -> Blueprint:
    """The blueprint of a folder with an open_clip_config.json."""
    c = published["model_cfg"]
    v, t = c["vision_cfg"], c["text_cfg"]
    if "hf_model_name" in t:
        raise WeightsError(
            f"this checkpoint's text tower is {t['hf_model_name']}, which seesay does not have; "
            "expected open_clip's own text transformer"
        )
    image, rules = _image_tower(c)
    siglip = t.get("pool_type") == "last"
    text = _text(t, bool(c.get("quick_gelu")))
    model = DualEncoderConfig(
        image=image,
        text=text,
        embed_dim=c["embed_dim"],
        # ResNets end in the shared width by themselves, SigLIP needs no map
        project_image=isinstance(image, VitConfig) and not siglip,
        image_bias=isinstance(image, VitConfig) and image.eva,
        text_bias=bool(t.get("proj_bias")),
        scale_init=10.0 if siglip else 1 / 0.07,
        bias_init=None if c.get("init_logit_bias") is None else float(c["init_logit_bias"]),
        captioner=captioner(c),
    )
    if model.captioner is not None:
        rules = {**rules, **COCA_RULES}
    return Blueprint(
        model=model,
        rules={**rules, **_text_rules("text." if c.get("custom_text") else "")},
        transform=transform_from_open_clip(
            published.get("preprocess_cfg", {}), size=v["image_size"], squash=siglip
        ),
        tokenizer=siglip_tokenizer(text.context, text.vocab_size)
        if siglip
        else TokenizerConfig(context=text.context, pad_id=0, clean="clip"),
    )


def _image_tower(c: dict[str, Any]) -> tuple[VitConfig | ResNetConfig, Rules]:
    v = c["vision_cfg"]
    if name := v.get("timm_model_name"):
        return timm_vit(name, v["image_size"]), TIMM_RULES
    width, head_width = v.get("width", 768), v.get("head_width", 64)
    if isinstance(v["layers"], list):
        resnet = ResNetConfig(
            image_size=v["image_size"],
            layers=tuple(v["layers"]),
            width=width,
            heads=width * 32 // head_width,
            output_dim=c["embed_dim"],
        )
        return resnet, RESNET_RULES
    vit = VitConfig(
        image_size=v["image_size"],
        patch_size=v["patch_size"],
        dim=width,
        depth=v["layers"],
        heads=width // head_width,
        hidden=int(width * v.get("mlp_ratio", 4.0)),
        activation="quick_gelu" if c.get("quick_gelu") else "gelu",
        **pool_settings(v, c["embed_dim"]),
    )
    return vit, VIT_RULES


def _text(t: dict[str, Any], quick_gelu: bool) -> TextConfig:
    tanh = (t.get("act_kwargs") or {}).get("approximate") == "tanh"
    width = t.get("width", 512)
    vocab_size = t.get("vocab_size", 49408)
    return TextConfig(
        vocab_size=vocab_size,
        context=t.get("context_length", 77),
        dim=width,
        depth=t.get("layers", 12),
        heads=t.get("heads", 8),
        hidden=int(width * t.get("mlp_ratio", 4.0)),
        activation="quick_gelu" if quick_gelu else "gelu_tanh" if tanh else "gelu",
        norm_eps=(t.get("norm_kwargs") or {}).get("eps", 1e-5),
        causal=not t.get("no_causal_mask", False),
        pool=_pool(t),
        eos_id=vocab_size - 1,  # open_clip pools at the largest id, which ends every text
        pad_id=t.get("pad_id", 0) if t.get("embed_cls") else None,
    )


def _pool(t: dict[str, Any]) -> Literal["eos", "last", "cls"]:
    if t.get("embed_cls"):
        return "cls"
    return "last" if t.get("pool_type") == "last" else "eos"


def _blocks(theirs: str, ours: str) -> dict[str, Rule]:
    layer, block = f"{theirs}transformer.resblocks.{{}}", f"{ours}.blocks.{{}}"
    return {
        **fused(f"{layer}.attn.in_proj", f"{block}.attention", ("query", "key", "value"), "_"),
        **both(f"{layer}.attn.out_proj", f"{block}.attention.out"),
        **both(f"{layer}.ln_1", f"{block}.norm1"),
        **both(f"{layer}.ln_2", f"{block}.norm2"),
        **both(f"{layer}.mlp.c_fc", f"{block}.mlp.up"),
        **both(f"{layer}.mlp.c_proj", f"{block}.mlp.down"),
    }


def _text_rules(prefix: str) -> Rules:
    return {
        "logit_scale": "log_scale",
        "logit_bias": "bias",
        f"{prefix}token_embedding.weight": "text.token_embed.weight",
        f"{prefix}positional_embedding": "text.positions",
        f"{prefix}attn_mask": None,
        f"{prefix}text_projection": Transposed("text_proj.weight"),
        **both(f"{prefix}text_projection", "text_proj"),  # SigLIP's has a bias and is a Linear
        **both(f"{prefix}ln_final", "text.norm_out"),
        **_blocks(prefix, "text"),
    }


VIT_RULES: Rules = {
    "visual.conv1.weight": "image.patch_embed.weight",
    "visual.class_embedding": "image.cls_token",
    "visual.positional_embedding": "image.positions",
    "visual.proj": Transposed("image_proj.weight"),
    **both("visual.ln_pre", "image.norm_in"),
    **both("visual.ln_post", "image.norm_out"),
    **_blocks("visual.", "image"),
}


def _batch_norm(theirs: str, ours: str) -> dict[str, Rule]:
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{theirs}.{name}": f"{ours}.{name}" for name in names}


def _resnet_rules() -> Rules:
    rules: dict[str, Rule] = {"visual.attnpool.positional_embedding": "image.pool.positions"}
    parts = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "c_proj": "out"}
    for a, b in parts.items():
        rules |= both(f"visual.attnpool.{a}", f"image.pool.attention.{b}")
    for n in range(3):
        rules[f"visual.conv{n + 1}.weight"] = f"image.stem.{n}.0.weight"
        rules |= _batch_norm(f"visual.bn{n + 1}", f"image.stem.{n}.1")
    for n in range(4):
        theirs, ours = f"visual.layer{n + 1}.{{}}", f"image.stages.{n}.{{}}"
        for i in (1, 2, 3):
            rules[f"{theirs}.conv{i}.weight"] = f"{ours}.conv{i}.0.weight"
            rules |= _batch_norm(f"{theirs}.bn{i}", f"{ours}.conv{i}.1")
        # a convolution at .0 and its batch norm at .1; only the norm has more than a weight
        rules |= _batch_norm(f"{theirs}.downsample.{{}}", f"{ours}.shortcut.{{}}")
    return rules


RESNET_RULES = _resnet_rules()

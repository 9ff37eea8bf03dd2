"""open_clip's layout: open_clip_config.json beside one file of weights.

CLIP with a ViT or a ResNet; CoCa (coca_model.py), whose image tower ends in queries and whose text
tower ends in a class token, with a decoder on top of both; and the towers of open_clip_towers.py.
"""

import logging
from dataclasses import replace
from math import isqrt
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seesay.data.tokenizer import Clean, TokenizerConfig
from seesay.models.bert import BertConfig
from seesay.models.captioner import CaptionerConfig
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.fastvit import FastVitConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights.bundle import Blueprint
from seesay.weights.open_clip_towers import (
    FASTVIT_RULES,
    FASTVITS,
    HF_RULES,
    TIMM_RULES,
    hf_hidden,
    hf_text,
    timm_vit,
)
from seesay.weights.preprocessing import transform_from_open_clip
from seesay.weights.settings import Known, Settings, every_setting
from seesay.weights.siglip import siglip_tokenizer
from seesay.weights.tensors import Rule, Rules, Tensors, Transposed, batch_norm, both, fused

SOURCE = "open_clip_config.json"
KNOWN: Known = {
    "preprocess_cfg.size": "open_clip takes that of the tower",
    "preprocess_cfg.mode": ("RGB",),
    "preprocess_cfg.fill_color": "for a resize_mode that is refused",
    **dict.fromkeys(("init_logit_scale", "nonscalar_logit_scale"), "replaced by weights"),
    **dict.fromkeys(("output_tokens", "output_dict"), "what else is returned"),
    **dict.fromkeys(("patch_dropout", "timm_drop", "timm_drop_path"), "for training"),
    **dict.fromkeys(("timm_model_pretrained", "hf_model_pretrained"), "replaced by weights"),
    **dict.fromkeys(("hf_proj_type", "hf_pooler_type"), "for hf_model_name"),
    "pos_embed_type": "replaced by weights",
    "model_cfg.text_cfg.final_ln_after_pool": "open_clip does not read it",
    **{
        f"model_cfg.multimodal_cfg.{name}": "open_clip does not read it"
        for name in ("mlp_ratio", "dim_head", "n_queries", "attn_pooler_heads", "vocab_size")
    },
    "model_cfg.multimodal_cfg.context_length": "size of a mask",
    # Parts of other blocks, which no published model has.
    "ls_init_value": (None,),
    "block_type": (None, "default"),
    "tokenizer_mode": (None, ""),
    **dict.fromkeys(("qk_norm", "scaled_cosine_attn", "scale_heads"), (False,)),
    **dict.fromkeys(("scale_attn_inner", "scale_attn", "scale_fc"), (False,)),
}
TIMM_ONLY = ("timm_pool", "timm_proj", "timm_proj_bias")
VIT_ONLY = (
    *("layers", "patch_size", "mlp_ratio", "no_ln_pre", "pool_type", "final_ln_after_pool"),
    *("norm_kwargs", "act_kwargs", "attentional_pool", "attn_pooler_queries", "attn_pooler_heads"),
)
TEXT_ONLY = (
    *("width", "heads", "layers", "mlp_ratio", "vocab_size", "pool_type", "eos_id", "pad_id"),
    *("no_causal_mask", "embed_cls", "norm_kwargs", "act_kwargs"),
)
CLEAN: dict[str, Clean] = {
    "lower": "open_clip_lower",
    "canonicalize": "open_clip_canonicalize",
    "whitespace": "open_clip_whitespace",
}
POOLS: dict[str, Literal["eos", "first", "last"]] = {
    "argmax": "eos",
    "eos": "eos",
    "first": "first",
    "last": "last",
}


def read(published: dict[str, Any]) -> Blueprint:
    """The blueprint of a folder with an open_clip_config.json."""
    with every_setting(published, SOURCE, KNOWN) as settings:
        return _read(settings)


def _read(published: Settings) -> Blueprint:
    c = published["model_cfg"]
    v, t = c["vision_cfg"], c["text_cfg"]
    image, rules = _image_tower(c)
    bias = c.get("init_logit_bias")
    text, text_rules = _text_tower(c)
    model = DualEncoderConfig(
        image=image,
        text=text,
        embed_dim=c["embed_dim"],
        **_image_map(v, image),
        project_text=t.one_of("proj_type", "linear", "none") == "linear",
        text_bias=bool(t.get("proj_bias")),
        scale_init=1 / 0.07 if bias is None else 10.0,
        bias_init=None if bias is None else float(bias),
        text_hidden=hf_hidden(t, text, c["embed_dim"]),
        captioner=captioner(c),
    )
    if model.captioner is not None:
        rules = {**rules, **COCA_RULES}
    siglip = isinstance(image, VitConfig) and image.pool == "attention" and not image.pe
    return Blueprint(
        model=model,
        rules={**rules, **text_rules},
        transform=transform_from_open_clip(
            published.section("preprocess_cfg"), size=image.image_size, squash=siglip
        ),
        tokenizer=_tokenizer(t, text),
    )


def _text_tower(c: Settings) -> tuple[TextConfig | BertConfig, Rules]:
    t = c["text_cfg"]
    if (name := t.get("hf_model_name")) is not None:
        if c.get("multimodal_cfg") is not None:  # CoCa's decoder needs causal layers before it
            raise t.refusal("hf_model_name", name, None)
        c.ignore("custom_text", "quick_gelu")
        t.ignore(*TEXT_ONLY)
        return hf_text(t), HF_RULES
    return _text(t, bool(c.get("quick_gelu"))), _text_rules("text." if c.get("custom_text") else "")


def _image_map(v: Settings, image: object) -> dict[str, bool]:
    """Whether a map leads from the image tower into the space, and whether it has a bias."""
    proj, bias = v.get("timm_proj", "linear"), bool(v.get("timm_proj_bias", False))
    if v.get("timm_model_name") is None:
        # ResNets end in the shared width by themselves.
        return {"project_image": not isinstance(image, ResNetConfig), "image_bias": False}
    # Without a map of open_clip's own it is timm's classifier, which has one.
    return {"project_image": proj != "none", "image_bias": bias if proj == "linear" else not proj}


def _timm_tower(v: Settings, name: str, image_size: int) -> tuple[VitConfig | FastVitConfig, Rules]:
    v.ignore("width", "head_width", *VIT_ONLY)
    if name in FASTVITS:
        v.require("timm_pool", "avg", ("avg",))
        v.require("timm_proj", "linear", (None, ""))
        return replace(FASTVITS[name], image_size=image_size), FASTVIT_RULES
    vit = timm_vit(name, image_size)
    proj = v.get("timm_proj", "linear")
    # A map of open_clip's own leaves the tower's pool as it is.
    plain = ("token", "") if name.startswith("vit_") and proj == "linear" else ("token",)
    v.require("timm_pool", "avg", ("map",) if vit.pool == "attention" else plain)
    siglip = vit.pool == "attention" and not vit.pe
    v.require("timm_proj", "linear", ("none",) if siglip else (None, "", "linear"))
    return vit, TIMM_RULES


def _image_tower(c: Settings) -> tuple[VitConfig | ResNetConfig | FastVitConfig, Rules]:
    v = c["vision_cfg"]
    image_size = v.get("image_size", 224)
    if name := v.get("timm_model_name"):
        return _timm_tower(v, name, image_size)
    v.ignore(*TIMM_ONLY)
    width, head_width = v.get("width", 768), v.get("head_width", 64)
    if isinstance(layers := v.get("layers", 12), list):
        v.ignore(*VIT_ONLY)
        resnet = ResNetConfig(
            image_size=image_size,
            layers=tuple(layers),
            width=width,
            heads=width * 32 // head_width,
            output_dim=c["embed_dim"],
        )
        return resnet, RESNET_RULES
    pool = v.one_of("pool_type", "tok", "avg")
    ends = {
        "pool": "cls" if pool == "tok" else "mean",
        "norm_after_pool": bool(v.get("final_ln_after_pool")),
        **pool_settings(v, c["embed_dim"]),
    }
    vit = VitConfig(
        image_size=image_size,
        patch_size=v.get("patch_size", 16),
        dim=width,
        depth=layers,
        heads=width // head_width,
        hidden=int(width * v.get("mlp_ratio", 4.0)),
        activation=_activation(v, bool(c.get("quick_gelu"))),
        norm_eps=v.section("norm_kwargs").get("eps", 1e-5),
        pre_norm=not v.get("no_ln_pre", False),
        **ends,
    )
    return vit, VIT_RULES


def _activation(part: Settings, quick_gelu: bool) -> str:
    """Returns the activation from `quick_gelu` and `act_kwargs`, which only the exact GELU
    takes."""
    others = () if quick_gelu else ("tanh",)
    approximate = part.section("act_kwargs").one_of("approximate", "none", *others)
    return "quick_gelu" if quick_gelu else "gelu_tanh" if approximate == "tanh" else "gelu"


def _text(t: Settings, quick_gelu: bool) -> TextConfig:
    width = t.get("width", 512)
    vocab_size = t.get("vocab_size", 49408)
    published = t.one_of("pool_type", "argmax", "eos", "first", "last")
    eos_id, pad_id = t.get("eos_id", 2), t.get("pad_id", 0)
    embed_cls = t.get("embed_cls", False)
    return TextConfig(
        vocab_size=vocab_size,
        context=t.get("context_length", 77),
        dim=width,
        depth=t.get("layers", 12),
        heads=t.get("heads", 8),
        hidden=int(width * t.get("mlp_ratio", 4.0)),
        activation=_activation(t, quick_gelu),
        norm_eps=t.section("norm_kwargs").get("eps", 1e-5),
        causal=not t.get("no_causal_mask", False),
        pool="cls" if embed_cls else POOLS[published],
        # "argmax" looks for the largest id, which ends every text of open_clip's own vocabulary
        eos_id=eos_id if published == "eos" else vocab_size - 1,
        pad_id=pad_id if embed_cls else None,
    )


def _tokenizer(t: Settings, text: TextConfig | BertConfig) -> TokenizerConfig:
    """open_clip's own tokenizer, or that of transformers which the folder holds."""
    transformers = bool(t.get("hf_tokenizer_name"))
    settings = t.section("tokenizer_kwargs")
    default, *others = CLEAN if not transformers else reversed(CLEAN)
    clean = CLEAN[settings.one_of("clean", default, *others)]
    if t.get("hf_model_name") is not None:
        context = t.get("context_length", 77)
        return TokenizerConfig(context=context, pad_id=text.pad_id or 0, clean=clean)
    assert isinstance(text, TextConfig)
    bert = transformers and bool(settings.get("strip_sep_token"))
    if transformers:
        # Its end token need not be the largest id, and its padding is known if it matters.
        t.require("pool_type", "argmax", ("last", "eos") if text.causal else ("last",))
    siglip = transformers and text.pool == "last" and not bert
    return TokenizerConfig(
        context=text.context,
        pad_id=siglip_tokenizer(text.context, text.vocab_size).pad_id if siglip else 0,
        clean=clean,
        end_mark=not bert,
    )


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


def _resnet_rules() -> Rules:
    rules: dict[str, Rule] = {"visual.attnpool.positional_embedding": "image.pool.positions"}
    parts = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "c_proj": "out"}
    for a, b in parts.items():
        rules |= both(f"visual.attnpool.{a}", f"image.pool.attention.{b}")
    for n in range(3):
        rules[f"visual.conv{n + 1}.weight"] = f"image.stem.{n}.0.weight"
        rules |= batch_norm(f"visual.bn{n + 1}", f"image.stem.{n}.1")
    for n in range(4):
        theirs, ours = f"visual.layer{n + 1}.{{}}", f"image.stages.{n}.{{}}"
        for i in (1, 2, 3):
            rules[f"{theirs}.conv{i}.weight"] = f"{ours}.conv{i}.0.weight"
            rules |= batch_norm(f"{theirs}.bn{i}", f"{ours}.conv{i}.1")
        # a convolution at .0 and its batch norm at .1; only the norm has more than a weight
        rules |= batch_norm(f"{theirs}.downsample.{{}}", f"{ours}.shortcut.{{}}")
    return rules


RESNET_RULES = _resnet_rules()


# CoCa

PROJECTIONS = ("query", "key", "value")


def pool_settings(vision: Settings, embed_dim: int) -> dict[str, Any]:
    """Returns the settings of a VitConfig for the end of the tower."""
    if not (pool := vision.get("attentional_pool")):
        vision.ignore("attn_pooler_queries", "attn_pooler_heads")
        return {}
    if pool is not True:
        raise vision.refusal("attentional_pool", pool, True)
    vision.one_of("pool_type", "tok")
    vision.one_of("norm_kwargs", None)  # its pooling would not have them
    return {
        "pool": "queries",
        "queries": vision.get("attn_pooler_queries", 256),
        "query_dim": embed_dim,
        "query_heads": vision.get("attn_pooler_heads", 8),
    }


def captioner(published: Settings) -> CaptionerConfig | None:
    """Returns the decoder, if the config describes one."""
    if (m := published.get("multimodal_cfg")) is None:
        return None
    if not (pool := published["vision_cfg"].get("attentional_pool")):
        raise published["vision_cfg"].refusal("attentional_pool", pool, True)
    return CaptionerConfig(
        depth=m.get("layers", 12),
        heads=m.get("heads", 8),
        hidden=4 * m.get("width", 512),  # as MultimodalTransformer has it, which ignores mlp_ratio
        activation="quick_gelu" if published.get("quick_gelu") else "gelu",
    )


def _layer(theirs: str, ours: str) -> dict[str, Rule]:
    return {
        **fused(f"{theirs}.attn.in_proj", f"{ours}.attention", PROJECTIONS, "_"),
        **both(f"{theirs}.attn.out_proj", f"{ours}.attention.out"),
        **both(f"{theirs}.ln_1", f"{ours}.norm1"),
        **both(f"{theirs}.ln_1_kv", f"{ours}.norm_image"),
        **both(f"{theirs}.ln_2", f"{ours}.norm2"),
        **both(f"{theirs}.mlp.c_fc", f"{ours}.mlp.up"),
        **both(f"{theirs}.mlp.c_proj", f"{ours}.mlp.down"),
    }


COCA_RULES: Rules = {
    "visual.attn_pool.query": "image.pool.queries",
    **both("visual.attn_pool.ln_q", "image.pool.norm_queries"),
    **both("visual.attn_pool.ln_k", "image.pool.norm_patches"),
    # Separate if the patches have their own width, otherwise in one tensor.
    **{
        f"visual.attn_pool.attn.{p[0]}_proj_weight": f"image.pool.attention.{p}.weight"
        for p in PROJECTIONS
    },
    **fused("visual.attn_pool.attn.in_proj", "image.pool.attention", PROJECTIONS, "_"),
    **both("visual.attn_pool.attn.out_proj", "image.pool.attention.out"),
    "text.cls_emb": "text.cls_token",
    **_layer("text_decoder.resblocks.{}", "captioner.blocks.{}.read"),
    **_layer("text_decoder.cross_attn.{}", "captioner.blocks.{}.look"),
    **both("text_decoder.ln_final", "captioner.norm_out"),
    "text_decoder.text_projection": Transposed("captioner.vocab.weight"),
}


# Positions that were learnt on another grid, or for another length of text, than the config says:
# open_clip interpolates them when it loads (model.py, resize_pos_embed and resize_text_pos_embed).
# transformers, timm and cn_clip refuse such weights, so in their layouts seesay does too.

_log = logging.getLogger("seesay.weights")


def fit_positions(tensors: Tensors, model: DualEncoderConfig) -> Tensors:
    """The tensors with as many positions as the model has. A tensor that is not a square grid, or
    has another width, stays, and loading then reports its shape."""
    fitted = dict(tensors)
    image, text = model.image, model.text
    old = tensors.get("visual.positional_embedding")
    if isinstance(image, VitConfig) and old is not None:
        side = isqrt(max(len(old) - 1, 0)) if old.ndim == 2 else 0
        if side and len(old) == side**2 + 1 and side != image.grid:
            fitted["visual.positional_embedding"] = _grid(old, side, image.grid)
            _note("pictures", f"a grid of {side} x {side}", f"{image.grid} x {image.grid}")
    for name in ("positional_embedding", "text.positional_embedding"):
        old = tensors.get(name)
        if old is None or old.ndim != 2 or not isinstance(text, TextConfig) or text.pool == "cls":
            continue
        if len(old) not in (0, text.context):
            fitted[name] = F.interpolate(old.float().T[None], text.context, mode="linear")[0].T
            _note("texts", f"{len(old)} tokens", str(text.context))
    return fitted


def _grid(
    old: Float[Tensor, "old_positions dim"], side: int, wanted: int
) -> Float[Tensor, "positions dim"]:
    squares = old[1:].float().T.reshape(1, -1, side, side)
    fitted = F.interpolate(squares, (wanted, wanted), mode="bicubic", antialias=True)
    return torch.cat([old[:1].float(), fitted.flatten(2)[0].T])


def _note(what: str, old: str, new: str) -> None:
    _log.warning(
        "the positions of %s were learnt on %s and are interpolated to %s, as the config says",
        what,
        old,
        new,
    )

"""Tiny models of open_clip with image towers of timm, and CLIPA, saved in open_clip's layout."""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from open_clip_references import IMAGE_STAGES, OPEN_CLIP_TEXT, VIT, save_open_clip, with_timm
from reference_parts import IMAGE_SIZE, PATCH, VOCAB, Reference, layers

SIZE = dict(img_size=IMAGE_SIZE, patch_size=PATCH, embed_dim=32, depth=3, num_heads=4)


def _config(name: str, pool: str, **text) -> dict:
    """What an open_clip config says of a tower; `name` is a published size, see shrink."""
    vision = dict(image_size=IMAGE_SIZE, timm_model_name=name, timm_pool=pool, timm_proj=None)
    text = OPEN_CLIP_TEXT | text
    return dict(embed_dim=16, custom_text=True, vision_cfg=vision, text_cfg=text)


def eva01_clip(folder: Path) -> Reference:
    from timm.models.eva import Eva

    trunk = Eva(**SIZE, num_classes=16, mlp_ratio=2, global_pool="token")
    return with_timm(folder, trunk, _config("eva_giant_patch14_224", "token"))


def pe_core(folder: Path, class_token: bool = True) -> Reference:
    """The Perception Encoder; its largest has no class token and counts places from 0."""
    from timm.models.eva import Eva

    trunk = Eva(
        **SIZE,
        num_classes=16,
        mlp_ratio=2,
        global_pool="map",
        attn_type="rope",
        class_token=class_token,
        use_pre_transformer_norm=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(6, 6),
        rope_grid_offset=float(class_token),
        rope_grid_indexing="xy",
        attn_pool_num_heads=8,
        attn_pool_mlp_ratio=3.0,
        norm_layer=nn.LayerNorm,
    )
    size = "base_patch16_224" if class_token else "gigantic_patch14_448"
    return with_timm(folder, trunk, _config(f"vit_pe_core_{size}", "map"))


def pe_core_gigantic(folder: Path) -> Reference:
    return pe_core(folder, class_token=False)


def mobileclip_b(folder: Path) -> Reference:
    """A ViT behind three convolutions with batch norms."""
    from timm.models.vision_transformer_hybrid import (
        ConvStem,
        _create_vision_transformer_hybrid,
    )

    stem = ConvStem(
        channels=(8, 8, 32), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=nn.GELU
    )
    trunk = _create_vision_transformer_hybrid(
        "vit_base_mci_224",
        backbone=stem,
        embed_args=dict(proj=False),
        **(SIZE | dict(img_size=64, patch_size=1)),
        mlp_ratio=2,
        num_classes=16,
        no_embed_class=True,
        global_pool="token",
    )
    config = _config("vit_base_mci_224", "token")
    config["vision_cfg"]["image_size"] = 64
    return with_timm(folder, trunk, config)


def mobileclip2_l(folder: Path) -> Reference:
    """CLIP's ViT by timm, beside a text tower that sees all of a text."""
    from timm.models.vision_transformer import VisionTransformer

    trunk = VisionTransformer(
        **SIZE,
        mlp_ratio=2,
        pre_norm=True,
        norm_layer=nn.LayerNorm,
        num_classes=16,
        global_pool="token",
    )
    config = _config("vit_large_patch14_clip_224", "token", no_causal_mask=True)
    return with_timm(folder, trunk, config)


def biomed_clip(folder: Path) -> Reference:
    """timm's plain ViT behind a map of open_clip's; its text tower is a reference of its own."""
    from timm.models.vision_transformer import VisionTransformer

    trunk = VisionTransformer(**SIZE, mlp_ratio=2, num_classes=0)
    config = _config("vit_base_patch16_224", "")
    config["vision_cfg"]["timm_proj"] = "linear"
    head = nn.Sequential(OrderedDict(proj=nn.Linear(32, 16, bias=False)))
    return with_timm(folder, trunk, config, head)


def _mobileclip_s(folder: Path, name: str, **shape) -> Reference:
    from functools import partial

    from timm.models.fastvit import FastVit, RepConditionalPosEnc

    mixers = {0: "repmixer", 1: "attention"}
    positions = {0: None, 1: partial(RepConditionalPosEnc, spatial_shape=(7, 7))}
    attends = shape.pop("attends")
    trunk = FastVit(
        num_classes=16,
        mlp_ratios=(2,) * len(attends),
        token_mixers=tuple(mixers[a] for a in attends),
        pos_embs=tuple(positions[a] for a in attends),
        layers=(1,) * (len(attends) - 1) + (2,),
        downsamples=(False,) + (True,) * (len(attends) - 1),
        lkc_use_act=True,
        **shape,
    )
    config = _config(name, "avg", no_causal_mask=True)
    config["vision_cfg"]["image_size"] = 64
    reference = with_timm(folder, trunk, config)
    stages = {f"image.stages.{i}": f"visual.trunk.stages.{i}" for i in range(len(attends))}
    reference.gradients = torch.float64
    reference.stages = stages | layers("text.blocks", "text.transformer.resblocks")
    return reference


def mobileclip_s(folder: Path) -> Reference:
    gates = (False, False, True, True)
    return _mobileclip_s(
        folder,
        "fastvit_mci1",
        embed_dims=(8, 16, 32, 64),
        se_downsamples=gates,
        attends=(0, 0, 0, 1),
    )


def mobileclip2_s3(folder: Path) -> Reference:
    from functools import partial

    from timm.layers import LayerNorm2d

    return _mobileclip_s(
        folder,
        "fastvit_mci3",
        embed_dims=(8, 16, 32, 64, 64),
        se_downsamples=(False,) * 5,
        norm_layer=partial(LayerNorm2d, eps=1e-5),
        stem_use_scale_branch=False,
        attends=(0, 0, 0, 1, 1),
    )


def clipa(folder: Path) -> Reference:
    """The mean of the patches, then the last norm; a text tower that reads its last place."""
    import open_clip

    vision = dict(VIT, no_ln_pre=True, pool_type="avg", final_ln_after_pool=True)
    text = dict(
        OPEN_CLIP_TEXT,
        hf_tokenizer_name="bert-base-uncased",
        tokenizer_kwargs={"strip_sep_token": True},
        pool_type="last",
        no_causal_mask=True,
    )
    config = dict(embed_dim=16, vision_cfg=vision, text_cfg=text)
    stages = IMAGE_STAGES | layers("text.blocks", "transformer.resblocks")
    model = open_clip.CLIP(**config)
    return save_open_clip(folder, model, config, stages, ids=torch.randint(0, VOCAB, (5, 12)))


TIMM_FAMILIES = {
    "clipa": clipa,
    "eva-01-clip": eva01_clip,
    "pe-core": pe_core,
    "pe-core gigantic": pe_core_gigantic,
    "biomedclip": biomed_clip,
    "mobileclip-b": mobileclip_b,
    "mobileclip2-l": mobileclip2_l,
    "mobileclip-s": mobileclip_s,
    "mobileclip2-s3": mobileclip2_s3,
}

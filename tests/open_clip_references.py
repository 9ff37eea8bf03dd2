"""Tiny models of open_clip, saved in its layout."""

import json
from pathlib import Path

import torch
from torch import nn

from reference_parts import (
    CONTEXT,
    IMAGE_SIZE,
    PATCH,
    VOCAB,
    Reference,
    clip_ids,
    layers,
    randomise,
    write_tokenizer,
)

OPEN_CLIP_TEXT = dict(context_length=CONTEXT, vocab_size=VOCAB, width=32, heads=4, layers=3)
VIT = dict(image_size=IMAGE_SIZE, patch_size=PATCH, width=32, layers=3, head_width=8)
IMAGE_STAGES = layers("image.blocks", "visual.transformer.resblocks")


def save_open_clip(
    folder: Path,
    model: nn.Module,
    config: dict,
    stages: dict[str, str],
    norms: float = 0.0,
    ids: torch.Tensor | None = None,
) -> Reference:
    from safetensors.torch import save_file

    randomise(model, norms)
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_tokenizer(folder)
    return Reference(
        folder=folder,
        model=model,
        embed_images=model.encode_image,
        embed_texts=model.encode_text,
        stages=stages,
        ids=clip_ids() if ids is None else ids,
        image_size=config["vision_cfg"]["image_size"],
    )


def open_clip_vit(
    folder: Path,
    *,
    vision: dict | None = None,
    text: dict | None = None,
    quick_gelu: bool = True,
) -> Reference:
    import open_clip

    config = dict(
        embed_dim=16,
        quick_gelu=quick_gelu,
        vision_cfg=VIT | (vision or {}),
        text_cfg=OPEN_CLIP_TEXT | (text or {}),
    )
    stages = IMAGE_STAGES | layers("text.blocks", "transformer.resblocks")
    return save_open_clip(folder, open_clip.CLIP(**config), config, stages)


def open_clip_resnet(folder: Path) -> Reference:
    import open_clip

    vision = dict(image_size=64, layers=[2, 1, 1, 2], width=8, head_width=32, patch_size=None)
    config = dict(embed_dim=16, vision_cfg=vision, text_cfg=OPEN_CLIP_TEXT)
    stages = {f"image.stages.{i}": f"visual.layer{i + 1}" for i in range(4)}
    stages |= layers("text.blocks", "transformer.resblocks")
    return save_open_clip(folder, open_clip.CLIP(**config), config, stages)


def open_clip_coca(folder: Path) -> Reference:
    import open_clip

    pool = dict(attentional_pool=True, attn_pooler_heads=4, attn_pooler_queries=6)
    vision = dict(VIT, **pool, output_tokens=True)
    text = dict(OPEN_CLIP_TEXT, width=16, embed_cls=True, output_tokens=True)
    decoder = dict(OPEN_CLIP_TEXT, width=16, layers=2)
    config = dict(
        embed_dim=16, custom_text=True, vision_cfg=vision, text_cfg=text, multimodal_cfg=decoder
    )
    sections = {name: value for name, value in config.items() if name != "custom_text"}
    stages = IMAGE_STAGES | {"image.pool": "visual.attn_pool"}
    model = open_clip.CoCa(**sections)
    reference = save_open_clip(folder, model, config, stages, norms=1.0)
    reference.caption_logits = lambda images, ids: model(images, ids)["logits"]
    return reference


def with_timm(
    folder: Path, trunk: nn.Module, config: dict, head: nn.Module | None = None
) -> Reference:
    """open_clip around a tiny timm tower: its own builder knows only the published sizes. `head` is
    its own map behind the tower."""
    import open_clip

    text = open_clip.model._build_text_tower(config["embed_dim"], config["text_cfg"])
    model = nn.Module()
    model.visual = nn.Module()
    model.visual.trunk = trunk
    model.text = text
    model.logit_scale = nn.Parameter(torch.zeros(()))
    if "init_logit_bias" in config:
        model.logit_bias = nn.Parameter(torch.zeros(()))
    if head is not None:
        model.visual.head = head
    model.encode_image = lambda images: trunk(images) if head is None else head(trunk(images))
    model.encode_text = lambda ids: text(ids)
    stages = layers("image.blocks", "visual.trunk.blocks")
    stages |= layers("text.blocks", "text.transformer.resblocks")
    return save_open_clip(folder, model, config, stages)


def open_clip_siglip(folder: Path) -> Reference:
    from timm.models.vision_transformer import VisionTransformer

    trunk = VisionTransformer(
        img_size=IMAGE_SIZE,
        patch_size=PATCH,
        embed_dim=32,
        depth=3,
        num_heads=4,
        mlp_ratio=2,
        class_token=False,
        global_pool="map",
        num_classes=0,
        act_layer="gelu_tanh",
    )
    text = dict(
        OPEN_CLIP_TEXT,
        no_causal_mask=True,
        proj_bias=True,
        pool_type="last",
        norm_kwargs={"eps": 1e-6},
        act_kwargs={"approximate": "tanh"},
    )
    name = "vit_base_patch8_siglip_32"  # see shrink
    vision = dict(image_size=IMAGE_SIZE, timm_model_name=name, timm_pool="map", timm_proj="none")
    config = dict(
        embed_dim=32, init_logit_bias=-10, custom_text=True, vision_cfg=vision, text_cfg=text
    )
    reference = with_timm(folder, trunk, config)
    reference.stages["image"] = "visual.trunk"
    return reference


def eva02_clip(folder: Path) -> Reference:
    from timm.models.eva import Eva

    trunk = Eva(
        img_size=IMAGE_SIZE,
        patch_size=PATCH,
        embed_dim=32,
        depth=3,
        num_heads=4,
        num_classes=16,
        qkv_fused=False,
        mlp_ratio=2,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
        global_pool="token",
    )
    name = "eva02_base_patch8_clip_32"  # see shrink
    vision = dict(image_size=IMAGE_SIZE, timm_model_name=name, timm_pool="token", timm_proj=None)
    config = dict(embed_dim=16, custom_text=True, vision_cfg=vision, text_cfg=OPEN_CLIP_TEXT)
    return with_timm(folder, trunk, config)

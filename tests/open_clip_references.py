"""Tiny models of open_clip, saved in its layout; the text towers of some are transformers'."""

import json
from pathlib import Path

import torch
from torch import nn

from hf_references import PAD, ROBERTA, roberta_ids
from reference_parts import (
    CONTEXT,
    IMAGE_SIZE,
    PATCH,
    TEXT,
    VOCAB,
    Reference,
    bert_ids,
    clip_ids,
    layers,
    randomise,
    write_tokenizer,
)

OPEN_CLIP_TEXT = dict(context_length=CONTEXT, vocab_size=VOCAB, width=32, heads=4, layers=3)
VIT = dict(image_size=IMAGE_SIZE, patch_size=PATCH, width=32, layers=3, head_width=8)
IMAGE_STAGES = layers("image.blocks", "visual.transformer.resblocks")
BIOMED = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
NLLB = "facebook/nllb-200-distilled-600M"


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


def _with_hf_text(folder: Path, name: str, hf_config, ids, text: dict, blocks: str) -> Reference:
    """Built from the config alone; `name` is what the published config calls the text tower."""
    import open_clip

    hf_config.save_pretrained(folder / "hf")
    settings = dict(text, context_length=CONTEXT)
    local = dict(settings, hf_model_name=str(folder / "hf"), hf_model_pretrained=False)
    model: nn.Module = open_clip.CustomTextCLIP(embed_dim=16, vision_cfg=VIT, text_cfg=local)
    published = dict(settings, hf_model_name=name, hf_tokenizer_name=name)
    config = dict(embed_dim=16, vision_cfg=VIT, text_cfg=published)
    stages = IMAGE_STAGES | layers("text.blocks", f"text.transformer.{blocks}")
    reference = save_open_clip(folder, model, config, stages, ids=ids)
    reference.pad = hf_config.pad_token_id
    return reference


def xlm_r(folder: Path) -> Reference:
    from transformers import XLMRobertaConfig

    text = dict(hf_pooler_type="mean_pooler")
    config = XLMRobertaConfig(**ROBERTA)
    return _with_hf_text(folder, "xlm-roberta-base", config, roberta_ids(), text, "encoder.layer")


def biomed_clip(folder: Path) -> Reference:
    """The text half; its image tower is a reference of its own."""
    from transformers import BertConfig

    text = dict(hf_pooler_type="cls_last_hidden_state_pooler", hf_proj_type="mlp")
    return _with_hf_text(folder, BIOMED, BertConfig(**TEXT), bert_ids(), text, "encoder.layer")


def bert_pooler(folder: Path) -> Reference:
    from transformers import BertConfig

    text = dict(hf_pooler_type="cls_pooler", hf_proj_type="linear")
    return _with_hf_text(folder, BIOMED, BertConfig(**TEXT), bert_ids(), text, "encoder.layer")


def nllb(folder: Path) -> Reference:
    from transformers import M2M100Config

    config = M2M100Config(
        vocab_size=VOCAB,
        max_position_embeddings=CONTEXT,
        d_model=32,
        encoder_layers=3,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        pad_token_id=PAD,
    )
    text = dict(hf_pooler_type="cls_pooler", hf_proj_type="linear")
    return _with_hf_text(folder, NLLB, config, roberta_ids(), text, "layers")


HF_TEXT_FAMILIES = {
    "open_clip xlm-r": xlm_r,
    "open_clip nllb": nllb,
    "open_clip bert": biomed_clip,
    "open_clip bert with pooler": bert_pooler,
}

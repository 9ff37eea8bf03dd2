"""Tiny models of open_clip whose text towers are transformers', saved in open_clip's layout."""

import json
from pathlib import Path

from torch import nn

from hf_references import PAD, ROBERTA, roberta_ids
from open_clip_references import IMAGE_STAGES, VIT
from reference_parts import (
    CONTEXT,
    TEXT,
    VOCAB,
    Reference,
    bert_ids,
    layers,
    randomise,
    write_tokenizer,
)

BIOMED = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
NLLB = "facebook/nllb-200-distilled-600M"


def _with_hf_text(folder: Path, name: str, hf_config, ids, text: dict, blocks: str) -> Reference:
    """Built from the config alone; `name` is what the published config calls the text tower."""
    import open_clip
    from safetensors.torch import save_file

    hf_config.save_pretrained(folder / "hf")
    settings = dict(text, context_length=CONTEXT)
    local = dict(settings, hf_model_name=str(folder / "hf"), hf_model_pretrained=False)
    model: nn.Module = open_clip.CustomTextCLIP(embed_dim=16, vision_cfg=VIT, text_cfg=local)
    randomise(model)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    published = dict(settings, hf_model_name=name, hf_tokenizer_name=name)
    config = dict(embed_dim=16, vision_cfg=VIT, text_cfg=published)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    write_tokenizer(folder)
    return Reference(
        folder=folder,
        model=model,
        embed_images=model.encode_image,
        embed_texts=model.encode_text,
        stages=IMAGE_STAGES | layers("text.blocks", f"text.transformer.{blocks}"),
        ids=ids,
        pad=hf_config.pad_token_id,
    )


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

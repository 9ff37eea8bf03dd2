"""Tiny models of the published implementations, every parameter random, saved as they publish them.

Default initialisation would hide swapped norms and biases: norms are 1 and biases 0.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from hf_references import HF_FAMILIES
from open_clip_references import (
    BIOMED,
    HF_TEXT_FAMILIES,
    NLLB,
    eva02_clip,
    open_clip_coca,
    open_clip_resnet,
    open_clip_siglip,
    open_clip_vit,
)
from reference_parts import (
    CONTEXT,
    EOS,
    IMAGE,
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
from timm_references import TIMM_FAMILIES


def _hf_stages(text_layers: str = "text_model.encoder.layers") -> dict[str, str]:
    image = layers("image.blocks", "vision_model.encoder.layers")
    return image | layers("text.blocks", text_layers)


def _hf(model: nn.Module, folder: Path, stages: dict[str, str], ids: Tensor) -> Reference:
    randomise(model)
    model.save_pretrained(folder)
    write_tokenizer(folder)

    def texts(ids: Tensor) -> Tensor:
        known = (
            "bert" in type(model.text_model).__name__.lower()
            or "chinese" in model.config.model_type
        )
        mask = {"attention_mask": (ids != 0).long()} if known else {}
        return model.get_text_features(input_ids=ids, **mask).pooler_output

    return Reference(
        folder=folder,
        model=model,
        embed_images=lambda images: model.get_image_features(pixel_values=images).pooler_output,
        embed_texts=texts,
        stages=stages,
        ids=ids,
    )


def openai_clip(folder: Path, activation: str = "quick_gelu", eos_token_id: int = EOS) -> Reference:
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config=dict(TEXT, hidden_act=activation, eos_token_id=eos_token_id, bos_token_id=1),
        vision_config=dict(IMAGE, hidden_act=activation),
        projection_dim=16,
    )
    return _hf(CLIPModel(config), folder, _hf_stages(), clip_ids())


def laion_clip(folder: Path) -> Reference:
    """LAION's and DataComp's variant: exact GELU."""
    return openai_clip(folder, activation="gelu")


def openai_clip_with_the_old_eos(folder: Path) -> Reference:
    """OpenAI's published configs carry eos_token_id 2 and mean the largest id."""
    return openai_clip(folder, eos_token_id=2)


def siglip(folder: Path) -> Reference:
    from transformers import SiglipConfig, SiglipModel

    # 36 px in patches of 8 leave 4 px over, as in so400m-patch14-384
    config = SiglipConfig(
        text_config=dict(TEXT, projection_size=32), vision_config=dict(IMAGE, image_size=36)
    )
    reference = _hf(
        SiglipModel(config), folder, _hf_stages(), torch.randint(0, VOCAB, (5, CONTEXT))
    )
    reference.image_size = 36
    return reference


def chinese_clip(folder: Path) -> Reference:
    from transformers import ChineseCLIPConfig, ChineseCLIPModel

    config = ChineseCLIPConfig(text_config=TEXT, vision_config=IMAGE, projection_dim=16)
    stages = _hf_stages("text_model.encoder.layer")
    return _hf(ChineseCLIPModel(config), folder, stages, bert_ids())


def taiyi(folder: Path) -> Reference:
    from transformers import BertConfig, BertForSequenceClassification

    image = openai_clip(folder / "image")
    config = BertConfig(**TEXT, num_labels=16)
    text = randomise(BertForSequenceClassification(config))
    (folder / "text").mkdir()
    text.save_pretrained(folder / "text")
    write_tokenizer(folder / "text")
    stages = {ours: theirs for ours, theirs in image.stages.items() if ours.startswith("image")}
    pair = nn.ModuleDict({"clip": image.model, "text": text})
    return Reference(
        folder=folder / "text",
        image_folder=folder / "image",
        model=pair,
        embed_images=image.embed_images,
        embed_texts=lambda ids: text(input_ids=ids, attention_mask=(ids != 0).long()).logits,
        stages={ours: f"clip.{theirs}" for ours, theirs in stages.items()}
        | layers("text.blocks", "text.bert.encoder.layer"),
        ids=bert_ids(),
    )


def _cn_clip(folder: Path, name: str, **vision) -> Reference:
    from cn_clip.clip.model import CLIP

    text = dict(
        vocab_size=VOCAB,
        text_attention_probs_dropout_prob=0.1,
        text_hidden_act="gelu",
        text_hidden_dropout_prob=0.1,
        text_hidden_size=32,
        text_initializer_range=0.02,
        text_intermediate_size=64,
        text_max_position_embeddings=CONTEXT,
        text_num_attention_heads=4,
        text_num_hidden_layers=3,
        text_type_vocab_size=2,
    )
    model = randomise(CLIP(embed_dim=16, **text, **vision))
    folder.mkdir(exist_ok=True)
    wrapped = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"epoch": 1, "name": "tiny", "state_dict": wrapped}, folder / f"clip_cn_{name}.pt")
    write_tokenizer(folder)
    return Reference(
        folder=folder,
        model=model,
        embed_images=model.encode_image,
        embed_texts=model.encode_text,
        stages=layers("text.blocks", "bert.encoder.layer"),
        ids=bert_ids(),
        image_size=vision["image_resolution"],
    )


def cn_clip_resnet(folder: Path) -> Reference:
    return _cn_clip(
        folder,
        "rn50",
        image_resolution=64,
        vision_layers=[2, 1, 1, 2],
        vision_width=8,
        vision_patch_size=None,
        vision_head_width=32,
    )


def cn_clip_vit(folder: Path) -> Reference:
    return _cn_clip(
        folder,
        "vit-b-16",
        image_resolution=IMAGE_SIZE,
        vision_layers=3,
        vision_width=32,
        vision_patch_size=PATCH,
        vision_head_width=8,
    )


def shrink(monkeypatch) -> None:
    """Some layouts give only the name of a published size: let those names mean tiny models."""
    from seesay.models.bert import BertConfig
    from seesay.models.dual_encoder import DualEncoderConfig
    from seesay.models.resnet import ResNetConfig
    from seesay.models.vit import VitConfig
    from seesay.weights import open_clip_towers as towers
    from seesay.weights.pt_files import CHINESE_CLIPS

    monkeypatch.setitem(towers.SIGLIP_SIZES, "base", (32, 3, 4, 64))
    monkeypatch.setitem(towers.EVA02_SIZES, "base", (32, 3, 4, 64))
    monkeypatch.setattr(towers, "TANH_SIZES", {"base_patch8_siglip_32"})
    size = dict(dim=32, depth=3, heads=4)
    text = BertConfig(vocab_size=VOCAB, context=CONTEXT, hidden=64, **size)
    resnet = ResNetConfig(image_size=64, layers=(2, 1, 1, 2), width=8, heads=8, output_dim=16)
    vit = VitConfig(image_size=IMAGE_SIZE, patch_size=PATCH, hidden=128, **size)
    small = dict(size, image_size=IMAGE_SIZE, patch_size=PATCH, hidden=64)
    for name, tower in towers.NAMED.items():
        parts = dict(small, rope_reference=6)
        if tower.pool == "attention":
            parts |= dict(pool_hidden=96)
        if tower.stem == "convs":
            parts |= dict(image_size=64, patch_size=16)
        monkeypatch.setitem(towers.NAMED, name, replace(tower, **parts))
    for name, tower in towers.FASTVITS.items():
        stages = len(tower.dims)
        shape = dict(dims=(8, 16, 32, 64, 64)[:stages], layers=(1,) * (stages - 1) + (2,))
        monkeypatch.setitem(towers.FASTVITS, name, replace(tower, mlp_ratio=2, **shape))
    roberta = replace(text, first_position=2, pad_id=1, norm_eps=1e-5, token_types=1)
    nllb = replace(towers.NLLB_600M, vocab_size=VOCAB, context=CONTEXT, hidden=64, **size)
    for name, tower in (("xlm-roberta-base", roberta), (BIOMED, text), (NLLB, nllb)):
        monkeypatch.setitem(towers.HF_TOWERS, name, tower)
    for name, image in (("rn50", resnet), ("vit-b-16", vit)):
        config = DualEncoderConfig(
            image=image, text=text, embed_dim=16, project_image=image is not resnet
        )
        monkeypatch.setitem(CHINESE_CLIPS, name, config)


FAMILIES: dict[str, Callable[[Path], Reference]] = {
    "openai clip": openai_clip,
    "openai clip, old eos": openai_clip_with_the_old_eos,
    "laion clip": laion_clip,
    "siglip": siglip,
    "chinese-clip": chinese_clip,
    "taiyi-clip": taiyi,
    "open_clip vit": open_clip_vit,
    "open_clip resnet": open_clip_resnet,
    "open_clip coca": open_clip_coca,
    "open_clip siglip": open_clip_siglip,
    "eva-02-clip": eva02_clip,
    "cn_clip resnet": cn_clip_resnet,
    "cn_clip vit": cn_clip_vit,
    **HF_FAMILIES,
    **HF_TEXT_FAMILIES,
    **TIMM_FAMILIES,
}

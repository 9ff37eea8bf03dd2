"""Tiny models of transformers whose families came after the first ones, and of their relatives."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from reference_parts import (
    CONTEXT,
    EOS,
    IMAGE,
    PATCH,
    TEXT,
    TINY,
    VOCAB,
    Reference,
    clip_ids,
    layers,
    randomise,
    write_tokenizer,
)

PAD = 1  # RoBERTa's
ROBERTA = dict(
    TEXT,
    max_position_embeddings=CONTEXT + 2,
    type_vocab_size=1,
    pad_token_id=PAD,
    layer_norm_eps=1e-5,
)
ENTAILMENT = ("CONTRADICTION", "neutral", "entailment")


def entailment_folder(folder: Path, favours: str | None = None) -> Path:
    """An XLM-R that tells whether a text follows; with `favours`, always this label."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    sizes = dict(ROBERTA, max_position_embeddings=25, pad_token_id=0)
    config = XLMRobertaConfig(**sizes, id2label=dict(enumerate(ENTAILMENT)))
    model = randomise(XLMRobertaForSequenceClassification(config).eval(), norms=1.0)
    if favours is not None:
        with torch.no_grad():
            model.classifier.out_proj.bias[ENTAILMENT.index(favours)] += 20.0
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


IMAGE_STAGES = layers("image.blocks", "vision_model.encoder.layers")


def roberta_ids() -> Tensor:
    ids = torch.randint(2, VOCAB, (5, CONTEXT))
    for row, length in enumerate((12, 3, 7, 11, 2)):
        ids[row, length:] = PAD
    return ids


def saved(
    folder: Path,
    model: nn.Module,
    stages: dict[str, str],
    ids: Tensor,
    pad: int | None = None,
    published: Callable[[str], str] = str,
) -> Reference:
    """A model of transformers with two towers; `pad` is what its text tower must not see."""
    from safetensors.torch import save_file

    randomise(model)
    model.config.save_pretrained(folder)
    # Not save_pretrained, which gives AltCLIP's image tower names that no published file has.
    tensors = {published(name): tensor for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    write_tokenizer(folder)

    def texts(ids: Tensor) -> Tensor:
        mask = {} if pad is None else {"attention_mask": (ids != pad).long()}
        return model.get_text_features(input_ids=ids, **mask).pooler_output

    return Reference(
        folder=folder,
        model=model,
        embed_images=lambda images: model.get_image_features(pixel_values=images).pooler_output,
        embed_texts=texts,
        stages=IMAGE_STAGES | stages,
        ids=ids,
        pad=pad,
        published=published,
    )


def metaclip_2(folder: Path) -> Reference:
    """Its vocabularies (XLM-V, mT5) end a text with a small id, not with the largest."""
    from transformers import MetaClip2Config, MetaClip2Model

    end = 2
    config = MetaClip2Config(
        text_config=dict(TEXT, eos_token_id=end, bos_token_id=0),
        vision_config=IMAGE,
        projection_dim=16,
    )
    ids = clip_ids()
    ids = torch.where(ids == EOS, end, ids)  # the padding is 0; nothing looks at it
    stages = layers("text.blocks", "text_model.encoder.layers")
    return saved(folder, MetaClip2Model(config), stages, ids)


def tiny_clip(folder: Path) -> Reference:
    """TinyCLIP: CLIP with a text tower of another width and depth than the image tower's."""
    from transformers import CLIPConfig, CLIPModel

    text = dict(TEXT, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    config = CLIPConfig(
        text_config=dict(text, eos_token_id=EOS, bos_token_id=1),
        vision_config=IMAGE,
        projection_dim=16,
    )
    stages = layers("text.blocks", "text_model.encoder.layers", 2)
    return saved(folder, CLIPModel(config), stages, clip_ids())


def altclip(folder: Path) -> Reference:
    from transformers import AltCLIPConfig, AltCLIPModel

    config = AltCLIPConfig(
        text_config=dict(ROBERTA, project_dim=24), vision_config=IMAGE, projection_dim=16
    )
    stages = layers("text.blocks", "text_model.roberta.encoder.layers")

    def published(name: str) -> str:
        return name.replace("roberta.encoder.layers.", "roberta.encoder.layer.")

    return saved(folder, AltCLIPModel(config), stages, roberta_ids(), PAD, published)


def m_clip(folder: Path) -> Reference:
    """Its text half is transformers' XLM-R and one linear map (pt_multilingual_clip.py)."""
    from safetensors.torch import save_file
    from transformers import CLIPConfig, CLIPModel, XLMRobertaConfig, XLMRobertaModel

    text = dict(TEXT, eos_token_id=EOS, bos_token_id=1)
    config = CLIPConfig(text_config=text, vision_config=IMAGE, projection_dim=16)
    clip = randomise(CLIPModel(config))
    clip.save_pretrained(folder / "image")
    text = nn.Module()
    text.transformer = XLMRobertaModel(XLMRobertaConfig(**ROBERTA))
    text.LinearTransformation = nn.Linear(32, 16)
    randomise(text)
    (folder / "text").mkdir()
    save_file(text.state_dict(), folder / "text" / "model.safetensors")
    config = {"model_type": "M-CLIP", "modelBase": "xlm-roberta-base"}  # see shrink
    (folder / "text" / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder / "text")

    def texts(ids: Tensor) -> Tensor:
        real = (ids != PAD).long()
        x = text.transformer(input_ids=ids, attention_mask=real)[0] * real[..., None]
        return text.LinearTransformation(x.sum(dim=1) / real.sum(dim=1)[:, None])

    stages = {ours: f"clip.{theirs}" for ours, theirs in IMAGE_STAGES.items()}
    return Reference(
        folder=folder / "text",
        image_folder=folder / "image",
        model=nn.ModuleDict({"clip": clip, "text": text}),
        embed_images=lambda images: clip.get_image_features(pixel_values=images).pooler_output,
        embed_texts=texts,
        stages=stages | layers("text.blocks", "text.transformer.encoder.layer"),
        ids=roberta_ids(),
        pad=PAD,
    )


GRIDS = ((4, 4), (2, 7), (1, 3))  # rows and columns of three pictures in patches; at most 16


def strips() -> Tensor:
    """Random pictures of these shapes, as seesay.data.squares lays out their patches."""
    images = torch.randn(len(GRIDS), 3, PATCH, 17 * PATCH)
    for image, grid in zip(images, GRIDS, strict=True):
        image[:, 0, :2] = torch.tensor([(0, 0), grid, (0, 0)])
    return images


def siglip2_naflex(folder: Path) -> Reference:
    from transformers import Siglip2Config, Siglip2Model

    vision = dict(TINY, patch_size=PATCH, num_patches=16)
    config = Siglip2Config(text_config=dict(TEXT, projection_size=32), vision_config=vision)
    model = Siglip2Model(config)
    stages = layers("text.blocks", "text_model.encoder.layers")
    reference = saved(folder, model, stages, torch.randint(0, VOCAB, (5, CONTEXT)))
    settings = dict(patch_size=PATCH, max_num_patches=16, image_processor_type="Siglip2")
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))

    def embed(images: Tensor) -> Tensor:
        grids = images[:, 1, 0, :2].long()
        patches = images[..., PATCH:].unflatten(3, (16, PATCH)).permute(0, 3, 2, 4, 1).flatten(2)
        seen = torch.arange(16) < grids.prod(dim=1, keepdim=True)
        return model.get_image_features(
            pixel_values=patches, pixel_attention_mask=seen.long(), spatial_shapes=grids
        ).pooler_output

    reference.images, reference.embed_images = strips(), embed
    return reference


def fg_clip_2(folder: Path) -> Reference:
    """NaFlex with further tensors, for long texts and for regions of pictures, which do not touch
    what it makes of short texts and whole pictures."""
    from safetensors.torch import load_file, save_file

    reference = siglip2_naflex(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in ("text_model.embeddings.position_embedding_" + end for end in ("res", "ori")):
        tensors[f"{name}.weight"] = torch.randn(2 * CONTEXT, 32)
    for head in ("longtext_head", "boxtext_head"):
        tensors |= {f"{head}.weight": torch.randn(32, 32), f"{head}.bias": torch.randn(32)}
    inner = "vision_model.head."
    dense = [name for name in tensors if name.startswith(inner)]
    for name in dense:
        tensors["dense_feature_head." + name.removeprefix(inner)] = tensors[name].clone()
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "fgclip2"
    config["text_config"] |= {"keep_len": 4, "longtext_len": 2 * CONTEXT}
    (folder / "config.json").write_text(json.dumps(config))
    return reference


HF_FAMILIES = {
    "siglip 2 naflex": siglip2_naflex,
    "fg-clip 2": fg_clip_2,
    "metaclip 2": metaclip_2,
    "tinyclip": tiny_clip,
    "altclip": altclip,
    "m-clip": m_clip,
}

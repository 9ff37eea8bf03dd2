"""The sizes in the catalogue are those that the published configs imply.

open_clip ships a config for most of the checkpoints, or for one of the same architecture. The
towers of the others are the defaults of transformers or sizes that their authors publish.
"""

import json
from dataclasses import replace
from functools import cache
from importlib import resources

import pytest

import torchvision_shim  # noqa: F401  # before open_clip
from seesay.data.squares import ImageTransformConfig
from seesay.models.bert import BertConfig
from seesay.models.decoder import DecoderConfig
from seesay.models.decoder_text import DecoderTextConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.weights import open_clip
from seesay.weights.bert_clip import read_altclip, read_m_clip, read_taiyi
from seesay.weights.bundle import Blueprint, load_bundle
from seesay.weights.catalog import CatalogEntry, published_models
from seesay.weights.hub import resolve
from seesay.weights.pt_files import CHINESE_CLIPS
from seesay.weights.tensors import blank_model

# alias -> the config of the same architecture that open_clip ships
SHIPPED = {
    "siglip2-b32-256": "ViT-B-32-SigLIP2-256",
    "siglip2-b16-224": "ViT-B-16-SigLIP2",
    "siglip2-b16-256": "ViT-B-16-SigLIP2-256",
    "siglip2-b16-384": "ViT-B-16-SigLIP2-384",
    "siglip2-b16-512": "ViT-B-16-SigLIP2-512",
    "siglip2-b16-naflex": "ViT-B-16-SigLIP2-256",
    "siglip2-l16-256": "ViT-L-16-SigLIP2-256",
    "siglip2-l16-384": "ViT-L-16-SigLIP2-384",
    "siglip2-l16-512": "ViT-L-16-SigLIP2-512",
    "siglip2-so400m-224": "ViT-SO400M-14-SigLIP2",
    "siglip2-so400m-384": "ViT-SO400M-14-SigLIP2-378",
    "siglip2-so400m-p16-256": "ViT-SO400M-16-SigLIP2-256",
    "siglip2-so400m-p16-384": "ViT-SO400M-16-SigLIP2-384",
    "siglip2-so400m-p16-512": "ViT-SO400M-16-SigLIP2-512",
    "siglip2-so400m-naflex": "ViT-SO400M-16-SigLIP2-256",
    "siglip2-g-256": "ViT-gopt-16-SigLIP2-256",
    "siglip2-g-384": "ViT-gopt-16-SigLIP2-384",
    "fg-clip2-b16": "ViT-B-16-SigLIP2-256",
    "fg-clip2-l16": "ViT-L-16-SigLIP2-256",
    "fg-clip2-so400m": "ViT-SO400M-16-SigLIP2-256",
    "siglip-b16-224": "ViT-B-16-SigLIP",
    "siglip-b16-256": "ViT-B-16-SigLIP-256",
    "siglip-b16-384": "ViT-B-16-SigLIP-384",
    "siglip-b16-512": "ViT-B-16-SigLIP-512",
    "siglip-l16-256": "ViT-L-16-SigLIP-256",
    "siglip-l16-384": "ViT-L-16-SigLIP-384",
    "siglip-so400m-224": "ViT-SO400M-14-SigLIP",
    "siglip-so400m-384": "ViT-SO400M-14-SigLIP-384",
    "clip-rn50": "RN50-quickgelu",
    "clip-b32": "ViT-B-32-quickgelu",
    "clip-b16": "ViT-B-16-quickgelu",
    "clip-l14": "ViT-L-14-quickgelu",
    "clip-l14-336": "ViT-L-14-336-quickgelu",
    "laion-b32": "ViT-B-32",
    "laion-l14": "ViT-L-14",
    "laion-h14": "ViT-H-14",
    "laion-bigg14": "ViT-bigG-14",
    "datacomp-b16": "ViT-B-16",
    "datacomp-l14": "ViT-L-14",
    "metaclip-b32": "ViT-B-32-quickgelu",
    "metaclip-b16": "ViT-B-16-quickgelu",
    "metaclip-l14": "ViT-L-14-quickgelu",
    "metaclip-l14-2.5b": "ViT-L-14-quickgelu",
    "metaclip-h14-2.5b": "ViT-H-14-quickgelu",
    "dfn-b16": "ViT-B-16-quickgelu",
    "dfn-l14": "ViT-L-14-quickgelu",
    "dfn-h14": "ViT-H-14-quickgelu",
    "dfn-h14-378": "ViT-H-14-378-quickgelu",
    "eva02-b16": "EVA02-B-16",
    "eva02-l14": "EVA02-L-14",
    "eva02-l14-336": "EVA02-L-14-336",
    "eva01-g14": "EVA01-g-14",
    "eva01-g14-plus": "EVA01-g-14-plus",
    "metaclip2-h14": "ViT-H-14-worldwide-quickgelu",
    "metaclip2-h14-378": "ViT-H-14-worldwide-378",
    "metaclip2-bigg14": "ViT-bigG-14-worldwide",
    "laion-xlm-r-b32": "xlm-roberta-base-ViT-B-32",
    "laion-xlm-r-h14": "xlm-roberta-large-ViT-H-14",
    "nllb-clip-b32": "nllb-clip-base",
    "nllb-clip-siglip-b16": "nllb-clip-base-siglip",
    "nllb-clip-siglip-so400m": "nllb-clip-large-siglip",
    "pe-core-t16-384": "PE-Core-T-16-384",
    "pe-core-s16-384": "PE-Core-S-16-384",
    "pe-core-b16": "PE-Core-B-16",
    "pe-core-l14-336": "PE-Core-L-14-336",
    "pe-core-bigg14-448": "PE-Core-bigG-14-448",
    "mobileclip2-s0": "MobileCLIP2-S0",
    "mobileclip2-s2": "MobileCLIP2-S2",
    "mobileclip2-b16": "MobileCLIP2-B",
    "mobileclip2-s3": "MobileCLIP2-S3",
    "mobileclip2-s4": "MobileCLIP2-S4",
}
CN_CLIP = {
    "chinese-clip-rn50": "rn50",
    "chinese-clip-b16": "vit-b-16",
    "chinese-clip-l14": "vit-l-14",
    "chinese-clip-l14-336": "vit-l-14-336",
    "chinese-clip-h14": "vit-h-14",
}
VIT_B32 = {"vision_config": {"patch_size": 32, "num_attention_heads": 12}, "projection_dim": 512}
VIT_L14 = {
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    "projection_dim": 768,
}
ROBERTA_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
ROBERTA = {"vocab_size": 21128, "max_position_embeddings": 512, "type_vocab_size": 2}
TINY = {  # TinyCLIP, src/open_clip/model_configs/TinyCLIP-ViT-8M-16-Text-3M.json
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 10, "width": 256, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 3},
}
BIOMED = {  # open_clip_config.json of its repository
    "embed_dim": 512,
    "vision_cfg": {
        "timm_model_name": "vit_base_patch16_224",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {
        "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    },
}


def shipped(name: str) -> Blueprint:
    import open_clip as reference

    file = resources.files(reference) / "model_configs" / f"{name}.json"
    return open_clip.read({"model_cfg": json.loads(file.read_text())})


OTHERS = {
    "tinyclip-8m": lambda: open_clip.read({"model_cfg": TINY}),
    "biomedclip-b16": lambda: open_clip.read({"model_cfg": BIOMED}),
    "altclip-l14": lambda: read_altclip({"model_type": "altclip", **VIT_L14}, {}),
    "m-clip-b32": lambda: read_m_clip({"modelBase": "xlm-roberta-large"}, VIT_B32, {}),
    "m-clip-l14": lambda: read_m_clip({"modelBase": "xlm-roberta-large"}, VIT_L14, {}),
    "taiyi-clip-b32": lambda: read_taiyi(ROBERTA, VIT_B32, {}),
    "taiyi-clip-l14": lambda: read_taiyi({**ROBERTA, **ROBERTA_LARGE}, VIT_L14, {}),
}


def bert(vocab: int, dim: int, depth: int, heads: int, **more: int) -> DualEncoderConfig:
    text = BertConfig(
        vocab_size=vocab, dim=dim, depth=depth, heads=heads, hidden=4 * dim, pool="mean", **more
    )
    return texts_alone(text)


def qwen3(vocab: int, dim: int, depth: int, heads: int, hidden: int) -> DualEncoderConfig:
    decoder = DecoderConfig(
        vocab_size=vocab,
        dim=dim,
        depth=depth,
        heads=heads,
        key_heads=8,
        hidden=hidden,
        query_key_norm=True,
        tied=True,
    )
    return texts_alone(DecoderTextConfig(decoder=decoder))


def texts_alone(text: BertConfig | DecoderTextConfig) -> DualEncoderConfig:
    return DualEncoderConfig(image=None, text=text, embed_dim=text.output_dim, project_text=False)


XLM_R = {"first_position": 2, "token_types": 1}
# As the config.json of each says
TEXTS = {
    "bge-small-zh": bert(21128, 512, 4, 8),
    "bge-base-zh": bert(21128, 768, 12, 12),
    "bge-large-zh": bert(21128, 1024, 24, 16),
    "bge-small-en": bert(30522, 384, 12, 12),
    "bge-base-en": bert(30522, 768, 12, 12),
    "bge-large-en": bert(30522, 1024, 24, 16),
    "bge-m3": bert(250002, 1024, 24, 16, context=8192, **XLM_R),
    "e5-small": bert(250037, 384, 12, 12),
    "e5-base": bert(250002, 768, 12, 12, **XLM_R),
    "e5-large": bert(250002, 1024, 24, 16, **XLM_R),
    "qwen3-embedding-0.6b": qwen3(151669, 1024, 28, 16, 3072),
    "qwen3-embedding-4b": qwen3(151665, 2560, 36, 32, 9728),
    "qwen3-embedding-8b": qwen3(151665, 4096, 36, 32, 12288),
}


@cache
def implied(alias: str) -> tuple[DualEncoderConfig, ImageTransformConfig]:
    """The model of an entry, from configs that others publish."""
    if published_models()[alias].built_in:
        bundle = load_bundle(resolve(alias))
        return bundle.config, bundle.transform
    if alias in TEXTS:
        return TEXTS[alias], ImageTransformConfig()
    if alias in CN_CLIP:
        model = CHINESE_CLIPS[CN_CLIP[alias]]
        return model, ImageTransformConfig(size=model.image.image_size)
    blueprint = OTHERS[alias]() if alias in OTHERS else shipped(SHIPPED[alias])
    return blueprint.model, blueprint.transform


@cache
def parameters(alias: str, *, text_only: bool = False) -> int:
    model = blank_model(DualEncoder, implied(alias)[0])
    return sum(
        value.numel()
        for name, value in model.named_parameters()
        if not text_only or name.startswith("text")
    )


def mistakes(entry: CatalogEntry) -> list[str]:
    """What in an entry differs from the model that it is of."""
    count, (config, transform) = parameters(entry.alias), implied(entry.alias)
    size = 0 if config.image is None else transform.size
    told = []
    if round(count / 1e6) != entry.parameters_m:
        told.append(f"parameters_m={entry.parameters_m}, expected {count / 1e6:.1f}")
    # transformers says 384 where 27 patches of 14 pixels see 378 of them.
    if entry.image_size not in (size, size + 6 * (size == 378)):
        told.append(f"image_size={entry.image_size}, expected {size}")
    half = published_models()[entry.image_half].megabytes if entry.image_half else 0
    bytes_each = 2 if entry.family.startswith(("EVA", "Qwen3")) else 4
    stored = parameters(entry.alias, text_only=bool(half)) * bytes_each / 1e6 + half
    if entry.built_in:
        stored = (entry.built_in / "model.safetensors").stat().st_size / 1e6
    more = 1.023 if entry.family == "FG-CLIP 2" else 1.002  # its heads for long texts and regions
    more = 1.012 if entry.family in ("BGE", "multilingual E5") else more  # a pooler that is unused
    if not 0.998 * stored <= entry.megabytes <= more * stored + 1:
        told.append(f"megabytes={entry.megabytes}, expected {stored:.0f}")
    return told


@pytest.mark.parametrize("alias", published_models())
def test_sizes_are_those_of_the_config(alias):
    assert mistakes(published_models()[alias]) == []


@pytest.mark.parametrize("name", ["parameters_m", "image_size", "megabytes"])
def test_a_wrong_size_is_a_mistake(name):
    for entry in published_models().values():
        for factor in (0.9, 1.1):
            wrong = replace(entry, **{name: round(getattr(entry, name) * factor) or 224})
            assert any(name in one for one in mistakes(wrong)), entry.alias

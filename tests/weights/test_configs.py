"""Published configs become models of the published sizes."""

import json
from importlib import resources

import pytest
import torch

from seesay.models.dual_encoder import DualEncoder
from seesay.models.fastvit import HEAD_DIM, FastVitConfig
from seesay.models.vit import VitConfig
from seesay.weights import bert_clip, chinese_clip, clip, open_clip, siglip
from seesay.weights.pt_files import CHINESE_CLIPS
from seesay.weights.tensors import rename


def test_our_defaults_are_those_of_the_reference():
    """Published configs leave out what equals the default, so a wrong default is a wrong model."""
    from transformers import (
        AltCLIPTextConfig,
        AltCLIPVisionConfig,
        ChineseCLIPTextConfig,
        CLIPTextConfig,
        CLIPVisionConfig,
        MetaClip2TextConfig,
        MetaClip2VisionConfig,
        SiglipTextConfig,
        SiglipVisionConfig,
    )

    pairs = [
        (clip.VISION_DEFAULTS, CLIPVisionConfig()),
        (clip.TEXT_DEFAULTS, CLIPTextConfig()),
        (siglip.VISION_DEFAULTS, SiglipVisionConfig()),
        (siglip.TEXT_DEFAULTS | {"projection_size": 768}, SiglipTextConfig()),
        (chinese_clip.TEXT_DEFAULTS, ChineseCLIPTextConfig()),
        (clip.VISION_DEFAULTS, MetaClip2VisionConfig()),
        (clip.TEXT_DEFAULTS, MetaClip2TextConfig()),
        (clip.VISION_DEFAULTS, AltCLIPVisionConfig()),
        (bert_clip.ALTCLIP_DEFAULTS, AltCLIPTextConfig()),
    ]
    for ours, theirs in pairs:
        assert {name: getattr(theirs, name) for name in ours} == ours


@pytest.mark.parametrize("name", CHINESE_CLIPS)
def test_chinese_clips_own_sizes_are_those_of_its_authors(name):
    """The `clip_cn_*.pt` files come without a config: cn_clip's own names the towers and sizes."""
    pytest.importorskip("cn_clip")
    from cn_clip.clip.utils import _MODEL_INFO

    published = next(info for key, info in _MODEL_INFO.items() if key.lower() == name)
    vision, text = (
        json.loads((resources.files("cn_clip") / f"clip/model_configs/{half}.json").read_text())
        for half in published["struct"].split("@")
    )
    ours, bert = CHINESE_CLIPS[name], CHINESE_CLIPS[name].text
    image = ours.image
    assert ours.embed_dim == vision["embed_dim"]
    assert image.image_size == vision["image_resolution"] == published["input_resolution"]
    if name == "rn50":
        assert list(image.layers) == json.loads(vision["vision_layers"])
        assert image.width == vision["vision_width"]
        assert image.heads == 32 * image.width // vision.get("vision_head_width", 64)
        assert image.output_dim == ours.embed_dim and not ours.project_image
    else:
        assert isinstance(image, VitConfig) and image.activation == "quick_gelu"
        assert image.patch_size == vision["vision_patch_size"]
        assert (image.dim, image.depth) == (vision["vision_width"], vision["vision_layers"])
        assert image.heads == image.dim // vision.get("vision_head_width", 64)
        assert image.hidden == 4 * image.dim
    assert (bert.vocab_size, bert.context) == (
        text["vocab_size"],
        text["text_max_position_embeddings"],
    )
    assert (bert.dim, bert.depth, bert.heads, bert.hidden) == tuple(
        text[f"text_{key}"]
        for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    )
    assert (bert.activation, bert.token_types) == (
        text["text_hidden_act"],
        text["text_type_vocab_size"],
    )


OPEN_CLIP = [
    "RN50-quickgelu",
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "ViT-B-16",
    "ViT-L-14-336",
    "ViT-H-14",
    "ViT-bigG-14",
    "ViT-B-16-SigLIP",
    "ViT-SO400M-14-SigLIP2-378",
    "ViT-L-16-SigLIP2-512",
    "ViT-gopt-16-SigLIP2-384",
    "EVA02-B-16",
    "EVA02-L-14-336",
    "ViT-H-14-CLIPA-336",
    "ViT-L-14-worldwide",
    "ViT-SO400M-16-SigLIP-i18n-256",
    "coca_ViT-B-32",
    "EVA01-g-14",
    "PE-Core-T-16-384",
    "PE-Core-bigG-14-448",
    "MobileCLIP2-B",
    "MobileCLIP2-L-14",
    "MobileCLIP2-S2",
    "MobileCLIP2-S4",
]


@pytest.mark.parametrize("name", OPEN_CLIP)
def test_each_open_clip_config_gives_the_shapes_of_its_model(name):
    """At real size, on torch's meta device: nothing is computed, only shapes are compared."""
    import open_clip as reference

    file = resources.files(reference) / "model_configs" / f"{name}.json"
    config = json.loads(file.read_text())
    with torch.device("meta"):
        theirs = reference.create_model(name, pretrained=None, device="meta")
        blueprint = open_clip.read({"model_cfg": config})
        ours = DualEncoder(blueprint.model)
    renamed, problems = rename(theirs.state_dict(), blueprint.rules)
    assert not any(problems.values())
    expected = {name: tuple(value.squeeze().shape) for name, value in renamed.items()}
    actual = {name: tuple(value.squeeze().shape) for name, value in ours.state_dict().items()}
    assert actual == expected
    image = blueprint.model.image
    heads = [m.num_heads for m in theirs.visual.modules() if hasattr(m, "num_heads")]
    assert heads and set(heads) == _heads(image)
    assert blueprint.transform.size == config["vision_cfg"]["image_size"]


def _heads(image) -> set[int]:
    """The numbers of heads in a tower."""
    if isinstance(image, FastVitConfig):
        return {dim // HEAD_DIM for dim in image.dims[-image.attention_stages :]}
    queries = {"queries": getattr(image, "query_heads", 0)}
    pool = {"attention": getattr(image, "pool_heads", 0) or image.heads} | queries
    return {image.heads, pool.get(getattr(image, "pool", ""), image.heads)}


def test_openai_and_laion_differ_in_their_activation():
    openai = clip.read({}, {}).model
    laion = clip.read({"vision_config": {"hidden_act": "gelu"}}, {}).model
    assert isinstance(openai.image, VitConfig) and isinstance(laion.image, VitConfig)
    assert (openai.image.activation, laion.image.activation) == ("quick_gelu", "gelu")


def test_laion_l14_brings_its_own_mean_and_std():
    """LAION's L/14 was trained with mean and std 0.5; it says so in its preprocessing alone."""
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    assert clip.read({}, half).transform.mean == (0.5, 0.5, 0.5)
    assert clip.read({}, {}).transform.mean == (0.48145466, 0.4578275, 0.40821073)


def test_siglip_1_and_2_prepare_texts_differently():
    first = siglip.read({}, {}).tokenizer
    second = siglip.read({"text_config": {"vocab_size": 256000}}, {}).tokenizer
    assert (first.context, first.clean, first.pad_id) == (64, "siglip", 1)
    assert (second.context, second.clean, second.pad_id) == (64, "lower", 0)


@pytest.mark.parametrize(
    ("published", "size", "resize", "crop"),
    [
        ({}, 224, "shortest", True),
        ({"size": 224, "crop_size": 224, "do_center_crop": True}, 224, "shortest", True),
        (
            {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}},
            336,
            "shortest",
            True,
        ),
        ({"size": {"height": 384, "width": 384}}, 384, "squash", False),
    ],
)
def test_every_published_way_to_name_a_size_is_read(published, size, resize, crop):
    transform = clip.read({}, published).transform
    assert (transform.size, transform.resize, transform.crop) == (size, resize, crop)


def test_a_siglip_without_a_word_on_pictures_presses_them_into_a_square():
    transform = siglip.read({}, {}).transform
    assert (transform.size, transform.resize, transform.crop) == (224, "squash", False)

"""Every setting of a published config is read, known to change nothing, or refused by its name."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from open_clip_references import OPEN_CLIP_TEXT, VIT, open_clip_vit
from seesay.data.transform import ImageTransform
from seesay.errors import WeightsError
from seesay.models.dual_encoder import DualEncoder
from seesay.weights import chinese_clip, clip, dual_encoder, open_clip, siglip
from seesay.weights.preprocessing import transform_from_hf
from seesay.weights.settings import every_setting
from seesay.weights.tensors import blank_model, load_weights

CLIPA = dict(pool_type="avg", no_ln_pre=True, final_ln_after_pool=True)
VARIANTS = {
    "mean of the patches": dict(vision=dict(pool_type="avg")),
    "mean before the last norm": dict(vision=CLIPA),
    "no first norm": dict(vision=dict(no_ln_pre=True)),
    "another epsilon": dict(
        vision=dict(norm_kwargs=dict(eps=0.1)), text=dict(norm_kwargs=dict(eps=0.2))
    ),
    "tanh": dict(
        vision=dict(act_kwargs=dict(approximate="tanh")),
        text=dict(act_kwargs=dict(approximate="tanh")),
    ),
    "quick gelu": dict(quick_gelu=True),
    "first token": dict(text=dict(pool_type="first", no_causal_mask=True)),
    "last token": dict(text=dict(pool_type="last")),
    "own end mark": dict(text=dict(pool_type="eos", eos_id=7, hf_tokenizer_name="org/name")),
    "no map": dict(text=dict(proj_type="none", width=16, heads=2)),
    "clipa's text": dict(
        text=dict(
            pool_type="last",
            no_causal_mask=True,
            hf_tokenizer_name="bert-base-uncased",
            tokenizer_kwargs=dict(strip_sep_token=True),
        )
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_settings_of_open_clip_have_the_effect_that_they_have_there(name, tmp_path):
    torch.manual_seed(0)
    variant = {"quick_gelu": False} | VARIANTS[name]
    reference = open_clip_vit(tmp_path / "model", **variant)
    published = dual_encoder.read(reference.folder, None)
    blueprint, tensors = published.blueprint, published.tensors
    model = blank_model(DualEncoder, blueprint.model).eval()
    load_weights(model, tensors, blueprint.rules)
    images, ids = torch.randn(3, 3, 32, 32), reference.ids.clone()
    if name == "own end mark":
        ids[:, 2], ids[1, 1] = 7, 7
    theirs = reference.embed_images(images), reference.embed_texts(ids)
    ours = model.embed_images(images), model.embed_texts(model.text.trim(ids))
    for mine, other in zip(ours, theirs, strict=True):
        expected = torch.nn.functional.normalize(other, dim=-1)
        torch.testing.assert_close(mine, expected, rtol=0, atol=2e-6)


REFUSED = {
    "vision_cfg.pool_type": "none",
    "vision_cfg.ls_init_value": 0.1,
    "vision_cfg.qk_norm": True,
    "vision_cfg.act_kwargs.inplace": True,
    "vision_cfg.norm_kwargs.elementwise_affine": False,
    "vision_cfg.something_new": 1,
    "text_cfg.pool_type": "none",
    "text_cfg.tokenizer_kwargs.clean": "upper",
    "text_cfg.tokenizer_kwargs.reduction_mask": "syntax",
    "text_cfg.hf_tokenizer_name": "org/name",  # with the largest id as end mark
    "something_new": None,
}


@pytest.mark.parametrize(
    ("setting", "value"), [("timm_pool", "avg"), ("timm_pool", None), ("timm_proj", "linear")]
)
def test_another_end_of_a_timm_tower_is_refused_by_name(setting, value):
    vision = dict(timm_model_name="vit_base_patch16_siglip_224", timm_pool="map", timm_proj="none")
    text = dict(pool_type="last", hf_tokenizer_name="timm/ViT-B-16-SigLIP")
    config = {"embed_dim": 768, "vision_cfg": vision, "text_cfg": text}
    open_clip.read({"model_cfg": config})
    vision[setting] = value
    with pytest.raises(WeightsError, match=rf"vision_cfg\.{setting} to"):
        open_clip.read({"model_cfg": config})
    del vision[setting]  # then open_clip's own default holds
    with pytest.raises(WeightsError, match=rf"vision_cfg\.{setting} to"):
        open_clip.read({"model_cfg": config})


@pytest.mark.parametrize("path", REFUSED)
def test_a_setting_that_open_clip_has_and_seesay_has_not_is_refused_by_name(path):
    config = {"embed_dim": 16, "vision_cfg": dict(VIT), "text_cfg": dict(OPEN_CLIP_TEXT)}
    open_clip.read({"model_cfg": config})
    *parents, name = path.split(".")
    part = config
    for parent in parents:
        part = part.setdefault(parent, {})
    part[name] = REFUSED[path]
    # The last but one is refused for the pooling that it would need.
    named = "text_cfg.pool_type" if name == "hf_tokenizer_name" else path
    with pytest.raises(WeightsError, match=rf"open_clip_config.json sets model_cfg\.{named} to"):
        open_clip.read({"model_cfg": config})


HF_FAMILIES = {
    "CLIPConfig": (clip, {"text_config.position_embedding_type": "relative_key"}),
    "SiglipConfig": (siglip, {"vision_config.vision_use_head": False}),
    "ChineseCLIPConfig": (chinese_clip, {"text_config.is_decoder": True}),
}


@pytest.mark.parametrize("name", HF_FAMILIES)
def test_all_that_transformers_writes_into_a_config_is_understood_and_nothing_else(name):
    import transformers

    family, refused = HF_FAMILIES[name]
    written = json.loads(getattr(transformers, name)().to_json_string(use_diff=False))
    family.read(written, {})
    for path, value in {**refused, "vision_config.num_channels": 4, "auto_map": {}}.items():
        section, _, setting = path.rpartition(".")
        changed = json.loads(json.dumps(written))
        (changed[section] if section else changed)[setting] = value
        with pytest.raises(WeightsError, match=rf"config\.json sets {path} to"):
            family.read(changed, {})


def test_a_config_of_an_old_transformers_is_understood():
    """OpenAI's configs were written by version 4.16, with all settings of generation in them."""
    half = {
        "add_cross_attention": False,
        "bad_words_ids": None,
        "cross_attention_hidden_size": None,
        "diversity_penalty": 0.0,
        "do_sample": False,
        "early_stopping": False,
        "finetuning_task": None,
        "is_decoder": False,
        "length_penalty": 1.0,
        "num_beams": 1,
        "pruned_heads": {},
        "temperature": 1.0,
        "tie_encoder_decoder": False,
        "top_k": 50,
        "torch_dtype": None,
        "use_bfloat16": False,
    }
    config = {"_name_or_path": "x", "text_config": half, "vision_config_dict": half}
    assert clip.read(config, {}) == clip.read({}, {})


def test_a_setting_that_the_old_half_sets_is_not_overlooked():
    with pytest.raises(WeightsError, match=r"text_config\.something_new to 3"):
        clip.read({"text_config_dict": {"something_new": 3}}, {})


def test_reading_stops_at_the_first_error_and_hides_it_not():
    with pytest.raises(KeyError, match="absent"), every_setting({"a": 1}, "x.json", {}) as config:
        config["absent"]


PREPROCESSING = {
    "published": {},
    "no normalising": {"do_normalize": False},
    "no normalising, null": {"do_normalize": False, "image_mean": None, "image_std": None},
    "no rescaling": {"do_rescale": False},
    "another factor": {"rescale_factor": 1 / 127.5},
    "squashed, then cropped": {"size": {"height": 32, "width": 32}},
    "bilinear": {"resample": 2},
    "hamming": {"resample": 5},
    "box": {"resample": 4},
}


@pytest.mark.parametrize("name", PREPROCESSING)
def test_settings_of_preprocessing_have_the_effect_that_they_have_in_transformers(name):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    settings = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    settings |= PREPROCESSING[name]
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    used = {name: value for name, value in settings.items() if value is not None}
    theirs = CLIPImageProcessorPil(**used)(picture, return_tensors="pt")["pixel_values"][0]
    transform = transform_from_hf(
        settings,
        size=32,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    )
    ours = ImageTransform(transform)(picture)
    scale = max(1.0, float(theirs.abs().max()))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6 * scale)


@pytest.mark.parametrize("family", [clip, siglip, chinese_clip])
def test_a_null_in_preprocessing_is_the_default(family):
    names = "crop_size do_center_crop do_convert_rgb do_pad do_rescale image_mean resample size"
    assert family.read({}, dict.fromkeys(names.split())) == family.read({}, {})


def test_a_null_in_the_preprocessing_of_open_clip_is_the_default():
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": OPEN_CLIP_TEXT}}
    nulls = dict.fromkeys(("mean", "std", "interpolation", "resize_mode", "size"))
    assert open_clip.read({**config, "preprocess_cfg": nulls}) == open_clip.read(config)


@pytest.mark.parametrize(
    ("published", "named"),
    [
        ({"do_resize": False}, "do_resize to False"),
        ({"do_pad": True}, "do_pad to True"),
        ({"size": {"shortest_edge": 224, "longest_edge": 300}}, r"size\.longest_edge to 300"),
        ({"size": {"shortest_edge": 224}, "do_center_crop": False}, "do_center_crop to False"),
        ({"patch_limit": 3}, "patch_limit to 3"),
    ],
)
def test_preprocessing_that_seesay_does_not_have_is_refused_by_name(published, named):
    with pytest.raises(WeightsError, match=rf"preprocessor_config\.json sets {named}"):
        clip.read({}, published)

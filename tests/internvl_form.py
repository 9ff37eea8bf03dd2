"""A tiny InternVL of transformers in OpenGVLab's form."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from decoder_references import internlm2_names
from tower_references import intern_vit_names

SAME = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def as_opengvlab_publishes(source: Path, folder: Path, **settings: object) -> Path:
    """The model of a folder in OpenGVLab's form, a Llama as an InternLM2."""
    tensors = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    for part, number in {"layer_norm": 0, "linear_1": 1, "linear_2": 3}.items():
        theirs = f"multi_modal_projector.{part}"
        tensors = {n.replace(theirs, f"mlp1.{number}"): t for n, t in tensors.items()}
    language = {n: tensors.pop(n) for n in list(tensors) if n.startswith("language_model.")}
    rope = text.pop("rope_parameters")
    text |= dict(rope_theta=rope["rope_theta"], rope_scaling=dict(type="dynamic", factor=2.0))
    if text["model_type"] == "llama":
        language = internlm2_names(language, "language_model.")
        text |= dict(model_type="internlm2", bias=False, attn_implementation="eager")
        del text["attention_bias"], text["mlp_bias"]
    tower = {name: vision[name] for name in SAME} | dict(
        image_size=vision["image_size"][0],
        patch_size=vision["patch_size"][0],
        architectures=["InternVisionModel"],
        model_type="intern_vit_6b",
        norm_type=vision["norm_type"],
        qkv_bias=vision["attention_bias"],
        qk_normalization=vision["use_qk_norm"],
        drop_path_rate=0.1,
        use_flash_attn=True,
    )
    published = dict(
        architectures=["InternVLChatModel"],
        auto_map={"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        model_type="internvl_chat",
        downsample_ratio=0.5,
        dynamic_image_size=True,
        force_image_size=tower["image_size"],
        llm_config=text,
        max_dynamic_patch=12,
        min_dynamic_patch=1,
        pad2square=False,
        ps_version="v2",
        select_layer=-1,
        template="internvl2_5",
        use_backbone_lora=0,
        use_llm_lora=0,
        use_thumbnail=True,
        vision_config=tower,
    )
    (folder / "config.json").write_text(json.dumps(published | settings))
    save_file(intern_vit_names(tensors) | language, folder / "model.safetensors")
    return folder

"""Tiny vision-language models of transformers in folders, with a tokenizer and image settings: what
an assistant needs to answer, if only nonsense."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn

from reference_parts import randomise

MARKS = (
    *("<s>", "</s>", "<image>", "<video>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
CONTEXT = 1024
SIDE, PATCH = 32, 8  # of LLaVA's squares
QWEN_PATCH = 4


def write_byte_tokenizer(folder: Path, marks: tuple[str, ...] = MARKS) -> Tokenizer:
    """Every byte is a token, and is decoded as a letter of its own, since bytes that are no text
    would all look the same."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in marks])
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


@dataclass
class TinyAssistant:
    folder: Path
    model: nn.Module
    """transformers' own."""
    tokenizer: Tokenizer


def _text(tokenizer: Tokenizer, **more: object) -> dict:
    return dict(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.token_to_id("<s>"),
        eos_token_id=tokenizer.token_to_id("</s>"),
        pad_token_id=None,
    ) | dict(more)


def _saved(folder: Path, model: nn.Module, tokenizer: Tokenizer, settings: dict) -> TinyAssistant:
    randomise(model, norms=1.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            own = "visual" not in name and "vision_tower" not in name
            if own and parameter.ndim == 1 and name.endswith("norm.weight"):
                parameter.add_(1.0)
            elif parameter.ndim == 2:
                parameter.mul_(1.5)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return TinyAssistant(folder, model.eval(), tokenizer)


def tiny_llava(folder: Path) -> TinyAssistant:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    tokenizer = write_byte_tokenizer(folder)
    config = LlavaConfig(
        vision_config=_vision("clip_vision_model"),
        text_config=_text(tokenizer, model_type="llama"),
        image_token_index=tokenizer.token_to_id("<image>"),
    )
    settings = dict(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return _saved(folder, LlavaForConditionalGeneration(config), tokenizer, settings)


def _vision(model_type: str) -> dict:
    return dict(
        model_type=model_type,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )


def tiny_tiles(folder: Path, family: str = "LlavaNext") -> TinyAssistant:
    """LLaVA-NeXT or LLaVA-OneVision."""
    import transformers

    tokenizer = write_byte_tokenizer(folder, MARKS[:4] if family == "LlavaNext" else MARKS)
    pinpoints = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    clip = family == "LlavaNext"
    vision = _vision("clip_vision_model" if clip else "siglip_vision_model")
    more = {} if clip else dict(video_token_index=tokenizer.token_to_id("<video>"))
    config = getattr(transformers, f"{family}Config")(
        vision_config=vision | ({} if clip else dict(vision_use_head=False)),
        text_config=_text(tokenizer, model_type="llama" if clip else "qwen2"),
        image_token_index=tokenizer.token_to_id("<image>"),
        image_grid_pinpoints=pinpoints,
        **more,
    )
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config)
    settings: dict = dict(image_grid_pinpoints=pinpoints)
    if not clip:
        settings |= dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return _saved(folder, model, tokenizer, settings)


def tiny_qwen(folder: Path, name: str = "Qwen2VL") -> TinyAssistant:
    """Qwen2-VL, Qwen2.5-VL ("Qwen2_5_VL") or Qwen3-VL."""
    import transformers

    tokenizer = write_byte_tokenizer(folder)
    vision = {
        "Qwen2VL": dict(embed_dim=32, hidden_size=64, mlp_ratio=2),
        "Qwen2_5_VL": dict(
            hidden_size=32,
            intermediate_size=40,
            out_hidden_size=64,
            window_size=16,
            fullatt_block_indexes=[1],
            tokens_per_second=2,
        ),
        "Qwen3VL": dict(
            hidden_size=32,
            intermediate_size=40,
            out_hidden_size=64,
            num_position_embeddings=25,
            deepstack_visual_indexes=[0, 2],
        ),
    }[name]
    sections = [4, 2, 2] if name == "Qwen3VL" else [2, 3, 3]
    rope = dict(rope_type="default", rope_theta=1e4, mrope_section=sections)
    head = dict(head_dim=16) if name == "Qwen3VL" else {}
    ids = {
        f"{key}_token_id": tokenizer.token_to_id(mark)
        for key, mark in (
            ("image", "<|image_pad|>"),
            ("video", "<|video_pad|>"),
            ("vision_start", "<|vision_start|>"),
            ("vision_end", "<|vision_end|>"),
        )
    }
    config = getattr(transformers, f"{name}Config")(
        vision_config=dict(depth=3, num_heads=2, patch_size=QWEN_PATCH, hidden_act="gelu") | vision,
        text_config=_text(tokenizer, rope_parameters=rope, **head),
        **ids,
    )
    settings = dict(
        patch_size=QWEN_PATCH,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 4 * 64, "longest_edge": 36 * 64},
    )
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    return _saved(folder, model, tokenizer, settings)


INTERN_MARKS = (*MARKS, "<img>", "</img>", "<IMG_CONTEXT>")


def tiny_internvl(folder: Path) -> TinyAssistant:
    """InternVL in the form of transformers, on a Qwen2."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    tokenizer = write_byte_tokenizer(folder, INTERN_MARKS)
    config = InternVLConfig(
        vision_config=_vision("internvl_vision") | dict(attention_bias=True),
        text_config=_text(tokenizer, model_type="qwen2"),
        image_token_id=tokenizer.token_to_id("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    settings = dict(min_patches=1, max_patches=6)
    return _saved(folder, InternVLForConditionalGeneration(config), tokenizer, settings)


QUERIES = 4
OPT = dict(model_type="opt", word_embed_proj_dim=64, ffn_dim=48)
FLAN = dict(
    model_type="t5",
    d_model=64,
    d_kv=16,
    d_ff=48,
    num_layers=3,
    num_decoder_layers=3,
    num_heads=4,
    feed_forward_proj="gated-gelu",
    decoder_start_token_id=0,
    pad_token_id=0,
)
UNKNOWN = {
    "opt": ("intermediate_size", "num_key_value_heads"),
    "t5": (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "max_position_embeddings", "bos_token_id"),
    ),
}
"""Settings of a Llama that other language models do not have."""


def tiny_blip2(folder: Path, text: dict = OPT, name: str = "Blip2") -> TinyAssistant:
    """BLIP-2 on an OPT or a Flan-T5, or an InstructBLIP, whose Q-Former reads too."""
    import transformers

    tokenizer = write_byte_tokenizer(folder)
    written, kind = _text(tokenizer, **text), text["model_type"]
    vision = {key: value for key, value in _vision("").items() if key != "model_type"}
    qformer = dict(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=200,
    )
    config = getattr(transformers, f"{name}Config")(
        vision_config=vision,
        qformer_config=qformer,
        text_config={k: v for k, v in written.items() if k not in UNKNOWN.get(kind, ())},
        num_query_tokens=QUERIES,
        image_token_index=tokenizer.token_to_id("<image>"),
    )
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    if text is FLAN:  # whose head is its own
        model.language_model.lm_head.weight = nn.Parameter(
            torch.empty(len(tokenizer.get_vocab()), 64)
        )
        model.language_model.config.tie_word_embeddings = False
    if name == "InstructBlip":
        (folder / "qformer_tokenizer").mkdir()
        tokenizer.save(str(folder / "qformer_tokenizer" / "tokenizer.json"))
    return _lively(folder, model, tokenizer)


def _lively(folder: Path, model: nn.Module, tokenizer: Tokenizer) -> TinyAssistant:
    """Norms about 1, so that attention tells tokens apart."""
    randomise(model)
    with torch.no_grad():
        for module in model.modules():
            if "Norm" in type(module).__name__:
                module.weight.add_(1.0)
    model.save_pretrained(folder)
    size = dict(size={"height": SIDE, "width": SIDE})
    (folder / "preprocessor_config.json").write_text(json.dumps(size))
    return TinyAssistant(folder, model.eval(), tokenizer)


def tiny_blip(folder: Path, name: str = "ConditionalGeneration") -> TinyAssistant:
    """A BLIP that writes captions, or one that compares ("ImageTextRetrieval")."""
    import transformers

    tokenizer = write_byte_tokenizer(folder, ("[SEP]", "[DEC]", "[PAD]"))
    ids = {name: tokenizer.token_to_id(f"[{name}]") for name in ("SEP", "DEC", "PAD")}
    text = dict(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        encoder_hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=120,
        bos_token_id=ids["DEC"],
        sep_token_id=ids["SEP"],
        eos_token_id=ids["SEP"],
        pad_token_id=ids["PAD"],
    )
    vision = {key: value for key, value in _vision("").items() if key != "model_type"}
    config = transformers.BlipConfig(text_config=text, vision_config=vision)
    model = getattr(transformers, f"BlipFor{name}")(config)
    return _lively(folder, model, tokenizer)


def picture(seed: int = 0, size: tuple[int, int] = (50, 37)) -> Image.Image:
    """A picture of coloured noise, in large spots that resizing keeps apart."""
    spots = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)

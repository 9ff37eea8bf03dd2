"""A tiny ColQwen2 of transformers in a folder, with every parameter random."""

import json
from pathlib import Path

import torch

from reference_parts import randomise
from tiny_assistants import TinyAssistant, write_byte_tokenizer

MARKS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
SIZES = dict(patch=4, shortest=4 * 64, longest=40 * 64)
"""A token covers 8 x 8 pixels."""


def late_folder(folder: Path, seed: int = 0) -> TinyAssistant:
    """Writes the files that `vidore/colqwen2-v1.0-hf` consists of."""
    from transformers import ColQwen2Config, ColQwen2ForRetrieval, Qwen2VLConfig

    torch.manual_seed(seed)
    tokenizer = write_byte_tokenizer(folder, MARKS)
    marks = {name: tokenizer.token_to_id(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    text = dict(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[2, 3, 3]),
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    vision = dict(depth=2, num_heads=2, patch_size=SIZES["patch"], embed_dim=32, hidden_size=32)
    vlm = Qwen2VLConfig(
        vision_config=dict(vision, mlp_ratio=2),
        text_config=text,
        image_token_id=marks["image_pad"],
        video_token_id=marks["video_pad"],
    )
    model = randomise(ColQwen2ForRetrieval(ColQwen2Config(vlm_config=vlm, embedding_dim=128)), 1.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "visual" not in name and name.endswith("norm.weight"):
                parameter.add_(1.0)  # RMSNorms of transformers' own
    model.save_pretrained(folder)
    settings = dict(
        patch_size=SIZES["patch"],
        size=dict(shortest_edge=SIZES["shortest"], longest_edge=SIZES["longest"]),
    )
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return TinyAssistant(folder, model, tokenizer)

"""A real checkpoint of a few kilobytes in our own layout, with random weights."""

from pathlib import Path

import torch

from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights.bundle import Bundle
from seesay.weights.saving import save_bundle
from tiny_runs import write_tokenizer

CONTEXT = 12


def write_checkpoint(folder: Path, *, image: bool = True, dim: int = 8) -> Path:
    """Write it below `folder` and return where; without an image tower it is a text embedder."""
    write_tokenizer(folder)
    tokenizer = load_tokenizer(folder, TokenizerConfig(context=CONTEXT, pad_id=0))
    size = {"dim": 16, "depth": 1, "heads": 2, "hidden": 32}
    config = DualEncoderConfig(
        image=VitConfig(image_size=16, patch_size=8, **size) if image else None,
        text=TextConfig(vocab_size=tokenizer.vocab_size, context=CONTEXT, eos_id=2, **size),
        embed_dim=dim,
    )
    torch.manual_seed(0)
    model = DualEncoder(config).eval()
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.5)
    transform = ImageTransformConfig(size=16)
    bundle = Bundle(model=model, transform=transform, tokenizer=tokenizer, name="tiny")
    save_bundle(folder / "tiny", bundle)
    return folder / "tiny"

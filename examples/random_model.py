"""A tiny dual encoder that has learnt nothing, as a folder that `seesay.load` reads.

Nothing it says means anything. It shows in a second how a model is put together, and lets the
examples and the tests run where no published weights are at hand.

    python examples/random_model.py FOLDER
"""

import sys
import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights.bundle import Bundle
from seesay.weights.saving import save_bundle

PAD, BEGIN, END = 256, 257, 258


def byte_tokenizer() -> Tokenizer:
    """One token for each byte, so that any language can be written; nothing to learn."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = {"<pad>": PAD, "<begin>": BEGIN, "<end>": END}
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(letters)} | marks, merges=[]))
    tokenizer.add_special_tokens(list(marks))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<begin> $A <end>", special_tokens=[("<begin>", BEGIN), ("<end>", END)]
    )
    return tokenizer


def write_random_model(folder: Path, seed: int = 0) -> Path:
    """Write the model into `folder`, replacing what is there, and give `folder` back."""
    image = VitConfig(image_size=64, patch_size=8, dim=64, depth=2, heads=4, hidden=128)
    text = TextConfig(
        vocab_size=END + 1, context=64, dim=64, depth=2, heads=4, hidden=128, eos_id=END
    )
    torch.manual_seed(seed)
    model = DualEncoder(DualEncoderConfig(image=image, text=text, embed_dim=32))
    with tempfile.TemporaryDirectory() as vocabulary:
        byte_tokenizer().save(str(Path(vocabulary) / "tokenizer.json"))
        tokenizer = load_tokenizer(Path(vocabulary), TokenizerConfig(context=64, pad_id=PAD))
    bundle = Bundle(
        model=model,
        transform=ImageTransformConfig(size=image.image_size),
        tokenizer=tokenizer,
        name="random",
    )
    save_bundle(folder, bundle)
    return folder


if __name__ == "__main__":
    print(f"wrote a model that has learnt nothing to {write_random_model(Path(sys.argv[1]))}")

"""A CLIP checkpoint of real size with random weights, saved as transformers saves it, and JPEGs."""

import json
from pathlib import Path

from PIL import Image

# name -> (patch side, width, layers, heads, embed dim) of OpenAI's models
# (hf.co/openai/clip-vit-*/config.json)
SIZES = {
    "ViT-B/32": (32, 768, 12, 12, 512),
    "ViT-B/16": (16, 768, 12, 12, 512),
    "ViT-L/14": (14, 1024, 24, 16, 768),
}
SIDE = 224
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")


def save_model(name: str, folder: Path) -> Path:
    """Write `name` into a sub-folder of `folder`, where every contender loads it from."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    patch, width, layers, heads, embed = SIZES[name]
    inside = folder / name.replace("/", "-").lower()
    text = width * 2 // 3
    config = CLIPConfig(
        vision_config=dict(
            patch_size=patch,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            image_size=SIDE,
        ),
        text_config=dict(
            hidden_size=text if width == 768 else 768,
            intermediate_size=4 * (text if width == 768 else 768),
            num_attention_heads=8 if width == 768 else 12,
            eos_token_id=EOS,
            bos_token_id=EOS - 1,
            pad_token_id=EOS,
        ),
        projection_dim=embed,
    )
    torch.manual_seed(0)
    CLIPModel(config).eval().save_pretrained(inside)
    _save_processor(inside)
    return inside


BYTES = 256  # CLIP's vocabulary begins with 256 byte letters, and again with the end-of-word mark
EOS = 2 * BYTES + 1


def _save_processor(folder: Path) -> None:
    """OpenAI's preprocessing, and a tokenizer without merges: only pictures are measured here."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPImageProcessor, CLIPProcessor, CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def save_photographs(folder: Path, count: int, size: tuple[int, int]) -> list[str]:
    """Photographs that scikit-image ships, brought to one size and each turned a little
    differently, as JPEGs of usual quality."""
    from skimage import data

    folder.mkdir(parents=True)
    files = []
    for number in range(count):
        photograph = Image.fromarray(getattr(data, PHOTOGRAPHS[number % len(PHOTOGRAPHS)])())
        down, right = divmod(number // len(PHOTOGRAPHS), 60)  # which leaves more than half of each
        box = (right, down, photograph.width - right, photograph.height - down)
        path = folder / f"{number:04}.jpg"
        resized = photograph.convert("RGB").resize(size, Image.Resampling.BICUBIC, box=box)
        resized.save(path, quality=90)
        files.append(str(path))
    return files

"""What decoding large JPEGs at reduced scale does to their vectors."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from seesay.data.images import open_image
from seesay.data.squares import ImageTransformConfig
from seesay.data.transform import ImageTransform
from seesay.weights.bundle import load_bundle
from seesay.weights.mobilenet import MEAN, STD, load_mobilenet

# Trained weights, where the data folder lies beside the project: random ones tell less.
TRAINED = Path(__file__).parents[3] / "shared/data/mobilenet-v2/mobilenet_v2_1.0_224.safetensors"

Encode = Callable[[torch.Tensor], torch.Tensor]


def draft_effect(saved: Path, files: Sequence[str], device: str) -> dict[str, dict[str, float]]:
    """Per network the cosines between the vectors of the same file decoded both ways, and for
    comparison the mean cosine between different files."""
    checkpoint = load_bundle(saved)
    networks: dict[str, tuple[Encode, ImageTransformConfig]] = {
        "random CLIP": (checkpoint.model.to(device).embed_images, checkpoint.transform)
    }
    if TRAINED.is_file():
        transform = ImageTransformConfig(mean=MEAN, std=STD)
        networks["trained MobileNetV2"] = (load_mobilenet(TRAINED).eval().to(device), transform)
    return {
        name: _cosines(encode, ImageTransform(transform), files, device)
        for name, (encode, transform) in networks.items()
    }


@torch.inference_mode()
def _cosines(
    encode: Encode, transform: ImageTransform, files: Sequence[str], device: str
) -> dict[str, float]:
    side = transform.config.size
    full, reduced = (
        torch.nn.functional.normalize(
            torch.cat([encode(transform(open_image(f, target=t))[None].to(device)) for f in files])
        ).cpu()
        for t in (None, side)
    )
    same = (full * reduced).sum(dim=1).numpy()
    across = (full @ full.T).numpy()
    others = across[~np.eye(len(files), dtype=bool)]
    return {
        "mean": float(same.mean()),
        "lowest": float(same.min()),
        "others": float(others.mean()),
    }

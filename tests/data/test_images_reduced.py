"""What decoding at reduced scale does to vectors, on real photographs and a trained network."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as photographs

from seesay.data.images import open_image
from seesay.data.squares import ImageTransformConfig
from seesay.data.transform import ImageTransform
from seesay.weights.mobilenet import MEAN, STD, load_mobilenet

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")


@pytest.fixture(scope="module")
def large_jpegs() -> list[bytes]:
    """What a camera of 12 megapixels writes."""
    files = []
    for name in NAMES:
        image = Image.fromarray(getattr(photographs, name)()).convert("RGB")
        stream = io.BytesIO()
        image.resize((4000, 3000), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def test_pixels_differ_by_less_than_a_step_on_average(large_jpegs):
    transform = ImageTransform(ImageTransformConfig())
    for jpeg in large_jpegs:
        full = transform.pixels(open_image(jpeg)).float()
        reduced = transform.pixels(open_image(jpeg, target=224)).float()
        assert (full - reduced).abs().mean() < 1


@pytest.mark.shared
@torch.inference_mode()
def test_vectors_of_a_trained_network_stay_where_they_are(large_jpegs, shared):
    tower = load_mobilenet(shared / "mobilenet-v2" / "mobilenet_v2_1.0_224.safetensors").eval()
    transform = ImageTransform(ImageTransformConfig(mean=MEAN, std=STD))

    def vectors(target):
        images = [transform(open_image(jpeg, target=target)) for jpeg in large_jpegs]
        return torch.nn.functional.normalize(tower(torch.stack(images)), dim=-1).numpy()

    full, reduced = vectors(None), vectors(224)
    assert (full * reduced).sum(axis=1).min() > 0.999
    across = (full @ full.T)[~np.eye(len(full), dtype=bool)]
    assert across.max() < 0.9  # so the line above says something

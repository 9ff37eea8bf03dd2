"""Pictures of any shape as strips of patches, against SigLIP 2's own preparation."""

import numpy as np
import pytest
import torch
from PIL import Image

import torchvision_shim  # noqa: F401
from seesay.data.squares import ImageTransformConfig
from seesay.data.transform import ImageTransform

HALF = (0.5, 0.5, 0.5)
SIZES = ((640, 480), (31, 900), (900, 31), (5, 5), (256, 256), (1000, 999))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_patches_equal_those_of_siglip_2(size):
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    config = ImageTransformConfig(
        size=256, resize="patches", crop=False, interpolation="bilinear", mean=HALF, std=HALF
    )
    theirs = Siglip2ImageProcessorPil()(picture, return_tensors="pt")
    rows, columns = theirs["spatial_shapes"][0].tolist()

    ours = ImageTransform(config)(picture)

    assert ours.shape == (3, *config.shape)
    assert ours[:2, 0, :2].tolist() == [[0, 0], [rows, columns]]
    patches = ours[..., 16:].unflatten(2, (256, 16)).permute(2, 1, 3, 0).flatten(1)
    used = rows * columns
    torch.testing.assert_close(
        patches[:used], theirs["pixel_values"][0][:used].float(), rtol=0, atol=2e-7
    )
    assert (ours[..., 16 * (used + 1) :] == -1).all()  # black

from pathlib import Path

import numpy as np
from PIL import Image

import photographs
from seesay.data.images import open_image

HEIC = Path(__file__).with_name(
    "chelsea.heic"
)  # the photograph below at 90 x 60, by a real encoder


def test_a_photograph_from_a_telephone_opens():
    image = open_image(HEIC)
    original = Image.open(photographs.folder() / "chelsea.png").convert("RGB").resize((90, 60))
    assert (image.mode, image.size) == ("RGB", (90, 60))
    difference = np.abs(np.asarray(image).astype(float) - np.asarray(original).astype(float))
    assert difference.mean() < 8

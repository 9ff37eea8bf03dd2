"""A picture -> the tensor that an image tower reads, number for number as the published models do.

Sources: transformers 5 (image_processing_backends.py PilBackend, image_transforms.py) and
open_clip 3 (transform.py) on torchvision.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from seesay.data.squares import ImageTransformConfig, square


class ImageTransform:
    """Resize, crop and normalise. The first two run per picture, the last on whole batches."""

    def __init__(self, config: ImageTransformConfig) -> None:
        self.config = config
        self._mean = torch.tensor(config.mean).view(3, 1, 1)
        self._std = torch.tensor(config.std).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        """An RGB picture of any size, resized, cropped and normalised."""
        return self.normalise(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "height width 3"]:
        """The square, or strip of patches, that the image tower sees, before normalisation: a
        quarter of the bytes."""
        return torch.from_numpy(np.array(square(image, self.config)))

    def normalise(
        self, pixels: UInt8[Tensor, "batch height width 3"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Returns (pixels / 255 - mean) / std in float32, on the device of the pixels.

        The result is channels-last in memory, which is faster for convolutions.
        """
        values = pixels.permute(0, 3, 1, 2).float()
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        values.div_(255).sub_(mean).div_(std)
        if self.config.resize == "patches":  # the grid is no colour, see squares.py
            values[:, :, 0, :2] = pixels[:, 0, :2].transpose(1, 2).float()
        return values

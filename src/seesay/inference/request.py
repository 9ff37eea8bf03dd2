"""A prompt with its pictures and videos, as they are before a model reads them. Works without
torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from seesay.data.chat import Media, Span
from seesay.errors import DataError
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.data.native_resolution import PatchGrid
    from seesay.models.positions import VisionGrid
    from seesay.models.vlm import Tiling


@dataclass(frozen=True, eq=False)
class VisualInput:
    """A picture or video, prepared for the image tower."""

    media: Media
    """Its placeholders in the prompt."""
    pixels: UInt8[np.ndarray, "..."]
    """Squares [squares, side, side, 3], or patches [patches, dim]."""
    shape: "Tiling | PatchGrid | None"
    """How the squares or patches fit together; None: one square, or the frames of a video."""
    grids: "tuple[VisionGrid, ...]" = ()
    """One grid per span of its placeholders, for models with 2-D positions; the prompt sets their
    starts."""
    instruction: tuple[int, ...] = ()
    """The prompt, for models that read it while looking at the picture (InstructBLIP)."""
    noise_step: int = 0
    """Noise to add, in diffusion steps (ContrastConfig)."""

    @property
    def digest(self) -> bytes:
        """Hash of the pixels and of everything else that changes what the model sees: tiling, noise
        and prompt."""
        form = self.media, self.pixels.shape, self.shape, self.instruction, self.noise_step
        return blake2b(repr(form).encode() + self.pixels.tobytes(), digest_size=16).digest()

    def reading(self, instruction: tuple[int, ...]) -> "VisualInput":
        """Returns the same with this prompt."""
        return replace(self, instruction=instruction)


@runtime_checkable
class VisualInputs(Protocol):
    """How a family prepares and sees pictures and videos."""

    most_images: int | None
    """Most pictures the model was trained to take at once; None: as many as fit its context."""
    has_video: bool

    def picture(self, image: Image.Image, *, alone: bool) -> VisualInput:
        """Prepares an RGB picture; `alone` says whether it is the only one of its prompt."""
        ...

    def video(self, file: str | Path) -> VisualInput:
        """Prepares a video. Raises DataError if it is broken."""
        ...

    def about(self, one: VisualInput, text: str) -> VisualInput:
        """Returns the same picture for a prompt with this text."""
        ...

    def see(self, inputs: Sequence[VisualInput]) -> Any:
        """Returns the concatenated rows of all inputs, as the model reads them."""
        ...


@runtime_checkable
class RemembersPictures(Protocol):
    """Inputs that keep what the model saw of the latest pictures."""

    def means_of(self, digests: Sequence[bytes]) -> Float[np.ndarray, "pictures dim"]:
        """Returns the mean row of each of these pictures that is kept."""
        ...


@dataclass(frozen=True, eq=False)
class Request:
    """A prompt with its pictures and videos."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    inputs: tuple[VisualInput, ...]

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """Hashes of its pictures, in order."""
        return tuple(one.digest for one in self.inputs)

    @property
    def images_end(self) -> int:
        """Number of tokens up to the end of the last picture."""
        return max((span.stop for span in self.spans), default=0)

    def seen_by(self, length: int) -> int:
        """Returns how many of its pictures are within the first `length` tokens."""
        return len({span.media for span in self.spans if span.stop <= length})

    def noised(self, step: int) -> "Request":
        """Returns the same with noise in its pictures."""
        return replace(self, inputs=tuple(replace(one, noise_step=step) for one in self.inputs))

    def shortened(self, start: int, counts: Sequence[int]) -> tuple[int, ...]:
        """Returns the ids from `start` on, with only this many placeholders for each picture
        there."""
        left = dict(enumerate(counts, self.seen_by(start)))
        ids: list[int] = []
        at = start
        for span in self.spans:
            if span.media in left and span.stop <= len(self.ids):
                places = min(span.stop - span.start, left[span.media])
                left[span.media] -= places
                ids += self.ids[at : span.start + places]
                at = span.stop
        return (*ids, *self.ids[at:])


def no_video(model: str) -> DataError:
    """Returns the error for a video given to a model that reads none."""
    return DataError(
        Text(
            f"{model} reads no videos; expected pictures. Give some frames as pictures, or choose "
            "a model that reads videos, such as Qwen2-VL.",
            f"{model} 不支持视频；应为图片；请把若干帧作为图片给出，或换用支持视频的模型，如 "
            "Qwen2-VL",
        )
    )

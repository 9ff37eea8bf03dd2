"""Take out of vectors what all of a modality share, so that texts do not drown pictures.

The encoders of a model put pictures and texts into two separate cones, so that any two texts are
nearer to each other than a text is to its own picture. Subtracting from each vector the mean of its
modality and restoring its length removes most of that (GR-CLIP, arXiv 2507.19054, section 4). What
is stored stays raw: this is applied when an index is built, and to queries.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

NAME = "centring"  # under which a space keeps it


@dataclass(frozen=True, eq=False)
class Centring:
    """A mean for each modality; one without a mean is left as it is."""

    means: Mapping[str, Float32[np.ndarray, " embed"]] = field(default_factory=dict)

    def apply(
        self, vectors: Float[np.ndarray, "rows embed"], modality: str
    ) -> Float32[np.ndarray, "rows embed"]:
        """Vectors of length 1, centred. One that equals the mean has no direction left and stays
        as it was."""
        vectors = vectors.astype(np.float32)
        mean = self.means.get(modality)
        if mean is None:
            return vectors
        moved = vectors - mean
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.where(lengths > 1e-6, moved / np.maximum(lengths, 1e-6), vectors)

    def to_bytes(self) -> bytes:
        """For `store.spaces.set_data(space, NAME, ...)` and for files. The same means, the same
        bytes."""
        stream = io.BytesIO()
        for modality in sorted(self.means):
            np.save(stream, np.array(modality))
            np.save(stream, self.means[modality])
        return stream.getvalue()

    @staticmethod
    def from_bytes(data: bytes | None) -> "Centring":
        """None gives one that changes nothing."""
        stream, means = io.BytesIO(data or b""), {}
        while stream.tell() < len(data or b""):
            modality = str(np.load(stream, allow_pickle=False))
            means[modality] = np.load(stream, allow_pickle=False)
        return Centring(means)


def mean_of(pages: Iterable[Float[np.ndarray, "rows embed"]]) -> Float32[np.ndarray, " embed"]:
    """The mean of all rows of all pages, of which there is at least one."""
    total, rows = np.zeros(0), 0
    for page in pages:
        total = page.sum(axis=0, dtype=np.float64) + (total if rows else 0.0)
        rows += len(page)
    return (total / rows).astype(np.float32)

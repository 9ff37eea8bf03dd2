"""Load a model by its name or folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from seesay.inference.embedder import Embedder
from seesay.weights.catalog import BUILT_IN, find
from seesay.weights.hub import locate

if TYPE_CHECKING:
    import torch


def load(
    name: str | Path = BUILT_IN,
    *,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    revision: str | None = None,
) -> Embedder:
    """An Embedder for a catalogued model, a hub repository or a model folder.

    `device` is chosen when left out (CUDA, Apple's MPS, processor), and so is `dtype`: bfloat16
    where the hardware computes in it, float32 elsewhere and for built-in models. `revision` is a
    branch, tag or commit of the repository.

    Raises UnknownModelError, DownloadError, WeightsError or ConfigError.
    """
    from seesay.inference.devices import choose_device, choose_dtype
    from seesay.weights.bundle import load_bundle

    chosen = choose_device(device)  # a wrong setting fails before anything is downloaded
    # In bfloat16 the texts of seesay-mini move by a cosine of up to 0.005, and 6 % of captions get
    # another first hit; published models stay within 0.0001.
    entry = find(str(name))
    built_in = entry is not None and entry.built_in is not None
    number = choose_dtype(chosen, "float32" if dtype is None and built_in else dtype)
    found = locate(str(name), revision=revision)
    bundle = load_bundle(
        found.folder, image_folder=found.image_folder, name=str(name), revision=found.revision
    )
    return Embedder(bundle, device=chosen, dtype=number)

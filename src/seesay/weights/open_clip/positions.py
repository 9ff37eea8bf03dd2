"""Positions that were learnt on another grid, or for another length of text, than the config says:
open_clip interpolates them when it loads (model.py, resize_pos_embed and resize_text_pos_embed).

transformers, timm and cn_clip refuse such weights, so in their layouts seesay does too.
"""

import logging
from math import isqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig

_log = logging.getLogger("seesay.weights")


def fit_positions(tensors: dict[str, Tensor], model: DualEncoderConfig) -> dict[str, Tensor]:
    """The tensors with positions as many as the model has. What is no square grid, or has another
    width, stays, and loading then says that it is of another shape."""
    fitted = dict(tensors)
    image, text = model.image, model.text
    old = tensors.get("visual.positional_embedding")
    if isinstance(image, VitConfig) and old is not None:
        side = isqrt(max(len(old) - 1, 0)) if old.ndim == 2 else 0
        if side and len(old) == side**2 + 1 and side != image.grid:
            fitted["visual.positional_embedding"] = _grid(old, side, image.grid)
            _note("pictures", f"a grid of {side} x {side}", f"{image.grid} x {image.grid}")
    for name in ("positional_embedding", "text.positional_embedding"):
        old = tensors.get(name)
        if old is None or old.ndim != 2 or not isinstance(text, TextConfig) or text.pool == "cls":
            continue
        if len(old) not in (0, text.context):
            fitted[name] = F.interpolate(old.float().T[None], text.context, mode="linear")[0].T
            _note("texts", f"{len(old)} tokens", str(text.context))
    return fitted


def _grid(
    old: Float[Tensor, "old_positions dim"], side: int, wanted: int
) -> Float[Tensor, "positions dim"]:
    squares = old[1:].float().T.reshape(1, -1, side, side)
    fitted = F.interpolate(squares, (wanted, wanted), mode="bicubic", antialias=True)
    return torch.cat([old[:1].float(), fitted.flatten(2)[0].T])


def _note(what: str, old: str, new: str) -> None:
    _log.warning(
        "the positions of %s were learnt on %s and are interpolated to %s, as the config says",
        what,
        old,
        new,
    )

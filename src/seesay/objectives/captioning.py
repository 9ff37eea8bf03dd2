"""Learn to write captions: CoCa (Yu et al. 2022, arXiv 2205.01917), section 3.2."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.tiled import at_least_float32


def caption_loss(
    logits: Float[Tensor, "batch tokens vocab"],
    ids: Int[Tensor, "batch tokens"],
    pad_id: int,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """The mean over all real tokens of -log(probability), each given the image and those before.

    The logits at one position are about the token at the next. Nothing is asked about padding, so
    `pad_id` must not be the token that ends a caption, which has to be learned. The mean runs over
    the tokens of all processes, and the gradient averaged over processes is exact.
    """
    target = ids[:, 1:].flatten()
    total = F.cross_entropy(
        at_least_float32(logits[:, :-1].flatten(0, 1)),
        target,
        ignore_index=pad_id,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return mean_over_processes(total, (target != pad_id).sum())

"""Learn to write captions: CoCa (Yu et al. 2022, arXiv 2205.01917), section 3.2."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from seesay.objectives.exchange import mean_over_processes
from seesay.objectives.tiled import at_least_float32


def caption_losses(
    logits: Float[Tensor, "texts tokens vocab"], following: Int[Tensor, "texts tokens"], pad_id: int
) -> Float[Tensor, " texts"]:
    """For each text, the sum over its tokens of -log(probability), each given the image and those
    before: `logits` at one place are about the token that is `following` it.

    Nothing is asked about padding, so `pad_id` must not be the token that ends a caption, which has
    to be learned.
    """
    losses = F.cross_entropy(
        at_least_float32(logits.flatten(0, 1)),
        following.flatten(),
        ignore_index=pad_id,
        reduction="none",
    )
    return losses.view_as(following).sum(1)


def caption_loss(
    losses: Float[Tensor, " texts"], tokens: Int[Tensor, ""] | int
) -> Float[Tensor, ""]:
    """The mean over all tokens of all processes, of which this one's are `tokens`.

    A mean of each process's own mean would weigh a token more, the fewer its process has. The
    gradient averaged over processes is exact.
    """
    return mean_over_processes(losses.sum(), tokens)

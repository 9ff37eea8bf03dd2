"""SigLIP's loss in chunks of texts, written from its mathematics in plain operations.

softplus(-x) - softplus(x) = -x, so softplus of every logit minus the logits of the matching pairs
is the loss: no matrix of labels, and no product with one. Autograd still keeps every chunk's
logits, so memory stays quadratic in the batch, whatever the size of a chunk.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 512  # texts at a time


def chunked_sigmoid_loss(images: Tensor, texts: Tensor, log_scale: Tensor, bias: Tensor) -> Tensor:
    """The sum over all pairs, over the batch. Row i of both sides belongs together."""
    scaled = log_scale.exp() * images
    total = torch.zeros((), dtype=images.dtype, device=images.device)
    for part in texts.split(CHUNK):
        total = total + F.softplus(scaled @ part.T + bias).sum()
    return (total - ((scaled * texts).sum() + bias * len(images))) / len(images)

"""Look for the likeliest caption, token by token."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seesay.models.dual_encoder import DualEncoder


@torch.no_grad()
def search_captions(
    model: DualEncoder,
    seen: Float[Tensor, "images seen image_dim"],
    begin: Int[Tensor, " begun"],
    *,
    end_id: int,
    pad_id: int,
    beams: int = 1,
) -> Int[Tensor, "images tokens"]:
    """Ids of one caption per image, each beginning with `begin`, and padded after its end.

    `seen` is what `model.see` gives. `beams` beginnings are followed at once, and of those that
    have ended the one with the likeliest tokens on average is taken; 1 takes the likeliest token
    each time. Every step computes the whole text again: fine for captions, slow for long texts.
    """
    images, context = len(seen), model.config.text.context
    ids = begin.to(seen.device).repeat(images, beams, 1)
    scores = seen.new_zeros(images, beams, dtype=torch.float32)
    scores[:, 1:] = -torch.inf  # all begin alike, so one goes on
    ended = torch.zeros_like(scores, dtype=torch.bool)
    every = seen.repeat_interleave(beams, dim=0)
    while ids.shape[2] < context and not ended.all():
        logits = model.caption_logits(every, ids.flatten(0, 1))[:, -1].float()
        steps = _steps(logits.log_softmax(-1).unflatten(0, (images, beams)), ended, pad_id)
        vocab = steps.shape[2]
        scores, best = (scores[..., None] + steps).flatten(1).topk(beams)
        beam, token = best // vocab, best % vocab
        ids = torch.cat([ids.take_along_dim(beam[..., None], 1), token[..., None]], dim=2)
        ended = ended.take_along_dim(beam, 1) | (token == end_id)
    lengths = (ids[..., len(begin) :] != pad_id).sum(2).clamp(min=1)
    # What has not ended by the end of the context is cut off: any that has is better.
    chosen = (scores / lengths - 1e9 * ~ended).argmax(1)
    return ids[torch.arange(images, device=ids.device), chosen]


def _steps(
    log_probabilities: Float[Tensor, "images beams vocab"],
    ended: Bool[Tensor, "images beams"],
    pad_id: int,
) -> Float[Tensor, "images beams vocab"]:
    """What each next token adds to a score: padding, only and for nothing, after an end."""
    steps = log_probabilities.masked_fill(ended[..., None], -torch.inf)
    steps[..., pad_id] = torch.where(ended, 0.0, -torch.inf)
    return steps

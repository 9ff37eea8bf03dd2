"""The largest batch that a contrastive loss leaves room for beside a ViT-B/16 in training."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.objectives.contrastive import clamp_scale
from seesay.objectives.grad_cache import cached_backward

CHUNK = 256  # images per micro-batch: the towers' memory stays the same whatever the batch


def largest_batch(
    loss: Callable[..., Tensor], config: DualEncoderConfig, device: str, most: int
) -> list[tuple[int, float]]:
    """Batch size and seconds per training step, doubling until memory runs out or `most`."""
    model = DualEncoder(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    size, context = config.image.image_size, config.text.context
    chunk = (
        torch.randn(CHUNK, 3, size, size, device=device),
        torch.randint(1, 1000, (CHUNK, context), device=device),
    )

    def encode(chunk: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            return model.embed_images(chunk[0]).float(), model.embed_texts(chunk[1]).float()

    def step(batch: int) -> None:
        optimizer.zero_grad()
        cached_backward(model, encode, [chunk] * (batch // CHUNK), loss, (model.log_scale, None))
        optimizer.step()
        clamp_scale(model.log_scale)
        if device == "cuda":
            torch.cuda.synchronize()

    fitted, batch = [], 16 * CHUNK
    while batch <= most:
        try:
            step(batch)
            start = time.perf_counter()
            step(batch)
        except torch.OutOfMemoryError:
            break
        fitted.append((batch, time.perf_counter() - start))
        batch *= 2
    return fitted

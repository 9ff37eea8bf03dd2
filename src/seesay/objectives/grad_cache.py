"""Train on a large batch through small micro-batches, with the large batch's exact gradient.

Gao et al. 2021 (arXiv 2101.06983): embed every chunk without gradients, take the loss once over
all embeddings, then embed chunk by chunk again and push the loss's gradient through. Caching
features and taking the loss once per chunk instead would multiply the scale's gradient by the
number of chunks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import get_device_states, set_device_states

from seesay.errors import ConfigError
from seesay.text import Text

Chunk = TypeVar("Chunk")


def cached_backward(
    model: nn.Module,
    encode: Callable[[Chunk], tuple[Tensor, ...]],
    chunks: Sequence[Chunk],
    loss: Callable[..., Tensor],
    parameters: Sequence[Tensor | None] = (),
) -> Tensor:
    """Add the gradient of `loss(*embeddings of all chunks, *parameters)` to `.grad`.

    `encode` turns one chunk into one or more tensors with a row per sample, through `model`.
    `parameters` belong to the loss itself (the scale and the bias; None is passed on): the loss is
    evaluated once, so their gradient is right as it is. Under DDP or FSDP2 the processes
    synchronise in the last chunk only.

    Dropout draws the same masks in both passes, and the random stream continues as after one pass.
    BatchNorm normalises each chunk by itself, and its running statistics move once.

    Returns the loss, detached. Raises ConfigError if there are no chunks.
    """
    if not chunks:
        raise ConfigError(
            Text(
                "there are 0 chunks in the batch, and at least 1 is needed: skip the step, or drop "
                "the data's empty last batch",
                "这一批分成了 0 块；至少应有 1 块；请跳过这一步，或去掉数据末尾的空批次",
            )
        )
    states, pieces = _embed_without_gradients(model, encode, chunks)
    leaves = [torch.cat(parts).requires_grad_() for parts in zip(*pieces, strict=True)]
    learned = [parameter for parameter in parameters if parameter is not None]
    copies = [None if p is None else p.detach().requires_grad_() for p in parameters]
    value = loss(*leaves, *copies)
    wanted = [*leaves, *(copy for copy in copies if copy is not None)]
    found = torch.autograd.grad(value, wanted, materialize_grads=True)
    cached = _by_chunk(found[: len(leaves)], pieces)
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        with _synchronising(model, last):
            states[number].restore()
            pairs = list(zip(encode(chunk), cached[number], strict=True))
            if last:  # with the rest of the model, so that DDP meets every parameter exactly once
                pairs += zip(learned, found[len(leaves) :], strict=True)
            _push([(root, weight) for root, weight in pairs if root.requires_grad])
    return value.detach()


def _embed_without_gradients(
    model: nn.Module, encode: Callable[[Any], tuple[Tensor, ...]], chunks: Sequence[Any]
) -> tuple[list["_RandomState"], list[tuple[Tensor, ...]]]:
    states, pieces = [], []
    with torch.no_grad(), _statistics_held_still(model):
        for chunk in chunks:
            states.append(_RandomState(model))
            pieces.append(encode(chunk))
    return states, pieces


def _push(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Add to `.grad` what follows from the gradient of each root; a locked tower has none."""
    if pairs:
        torch.autograd.backward([root for root, _ in pairs], [weight for _, weight in pairs])


def _by_chunk(
    gradients: Sequence[Tensor], pieces: Sequence[tuple[Tensor, ...]]
) -> list[list[Tensor]]:
    """Splits the gradients of the joined embeddings into chunks."""
    cut = [
        gradient.split([len(piece[kind]) for piece in pieces])
        for kind, gradient in enumerate(gradients)
    ]
    return [list(parts) for parts in zip(*cut, strict=True)]


class _RandomState:
    """The state of the random generators of the CPU and the model's device, to be restored."""

    def __init__(self, model: nn.Module) -> None:
        parameter = next(model.parameters())
        self.device_type = parameter.device.type
        self.cpu = torch.get_rng_state()
        self.devices, self.on_devices = get_device_states(parameter)

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.devices:
            set_device_states(self.devices, self.on_devices, device_type=self.device_type)


@contextmanager
def _statistics_held_still(model: nn.Module) -> Iterator[None]:
    """Keeps BatchNorm's running statistics in the first pass; the second one updates them."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


@contextmanager
def _synchronising(model: Any, last: bool) -> Iterator[None]:
    """Keep DDP (`no_sync`) and FSDP2 (`set_requires_gradient_sync`) quiet before the last chunk."""
    if hasattr(model, "set_requires_gradient_sync"):
        model.set_requires_gradient_sync(last)
    quiet = model.no_sync() if not last and hasattr(model, "no_sync") else nullcontext()
    with quiet:
        yield

"""The exchange of texts between processes, and of their gradients.

Images stay in their process and texts travel, so a process compares its own images with every text.
Each process may hold a different number of rows. With one process nothing is sent.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Literal

import torch
import torch.distributed as dist
from jaxtyping import Float, Num, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

Route = Literal["ring", "gather"]
Visit = Callable[[slice, Tensor], Tensor]  # place among all texts, texts -> their gradient


def _rank_and_world() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def mean_over_processes(
    total: Float[Tensor, ""], count: Num[Tensor, ""] | int
) -> Float[Tensor, ""]:
    """The sum of all processes' totals over the sum of their counts, 0 if there is nothing.

    Its gradient, averaged over processes as DDP does, is that of this mean. A mean of the
    processes' means would give samples of a process with few samples more weight.
    """
    world = _rank_and_world()[1]
    counts = sum_over_processes(torch.as_tensor(count, device=total.device))
    everyones = sum_over_processes(total.detach())
    share = total * world / counts.clamp(min=1)
    return share + (everyones / counts.clamp(min=1) - share.detach())


def sum_over_processes(values: Num[Tensor, "*axes"]) -> Num[Tensor, "*axes"]:
    """The sum of what the processes have at each place."""
    values = values.clone()
    if _rank_and_world()[1] > 1:
        dist.all_reduce(values)
    return values


def gather_objects(value: Any) -> list[Any]:
    """Each process's value, in every process, by rank."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


class Exchange(ABC):
    """Facts that all processes know: their ranks and how many images and texts each one holds."""

    def __init__(self, images: int, texts: int, device: torch.device) -> None:
        self.rank, self.world = _rank_and_world()
        counts = torch.tensor([images, texts], device=device)
        everyone = [counts]
        if self.world > 1:
            everyone = [torch.empty_like(counts) for _ in range(self.world)]
            dist.all_gather(everyone, counts)
        self.image_counts, self.text_counts = zip(*torch.stack(everyone).tolist(), strict=True)

    def texts_of(self, rank: int) -> slice:
        """Where the texts of one process stand among all texts."""
        ends = list(accumulate(self.text_counts, initial=0))
        return slice(ends[rank], ends[rank + 1])

    def gather_images(self, rows: Shaped[Tensor, "images ..."]) -> Shaped[Tensor, "all_images ..."]:
        """What every process has of its images, in order; without gradients."""
        return torch.cat(self._gather(rows, self.image_counts))

    def gather_texts(self, rows: Shaped[Tensor, "texts ..."]) -> Shaped[Tensor, "all_texts ..."]:
        """What every process has of its texts, in order; without gradients."""
        return torch.cat(self._gather(rows, self.text_counts))

    def every_image(
        self, images: Float[Tensor, "images embed"]
    ) -> Float[Tensor, "all_images embed"]:
        """The images of every process in order; gradients return to the process they belong to."""
        return _Everyones.apply(images, self.image_counts, self)

    def every_text(self, texts: Float[Tensor, "texts embed"]) -> Float[Tensor, "all_texts embed"]:
        """The texts of every process in order; gradients return to the process they belong to."""
        return _Everyones.apply(texts, self.text_counts, self)

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def largest(self, value: Tensor) -> Tensor:
        """The largest over all processes, element by element."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return value

    @abstractmethod
    def blocks(self, texts: Float[Tensor, "texts embed"]) -> Iterator[tuple[slice, Tensor]]:
        """Every process's texts once, each with its place among all texts."""

    @abstractmethod
    def collect(
        self, texts: Float[Tensor, "texts embed"], visit: Visit
    ) -> Float[Tensor, "texts embed"]:
        """Visit every process's texts once; return the sum of all visits to this process's
        texts."""

    def _gather(self, rows: Tensor, counts: Sequence[int]) -> list[Tensor]:
        if self.world == 1:
            return [rows]
        padded = self._padded(rows, counts)
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return [block[:count] for block, count in zip(received, counts, strict=True)]

    def _add_up(self, parts: list[Tensor], counts: Sequence[int]) -> Tensor:
        """Send each process its part; return the sum of what all have sent to this one."""
        if self.world == 1:
            return parts[0]
        padded = [self._padded(part, counts) for part in parts]
        own = torch.empty_like(padded[0])
        dist.reduce_scatter(own, padded)
        return own[: counts[self.rank]]

    def _padded(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """Rows padded to the largest share, since collectives need equal shares."""
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        return padded


class _Everyones(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int], exchange: Exchange) -> Tensor:
        ctx.counts, ctx.exchange = counts, exchange
        return torch.cat(exchange._gather(rows, counts))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        parts = list(gradient.split(ctx.counts))
        return ctx.exchange._add_up(parts, ctx.counts), None, None


class Ring(Exchange):
    """Pass the texts from neighbour to neighbour: two blocks in memory, sent while computing."""

    def blocks(self, texts: Float[Tensor, "texts embed"]) -> Iterator[tuple[slice, Tensor]]:
        block = texts.contiguous()
        for step in range(self.world):
            source = (self.rank - step) % self.world
            last = step == self.world - 1
            coming, pending = (block, []) if last else self._pass_on(block, source - 1)
            yield self.texts_of(source), block
            _wait(pending)
            block = coming

    def collect(
        self, texts: Float[Tensor, "texts embed"], visit: Visit
    ) -> Float[Tensor, "texts embed"]:
        # A block's gradient follows one hop behind it: each process adds its part and passes it on,
        # and the last hop returns it to its owner.
        coming = texts
        pending: list[Any] = []
        for step, (place, block) in enumerate(self.blocks(texts)):
            part = visit(place, block)
            _wait(pending)
            gradient = part if step == 0 else part.add_(coming)
            source = self.rank - step
            coming, pending = self._pass_on(gradient, source - 1)
        _wait(pending)
        return coming

    def _pass_on(self, block: Tensor, coming_from: int) -> tuple[Tensor, list[Any]]:
        """Send a block to the next process; get the one of `coming_from` from the one before."""
        if self.world == 1:
            return block, []
        coming = block.new_empty(self.text_counts[coming_from % self.world], *block.shape[1:])
        following, before = (self.rank + 1) % self.world, (self.rank - 1) % self.world
        operations = [
            dist.P2POp(way, tensor, peer)
            for way, tensor, peer in (
                (dist.isend, block, following),
                (dist.irecv, coming, before),
            )
            if len(tensor)
        ]
        return coming, dist.batch_isend_irecv(operations) if operations else []


class Gather(Exchange):
    """Gather all texts at once: fewer messages, and memory for every process's texts."""

    def blocks(self, texts: Float[Tensor, "texts embed"]) -> Iterator[tuple[slice, Tensor]]:
        for source, block in enumerate(self._gather(texts, self.text_counts)):
            yield self.texts_of(source), block

    def collect(
        self, texts: Float[Tensor, "texts embed"], visit: Visit
    ) -> Float[Tensor, "texts embed"]:
        parts = [visit(place, block) for place, block in self.blocks(texts)]
        return self._add_up(parts, self.text_counts)


def _wait(pending: list[Any]) -> None:
    for work in pending:
        work.wait()


ROUTES: dict[Route, type[Exchange]] = {"ring": Ring, "gather": Gather}


def connect(route: Route, images: Tensor, texts: Tensor) -> Exchange:
    """The exchange of a batch whose share in this process is `images` and `texts`."""
    return ROUTES[route](len(images), len(texts), images.device)

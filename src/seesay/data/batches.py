"""Batches for training: the same ones whatever the number of processes and workers."""

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from seesay.data.batches_order import Order, Place, share
from seesay.data.batches_samples import Sample, Samples, stack
from seesay.errors import ConfigError, DataError

Batch = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LoadingConfig:
    """How samples are read beside the training itself."""

    workers: int = 2
    """Processes that decode images, per training process; 0: the training process does it."""
    prefetch: int = 2
    """Batches that each worker keeps ready."""

    def __post_init__(self) -> None:
        if self.workers < 0 or self.prefetch < 1:
            raise ConfigError(
                f"workers={self.workers} and prefetch={self.prefetch} cannot be used, expected at "
                "least 0 and at least 1: raise them"
            )


class Batches:
    """The batches of every source, step by step: {"step": n, "sources": {name: its batch}}."""

    def __init__(
        self,
        samples: Mapping[str, Samples],
        config: LoadingConfig,
        *,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.samples = samples
        self._config = config
        self._shares = {n: share(s.config.batch, rank, processes) for n, s in samples.items()}
        self._orders = {
            name: Order(name, len(of_source), blocks=of_source.blocks, seed=seed)
            for name, of_source in samples.items()
        }

    def places(self, step: int) -> list[Place]:
        """What this process draws in a step, counted from 0."""
        return [
            place
            for name, order in self._orders.items()
            for place in self._global(order, step)[self._shares[name]]
        ]

    def _global(self, order: Order, step: int) -> list[Place]:
        batch = self.samples[order.name].config.batch
        return order.places(step * batch, (step + 1) * batch)

    def beginning(self, most: int) -> Batch:
        """Up to `most` rows of this process's share of each source in the first step, read here,
        without the start of any worker. Raises DataError where nothing can be read."""
        rows = [
            self.samples[place.source][place]
            for name, order in self._orders.items()
            for place in self._global(order, 0)[self._shares[name]][:most]
        ]
        return {"step": 0, "sources": collate(rows)}

    def from_step(self, first: int, stop: int) -> Iterator[Batch]:
        """The batches of the steps `first` up to `stop`, counted from 0. Raises DataError where
        nothing can be read."""
        workers = self._config.workers
        loader = DataLoader(
            _Drawn(self.samples),
            batch_sampler=_Plan(self, first, stop),
            num_workers=workers,
            collate_fn=_collate_or_error,
            prefetch_factor=self._config.prefetch if workers else None,
            multiprocessing_context=_worker_context() if workers else None,
            worker_init_fn=_ignore_interrupt,
            pin_memory=torch.cuda.is_available(),
            # Without one of its own, the loader would draw its seed from the run's generator.
            generator=torch.Generator(),
        )
        for step, of_sources in enumerate(loader, first):
            if isinstance(of_sources, DataError):
                raise of_sources
            yield {"step": step, "sources": of_sources}


class _Plan:
    def __init__(self, batches: Batches, first: int, stop: int) -> None:
        self._batches, self._steps = batches, range(first, stop)

    def __iter__(self) -> Iterator[list[Place]]:
        return (self._batches.places(step) for step in self._steps)


class _Drawn(Dataset[Sample | DataError]):
    def __init__(self, samples: Mapping[str, Samples]) -> None:
        self._samples = samples

    def __getitem__(self, place: Place) -> Sample | DataError:
        """An error is handed on as a value: raised in a worker, it would arrive as a traceback."""
        try:
            return self._samples[place.source][place]
        except DataError as error:
            return error


def _collate_or_error(samples: Sequence[Sample | DataError]) -> Batch | DataError:
    read: list[Sample] = []
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        read.append(sample)
    return collate(read)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of several sources -> one batch for each."""
    by_source: dict[str, list[Sample]] = {}
    for sample in samples:
        by_source.setdefault(sample.place.source, []).append(sample)
    return {source: stack(of_source) for source, of_source in by_source.items()}


def _ignore_interrupt(_: int) -> None:
    """Ctrl-C reaches workers too, and the step at hand still needs them: the training ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _worker_context() -> Any:
    """A way to start workers that is safe beside threads, as a plain fork is not."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports torch once, not in each worker
    return context

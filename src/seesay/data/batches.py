"""Batches for training: records are drawn in order, read, augmented, tokenised and stacked.

All randomness is a pure function of the seed. No state is kept between batches, so a run can resume
in the middle of an epoch from its step number, and any number of processes and workers draw the
same global batches.
"""

import hashlib
import multiprocessing
import signal
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seesay.data.augmentation import augment
from seesay.data.formats.records import Damaged, Record
from seesay.data.images import open_image
from seesay.data.sources import SourceConfig, open_records, read_classes, used_records
from seesay.data.tokenizer import Tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, DataError, ImageError
from seesay.text import Text

MIXED = 8  # blocks whose records are shuffled together; a source keeps about as many in memory
SUBSTITUTES = 20  # records tried to replace a damaged one


class Place(NamedTuple):
    """One draw of one record; it determines all of the record's randomness."""

    source: str
    epoch: int
    record: int


class Order:
    """The endless order of a source's records, shuffled anew for every epoch.

    A batch may hold the end of one epoch and the beginning of the next, so no batch is ever short
    and every record is drawn exactly once per epoch.
    """

    def __init__(self, name: str, length: int, *, blocks: Sequence[int] = (), seed: int = 0):
        if length < 1:
            raise DataError(
                Text(
                    f"the source {name!r} holds 0 records, at least 1 was expected: correct its "
                    "path, start and stop",
                    f"数据来源 {name!r} 里有 0 条记录；至少应有 1 条；请改正它的 path、start 和 "
                    "stop",
                )
            )
        self.name = name
        self.length = length
        self._blocks = tuple(blocks)
        self._seed = seed
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def places(self, start: int, stop: int) -> list[Place]:
        """Returns draws number `start` up to `stop` of the training."""
        places = []
        for position in range(start, stop):
            epoch, at = divmod(position, self.length)
            places.append(Place(self.name, epoch, int(self._epoch(epoch)[at])))
        return places

    def _shuffle(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, epoch])
        if not self._blocks:
            return rng.permutation(self.length)
        starts = np.concatenate([[0], np.cumsum(self._blocks)])
        order = rng.permutation(len(self._blocks))
        return np.concatenate(
            [
                rng.permutation(
                    np.concatenate([np.arange(starts[b], starts[b + 1]) for b in mixed])
                )
                for mixed in np.split(order, range(MIXED, len(order), MIXED))
            ]
        )


def share(batch: int, rank: int, processes: int) -> slice:
    """The rows of a global batch that a process takes. Raises ConfigError if they differ in
    number."""
    if batch % processes:
        nearest = max(batch - batch % processes, processes)
        larger = batch - batch % processes + processes
        raise ConfigError(
            Text(
                f"a batch of {batch} does not split evenly over {processes} processes, expected a "
                f"multiple of their number: use {nearest} or {larger}",
                f"{batch} 张一批不能平均分给 {processes} 个进程；应为进程数的倍数；请改用 "
                f"{nearest} 或 {larger}",
            )
        )
    each = batch // processes
    return slice(rank * each, (rank + 1) * each)


@dataclass(frozen=True)
class Sample:
    """One sample, ready to be put into a batch."""

    place: Place
    key: str
    image: Tensor
    ids: Tensor
    texts: tuple[str, ...]
    requests: tuple[str, ...]
    rejected: tuple[str, ...]
    languages: tuple[str, ...]
    group: int
    label: int
    damaged: tuple[Damaged, ...] = ()


class Drawn(NamedTuple):
    """A text of a sample."""

    language: str
    text: str
    request: str
    """What it answers; "" for nothing."""
    rejected: str = ""
    """An answer that is worse; "" if there is none."""


class Samples:
    """The samples of a source. A sample depends only on its place and the seed, not on the process,
    the worker or earlier draws."""

    def __init__(
        self, config: SourceConfig, transform: ImageTransform, tokenizer: Tokenizer, seed: int = 0
    ) -> None:
        self.config = config
        self.source = open_records(config)
        self._used = used_records(config, self.source)
        size = transform.config.size if config.size is None else config.size
        self._transform = ImageTransform(replace(transform.config, size=size))
        self._tokenizer = tokenizer
        self._seed = seed
        self._names = read_classes(config.classes) if config.classes else []

    def __len__(self) -> int:
        return len(self._used)

    @property
    def blocks(self) -> Sequence[int]:
        """The sizes of the source's blocks, cut to the records in use."""
        ends = [bisect_left(self._used, end) for end in accumulate(self.source.blocks, initial=0)]
        return [end - begin for begin, end in pairwise(ends) if end > begin]

    def __getitem__(self, place: Place) -> Sample:
        """Returns the sample of a place. A damaged record is noted and replaced by another one, the
        same in every process. Raises DataError if nothing can be read."""
        name = int.from_bytes(place.source.encode()[:8], "little")
        rng = np.random.default_rng([self._seed, name, place.epoch, place.record])
        damaged: list[Damaged] = []
        index = place.record
        for _ in range(SUBSTITUTES):
            try:
                sample = self._sample(place, self._used[index], rng)
                return replace(sample, damaged=tuple(damaged)) if damaged else sample
            except (DataError, ImageError) as error:
                damaged.append(Damaged(f"{place.source}[{self._used[index]}]", str(error)))
                index = int(rng.integers(len(self._used)))
        raise DataError(
            Text(
                f"{SUBSTITUTES} records of {place.source!r} in a row cannot be read, the last one "
                f"because: {damaged[-1].reason}. Expected some that can; check the path and the "
                "format of this source, and where its pictures lie",
                f"数据来源 {place.source!r} 连续 {SUBSTITUTES} 条记录都无法读取，最后一条的原因："
                f"{damaged[-1].reason}。应有能读取的记录；请检查它的 path、format 和图片的位置",
            )
        )

    def _sample(self, place: Place, index: int, rng: np.random.Generator) -> Sample:
        record = self.source[index]
        texts = self._draw_texts(record, rng)
        size, augmentation = self._transform.config.size, self.config.augmentation
        # The smallest crop must still have the pixels that the tower sees.
        largest = ceil(size / sqrt(augmentation.crop_scale[0]))
        image = open_image(record.image, target=largest)
        image = augment(image, augmentation, size, self._rng_of_variant(place) or rng)
        tokens = self._tokenizer.encode([one.text for one in texts])
        # A text with several windows is represented by one of them, drawn anew each epoch.
        rows = [int(rng.choice(np.flatnonzero(tokens.owners == i))) for i in range(len(texts))]
        named = record.label is not None and self._names
        return Sample(
            place=place,
            key=record.key,
            image=self._transform.pixels(image),
            ids=torch.from_numpy(tokens.ids[rows]),
            texts=tuple(one.text for one in texts),
            requests=tuple(one.request for one in texts),
            rejected=tuple(one.rejected for one in texts),
            languages=tuple(one.language for one in texts),
            group=number_of(f"class {record.label}" if named else f"{place.source} {record.key}"),
            label=-1 if record.label is None else record.label,
        )

    def _rng_of_variant(self, place: Place) -> np.random.Generator | None:
        """The generator of an image's variant, where a config limits their number."""
        variants = self.config.augmentation.variants
        if variants is None:
            return None
        return np.random.default_rng([self._seed, place.epoch % variants, place.record])

    def _draw_texts(self, record: Record, rng: np.random.Generator) -> list["Drawn"]:
        drawn: list[Drawn] = []
        for language in self.config.languages:
            captions = self.config.captions_of(record, language)
            texts = [*captions, *self._class_texts(record, language)]
            requests = self.config.requests.get(language, ())
            for number in rng.permutation(len(texts))[: self.config.captions]:
                request = str(rng.choice(requests)) if requests else ""
                drawn.append(Drawn(language, texts[number], request))
            questions = record.questions.get(language, ()) if self.config.questions else ()
            for number in rng.permutation(len(questions))[: self.config.questions]:
                question, answer, rejected = questions[number]
                drawn.append(Drawn(language, answer, question, rejected))
        if not drawn:
            there, wanted = {**record.captions, **record.questions}, self.config.languages
            raise DataError(
                Text(
                    f"{record.key} has texts in {', '.join(there) or 'no language'}, expected one "
                    f"in {' or '.join(wanted)}: add it, or change languages",
                    f"{record.key} 有的文字语言：{'、'.join(there) or '无'}；应有 "
                    f"{' 或 '.join(wanted)} 的文字；请补上，或修改 languages",
                )
            )
        return drawn

    def _class_texts(self, record: Record, language: str) -> list[str]:
        if record.label is None or not self._names:
            return []
        if not 0 <= record.label < len(self._names):
            last, names = len(self._names) - 1, self.config.classes
            raise DataError(
                Text(
                    f"{record.key} is of class {record.label}, expected 0 to {last}, the names in "
                    f"{names}: correct the label or the list",
                    f"{record.key} 的类别号是 {record.label}；应在 0 到 {last} 之间，即 {names} 里"
                    "的类别；请改正标签或类别表",
                )
            )
        name = self._names[record.label][language]
        return [text.replace("{}", name) for text in self.config.templates.get(language, ())]


def number_of(name: str) -> int:
    """Returns a number for a name that, unlike `hash`, is the same in every process."""
    raw = name.encode(errors="surrogatepass")  # a name in a tar file need not be UTF-8
    return int.from_bytes(hashlib.blake2b(raw, digest_size=7).digest(), "little")


class SourceBatch(NamedTuple):
    """This process's samples of one source in one step."""

    images: Tensor
    """(batch height width 3), still in bytes."""
    ids: Tensor
    """(texts tokens), of all texts."""
    owners: Tensor
    """(texts): the row of each text's image."""
    groups: Tensor
    """(batch): equal where images share their texts."""
    labels: Tensor
    """(batch): the number of the class, -1 if there is none."""
    text_numbers: Tensor
    """(texts): equal for equal texts."""
    texts: list[str]
    """In words."""
    requests: list[str]
    """What each text answers; "" for nothing."""
    languages: list[str]
    """Of each text."""
    keys: list[str]
    """The names of the samples."""
    damaged: list[Damaged]
    rejected: list[str]
    """For each text, an answer that is worse; "" if there is none."""


class Batch(NamedTuple):
    """The samples that this process learns from in one step."""

    step: int
    """Counted from 0."""
    sources: dict[str, SourceBatch]

    @property
    def keys(self) -> list[str]:
        """The names of all samples."""
        return [key for source in self.sources.values() for key in source.keys]


def stack(samples: Sequence[Sample]) -> SourceBatch:
    """The batch of one source."""
    counts = torch.tensor([len(sample.ids) for sample in samples])
    texts = [text for sample in samples for text in sample.texts]
    return SourceBatch(
        images=torch.stack([sample.image for sample in samples]),
        ids=torch.cat([sample.ids for sample in samples]),
        owners=torch.arange(len(samples)).repeat_interleave(counts),
        groups=torch.tensor([sample.group for sample in samples]),
        labels=torch.tensor([sample.label for sample in samples]),
        text_numbers=torch.tensor([number_of(text) for text in texts]),
        texts=texts,
        requests=[request for sample in samples for request in sample.requests],
        languages=[language for sample in samples for language in sample.languages],
        keys=[sample.key for sample in samples],
        damaged=[damage for sample in samples for damage in sample.damaged],
        rejected=[rejected for sample in samples for rejected in sample.rejected],
    )


@dataclass(frozen=True, kw_only=True)
class LoadingConfig:
    """How samples are read in the background."""

    workers: int = 2
    """Processes that decode images, for each training process; 0: it decodes them itself."""
    prefetch: int = 2
    """Batches that each worker reads ahead."""

    def __post_init__(self) -> None:
        if self.workers < 0 or self.prefetch < 1:
            given = f"workers={self.workers}", f"prefetch={self.prefetch}"
            raise ConfigError(
                Text(
                    f"{' and '.join(given)} cannot be used, expected at least 0 and at least 1: "
                    "raise them",
                    f"{'、'.join(given)} 不能用；应分别至少为 0 和 1；请调大",
                )
            )


class Batches:
    """The batches of every source, step by step."""

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
        """The places that this process draws in a step, counted from 0."""
        return [
            place
            for name, order in self._orders.items()
            for place in self._global(order, step)[self._shares[name]]
        ]

    def _global(self, order: Order, step: int) -> list[Place]:
        batch = self.samples[order.name].config.batch
        return order.places(step * batch, (step + 1) * batch)

    def beginning(self, most: int) -> Batch:
        """Returns up to `most` rows of each source in this process's first step, read without
        workers. Raises DataError if nothing can be read."""
        rows = [
            self.samples[place.source][place]
            for name, order in self._orders.items()
            for place in self._global(order, 0)[self._shares[name]][:most]
        ]
        return Batch(0, collate(rows))

    def from_step(self, first: int, stop: int) -> Iterator[Batch]:
        """Yields the batches from step `first` up to `stop`, counted from 0. Raises DataError if
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
            # Otherwise the loader would draw its seed from the run's generator.
            generator=torch.Generator(),
        )
        for step, of_sources in enumerate(loader, first):
            if isinstance(of_sources, DataError):
                raise of_sources
            yield Batch(step, of_sources)


class _Plan:
    def __init__(self, batches: Batches, first: int, stop: int) -> None:
        self._batches, self._steps = batches, range(first, stop)

    def __iter__(self) -> Iterator[list[Place]]:
        return (self._batches.places(step) for step in self._steps)


class _Drawn(Dataset[Sample | DataError]):
    def __init__(self, samples: Mapping[str, Samples]) -> None:
        self._samples = samples

    def __getitem__(self, place: Place) -> Sample | DataError:
        """Returns errors as values: raised in a worker, they would arrive as tracebacks."""
        try:
            return self._samples[place.source][place]
        except DataError as error:
            return error


def _collate_or_error(
    samples: Sequence[Sample | DataError],
) -> dict[str, SourceBatch] | DataError:
    read: list[Sample] = []
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
        read.append(sample)
    return collate(read)


def collate(samples: Sequence[Sample]) -> dict[str, SourceBatch]:
    """Samples of several sources -> one batch for each."""
    by_source: dict[str, list[Sample]] = {}
    for sample in samples:
        by_source.setdefault(sample.place.source, []).append(sample)
    return {source: stack(of_source) for source, of_source in by_source.items()}


def _ignore_interrupt(_: int) -> None:
    """Ctrl-C reaches workers too, but the current step still needs them; the training process ends
    them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _worker_context() -> Any:
    """A way to start workers that is safe with threads, which a plain fork is not."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports torch once, not in each worker
    return context

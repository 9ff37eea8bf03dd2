"""One record -> one training sample: a picture as a tensor, and the texts drawn for it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from seesay.data.augmentation import AugmentationConfig, augment
from seesay.data.batches_order import Place
from seesay.data.formats import Damaged, Record, Source
from seesay.data.formats_chinese_clip import ChineseClipSource
from seesay.data.formats_parquet import ParquetSource
from seesay.data.formats_table import TableSource
from seesay.data.formats_webdataset import WebDatasetSource
from seesay.data.images import ImageTransform, open_image
from seesay.data.tokenizers import Tokenizer
from seesay.errors import ConfigError, DataError, ImageError

SUBSTITUTES = 20


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where one stream of training samples comes from, and what is drawn of it per step."""

    path: str
    """The files, as a path or a glob pattern such as "shards/train-*.tar"."""
    format: Literal["webdataset", "table", "parquet", "chinese-clip"] = "webdataset"
    """Layout of the files; `table` is a folder of images with a CSV, TSV or JSONL file."""
    batch: int = 256
    """Images per optimizer step, over all processes."""
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    """Languages whose texts are used; an image without any text in them counts as damaged."""
    captions: int = 1
    """Texts drawn per image and language, at most as many as there are."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our names for columns that a table or Parquet file calls otherwise: image = "filepath"."""
    classes: str | None = None
    """JSON list of {"en": name, "zh": name}: numbers of classes become texts."""
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per language, texts with {} for the name of a class; one is drawn each time."""
    start: int = 0
    """First record used, counted from 0 in the order of the files."""
    stop: int | None = None
    """First record no longer used; none: all that follow."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    """How the images are varied."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.captions < 1:
            raise ConfigError(f"batch={self.batch} and captions={self.captions} must be at least 1")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise ConfigError(
                f"start={self.start} and stop={self.stop} leave no record: start is at least 0, "
                "stop above it"
            )
        for language, texts in self.templates.items():
            if language not in self.languages or any("{}" not in text for text in texts):
                raise ConfigError(
                    f"templates.{language}={texts} cannot be filled: expected texts that hold "
                    f"{{}}, in one of the languages {', '.join(self.languages)}"
                )
        if self.classes is not None and not self.templates:
            raise ConfigError(f"classes={self.classes!r} needs templates: add e.g. en = ['{{}}']")


def open_source(config: SourceConfig) -> Source:
    """The records that a config names. Raises DataError where the files are not what it says."""
    if config.format == "webdataset":
        return WebDatasetSource(config.path)
    if config.format == "chinese-clip":
        return ChineseClipSource(config.path)
    if config.format == "table":
        return TableSource(config.path, config.columns)
    return ParquetSource(config.path, config.columns)


@dataclass(frozen=True)
class Sample:
    """One sample, ready to be put into a batch."""

    place: Place
    key: str
    image: Tensor
    ids: Tensor
    texts: tuple[str, ...]
    languages: tuple[str, ...]
    group: int
    label: int
    damaged: tuple[Damaged, ...] = ()


class Samples:
    """What a source's records become. The draw of a place depends on the place and seed alone, not
    on the process, the worker or what was drawn before."""

    def __init__(
        self, config: SourceConfig, transform: ImageTransform, tokenizer: Tokenizer, seed: int = 0
    ) -> None:
        self.config = config
        self.source = open_source(config)
        stop = len(self.source) if config.stop is None else min(config.stop, len(self.source))
        self._used = range(config.start, stop)
        self._transform = transform
        self._tokenizer = tokenizer
        self._seed = seed
        self._names = read_classes(config.classes) if config.classes else []

    def __len__(self) -> int:
        return len(self._used)

    @property
    def blocks(self) -> Sequence[int]:
        """As the source's, cut to the records used."""
        cut, begin = [], 0
        for size in self.source.blocks:
            used = min(begin + size, self._used.stop) - max(begin, self._used.start)
            begin += size
            if used > 0:
                cut.append(used)
        return cut

    def __getitem__(self, place: Place) -> Sample:
        """The sample of a place; where its record is damaged, another one, drawn the same way
        everywhere, and the damage noted. Raises DataError if nothing can be read."""
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
            f"{SUBSTITUTES} records of {place.source!r} in a row cannot be read, the last one "
            f"because: {damaged[-1].reason}. Check the path and the format of this source"
        )

    def _sample(self, place: Place, index: int, rng: np.random.Generator) -> Sample:
        record = self.source[index]
        texts = self._draw_texts(record, rng)
        size = self._transform.config.size
        image = open_image(record.image)
        image = augment(image, self.config.augmentation, size, rng)
        tokens = self._tokenizer.encode([text for _, text in texts])
        # A text that needs several windows is represented by one of them, another each epoch.
        rows = [int(rng.choice(np.flatnonzero(tokens.owners == i))) for i in range(len(texts))]
        named = record.label is not None and self._names
        return Sample(
            place=place,
            key=record.key,
            image=self._transform(image),
            ids=tokens.ids[rows],
            texts=tuple(text for _, text in texts),
            languages=tuple(language for language, _ in texts),
            group=number_of(f"class {record.label}" if named else f"{place.source} {record.key}"),
            label=-1 if record.label is None else record.label,
        )

    def _draw_texts(self, record: Record, rng: np.random.Generator) -> list[tuple[str, str]]:
        drawn: list[tuple[str, str]] = []
        for language in self.config.languages:
            texts = [*record.captions.get(language, ()), *self._class_texts(record, language)]
            for number in rng.permutation(len(texts))[: self.config.captions]:
                drawn.append((language, texts[number]))
        if not drawn:
            raise DataError(
                f"{record.key} has no text in {' or '.join(self.config.languages)}, only in "
                f"{', '.join(record.captions) or 'no language'}"
            )
        return drawn

    def _class_texts(self, record: Record, language: str) -> list[str]:
        if record.label is None or not self._names:
            return []
        if not 0 <= record.label < len(self._names):
            raise DataError(f"{record.key} is of class {record.label} of {len(self._names)}")
        name = self._names[record.label][language]
        return [text.replace("{}", name) for text in self.config.templates.get(language, ())]


def read_classes(file: str) -> list[Mapping[str, Any]]:
    """The names of classes by number. Raises DataError where the file holds no such list."""
    try:
        classes = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        return [{language: str(row[language]) for language in ("en", "zh")} for row in classes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} holds no class names ({error!r}), expected a JSON list of "
            '{"en": ..., "zh": ...}: correct the path or the file'
        ) from None


def number_of(name: str) -> int:
    """A number that stands for a name in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "little")


def stack(samples: Sequence[Sample]) -> dict[str, Any]:
    """The batch of one source.

    images (batch 3 height width); ids (texts tokens) of all texts; owners (texts): the row of each
    text's image; groups (batch): equal where images may share texts; texts, languages and keys.
    """
    counts = torch.tensor([len(sample.ids) for sample in samples])
    return {
        "images": torch.stack([sample.image for sample in samples]),
        "ids": torch.cat([sample.ids for sample in samples]),
        "owners": torch.arange(len(samples)).repeat_interleave(counts),
        "groups": torch.tensor([sample.group for sample in samples]),
        "labels": torch.tensor([sample.label for sample in samples]),
        "text_numbers": torch.tensor([number_of(t) for sample in samples for t in sample.texts]),
        "languages": [language for sample in samples for language in sample.languages],
        "keys": [sample.key for sample in samples],
        "damaged": [damage for sample in samples for damage in sample.damaged],
    }

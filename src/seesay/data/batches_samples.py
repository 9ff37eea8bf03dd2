"""One record -> one training sample: a picture as a tensor, and the texts drawn for it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seesay.data.augmentation import augment
from seesay.data.batches_config import SourceConfig, open_records, read_classes, used_records
from seesay.data.batches_order import Place
from seesay.data.formats.records import Damaged, Record
from seesay.data.images import open_image
from seesay.data.tokenizers import Tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import DataError, ImageError

SUBSTITUTES = 20


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
        self.source = open_records(config)
        self._used = used_records(config, len(self.source), self.source.damaged)
        size = transform.config.size if config.size is None else config.size
        self._transform = ImageTransform(replace(transform.config, size=size))
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
            f"because: {damaged[-1].reason}. Expected some that can; check the path and the format "
            "of this source, and where its pictures lie"
        )

    def _sample(self, place: Place, index: int, rng: np.random.Generator) -> Sample:
        record = self.source[index]
        texts = self._draw_texts(record, rng)
        size, augmentation = self._transform.config.size, self.config.augmentation
        # The smallest crop must still have the pixels that the tower sees.
        largest = ceil(size / sqrt(augmentation.crop_scale[0]))
        image = augment(open_image(record.image, target=largest), augmentation, size, rng)
        tokens = self._tokenizer.encode([text for _, text in texts])
        # A text that needs several windows is represented by one of them, another each epoch.
        rows = [int(rng.choice(np.flatnonzero(tokens.owners == i))) for i in range(len(texts))]
        named = record.label is not None and self._names
        return Sample(
            place=place,
            key=record.key,
            image=self._transform.pixels(image),
            ids=torch.from_numpy(tokens.ids[rows]),
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
                f"{record.key} has texts in {', '.join(record.captions) or 'no language'}, "
                f"expected one in {' or '.join(self.config.languages)}: add it, or change languages"
            )
        return drawn

    def _class_texts(self, record: Record, language: str) -> list[str]:
        if record.label is None or not self._names:
            return []
        if not 0 <= record.label < len(self._names):
            raise DataError(
                f"{record.key} is of class {record.label}, expected 0 to {len(self._names) - 1}, "
                f"the names in {self.config.classes}: correct the label or the list"
            )
        name = self._names[record.label][language]
        return [text.replace("{}", name) for text in self.config.templates.get(language, ())]


def number_of(name: str) -> int:
    """A number that stands for a name in every process, unlike `hash`."""
    raw = name.encode(errors="surrogatepass")  # a name in a tar file need not be UTF-8
    return int.from_bytes(hashlib.blake2b(raw, digest_size=7).digest(), "little")


def stack(samples: Sequence[Sample]) -> dict[str, Any]:
    """The batch of one source.

    images (batch height width 3), still in bytes; ids (texts tokens) of all texts; owners (texts):
    the row of each text's image; groups (batch): equal where images may share texts; text_numbers
    (texts): equal for equal texts; labels, languages and keys.
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

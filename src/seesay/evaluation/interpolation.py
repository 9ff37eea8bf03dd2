"""How good the models between two others are: the measures of a data set for several alphas."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seesay.data.batches_config import RecordsConfig
from seesay.data.formats.records import LANGUAGES, captions_from
from seesay.data.tables import Table
from seesay.errors import ConfigError, DataError
from seesay.evaluation.dev_sets import DevSet, check_retrieval, measure_retrieval, read_dev_set
from seesay.evaluation.labelled import TABLES, LabelledImages, read_labelled
from seesay.evaluation.probing import score, zero_shot_order
from seesay.inference.embedder import Embedder
from seesay.inference.labels import folder_labels
from seesay.weights.bundle import Bundle
from seesay.weights.interpolation import interpolate

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
Measure = Callable[[Embedder], Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model between the two."""

    alpha: float
    measures: Mapping[str, float]
    """By name, that of the data set first."""

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.measures.values())))


def measure_alphas(
    before: Bundle[Any],
    after: Bundle[Any],
    alphas: Iterable[float],
    data: Sequence[Path],
    **on: Any,
) -> list[Point]:
    """Measures each interpolated model on each data set: zero-shot accuracy
    where it is a folder with a sub-folder per class, or a table of images and labels; recall where
    it holds captions (a table, or tar shards). `on` says on which device and in which dtype, as
    Embedder takes them. Raises DataError where a set cannot be measured, before any model is."""
    named = [(name, measure_on(path)) for name, path in _names(data).items()]
    points = []
    for alpha in alphas:
        embedder = Embedder(interpolate(before, after, alpha), **on)
        measures = {
            f"{name} {measured}": value
            for name, measure in named
            for measured, value in measure(embedder).items()
        }
        points.append(Point(alpha=alpha, measures=measures))
    return points


def best_point(points: Sequence[Point]) -> Point:
    """The one with the highest mean of all measures; the first of equals."""
    if not points:
        raise ConfigError("there are 0 alphas to choose among; expected at least one; name some")
    return max(points, key=lambda point: point.mean)


def measure_on(path: Path) -> Measure:
    """What to measure on a data set, which is read now. Raises DataError where it is none."""
    table = path.suffix.lower() in TABLES and not path.is_dir()
    if path.is_dir() or (table and not _has_captions(path)):
        labelled = read_labelled(path)
        names = folder_labels(labelled.counts)
        return lambda embedder: _zero_shot(embedder, labelled, names)
    dev = _captions(path, "table" if table else "webdataset")
    return lambda embedder: {
        name: value for name, value in measure_retrieval(embedder, dev).items() if "_r10" in name
    }


def _zero_shot(
    embedder: Embedder, labelled: LabelledImages, names: Mapping[str, str]
) -> dict[str, float]:
    found = embedder.embed_images(labelled.images)
    if found.failures:
        first = found.failures[0]
        raise DataError(
            f"{len(found.failures)} of {len(labelled)} pictures cannot be read, the first because: "
            f"{first.error} Expected all, since figures on a part of a set mislead; repair or "
            "remove them"
        )
    numbers = {name: number for number, name in enumerate(names)}
    targets = np.array([numbers[label] for label in labelled.labels])
    scores = score(zero_shot_order(embedder, names, found.vectors), targets)
    return {"top1": scores.top1, "mean_per_class": scores.mean_per_class}


def _has_captions(file: Path) -> bool:
    try:
        return any(captions_from(row) for _, row in Table(file, file.name))
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}; expected a table; check the path"
        ) from None


def _captions(path: Path, form: Literal["table", "webdataset"]) -> DevSet:
    dev = read_dev_set(RecordsConfig(path=str(path), format=form))
    there = [one for one in LANGUAGES if any(r.captions.get(one) for r in dev.records)]
    if not there:
        check_retrieval(dev)  # which says what is missing
    languages: Any = tuple(there)
    return replace(dev, config=replace(dev.config, languages=languages))


def _names(data: Sequence[Path]) -> dict[str, Path]:
    """Short names where they tell the sets apart."""
    short = [path.stem if not path.is_dir() else path.name for path in data]
    unique = len(set(short)) == len(short)
    return {name if unique else str(path): path for name, path in zip(short, data, strict=True)}

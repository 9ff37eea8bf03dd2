"""Measures the models between two others, for several alphas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.formats.records import LANGUAGES, captions_from
from seesay.data.tables import Table
from seesay.errors import ConfigError, DataError
from seesay.evaluation.data_sets import TABLES, LabelledImages, read_labelled
from seesay.evaluation.measure import Measure
from seesay.evaluation.probing import ranking, score
from seesay.evaluation.retrieval import Retrieval
from seesay.inference.classifier import ZeroShotClassifier
from seesay.inference.embedder import Embedder
from seesay.inference.labels import folder_labels
from seesay.text import Text
from seesay.weights.bundle import Bundle
from seesay.weights.interpolation import interpolate

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHOWN = ("top1", "mean_per_class", "r10")  # suffixes of the values that tell models apart


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model between the two."""

    alpha: float
    measures: Mapping[str, float]
    """By name, prefixed with the data set's name."""

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
    """Measures each interpolated model on each data set: zero-shot accuracy for a folder with a
    sub-folder per class, or a table of images and labels; recall for captions (a table, or tar
    shards). `on` is the device and dtype, as in Embedder. Raises DataError if a set cannot be
    measured, before any model is."""
    named = [(name, measure_on(path)) for name, path in _names(data).items()]
    points = []
    for alpha in alphas:
        embedder = Embedder(interpolate(before, after, alpha), **on)
        measures = {
            f"{name} {measured}": value
            for name, measure in named
            for measured, value in measure.measure(embedder)
            if measured.endswith(SHOWN)
        }
        points.append(Point(alpha=alpha, measures=measures))
    return points


def best_point(points: Sequence[Point]) -> Point:
    """The point with the highest mean of all measures; the first in a tie."""
    if not points:
        raise ConfigError(
            Text(
                "there are 0 alphas to choose among; expected at least one; name some",
                "有 0 个 alpha 可选；至少应有一个；请写上",
            )
        )
    return max(points, key=lambda point: point.mean)


def measure_on(path: Path) -> Measure:
    """Returns the measure that fits a data set, which is read at once. Raises DataError if none
    does."""
    table = path.suffix.lower() in TABLES and not path.is_dir()
    if path.is_dir() or (table and not _has_captions(path)):
        labelled = LabelledAccuracy(path=path)
        labelled.check()
        return labelled
    measure = Retrieval(path=str(path), format="table" if table else "webdataset")
    there = [one for one in LANGUAGES if any(r.captions.get(one) for r in measure.records)]
    if not there:
        measure.check()  # raises an error that says what is missing
    languages: Any = tuple(there)
    return replace(measure, languages=languages)


@dataclass(frozen=True, kw_only=True)
class LabelledAccuracy:
    """Zero-shot accuracy on a folder with a sub-folder per class, or a table of images and
    labels."""

    path: Path

    @cached_property
    def pictures(self) -> LabelledImages:
        return read_labelled(self.path)

    def names(self) -> Sequence[str]:
        return "top1", "mean_per_class"

    def check(self) -> None:
        """Raises DataError if there is nothing to measure on."""
        _ = self.pictures

    def measure(self, embedder: Embedder) -> Iterator[tuple[str, float]]:
        names = folder_labels(self.pictures.counts)
        embeddings = embedder.embed_images(self.pictures.images)
        if embeddings.failures:
            count, reason = len(embeddings.failures), Text.of(embeddings.failures[0].error)
            raise DataError(
                Text(
                    f"{count} of {len(self.pictures)} pictures cannot be read, the first because: "
                    f"{reason.en} Expected all, since figures on a part of a set mislead; repair "
                    "or remove them",
                    f"{len(self.pictures)} 张图片中有 {count} 张无法读取，第一张的原因："
                    f"{reason.zh}应全部能读，只用一部分得出的数字会误导；请修复或删除它们",
                )
            )
        numbers = {name: number for number, name in enumerate(names)}
        targets = np.array([numbers[label] for label in self.pictures.labels])
        classifier = ZeroShotClassifier(embedder, names, none_above=None)
        scores = score(ranking(embeddings.vectors @ classifier.vectors.T), targets)
        yield "top1", scores.top1
        yield "mean_per_class", scores.mean_per_class


def _has_captions(file: Path) -> bool:
    try:
        return any(captions_from(row) for _, row in Table(file, file.name))
    except OSError as error:
        raise DataError(
            Text(
                f"{file} cannot be read: {error.strerror}; expected a table; check the path",
                f"无法读取 {file}：{error.strerror}；应为表格；请检查路径",
            )
        ) from None


def _names(data: Sequence[Path]) -> dict[str, Path]:
    """Short names of the data sets if they are unique, else their paths."""
    short = [path.stem if not path.is_dir() else path.name for path in data]
    unique = len(set(short)) == len(short)
    return {name if unique else str(path): path for name, path in zip(short, data, strict=True)}

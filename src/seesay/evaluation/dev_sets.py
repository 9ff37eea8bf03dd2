"""Measures on records that carry their own truth: captions for retrieval, classes for zero-shot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seesay.data.batches_config import RecordsConfig, open_records, read_classes, used_records
from seesay.data.formats.records import Record
from seesay.errors import DataError
from seesay.evaluation.retrieval import retrieval_scores
from seesay.inference.classifier import ensemble
from seesay.inference.embedder import Embedder


@dataclass(frozen=True)
class DevSet:
    """The records of a config, read once; images stay encoded."""

    config: RecordsConfig
    records: tuple[Record, ...]

    @property
    def images(self) -> Sequence[bytes | Path]:
        return [record.image for record in self.records]


def read_dev_set(config: RecordsConfig) -> DevSet:
    """Raises DataError where a record is damaged: a measure must not change with the damage."""
    source = open_records(config)
    if source.damaged:
        first = source.damaged[0]
        raise DataError(
            f"{config.path} has {len(source.damaged)} damaged records, the first {first.key}: "
            f"{first.reason}. Figures on a part of a set mislead; repair or remove them"
        )
    used = used_records(config, len(source), source.damaged)
    return DevSet(config, tuple(source[index] for index in used))


def check_retrieval(dev: DevSet) -> None:
    """Raises DataError where there are no captions in a language that is to be measured."""
    counts = {
        language: sum(bool(record.captions.get(language)) for record in dev.records)
        for language in dev.config.languages
    }
    missing = [language for language, count in counts.items() if not count]
    there = [language for language, count in counts.items() if count]
    if missing:
        remedy = f"set languages = {there}, or add captions" if there else "add captions"
        raise DataError(
            f"{dev.config.path} has no captions in {' or '.join(missing)} among its "
            f"{len(dev.records)} records, expected some in each of languages = "
            f"{list(dev.config.languages)}: {remedy}"
        )


def check_zero_shot(dev: DevSet) -> None:
    """Raises DataError where a record has no class, or one without a name."""
    if dev.config.classes is None:
        raise DataError(
            f"{dev.config.path} has no names for its classes, expected classes and templates: set "
            "both"
        )
    count = len(read_classes(dev.config.classes))
    labels = np.array([-1 if r.label is None else r.label for r in dev.records])
    if (labels < 0).any() or (labels >= count).any():
        raise DataError(
            f"{dev.config.path} has labels from {labels.min()} to {labels.max()} (-1: none), "
            f"expected 0 to {count - 1}, the classes in {dev.config.classes}: correct the labels, "
            "or name the list that belongs to them"
        )


def measure_retrieval(embedder: Embedder, dev: DevSet) -> dict[str, float]:
    """Recall in both directions, for each language that the captions are in:
    `zh_text_to_image_r10` and so on."""
    check_retrieval(dev)
    images = _embed_images(embedder, dev)
    measured: dict[str, float] = {}
    for language in dev.config.languages:
        texts = [
            (owner, text)
            for owner, record in enumerate(dev.records)
            for text in record.captions.get(language, ())
        ]
        owners = np.array([owner for owner, _ in texts])
        vectors = embedder.embed_texts([text for _, text in texts]).vectors
        scores = retrieval_scores(images, vectors, owners)
        measured |= {f"{language}_{name}": score for name, score in scores.items()}
    return measured


def measure_zero_shot(embedder: Embedder, dev: DevSet) -> dict[str, float]:
    """Accuracy among the names of all classes, for each language that has templates:
    `zh_zero_shot_top1`, `zh_zero_shot_top5`."""
    check_zero_shot(dev)
    names = read_classes(str(dev.config.classes))
    labels = np.array([r.label for r in dev.records])
    images = _embed_images(embedder, dev)
    measured: dict[str, float] = {}
    for language, templates in dev.config.templates.items():
        vectors = _class_vectors(embedder, names, language, templates)
        order = np.argsort(-(images @ vectors.T), axis=1, kind="stable")
        for k in (1, 5):
            hits = (order[:, :k] == labels[:, None]).any(axis=1)
            measured[f"{language}_zero_shot_top{k}"] = float(hits.mean())
    return measured


def _class_vectors(
    embedder: Embedder,
    names: Sequence[Mapping[str, str]],
    language: str,
    templates: Sequence[str],
) -> np.ndarray:
    return ensemble(
        embedder, [[t.replace("{}", name[language]) for t in templates] for name in names]
    )


def _embed_images(embedder: Embedder, dev: DevSet) -> np.ndarray:
    embeddings = embedder.embed_images(dev.images)
    if embeddings.failures:
        first = embeddings.failures[0]
        raise DataError(
            f"{len(embeddings.failures)} images of {dev.config.path} cannot be read, the first "
            f"{dev.records[first.index].key}: {first.error}. Repair or remove them"
        )
    return embeddings.vectors

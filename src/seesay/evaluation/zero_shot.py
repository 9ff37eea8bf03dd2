"""Accuracy of zero-shot classification: a measure of records with classes, and a report on a folder
whose sub-folders are the classes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from seesay.data.formats.records import Record
from seesay.data.sources import RecordsConfig, read_classes
from seesay.errors import ConfigError, DataError
from seesay.evaluation.data_sets import embed_records, find_classes, read_records
from seesay.inference.classifier import Prediction, ZeroShotClassifier, ensemble
from seesay.inference.embedder import Embedder, Progress
from seesay.text import Text

NONE = "none of these"  # the answer, and the truth for sub-folders that are not labels
TOP = 5


@dataclass(frozen=True, kw_only=True)
class ZeroShot(RecordsConfig):
    """Zero-shot accuracy on images with classes, for each language that has templates
    (`zh_zero_shot_top1`, `zh_zero_shot_top5`)."""

    @cached_property
    def records(self) -> tuple[Record, ...]:
        return read_records(self)

    def names(self) -> list[str]:
        return [f"{language}_zero_shot_top{k}" for language in self.templates for k in (1, TOP)]

    def check(self) -> None:
        """Raises DataError if a record has no class, or its class has no name."""
        if self.classes is None:
            raise DataError(
                Text(
                    f"{self.path} has no names for its classes, expected classes and templates: "
                    "set both",
                    f"{self.path} 的类别没有名称；应有 classes 和 templates；请都写上",
                )
            )
        last = len(read_classes(self.classes)) - 1
        labels = [-1 if r.label is None else r.label for r in self.records]
        if min(labels) < 0 or max(labels) > last:
            raise DataError(
                Text(
                    f"{self.path} has labels from {min(labels)} to {max(labels)} (-1: none), "
                    f"expected 0 to {last}, the classes in {self.classes}: correct the labels, or "
                    "name the list that belongs to them",
                    f"{self.path} 的类别号从 {min(labels)} 到 {max(labels)}（-1 表示没有）；"
                    f"应在 0 到 {last} 之间，即 {self.classes} 里的类别；"
                    "请改正类别号，或换成配套的类别表",
                )
            )

    def measure(self, embedder: Embedder) -> Iterator[tuple[str, float]]:
        names = read_classes(str(self.classes))
        labels = np.array([record.label for record in self.records])
        images = embed_records(embedder, self, self.records)
        for language, templates in self.templates.items():
            texts = [[t.replace("{}", name[language]) for t in templates] for name in names]
            logits = images @ ensemble(embedder, texts).T
            order = np.argsort(-logits, axis=1, kind="stable")
            for k in (1, TOP):
                hits = (order[:, :k] == labels[:, None]).any(axis=1)
                yield f"{language}_zero_shot_top{k}", float(hits.mean())


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    label: str
    support: int
    """Pictures of this class that could be read."""
    predicted: int
    """Pictures that were given this label."""
    correct: int
    precision: float | None
    """correct / predicted; None if the label was never given."""
    recall: float | None
    """correct / support; None if the class has no picture."""
    f1: float | None


@dataclass(frozen=True, kw_only=True)
class ZeroShotReport:
    """`seesay.evaluation.report` turns it into tables and pages, `dataclasses.asdict` into JSON."""

    model: str
    folder: str
    images: int
    """Classified pictures; failures are not included and do not count."""
    accuracy: float
    """Share of right answers, where "none of these" is an answer like the others."""
    top1: float | None
    """Share whose best label is right if a label is always given, as usually published."""
    top5: float | None
    """Share with the right label among the five best; None if there are no more than five."""
    mean_recall: float | None
    """Recall averaged over classes with equal weight."""
    none_above: float | None
    """Probability that no label fits above which the answer was "none of these"; None if switched
    off."""
    answers: tuple[str, ...]
    """Labels in the order given, then "none of these": both axes of the confusion matrix."""
    classes: tuple[ClassScore, ...]
    """One per answer, in the same order."""
    confusion: tuple[tuple[int, ...], ...]
    """confusion[truth][answer] = number of pictures."""
    failures: tuple[tuple[str, str], ...]
    """File and reason for each picture that could not be read."""


def evaluate_zero_shot(
    classifier: ZeroShotClassifier,
    folder: Path,
    *,
    on_progress: Progress | None = None,
) -> ZeroShotReport:
    """Classifies every picture of a labelled folder and counts right answers.

    Sub-folders are named after the classifier's labels. Any other sub-folder holds pictures of
    something else, for which "none of these" is right. Raises ConfigError if that answer is
    switched off, DataError if no picture can be read.
    """
    classes = find_classes(folder)
    _check_classes(classes, classifier)
    files = [(file, name) for name, images in classes.items() for file in images]
    result = classifier.classify([file for file, _ in files], top=TOP, on_progress=on_progress)
    failures = tuple((str(files[f.index][0]), str(f.error)) for f in result.failures)
    if not result.predictions:
        reason = Text.of(result.failures[0].error)
        raise DataError(
            Text(
                f"none of the {len(files)} pictures in {folder} could be read; the first: "
                f"{reason.en}; expected pictures; check the folder",
                f"{folder} 里的 {len(files)} 张图片都无法读取，第一张：{reason.zh}；"
                "应为图片；请检查文件夹",
            )
        )
    truths = [_truth(files[row][1], classifier.labels) for row in result.rows]
    return _report(classifier, folder, truths, result.predictions, failures)


def _report(
    classifier: ZeroShotClassifier,
    folder: Path,
    truths: Sequence[str],
    predictions: Sequence[Prediction],
    failures: tuple[tuple[str, str], ...],
) -> ZeroShotReport:
    answers = (*classifier.labels, NONE)
    given = [NONE if p.label is None else p.label for p in predictions]
    pairs = Counter(zip(truths, given, strict=True))
    confusion = tuple(tuple(pairs[truth, answer] for answer in answers) for truth in answers)
    classes = tuple(_score(label, i, confusion) for i, label in enumerate(answers))
    recalls = [c.recall for c in classes if c.recall is not None]
    places = [
        [score.label for score in p.ranked].index(t) if t in {s.label for s in p.ranked} else TOP
        for t, p in zip(truths, predictions, strict=True)
        if t != NONE
    ]
    return ZeroShotReport(
        model=classifier.embedder.name,
        folder=str(folder),
        images=len(truths),
        accuracy=sum(c.correct for c in classes) / len(truths),
        top1=_share(sum(place < 1 for place in places), len(places)),
        top5=_share(
            sum(place < TOP for place in places), len(places) * (len(classifier.labels) > TOP)
        ),
        mean_recall=_share(sum(recalls), len(recalls)),
        none_above=classifier.none_above,
        answers=answers,
        classes=classes,
        confusion=confusion,
        failures=failures,
    )


def _score(label: str, index: int, confusion: Sequence[Sequence[int]]) -> ClassScore:
    correct = confusion[index][index]
    support = sum(confusion[index])
    predicted = sum(row[index] for row in confusion)
    return ClassScore(
        label=label,
        support=support,
        predicted=predicted,
        correct=correct,
        precision=_share(correct, predicted),
        recall=_share(correct, support),
        f1=_share(2 * correct, support + predicted),
    )


def _share(part: int | float, whole: int) -> float | None:
    return part / whole if whole else None


def _truth(name: str, labels: Sequence[str]) -> str:
    return name if name in labels else NONE


def _check_classes(classes: Mapping[str, object], classifier: ZeroShotClassifier) -> None:
    labels = classifier.labels
    if NONE in labels:
        raise ConfigError(
            Text(
                f"the label {NONE!r} is what the report calls pictures that no label fits; "
                "expected another name; rename the folder or the label",
                f"类别名 {NONE!r} 在报告里表示“都不是”；应为别的名称；请给文件夹或类别改名",
            )
        )
    strange = sorted(set(classes) - set(labels))
    if len(strange) == len(classes):
        raise ConfigError(
            Text(
                f"no sub-folder is called as a label: the folders are {', '.join(strange[:5])}, "
                f"the labels {', '.join(labels[:5])}; expected equal names; give labels as "
                "'folder=words', or leave the labels out to use the folders' names",
                f"没有与类别同名的子文件夹：文件夹有 {'、'.join(strange[:5])}，类别有 "
                f"{'、'.join(labels[:5])}；名称应相同；请把类别写成“文件夹名=叫法”，"
                "或不写类别而直接用文件夹名",
            )
        )
    if strange and classifier.none_above is None:
        raise ConfigError(
            Text(
                f"the sub-folders {', '.join(strange[:5])} are no label, so that only 'none of "
                "these' is right for them, and that answer is switched off; add them to the "
                "labels, or switch it on",
                f"子文件夹 {'、'.join(strange[:5])} 不在类别里，只有“都不是”才算答对，"
                "而这个回答已关闭；请把它们加入类别，或打开这个回答",
            )
        )

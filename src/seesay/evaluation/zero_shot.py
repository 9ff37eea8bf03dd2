"""How often a zero-shot classifier is right, over a folder whose sub-folders are the classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from seesay.data.folders import list_images
from seesay.errors import ConfigError, DataError
from seesay.inference.classifier import Prediction, ZeroShotClassifier
from seesay.inference.embedder import Progress

NONE = "none of these"  # the answer, and the truth for sub-folders that are no label
TOP = 5


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    label: str
    support: int
    """Pictures of this class that could be read."""
    predicted: int
    """Pictures that were given this label."""
    correct: int
    precision: float | None
    """correct / predicted; None where the label was never given."""
    recall: float | None
    """correct / support; None where the class has no picture."""
    f1: float | None


@dataclass(frozen=True, kw_only=True)
class ZeroShotReport:
    """Prints as tables through `seesay.evaluation.report`; `dataclasses.asdict` gives the JSON."""

    model: str
    folder: str
    images: int
    """Pictures that were classified; failures are not among them and count neither way."""
    accuracy: float
    """Share of right answers, where "none of these" is an answer like the others."""
    top1: float | None
    """Share whose best label is right, were a label always given: what is usually published."""
    top5: float | None
    """The same with the right label among the five best; None where there are no more than five."""
    mean_recall: float | None
    """Recall averaged over classes, each counting the same however many pictures it has."""
    none_above: float | None
    """The chance that no label fits above which the answer was "none of these"; None where that
    was switched off."""
    answers: tuple[str, ...]
    """Labels in the order given, then "none of these": both axes of the confusion matrix."""
    classes: tuple[ClassScore, ...]
    """One per answer, in the same order."""
    confusion: tuple[tuple[int, ...], ...]
    """confusion[truth][answer] = number of pictures."""
    failures: tuple[tuple[str, str], ...]
    """File and reason for each picture that could not be read."""


def find_classes(folder: Path) -> dict[str, list[Path]]:
    """Pictures by sub-folder, both sorted. Raises DataError where there are none."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder; expected one with a sub-folder of pictures for each class; "
            "check the path"
        )
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = {path.name: images for path in inside if (images := list_images(path))}
    if not classes:
        raise DataError(
            f"{folder} has no sub-folder with pictures in it; expected one for each class, such as "
            f"{folder / 'cat'}; move the pictures of each class into a folder of its own"
        )
    return classes


def evaluate_zero_shot(
    classifier: ZeroShotClassifier,
    folder: Path,
    *,
    on_progress: Progress | None = None,
) -> ZeroShotReport:
    """Classify every picture of a labelled folder and count.

    Sub-folders are called as the classifier's labels. One that is called otherwise holds pictures
    of something else: right for them is "none of these". Raises ConfigError where that answer is
    switched off, DataError where no picture can be read.
    """
    classes = find_classes(folder)
    _check_classes(classes, classifier)
    files = [(file, name) for name, images in classes.items() for file in images]
    result = classifier.classify([file for file, _ in files], top=TOP, on_progress=on_progress)
    failures = tuple((str(files[f.index][0]), str(f.error)) for f in result.failures)
    if not result.predictions:
        raise DataError(
            f"none of the {len(files)} pictures in {folder} could be read; the first: "
            f"{failures[0][1]}; expected pictures; check the folder"
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
    if NONE in classifier.labels:
        raise ConfigError(
            f"the label {NONE!r} is what the report calls pictures that no label fits; expected "
            "another name; rename the folder or the label"
        )
    strange = sorted(set(classes) - set(classifier.labels))
    if len(strange) == len(classes):
        raise ConfigError(
            f"no sub-folder is called as a label: the folders are {', '.join(strange[:5])}, the "
            f"labels {', '.join(classifier.labels[:5])}; expected equal names; give labels as "
            "'folder=words', or leave the labels out to use the folders' names"
        )
    if strange and classifier.none_above is None:
        raise ConfigError(
            f"the sub-folders {', '.join(strange[:5])} are no label, so that only 'none of these' "
            "is right for them, and that answer is switched off; add them to the labels, or "
            "switch it on"
        )

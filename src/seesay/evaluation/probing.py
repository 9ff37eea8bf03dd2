"""Fits a linear probe, chooses its regularisation on held-out pictures, compares it with zero-shot.

After CLIP's appendix (Radford et al. 2021, A.3): the strength of the L2 regularisation is searched
from 1e-6 to 1e6, first in steps of two decades, then in ever smaller ones around the best, down to
eight a decade; the probe is then fitted to the training and the held-out pictures together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from seesay.errors import DataError
from seesay.evaluation.data_sets import LabelledImages, read_labelled
from seesay.inference.classifier import ZeroShotClassifier
from seesay.inference.embedder import Embedder, Progress
from seesay.inference.labels import folder_labels
from seesay.inference.probe import LinearProbe, check_classes, fit_probe
from seesay.text import Text

DECADES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
FINEST = 0.125  # of a decade
PART = 0.2  # of each class, for validation, and for testing if no test set is given
TOP = 5
WITH_TEST, WITHOUT_TEST = 3, 2  # pictures of a class: one to learn from and one or two held out


@dataclass(frozen=True, kw_only=True)
class ProbeAccuracy:
    """The accuracy of a linear classifier on the vectors of labelled pictures (`probe_top1`,
    `probe_mean_per_class`)."""

    path: str
    """A folder with a sub-folder for each class, or a table with the columns image and label."""
    test: str | None = None
    """Test pictures in the same form; none: a fifth of each class."""
    seed: int = 0
    """Seed that chooses the held-out pictures."""

    def names(self) -> tuple[str, ...]:
        return "probe_top1", "probe_mean_per_class"

    def check(self) -> None:
        """Raises DataError if there are too few pictures, ConfigError if there is only one
        class."""
        labelled = read_labelled(Path(self.path))
        classes = check_classes(labelled.labels)
        if self.test is not None:
            _read_test(Path(self.test), classes)
        _check_counts(labelled.counts, WITH_TEST if self.test is None else WITHOUT_TEST)

    def measure(self, embedder: Embedder) -> Iterator[tuple[str, float]]:
        test = None if self.test is None else Path(self.test)
        _, report = train_probe(embedder, Path(self.path), test=test, seed=self.seed)
        if report.failures:
            (file, reason), count = report.failures[0], len(report.failures)
            raise DataError(
                Text(
                    f"{count} pictures of {self.path} cannot be read, the first {file}: {reason}. "
                    "Figures on a part of a set mislead; repair or remove them",
                    f"{self.path} 有 {count} 张图片无法读取，第一张 {file}：{reason}。"
                    "只用一部分得出的数字会误导；请修复或删除它们",
                )
            )
        yield from zip(self.names(), (report.probe.top1, report.probe.mean_per_class), strict=True)


@dataclass(frozen=True, kw_only=True)
class Scores:
    top1: float
    """Share of pictures whose first answer is right."""
    top5: float | None
    """Share with the right class among the first five; None if there are no more than five."""
    mean_per_class: float
    """The share of right first answers, averaged over the classes."""


@dataclass(frozen=True, kw_only=True)
class ClassRecall:
    label: str
    support: int
    """Pictures of this class in the test."""
    probe: float
    zero_shot: float


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """A probe's training data, and its accuracy compared with zero-shot on other pictures."""

    model: str
    data: str
    test: str | None
    """Source of the test pictures; None if they were held out of `data`."""
    fitted: int
    """Pictures that it was fitted to."""
    tested: int
    l2: float
    """The chosen strength."""
    tried: tuple[tuple[float, float], ...]
    """Each strength with its accuracy on the validation pictures."""
    probe: Scores
    zero_shot: Scores
    classes: tuple[ClassRecall, ...]
    """The classes with test pictures."""
    failures: tuple[tuple[str, str], ...]
    """File and reason for each picture that could not be read."""


@dataclass(frozen=True)
class _Part:
    """Embedded pictures with the numbers of their classes."""

    vectors: Float[np.ndarray, "images embed"]
    targets: Int[np.ndarray, " images"]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Int[np.ndarray, " some"]) -> "_Part":
        return _Part(self.vectors[rows], self.targets[rows])


def train_probe(
    embedder: Embedder,
    data: Path,
    *,
    test: Path | None = None,
    names: Mapping[str, str] | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> tuple[LinearProbe, ProbeReport]:
    """Fit a probe to a folder with a sub-folder per class, or to a table with `image` and `label`.

    Without `test`, a fifth of each class is held out for it by `seed`. `names` gives zero-shot
    other words for a class than its name. Raises DataError if there are too few pictures or none
    can be read, ConfigError if there is only one class.
    """
    labelled = read_labelled(data)
    classes = check_classes(labelled.labels)
    others = None if test is None else _read_test(test, classes)
    known, failures = _embed(embedder, labelled, classes, on_progress)
    if others is None:
        known, tested = _hold_out(known, classes, seed, least=WITH_TEST)
    else:
        tested, more = _embed(embedder, others, classes, on_progress)
        failures += more
    l2, tried = choose_l2(*_hold_out(known, classes, seed + 1, least=WITHOUT_TEST), len(classes))
    weight, bias = fit_probe(known.vectors, known.targets, len(classes), l2)
    probe = LinearProbe(
        labels=classes,
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        l2=l2,
        model=embedder.name,
        fingerprint=embedder.fingerprint(),
    )
    answers = np.argsort(-probe.probabilities(tested.vectors), axis=1, kind="stable")
    words = {**folder_labels(classes), **{k: v for k, v in (names or {}).items() if k in classes}}
    asked = zero_shot_order(embedder, words, tested.vectors)
    report = ProbeReport(
        model=embedder.name,
        data=str(data),
        test=None if test is None else str(test),
        fitted=len(known),
        tested=len(tested),
        l2=l2,
        tried=tried,
        probe=score(answers, tested.targets),
        zero_shot=score(asked, tested.targets),
        classes=_recalls(classes, tested.targets, answers, asked),
        failures=tuple(failures),
    )
    return probe, report


def zero_shot_order(
    embedder: Embedder, names: Mapping[str, str], vectors: Float[np.ndarray, "images embed"]
) -> Int[np.ndarray, "images labels"]:
    """For each picture, the numbers of all labels by zero-shot likelihood, highest first."""
    classifier = ZeroShotClassifier(embedder, names, none_above=None)
    number = {label: n for n, label in enumerate(classifier.labels)}
    predictions = classifier.predict(vectors)
    return np.array([[number[score.label] for score in p.ranked] for p in predictions])


def score(order: Int[np.ndarray, "images labels"], targets: Int[np.ndarray, " images"]) -> Scores:
    """Scores the answers."""
    hits = order == targets[:, None]
    first = hits[:, 0]
    per_class = [float(first[targets == one].mean()) for one in np.unique(targets)]
    return Scores(
        top1=float(first.mean()),
        top5=float(hits[:, :TOP].any(axis=1).mean()) if order.shape[1] > TOP else None,
        mean_per_class=float(np.mean(per_class)),
    )


def split(
    targets: Int[np.ndarray, " images"],
    classes: Sequence[str],
    seed: int,
    *,
    least: int,
) -> tuple[Int[np.ndarray, " rest"], Int[np.ndarray, " held"]]:
    """Rows to learn from and rows held out: a fifth of each class, at least one. Raises DataError
    if a class has fewer than `least` pictures."""
    _check_counts({name: int((targets == n).sum()) for n, name in enumerate(classes)}, least)
    rng = np.random.default_rng(seed)
    rest, held = [], []
    for number in range(len(classes)):
        rows = rng.permutation(np.flatnonzero(targets == number))
        count = max(1, round(PART * len(rows)))
        held.append(rows[:count])
        rest.append(rows[count:])
    return np.sort(np.concatenate(rest)), np.sort(np.concatenate(held))


def _check_counts(counts: Mapping[str, int], least: int) -> None:
    for name, count in counts.items():
        if count < least:
            raise DataError(
                Text(
                    f"the class {name} has {count} pictures that can be read, expected at least "
                    f"{least}: some to learn from and some to measure on; add pictures, remove "
                    "the class, or measure on others by --test",
                    f"类别 {name} 有 {count} 张能读取的图片；至少应有 {least} 张，"
                    "分别用于学习和测量；请补充图片、去掉这个类别，或用 --test 在别的图片上测量",
                )
            )


def _hold_out(
    whole: _Part, classes: Sequence[str], seed: int, *, least: int
) -> tuple[_Part, _Part]:
    rest, held = split(whole.targets, classes, seed, least=least)
    return whole.take(rest), whole.take(held)


def choose_l2(
    known: _Part, validation: _Part, classes: int
) -> tuple[float, tuple[tuple[float, float], ...]]:
    """The strength with the best accuracy on the validation pictures, in a tie the one with the
    lower cross-entropy; and all strengths tried, with their accuracy."""
    found: dict[float, tuple[float, float]] = {}

    def judge(exponent: float) -> None:
        if exponent not in found and DECADES[0] <= exponent <= DECADES[-1]:
            weight, bias = fit_probe(known.vectors, known.targets, classes, 10.0**exponent)
            logits = validation.vectors @ weight.T + bias
            right = logits[np.arange(len(validation)), validation.targets]
            top = logits.max(axis=1)
            entropy = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - right
            accuracy = (logits.argmax(axis=1) == validation.targets).mean()
            found[exponent] = float(accuracy), -float(entropy.mean())

    for exponent in DECADES:
        judge(exponent)
    step = (DECADES[1] - DECADES[0]) / 2
    while step >= FINEST:
        best = max(found, key=lambda exponent: found[exponent])
        judge(best - step)
        judge(best + step)
        step /= 2
    best = max(found, key=lambda exponent: found[exponent])
    return 10.0**best, tuple((10.0**exponent, found[exponent][0]) for exponent in sorted(found))


def _read_test(test: Path, classes: Sequence[str]) -> LabelledImages:
    labelled = read_labelled(test)
    if unknown := sorted(set(labelled.labels) - set(classes)):
        raise DataError(
            Text(
                f"{test} has pictures of {', '.join(unknown[:3])}, which the probe does not learn; "
                f"expected some of {', '.join(classes[:10])}; call the classes alike in both",
                f"{test} 里有 {'、'.join(unknown[:3])} 的图片，探针没有学过；"
                f"应属于：{'、'.join(classes[:10])}；请让两边的类别名一致",
            )
        )
    return labelled


def _embed(
    embedder: Embedder,
    labelled: LabelledImages,
    classes: Sequence[str],
    on_progress: Progress | None,
) -> tuple[_Part, list[tuple[str, str]]]:
    found = embedder.embed_images(labelled.images, on_progress=on_progress)
    failures = [(str(labelled.images[f.index]), str(f.error)) for f in found.failures]
    if not len(found):
        reason = Text.of(found.failures[0].error)
        raise DataError(
            Text(
                f"none of the {len(labelled)} pictures can be read, the first because: "
                f"{reason.en}; expected pictures; check the paths",
                f"{len(labelled)} 张图片都无法读取，第一张的原因：{reason.zh}；应为图片；"
                "请检查路径",
            )
        )
    number = {label: n for n, label in enumerate(classes)}
    targets = np.array([number[labelled.labels[row]] for row in found.rows])
    return _Part(found.vectors, targets), failures


def _recalls(
    classes: Sequence[str],
    targets: Int[np.ndarray, " images"],
    probe: Int[np.ndarray, "images labels"],
    zero_shot: Int[np.ndarray, "images labels"],
) -> tuple[ClassRecall, ...]:
    return tuple(
        ClassRecall(
            label=classes[number],
            support=int(rows.sum()),
            probe=float((probe[rows, 0] == number).mean()),
            zero_shot=float((zero_shot[rows, 0] == number).mean()),
        )
        for number in np.unique(targets).tolist()
        for rows in [targets == number]
    )

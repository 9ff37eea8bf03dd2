"""Fits a probe, chooses its settings on held-out pictures, compares it with zero-shot.

A linear one after CLIP's appendix (Radford et al. 2021, A.3): the strength of the L2 regularisation
is searched from 1e-6 to 1e6, first in steps of two decades, then in ever smaller ones around the
best, down to eight a decade; the probe is then fitted to the training and the held-out pictures
together. Of Tip-Adapter, alpha and beta are searched, and how many epochs its keys are trained.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from seesay.errors import DataError
from seesay.evaluation.data_sets import LabelledImages, read_labelled
from seesay.inference.classifier import ZeroShotClassifier
from seesay.inference.embedder import Embedder, Progress
from seesay.inference.labels import folder_labels
from seesay.inference.probe import (
    LinearProbe,
    Probe,
    TipAdapter,
    check_classes,
    fit_probe,
    train_keys,
)
from seesay.text import Text

DECADES = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
FINEST = 0.125  # of a decade
PART = 0.2  # of each class, for validation, and for testing if no test set is given
TOP = 5
# Divided by the median distance (1 - cosine) of pictures, which in some models is tiny; in CLIP it
# is about a half, so that these begin at a half and end at 128.
BETAS = tuple(2.0 ** (half / 2) for half in range(-4, 13))
ALPHAS = (0.0, *(2.0 ** (half / 2) for half in range(-8, 13)))  # to 64, where scale is 100
FEW_HELD = 4  # pictures of a class at most to choose settings with, beside --shots (CoOp)
Method: TypeAlias = Literal["linear", "tip", "tip-trained"]
Tried: TypeAlias = tuple[tuple[float, float], ...]
"""Each strength of regularisation with its accuracy on the validation pictures."""
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
    method: Method
    shots: int | None
    """Pictures of each class that it was fitted to; None: all."""
    fitted: int
    """Pictures that it was fitted to."""
    tested: int
    l2: float | None
    """The chosen strength of a linear probe."""
    tried: Tried
    """Of a linear probe; else none."""
    alpha: float | None
    """The chosen weight of votes of a Tip-Adapter."""
    beta: float | None
    """The chosen rate at which they fade."""
    probe: Scores
    zero_shot: Scores
    classes: tuple[ClassRecall, ...]
    """The classes with test pictures."""
    failures: tuple[tuple[str, str], ...]
    """File and reason for each picture that could not be read."""


@dataclass(frozen=True)
class LabelledVectors:
    """Embedded pictures with the numbers of their classes."""

    vectors: Float[np.ndarray, "images embed"]
    targets: Int[np.ndarray, " images"]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Int[np.ndarray, " some"]) -> "LabelledVectors":
        return LabelledVectors(self.vectors[rows], self.targets[rows])


def train_probe(  # noqa: PLR0913  # every choice about a probe
    embedder: Embedder,
    data: Path,
    *,
    method: Method = "linear",
    shots: int | None = None,
    test: Path | None = None,
    names: Mapping[str, str] | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> tuple[Probe, ProbeReport]:
    """Fit a probe to a folder with a sub-folder per class, or to a table with `image` and `label`.

    `method` is "linear" for logistic regression, "tip" for Tip-Adapter, which trains nothing, and
    "tip-trained" for the one with trained keys (Tip-Adapter-F). `shots` is how many pictures of
    each class it is fitted to, drawn by `seed`, with up to four others to choose its settings.
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
    words = {**folder_labels(classes), **{k: v for k, v in (names or {}).items() if k in classes}}
    classifier = ZeroShotClassifier(embedder, words, none_above=None)
    if shots is None:
        rest, held = _hold_out(known, classes, seed + 1, least=WITHOUT_TEST)
    else:
        rest, held = draw(known, classes, shots, seed + 1)
        known = rest
    probe, tried = fit(classifier, known, (rest, held), method, seed)
    answers = ranking(probe.logits(tested.vectors))
    asked = ranking(tested.vectors @ classifier.vectors.T)
    report = ProbeReport(
        model=embedder.name,
        data=str(data),
        test=None if test is None else str(test),
        method=method,
        shots=shots,
        fitted=len(known),
        tested=len(tested),
        l2=probe.l2 if isinstance(probe, LinearProbe) else None,
        tried=tried,
        alpha=probe.alpha if isinstance(probe, TipAdapter) else None,
        beta=probe.beta if isinstance(probe, TipAdapter) else None,
        probe=score(answers, tested.targets),
        zero_shot=score(asked, tested.targets),
        classes=_recalls(classes, tested.targets, answers, asked),
        failures=tuple(failures),
    )
    return probe, report


def fit(
    classifier: ZeroShotClassifier,
    known: LabelledVectors,
    choosing: tuple[LabelledVectors, LabelledVectors],
    method: Method,
    seed: int,
) -> tuple[Probe, Tried]:
    """Fits a probe to `known`, with settings that are chosen by fitting it to the first part of
    `choosing` and judging it on the second. Returns it with what `choose_l2` has tried."""
    embedder = classifier.embedder
    given: dict[str, Any] = {
        "labels": classifier.labels,
        "model": embedder.name,
        "fingerprint": embedder.fingerprint(),
    }
    rest, held = choosing
    if method == "linear":
        l2, tried = choose_l2(rest, held, len(classifier.labels))
        weight, bias = fit_probe(known.vectors, known.targets, len(classifier.labels), l2)
        arrays: dict[str, Any] = {
            "weight": weight.astype(np.float32),
            "bias": bias.astype(np.float32),
        }
        return LinearProbe(**given, **arrays, l2=l2), tried
    given |= {"texts": classifier.vectors, "scale": embedder.scale}

    def begin(part: LabelledVectors, alpha: float, beta: float) -> TipAdapter:
        return TipAdapter(**given, keys=part.vectors, values=part.targets, alpha=alpha, beta=beta)

    chosen = choose_tip(begin(rest, 1.0, 1.0), held)
    if method == "tip":
        return begin(known, chosen.alpha, chosen.beta), ()
    # Without any weight, votes could not be trained.
    alpha, beta = chosen.alpha or embedder.scale / 100, chosen.beta
    epochs, trained = choose_epochs(replace(chosen, alpha=alpha), held, seed)
    begun = begin(known, alpha, beta)
    [last] = deque(chain([begun], islice(train_keys(begun, seed), epochs)), maxlen=1)
    return replace(last, alpha=trained.alpha, beta=trained.beta), ()


def choose_tip(adapter: TipAdapter, held: LabelledVectors) -> TipAdapter:
    """The adapter with the alpha and beta that are best on pictures that are held out."""
    zero_shot = adapter.scale * held.vectors @ adapter.texts.T
    spread = max(float(np.median(1 - held.vectors @ adapter.keys.T)), 1e-6)
    best, chosen = (-1.0, 0.0), adapter
    for beta in (one / spread for one in BETAS):
        votes = replace(adapter, beta=beta).votes(held.vectors)
        for alpha in (one * adapter.scale / 100 for one in ALPHAS):
            if (found := judge(zero_shot + alpha * votes, held.targets)) > best:
                best, chosen = found, replace(adapter, alpha=alpha, beta=beta)
    return chosen


def choose_epochs(adapter: TipAdapter, held: LabelledVectors, seed: int) -> tuple[int, TipAdapter]:
    """After how many epochs the trained keys are best on pictures that are held out, which may be
    none, and the adapter then, with alpha and beta chosen again."""
    epochs, chosen = 0, adapter
    best = judge(adapter.logits(held.vectors), held.targets)
    for number, trained in enumerate(train_keys(adapter, seed), start=1):
        if (found := judge(trained.logits(held.vectors), held.targets)) > best:
            best, epochs, chosen = found, number, trained
    return epochs, choose_tip(chosen, held)


def judge(
    logits: Float[np.ndarray, "images labels"], targets: Int[np.ndarray, " images"]
) -> tuple[float, float]:
    """Accuracy, and for a tie the negative cross-entropy."""
    right = logits[np.arange(len(targets)), targets]
    top = logits.max(axis=1)
    entropy = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top - right
    return float((logits.argmax(axis=1) == targets).mean()), -float(entropy.mean())


def ranking(scores: Float[np.ndarray, "images labels"]) -> Int[np.ndarray, "images labels"]:
    """For each picture, the numbers of all labels, the likeliest first."""
    return np.argsort(-scores, axis=1, kind="stable")


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


def draw(
    whole: LabelledVectors, classes: Sequence[str], shots: int, seed: int
) -> tuple[LabelledVectors, LabelledVectors]:
    """So many pictures of each class, and others to choose settings with: as many, or FEW_HELD if
    those are fewer, or what there is. Raises DataError if a class has none of these left."""
    rng = np.random.default_rng(seed)
    drawn, held = [], []
    for number, name in enumerate(classes):
        rows = rng.permutation(np.flatnonzero(whole.targets == number))
        if len(rows) <= shots:
            raise DataError(
                Text(
                    f"the class {name} has {len(rows)} pictures beside those to test on, expected "
                    f"at least {shots + 1}: {shots} shots, and one to choose the settings with; "
                    "add pictures, ask for fewer shots, or measure on others by --test",
                    f"类别 {name} 除测试外有 {len(rows)} 张图片；至少应有 {shots + 1} 张："
                    f"{shots} 张用于学习，一张用于选择设置；请补充图片、减少 --shots，"
                    "或用 --test 在别的图片上测量",
                )
            )
        drawn.append(rows[:shots])
        held.append(rows[shots : shots + min(shots, FEW_HELD)])
    return whole.take(np.concatenate(drawn)), whole.take(np.concatenate(held))


def _hold_out(
    whole: LabelledVectors, classes: Sequence[str], seed: int, *, least: int
) -> tuple[LabelledVectors, LabelledVectors]:
    rest, held = split(whole.targets, classes, seed, least=least)
    return whole.take(rest), whole.take(held)


def choose_l2(
    known: LabelledVectors, validation: LabelledVectors, classes: int
) -> tuple[float, Tried]:
    """The strength with the best accuracy on the validation pictures, in a tie the one with the
    lower cross-entropy; and all strengths tried, with their accuracy."""
    found: dict[float, tuple[float, float]] = {}

    def attempt(exponent: float) -> None:
        if exponent not in found and DECADES[0] <= exponent <= DECADES[-1]:
            weight, bias = fit_probe(known.vectors, known.targets, classes, 10.0**exponent)
            found[exponent] = judge(validation.vectors @ weight.T + bias, validation.targets)

    for exponent in DECADES:
        attempt(exponent)
    step = (DECADES[1] - DECADES[0]) / 2
    while step >= FINEST:
        best = max(found, key=lambda exponent: found[exponent])
        attempt(best - step)
        attempt(best + step)
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
) -> tuple[LabelledVectors, list[tuple[str, str]]]:
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
    return LabelledVectors(found.vectors, targets), failures


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

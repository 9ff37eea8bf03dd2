"""Zero-shot classification: which of these names fits the picture, or none of them.

A name is put into every sentence of an ensemble (`prompts/`); the normalised mean of the sentences'
embeddings represents the class (CLIP, Radford et al., 2021, 3.1.4).

Labels compete with each other for the best one. The answer is "none of these" only if every label
is unlikely by itself (`confidence`), with a probability below a tenth among the pictures classified
together. The threshold is a tenth rather than a half because people choose labels after looking at
their pictures. `benchmarks/classify.py` prints how often the answer is right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from seesay.errors import ConfigError
from seesay.inference.background import Backgrounds
from seesay.inference.confidence import Calibration, Mixture, sentence_weight
from seesay.inference.embedder import Embedder, Failure, Progress
from seesay.inference.prompts import check_templates, fill, templates
from seesay.inference.text_embedder import TextEmbedder
from seesay.text import Language, Text, detect_language

NONE_ABOVE = 0.9
CHUNK = 1024  # pictures scored at once: bounds memory at CHUNK x labels, however large the folder


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    label: str
    probability: float
    """Share among the given labels; all labels add up to 1."""
    cosine: float
    match: float | None
    """How likely the pair belongs together, for each label by itself; only models with a bias have
    it."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    label: str | None
    """The best label, or None if none of them fits."""
    none: bool
    probability: float
    """The best label's share among the given labels."""
    margin: float
    """The best label's probability minus the second best label's."""
    chance: float | None
    """Probability that none of the labels fits; None if the answer is always a label."""
    ranked: tuple[LabelScore, ...]
    """Best label first, even if `label` is None."""

    def __repr__(self) -> str:
        return f"Prediction({self.label or 'none of these'!r}, probability={self.probability:.3f})"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    predictions: tuple[Prediction, ...]
    rows: tuple[int, ...]
    """For each prediction the index of its input; failed inputs have no prediction."""
    failures: tuple[Failure, ...]
    sources: tuple[str, ...] = ()
    """For each prediction the path of its picture, or the type of the input."""

    def __len__(self) -> int:
        return len(self.predictions)

    def __repr__(self) -> str:
        labels = Counter(one.label or "none of these" for one in self.predictions)
        told = ", ".join(f"{label}: {count}" for label, count in labels.most_common(5))
        return f"Predictions({len(self)}: {told or 'nothing'}; {len(self.failures)} failed)"


class ZeroShotClassifier:
    """A fixed set of labels, embedded once, ready for any number of pictures.

    `labels` are names, or a mapping from the name shown to the words put into the sentences.
    `templates` replace the built-in ensemble of each label's language. `none_above` is the
    probability above which the answer is "none of these"; with None, the answer is always a label.
    `on_progress` is called as the labels' sentences are embedded.
    """

    def __init__(
        self,
        embedder: Embedder,
        labels: str | Sequence[str] | Mapping[str, str],
        *,
        templates: Sequence[str] | None = None,
        language: Language | None = None,
        none_above: float | None = NONE_ABOVE,
        on_progress: Progress | None = None,
    ) -> None:
        self.names = _check_labels([labels] if isinstance(labels, str) else labels)
        self.labels = tuple(self.names)
        self.embedder = embedder
        self.none_above = _check_none_above(none_above)
        self.templates = None if templates is None else check_templates(templates)
        self.languages = tuple(language or detect_language(n) for n in self.names.values())
        words = tuple(self.names.values())
        self.vectors = ensemble(
            embedder, self._sentences(words, self.languages), on_progress=on_progress
        )
        """A unit vector for each label."""
        self._none = None if none_above is None else _NoneOfThese(embedder, words, self.languages)

    def __repr__(self) -> str:
        return f"ZeroShotClassifier({len(self.labels)} labels, {self.embedder.name!r})"

    def classify(
        self,
        images: object,
        *,
        top: int | None = None,
        on_progress: Progress | None = None,
    ) -> Predictions:
        """Classify one or several paths, folders or pictures, as `Embedder.embed_images` takes
        them. `top` limits how many labels are kept."""
        embeddings = self.embedder.embed_images(images, on_progress=on_progress)
        return Predictions(
            predictions=self.predict(embeddings.vectors, top=top),
            rows=embeddings.rows,
            sources=embeddings.sources,
            failures=embeddings.failures,
        )

    def predict(
        self, vectors: Float[np.ndarray, "images embed"], *, top: int | None = None
    ) -> tuple[Prediction, ...]:
        """Classify pictures that the same model has already embedded."""
        chances = None
        if self._none is not None and len(vectors):
            chances = self._none.chances(np.asarray(vectors, np.float32))
        predictions: list[Prediction] = []
        for start in range(0, len(vectors), CHUNK):
            chunk = slice(start, start + CHUNK)
            some = None if chances is None else chances[chunk]
            predictions += self._predict(vectors[chunk], some, top)
        return tuple(predictions)

    def _predict(
        self,
        vectors: Float[np.ndarray, "images embed"],
        chances: Float[np.ndarray, " images"] | None,
        top: int | None,
    ) -> list[Prediction]:
        cosines = (vectors @ self.vectors.T).astype(np.float64)
        probabilities = _softmax(self.embedder.scale * cosines)
        # A stable sort: equal scores keep the order in which the labels were given.
        order = np.argsort(-cosines, axis=1, kind="stable")
        predictions = []
        for row, ranking in enumerate(order):
            chance = None if chances is None else float(chances[row])
            ranked = [
                self._score(i, cosines[row], probabilities[row]) for i in ranking[:top].tolist()
            ]
            predictions.append(self._decide(ranked, np.sort(probabilities[row])[::-1], chance))
        return predictions

    def _score(
        self,
        index: int,
        cosines: Float[np.ndarray, " labels"],
        probabilities: Float[np.ndarray, " labels"],
    ) -> LabelScore:
        e = self.embedder
        logit = None if e.bias is None else e.scale * cosines[index] + e.bias
        return LabelScore(
            label=self.labels[index],
            probability=float(probabilities[index]),
            cosine=float(cosines[index]),
            match=None if logit is None else float(1 / (1 + np.exp(-logit))),
        )

    def _decide(
        self,
        ranked: Sequence[LabelScore],
        probabilities: Float[np.ndarray, " labels"],
        chance: float | None,
    ) -> Prediction:
        limit = self.none_above
        none = chance is not None and limit is not None and chance > limit
        second = probabilities[1] if len(probabilities) > 1 else 0.0
        return Prediction(
            label=None if none else ranked[0].label,
            none=none,
            probability=ranked[0].probability,
            margin=float(ranked[0].probability - second),
            chance=chance,
            ranked=tuple(ranked),
        )

    def _sentences(self, words: Sequence[str], languages: Sequence[Language]) -> list[list[str]]:
        """The sentences for each word."""
        return [
            [fill(template, word) for template in self.templates or templates(language)]
            for word, language in zip(words, languages, strict=True)
        ]


class _NoneOfThese:
    """The probability that none of the labels fits a picture."""

    def __init__(
        self, embedder: Embedder, words: Sequence[str], languages: Sequence[Language]
    ) -> None:
        backgrounds = Backgrounds(embedder)
        self._backgrounds = {language: backgrounds.of(language) for language in set(languages)}
        self._labels = list(zip(words, languages, embedder.embed_texts(words).vectors, strict=True))

    def chances(self, images: Float32[np.ndarray, "images embed"]) -> Float[np.ndarray, " images"]:
        """Takes all pictures together: how many of them show a label is evidence about each
        picture."""
        calibrations = {
            language: Calibration.measure(background, images)
            for language, background in self._backgrounds.items()
        }
        best = np.zeros(len(images), np.float32)
        for word, language, vector in self._labels:
            scale = calibrations[language].scale(vector, sentence_weight(word, language))
            scores = scale.scores(images)
            np.maximum(best, Mixture(scale.match, scores)(scores), out=best)
        return 1 - best


def ensemble(
    embedder: Embedder | TextEmbedder,
    sentences: Sequence[Sequence[str]],
    *,
    on_progress: Progress | None = None,
) -> Float[np.ndarray, "labels embed"]:
    """Returns one unit vector per group of sentences: the normalised mean of their vectors."""
    flat = [sentence for group in sentences for sentence in group]
    vectors = embedder.embed_texts(flat, on_progress=on_progress).vectors
    ends = np.cumsum([len(group) for group in sentences])
    means = np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def _softmax(logits: Float[np.ndarray, "images labels"]) -> Float[np.ndarray, "images labels"]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _check_labels(labels: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    given = labels.items() if isinstance(labels, Mapping) else zip(labels, labels, strict=True)
    pairs = [(label.strip(), name.strip()) for label, name in given]
    names = [label for label, _ in pairs]
    if repeated := [label for label, count in Counter(names).items() if count > 1]:
        raise ConfigError(
            Text(
                f"the labels {repeated} are given more than once; expected each label once; "
                "remove the repetitions",
                f"标签 {repeated} 重复了；每个标签应只出现一次；请去掉重复的",
            )
        )
    if not pairs or not all(label and name for label, name in pairs):
        raise ConfigError(
            Text(
                f"the labels {names} are empty or hold an empty one; expected at least one name; "
                "give them as in 'cat,dog' or '猫,狗'",
                f"标签 {names} 是空的，或其中有空的；至少应有一个名称；请写成 'cat,dog' 或 '猫,狗' "
                "这样",
            )
        )
    return dict(pairs)


def _check_none_above(none_above: float | None) -> float | None:
    if none_above is not None and not 0 < none_above < 1:
        raise ConfigError(
            Text(
                f"none_above is {none_above}; expected a chance above 0 and below 1 (usual: "
                f"{NONE_ABOVE}), or None to always answer with a label; choose one of these",
                f"none_above 是 {none_above}；应为大于 0、小于 1 的概率（通常是 {NONE_ABOVE}），"
                "或用 None 表示总要选出一个标签；请选其一",
            )
        )
    return none_above

"""The probability that a picture or text matches a query.

A cosine by itself says little. It becomes a probability in three steps. The first two need only the
`Background` vocabulary, so they work for a collection of one picture and for any model.

1. `Calibration` measures the cosines of the background words with the vectors at hand.
2. `Scale` predicts from it, and from the cosines of the query with the background scenes, the
   cosines of the query with vectors that do not show it (the null). Cosines become standard
   scores; a match is expected `match` spreads above the null.
3. `Mixture` treats the scores of a collection as two groups, N(shift, 1) and N(shift + match, 1).
   The share of the second one and the error of the predicted null are unknown, so the posterior
   averages over both, weighted by how well they explain the scores: nine pictures of ten may show
   "people", and none a "giraffe". (Efron, Large-Scale Inference, 2010, chapters 2 and 6: one minus
   the local false discovery rate with an empirical null. Saerens et al., Neural Computation 14,
   2002: class shares from unlabelled data.)

A text that the model does not understand lies close to whatever the model saw most often: a note
about buying GPUs was 60% "children". `Calibration.understood` lowers the confidence there.

If the collection holds nothing that a query asks for, the mixture still rates the best pictures
highly: some always score above the others. `Calibration.presence` compares the best picture with
the best ones of the background words, after subtracting what each picture has in common with all
words. Used alone to tell captions and words for things in the pictures from topics that are absent,
it reaches an area under the curve of 0.91 in both languages (the mixture 0.86).

The constants are fitted on 500 photographs of Flickr8k's dev split, with seesay-mini and 43 words.
They are in spreads rather than cosines, and small changes of them hardly change the result.
`benchmarks/confidence.py` evaluates them on other photographs, other words and other models.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from seesay.inference.background import SMALLEST, Background, median, robust_spread
from seesay.text import Language

_OF_BEST = 0.6  # matches lie at this part of the way from the null to the nearest scenes
_LEAST_MATCH = 2.5
# Many pictures show part of a sentence's content: the null is wider, and matches lie higher.
_SENTENCE_SPREAD, _SENTENCE_MATCH = 0.35, 0.5
_WORDS, _SENTENCE_WORDS = 2, 6  # up to two words: not a sentence; six or more: a sentence
_TEXT_SPREAD = 1.15  # cosines with texts spread this much wider
_SAMPLE = 2000  # this many vectors are enough to calibrate with
# Prior of the mixture.
_SHIFTS = np.arange(-2, 1.75, 0.5)
_SHIFT_SPREAD = 1.2
_SHARES = (0.08, 0.2, 0.4, 0.6, 0.8, 0.95)
_LEAST_SHARE, _LOW_SHARES = 0.001, 5  # below those, evenly in the logarithm
_NO_MATCH = 2.0  # weight of "no vector matches"; each share has 1
_INDEPENDENT = 100  # at most this many scores count: pictures in a collection are similar
_STEP = 0.25
_SCORES = np.arange(-6, 10 + _STEP, _STEP)
# The best of the background words has a score of 2.8 with a text by chance, 3.0 with prose about
# software, and 4.8 with captions, 95% of which lie above 3.2.
_UNDERSTOOD, _UNDERSTOOD_SLOPE = 3.2, 3.5
_PRESENT, _PRESENT_SLOPE = 0.8, 2.5  # in spreads above the best pictures of the background words
_LEAST_PRESENT = 0.5  # up to two words: things in most pictures ("people") never stand out

Scores = Float32[np.ndarray, " scores"]


@dataclass(frozen=True, eq=False)
class Scale:
    """The standard scores of one query."""

    direction: Float32[np.ndarray, " embed"]
    """Vectors are multiplied with it and searched by it; its length is not always 1."""
    null: float
    """The product expected of vectors that do not match."""
    spread: float
    match: float
    """The score expected of vectors that match."""

    def scores(self, vectors: Float[np.ndarray, "rows embed"]) -> Float32[np.ndarray, " rows"]:
        # einsum, since matrix products wake the threads of BLAS, which wait for each other where a
        # server answers several searches at once: a p95 was three times as long.
        products = np.einsum("ij,j->i", vectors, self.direction)
        return ((products - self.null) / self.spread).astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """The cosines of one language with a set of vectors: null cosines are `offset` + `slope` times
    the cosines with the background scenes, with a `spread` around that."""

    background: Background
    of_texts: bool
    """Whether the vectors come from texts."""
    offset: float
    slope: float
    spread: float
    shared: float
    """The mean cosine of the vectors with what all words share."""
    best: tuple[float, float]
    """Mean and spread over words of how far the product with the best vector exceeds the mean
    product of all words with that vector."""

    @classmethod
    def measure(
        cls,
        background: Background,
        vectors: Float32[np.ndarray, "rows embed"],
        *,
        of_texts: bool = False,
    ) -> "Calibration":
        """One vector is enough: it is compared with 200 words."""
        vectors = vectors[:: -(-len(vectors) // _SAMPLE)]
        products = vectors @ background.directions.T
        slope = robust_spread(products - median(products)) / background.spread
        predicted = slope * background.word_nulls
        offset = median(products - predicted)
        best = (products - products.mean(axis=1, keepdims=True)).max(axis=0)
        return cls(
            background=background,
            of_texts=of_texts,
            offset=offset,
            slope=slope,
            spread=robust_spread(products - predicted - offset),
            shared=float((vectors @ background.shared).mean()),
            best=(float(best.mean()), max(float(best.std()), SMALLEST)),
        )

    def scale(self, text: Float32[np.ndarray, " embed"], sentence: float) -> Scale:
        """`sentence` is the `sentence_weight` of the text. Words are searched for without the
        component that all words share, anything longer as the model embeds it."""
        background = self.background
        direction = background.without_shared(text)
        (low,), (high,) = background.levels(direction[None])
        match = max(_OF_BEST * self.slope * float(high - low) / self.spread, _LEAST_MATCH)
        wider = (_TEXT_SPREAD if self.of_texts else 1.0) * (1 + _SENTENCE_SPREAD * sentence)
        null = self.offset + self.slope * float(low)
        if sentence:
            null += float((text - direction) @ background.shared) * self.shared
            direction = text
        match = (match + _SENTENCE_MATCH * sentence) / wider
        return Scale(direction, null, self.spread * wider, match)

    def understood(
        self, vectors: Float32[np.ndarray, "rows embed"]
    ) -> Float32[np.ndarray, " rows"]:
        """How likely the model understands each text (0 to 1), judged by whether the best
        background word scores above chance."""
        products = np.einsum("ij,kj->ik", vectors, self.background.directions)
        predicted = self.offset + self.slope * self.background.word_nulls
        best = ((products - predicted) / self.spread).max(axis=1)
        return _logistic(_UNDERSTOOD_SLOPE * (best - _UNDERSTOOD))

    def presence(
        self,
        text: Float32[np.ndarray, " embed"],
        sentence: float,
        sample: Float32[np.ndarray, "rows embed"],
    ) -> "Presence":
        """`sample` stands for the collection."""
        direction = self.background.without_shared(text) - self.background.directions.mean(axis=0)
        scale = Scale(direction, *self.best, match=0.0)
        return Presence(
            scale, float(scale.scores(sample).max()), 0.0 if sentence else _LEAST_PRESENT
        )


@dataclass(frozen=True, eq=False)
class Presence:
    """Whether a collection holds anything that a text asks for."""

    scale: Scale
    best: float
    """The best score in a sample of the collection."""
    least: float

    def __call__(self, vectors: Float32[np.ndarray, "rows embed"]) -> Float32[np.ndarray, " rows"]:
        """The probability, from `least` to 1; the sample may miss the only picture that shows
        it."""
        best = np.maximum(self.scale.scores(vectors), self.best)
        present = _logistic(_PRESENT_SLOPE * (best - _PRESENT))
        return self.least + (1 - self.least) * present


# Of the best text for a question. On 320 paragraphs of this project's pages and 1,000 captions in
# both languages (seesay-text), nine of ten questions that a text there answers score above 3.0 in
# their own language and above 2.0 in the other; nine of ten about anything else below 2.2.
_ANSWERED, _ANSWERED_SLOPE = 2.75, 3.0


def text_scale(text: Float32[np.ndarray, " embed"], background: Background) -> Scale:
    """The scores of texts in the space of a text embedder: how much closer a text is to the query
    than to the background vocabulary in the query's language.

    Such models give all texts of a language high cosines. Without what the language has in common,
    the score means the same for every query and collection, and questions find texts in the other
    language. (The same idea as T-norm in speaker verification: Auckenthaler et al., Digital Signal
    Processing 10, 2000.)"""
    return Scale(text - background.centre, 0.0, background.spread_of_texts, _ANSWERED)


class AnswerLikelihood:
    """How likely a text answers a query, by its score on a `text_scale`."""

    share = 0.0

    def __call__(self, scores: Float[np.ndarray, "*rows"]) -> Float32[np.ndarray, "*rows"]:
        return _logistic(_ANSWERED_SLOPE * (np.asarray(scores, np.float32) - _ANSWERED))


class Mixture:
    """The posterior probability of a match, by standard score. It never falls as scores rise."""

    def __init__(self, match: float, scores: Scores, size: int | None = None) -> None:
        """`scores` are for a whole collection, or for a sample of a collection of `size`
        vectors."""
        shift, share, prior = _hypotheses(max(size or len(scores), 1))
        above = _SCORES[:, None] - shift
        with np.errstate(divide="ignore"):
            logit = np.log(share) - np.log1p(-share)
        odds = np.exp(np.clip(logit + match * (above - match / 2), None, 50))
        likelihood = np.log1p(odds) + np.log1p(-share) - above**2 / 2
        clipped = np.clip(scores, _SCORES[0], _SCORES[-1])
        steps = np.rint((clipped - _SCORES[0]) / _STEP).astype(np.int64)
        evidence = np.bincount(steps, minlength=len(_SCORES)).astype(float) @ likelihood
        weight = prior + min(1.0, _INDEPENDENT / max(len(scores), 1)) * evidence
        weight = np.exp(weight - weight.max())
        weight /= weight.sum()
        self._posterior = (odds / (1 + odds)) @ weight
        self.share = float(share @ weight)
        """The share of the collection that is expected to match."""

    def __call__(self, scores: Float[np.ndarray, "*rows"]) -> Float32[np.ndarray, "*rows"]:
        return np.interp(scores, _SCORES, self._posterior).astype(np.float32)


def _logistic(values: Float32[np.ndarray, " rows"]) -> Float32[np.ndarray, " rows"]:
    return (1 / (1 + np.exp(-np.clip(values, -50, 50)))).astype(np.float32)


def sentence_weight(text: str, language: Language) -> float:
    """0 for up to two words, 1 for a sentence; two Chinese characters count as a word."""
    words = len("".join(text.split())) / 2 if language == "zh" else len(text.split())
    return float(np.clip((words - _WORDS) / (_SENTENCE_WORDS - _WORDS), 0, 1))


def _hypotheses(
    size: int,
) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " h"], Float[np.ndarray, " h"]]:
    """Shifts, shares, and the logarithms of their prior weights. The least share is one vector."""
    low = np.geomspace(min(_LEAST_SHARE, 1 / size), 0.03, _LOW_SHARES)
    shares = np.array([0.0, *low, *_SHARES])
    shift, share = (grid.ravel() for grid in np.meshgrid(_SHIFTS, shares, indexing="ij"))
    prior = -((shift / _SHIFT_SPREAD) ** 2) / 2 + np.where(share == 0, np.log(_NO_MATCH), 0.0)
    return shift, share, prior

"""How likely it is that a picture, or a text, shows what was asked for: from cosines to chances.

A cosine says little by itself. Four steps make a probability of it; the first two need nothing but
the model's own `Background`, so that they are the same in a collection of one picture and for a
model that nobody has seen before.

1. `Level`: where the cosines of everyday words lie with the pictures at hand, and how far apart.
2. `Scale`: where those of this very query lie with pictures that do not show it, which is told by
   what the query has with the background's scenes; cosines become standard scores. What fits it
   lies `match` spreads higher: three fifths of what the scenes that fit it best reach, and more
   for a sentence, which says more than a word.
3. `Chance`: two groups. Standard scores of a collection are a mixture of pictures that show
   the query, N(shift + match, 1), and of others, N(shift, 1). Which share of them show it is the
   collection's secret, and the scale is off by some `shift`; both are summed over, weighted by how
   well they explain the collection's scores (Efron, Large-Scale Inference, 2010, chapters 2 and 6:
   the probability of the first group is 1 - local false discovery rate, and the null is an
   empirical one; Saerens et al., Neural Computation 14, 2002: shares from unlabelled data). So
   "people" may be on nine of ten pictures and "giraffe" on none.
4. A text counts for less where none of the everyday words fits it (`Level.understood`): the model,
   which has learnt from captions, does not understand it then, and puts it near to whatever it has
   seen most. "Children" found a note about buying GPUs with 60%.

The numbers below were fitted on 500 photographs of Flickr8k's dev split with seesay-mini, by words
that people use of them in captions, and count in spreads, not in cosines. Around these values the
result is flat. `benchmarks/confidence.py` prints what comes of it on photographs and with words
that none of them was fitted to.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from seesay.inference.background import Background, robust_spread
from seesay.inference.prompts import Language

_OF_BEST = 0.6  # of what the best scenes reach is reached by pictures that fit
# What a sentence says is in many pictures in part, so that its cosines lie further apart, and those
# of what fits lie so many spreads of a word higher.
_SENTENCE_SPREAD, _SENTENCE = 0.35, 0.5
_WORDS, _SENTENCE_WORDS = 2, 6  # so many words are no sentence yet, and surely one
_LEAST_MATCH = 2.5
_TEXTS = 1.15  # times as far apart lie cosines with texts
_SHIFTS = np.arange(-2, 1.75, 0.5)
_SHIFT_SPREAD = 1.2
_SHARES = (0.08, 0.2, 0.4, 0.6, 0.8, 0.95)  # and below them, evenly in their logarithm
_RARE, _RARE_SHARES = 0.001, 5
_NOTHING = 2.0  # prior weight of "nothing shows it", where each share has 1
_INDEPENDENT = 100  # scores count as no more than so many: pictures of a collection are alike
_STEP = 0.25
_SCORES = np.arange(-6, 10 + _STEP, _STEP)
# The best of 200 words reaches 2.8 with a text by chance, 3.0 with prose about software and 4.8
# with captions, of which 5% lie below 3.2.
_UNDERSTOOD, _STEEP = 3.2, 3.5

Scores = Float32[np.ndarray, " scores"]


@dataclass(frozen=True, eq=False)
class Scale:
    """The standard scores of one query: its cosines, less `null`, in spreads."""

    direction: Float32[np.ndarray, " embed"]
    """What vectors are multiplied with: the query without what all words share."""
    null: float
    spread: float
    match: float
    """Standard score of what fits."""

    def standard(self, products: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """From products with `direction`."""
        return ((products - self.null) / self.spread).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Level:
    """How the cosines of texts in one language lie with some pictures, or with some texts: at
    `offset` + `slope` times what they have with the scenes, with a `spread` around it."""

    background: Background
    texts: bool
    """Whether it was measured with texts."""
    offset: float
    slope: float
    spread: float

    @classmethod
    def measured(
        cls,
        background: Background,
        vectors: Float32[np.ndarray, "rows embed"],
        *,
        texts: bool = False,
    ) -> "Level":
        """One picture is enough: it is measured with 200 words."""
        products = vectors @ background.word_directions.T
        slope = robust_spread(products - np.median(products)) / background.spread
        expected = slope * background.word_lows
        offset = float(np.median(products - expected))
        spread = robust_spread(products - expected - offset)
        return cls(background, texts, offset, slope, spread)

    def scales(
        self, texts: Float32[np.ndarray, "texts embed"], sentence: Float[np.ndarray, " texts"]
    ) -> list[Scale]:
        """`sentence` is for each text `how_much_of_a_sentence` it is."""
        directions = self.background.direction(texts)
        nulls = self.offset + self.slope * self.background.lows(directions)
        best = self.offset + self.slope * self.background.highs(directions)
        matches = np.maximum(_OF_BEST * (best - nulls) / self.spread, _LEAST_MATCH)
        wider = (_TEXTS if self.texts else 1.0) * (1 + _SENTENCE_SPREAD * sentence)
        matches = (matches + _SENTENCE * sentence) / wider
        return [
            Scale(direction, float(null), float(spread), float(match))
            for direction, null, spread, match in zip(
                directions, nulls, self.spread * wider, matches, strict=True
            )
        ]

    def understood(
        self, vectors: Float32[np.ndarray, "rows embed"]
    ) -> Float32[np.ndarray, " rows"]:
        """How likely it is that the model understands texts, from 0 to 1: whether any of the
        everyday words fits them better than chance would have it."""
        words = self.background
        products = np.einsum("ij,kj->ik", vectors, words.word_directions)
        expected = self.offset + self.slope * words.word_lows
        best = ((products - expected) / self.spread).max(axis=1)
        odds = np.exp(np.clip(_STEEP * (best - _UNDERSTOOD), -50, 50))
        return (odds / (1 + odds)).astype(np.float32)


class Chance:
    """The probability of standard scores, given those of a collection. It never falls as the score
    rises."""

    def __init__(self, match: float, scores: Scores, size: int | None = None) -> None:
        """`scores` are those of a sample of `size` rows, or of all of them."""
        size = len(scores) if size is None else size
        shift, share, prior = _hypotheses(max(size, 1))
        above = _SCORES[:, None] - shift
        with np.errstate(divide="ignore"):
            logit = np.log(share) - np.log1p(-share)
        odds = np.exp(np.clip(logit + match * (above - match / 2), None, 50))
        explained = np.log1p(odds) + np.log1p(-share) - above**2 / 2
        evidence = _counted(scores) @ explained
        weight = prior + min(1.0, _INDEPENDENT / max(len(scores), 1)) * evidence
        weight = np.exp(weight - weight.max())
        weight /= weight.sum()
        self._curve = (odds / (1 + odds)) @ weight
        self.share = float(share @ weight)
        """How much of the collection shows it, as far as its scores tell."""

    def __call__(self, scores: Float[np.ndarray, "*rows"]) -> Float32[np.ndarray, "*rows"]:
        return np.interp(scores, _SCORES, self._curve).astype(np.float32)


def how_much_of_a_sentence(text: str, language: Language) -> float:
    """0 for a word or two, 1 for a sentence; two Chinese characters count as a word."""
    words = len("".join(text.split())) / 2 if language == "zh" else len(text.split())
    return float(np.clip((words - _WORDS) / (_SENTENCE_WORDS - _WORDS), 0, 1))


def _hypotheses(
    size: int,
) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " h"], Float[np.ndarray, " h"]]:
    """Shifts, shares and the logarithm of their prior weights. Shares reach down to one row."""
    rare = np.geomspace(min(_RARE, 1 / size), 0.03, _RARE_SHARES)
    shares = np.array([0.0, *rare, *_SHARES])
    shift, share = (grid.ravel() for grid in np.meshgrid(_SHIFTS, shares, indexing="ij"))
    prior = -((shift / _SHIFT_SPREAD) ** 2) / 2 + np.where(share == 0, np.log(_NOTHING), 0.0)
    return shift, share, prior


def _counted(scores: Scores) -> Float[np.ndarray, " steps"]:
    """How many scores lie at each of the steps."""
    at = np.rint((scores - _SCORES[0]) / _STEP).astype(np.int64)
    return np.bincount(np.clip(at, 0, len(_SCORES) - 1), minlength=len(_SCORES)).astype(float)

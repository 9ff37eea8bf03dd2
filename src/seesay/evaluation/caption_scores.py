"""Scores of captions against those that people wrote: BLEU, ROUGE-L and CIDEr.

    captions = tokenize("ptb@1", ["a dog runs"])
    references = [tokenize("ptb@1", ["A dog is running.", "a brown dog runs on grass"])]
    score_captions(captions, references, ["bleu4/coco@1", "rouge_l/coco@1"])

A figure means something only beside others of the same scorer, so each has a name, the code whose
results it gives, and a version, which never changes: `cider/coco@1` is what pycocoevalcap 1.2, and
with it nearly every paper, calls CIDEr. A new scorer is a function and a line in SCORERS.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from seesay.errors import DataError
from seesay.evaluation.caption_tokens import Tokens
from seesay.text import Text

ORDERS = 4
"""BLEU and CIDEr compare runs of up to this many tokens."""
BETA = 1.2
"""Weight of the recall in ROUGE-L."""
SIGMA = 6.0
"""Standard deviation of the length penalty of CIDEr-D, in tokens."""


class Candidate(NamedTuple):
    """A caption to be scored, and those that people wrote for the same picture."""

    tokens: Tokens
    references: tuple[Tokens, ...]


@dataclass(frozen=True)
class Frequencies:
    """In how many documents each n-gram occurs. A document is all references of one picture."""

    documents: int
    counts: Mapping[Tokens, int]

    @classmethod
    def of(cls, references: Iterable[Sequence[Tokens]]) -> "Frequencies":
        """Counts the n-grams in the references of each picture."""
        counts: Counter[Tokens] = Counter()
        documents = 0
        for some in references:
            counts.update({ngram for tokens in some for ngram in ngrams(tokens)})
            documents += 1
        return cls(documents, counts)

    def rarity(self, ngram: Tokens) -> float:
        """Logarithm of the inverse document frequency; an unknown n-gram counts as seen once."""
        return math.log(self.documents) - math.log(max(1, self.counts.get(ngram, 0)))


def ngrams(tokens: Tokens, order: int | None = None) -> Counter[Tokens]:
    """How often each run of `order` tokens occurs; of one to four tokens without an order."""
    lengths = range(1, ORDERS + 1) if order is None else (order,)
    return Counter(
        tokens[at : at + length] for length in lengths for at in range(len(tokens) - length + 1)
    )


def bleu(candidates: Sequence[Candidate], _: Frequencies | None = None, *, order: int) -> float:
    """BLEU of the whole corpus (Papineni et al. 2002): the geometric mean of the precisions of runs
    of 1 to `order` tokens, less if the captions are shorter than the references nearest in length.
    Of two equally near ones, the shorter counts."""
    right, written = [0] * order, [0] * order
    length = nearest = 0
    for tokens, references in candidates:
        length += len(tokens)
        nearest += min((abs(len(one) - len(tokens)), len(one)) for one in references)[1]
        for number in range(order):
            allowed: Counter[Tokens] = Counter()
            for one in references:
                allowed |= ngrams(one, number + 1)
            found = ngrams(tokens, number + 1)
            right[number] += (found & allowed).total()
            written[number] += found.total()
    # pycocoevalcap adds the same small numbers, so that nothing is divided by 0.
    precision = math.prod((r + 1e-15) / (w + 1e-9) for r, w in zip(right, written, strict=True))
    ratio = (length + 1e-15) / (nearest + 1e-9)
    return precision ** (1 / order) * (math.exp(1 - 1 / ratio) if ratio < 1 else 1.0)


def rouge_l(candidates: Sequence[Candidate], _: Frequencies | None = None) -> list[float]:
    """ROUGE-L of each caption (Lin 2004): precision and recall of the longest common subsequence,
    each the best of all references, in one number that leans to the recall."""
    return [_rouge_l(*one) for one in candidates]


def _rouge_l(tokens: Tokens, references: tuple[Tokens, ...]) -> float:
    # pycocoevalcap splits an empty caption into one empty token.
    tokens, references = tokens or ("",), tuple(one or ("",) for one in references)
    common = [(_longest_common(tokens, one), len(one)) for one in references]
    precision = max(found for found, _ in common) / len(tokens)
    recall = max(found / length for found, length in common)
    if not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _longest_common(one: Tokens, other: Tokens) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for token in one:
        before = 0  # what stands to the upper left
        for at, second in enumerate(other, 1):
            above = row[at]
            row[at] = before + 1 if token == second else max(above, row[at - 1])
            before = above
    return row[-1]


def cider_d(candidates: Sequence[Candidate], frequencies: Frequencies | None = None) -> list[float]:
    """CIDEr-D of each caption (Vedantam et al. 2015), from 0 to 10: cosines of n-gram vectors
    weighted by rarity, where repeating an n-gram gains nothing and another length than the
    reference's costs."""
    return _cider(candidates, frequencies, clipped=True)


def cider(candidates: Sequence[Candidate], frequencies: Frequencies | None = None) -> list[float]:
    """CIDEr of each caption without what the -D adds, from 0 to 10, and without the stemming of the
    paper."""
    return _cider(candidates, frequencies, clipped=False)


def _cider(
    candidates: Sequence[Candidate], frequencies: Frequencies | None, *, clipped: bool
) -> list[float]:
    if frequencies is None:
        frequencies = Frequencies.of(one.references for one in candidates)
    return [
        10 * _mean(_similarity(vectors, _Vectors.of(one, frequencies), clipped) for one in written)
        for vectors, written in (
            (_Vectors.of(tokens, frequencies), references) for tokens, references in candidates
        )
    ]


@dataclass(frozen=True)
class _Vectors:
    """The n-grams of a caption, weighted by rarity; one vector for each length of n-grams."""

    weights: tuple[Mapping[Tokens, float], ...]
    norms: tuple[float, ...]
    length: int

    @classmethod
    def of(cls, tokens: Tokens, frequencies: Frequencies) -> "_Vectors":
        weights: tuple[dict[Tokens, float], ...] = tuple({} for _ in range(ORDERS))
        for ngram, count in ngrams(tokens).items():
            weights[len(ngram) - 1][ngram] = count * frequencies.rarity(ngram)
        norms = tuple(math.hypot(*one.values()) for one in weights)
        return cls(weights, norms, len(tokens))


def _similarity(candidate: _Vectors, reference: _Vectors, clipped: bool) -> float:
    """Mean over the lengths of n-grams."""
    total = 0.0
    for number in range(ORDERS):
        norms = candidate.norms[number] * reference.norms[number]
        if not norms:
            continue
        theirs = reference.weights[number]
        for ngram, weight in candidate.weights[number].items():
            if (other := theirs.get(ngram)) is not None:
                total += (min(weight, other) if clipped else weight) * other / norms
    if clipped:
        total *= math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
    return total / ORDERS


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)


Scorer = Callable[[Sequence[Candidate], Frequencies | None], float]
"""Higher is better. Without frequencies, those of the references count."""
EACH: dict[str, Callable[[Sequence[Candidate], Frequencies | None], list[float]]] = {
    "rouge_l/coco@1": rouge_l,
    "cider/coco@1": cider_d,
    "cider_plain/vrama91@1": cider,
}
"""Those that score each caption; the score of several is the mean."""


def _mean_of(
    candidates: Sequence[Candidate], frequencies: Frequencies | None = None, *, scorer: str
) -> float:
    return _mean(EACH[scorer](candidates, frequencies))


SCORERS: dict[str, Scorer] = {
    **{f"bleu{order}/coco@1": partial(bleu, order=order) for order in range(1, ORDERS + 1)},
    **{name: partial(_mean_of, scorer=name) for name in EACH},
}
"""Scorers by name, origin and version."""


def score_captions(
    captions: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    scorers: Iterable[str],
    frequencies: Frequencies | None = None,
) -> dict[str, float]:
    """Returns each score of the captions by the name of its scorer. `references` has those of each
    picture. Raises DataError if a picture has none, or their number is not that of the captions."""
    if len(captions) != len(references) or not captions or not all(references):
        without = sum(not some for some in references)
        raise DataError(
            Text(
                f"there are {len(captions)} captions, and references for {len(references)} "
                f"pictures, of which {without} have none; expected at least one caption, and at "
                "least one reference for each: add them, or leave those pictures out",
                f"有 {len(captions)} 条描述和 {len(references)} 张图片的参考描述，其中 {without} "
                "张没有；至少应有一条描述，且每条都应有参考；请补上，或去掉这些图片",
            )
        )
    candidates = [
        Candidate(tokens, tuple(some)) for tokens, some in zip(captions, references, strict=True)
    ]
    return {name: SCORERS[name](candidates, frequencies) for name in scorers}


def write_frequencies(file: Path, frequencies: Mapping[str, Frequencies]) -> None:
    """Write document frequencies by tokenizer as JSON."""
    content = {
        tokenizer: {
            "documents": one.documents,
            "ngrams": {" ".join(ngram): count for ngram, count in one.counts.items()},
        }
        for tokenizer, one in frequencies.items()
    }
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def read_frequencies(file: Path, tokenizers: Iterable[str]) -> dict[str, Frequencies]:
    """Returns the document frequencies of a file by tokenizer. Raises DataError if it does not hold
    those of all `tokenizers`."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {one: _frequencies(content[one]) for one in tokenizers}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"ptb@1": {"documents": 40504, "ngrams": {"a dog": 3120, ...}}}'
        raise DataError(
            Text(
                f"{file} has no document frequencies of {', '.join(tokenizers)} ({error!r}); "
                f"expected JSON such as {form}: write it with Captions.write_frequencies",
                f"{file} 里没有 {'、'.join(tokenizers)} 的文档频率（{error!r}）；应为 JSON，形如 "
                f"{form}；请用 Captions.write_frequencies 生成",
            )
        ) from None


def _frequencies(found: Any) -> Frequencies:
    """Raises ValueError, KeyError, TypeError or AttributeError if they are impossible."""
    documents = found["documents"]
    counts = {tuple(ngram.split(" ")): count for ngram, count in found["ngrams"].items()}
    numbers = (documents, *counts.values())
    if not all(isinstance(one, int) and 1 <= one <= documents for one in numbers):
        raise ValueError(f"a number that is not between 1 and {documents} documents")
    return Frequencies(documents, counts)

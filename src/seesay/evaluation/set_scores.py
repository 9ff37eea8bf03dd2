"""Scores of captions and of retrieval, which are formed over a whole set of answers."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from seesay.evaluation import caption_scores
from seesay.evaluation.caption_tokens import Tokens, tokenize
from seesay.evaluation.retrieval import KS, recalls
from seesay.evaluation.scoring import Scorer, Tools, Truth, Values, Verdict, share


def _caption(answer: str, _: Truth, __: Tools) -> Verdict:
    return Verdict(parsed=answer.strip(), score=0.0)


def _tokens(
    verdicts: Sequence[Verdict], truths: Sequence[Truth], tokenizer: str
) -> tuple[tuple[Tokens, ...], list[tuple[Tokens, ...]]]:
    captions = tokenize(tokenizer, [one.parsed or "" for one in verdicts])
    return captions, [tokenize(tokenizer, truth.answers) for truth in truths]


def _caption_score(
    verdicts: Sequence[Verdict], truths: Sequence[Truth], *, scorer: str, tokenizer: str
) -> Values:
    scores = caption_scores.score_captions(*_tokens(verdicts, truths, tokenizer), [scorer])
    return {scorer.partition("/")[0]: scores[scorer]}


def _score_of_each(
    verdicts: Sequence[Verdict], truths: Sequence[Truth], *, scorer: str, tokenizer: str
) -> list[float]:
    pairs = zip(*_tokens(verdicts, truths, tokenizer), strict=True)
    candidates = [caption_scores.Candidate(one, tuple(some)) for one, some in pairs]
    return caption_scores.EACH[scorer](candidates, None)


def captions(scorer: str, tokenizer: str) -> Scorer:
    """The scorer of captions with this tokenizer."""
    by_caption = scorer in caption_scores.EACH
    return Scorer(
        _caption,
        partial(_caption_score, scorer=scorer, tokenizer=tokenizer),
        f"{scorer} of a caption over the tokens of {tokenizer}",
        f"描述的 {scorer} 分数，分词方式 {tokenizer}",
        figure=scorer.partition("/")[0],
        best=None,
        whole=not by_caption,
        each=partial(_score_of_each, scorer=scorer, tokenizer=tokenizer) if by_caption else None,
    )


def ranks(answer: str, truth: Truth, _: Tools) -> Verdict:
    """The ranks of the relevant results, from 0, in an answer that is a ranking, one name a line.
    The score is that of the first: 1 divided by its rank from 1."""
    names = answer.splitlines()
    ranks = sorted(names.index(name) for name in set(truth.answers) if name in names)
    score = 1 / (1 + ranks[0]) if ranks else 0.0
    return Verdict(parsed=" ".join(map(str, ranks)), score=score)


def recall_any(verdicts: Sequence[Verdict], _: Sequence[Truth]) -> Values:
    """Recall at 1, 5 and 10, where any relevant result is enough."""
    first = [int(one.parsed.split()[0]) if one.parsed else max(KS) for one in verdicts]
    values = {f"r{k}": recall for k, recall in recalls(np.array(first, dtype=np.int64)).items()}
    return values | {"mean": share(values.values())}


def recall_share(verdicts: Sequence[Verdict], truths: Sequence[Truth]) -> Values:
    """Recall at 1, 5 and 10: the share of the relevant results."""
    pairs = [
        ([int(rank) for rank in (verdict.parsed or "").split()], len(set(truth.answers)))
        for verdict, truth in zip(verdicts, truths, strict=True)
    ]
    values = {
        f"r{k}": share(sum(rank < k for rank in ranks) / relevant for ranks, relevant in pairs)
        for k in KS
    }
    return values | {"mean": share(values.values())}

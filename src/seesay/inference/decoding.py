"""What decoding takes and gives: its settings, the tokens it writes and their text.

Works without torch; `seesay.inference.generation` chooses the tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from tokenizers import Tokenizer

from seesay.data.vocabularies import library_errors
from seesay.errors import ConfigError
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.models.token_reduction import TokenReduction

DIFFUSION_STEPS = 1000
"""Diffusion steps of the noise that visual contrastive decoding adds to a picture."""


@dataclass(frozen=True, kw_only=True)
class ContrastConfig:
    """Visual contrastive decoding: penalises tokens that are also likely given a noised picture
    (VCD, Leng et al. 2024, arXiv 2311.16922)."""

    alpha: float = 1.0
    """Strength: a token's logit grows by this times its difference from the logit with the noised
    picture."""
    beta: float = 0.1
    """Drop tokens less likely than this fraction of the most likely token's probability."""
    noise_step: int = 500
    """Noise in the other picture, in diffusion steps out of 1000: after 500, about a quarter of its
    variance is noise."""

    def __post_init__(self) -> None:
        if (
            not (isfinite(self.alpha) and self.alpha >= 0)
            or not 0 < self.beta <= 1
            or not 1 <= self.noise_step <= DIFFUSION_STEPS
        ):
            given = f"alpha={self.alpha}, beta={self.beta}, noise_step={self.noise_step}"
            raise ConfigError(
                Text(
                    f"{given} contrast no pictures; expected alpha of at least 0, beta above 0 and "
                    f"up to 1, and a step from 1 to {DIFFUSION_STEPS}. Correct them, or leave them "
                    "out.",
                    f"{given} 无法对比图片；alpha 应不小于 0，beta 应大于 0 且不超过 1，noise_step "
                    f"应为 1 到 {DIFFUSION_STEPS}；请改正或省略",
                )
            )


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How pictures are read, and how the next token is chosen."""

    temperature: float = 0.0
    """0 always takes the most likely token. Above 0, tokens are sampled: 1 uses the model's own
    probabilities, and higher values make unlikely tokens likelier."""
    top_k: int = 0
    """Sample from this many of the most likely tokens; 0 means all."""
    top_p: float = 1.0
    """Sample from the smallest set of most likely tokens whose probabilities add up to this."""
    seed: int | None = None
    """The same seed gives a question the same answer, alone or in a batch; None gives a new one
    each time."""
    beams: int | None = None
    """Beam search width; only at temperature 0. None: the model's own for captions, else 1."""
    contrast: ContrastConfig | None = None
    """Visual contrastive decoding, which reduces answers that the picture does not support."""
    reduction: "TokenReduction | None" = None
    """Fewer tokens per picture: FastV or PruMerge."""

    def __post_init__(self) -> None:
        beams = 1 if self.beams is None else self.beams
        if self.contrast is not None and beams > 1:
            raise ConfigError(
                Text(
                    f"beams={self.beams} and contrast are both set; expected only one: "
                    "leave the other out.",
                    f"beams={self.beams} 与 contrast 不能同时使用；应只用其一；请去掉另一项",
                )
            )
        impossible = (
            not (isfinite(self.temperature) and self.temperature >= 0)
            or not 0 < self.top_p <= 1
            or self.top_k < 0
            or beams < 1
        )
        if impossible or (beams > 1 and self.temperature > 0):
            given = (
                f"temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}, "
                f"beams={self.beams}"
            )
            raise ConfigError(
                Text(
                    f"{given} choose no token; expected temperature and top_k of at least 0, top_p "
                    "above 0 and up to 1, and at least one beam, several only with temperature=0. "
                    "Correct them, or leave them out.",
                    f"{given} 选不出词元；temperature 和 top_k 应不小于 0，top_p 应大于 0 且不超过 "
                    "1，beams 至少为 1，大于 1 时 temperature 应为 0；请改正或省略",
                )
            )


class WrittenToken(NamedTuple):
    id: int
    log_probability: float
    """Natural logarithm of its probability before `DecodingConfig` applies."""


class TextStream:
    """Tokens one by one -> the text that is certain so far.

    A character may span several tokens and appears once it is complete. White space at either end
    is dropped; inside, it appears with the text that follows it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # Text is compared from `_start` on: a token may be decoded differently after others. Text
        # before `_done` has been returned.
        self._start, self._done = 0, 0
        self._space = ""
        self._begun = False

    def add(self, token: int) -> str:
        """Returns the text that has become certain."""
        self._ids.append(token)
        return self._new(whole=False)

    def end(self) -> str:
        """Returns the rest, with an incomplete character as U+FFFD."""
        return self._new(whole=True)

    def _new(self, whole: bool) -> str:
        before = self._decode(self._ids[self._start : self._done])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or (now.endswith("\ufffd") and not whole):
            return ""
        new = now[len(before) :]
        if not now.startswith(before):  # invalid bytes change how those before them decode
            new = self._decode(self._ids[self._done :])
        self._start, self._done = self._done, len(self._ids)
        return self._stripped(new)

    def _stripped(self, new: str) -> str:
        text = self._space + new
        if not self._begun:
            text = text.lstrip()
        kept = text.rstrip()
        self._space = text[len(kept) :]
        self._begun = self._begun or bool(kept)
        return kept

    def _decode(self, ids: list[int]) -> str:
        return decode(ids, self._tokenizer) if ids else ""


def text_of(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Returns the joined text of a stream of these tokens."""
    stream = TextStream(tokenizer)
    return "".join([*map(stream.add, ids), stream.end()])


def decode(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Returns the text of tokens, without special ones."""
    with library_errors("the tokenizer"):
        return tokenizer.decode(list(ids), skip_special_tokens=True)

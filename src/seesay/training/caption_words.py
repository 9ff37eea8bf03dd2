"""An objective for searches by a single word: it pulls a word towards the images whose captions
contain it, and away from all others."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seesay.data.tokenizer import Tokenizer
from seesay.data.words import chinese_words
from seesay.errors import ConfigError
from seesay.models.layers import require_range
from seesay.objectives.exchange import connect, gather_objects, mean_over_processes
from seesay.objectives.objective import (
    TOWERS,
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    SourceBatch,
    View,
)
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text
from seesay.training.class_names import first_tokens

MOST = 1 / 3  # of the captions of a step; words in more, such as "the", tell nothing


@dataclass(frozen=True, kw_only=True)
class WordsConfig(ObjectiveConfig):
    """Pull single words towards the images whose captions contain them."""

    words: int = 48
    """Words of each language in a step, drawn from its captions; more frequent ones more often."""
    meanings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further words, in any language, that count as a word: people = ["man", "孩"]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range(2, words=self.words)

    @property
    def trains(self) -> tuple[str, ...]:
        return (*TOWERS, "log_scale")

    def make(self, context: ObjectiveContext) -> Objective:
        return Words(self, context)

    def texts(self) -> Iterable[str]:
        return self.meanings


class Words:
    """The objective of WordsConfig. All processes draw the same words in a step."""

    def __init__(self, config: WordsConfig, context: ObjectiveContext) -> None:
        self._config, self._seed = config, context.seed
        self._tokenizer: Tokenizer = context.bundle.tokenizer
        self._images = View("images", config.source)
        self._words = View("texts", f"objective {context.name}")
        self.drawn: list[list[str]] = []
        """The words of the last step, language by language."""
        self._said: list[Tensor] = []

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._config.source]
        rng = np.random.default_rng([self._seed, batch.step, 4])
        words = [self._draw(own, language, rng) for language in ("en", "zh")]
        self.drawn = [of_language for of_language in words if len(of_language) > 1]
        if not self.drawn:
            raise ConfigError(
                Text(
                    f"the captions of {self._config.source!r} in step {batch.step} have no two "
                    "words that only some of them say, expected captions of different images: give "
                    "others, a larger batch, or remove the objective of kind 'words'",
                    f"{self._config.source!r} 在第 {batch.step} 步的描述里找不到两个只出现在部分"
                    "描述中的词；应有不同图片的描述；请换数据、调大 batch，或去掉 words 目标",
                )
            )
        self._said = [self._say(own, of_language) for of_language in self.drawn]
        ids = first_tokens(self._tokenizer, [word for part in self.drawn for word in part])
        return {self._images: own.images, self._words: ids}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        images, texts = outputs[self._images], outputs[self._words]
        parts = texts.split([said.shape[1] for said in self._said])
        losses = [
            words_loss(images, words, log_scale, said.to(images.device))
            for words, said in zip(parts, self._said, strict=True)
        ]
        return torch.stack(losses).mean()

    def _draw(self, own: SourceBatch, language: str, rng: np.random.Generator) -> list[str]:
        """Draws the words of a language for this step, the same in all processes."""
        captions = [
            text for text, of in zip(own.texts, own.languages, strict=True) if of == language
        ]
        everyone = gather_objects((len(captions), Counter(self._words_of(captions, language))))
        most = MOST * sum(number for number, _ in everyone)
        counts: Counter[str] = sum((counter for _, counter in everyone), Counter())
        known = self._config.meanings
        words = sorted(word for word, count in counts.items() if count <= most or word in known)
        weights = np.array([counts[word] for word in words], dtype=float)
        number = min(self._config.words, len(words))
        drawn = rng.choice(words, number, replace=False, p=weights / weights.sum()) if words else ()
        return [str(word) for word in drawn]

    def _words_of(self, captions: Sequence[str], language: str) -> Iterable[str]:
        """Yields the words of each caption once, and those of `meanings` that it stands for."""
        cut = _words_of_english if language == "en" else chinese_words()
        known = {
            word: self._pattern(word)
            for word in self._config.meanings
            if _is_chinese(word) is (language == "zh")
        }
        for caption in captions:
            meant = (word for word, pattern in known.items() if pattern.search(caption))
            yield from {*cut(caption), *meant}

    def _say(self, own: SourceBatch, words: Sequence[str]) -> Bool[Tensor, "images words"]:
        """Returns whether an image's captions, in any language, contain a word or one of the same
        meaning."""
        patterns = [self._pattern(word) for word in words]
        said = np.zeros((len(own.images), len(words)), dtype=bool)
        for text, owner in zip(own.texts, own.owners.tolist(), strict=True):
            said[owner] |= [pattern.search(text) is not None for pattern in patterns]
        return torch.from_numpy(said)

    def _pattern(self, word: str) -> re.Pattern[str]:
        return _pattern((word, *self._config.meanings.get(word, ())))


def words_loss(
    image_embeds: Float[Tensor, "images embed"],
    word_embeds: Float[Tensor, "words embed"],
    log_scale: Float[Tensor, ""],
    said: Bool[Tensor, "images words"],
) -> Float[Tensor, ""]:
    """Returns the mean of two softmax losses: each word against the images of all processes, and
    each image against the words. An image without any of the words counts only in the first.

    `said` tells which words an image's captions contain. All processes pass the same words. Several
    positives share the probability evenly, as in supervised contrastive learning (Khosla et al.
    2020, arXiv 2004.11362, equation 2).
    """
    exchange = connect("gather", image_embeds, word_embeds)
    everyones = at_least_float32(exchange.every_image(image_embeds))
    with torch.autocast(image_embeds.device.type, enabled=False):
        images, words = at_least_float32(image_embeds), at_least_float32(word_embeds)
        logits = log_scale.exp() * images @ words.T
        over_images = (log_scale.exp() * everyones @ words.T).logsumexp(0)
    images_of_words, words_of_images = exchange.total(said.sum(0)), said.sum(1)
    of_words = (said * (over_images - logits) / images_of_words.clamp(min=1)).sum()
    of_images = (said * -logits.log_softmax(1) / words_of_images.clamp(min=1)[:, None]).sum()
    # Words belong to no process: the first one counts them.
    words_said = images_of_words.count_nonzero() if exchange.rank == 0 else 0
    parts = [
        mean_over_processes(of_words, words_said),
        mean_over_processes(of_images, words_of_images.count_nonzero()),
    ]
    return torch.stack(parts).mean()


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Returns a pattern that finds any of the words, English ones also in the plural."""
    forms = [
        re.escape(one) if _is_chinese(one) else rf"\b{re.escape(one)}(?:e?s)?\b" for one in words
    ]
    return re.compile("|".join(forms), re.IGNORECASE)


def _is_chinese(word: str) -> bool:
    return not word.isascii()


def _words_of_english(caption: str) -> list[str]:
    return re.findall(r"[a-z]{2,}", caption.lower())

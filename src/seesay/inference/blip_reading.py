"""How the BLIP family sees pictures and reads prompts: queries that may read the question
(InstructBLIP), a prompt encoded as a whole (Flan-T5), and a captioner that rereads its text for
each token (BLIP).

Prompts are not cached here: encodings depend on the whole prompt.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seesay.data.squares import ImageTransformConfig
from seesay.errors import DataError
from seesay.inference.generation import Cache
from seesay.inference.prompt_reading import padded
from seesay.inference.request import Request, VisualInput, VisualInputs
from seesay.inference.visual_inputs import PictureInputs, see_squares
from seesay.models.blip import BlipCaptioner
from seesay.models.blip2 import Blip2
from seesay.models.cache import KeyValueCache
from seesay.models.t5 import T5
from seesay.text import Text


class QueryInputs(PictureInputs):
    """BLIP-2 and InstructBLIP: one square per picture, summarised by a few queries; those of
    InstructBLIP also read the prompt."""

    model: Blip2

    def __init__(
        self, model: Blip2, square: ImageTransformConfig, words: Tokenizer | None = None
    ) -> None:
        """`words` is the Q-Former's tokenizer, if it reads texts."""
        super().__init__(model, square, model.config.qformer.queries)
        self._words = words

    def about(self, one: VisualInput, text: str) -> VisualInput:
        if self._words is None:
            return one
        limit = self.model.config.qformer.context
        return one.reading(tuple(self._words.encode(text).ids[:limit]))

    def see(self, inputs: Sequence[VisualInput]) -> Tensor:
        patches = see_squares(self.model, self.model.patches, self._transform, inputs)
        if self._words is None:
            return self.model.gather(patches).flatten(0, 1)
        ids = [torch.tensor(one.instruction, device=patches.device) for one in inputs]
        read = pad_sequence(ids, batch_first=True)
        lengths = torch.tensor([len(one) for one in ids], device=patches.device)
        real = torch.arange(read.shape[1], device=patches.device) < lengths[:, None]
        return self.model.gather(patches, read, real).flatten(0, 1)


class EncodedReading:
    """Prompts encoded by Flan-T5, and the `NextLogits` that continue from them."""

    def __init__(
        self,
        language: T5,
        encoded: Float[Tensor, "rows read dim"],
        mask: Bool[Tensor, "rows read"],
    ) -> None:
        self.language, self.encoded, self.mask = language, encoded, mask
        self.cache = KeyValueCache()
        begin = torch.zeros(len(encoded), 1, dtype=torch.long, device=encoded.device)
        hidden = language(language.embed(begin), encoded, mask, self.cache)
        self.logits = language.logits(hidden)[:, -1]

    @torch.no_grad()
    def __call__(
        self, ids: Int[Tensor, "rows written"], cache: Cache | None
    ) -> tuple[Float[Tensor, "rows vocab"], Cache | None]:
        """Returns the logits of the next tokens, as Reading does."""
        beams = len(ids) // len(self.logits)
        rows = torch.arange(len(self.logits), device=self.logits.device).repeat_interleave(beams)
        if cache is None:
            return self.logits[rows], self.cache if beams == 1 else self.cache.select(rows)
        assert isinstance(cache, KeyValueCache)
        last = ids[:, -1:].to(rows.device).clamp(max=self.logits.shape[1] - 1)
        embeds = self.language.embed(last)
        hidden = self.language(embeds, self.encoded[rows], self.mask[rows], cache)
        return self.language.logits(hidden)[:, -1], cache


class EncodedReader:
    """Reads prompts with an encoder-decoder model."""

    def __init__(self, model: Blip2, inputs: VisualInputs, device: torch.device) -> None:
        self.model, self.inputs, self.device = model, inputs, device

    @torch.no_grad()
    def read(self, requests: Sequence[Request]) -> EncodedReading:
        """Reads prompts, one per row."""
        ids, mask = (one.to(self.device) for one in padded([one.ids for one in requests]))
        unread = [one for request in requests for one in request.inputs]
        rows = self.inputs.see(unread) if unread else None
        language = self.model.language
        assert isinstance(language, T5) and not isinstance(rows, tuple)
        encoded = language.encode(self.model.embed(ids, rows), mask)
        return EncodedReading(language, encoded, mask)


class CaptionReading:
    """The beginnings of captions, and the `NextLogits` that continue from them. Texts of equal
    length are read together."""

    def __init__(
        self,
        model: BlipCaptioner,
        patches: Float[Tensor, "rows patches dim"],
        begun: Sequence[Sequence[int]],
    ) -> None:
        self.model, self.patches, self.begun = model, patches, begun
        self.logits = self._next(range(len(begun)), begun)

    @torch.no_grad()
    def __call__(
        self, ids: Int[Tensor, "rows written"], cache: Cache | None
    ) -> tuple[Float[Tensor, "rows vocab"], Cache | None]:
        """Returns the logits of the next tokens, as Reading does."""
        beams = len(ids) // len(self.begun)
        rows = [row // beams for row in range(len(ids))]
        written = ids.clamp(max=self.logits.shape[1] - 1).tolist()
        return self._next(
            rows, [[*self.begun[row], *more] for row, more in zip(rows, written, strict=True)]
        ), None

    def _next(
        self, rows: Sequence[int], texts: Sequence[Sequence[int]]
    ) -> Float[Tensor, "rows vocab"]:
        order = sorted(range(len(rows)), key=lambda at: len(texts[at]))
        parts = []
        for _, some in groupby(order, key=lambda at: len(texts[at])):
            places = list(some)
            ids = torch.tensor([texts[at] for at in places], device=self.patches.device)
            patches = self.patches[[rows[at] for at in places]]
            parts.append(self.model(patches, ids)[:, -1])
        back = torch.tensor(order, device=self.patches.device).argsort()
        return torch.cat(parts)[back]


class CaptionReader:
    """Reads the beginnings of captions with a BLIP captioner."""

    def __init__(self, model: BlipCaptioner, inputs: VisualInputs, device: torch.device) -> None:
        self.model, self.inputs, self.device = model, inputs, device

    @torch.no_grad()
    def read(self, requests: Sequence[Request]) -> CaptionReading:
        """Reads prompts, one per row. Raises DataError for one without a picture."""
        if any(len(one.inputs) != 1 for one in requests):
            raise DataError(
                Text(
                    "no picture was given; expected one, since this model only continues the "
                    "caption of a picture. Give a picture.",
                    "没有给出图片；应有一张，因为该模型只会接着写图片的描述；请给出图片",
                )
            )
        patches = self.inputs.see([one.inputs[0] for one in requests])
        assert isinstance(patches, Tensor)
        # A caption's picture is not in its prompt, so it takes no placeholders.
        begun = [one.ids[one.images_end :] for one in requests]
        return CaptionReading(self.model, patches, begun)

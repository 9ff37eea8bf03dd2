"""Reads prompts with a vision-language model, and shared beginnings only once.

    reader = PromptReader(model, inputs, device)
    reading = reader.read([request, another])   # the model's state after them
    write_tokens(reading, 2, ...)               # continues from there

A prompt is cached up to its last picture, so another question about the same pictures, or the next
turn of a conversation, reads only what is new.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seesay.inference.generation import Cache
from seesay.inference.request import Request, VisualInput, VisualInputs
from seesay.inference.visual_inputs import SquareInputs, grids_at
from seesay.models.blip2 import Blip2
from seesay.models.cache import KeyValueCache
from seesay.models.flamingo import Flamingo
from seesay.models.layers import conflict
from seesay.models.positions import multimodal_positions
from seesay.models.token_reduction import FastVConfig, PruMergeConfig, TokenReduction
from seesay.models.vlm import PackedVlm, Seen, Vlm

ReadingModel: TypeAlias = Vlm | PackedVlm | Flamingo | Blip2
"""Decoder-only models, which read prompts from left to right."""
PREFIXES = 4
"""Number of cached prompt beginnings. One of 600 tokens takes 300 MB for a 7B model in bfloat16
without grouped keys."""
FILL = 0
"""Token id for padding; not an image placeholder."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """The beginning of a prompt, already read."""

    ids: tuple[int, ...]
    digests: tuple[bytes, ...]
    cache: KeyValueCache

    def begins(self, request: Request) -> bool:
        """Whether the request continues this prefix."""
        length = len(self.ids)
        return (
            length < len(request.ids)
            and request.ids[:length] == self.ids
            and request.digests[: request.seen_by(length)] == self.digests
        )


class Reading:
    """A model's state after prompts, and the `NextLogits` that continue from it."""

    def __init__(
        self,
        model: ReadingModel,
        logits: Float[Tensor, "rows vocab"],
        cache: KeyValueCache,
        following: Int[Tensor, " rows"] | None,
    ) -> None:
        self.model = model
        self.logits = logits
        """Logits of the first token to write."""
        self.cache = cache
        self.following = following
        """Position of that token; None if positions just count tokens."""

    def stacked(self, other: "Reading") -> "Reading":
        """Returns a copy with another's rows appended."""
        following = None
        if self.following is not None and other.following is not None:
            following = torch.cat([self.following, other.following])
        logits = torch.cat([self.logits, other.logits])
        return Reading(self.model, logits, self.cache.stacked(other.cache), following)

    @torch.no_grad()
    def __call__(
        self, ids: Int[Tensor, "rows written"], cache: Cache | None
    ) -> tuple[Float[Tensor, "rows vocab"], Cache | None]:
        """Returns the logits of the next tokens. Each prompt may have several consecutive rows of
        `ids`: its beams."""
        beams = len(ids) // len(self.logits)
        rows = torch.arange(len(self.logits), device=self.logits.device)
        rows = rows.repeat_interleave(beams)
        if cache is None:
            return self.logits[rows], self.cache if beams == 1 else self.cache.select(rows)
        assert isinstance(cache, KeyValueCache)
        # Ended beams are padded with a token the model does not have.
        last = ids[:, -1:].to(rows.device).clamp(max=self.logits.shape[1] - 1)
        positions = None
        if self.following is not None:
            positions = (self.following[rows] + ids.shape[1] - 1)[:, None]
        hidden = self.model.decoder(self.model.decoder.embed(last), positions, cache)
        return self.model.logits(hidden)[:, -1], cache


class PromptReader:
    """Reads prompts with a model and caches the beginnings of the latest; except with FastV, which
    chooses image tokens anew for each question."""

    def __init__(
        self,
        model: ReadingModel,
        inputs: VisualInputs,
        device: torch.device,
        reduction: TokenReduction | None = None,
    ) -> None:
        self.model, self.inputs, self.device = model, inputs, device
        self.fastv = reduction if isinstance(reduction, FastVConfig) else None
        self.prumerge = reduction if isinstance(reduction, PruMergeConfig) else None
        self._prefixes: OrderedDict[tuple[tuple[int, ...], tuple[bytes, ...]], Prefix]
        self._prefixes = OrderedDict()
        self._turn = Lock()

    @torch.no_grad()
    def read(self, requests: Sequence[Request]) -> Reading:
        """Reads prompts, one per row. Those about the same pictures share their beginning; others
        are read in one batch."""
        first = requests[0]
        shared = first.ids[: first.images_end]
        together = all(
            one.digests == first.digests
            and one.ids[: one.images_end] == shared
            and len(one.ids) > len(shared)
            for one in requests
        )
        if not together or self.fastv is not None:
            return self._read_on(requests, 0, KeyValueCache())
        base = self._longest(requests)
        new = base is None or len(base.ids) < len(shared)
        if new and len(requests) > 1:
            base = self._begin(first, base)
        start, cache = 0, KeyValueCache()
        if base is not None:
            rows = torch.zeros(len(requests), dtype=torch.long, device=self.device)
            start, cache = len(base.ids), base.cache.select(rows)
        reading = self._read_on(requests, start, cache)
        if new and len(requests) == 1 and shared:
            # One pass over the weights is faster than one for the pictures and one for the rest.
            beginning = reading.cache.without_last(len(first.ids) - len(shared))
            self._store(Prefix(shared, first.digests, beginning))
        return reading

    def keep(self, request: Request, written: Sequence[int], cache: KeyValueCache) -> None:
        """Caches a prompt with its answer for the next turn; `cache` has one row, and the caller
        must not use it any more."""
        if self.fastv is None:
            self._store(Prefix((*request.ids, *written), request.digests, cache))

    def _longest(self, requests: Sequence[Request]) -> Prefix | None:
        with self._turn:
            fitting = [
                prefix
                for prefix in self._prefixes.values()
                if all(prefix.begins(request) for request in requests)
            ]
            longest = max(fitting, key=lambda prefix: len(prefix.ids), default=None)
            if longest is not None:
                self._prefixes.move_to_end((longest.ids, longest.digests))
            return longest

    def _store(self, prefix: Prefix) -> None:
        with self._turn:
            self._prefixes[prefix.ids, prefix.digests] = prefix
            while len(self._prefixes) > PREFIXES:
                self._prefixes.popitem(last=False)

    def _begin(self, request: Request, base: Prefix | None) -> Prefix | None:
        """Reads a prompt up to the end of its last picture, continuing from `base`."""
        if not request.images_end:
            return base
        start = 0 if base is None else len(base.ids)
        row = torch.zeros(1, dtype=torch.long, device=self.device)
        cache = KeyValueCache() if base is None else base.cache.select(row)
        beginning = Request(request.ids[: request.images_end], request.spans, request.inputs)
        self._forward([beginning], start, cache)
        prefix = Prefix(beginning.ids, request.digests, cache)
        self._store(prefix)
        return prefix

    def _read_on(self, requests: Sequence[Request], start: int, cache: KeyValueCache) -> Reading:
        hidden, following = self._forward(requests, start, cache)
        return Reading(self.model, self.model.logits(hidden[:, -1:])[:, -1], cache, following)

    def _forward(
        self, requests: Sequence[Request], start: int, cache: KeyValueCache
    ) -> tuple[Float[Tensor, "rows kept dim"], Int[Tensor, " rows"] | None]:
        """Reads the tokens from `start` on, padded on the left. Returns the hidden states and the
        next position of each row."""
        unread = [request.inputs[request.seen_by(start) :] for request in requests]
        seen, counts = self._see([one for some in unread for one in some])
        left = iter(counts)
        ids, real = padded(
            [
                request.shortened(start, [next(left) for _ in some])
                for request, some in zip(requests, unread, strict=True)
            ]
        )
        positions, following = self._positions(requests)
        model = self.model
        read: Callable[..., Tensor] = model.read if isinstance(model, Blip2) else model
        hidden = read(
            ids.to(self.device),
            seen,
            None if positions is None else positions[..., start:],
            cache,
            real.to(self.device),
            *(() if self.fastv is None else (self.fastv,)),
        )
        return hidden, following

    def _see(self, inputs: Sequence[VisualInput]) -> tuple[Tensor | Seen | None, list[int]]:
        """Returns the concatenated rows of pictures and videos, and how many each has. Equal ones
        are processed once."""
        if not inputs:
            return None, []
        digests = [one.digest for one in inputs]
        distinct = dict(zip(digests, inputs, strict=True))
        some, order = [*distinct.values()], [*distinct]
        if self.prumerge is not None:
            if not isinstance(self.inputs, SquareInputs):
                raise conflict(
                    "PruMerge and a tower without a class token",
                    "one with it, such as LLaVA 1.5's: use FastV instead",
                    "带类别词元的图像塔（如 LLaVA 1.5）：请改用 FastV",
                )
            merged = dict(zip(order, self.inputs.see_merged(some, self.prumerge), strict=True))
            rows = [merged[digest] for digest in digests]
            return torch.cat(rows), [len(one) for one in rows]
        seen: Tensor | Seen = self.inputs.see(some)
        counts = [sum(one.media.counts) for one in inputs]
        if len(some) == len(inputs):
            return seen, counts
        sizes = [sum(one.media.counts) for one in some]
        places = torch.arange(sum(sizes), device=self.device).split(sizes)
        repeated = torch.cat([places[order.index(digest)] for digest in digests])
        if isinstance(seen, Tensor):
            return seen[repeated], counts
        return Seen(seen.rows[repeated], tuple(deep[repeated] for deep in seen.deepstack)), counts

    def _positions(
        self, requests: Sequence[Request]
    ) -> tuple[Int[Tensor, "3 rows tokens"] | None, Int[Tensor, " rows"] | None]:
        if not isinstance(self.model, PackedVlm):
            return None, None
        _, real = padded([one.ids for one in requests])
        grids = [
            [g for g in grids_at(one.spans, one.inputs) if g.start < len(one.ids)]
            for one in requests
        ]
        positions, following = multimodal_positions(real, grids)
        return positions.to(self.device), following.to(self.device)


def padded(
    rows: Sequence[Sequence[int]],
) -> tuple[Int[Tensor, "rows tokens"], Bool[Tensor, "rows tokens"]]:
    """Returns rows of ids padded on the left, and which of them are not padding."""
    width = max(map(len, rows))
    ids = torch.tensor([[FILL] * (width - len(row)) + list(row) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(width) >= width - lengths[:, None]

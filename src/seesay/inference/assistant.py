"""A vision-language model on this machine that answers questions about pictures and videos.

    assistant = seesay.chat("Qwen/Qwen2-VL-2B-Instruct")
    assistant.ask("cat.jpg", "What is on the mat?").text
    assistant.ask_several("page.png", ["Who wrote it?", "When?"])     # the page is read once
    for piece in assistant.stream(["a.jpg", "b.jpg"], "What differs?"): ...

    talk = Conversation(assistant, "clip.mp4")
    talk.ask("What happens?"), talk.ask("And then?")

Pictures are never cut to fit: a prompt that is too long raises an error that gives the limit.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from seesay.data.chat_templates import Source
from seesay.inference.answer_writer import AnswerWriter, Task
from seesay.inference.assistant_files import AssistantFiles, load_assistant
from seesay.inference.blip_reading import (
    CaptionReader,
    CaptionReading,
    EncodedReader,
    EncodedReading,
)
from seesay.inference.cancelling import check_cancelled
from seesay.inference.decoding import DecodingConfig, WrittenToken
from seesay.inference.generation import Cache, NextLogits, beam_search, write_tokens
from seesay.inference.prompt_reading import PromptReader, Reading
from seesay.inference.request import Request
from seesay.models.blip import BlipCaptioner
from seesay.models.blip2 import Blip2
from seesay.models.layers import conflict
from seesay.models.quantized import Bits
from seesay.models.t5 import T5
from seesay.models.token_reduction import TokenReduction
from seesay.models.vlm import PackedVlm, Vlm
from seesay.weights.catalog import default_assistant
from seesay.weights.hub import adapted_name

ROWS = 8
"""Questions answered in one batch."""
AnyReading: TypeAlias = Reading | EncodedReading | CaptionReading


class LocalAssistant(AnswerWriter):
    """A vision-language model with its tokenizer, chat template and image preprocessing."""

    files: AssistantFiles

    def __init__(self, files: AssistantFiles, decoding: DecodingConfig | None = None) -> None:
        super().__init__(files, decoding)
        self._reader = _reader(files, self.decoding.reduction)

    def configured(self, decoding: DecodingConfig, stop: Sequence[str] = ()) -> "LocalAssistant":
        other = super().configured(decoding, stop)
        assert isinstance(other, LocalAssistant)
        if decoding.reduction != self.decoding.reduction:
            other._reader = _reader(self.files, decoding.reduction)
        return other

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[Request]]:
        return batches(requests)

    def _read(self, requests: Sequence[Request], task: Task) -> AnyReading:
        reading, contrast = self._reader.read(requests), task.decoding.contrast
        if contrast is None:
            return reading
        # In one batch: one step with twice the rows costs less than two steps.
        noised = self._reader.read([request.noised(contrast.noise_step) for request in requests])
        if not isinstance(reading, Reading) or not isinstance(noised, Reading):
            raise conflict(
                f"contrast and {type(self.files.model).__name__}",
                "a decoder-only model: leave contrast out",
                "仅含解码器的模型：请去掉 contrast",
            )
        return reading.stacked(noised)

    def _keep(self, request: Request, written: Sequence[WrittenToken], reading: AnyReading) -> None:
        """Caches a prompt and its answer for the next turn, if that saves reading them again."""
        if not (isinstance(self._reader, PromptReader) and isinstance(reading, Reading)):
            return
        cache = reading.cache
        if len(reading.logits) > 1:  # the other rows are for a noised picture
            cache = cache.select(torch.zeros(1, dtype=torch.long, device=reading.logits.device))
        self._reader.keep(request, [token.id for token in written[:-1]], cache)

    def _steps(
        self, reading: AnyReading, rows: int, limit: int, task: Task
    ) -> Iterator[list[WrittenToken | None]]:
        for step in write_tokens(
            reading, rows, task.decoding, max_tokens=limit, end_ids=self.files.end_ids
        ):
            yield step
            check_cancelled()

    def _rows(
        self, requests: Sequence[Request], limit: int, task: Task
    ) -> list[list[WrittenToken]]:
        if task.beams > 1:
            return self._search_beams(self._read(requests, task), limit, task.beams)
        return super()._rows(requests, limit, task)

    def _search_beams(
        self, reading: AnyReading, limit: int, beams: int
    ) -> list[list[WrittenToken]]:
        rows, vocab = reading.logits.shape
        begin = torch.zeros(rows, 0, dtype=torch.long, device=reading.logits.device)
        ids = beam_search(
            _with_padding(reading),
            begin,
            length=limit,
            end_ids=self.files.end_ids,
            pad_id=vocab,
            beams=beams,
        )
        nan = float("nan")
        return [[WrittenToken(one, nan) for one in row if one != vocab] for row in ids.tolist()]


def batches(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Yields requests to read together: those about the same pictures, or else consecutive ones."""
    single: list[Request] = []
    for _, same in groupby(requests, key=lambda request: request.digests):
        some = list(same)
        if len(some) == 1:
            single += some
            if len(single) == ROWS:
                yield single
                single = []
            continue
        if single:
            yield single
            single = []
        for first in range(0, len(some), ROWS):
            yield some[first : first + ROWS]
    if single:
        yield single


def _with_padding(next_logits: NextLogits) -> NextLogits:
    """Returns the same with an extra token that is never written."""

    def padded(ids: Tensor, cache: Cache | None) -> tuple[Tensor, Cache | None]:
        logits, cache = next_logits(ids, cache)
        return torch.nn.functional.pad(logits, (0, 1), value=-torch.inf), cache

    return padded


def _reader(
    files: AssistantFiles, reduction: TokenReduction | None
) -> PromptReader | EncodedReader | CaptionReader:
    """Returns the reader for a model."""
    model, rest = files.model, (files.inputs, files.device)
    gated = isinstance(model, Vlm) and not model.config.rows_in_prompt
    if reduction is not None and (gated or not isinstance(model, Vlm | PackedVlm)):
        kind = "gated cross-attention" if gated else type(model).__name__
        raise conflict(
            f"{type(reduction).__name__} and {kind}",
            "a model with every patch of a picture in its prompt, such as LLaVA: leave reduction "
            "out",
            "提示里含有图片全部图块的模型（如 LLaVA）：请去掉 reduction",
        )
    if isinstance(model, BlipCaptioner):
        return CaptionReader(model, *rest)
    if isinstance(model, Blip2) and isinstance(model.language, T5):
        return EncodedReader(model, *rest)
    return PromptReader(model, *rest, reduction)


def chat(  # noqa: PLR0913  # every choice about a model
    name: str | Path | None = None,
    *,
    adapter: str | Path | None = None,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = "auto",
    revision: str | None = None,
    template: Source = "original",
    decoding: DecodingConfig | None = None,
    weights: Bits | None = None,
) -> LocalAssistant:
    """Loads a vision-language model from a folder or a hub: LLaVA 1 to OneVision, InternVL2 to 3.5,
    Qwen-VL to Qwen3-VL, BLIP, BLIP-2, InstructBLIP and OpenFlamingo, in their authors' layout or
    transformers'. Without a name, it loads the default assistant.

    `template` chooses the prompts and image preprocessing where the authors ("original") and
    transformers ("hf") differ. `decoding` defaults to the checkpoint's generation_config.json, with
    the temperature that `ask` is given. `device` and `revision` are as in `seesay.load`; `dtype` is
    "auto" (measured on this machine), "float32", "bfloat16" or "float16". `weights` quantizes the
    language model to 8 or 4 bits, which is faster on a CPU and takes less memory; 4 bits change
    answers more. `adapter` is a folder with low-rank adapters in peft's format, which are merged
    into the model.

    Raises UnknownModelError, DownloadError, WeightsError or ConfigError.
    """
    name = adapted_name(str(name or default_assistant()), adapter)
    files = load_assistant(
        name, device=device, dtype=dtype, revision=revision, template=template, weights=weights
    )
    return LocalAssistant(files, decoding)

"""A vision-language model on this machine that answers questions about pictures and videos.

    assistant = seesay.chat("Qwen/Qwen2-VL-2B-Instruct")
    assistant.ask("cat.jpg", "What is on the mat?").text
    assistant.ask_several("page.png", ["Who wrote it?", "When?"])     # the page is read once
    for piece in assistant.stream(["a.jpg", "b.jpg"], "What differs?"): ...

    talk = Conversation(assistant, "clip.mp4")
    talk.ask("What happens?"), talk.ask("And then?")

Pictures are never cut to fit: a prompt that is too long raises an error that gives the limit.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor

from seesay.data.chat import Media, Message, encode, render
from seesay.data.chat_templates import ChatTemplate, Source
from seesay.data.images import ImageSource, open_image
from seesay.data.video import is_video
from seesay.errors import ConfigError, DataError
from seesay.inference.answer import (
    CAPTION,
    Answer,
    AnswerStream,
    AnswerToken,
    Assistant,
    Images,
    Question,
    StopTexts,
    conversation,
)
from seesay.inference.assistant_files import AssistantFiles, load_assistant
from seesay.inference.blip_reading import (
    CaptionReader,
    CaptionReading,
    EncodedReader,
    EncodedReading,
)
from seesay.inference.cancelling import check_cancelled
from seesay.inference.generation import (
    Cache,
    DecodingConfig,
    NextLogits,
    TextStream,
    WrittenToken,
    beam_search,
    decode,
    text_of,
    write_tokens,
)
from seesay.inference.prompt_reading import PromptReader, Reading, Request
from seesay.inference.visual_inputs import PictureInputs, VisualInput, no_video
from seesay.models.blip import BlipCaptioner
from seesay.models.blip2 import Blip2
from seesay.models.layers import conflict
from seesay.models.quantized import Bits
from seesay.models.t5 import T5
from seesay.models.token_reduction import TokenReduction
from seesay.models.vlm import PackedVlm, Vlm
from seesay.text import Text

ROWS = 8
"""Questions answered in one batch."""
Asked: TypeAlias = tuple[Images, Question]
AnyReading: TypeAlias = Reading | EncodedReading | CaptionReading


class LocalAssistant:
    """A vision-language model with its tokenizer, chat template and image preprocessing.

    `decoding` has the settings that `ask` does not take, such as sampling and beams. Results do not
    depend on other questions in the batch or on earlier ones.
    """

    def __init__(self, files: AssistantFiles, decoding: DecodingConfig | None = None) -> None:
        self.files = files
        self.decoding = decoding or files.decoding
        self.stop: tuple[str, ...] = ()
        """An answer ends before any of these texts."""
        self._reader = _reader(files, self.decoding.reduction)

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def template(self) -> ChatTemplate:
        return self.files.template

    @property
    def tokenizer(self) -> Tokenizer:
        return self.files.tokenizer

    def configured(self, decoding: DecodingConfig, stop: Sequence[str] = ()) -> "LocalAssistant":
        """Returns the same model with this decoding, whose answers end before any of the texts
        `stop`. Both share cached prompts."""
        other = copy(self)
        if decoding.reduction != self.decoding.reduction:
            other._reader = _reader(self.files, decoding.reduction)
        other.decoding, other.stop = decoding, tuple(stop)
        return other

    def ask(
        self,
        images: Images,
        question: Question,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
        log_probabilities: bool = False,
    ) -> Answer:
        """Returns the answer to a question, or to the last one of a conversation. Pictures may
        include paths of videos.

        Raises DataError for a question the model cannot take, a broken video or a prompt that is
        too long, and ImageError for a damaged picture.
        """
        request = self._request(images, question)
        [answer] = self._write([request], self._task(max_tokens, temperature))
        return answer if log_probabilities else replace(answer, tokens=None)

    def caption(
        self,
        images: Images,
        request: str = CAPTION.en,
        *,
        max_tokens: int = 64,
        temperature: float | None = 0.0,
    ) -> Answer:
        """Returns a caption, using the authors' own prompt, or `request` for families without one.
        Raises the same errors as `ask`."""
        how = {"max_tokens": max_tokens, "temperature": temperature}
        [answer] = self.caption_batch([images], request, **how)  # type: ignore[arg-type]
        return answer

    def caption_batch(
        self,
        pictures: Iterable[Images],
        request: str = CAPTION.en,
        *,
        max_tokens: int = 64,
        temperature: float | None = 0.0,
    ) -> list[Answer]:
        """Returns a caption for each picture, in order, as `caption` does."""
        requests = [self._caption_request(images, request) for images in pictures]
        return self._all(requests, self._task(max_tokens, temperature))

    def ask_several(
        self,
        images: Images,
        questions: Iterable[Question],
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> list[Answer]:
        """Returns the answers to several questions about the same pictures, which the model reads
        once. Raises the same errors as `ask`."""
        if isinstance(questions, str):
            raise DataError(
                Text(
                    f"questions is the one text {questions[:40]!r}; expected a list of questions. "
                    "Write [question], or call ask.",
                    f"questions 是一段文本 {questions[:40]!r}；应为问题的列表；请写成 [question]，"
                    "或改用 ask",
                )
            )
        pictures, inputs = None, None
        requests = []
        for question in questions:
            if inputs is None:
                pictures, messages = self._conversation(images, question)
                inputs = self._inputs(pictures)
            else:
                _, messages = self._conversation(pictures, question)
            requests.append(self._prompt(messages, inputs))
        return self._all(requests, self._task(max_tokens, temperature))

    def ask_batch(
        self,
        questions: Iterable[Asked],
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> list[Answer]:
        """Returns the answers, in order, to questions that each have their own pictures. Raises the
        same errors as `ask`."""
        requests = [self._request(images, question) for images, question in questions]
        return self._all(requests, self._task(max_tokens, temperature))

    def stream(
        self,
        images: Images,
        question: Question,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> AnswerStream:
        """Yields the answer piece by piece and returns it whole; the pieces join to its text. With
        beams it comes in one piece. Raises the same errors as `ask`, before the first piece."""
        request, task = self._request(images, question), self._task(max_tokens, temperature)
        if task.decoding.beams > 1:
            return _in_one_piece(self._write([request], task)[0])
        return self._stream(request, task)

    # From a question to a prompt

    def _request(self, images: object, question: object) -> Request:
        pictures, messages = self._conversation(images, question)
        return self._prompt(messages, self._inputs(pictures))

    def _caption_request(self, images: Images, request: str) -> Request:
        captions = self.files.captions
        if captions is None:
            return self._request(images, request)
        pictures, [message] = self._conversation(images, request)
        content: list[str | Media] = [one for one in message.parts if isinstance(one, Media)]
        content += [captions.text] if captions.text else []
        messages = [replace(message, content=tuple(content))]
        return self._prompt(messages, self._inputs(pictures), captions.template)

    def _conversation(
        self, images: object, question: object
    ) -> tuple[list[ImageSource], tuple[Message, ...]]:
        if not isinstance(question, str) and isinstance(question, Sequence):
            question = [_as_pictures(message) for message in question]
        return conversation(images, question, max_images=self.files.inputs.most_images)

    def _inputs(self, pictures: Sequence[ImageSource]) -> tuple[VisualInput, ...]:
        inputs = self.files.inputs
        if not inputs.has_video and any(map(is_video, pictures)):
            raise no_video(self.name)
        alone = len(pictures) == 1
        return tuple(
            inputs.video(one)
            if isinstance(one, str | Path) and is_video(one)
            else inputs.picture(open_image(one), alone=alone)
            for one in pictures
        )

    def _prompt(
        self,
        messages: Sequence[Message],
        inputs: tuple[VisualInput, ...],
        template: ChatTemplate | None = None,
    ) -> Request:
        """Returns the prompt of a conversation with its pictures in place."""
        media = iter([one.media for one in inputs])
        filled = [
            replace(
                message,
                content=tuple(
                    next(media) if isinstance(part, Media) else part for part in message.parts
                ),
            )
            for message in messages
        ]
        prompt = render(template or self.template, filled)
        encoded = encode(prompt, self.tokenizer, limit=self.files.context - 1)
        read = "".join(piece.expanded for piece in prompt.pieces if piece.origin != "media")
        about = tuple(self.files.inputs.about(one, read) for one in inputs)
        return Request(encoded.ids, encoded.spans, about)

    # From a prompt to an answer

    def _task(self, max_tokens: int, temperature: float | None) -> "_Task":
        if max_tokens < 1:
            raise ConfigError(
                Text(
                    f"max_tokens={max_tokens} leaves no room for an answer; expected at least 1. "
                    "Raise it, or leave it out.",
                    f"max_tokens={max_tokens} 容不下回答；应至少为 1；请调大或省略",
                )
            )
        decoding = self.decoding
        if temperature is not None:
            decoding = replace(decoding, temperature=temperature)
        return _Task(max_tokens, decoding)

    def _all(self, requests: Sequence[Request], task: "_Task") -> list[Answer]:
        return [answer for rows in batches(requests) for answer in self._write(rows, task)]

    def _write(self, requests: Sequence[Request], task: "_Task") -> list[Answer]:
        """Answers prompts in one batch."""
        check_cancelled()
        limits = [self._limit(request, task) for request in requests]
        reading = self._read(requests, task)
        if task.decoding.beams > 1:
            rows = self._search_beams(reading, max(limits), task.decoding.beams)
        else:
            rows = [[] for _ in requests]
            for step in self._steps(reading, len(requests), max(limits), task):
                for row, token in zip(rows, step, strict=True):
                    row += [] if token is None else [token]
            if len(requests) == 1:
                self._keep(requests[0], rows[0], reading)
        return [
            self._answer(request, row[:limit])
            for request, row, limit in zip(requests, rows, limits, strict=True)
        ]

    def _stream(self, request: Request, task: "_Task") -> AnswerStream:
        reading = self._read([request], task)
        text, stop, written = TextStream(self.tokenizer), StopTexts(self.stop), []
        for [token] in self._steps(reading, 1, self._limit(request, task), task):
            assert token is not None
            written.append(token)
            if token.id not in self.files.end_ids and (piece := stop.add(text.add(token.id))):
                yield piece
            if stop.reached:
                break
        self._keep(request, written, reading)
        if rest := stop.add(text.end()) + stop.end():
            yield rest
        return replace(self._answer(request, written), tokens=None)

    def _read(self, requests: Sequence[Request], task: "_Task") -> AnyReading:
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
        self, reading: AnyReading, rows: int, limit: int, task: "_Task"
    ) -> Iterator[list[WrittenToken | None]]:
        for step in write_tokens(
            reading, rows, task.decoding, max_tokens=limit, end_ids=self.files.end_ids
        ):
            yield step
            check_cancelled()

    def _limit(self, request: Request, task: "_Task") -> int:
        return min(task.max_tokens, self.files.context - len(request.ids))

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

    def _answer(self, request: Request, written: Sequence[WrittenToken]) -> Answer:
        ended = bool(written) and written[-1].id in self.files.end_ids
        certainty = self.files.certainty
        ids = [token.id for token in written[: len(written) - ended]]
        stop = StopTexts(self.stop)
        return Answer(
            text=stop.add(text_of(ids, self.tokenizer)) + stop.end(),
            model=self.name,
            finish_reason="stop" if ended or stop.reached else "length",
            prompt_tokens=len(request.ids),
            answer_tokens=len(written),
            tokens=tuple(
                AnswerToken(text=decode([token.id], self.tokenizer), log_probability=token[1])
                for token in written
            ),
            certainty=None if certainty is None else certainty.of([one[1] for one in written]),
            unfamiliar=certainty is not None
            and isinstance(inputs := self.files.inputs, PictureInputs)
            and len(means := inputs.means_of(request.digests)) > 0
            and certainty.is_unfamiliar(means),
        )


@dataclass(frozen=True)
class _Task:
    """The length limit and decoding of an answer."""

    max_tokens: int
    decoding: DecodingConfig


class Conversation:
    """A conversation: each question is asked with those before it. `assistant` may be local or at
    an endpoint. `images` come before the first question."""

    def __init__(self, assistant: Assistant, images: Images = None, *, system: str = "") -> None:
        self.assistant = assistant
        self.images: list[ImageSource] = []
        self.messages: tuple[Message, ...] = (Message("system", system),) if system else ()
        self._waiting = images

    def ask(
        self,
        question: str,
        images: Images = None,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> Answer:
        """Returns the answer to the next question, which may add pictures."""
        pictures, messages = self._next(question, images)
        answer = self.assistant.ask(
            pictures or None, messages, max_tokens=max_tokens, temperature=temperature
        )
        self._continue(pictures, messages, answer.text)
        return answer

    def stream(
        self,
        question: str,
        images: Images = None,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> AnswerStream:
        """Like `ask`, piece by piece. The question joins the conversation once its answer is
        complete."""
        pictures, messages = self._next(question, images)
        pieces = self.assistant.stream(
            pictures or None, messages, max_tokens=max_tokens, temperature=temperature
        )
        answer = yield from pieces
        self._continue(pictures, messages, answer.text)
        return answer

    def continued(self, question: str, answer: str, images: Images = None) -> "Conversation":
        """Returns the conversation after a turn that is known, such as one whose answer was
        stopped."""
        other = copy(self)
        other._continue(*self._next(question, images), answer)
        return other

    def _next(self, question: str, images: Images) -> tuple[list[ImageSource], tuple[Message, ...]]:
        given = [one for some in (self._waiting, images) for one in conversation(some, question)[0]]
        places = (Media("image", (1,)),) * len(given)
        turn = Message("user", (*places, question))
        return [*self.images, *given], (*self.messages, turn)

    def _continue(
        self, pictures: list[ImageSource], messages: tuple[Message, ...], answer: str
    ) -> None:
        self.images, self._waiting = pictures, None
        self.messages = (*messages, Message("assistant", answer))


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


def _as_pictures(message: object) -> object:
    """Returns the message with video placeholders turned into picture placeholders: the file
    decides which it is."""
    if not isinstance(message, Message):
        return message
    parts = [
        replace(part, modality="image") if isinstance(part, Media) else part
        for part in message.parts
    ]
    return replace(message, content=tuple(parts))


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


def _in_one_piece(answer: Answer) -> Generator[str, None, Answer]:
    if answer.text:
        yield answer.text
    return replace(answer, tokens=None)


def chat(  # noqa: PLR0913  # every choice about a model
    name: str | Path,
    *,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = "auto",
    revision: str | None = None,
    template: Source = "original",
    decoding: DecodingConfig | None = None,
    weights: Bits | None = None,
) -> LocalAssistant:
    """Loads a vision-language model from a folder or a hub: LLaVA 1 to OneVision, InternVL2 to 3.5,
    Qwen-VL to Qwen3-VL, BLIP, BLIP-2, InstructBLIP and OpenFlamingo, in their authors' layout or
    transformers'.

    `template` chooses the prompts and image preprocessing where the authors ("original") and
    transformers ("hf") differ. `decoding` defaults to the checkpoint's generation_config.json, with
    the temperature that `ask` is given. `device` and `revision` are as in `seesay.load`; `dtype` is
    "auto" (measured on this machine), "float32", "bfloat16" or "float16". `weights` quantizes the
    language model to 8 or 4 bits, which is faster on a CPU and takes less memory; 4 bits change
    answers more.

    Raises UnknownModelError, DownloadError, WeightsError or ConfigError.
    """
    files = load_assistant(
        name, device=device, dtype=dtype, revision=revision, template=template, weights=weights
    )
    return LocalAssistant(files, decoding)

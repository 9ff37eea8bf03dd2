"""From a question to a prompt, and from the tokens that a model writes to an answer: what all
assistants on this machine share. Works without torch."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from tokenizers import Tokenizer

from seesay.data.chat import Media, Message, encode, render
from seesay.data.chat_templates import ChatTemplate
from seesay.data.images import ImageSource, open_image
from seesay.data.video import is_video
from seesay.errors import ConfigError, DataError
from seesay.inference.answer import (
    CAPTION,
    Answer,
    AnswerStream,
    AnswerToken,
    Images,
    Question,
    StopTexts,
    conversation,
)
from seesay.inference.cancelling import check_cancelled
from seesay.inference.certainty import SENTENCE_ENDS, Certainty
from seesay.inference.decoding import DecodingConfig, TextStream, WrittenToken, decode, text_of
from seesay.inference.request import (
    RemembersPictures,
    Request,
    VisualInput,
    VisualInputs,
    no_video,
)
from seesay.text import Text

Asked: TypeAlias = tuple[Images, Question]


@dataclass(frozen=True)
class Captions:
    """How to ask for a caption."""

    template: ChatTemplate
    text: str
    """The prompt text; may be empty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PromptFiles:
    """What the prompts and answers of a model need."""

    name: str
    """The name the user gave."""
    inputs: VisualInputs
    tokenizer: Tokenizer
    template: ChatTemplate
    captions: Captions | None = None
    end_ids: tuple[int, ...]
    """Tokens that end an answer."""
    decoding: DecodingConfig
    """The default decoding."""
    context: int
    """Most tokens in a prompt and its answer, pictures included."""
    certainty: Certainty | None = None
    """How sure an answer is, if the model's folder says how to tell."""
    caption_beams: int = 1
    """Beam search width of captions if the decoding sets none."""


@dataclass(frozen=True)
class Task:
    """The length limit and decoding of an answer."""

    max_tokens: int
    decoding: DecodingConfig

    @property
    def beams(self) -> int:
        return self.decoding.beams or 1


class AnswerWriter(ABC):
    """An assistant without its model.

    `decoding` has the settings that `ask` does not take, such as sampling and beams. Results do not
    depend on other questions in the batch or on earlier ones.
    """

    def __init__(self, files: PromptFiles, decoding: DecodingConfig | None = None) -> None:
        self.files = files
        self.decoding = decoding or files.decoding
        self.stop: tuple[str, ...] = ()
        """An answer ends before any of these texts."""

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def template(self) -> ChatTemplate:
        return self.files.template

    @property
    def tokenizer(self) -> Tokenizer:
        return self.files.tokenizer

    def configured(self, decoding: DecodingConfig, stop: Sequence[str] = ()) -> "AnswerWriter":
        """Returns the same model with this decoding, whose answers end before any of the texts
        `stop`. Both share cached prompts."""
        other = copy(self)
        other.decoding, other.stop = decoding, tuple(stop)
        return other

    # What a model does

    @abstractmethod
    def _batches(self, requests: Sequence[Request]) -> Iterable[list[Request]]:
        """Returns the requests to read together."""

    @abstractmethod
    def _read(self, requests: Sequence[Request], task: Task) -> Any:
        """Returns the model's state after these prompts."""

    @abstractmethod
    def _steps(
        self, reading: Any, rows: int, limit: int, task: Task
    ) -> Iterator[list[WrittenToken | None]]:
        """Yields the next token of every row until all have ended; None for those that ended
        earlier."""

    def _keep(  # noqa: B027  # most models need not
        self, request: Request, written: Sequence[WrittenToken], reading: Any
    ) -> None:
        """Caches a prompt and its answer for the next turn."""

    # From a question to an answer

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
        beams = self.files.caption_beams
        return self._all(requests, self._task(max_tokens, temperature, beams))

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
        if task.beams > 1:
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

    def _task(self, max_tokens: int, temperature: float | None, beams: int = 1) -> Task:
        """`beams` applies if the decoding sets none and allows beam search."""
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
        if decoding.beams is None and decoding.temperature == 0 and decoding.contrast is None:
            decoding = replace(decoding, beams=beams)
        return Task(max_tokens, decoding)

    def _all(self, requests: Sequence[Request], task: Task) -> list[Answer]:
        return [answer for rows in self._batches(requests) for answer in self._write(rows, task)]

    def _write(self, requests: Sequence[Request], task: Task) -> list[Answer]:
        """Answers prompts in one batch."""
        check_cancelled()
        limits = [self._limit(request, task) for request in requests]
        rows = self._rows(requests, max(limits), task)
        return [
            self._answer(request, row[:limit])
            for request, row, limit in zip(requests, rows, limits, strict=True)
        ]

    def _rows(
        self, requests: Sequence[Request], limit: int, task: Task
    ) -> list[list[WrittenToken]]:
        """Returns the tokens that follow each of these prompts."""
        reading = self._read(requests, task)
        rows: list[list[WrittenToken]] = [[] for _ in requests]
        for step in self._steps(reading, len(requests), limit, task):
            for row, token in zip(rows, step, strict=True):
                row += [] if token is None else [token]
        if len(requests) == 1:
            self._keep(requests[0], rows[0], reading)
        return rows

    def _stream(self, request: Request, task: Task) -> AnswerStream:
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

    def _limit(self, request: Request, task: Task) -> int:
        return min(task.max_tokens, self.files.context - len(request.ids))

    def _answer(self, request: Request, written: Sequence[WrittenToken]) -> Answer:
        ended = bool(written) and written[-1].id in self.files.end_ids
        certainty = self.files.certainty
        ids = [token.id for token in written[: len(written) - ended]]
        stop = StopTexts(self.stop)
        text = stop.add(text_of(ids, self.tokenizer)) + stop.end()
        logs = [] if text.endswith(SENTENCE_ENDS) else [token.log_probability for token in written]
        return Answer(
            text=text,
            model=self.name,
            finish_reason="stop" if ended or stop.reached else "length",
            prompt_tokens=len(request.ids),
            answer_tokens=len(written),
            tokens=tuple(
                AnswerToken(text=decode([token.id], self.tokenizer), log_probability=token[1])
                for token in written
            ),
            certainty=None if certainty is None else certainty.of(logs),
            unfamiliar=certainty is not None
            and isinstance(inputs := self.files.inputs, RemembersPictures)
            and len(means := inputs.means_of(request.digests)) > 0
            and certainty.is_unfamiliar(means),
        )


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


def _in_one_piece(answer: Answer) -> Generator[str, None, Answer]:
    if answer.text:
        yield answer.text
    return replace(answer, tokens=None)

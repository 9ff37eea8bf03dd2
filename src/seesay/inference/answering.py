"""Opens assistants by name and answers questions with given settings, for the command line, the API
and the web page.

assistant = open_assistant("Qwen/Qwen2-VL-2B-Instruct")        # a hub repository or a folder
assistant = open_assistant("qwen2.5vl", endpoint="http://localhost:11434/v1")
for piece in stream_answer(assistant, "cat.jpg", "Why?", AnswerConfig(max_tokens=50)): ...
for caption in write_captions(assistant, ["a.jpg", "b.jpg"]): ...
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from seesay.data.images import ImageSource, open_image
from seesay.data.video import is_video
from seesay.errors import ConfigError, DataError, EndpointError, ImageError, SeesayError
from seesay.inference.answer import (
    CAPTION,
    Answer,
    AnswerStream,
    Assistant,
    Images,
    Question,
    check_decoding,
)
from seesay.inference.answer_writer import AnswerWriter
from seesay.inference.cancelling import check_cancelled
from seesay.inference.decoding import ContrastConfig
from seesay.text import Language, Text
from seesay.weights.catalog import default_assistant
from seesay.weights.hub import split_adapter

if TYPE_CHECKING:
    from seesay.inference.assistant import LocalAssistant

CAPTION_TOKENS = 100
MOST_BEAMS = 100
MOST_IN_NUMPY = 20
"""Pictures that numpy sees sooner than torch is imported."""
BATCH = 8
"""Questions that a model on this machine is given at once: as many pictures are held decoded."""
REQUESTS = 4
"""At an endpoint at a time."""


@dataclass(frozen=True, kw_only=True)
class AnswerConfig:
    """How answers are written; None keeps the model's published setting."""

    max_tokens: int = 512
    """Longest answer."""
    temperature: float | None = 0.0
    """0 always takes the most likely token; higher values sample unlikely ones more often."""
    top_p: float | None = None
    """Sample from the smallest set of most likely tokens whose probabilities add up to this."""
    seed: int | None = None
    """The same seed gives a question the same answer."""
    beams: int | None = None
    """Beam search width, at temperature 0; not at an endpoint."""
    stop: tuple[str, ...] = ()
    """An answer ends before any of these texts."""
    contrast: ContrastConfig | None = None
    """Visual contrastive decoding; not at an endpoint."""

    def __post_init__(self) -> None:
        check_decoding(self.max_tokens, self.temperature)
        if not 0 < (1 if self.top_p is None else self.top_p) <= 1:
            raise ConfigError(
                Text(
                    f"top_p={self.top_p} allows no answer; expected a number above 0 and up to 1. "
                    "Correct it, or leave it out.",
                    f"top_p={self.top_p} 得不到回答；应大于 0 且不超过 1；请改正或省略",
                )
            )
        if "" in self.stop:
            raise ConfigError(
                Text(
                    "a stop text is empty, which would end every answer at once; expected texts of "
                    "at least one character. Leave it out.",
                    "停止文本为空，任何回答都会立即结束；停止文本应至少有一个字符；请去掉",
                )
            )
        if not -(2**63) <= (self.seed or 0) < 2**63:
            raise ConfigError(
                Text(
                    f"seed={self.seed} is too large; expected a whole number of at most 64 bits, "
                    "such as 1. Choose a smaller one.",
                    f"seed={self.seed} 过大；应为不超过 64 位的整数，如 1；请换一个较小的",
                )
            )
        beams = 1 if self.beams is None else self.beams
        if beams > MOST_BEAMS:
            raise ConfigError(
                Text(
                    f"beams={beams} takes more memory and time than it is worth; expected at most "
                    f"{MOST_BEAMS}; usual are 3 to 5. Lower it.",
                    f"beams={beams} 过多，内存和时间都得不偿失；最多 {MOST_BEAMS}，通常 3 到 5；"
                    "请调小",
                )
            )
        if beams < 1 or (beams > 1 and self.temperature != 0):
            raise ConfigError(
                Text(
                    f"beams={self.beams} and temperature={self.temperature} do not go together; "
                    "expected at least one beam, and several only at temperature 0. Leave one out.",
                    f"beams={self.beams} 与 temperature={self.temperature} 不能并用；beams 至少为 "
                    "1，大于 1 时 temperature 应为 0；请去掉其中一个",
                )
            )


def open_assistant(
    name: str | Path | None = None,
    *,
    endpoint: str | None = None,
    device: str | None = None,
    pictures: int | None = None,
) -> Assistant:
    """Loads a model from a folder or a hub, with an adapter if the name is one of `adapted_name`,
    or returns a client for the model of this name at an endpoint. The name defaults to
    `default_assistant`.

    `pictures` is how many a process sees that then ends. For a few of them, a small model runs in
    numpy: torch is faster, but takes seconds to import.

    Raises ConfigError if there is none, and what `seesay.chat` and `RemoteAssistant` raise.
    """
    if endpoint:
        from seesay.inference.remote import RemoteAssistant, RemoteConfig

        return RemoteAssistant(RemoteConfig(base_url=endpoint, model=str(name or "")))
    chosen = str(name or default_assistant())
    few = pictures is not None and pictures <= MOST_IN_NUMPY
    if few and device in (None, "cpu") and split_adapter(chosen)[1] is None:
        from seesay.inference.numpy_assistant import load_numpy_assistant

        quick = load_numpy_assistant(chosen, whole=lambda: _with_torch(chosen, device))
        if quick is not None:
            return quick
    return _with_torch(chosen, device)


def _with_torch(name: str, device: str | None) -> "LocalAssistant":
    from seesay.inference.assistant import chat

    return chat(name, device=device)


class ServedAssistant:
    """An assistant that is loaded once, on first use. Thread-safe.

    Raises the errors of `open_assistant`: for an endpoint at once, for a model on loading.
    """

    def __init__(
        self, name: str | None = None, *, endpoint: str | None = None, device: str | None = None
    ) -> None:
        chosen = name or ("" if endpoint else default_assistant())
        self.is_remote = bool(endpoint)
        model, adapter = split_adapter(chosen)
        short = model.replace("\\", "/").rstrip("/").split("/")[-1]
        if adapter is not None:
            short += f"+{adapter.name}"
        self.name = chosen if endpoint else short
        """Last part of the folder or repository name: the model name for clients."""
        self._mutex = threading.Lock()
        self._open: Callable[[], Assistant]
        self._open = partial(open_assistant, chosen, endpoint=endpoint, device=device)
        self._assistant = self._open() if endpoint else None

    def get(self) -> Assistant:
        with self._mutex:
            if self._assistant is None:
                self._assistant = self._open()
            return self._assistant


def configured(assistant: Assistant, config: AnswerConfig) -> Assistant:
    """Returns the same assistant with these settings, except `max_tokens` and `temperature`, which
    go with each question.

    Raises ConfigError for beams or contrast at an endpoint.
    """
    if isinstance(assistant, AnswerWriter):
        names = ("temperature", "top_p", "seed", "beams", "contrast")
        changes = {n: v for n in names if (v := getattr(config, n)) is not None}
        return assistant.configured(replace(assistant.decoding, **changes), config.stop)
    from seesay.inference.remote import RemoteAssistant

    if isinstance(assistant, RemoteAssistant):
        if config.beams is not None:
            raise ConfigError(
                Text(
                    f"beams={config.beams} was given for {assistant.name} at an endpoint; expected "
                    "none, since endpoints have no beam search. Leave it out.",
                    f"为端点上的 {assistant.name} 给了 beams={config.beams}；端点不支持束搜索；"
                    "请去掉",
                )
            )
        if config.contrast is not None:
            raise ConfigError(
                Text(
                    f"contrast was given for {assistant.name} at an endpoint; expected none, since "
                    "endpoints have no contrastive decoding. Leave it out.",
                    f"为端点上的 {assistant.name} 给了 contrast；端点不支持对比解码；请去掉",
                )
            )
        fields = {"top_p": config.top_p, "seed": config.seed, "stop": list(config.stop) or None}
        given = {name: value for name, value in fields.items() if value is not None}
        return assistant.configured(**given) if given else assistant
    return assistant


def stream_answer(
    assistant: Assistant, images: Images, question: Question, config: AnswerConfig
) -> AnswerStream:
    """Yields the pieces of an answer and returns it whole. Raises the errors of
    `Assistant.stream`."""
    return configured(assistant, config).stream(
        images, question, max_tokens=config.max_tokens, temperature=config.temperature
    )


def whole(stream: AnswerStream) -> Answer:
    """Reads a stream to its end and returns the answer; stops early if cancelled."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        check_cancelled()


def answer_several(
    assistant: Assistant, images: Images, questions: Sequence[str], config: AnswerConfig
) -> list[Answer]:
    """Returns the answers to several questions about the same pictures, which a local model reads
    once."""
    asked = configured(assistant, config)
    how = {"max_tokens": config.max_tokens, "temperature": config.temperature}
    if isinstance(asked, AnswerWriter):
        return asked.ask_several(images, questions, **how)  # type: ignore[arg-type]
    return [asked.ask(images, question, **how) for question in questions]  # type: ignore[arg-type]


def answer_each(
    assistant: Assistant,
    pairs: Iterable[tuple[Images, Question]],
    config: AnswerConfig,
    *,
    requests: int = REQUESTS,
) -> Iterator[Answer | SeesayError]:
    """Yields, for each pair of pictures and a question in order, the answer, or why there is none:
    a picture that is damaged, a question that the model cannot take, an endpoint that fails.
    Several are answered at a time; `requests` are sent to an endpoint at a time."""
    asked = configured(assistant, config)
    how = {"max_tokens": config.max_tokens, "temperature": config.temperature}

    def answer_one(pair: tuple[Images, Question]) -> Answer | SeesayError:
        try:
            return asked.ask(*pair, **how)  # type: ignore[arg-type]
        except (ImageError, DataError, EndpointError) as error:
            return error

    if not isinstance(asked, AnswerWriter):
        from seesay.inference.devices import map_in_order  # needs torch

        yield from map_in_order(answer_one, pairs, workers=requests)
        return
    remaining = iter(pairs)
    while batch := list(islice(remaining, BATCH)):
        answers: list[Answer] | None = None
        with suppress(ImageError, DataError):  # of one of them: each by itself tells which
            answers = asked.ask_batch(batch, **how)  # type: ignore[arg-type]
        yield from map(answer_one, batch) if answers is None else answers


def write_captions(
    assistant: Assistant,
    images: Sequence[ImageSource],
    *,
    prompt: str | None = None,
    language: Language = "en",
    config: AnswerConfig | None = None,
) -> Iterator[Answer | SeesayError]:
    """Yields, for each picture in order, its caption, or why it has none: a picture that is damaged
    or that the model cannot take. Several are answered at a time. Without a prompt, the caption is
    asked for in the language, or as the authors of a model that needs it do.

    Raises EndpointError for an endpoint that does not answer.
    """
    config = config or AnswerConfig(max_tokens=CAPTION_TOKENS)
    asked = configured(assistant, config)
    write = partial(_write_captions, asked, prompt, language, config)
    write_one = partial(_alone, write)
    if not isinstance(asked, AnswerWriter):
        from seesay.inference.devices import map_in_order  # needs torch

        yield from map_in_order(write_one, images, workers=REQUESTS)
        return
    for first in range(0, len(images), BATCH):
        opened = [_opened(one) for one in images[first : first + BATCH]]
        batch = [one for one in opened if not isinstance(one, SeesayError)]
        answers: Iterator[Answer | SeesayError]
        try:
            answers = iter(write(batch))
        except (ImageError, DataError):  # of one of them: each by itself tells which
            answers = map(write_one, batch)
        for one in opened:
            yield one if isinstance(one, SeesayError) else next(answers)


def _opened(one: ImageSource) -> ImageSource | SeesayError:
    """Opens a picture. A video stays a file, since the model decides which frames to read."""
    if is_video(one):
        return one
    try:
        return open_image(one)
    except ImageError as error:
        return error


def _write_captions(
    assistant: Assistant,
    prompt: str | None,
    language: Language,
    config: AnswerConfig,
    images: Sequence[ImageSource],
) -> list[Answer]:
    request = prompt or CAPTION.in_language(language)
    how = {"max_tokens": config.max_tokens, "temperature": config.temperature}
    if not isinstance(assistant, AnswerWriter):
        return [assistant.ask(one, request, **how) for one in images]  # type: ignore[arg-type]
    if prompt is None:
        return assistant.caption_batch(images, request, **how)  # type: ignore[arg-type]
    return assistant.ask_batch([(one, prompt) for one in images], **how)  # type: ignore[arg-type]


def _alone(
    write: Callable[[Sequence[ImageSource]], list[Answer]], image: ImageSource
) -> Answer | SeesayError:
    try:
        return write([image])[0]
    except (ImageError, DataError) as error:
        return error

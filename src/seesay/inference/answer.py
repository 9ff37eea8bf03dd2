"""Questions about pictures and their answers: what every assistant, local or at an endpoint, takes
and returns.

    assistant.ask("cat.jpg", "What is on the mat?").text
    assistant.ask(["a.jpg", "b.jpg"], [Message("user", "What differs?")])
    for piece in assistant.stream("cat.jpg", "Tell a story."): ...

    talk = Conversation(assistant, "cat.jpg")
    talk.ask("What is it?"), talk.ask("And where?")
"""

from collections.abc import Generator, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from PIL import Image

from seesay.data.chat import Media, Message
from seesay.data.images import (
    ImageSource,
    TensorLike,
    describe_source,
    picture_from_numbers,
    several_images,
)
from seesay.errors import ConfigError, DataError
from seesay.inference.certainty import DOUBT
from seesay.text import Text

Images: TypeAlias = ImageSource | Iterable[ImageSource] | None
"""One picture, several, or None for a question without pictures."""
Question: TypeAlias = str | Sequence[Message]
"""A question, or a conversation that ends with one."""
CAPTION = Text("Describe this picture in one sentence.", "用一句话描述这张图片。")
"""The default request for a caption."""


@dataclass(frozen=True, kw_only=True)
class AnswerToken:
    text: str
    log_probability: float
    """Natural logarithm of the token's probability, given everything before it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An assistant's answer and its cost."""

    text: str
    model: str
    """Name of the model that answered."""
    finish_reason: str
    """"stop" for a complete answer, "length" for one cut off at `max_tokens`; endpoints have
    others, such as "content_filter"."""
    prompt_tokens: int | None = None
    """Tokens read, pictures included; None if an endpoint does not report it."""
    answer_tokens: int | None = None
    """Tokens written; None if an endpoint does not report it."""
    tokens: tuple[AnswerToken, ...] | None = None
    """Each token of the answer, if log probabilities were requested."""
    certainty: float | None = None
    """How likely the answer is right, from 0 to 1; None for a sentence, and for models without
    certainty.safetensors."""
    unfamiliar: bool = False
    """Whether a picture is far from those that the model learned from."""

    @property
    def doubt(self) -> Text | None:
        """Why the assistant is not sure; None if it is, or cannot tell."""
        if self.unfamiliar:
            return Text(
                "not sure: the picture is unlike those that the model learned from",
                "不太确定：这张图片与模型学过的图片差别很大",
            )
        if self.certainty is not None and self.certainty < DOUBT:
            return Text(
                f"not sure: of such answers, {self.certainty:.0%} are right",
                f"不太确定：这样的回答约有 {self.certainty:.0%} 是对的",
            )
        return None


AnswerStream: TypeAlias = Generator[str, None, Answer]
"""Yields pieces of text as they come and returns the whole answer: `answer = yield from
assistant.stream(...)`. Closing it stops the model."""


class StopTexts:
    """Passes on the pieces of an answer up to the first stop text. Holds back text that may be the
    start of one."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._texts = texts
        self._held = ""
        self.reached = False

    def add(self, piece: str) -> str:
        """Returns the text that is certain to precede any stop text."""
        if self.reached:
            return ""
        text = self._held + piece
        found = [at for stop in self._texts if (at := text.find(stop)) >= 0]
        if found:
            self.reached, self._held = True, ""
            return text[: min(found)]
        longest = max(map(len, self._texts), default=1)
        start = next(
            at
            for at in range(max(0, len(text) - longest + 1), len(text) + 1)
            if at == len(text) or any(stop.startswith(text[at:]) for stop in self._texts)
        )
        self._held = text[start:]
        return text[:start]

    def end(self) -> str:
        """Returns the text held back, which did not become a stop text."""
        held, self._held = self._held, ""
        return held


@runtime_checkable
class Assistant(Protocol):
    """A vision-language model that answers questions.

    Pictures go where a conversation has `Media`, in order; without any, all go at the start of the
    first user message. `temperature` 0 always takes the most likely token; None uses the model's
    published settings.
    """

    @property
    def name(self) -> str: ...

    def ask(
        self,
        images: Images,
        question: Question,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
        log_probabilities: bool = False,
    ) -> Answer:
        """Returns the answer. Raises DataError for a question the model cannot take, and ImageError
        for a damaged picture."""
        ...

    def stream(
        self,
        images: Images,
        question: Question,
        *,
        max_tokens: int = 512,
        temperature: float | None = 0.0,
    ) -> AnswerStream:
        """Like `ask`, piece by piece."""
        ...


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


def conversation(
    images: object, question: object, *, max_images: int | None = None
) -> tuple[list[ImageSource], tuple[Message, ...]]:
    """Returns the list of pictures, and a conversation with one image `Media` for each.

    `images` and `question` should be `Images` and a `Question`, but are checked. A folder stands
    for all pictures in it. The counts of new Media are (1,); an assistant that knows how many
    tokens a picture takes replaces them.

    Raises DataError for an empty list of pictures (None means no pictures), for more than
    `max_images`, for a question of the wrong type or without text, and if the conversation has a
    different number of Media; ImageError for an object that is not a picture.
    """
    messages = _messages(question)
    pictures = _pictures(images, max_images)
    places = sum(
        isinstance(part, Media) and part.modality == "image"
        for message in messages
        for part in message.parts
    )
    if places == 0 and pictures:
        messages = _with_places(messages, len(pictures))
    elif places != len(pictures):
        raise DataError(
            Text(
                f"the conversation has places for {places} pictures, but {len(pictures)} were "
                "given; expected one picture for each place. Give the missing ones, or remove "
                "places.",
                f"对话里有 {places} 处图片，却给了 {len(pictures)} 张；应每处一张；请补全图片或"
                "删去多余的位置",
            )
        )
    return pictures, messages


def _messages(question: object) -> tuple[Message, ...]:
    if isinstance(question, str):
        question = [Message("user", question)]
    if not isinstance(question, Sequence) or not all(isinstance(m, Message) for m in question):
        inside = {type(one).__name__ for one in question} if isinstance(question, Sequence) else ()
        given = f"{type(question).__name__}{' of ' if inside else ''}{', '.join(sorted(inside))}"
        raise DataError(
            Text(
                f"the question is a {given}; expected a text, or a list of Message. Write it as "
                'one, such as Message("user", "What is this?").',
                f"问题的类型是 {given}；应为文本，或由 Message 组成的列表；请改写，例如 "
                'Message("user", "这是什么？")',
            )
        )
    last = question[-1] if question else None
    if last is None or last.role != "user" or not _has_text(last):
        ending = "nothing" if last is None else f"a message of {last.role!r}"
        ends = "空" if last is None else f" {last.role!r} 的消息"
        raise DataError(
            Text(
                f"the conversation ends with {ending}, and no question; expected a last message "
                "of 'user' with a text. Add the question.",
                f"对话的结尾是{ends}，没有问题；最后应为 'user' 的消息，且有文字；请补上问题",
            )
        )
    return tuple(question)


def _has_text(message: Message) -> bool:
    return any(isinstance(part, str) and part.strip() for part in message.parts)


def _pictures(images: object, max_images: int | None) -> list[ImageSource]:
    if images is None:
        return []
    pictures = list(several_images(images if isinstance(images, Iterable) else [images]))
    if not pictures:
        raise DataError(
            Text(
                "no picture was given; expected at least one. Check the list, or give None to ask "
                "without a picture.",
                "没有给出图片；至少应有一张；请检查列表；若要不带图片提问，请给 None",
            )
        )
    if max_images is not None and len(pictures) > max_images:
        raise DataError(
            Text(
                f"{len(pictures)} pictures were given; expected at most {max_images}, as "
                "many as the model takes at once. Give fewer, or ask several times.",
                f"给了 {len(pictures)} 张图片；最多应为 {max_images} 张，即模型一次能看的数量；请"
                "减少图片，或分几次提问",
            )
        )
    for one in pictures:
        if not isinstance(one, str | Path | bytes | Image.Image | np.ndarray | TensorLike):
            picture_from_numbers(one, describe_source(one))
    return pictures  # type: ignore[return-value]


def _with_places(messages: tuple[Message, ...], count: int) -> tuple[Message, ...]:
    at = next(n for n, message in enumerate(messages) if message.role == "user")
    places = (Media("image", (1,)),) * count
    first = replace(messages[at], content=(*places, *messages[at].parts))
    return (*messages[:at], first, *messages[at + 1 :])


def check_decoding(max_tokens: int, temperature: float | None) -> None:
    """Raises ConfigError for an answer without tokens and for an impossible temperature."""
    if max_tokens < 1 or not (temperature is None or 0 <= temperature < float("inf")):
        raise ConfigError(
            Text(
                f"max_tokens={max_tokens} and temperature={temperature} allow no answer; expected "
                "at least 1 token, and a temperature of 0 or more (usually up to 2). Correct them.",
                f"max_tokens={max_tokens}、temperature={temperature} 得不到回答；至少应有 1 个词元"
                "，温度应不小于 0（通常不超过 2）；请改正",
            )
        )

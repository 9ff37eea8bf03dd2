"""The tab that asks a vision-language model about pictures: the answer appears as it is written,
and further questions go on from there."""

import io
import threading
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Any, Protocol, TypeVar, runtime_checkable

from seesay.errors import MissingExtraError, SeesayError

try:
    import gradio as gr
    from starlette.exceptions import HTTPException
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.data.images import open_image
from seesay.errors import DataError, ImageError
from seesay.inference.answer import Answer, Conversation
from seesay.inference.answering import AnswerConfig, ServedAssistant
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.answering import failed, refused
from seesay.web.browser import script
from seesay.web.cards import notice
from seesay.web.form import Label, QuestionIds, QuestionRow
from seesay.web.report import both
from seesay.web.uploads import decode_picture, name_of, refusal

MOST_PICTURES = 8
"""Of one conversation."""
_THUMBNAIL = 96  # pixels
_IDS = QuestionIds(
    row="question-row",
    field="question",
    go="ask-now",
    acts="talk-acts",
    stop="ask-stop",
    clear="ask-clear",
)

Pieces = Iterator[str | Answer]
Piece = TypeVar("Piece")


@runtime_checkable
class Stream(Protocol):
    """How work is done in a thread that is kept for answers."""

    def __call__(self, function: Callable[[], Iterator[Piece]]) -> AsyncGenerator[Piece, None]:
        """Yields what a function yields. Refuses with an HTTPException where too many wait."""


@dataclass(frozen=True)
class PageAnswers:
    """The assistant of the server, and how work is done in its threads."""

    assistant: ServedAssistant | None
    """Answers questions about pictures; without one these have no tab."""
    stream: Stream


@dataclass
class _Talk:
    """The conversation of one visitor."""

    conversation: Conversation | None = None
    """None before the first question."""
    before: Conversation | None = None
    """The conversation without the question that is being answered."""
    turns: str = ""
    """The questions and answers so far, as HTML."""
    pictures: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    is_over: bool = False
    """Whether a new conversation has begun: what is still being written is shown no more."""


@dataclass(frozen=True)
class _Picture:
    content: bytes
    thumbnail: str


class Asking:
    """The components of the tab and their handlers."""

    def __init__(self, assistant: ServedAssistant, stream: Stream) -> None:
        self._assistant, self._stream = assistant, stream
        with gr.Tab(words.ASK_TAB.en, id="ask-tab") as self.tab:
            self._turns = gr.HTML(
                _welcome(), padding=False, apply_default_css=False, elem_id="turns"
            )
            self._current = gr.HTML(padding=False, apply_default_css=False, elem_id="current")
            self._row = QuestionRow(words.QUESTION, _IDS, beside=_picture_field)
            self._talk = gr.State(None)

    @property
    def labels(self) -> list[Label]:
        """The components with a text in each language."""
        return [(self.tab, {"label": words.ASK_TAB}), *self._row.labels]

    def connect(self, **quiet: Any) -> None:
        """Connects every event to its handler."""
        pictures = self._row.beside
        shown = [self._turns, self._current, self._row.field, pictures]
        handlers = (self.ask, self.stop, self.clear)
        self._row.connect(handlers, self._talk, [pictures], shown, **quiet)

    async def ask(
        self, talk: _Talk | None, question: str | None, sent: str | None
    ) -> AsyncGenerator[list[Any], None]:
        """Answers a question: talk, turns, what is being written, and both fields, again and
        again. A question that fails does not count, and stays in its field."""
        talk = talk or _Talk()
        talk.stop.clear()
        question = (question or "").strip()
        try:
            if not question:
                raise no_question()
            pictures = _pictures(sent or "", talk.pictures)
        except _RefusedPicture as error:
            yield [talk, talk.turns or gr.skip(), error.shown, gr.skip(), gr.skip()]
            return
        except SeesayError as error:
            yield [talk, talk.turns or gr.skip(), failed(error), gr.skip(), gr.skip()]
            return
        shown = _question(question, pictures)
        yield [talk, talk.turns, shown + _writing(""), "", ""]
        text = ""
        try:
            async with aclosing(self._written(talk, question, pictures)) as writing:
                async for text in writing:
                    yield [gr.skip(), gr.skip(), shown + _writing(text), gr.skip(), gr.skip()]
        except (SeesayError, HTTPException) as error:
            begun = _answer(text) if text else ""
            yield [talk, talk.turns, shown + begun + failed(error), question, sent or ""]
            return
        if not talk.is_over:
            yield [talk, talk.turns, "", gr.skip(), gr.skip()]

    async def _written(
        self, talk: _Talk, question: str, pictures: list[_Picture]
    ) -> AsyncGenerator[str, None]:
        """The answer as far as it is written; whole, or stopped, it becomes one of the turns."""
        text, shown = "", _question(question, pictures)
        stream = self._stream(partial(self._pieces, talk, question, pictures))
        async with aclosing(stream):
            async for piece in stream:
                if talk.is_over:
                    return
                if isinstance(piece, Answer):
                    note = words.CUT_OFF if piece.finish_reason == "length" else piece.doubt
                    talk.turns += shown + _answer(piece.text, note)
                    talk.pictures += len(pictures)
                    return
                text += piece
                if talk.stop.is_set():
                    talk.turns += shown + _answer(text, words.STOPPED)
                    talk.pictures += len(pictures)
                    if talk.before is not None:  # further questions are about these pictures too
                        images = [one.content for one in pictures] or None
                        talk.conversation = talk.before.continued(question, text, images)
                    return
                yield text

    def stop(self, talk: _Talk | None) -> None:
        """Ends the answer that is being written."""
        if talk is not None:
            talk.stop.set()

    def clear(self, talk: _Talk | None) -> list[Any]:
        """Begins a new conversation."""
        if talk is not None:
            talk.is_over = True
        return [None, _welcome(), "", "", ""]

    def _pieces(self, talk: _Talk, question: str, pictures: list[_Picture]) -> Pieces:
        """In a thread for answers: the pieces, and the answer."""
        if talk.conversation is None:
            talk.conversation = Conversation(self._assistant.get())
        talk.before = copy(talk.conversation)
        images = [one.content for one in pictures] or None
        most = AnswerConfig().max_tokens
        yield (yield from talk.conversation.stream(question, images, max_tokens=most))


class _RefusedPicture(Exception):
    """A picture that cannot be asked about, as a message on the page."""

    def __init__(self, shown: str) -> None:
        super().__init__(shown)
        self.shown = shown


def _pictures(sent: str, before: int) -> list[_Picture]:
    """The pictures that the page sent, a data URL a line. Raises DataError for too many of them."""
    urls = [url for url in sent.split("\n") if url]
    if before + len(urls) > MOST_PICTURES:
        raise DataError(
            Text(
                f"the conversation would have {before + len(urls)} pictures; expected at most "
                f"{MOST_PICTURES}; leave some out, or begin a new one",
                f"对话里将有 {before + len(urls)} 张图片；最多 {MOST_PICTURES} 张；请减少图片，"
                "或开始新对话",
            )
        )
    found = []
    for url in urls:
        try:
            content = decode_picture(url) or b""
            if why := refusal(content):
                raise _RefusedPicture(refused(why, name_of(url)))
            found.append(_Picture(content, _thumbnail(content)))
        except ImageError:
            raise _RefusedPicture(refused(words.PICTURE_DAMAGED, name_of(url))) from None
    return found


def _thumbnail(content: bytes) -> str:
    picture = open_image(content, target=_THUMBNAIL)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"


def no_question() -> DataError:
    return DataError(
        Text(
            "there is no question; expected a text; type one",
            "没有问题；应有一段文字；请输入问题",
        )
    )


def _picture_field() -> gr.HTML:
    return gr.HTML(
        "",
        html_template=script.PICTURES_SHOWN,
        js_on_load=script.PICTURES,
        padding=False,
        elem_id="talk-pictures",
    )


def _welcome() -> str:
    return notice(words.ASK_ABOUT, words.ASK_HOW, kind="hint")


def _question(question: str, pictures: list[_Picture]) -> str:
    shown = "".join(f'<img alt="" src="{one.thumbnail}">' for one in pictures)
    return f'<div class="turn you">{shown}<p>{escape(to_unicode(question))}</p></div>'


def _answer(text: str, note: Text | None = None) -> str:
    told = "" if note is None else f'<small class="note">{both(note)}</small>'
    return f'<div class="turn model"><p>{escape(to_unicode(text))}</p>{told}</div>'


def _writing(text: str) -> str:
    """The answer so far; dots before its first word."""
    shown = escape(to_unicode(text)) or f'<span class="waiting">{both(words.READING)}</span>'
    return f'<div class="turn model writing" aria-live="polite"><p>{shown}</p></div>'

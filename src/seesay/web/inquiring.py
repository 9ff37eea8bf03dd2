"""The tab that asks the collection: claims appear as they are verified, each with its citations,
and further questions may refer to earlier ones."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from seesay.errors import MissingExtraError, SeesayError

try:
    import gradio as gr
    from starlette.exceptions import HTTPException
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.rag.answer import AskConfig, sees_only, stream_answer
from seesay.search.library import Library
from seesay.text import to_unicode
from seesay.web import words
from seesay.web.answering import failed
from seesay.web.browser.viewer import VIEWER
from seesay.web.cards import notice
from seesay.web.citations import PartialAnswer, question_html, rendered
from seesay.web.conversing import PageAnswers, no_question
from seesay.web.form import Label, QuestionIds, QuestionRow, choices

_MOST_EARLIER = 20  # questions of the conversation that are kept
_IDS = QuestionIds(
    row="inquiry-row",
    field="inquiry",
    go="inquire",
    acts="inquiry-acts",
    stop="inquiry-stop",
    clear="inquiry-clear",
)


@dataclass
class _Inquiry:
    """The conversation of one visitor."""

    earlier: list[str] = field(default_factory=list)
    """The questions so far, as they were understood."""
    turns: str = ""
    """The questions and answers so far, as HTML."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False
    """Whether a new conversation has begun: what is still being looked for is shown no more."""


class Inquiring:
    """The components of the tab and their handlers."""

    def __init__(self, library: Library, answers: PageAnswers) -> None:
        self._library, self._answers = library, answers
        served = answers.assistant
        self._reads = served is not None and (served.is_remote or not sees_only(served.name))
        with gr.Tab(words.INQUIRY_TAB.en, id="inquiry-tab") as self.tab:
            self._turns = gr.HTML(
                _welcome(),
                js_on_load=VIEWER,
                padding=False,
                apply_default_css=False,
                elem_id="answers",
            )
            self._coming = gr.HTML(
                js_on_load=VIEWER, padding=False, apply_default_css=False, elem_id="coming"
            )
            self._row = QuestionRow(words.INQUIRY, _IDS, below=self._modes)
            self._inquiry = gr.State(None)

    @property
    def labels(self) -> list[Label]:
        """The components with a text in each language."""
        mode = {"label": words.INQUIRY_MODE, "choices": words.INQUIRY_MODES}
        return [
            (self.tab, {"label": words.INQUIRY_TAB}),
            *self._row.labels,
            (self._row.below, mode),
        ]

    def connect(self, collection: Any, **quiet: Any) -> None:
        """Connects every event to its handler."""
        shown = [self._turns, self._coming, self._row.field]
        given = [collection, self._row.below]
        handlers = (self.ask, self.stop, self.clear)
        self._row.connect(handlers, self._inquiry, given, shown, **quiet)

    def _modes(self) -> gr.Radio:
        """The choice of how to answer, where a model can."""
        return gr.Radio(
            choices(words.INQUIRY_MODES, "en"),
            value="quote",
            label=words.INQUIRY_MODE.en,
            show_label=False,
            container=False,
            visible=self._reads,
            elem_id="inquiry-mode",
        )

    async def ask(
        self, inquiry: _Inquiry | None, question: str | None, name: str | None, mode: str | None
    ) -> AsyncGenerator[list[Any], None]:
        """Answers a question: conversation, turns, what is coming, and the field, again and again.
        A question that fails or is stopped does not count; one that fails stays in its field."""
        inquiry = inquiry or _Inquiry()
        inquiry.stop.clear()
        question = to_unicode((question or "").strip())
        if not question:
            yield [inquiry, inquiry.turns or gr.skip(), failed(no_question()), gr.skip()]
            return
        head, shown = question_html(question), PartialAnswer()
        yield [inquiry, inquiry.turns, head + shown.written(), ""]
        work = partial(self._steps, name, question, mode, tuple(inquiry.earlier))
        try:
            async with aclosing(_until(inquiry.stop, self._answers.stream(work))) as steps:
                async for shown in steps:
                    if inquiry.is_over:
                        return
                    if shown.understood is None:
                        yield [gr.skip(), gr.skip(), head + shown.written(), gr.skip()]
        except (SeesayError, HTTPException) as error:
            yield [inquiry, inquiry.turns, head + failed(error), question]
            return
        if inquiry.is_over:
            return
        inquiry.turns += head + shown.done()
        if shown.understood is not None:
            inquiry.earlier = [*inquiry.earlier, shown.understood][-_MOST_EARLIER:]
        yield [inquiry, inquiry.turns, "", gr.skip()]

    def _steps(
        self, name: str | None, question: str, mode: str | None, earlier: tuple[str, ...]
    ) -> Iterator[PartialAnswer]:
        """In a thread for answers."""
        name = name or self._library.names[0]
        collection, served = self._library.get(name), self._answers.assistant
        assistant = None if served is None else served.get()
        config = AskConfig(mode="assistant" if self._reads and mode == "assistant" else "quote")
        steps = stream_answer(collection, question, config, assistant=assistant, history=earlier)
        return rendered(steps, collection, name)

    async def stop(self, inquiry: _Inquiry | None) -> None:
        """Stops the answer in progress."""
        if inquiry is not None:
            inquiry.stop.set()

    async def clear(self, inquiry: _Inquiry | None) -> list[Any]:
        """Begins a new conversation."""
        if inquiry is not None:
            inquiry.is_over = True
            inquiry.stop.set()
        return [None, _welcome(), "", ""]


async def _until(
    stop: asyncio.Event, steps: AsyncGenerator[PartialAnswer, None]
) -> AsyncGenerator[PartialAnswer, None]:
    """Yields the steps until `stop` is set, which gives up the one that is waited for."""
    stopping = asyncio.ensure_future(stop.wait())
    async with aclosing(steps):
        try:
            while True:
                coming = asyncio.ensure_future(_next(steps))
                try:
                    await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not coming.done():
                        coming.cancel()
                        await asyncio.gather(coming, return_exceptions=True)
                if coming.cancelled() or (step := coming.result()) is None:
                    return
                yield step
        finally:
            stopping.cancel()


async def _next(steps: AsyncGenerator[PartialAnswer, None]) -> PartialAnswer | None:
    async for step in steps:
        return step
    return None


def _welcome() -> str:
    return notice(words.INQUIRE_ABOUT, words.INQUIRE_HOW, kind="hint")

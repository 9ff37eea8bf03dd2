"""The form of the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from seesay.errors import MissingExtraError

try:
    import gradio as gr
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.text import Text
from seesay.web import words
from seesay.web.asking import MOST_CHARACTERS
from seesay.web.browser import script
from seesay.web.report import both

LONGEST_DAY = 20
"""Characters."""
AT_ONCE = 64
"""Visitors whose question is answered or waits."""

Label = tuple[Any, dict[str, Any]]
"""A component, and its texts in both languages by the name of the property that shows them."""

Handlers = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]

_BRAND = (
    '<div class="brand"><b>看图说话</b><span><span class="en">seesay · find pictures and texts by '
    'what is in them</span><span class="zh">seesay · 按内容查找图片和文字</span></span></div>'
)


class Head:
    """The head of the page: collection and language."""

    def __init__(self, names: Sequence[str]) -> None:
        with gr.Row(elem_id="head"):
            gr.HTML(_BRAND, padding=False)
            self.collection = gr.Dropdown(
                list(names),
                value=names[0],
                label=words.COLLECTION.en,
                show_label=False,
                container=False,
                visible=len(names) > 1,
                interactive=True,
                elem_id="collection",
            )
            self.language = gr.Radio(
                [("English", "en"), ("中文", "zh")],
                value="en",
                label="Language 语言",
                show_label=False,
                container=False,
                elem_id="language",
            )


class Form:
    """Query and filters."""

    def __init__(self, collection: gr.Dropdown) -> None:
        self.collection = collection
        with gr.Row(elem_id="ask"):
            self.words = gr.Textbox(
                placeholder=words.ASK.en,
                label=words.ASK.en,
                show_label=False,
                container=False,
                lines=1,
                max_lines=1,
                max_length=4000,
                autofocus=True,
                elem_id="words",
            )
            self.picture = gr.HTML(
                "",
                html_template=script.PICTURE_SHOWN,
                js_on_load=script.PICTURE,
                padding=False,
                elem_id="picture",
            )
            self.go = gr.Button(words.SEARCH.en, variant="primary", elem_id="go")
        with gr.Accordion(words.MORE.en, open=False, elem_id="more") as self.more:
            self._build_options()

    def _build_options(self) -> None:
        with gr.Row():
            self.without = gr.Textbox(
                label=words.WITHOUT.en,
                placeholder=words.WITHOUT_EXAMPLE.en,
                max_lines=1,
                max_length=4000,
                elem_id="without",
            )
            self.min_match = gr.Slider(
                0, 100, 0, step=5, label=words.MIN_MATCH.en, elem_id="min-match"
            )
        with gr.Row():
            self.kind = gr.Radio(_plain(words.KINDS), value="", label=words.KIND.en, elem_id="kind")
            self.folders = gr.Dropdown(
                [], value=[], multiselect=True, label=words.FOLDERS.en, elem_id="folders"
            )
        with gr.Row():
            self.since = _day(words.SINCE, "since")
            self.until = _day(words.UNTIL, "until")
            self.where = gr.Textbox(
                label=words.WHERE.en,
                placeholder=words.WHERE_EXAMPLE.en,
                max_lines=1,
                max_length=500,
                elem_id="where",
            )

    @property
    def inputs(self) -> list[Any]:
        """The values that `Handlers` reads, in this order."""
        return [
            *(self.collection, self.words, self.picture, self.without, self.min_match),
            *(self.kind, self.folders, self.since, self.until, self.where),
        ]

    @property
    def filters(self) -> list[Any]:
        """The filters except the folders."""
        return [self.without, self.min_match, self.kind, self.since, self.until, self.where]

    @property
    def fields(self) -> list[Any]:
        """The fields that an address restores, in the order of `Handlers.restore`; folders come
        with their collection."""
        return [self.collection, self.words, self.picture, *self.filters]

    @property
    def labels(self) -> list[Label]:
        """The components with a text in each language."""
        return [
            (self.collection, {"label": words.COLLECTION}),
            (self.words, {"label": words.ASK, "placeholder": words.ASK}),
            (self.go, {"value": words.SEARCH}),
            (self.more, {"label": words.MORE}),
            (self.without, {"label": words.WITHOUT, "placeholder": words.WITHOUT_EXAMPLE}),
            (self.min_match, {"label": words.MIN_MATCH}),
            (self.kind, {"label": words.KIND, "choices": words.KINDS}),
            (self.folders, {"label": words.FOLDERS}),
            (self.where, {"label": words.WHERE, "placeholder": words.WHERE_EXAMPLE}),
        ]


@dataclass(frozen=True, kw_only=True)
class QuestionIds:
    """The names of the elements of a QuestionRow, for the style and for tests."""

    row: str
    field: str
    go: str
    acts: str
    stop: str
    clear: str


class QuestionRow:
    """The field for a question with its button, and below it those that stop the answer and begin a
    new conversation. `beside` and `below` make a component that stands first in its row."""

    def __init__(
        self,
        placeholder: Text,
        ids: QuestionIds,
        *,
        beside: Callable[[], Any] = lambda: None,
        below: Callable[[], Any] = lambda: None,
    ) -> None:
        self._placeholder = placeholder
        with gr.Row(elem_id=ids.row):
            self.beside = beside()
            self.field = gr.Textbox(
                placeholder=placeholder.en,
                label=placeholder.en,
                show_label=False,
                container=False,
                lines=1,
                max_lines=1,
                max_length=MOST_CHARACTERS,
                elem_id=ids.field,
            )
            self._go = gr.Button(words.ASK_NOW.en, variant="primary", elem_id=ids.go)
        with gr.Row(elem_id=ids.acts):
            self.below = below()
            self._stop = gr.Button(words.STOP.en, size="sm", elem_id=ids.stop)
            self._clear = gr.Button(words.NEW_TALK.en, size="sm", elem_id=ids.clear)

    @property
    def labels(self) -> list[Label]:
        """The components with a text in each language."""
        return [
            (self.field, {"label": self._placeholder, "placeholder": self._placeholder}),
            (self._go, {"value": words.ASK_NOW}),
            (self._stop, {"value": words.STOP}),
            (self._clear, {"value": words.NEW_TALK}),
        ]

    def connect(
        self,
        handlers: Handlers,
        talk: Any,
        given: Sequence[Any],
        shown: Sequence[Any],
        **quiet: Any,
    ) -> None:
        """Connects the handlers that ask, stop and clear. The first gets the conversation, the
        question and `given`; it and the last return the conversation and `shown`."""
        ask, stop, clear = handlers
        gr.on(
            [self._go.click, self.field.submit],
            ask,
            [talk, self.field, *given],
            [talk, *shown],
            concurrency_limit=AT_ONCE,
            **quiet,
        )
        self._stop.click(stop, talk, None, **quiet)
        self._clear.click(clear, talk, [talk, *shown], **quiet)


def _day(label: Text, name: str) -> Any:
    """The browser's own picker for a date, which phones know how to show."""
    day: Any = gr.HTML(
        "",
        html_template=f'<label class="day"><span>{both(label)}</span><input type="date"></label>',
        js_on_load=script.DAY,
        padding=False,
        elem_id=name,
    )
    day.max_length = LONGEST_DAY  # for the allow-list
    return day


def choices(options: Sequence[tuple[Text, str]], language: str) -> list[tuple[str, str]]:
    """Choices in a language."""
    return [(label.in_language(language), value) for label, value in options]


def label_updates(labels: Sequence[Label], language: str) -> list[Any]:
    """An update for each component that has texts."""
    return [gr.update(**_in_language(texts, language)) for _, texts in labels]


def _in_language(texts: dict[str, Any], language: str) -> dict[str, Any]:
    return {
        key: choices(text, language) if key == "choices" else text.in_language(language)
        for key, text in texts.items()
    }


def _plain(options: Sequence[tuple[Text, str]]) -> list[tuple[str, str]]:
    return choices(options, "en")

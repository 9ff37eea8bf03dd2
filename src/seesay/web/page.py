"""The page: its components, and the handlers of their events."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seesay.errors import MissingExtraError

try:
    import gradio as gr
    from fastapi import FastAPI
    from gradio.events import api
    from starlette.routing import Mount
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.search.library import Library
from seesay.web import words
from seesay.web.address import LONGEST
from seesay.web.allowlist import AllowList
from seesay.web.browser import script
from seesay.web.browser.plane import PLANE
from seesay.web.browser.style import STYLE
from seesay.web.browser.viewer import VIEWER
from seesay.web.conversing import Asking, PageAnswers
from seesay.web.document import ICON, Document
from seesay.web.form import Form, Head, Label, choices, label_updates
from seesay.web.handlers import Handlers
from seesay.web.inquiring import Inquiring
from seesay.web.managing import Jobs, Manage

_WAITING, _SESSIONS = 128, 500
_SANS = (
    *("system-ui", "-apple-system", "PingFang SC", "Microsoft YaHei", "Noto Sans SC"),
    *("Noto Sans CJK SC", "WenQuanYi Micro Hei", "sans-serif"),
)
_QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_LAST: dict[str, Any] = {"trigger_mode": "always_last"}
"""What is asked while an answer is on its way is answered next; else Gradio drops it. Of several
such questions only the last counts, as while a slider is drawn."""
_ANSWERS: dict[str, Any] = {**_QUIET, "concurrency_id": "answers"}
"""Questions are taken up in the order in which they come: with a queue for each event, a later one
could begin before."""


@dataclass
class _Newest:
    """The newest question of a visitor, and the newest one that opened a collection."""

    asked: object = None
    opened: object = None


class _Page:
    """The components and how they are connected."""

    def __init__(
        self,
        library: Library,
        handlers: Handlers,
        jobs: Jobs | None,
        answers: PageAnswers | None,
    ) -> None:
        self._handlers = handlers
        self._head = Head(library.names)
        with gr.Tabs():
            with gr.Tab(words.SEARCH.en, id="search") as searching:
                self._form = Form(self._head.collection)
                self._results = _html("results", "found", VIEWER + script.RESULTS + script.HISTORY)
            self._inquiring: Inquiring | None = None
            self._asking: Asking | None = None
            if answers is not None:
                self._inquiring = Inquiring(handlers.library, answers)
                if answers.assistant is not None:
                    self._asking = Asking(answers.assistant, answers.stream)
            with gr.Tab(words.DUPLICATES.en, id="duplicates") as self._doubling:
                self._copies = _html("copies", "copies", VIEWER)
            with gr.Tab(words.MAP.en, id="map") as self._mapping:
                self._modality = gr.Radio(
                    choices(words.PLACES, "en"),
                    value="image",
                    label=words.SHOWN.en,
                    show_label=False,
                    container=False,
                    elem_id="modality",
                )
                self._told = gr.HTML(padding=False, apply_default_css=False, elem_id="told")
                self._plane = _html("map", "", PLANE)
                self._picked = _html("picked", "found", VIEWER)
            self._manage = None if jobs is None else Manage(jobs, library.names[0])
        self._closing = gr.HTML(padding=False, apply_default_css=False)
        self._asked, self._drawn, self._newest = gr.State(None), gr.State(None), gr.State(_Newest())
        self._address = gr.Textbox(visible=False, max_length=LONGEST, label="Address")
        self._labels: list[Label] = [
            *self._form.labels,
            (self._modality, {"label": words.SHOWN, "choices": words.PLACES}),
            (searching, {"label": words.SEARCH}),
            (self._doubling, {"label": words.DUPLICATES}),
            (self._mapping, {"label": words.MAP}),
            *(self._manage.labels if self._manage else ()),
            *(self._inquiring.labels if self._inquiring else ()),
            *(self._asking.labels if self._asking else ()),
        ]

    def connect(self, page: gr.Blocks) -> None:
        """Connects every event to its handler."""
        # The first to be named is "search"; those of the page itself are called something else.
        api(self._handlers.find, api_name="search")
        self._connect_head(page)
        self._connect_search()
        handlers, collection = self._handlers, self._head.collection
        self._doubling.select(
            handlers.duplicates, [collection, self._copies], self._copies, **_QUIET
        )
        gr.on(
            [self._mapping.select, self._modality.input],
            handlers.draw,
            [collection, self._modality, self._drawn],
            [self._told, self._plane, self._picked, self._drawn],
            **_LAST,
            **_QUIET,
        )

        def pick(name: str | None, event: gr.EventData) -> str:
            return handlers.pick(name, event._data)

        self._plane.select(pick, collection, self._picked, **_QUIET)
        self._connect_history()
        if self._inquiring is not None:
            self._inquiring.connect(collection, **_QUIET)
        if self._asking is not None:
            self._asking.connect(**_QUIET)
        if self._manage is not None:
            self._connect_changing(self._manage)

    def _connect_changing(self, manage: Manage) -> None:
        """The handlers that change a collection, which a read-only server does not have."""
        handlers = self._handlers

        removed = self._answering(handlers.remove, self._opened, self._around, asks=False)
        again = self._answering(handlers.again, self._opened, self._around, asks=False)

        def remove(event: gr.EventData, newest: _Newest, *values: Any) -> list[Any]:
            return removed(newest, event._data, *values)

        inputs = [self._newest, self._asked, *self._form.inputs]
        self._results.delete(remove, inputs, self._opened, **_QUIET)
        collection = self._head.collection
        ending = [self._newest, collection, self._asked]
        manage.connect(collection, again, ending, self._opened, **_QUIET)

    def _answering(
        self,
        answer: Callable[..., Sequence[Any]],
        outputs: Sequence[Any],
        around: Sequence[Any] = (),
        *,
        asks: bool = True,
    ) -> Callable[..., list[Any]]:
        """An event that writes the results: of what a visitor asks only the newest is shown, which
        every event asks with all that is on the form, whatever answer comes first. Those that open
        a collection also write what is `around` the results, such as its folders, which a mere
        question does not overtake. An event that does not ask shows the last question again, as
        long as there is no newer one."""
        opening = {one._id for one in around}

        def answered(newest: _Newest, *values: Any) -> list[Any]:
            if asks:
                newest.asked = object()
                newest.opened = newest.asked if around else newest.opened
            then = replace(newest)
            shown = answer(*values)
            asked, opened = newest.asked is then.asked, newest.opened is then.opened
            return [
                value if (opened if one._id in opening else asked) else gr.skip()
                for one, value in zip(outputs, shown, strict=True)
            ]

        return answered

    def _connect_head(self, page: gr.Blocks) -> None:
        handlers, head, labels = self._handlers, self._head, self._labels
        drawn = [self._told, self._plane, self._picked, self._drawn]
        self._opened = [self._form.folders, self._results, self._closing, self._copies]
        self._opened += [*drawn, self._asked]
        self._around = [self._form.folders, self._closing, self._copies, *drawn]
        self._restored = [*self._opened, *self._form.fields]
        restore = self._answering(handlers.restore, self._restored, self._around)
        opened = self._answering(handlers.open, self._opened, self._around)
        spoken = [component for component, _ in labels]

        def speak(language: str) -> list[Any]:
            return label_updates(labels, language)

        def open_in(language: str) -> list[Any]:
            return [language, *label_updates(labels, language)]

        page.load(open_in, head.language, [head.language, *spoken], js=script.LANGUAGE, **_QUIET)
        addressed = [self._newest, self._address]
        page.load(restore, addressed, self._restored, js=script.ADDRESS, **_ANSWERS)
        head.language.input(speak, head.language, spoken, js=script.SPEAK, **_QUIET)
        chosen = [self._newest, head.collection]
        head.collection.input(opened, chosen, self._opened, **_LAST, **_ANSWERS)

    def _connect_history(self) -> None:
        """Back and Forward."""
        restored = self._answering(self._handlers.restore, self._restored, self._around)

        def restore(event: gr.EventData, newest: _Newest) -> list[Any]:
            return restored(newest, str(event._data.get("address", "")))

        # Back may be pressed again before the answer is there.
        many: dict[str, Any] = {"trigger_mode": "multiple"}
        self._results.select(restore, self._newest, self._restored, **many, **_ANSWERS)

    def _connect_search(self) -> None:
        handlers, form, results = self._handlers, self._form, self._results
        asks = [form.words.submit, form.go.click, form.picture.input]
        refines = [form.kind.input, form.folders.input, form.min_match.input, form.picture.clear]
        refines += [form.since.input, form.until.input, form.where.submit]
        inputs, shown = [self._newest, *form.inputs], [results, self._asked]
        search = self._answering(handlers.search, shown)
        refine = self._answering(handlers.refine, shown)
        gr.on([*asks, form.without.submit], search, inputs, shown, **_LAST, **_ANSWERS)
        gr.on(refines, refine, inputs, shown, **_LAST, **_ANSWERS)
        found = [*shown, form.words, *form.filters, form.folders]
        answer = self._answering(handlers.act, found)

        def act(event: gr.EventData, newest: _Newest, *values: Any) -> list[Any]:
            return answer(newest, event._data, *values)

        inputs = [self._newest, self._asked, *form.inputs]
        acted = results.click(act, inputs, found, **_ANSWERS)
        acted.then(None, js=script.TO_TOP, **_QUIET)


def build_page(
    library: Library,
    *,
    jobs: Jobs | None = None,
    searched: Callable[[str], None] | None = None,
    answers: PageAnswers | None = None,
) -> gr.Blocks:
    """The page on the collections of a library; see `mount`. `jobs` are those of the server:
    without them the page only reads. `searched` is told the collection of each search. `answers`
    is how questions to a collection, and about pictures, are answered, in tabs of their own.

    Pictures to look for come as data, never as a file that a visitor names."""
    with gr.Blocks(title=words.TITLE, analytics_enabled=False) as page:
        handlers = Handlers(library, read_only=jobs is None, searched=searched)
        _Page(library, handlers, jobs, answers).connect(page)
    page.queue(default_concurrency_limit=max(2, os.cpu_count() or 1), max_size=_WAITING)
    page.state_session_capacity = _SESSIONS
    return page


def mount(app: FastAPI, page: gr.Blocks) -> FastAPI:
    """The page at the root of an application that has the thumbnails. Nothing is asked from
    anywhere else: no font, no script, no counting. An open page holds a stream that only
    `app.state.end_streams` ends: call it when the server stops."""
    theme = gr.themes.Soft(
        primary_hue="blue",
        neutral_hue="slate",
        font=list(_SANS),
        font_mono=["ui-monospace", "monospace"],
    )
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=theme,
        css=STYLE,
        favicon_path=str(ICON),
        allowed_paths=[],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        show_error=False,
    )
    # Gradio looks where a file lies only once this is set, which for a mounted page nobody does.
    page.has_launched = True
    mounted: Any = next(one for one in app.routes if isinstance(one, Mount))
    app.state.end_streams = mounted.app.stop_event.set
    mounted.app = Document(AllowList(mounted.app, page))
    return app


def _html(name: str, style: str, js: str) -> gr.HTML:
    return gr.HTML(
        elem_id=name, elem_classes=style, js_on_load=js, padding=False, apply_default_css=False
    )

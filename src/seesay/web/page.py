"""The page: its components, and the handlers of their events."""

import os
from collections.abc import Callable
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
from seesay.web.asking import SearchForm
from seesay.web.browser import script
from seesay.web.browser.plane import PLANE
from seesay.web.browser.style import STYLE
from seesay.web.browser.viewer import VIEWER
from seesay.web.document import ICON, Document
from seesay.web.form import Form, Head, Label, choices, label_updates
from seesay.web.handlers import Handlers
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


class _Page:
    """The components and how they are connected."""

    def __init__(self, library: Library, handlers: Handlers, jobs: Jobs | None) -> None:
        self._handlers = handlers
        self._head = Head(library.names)
        with gr.Tabs():
            with gr.Tab(words.SEARCH.en, id="search") as searching:
                self._form = Form(self._head.collection)
                self._results = _html("results", "found", VIEWER + script.RESULTS + script.HISTORY)
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
        self._asked, self._drawn = gr.State(None), gr.State(None)
        self._address = gr.Textbox(visible=False, max_length=LONGEST, label="Address")
        self._labels: list[Label] = [
            *self._form.labels,
            (self._modality, {"label": words.SHOWN, "choices": words.PLACES}),
            (searching, {"label": words.SEARCH}),
            (self._doubling, {"label": words.DUPLICATES}),
            (self._mapping, {"label": words.MAP}),
            *(self._manage.labels if self._manage else ()),
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
        if self._manage is not None:
            self._connect_changing(self._manage)

    def _connect_changing(self, manage: Manage) -> None:
        """The handlers that change a collection, which a read-only server does not have."""
        handlers = self._handlers

        def remove(event: gr.EventData, last: SearchForm | None, *values: Any) -> list[Any]:
            return handlers.remove(event._data, last, *values)

        inputs = [self._asked, *self._form.inputs]
        self._results.delete(remove, inputs, self._opened, **_QUIET)
        manage.connect(self._head.collection, handlers.again, self._opened, **_QUIET)

    def _connect_head(self, page: gr.Blocks) -> None:
        handlers, head, labels = self._handlers, self._head, self._labels
        opened = [self._form.folders, self._results, self._closing, self._copies]
        opened += [self._told, self._plane, self._picked, self._drawn, self._asked]
        self._opened = opened
        spoken = [component for component, _ in labels]

        def speak(language: str) -> list[Any]:
            return label_updates(labels, language)

        def open_in(language: str) -> list[Any]:
            return [language, *label_updates(labels, language)]

        page.load(open_in, head.language, [head.language, *spoken], js=script.LANGUAGE, **_QUIET)
        self._restored = [*opened, *self._form.fields]
        page.load(handlers.restore, self._address, self._restored, js=script.ADDRESS, **_QUIET)
        head.language.input(speak, head.language, spoken, js=script.SPEAK, **_QUIET)
        head.collection.input(handlers.open, head.collection, opened, **_LAST, **_QUIET)

    def _connect_history(self) -> None:
        """Back and Forward."""
        handlers = self._handlers

        def restore(event: gr.EventData) -> list[Any]:
            return handlers.restore(str(event._data.get("address", "")))

        # Back may be pressed again before the answer is there.
        many: dict[str, Any] = {"trigger_mode": "multiple"}
        self._results.select(restore, None, self._restored, **many, **_QUIET)

    def _connect_search(self) -> None:
        handlers, form, results, asked = self._handlers, self._form, self._results, self._asked
        asks = [form.words.submit, form.go.click, form.picture.input]
        refines = [form.kind.input, form.folders.input, form.min_match.input, form.picture.clear]
        refines += [form.since.input, form.until.input, form.where.submit]
        shown: list[Any] = [results, asked]
        gr.on([*asks, form.without.submit], handlers.search, form.inputs, shown, **_LAST, **_QUIET)
        gr.on(refines, handlers.refine, form.inputs, shown, **_LAST, **_QUIET)

        def act(event: gr.EventData, last: SearchForm | None, *values: Any) -> tuple[Any, ...]:
            return handlers.act(event._data, last, *values)

        found = [results, asked, form.words, *form.filters, form.folders]
        acted = results.click(act, [asked, *form.inputs], found, **_QUIET)
        acted.then(None, js=script.TO_TOP, **_QUIET)


def build_page(
    library: Library,
    *,
    jobs: Jobs | None = None,
    searched: Callable[[str], None] | None = None,
) -> gr.Blocks:
    """The page on the collections of a library; see `mount`. `jobs` are those of the server:
    without them the page only reads. `searched` is told the collection of each search.

    Pictures to look for come as data, never as a file that a visitor names."""
    with gr.Blocks(title=words.TITLE, analytics_enabled=False) as page:
        handlers = Handlers(library, read_only=jobs is None, searched=searched)
        _Page(library, handlers, jobs).connect(page)
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

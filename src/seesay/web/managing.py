"""The tab that changes a collection: update it, add a folder, tag its pictures.

Each of these is a job of the server, as the API starts it; this tab shows its progress. A read-only
server has no such tab, and none of its functions."""

from collections.abc import Callable
from html import escape
from typing import Any, Protocol, runtime_checkable

from seesay.errors import MissingExtraError, SeesayError

try:
    import gradio as gr
    from starlette.exceptions import HTTPException
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.search.asking.tags import LONGEST_LABEL, MOST_LABELS, TagReport
from seesay.search.catalog.files import Quarantined
from seesay.search.indexing.options import IndexProgress, IndexReport
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.address import to_address
from seesay.web.answering import failed
from seesay.web.asking import SearchForm, split_filters
from seesay.web.cards import name_of, notice
from seesay.web.form import Label
from seesay.web.report import both

_POLL_S = 0.7
_LONGEST_PATH = 4096  # characters
# A browser cuts what is pasted at the length of its field; more labels than that are to be named.
_LONGEST_LABELS = 2 * MOST_LABELS * LONGEST_LABEL
_MOST_UNREADABLE = 50  # files that are listed
_FORBIDDEN, _CONFLICT = 403, 409


@runtime_checkable
class Jobs(Protocol):
    """The jobs of the server, one for each collection at a time. They refuse with an HTTPException:
    403 for a folder that may not be indexed, 409 where one runs."""

    def index(self, name: str, paths: list[str]) -> Any: ...
    def tag(self, name: str, labels: list[str] | None, filter: None) -> Any: ...
    def latest(self, name: str) -> Any: ...
    def unreadable(self, name: str) -> list[Quarantined]: ...
    def cancel_latest(self, name: str) -> None: ...


class Manage:
    """The components of the tab and their handlers."""

    def __init__(self, jobs: Jobs, default: str) -> None:
        self._jobs, self._default = jobs, default
        with gr.Tab(words.MANAGE.en, id="manage") as self.tab:
            with gr.Row(elem_classes="line"):
                gr.HTML(f"<p>{both(words.UPDATE_TOLD)}</p>", padding=False)
                self._update = gr.Button(words.UPDATE.en, variant="primary", elem_id="update")
            with gr.Row(elem_classes="line"):
                self._path = _field(
                    words.FOLDER_PATH, words.FOLDER_EXAMPLE, "folder-path", _LONGEST_PATH
                )
                self._add = gr.Button(words.ADD_FOLDER.en, elem_id="add-folder")
            with gr.Row(elem_classes="line"):
                self._tags = _field(
                    words.TAG_LABELS, words.TAG_EXAMPLE, "tag-labels", _LONGEST_LABELS
                )
                self._tag = gr.Button(words.TAG.en, elem_id="tag")
            self._status = gr.HTML(padding=False, apply_default_css=False, elem_id="job")
            self._cancel = gr.Button(words.CANCEL.en, visible=False, elem_id="cancel")
            self._timer = gr.Timer(_POLL_S, active=False)

    @property
    def labels(self) -> list[Label]:
        """The components with a text in each language."""
        return [
            (self.tab, {"label": words.MANAGE}),
            (self._update, {"value": words.UPDATE}),
            (self._path, {"label": words.FOLDER_PATH, "placeholder": words.FOLDER_EXAMPLE}),
            (self._add, {"value": words.ADD_FOLDER}),
            (self._tags, {"label": words.TAG_LABELS, "placeholder": words.TAG_EXAMPLE}),
            (self._tag, {"value": words.TAG}),
            (self._cancel, {"value": words.CANCEL}),
        ]

    def connect(
        self,
        collection: gr.Dropdown,
        ended: Callable[..., list[Any]],
        given: list[Any],
        into: list[Any],
        **quiet: Any,
    ) -> None:
        """Once a job has ended, `ended` is called with the values of the components `given`; what
        it returns goes `into` others."""
        shown = [self._status, self._cancel, self._timer]

        def follow(name: str | None, *values: Any) -> list[Any]:
            now = self.status(name)
            running = self._is_running(name)
            return [*now, *([gr.skip()] * len(into) if running else ended(*values))]

        self._update.click(self.update, collection, shown, **quiet)
        gr.on(
            [self._add.click, self._path.submit],
            self.add,
            [collection, self._path],
            shown,
            **quiet,
        )
        gr.on(
            [self._tag.click, self._tags.submit], self.tag, [collection, self._tags], shown, **quiet
        )
        self._cancel.click(self.cancel, collection, shown, **quiet)
        gr.on([self.tab.select, collection.input], self.status, collection, shown, **quiet)
        self._timer.tick(follow, [collection, *given], [*shown, *into], **quiet)

    def update(self, name: str | None) -> list[Any]:
        """Updates the folders of the collection."""
        return self._begin(name, lambda known: self._jobs.index(known, []))

    def add(self, name: str | None, path: str | None) -> list[Any]:
        """Indexes a folder."""
        return self._begin(name, lambda known: self._jobs.index(known, [(path or "").strip()]))

    def tag(self, name: str | None, text: str | None) -> list[Any]:
        """Gives each picture the labels that fit it."""
        labels = list(dict.fromkeys(split_filters((text or "").replace("、", ","))))
        if not labels:
            return self._told(name, notice(words.NO_LABELS, words.NO_LABELS_TOLD, kind="wrong"))
        return self._begin(name, lambda known: self._jobs.tag(known, labels, None))

    def cancel(self, name: str | None) -> list[Any]:
        """Cancels the job after the files at hand."""
        self._jobs.cancel_latest(name or self._default)
        return self.status(name)

    def status(self, name: str | None) -> list[Any]:
        """The progress of the last job: a message, the cancel button, and the timer that asks
        again."""
        name = name or self._default
        job = self._jobs.latest(name)
        told = _told(job, None if name == self._default else name)
        if job is not None and isinstance(job.report, IndexReport):
            told += _unreadable(self._jobs.unreadable(name))
        return self._told(name, told)

    def _begin(self, name: str | None, begin: Callable[[str], Any]) -> list[Any]:
        try:
            begin(name or self._default)
        except HTTPException as error:
            refusals = {
                _FORBIDDEN: (words.NOT_ALLOWED, words.WHICH_ALLOWED),
                _CONFLICT: (words.BUSY, words.BUSY_TOLD),
            }
            return self._told(name, notice(*refusals[error.status_code], kind="wrong"))
        except SeesayError as error:
            return self._told(name, failed(error))
        return self.status(name)

    def _told(self, name: str | None, message: str) -> list[Any]:
        running = self._is_running(name)
        return [message, gr.update(visible=running), gr.update(active=running)]

    def _is_running(self, name: str | None) -> bool:
        job = self._jobs.latest(name or self._default)
        return job is not None and job.state == "running"


def _field(label: Text, example: Text, name: str, longest: int) -> gr.Textbox:
    return gr.Textbox(
        label=label.en,
        placeholder=example.en,
        max_lines=1,
        max_length=longest,
        elem_id=name,
    )


def _told(job: Any, collection: str | None) -> str:
    """The outcome of a job, empty where there was none. `collection` is None for the default."""
    if job is None:
        return ""
    match job.state, job.report:
        case "running", _:
            return notice(_progress(job.progress))
        case "failed", _:
            return notice(words.FAILED, detail=job.error, kind="wrong")
        case "interrupted", _:
            return notice(words.CANCELLED, words.CANCELLED_TOLD)
        case _, IndexReport() as report:
            return _indexed(report)
        case _, TagReport() as report:
            return _tagged(report, collection)
    return ""


def _progress(progress: Any) -> Text:
    if progress is None:
        return words.COUNTING
    total = "?" if progress.total is None else progress.total
    if isinstance(progress, IndexProgress):
        counts = {"done": progress.done, "total": total, "failed": progress.failed}
        return words.INDEXING.format(**counts)
    return words.TAGGING.format(done=progress.done, total=total)


def _indexed(report: IndexReport) -> str:
    counts = ("added", "updated", "removed", "unchanged", "failed")
    head = words.INDEXED.format(**{one: getattr(report, one) for one in counts})
    if not report.missing_roots:
        return notice(head)
    folders = ", ".join(map(to_unicode, report.missing_roots))
    return notice(head, words.NOT_THERE.format(folders=folders))


def _unreadable(files: list[Quarantined]) -> str:
    """The files that could not be read, each with the reason; folded away."""
    if not files:
        return ""
    rows = "".join(
        f'<li><b title="{escape(to_unicode(one.path))}">{escape(to_unicode(name_of(one.path)))}</b>'
        f" {both(one.error)}</li>"
        for one in files[:_MOST_UNREADABLE]
    )
    if (more := len(files) - _MOST_UNREADABLE) > 0:
        rows += f"<li>{both(words.MORE_UNREADABLE.format(count=more))}</li>"
    head = both(words.UNREADABLE.format(count=len(files)))
    return f'<details class="why"><summary>{head}</summary><ul>{rows}</ul></details>'


def _tagged(report: TagReport, collection: str | None) -> str:
    """The number of pictures by tag, with a link to those of each."""
    head = words.TAGGED.format(tagged=report.tagged, pictures=report.pictures)
    links = "".join(
        f'<a class="do" href="{escape(to_address(_with_tag(label, collection)))}">'
        f"{escape(to_unicode(label))} <small>{count}</small></a>"
        for label, count in report.counts.items()
        if count
    )
    return notice(head) + f'<p class="chips">{links}</p>'


def _with_tag(label: str, collection: str | None) -> SearchForm:
    return SearchForm(collection=collection, where=f"tag={label}")

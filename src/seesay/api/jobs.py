"""Background jobs that change a collection, one per collection at a time."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from seesay.api.failures import RefusedError
from seesay.api.work import use_torch_threads
from seesay.errors import SeesayError
from seesay.inference.cancelling import Cancelled, cancelled_by
from seesay.search.asking.tags import TagReport, check_labels
from seesay.search.catalog.files import Quarantined
from seesay.search.catalog.filters import Filter
from seesay.search.indexing.options import IndexOptions, IndexProgress, IndexReport
from seesay.search.indexing.walk import is_below
from seesay.search.library import Library
from seesay.text import Text

_log = logging.getLogger("seesay.api")
_LOW_PRIORITY = 15  # of 19
_PATIENCE_S = 60.0  # for what is at hand when the server ends

State = Literal["idle", "running", "done", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class IndexingStatus:
    """How far indexing has come."""

    collection: str
    state: State
    """Of the last run that this server began; "idle" before the first."""
    progress: IndexProgress | None = None
    report: IndexReport | None = None
    """What happened to the files, once the run has ended."""
    error: Text | None = None
    """Why it failed; everything stored so far stays, and the next run continues from there."""


@dataclass(frozen=True, kw_only=True)
class TaggingProgress:
    """Pictures processed so far."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class TaggingStatus:
    """How far tagging has come."""

    collection: str
    state: State
    """Of the last run that this server began; "idle" before the first."""
    progress: TaggingProgress | None = None
    report: TagReport | None = None
    """How many pictures got which tag, once it has ended."""
    error: Text | None = None
    """Why it failed; tags that were stored before stay."""


Status = IndexingStatus | TaggingStatus
Kind = type[IndexingStatus] | type[TaggingStatus]
_NAMES: dict[Kind, tuple[Text, str]] = {
    IndexingStatus: (Text("indexed", "收录"), "IndexingRuns"),
    TaggingStatus: (Text("tagged", "打标签"), "TaggingRuns"),
}


@dataclass
class _Job:
    status: Status
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Jobs:
    """The jobs of one server."""

    def __init__(self, library: Library, folders: tuple[str, ...] = ()) -> None:
        """`folders` may be indexed beside those that a collection has already."""
        self._library = library
        self._folders = folders
        self._mutex = threading.Lock()
        self._jobs: dict[tuple[str, Kind], _Job] = {}
        self._latest: dict[str, _Job] = {}

    def index(self, name: str, paths: list[str], *, archives: bool = False) -> Status:
        """Update the indexed folders, or index `paths`. Raises RefusedError for one
        outside of the folders that may be indexed and where a job runs already, CollectionError
        where the collection may only be read, ConfigError where it knows no folder."""
        collection = self._library.get(name)
        collection.store.require_writable()
        inside = (*self._folders, *collection.stats().roots)
        for path in paths:
            _require_inside(path, inside)
        if not paths:
            collection.known_roots()
        options = IndexOptions(workers=_workers(), inside=inside, archives=archives)

        def work(job: _Job) -> IndexReport:
            return collection.index(
                paths,
                options,
                on_progress=lambda progress: _set(job, progress=progress),
                stop=job.stop,
            )

        return self._start(name, IndexingStatus, work)

    def tag(self, name: str, labels: list[str] | None, filter: Filter | None) -> Status:
        """Tag pictures with those of the labels that fit. Raises as `index` does, and ConfigError
        for labels that are too many or too long."""
        check_labels(labels or ())
        collection = self._library.get(name)
        collection.store.require_writable()

        def work(job: _Job) -> TagReport:
            def tell(done: int, total: int, _: int) -> None:
                _set(job, progress=TaggingProgress(done=done, total=total))

            with cancelled_by(job.stop):
                return collection.tag(labels, where=filter or (), on_progress=tell)

        return self._start(name, TaggingStatus, work)

    def status(self, name: str, kind: Kind) -> Status:
        """The progress of the last job of this type."""
        job = self._jobs.get((name, kind))
        return kind(collection=name, state="idle") if job is None else job.status

    def latest(self, name: str) -> Status | None:
        """The progress of the job that started last, of any type."""
        job = self._latest.get(name)
        return None if job is None else job.status

    def unreadable(self, name: str) -> list[Quarantined]:
        """The files of a collection that could not be read, and why."""
        return self._library.get(name).errors()

    def cancel_latest(self, name: str) -> None:
        """Ask the job to end once its current batch is stored."""
        job = self._latest.get(name)
        if job is not None:
            job.stop.set()

    def cancel(self, name: str, kind: Kind) -> Status:
        """Ask a running job, if any, to end once its current batch is stored."""
        job = self._jobs.get((name, kind))
        if job is not None:
            job.stop.set()
        return self.status(name, kind)

    def is_running(self, name: str, kind: Kind = IndexingStatus) -> bool:
        return self.status(name, kind).state == "running"

    def close(self) -> None:
        """End every job once its current batch is stored."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.stop.set()
        for job in jobs:
            if job.thread is not None:
                job.thread.join(_PATIENCE_S)

    def _start(self, name: str, kind: Kind, work: Callable[[_Job], Any]) -> Status:
        with self._mutex:
            for other, (verb, refused) in _NAMES.items():
                if self.is_running(name, other):
                    raise RefusedError(409, refused, _busy(name, verb))
            job = self._jobs[name, kind] = _Job(kind(collection=name, state="running"))
            self._latest[name] = job
            job.thread = threading.Thread(target=_run, args=(name, job, work), daemon=True)
            job.thread.start()
        return job.status


def _run(name: str, job: _Job, work: Callable[[_Job], Any]) -> None:
    _give_way()
    try:
        report = work(job)
    except Cancelled:
        _set(job, state="interrupted")
    except SeesayError as error:
        _set(job, state="failed", error=error.text)
    except Exception:
        _log.exception("the job on %s failed", name)
        text = Text(
            "the server failed; expected the job to end; look into its log, and try again",
            "服务器内部出错，任务没有完成；请查看服务器日志后重试",
        )
        _set(job, state="failed", error=text)
    else:
        stopped = getattr(report, "interrupted", False)
        _set(job, state="interrupted" if stopped else "done", report=report)


def _set(job: _Job, **facts: Any) -> None:
    job.status = replace(job.status, **facts)


def _busy(name: str, verb: Text) -> Text:
    return Text(
        f"{name} is being {verb.en} already, expected one job at a time; wait until it has ended, "
        "or cancel it with DELETE on the address that began it",
        f"{name} 正在{verb.zh}；一次只能有一个任务；请等它结束，或对启动它的地址发送 DELETE 来取消",
    )


def _require_inside(path: str, folders: tuple[str, ...]) -> None:
    """Raises RefusedError, before anything is looked up, for what is no full path, and with one and
    the same answer for whatever is outside, whether it is there or not."""
    try:
        real = os.path.realpath(path) if os.path.isabs(path) else ""
    except ValueError:  # a null byte, or half of a character
        real = ""
    if not (real and any(is_below(real, os.path.realpath(folder)) for folder in folders)):
        raise RefusedError(
            403,
            "FolderNotAllowed",
            Text(
                f"{path[:200]!r} may not be indexed through this server; expected a full path in "
                "a folder that the collection has or that the server was started with; start it "
                "with --allow-folder FOLDER, or index on the machine itself",
                f"不能通过这台服务器收录 {path[:200]!r}；应为完整路径，并且位于资料库已有的"
                "文件夹或启动服务时允许的文件夹之内；请在启动时加上 --allow-folder 文件夹，"
                "或在本机上收录",
            ),
        )


def _give_way() -> None:
    """Let searches go first. On Linux a thread has a priority of its own, which the threads and the
    processes that it starts take over; elsewhere it would be that of the whole server. Half of the
    processors are left to searches in any case."""
    use_torch_threads(_workers())
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)


def _workers() -> int:
    """Half of the processors; the other half keeps answering requests."""
    return max(1, (os.cpu_count() or 1) // 2)

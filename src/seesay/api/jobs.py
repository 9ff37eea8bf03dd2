"""Bring collections up to date in the background, one run for each at a time."""

import logging
import os
import sys
import threading
from dataclasses import dataclass, replace
from typing import Literal

from seesay.api.failures import RefusedError
from seesay.api.work import use_torch_threads
from seesay.errors import SeesayError
from seesay.search.collection import Collection
from seesay.search.ingest.options import IngestOptions, IngestProgress, IngestReport
from seesay.search.library import Library

_log = logging.getLogger("seesay.api")
_LOW_PRIORITY = 15  # of 19
_PATIENCE_S = 60.0  # for what is at hand when the server ends


@dataclass(frozen=True, kw_only=True)
class IndexingStatus:
    """How far indexing has come."""

    collection: str
    state: Literal["idle", "running", "done", "interrupted", "failed"]
    """Of the last run that this server began; "idle" before the first."""
    progress: IngestProgress | None = None
    report: IngestReport | None = None
    """What became of the files, once it has ended."""
    error: str | None = None
    """Why it failed; what was stored before stays, and the next run goes on from there."""


class Indexing:
    """The runs of one server."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._known: dict[str, IndexingStatus] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str) -> IndexingStatus:
        """Begin a run over the folders that the collection knows. Raises RefusedError where one is
        running, CollectionError where the collection may only be read, ConfigError where it knows
        no folder."""
        collection = self._library.get(name)
        collection.store.require_writable()
        collection.known_roots()
        with self._mutex:
            if self.is_running(name):
                raise RefusedError(
                    409,
                    "IndexingRuns",
                    f"{name} is being indexed already, expected one run at a time; ask for its "
                    f"progress: GET /v1/collections/{name}/index",
                )
            self._known[name] = IndexingStatus(collection=name, state="running")
            thread = threading.Thread(target=self._run, args=(name, collection), daemon=True)
            self._threads[name] = thread
            thread.start()
        return self.status(name)

    def status(self, name: str) -> IndexingStatus:
        """How far the last run has come."""
        return self._known.get(name) or IndexingStatus(collection=name, state="idle")

    def is_running(self, name: str) -> bool:
        return self.status(name).state == "running"

    def close(self) -> None:
        """End every run after what is at hand has been stored."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join(_PATIENCE_S)

    def _run(self, name: str, collection: Collection) -> None:
        def tell(progress: IngestProgress) -> None:
            self._known[name] = replace(self._known[name], progress=progress)

        _give_way()
        try:
            report = collection.index(
                options=IngestOptions(workers=_workers()), on_progress=tell, stop=self._stop
            )
        except SeesayError as error:
            self._end(name, "failed", error=str(error))
        except Exception:
            _log.exception("indexing %s failed", name)
            told = "the server made a mistake; expected none; look into its log, and try again"
            self._end(name, "failed", error=told)
        else:
            self._end(name, "interrupted" if report.interrupted else "done", report=report)

    def _end(
        self,
        name: str,
        state: Literal["done", "interrupted", "failed"],
        *,
        report: IngestReport | None = None,
        error: str | None = None,
    ) -> None:
        self._known[name] = replace(self._known[name], state=state, report=report, error=error)


def _give_way() -> None:
    """Let searches go first. On Linux a thread has a priority of its own, which the threads and the
    processes that it starts take over; elsewhere it would be that of the whole server. Half of the
    processors are left to searches in any case."""
    use_torch_threads(_workers())
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)


def _workers() -> int:
    """Half of the processors: the other half goes on answering."""
    return max(1, (os.cpu_count() or 1) // 2)

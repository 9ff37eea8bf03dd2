"""`ingest`: from folders to what can be searched, as often as one likes."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from socket import gethostname
from threading import Event, Thread
from typing import Literal

from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder
from seesay.search.catalog.files import Item, Quarantined
from seesay.search.catalog.paths import path_to_text
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.indexing.filling import Filling
from seesay.search.indexing.interrupting import stopped_by_ctrl_c
from seesay.search.indexing.options import (
    IngestOptions,
    IngestProgress,
    IngestReport,
    ReadLimits,
    default_workers,
)
from seesay.search.indexing.readers import Readers
from seesay.search.indexing.spaces import require_active, space_of
from seesay.search.indexing.storing.committing import Committing, Tally
from seesay.search.indexing.storing.describing import describe
from seesay.search.indexing.storing.embedding import Embedding
from seesay.search.indexing.storing.excluding import admits, excluded, readmit
from seesay.search.indexing.storing.known import ROOTS, is_below, known_roots
from seesay.search.indexing.storing.removing import remove_aliases, remove_what_is_gone
from seesay.search.indexing.storing.tables import Captions
from seesay.search.indexing.storing.upkeep import keep_up
from seesay.search.indexing.walking import Seen, Walk, absolute, count_files
from seesay.search.reading.messages import Expected, Outcome, Setup, Task

__all__ = ["IngestOptions", "IngestProgress", "IngestReport", "OnProgress", "ingest"]

OnProgress = Callable[[IngestProgress], None]
_COUNTS = (
    *("added", "updated", "moved", "unchanged", "removed", "failed", "skipped"),
    *("links", "images", "texts", "reused"),
)
_LOOKED_UP = 256  # files at once
_LIMITED = ("size", "time", "memory")  # stages at which larger limits may help
_MACHINE = ("read", "codec")  # stages at which trying again may help though the file is the same


def ingest(
    store: Store,
    embedder: Embedder,
    roots: Sequence[str | Path],
    options: IngestOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
) -> IngestReport:
    """Bring the collection up to date with these files and folders.

    What was committed stays, whatever happens; the same call goes on where an earlier one ended.
    Ctrl-C, or setting `stop`, ends it after what is at hand has been stored.

    Raises CollectionError where the collection cannot be written, is searched with another model,
    or where an address is given and `options.urls` does not allow that.
    """
    options = options or IngestOptions()
    places = list(dict.fromkeys(absolute(root) for root in roots))
    _check(places, options)
    store.require_writable()
    space = space_of(store, embedder)
    require_active(store, space)
    with ExitStack() as stack:
        stopping = stack.enter_context(stopped_by_ctrl_c(stop or Event()))
        run = _Run(store, embedder, space, options, on_progress)
        setup = Setup(
            transform=embedder.transform_config,
            reduce_large=embedder.reduce_large,
            limits=options.limits,
            collection=str(store.file),
            space=space.id,
        )
        readers = stack.enter_context(Readers(setup, options.workers or default_workers()))
        return run(places, readers, stopping)


class _Run:
    """One call of `ingest`."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        space: Space,
        options: IngestOptions,
        on_progress: OnProgress | None,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._space = space
        self._options = options
        self._on_progress = on_progress
        self._tally = Tally()
        self._began = time.monotonic()
        self._total: int | None = None
        self._tables: list[Seen] = []
        self._past: Walk | None = None
        """The walk through the folders, once it is over: what it met is counted."""
        self._named: set[str] = set()
        """Pictures that tables name, and that were looked at."""

    def __call__(self, places: list[str], readers: Readers, stopping: Event) -> IngestReport:
        number = self._start(places)
        state: Literal["done", "failed", "interrupted"] = "failed"
        try:
            missing, empty = self._work(number, places, readers, stopping)
            state = "interrupted" if stopping.is_set() else "done"
        finally:
            with self._store.writing("end", run=number):
                self._store.runs.note(number, dict(self._tally.counts))
                self._store.runs.finish(number, state)
        refilled = self._refilled(readers, stopping) if state == "done" else 0
        problem = keep_up(self._store, self._space) if state == "done" else None
        return IngestReport(
            **{name: self._tally.counts[name] for name in _COUNTS},
            seconds=time.monotonic() - self._began,
            interrupted=state == "interrupted",
            missing_roots=missing,
            empty_roots=empty,
            refilled=refilled,
            left_out=dict(self._past.left_out) if self._past else {},
            index_problem=problem,
        )

    def _start(self, places: list[str]) -> int:
        folders = [place for place in places if os.path.isdir(place)]
        with self._store.writing("begin"):
            known = known_roots(self._store)
            new = [p for p in folders if not any(is_below(p, root) for root in known)]
            if new:
                self._store.settings.set(ROOTS, [*known, *new])
            readmit(self._store, places)
            process = {"pid": os.getpid(), "host": gethostname()}  # by which a kill is noticed
            arguments = {"roots": [path_to_text(place) for place in places], **process}
            return self._store.runs.start("index", arguments)

    def _work(
        self, number: int, places: list[str], readers: Readers, stopping: Event
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        walk = Walk(roots=places, recursive=self._options.recursive)
        Thread(target=self._count, args=(places, stopping), daemon=True).start()
        self._through(number, walk.files(), readers, stopping)
        self._past = walk
        if not stopping.is_set():
            remove_aliases(self._store, walk.aliases, number, self._tally)
        fetching = places if self._options.urls else []
        captions = Captions(self._store, readers, number, self._tally, fetching)
        if not stopping.is_set():
            awaited = captions.awaited(places, self._tables)
            self._through(number, self._once(awaited), readers, stopping)
        for table in list(captions.due(self._tables)):
            if not stopping.is_set():
                pictures = self._once(captions.pictures(table))
                self._through(number, pictures, readers, stopping)
            if not stopping.is_set():
                captions.apply(table)
        if stopping.is_set():
            return (), ()
        if self._tally.aliases:
            with self._store.writing("links", run=number):
                self._store.annotations.attach_aliases(self._tally.aliases)
        spared = remove_what_is_gone(self._store, walk, self._options, number, self._tally)
        describe(self._store, self._embedder, self._space, run=number, stopping=stopping)
        return spared

    def _refilled(self, readers: Readers, stopping: Event) -> int:
        """Vectors that were lost, or never came since a file could not be read at the time."""
        filling = Filling(self._store, self._embedder, self._space, readers, self._on_progress)
        filling.fingerprint(stopping)
        return filling.refill(stopping)

    def _through(
        self, number: int, files: Iterator[Seen], readers: Readers, stopping: Event
    ) -> None:
        """Files to committed vectors."""
        embedding = Embedding(self._store, self._embedder, self._space.id)
        committing = Committing(self._store, self._space, run=number, tally=self._tally)
        tasks = self._tasks(files, stopping)
        while True:
            for embedded in embedding.of(readers.read(tasks)):
                if stored := committing.add(embedded):
                    embedding.stored(stored)
                    self._tell()
            embedding.stored(committing.flush())
            self._tell()
            orphans, committing.orphans = committing.orphans, []
            if not orphans or stopping.is_set():
                return
            tasks = iter([_again(outcome) for outcome in orphans])

    def _tasks(self, files: Iterator[Seen], stopping: Event) -> Iterator[Task]:
        """What of the files must be read: those that are new or have changed."""
        admitted = admits(excluded(self._store), self._options.inside)
        files = (file for file in files if admitted(file.path))
        while not stopping.is_set() and (some := list(islice(files, _LOOKED_UP))):
            items = self._store.items.by_path(file.path for file in some)
            bad = self._store.quarantine.by_path(file.path for file in some)
            for file in some:
                if stopping.is_set():
                    return
                item, failure = items.get(file.path), bad.get(file.path)
                if self._was_counted(file, item or failure):
                    continue
                if item is not None and _unchanged(file, item):
                    self._tally.counts["unchanged"] += 1
                elif failure is not None and self._left_alone(file, failure):
                    self._tally.counts["skipped"] += 1
                elif file.expected == "table" and file.problem is None:
                    self._tables.append(file)
                else:
                    yield file.task()

    def _once(self, files: Iterator[Seen]) -> Iterator[Seen]:
        """Each picture that tables name, though several may."""
        for file in files:
            if file.path not in self._named:
                self._named.add(file.path)
                yield file

    def _was_counted(self, file: Seen, known: Item | Quarantined | None) -> bool:
        """Whether a picture that a table names is what the walk has just taken in or refused, or
        another name of that."""
        if self._past is None:
            return False
        if known is None:
            return file.path in self._past.aliases
        return _same_file(file, known) and self._past.met(file)

    def _left_alone(self, file: Seen, failure: Quarantined) -> bool:
        raised = failure.stage in _LIMITED and self._options.limits != ReadLimits()
        again = self._options.retry_failed or failure.stage in _MACHINE or raised
        return _same_file(file, failure) and not again

    def _count(self, places: list[str], stopping: Event) -> None:
        self._total = count_files(places, self._options.recursive, stopping.is_set)

    def _tell(self) -> None:
        if self._on_progress is None:
            return
        counts = self._tally.counts
        progress = IngestProgress(
            done=self._tally.done,
            total=None if self._total is None else max(self._total, self._tally.done),
            failed=counts["failed"],
            unchanged=counts["unchanged"],
            seconds=time.monotonic() - self._began,
            path=self._tally.path,
        )
        self._on_progress(progress)


def _same_file(file: Seen, known: Item | Quarantined) -> bool:
    return (file.size, file.mtime_ns) == (known.size, known.mtime_ns)


def _unchanged(file: Seen, item: Item) -> bool:
    if file.expected == "address":
        return True  # an address is fetched once
    return file.problem is None and item.status == "ready" and _same_file(file, item)


def _again(outcome: Outcome) -> Task:
    """Read a file once more, and this time decode it."""
    is_address = outcome.path.startswith(("http://", "https://"))
    expected: Expected = "address" if is_address else outcome.kind or "any"
    return Task(path=outcome.path, expected=expected, again=True)


def _check(places: Sequence[str], options: IngestOptions) -> None:
    addresses = [place for place in places if place.startswith(("http://", "https://"))]
    if addresses and not options.urls:
        raise CollectionError(
            f"{addresses[0]} is an address, expected files and folders, since fetching was not "
            "allowed; allow it with --urls, or download it first"
        )

"""`index`: brings a collection up to date with files and folders, any number of times."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from socket import gethostname
from threading import Event, Thread
from typing import TYPE_CHECKING

from seesay.data.archives import archive_of, is_archive
from seesay.errors import CollectionError
from seesay.inference.detector import Detector, load_detector
from seesay.inference.embedder import Embedder
from seesay.search.catalog.database import path_to_text
from seesay.search.catalog.files import File, Quarantined
from seesay.search.catalog.store import RunStatus, Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.indexing.archives import Archives, members_of, reads_archive
from seesay.search.indexing.captions import describe
from seesay.search.indexing.commit import Writer
from seesay.search.indexing.embed import IndexingModels, embed_files
from seesay.search.indexing.fill import Filler, keep_up
from seesay.search.indexing.objects import detect_objects
from seesay.search.indexing.ocr import read_picture_texts
from seesay.search.indexing.options import (
    IndexOptions,
    IndexProgress,
    IndexReport,
    RunState,
    default_workers,
)
from seesay.search.indexing.pages import NONE, embed_pages
from seesay.search.indexing.read import ReadingProcesses, reading_processes, stopped_by_ctrl_c
from seesay.search.indexing.remove import admission, remember_roots, remove_aliases, remove_gone
from seesay.search.indexing.tables import Tables
from seesay.search.indexing.walk import SCHEMES, Walk, absolute, count_files, is_below
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, ReadResult, ReadSettings
from seesay.search.reading.ocr import require_ocr
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.inference.late_interaction import PageEmbedder

OnProgress = Callable[[IndexProgress], None]
_COUNTS = (
    *("added", "updated", "moved", "unchanged", "removed", "failed", "skipped"),
    *("links", "images", "texts", "reused", "partial", "detected", "ocr"),
    *("pages", "page_bytes"),
)
_WORDS = ("text", "page")  # media types of passages that are found by their words, too
_AT_ONCE = 256  # files that are looked up together
_ARCHIVES_AT_ONCE = 16  # archives whose files are read together
_LIMITED = ("size", "time", "memory", "part")  # stages at which larger limits may help
_MACHINE = ("read", "codec")  # stages at which a retry may help an unchanged file


def index(
    store: Store,
    embedder: Embedder | IndexingModels,
    roots: Sequence[str | Path],
    options: IndexOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: Event | None = None,
) -> IndexReport:
    """Bring the collection up to date with these files and folders. An Embedder
    alone embeds text passages too.

    Committed files stay, whatever happens; the same call continues where an earlier one ended.
    Ctrl-C, or setting `stop`, ends the run after storing the files in progress.

    Raises CollectionError if the collection cannot be written or uses another model, or if you give
    an address without `options.urls`; WeightsError for an invalid detector; MissingExtraError for
    `options.ocr` without RapidOCR.
    """
    options = options or IndexOptions()
    places = list(dict.fromkeys(absolute(root) for root in roots))
    addresses = [place for place in places if place.startswith(SCHEMES)]
    if addresses and not options.urls:
        raise _not_fetched(addresses[0])
    store.require_writable()
    models = embedder if isinstance(embedder, IndexingModels) else IndexingModels(store, embedder)
    embedder = models.main
    if not models.space.active and (active := store.spaces.active()):
        raise _another_model(store, models.space, active)
    detector = None if options.detect is None else load_detector(options.detect)
    late = _late(options.late)
    if options.ocr:
        require_ocr()
    settings = ReadSettings(
        transform=embedder.transform_config,
        reduce_large=embedder.reduce_large,
        limits=options.limits,
        collection=str(store.file),
        spaces=models.embedding_spaces,
    )
    with (
        stopped_by_ctrl_c(stop or Event()) as stopping,
        reading_processes(settings, options.workers or default_workers()) as processes,
    ):
        run = _Run(
            store=store,
            models=models,
            options=options,
            places=places,
            processes=processes,
            stopping=stopping,
            on_progress=on_progress,
            detector=detector,
            late=late,
        )
        return run()


def _late(name: str | None) -> "PageEmbedder | None":
    """Loads the model that gives pages their vectors, if one is named."""
    if name is None or name == NONE:
        return None
    from seesay.inference.late_interaction import load_pages  # torch

    return load_pages(name)


@dataclass(kw_only=True, eq=False)
class _Run:
    """One call of `index`."""

    store: Store
    models: IndexingModels
    options: IndexOptions
    places: Sequence[str]
    processes: ReadingProcesses
    stopping: Event
    on_progress: OnProgress | None
    detector: Detector | None
    late: "PageEmbedder | None"
    state: RunState = field(init=False)
    began: float = field(default_factory=time.monotonic)
    total: int | None = None
    """Number of files; None while they are being counted."""
    tables: list[ListedFile] = field(default_factory=list)
    """Tables that are new or have changed."""
    archives: list[ListedFile] = field(default_factory=list)
    """The same of archives."""
    walk: Walk | None = None
    """The finished walk through the folders, whose files are already counted."""
    named: set[str] = field(default_factory=set)
    """Pictures named by tables that were already handled."""

    def __call__(self) -> IndexReport:
        with self.store.writing("begin"):
            remember_roots(self.store, self.places)
            process = {"pid": os.getpid(), "host": gethostname()}  # to detect a killed run
            roots = [path_to_text(place) for place in self.places]
            number = self.store.runs.start("index", {"roots": roots, **process})
        self.state = RunState(number=number)
        state: RunStatus = "failed"
        try:
            missing, empty = self._work()
            state = "interrupted" if self.stopping.is_set() else "done"
        finally:
            with self.store.writing("end", run=number):
                self.store.runs.note(number, self.state.counts, state)
        refilled, postponed, problem = 0, 0, None
        if state == "done":
            for space, held in self.store.spaces.in_use().items():
                some = (self.store, self.models, space, held, self.processes, self.on_progress)
                if self.options.words_first:
                    postponed += self.store.vectors.count_missing(space.id, held=held)
                else:
                    refilled += Filler(*some).restore(self.stopping)
                problem = keep_up(self.store, space) or problem
        return IndexReport(
            **{name: self.state.counts[name] for name in _COUNTS},
            seconds=time.monotonic() - self.began,
            interrupted=self.stopping.is_set(),
            missing_roots=missing,
            empty_roots=empty,
            refilled=refilled,
            postponed=postponed,
            left_out=dict(self.walk.left_out) if self.walk else {},
            index_problem=problem,
        )

    def _work(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Do the work; returns the missing roots, and the empty roots that had files before."""
        walk = Walk(
            roots=self.places,
            recursive=self.options.recursive,
            reads_archive=reads_archive(self.store, self.options.archives),
        )
        Thread(target=self._count, daemon=True).start()
        self._take_in(walk.files())
        self._take_in_archives(walk)
        self.walk = walk
        if walk.aliases and not self.stopping.is_set():
            remove_aliases(self.store, walk.aliases, self.state)
        if self.tables or self.store.annotations.tables():
            self._take_in_tables()
        if self.stopping.is_set():
            return (), ()
        if self.state.aliases:
            with self.store.writing("links", run=self.state.number):
                self.store.annotations.attach_aliases(self.state.aliases)
        kept = remove_gone(self.store, walk, self.options, self.state)
        main, space = self.models.main, self.models.space
        if self.options.ocr:
            self.state.counts["ocr"] = read_picture_texts(
                self.store,
                self.options,
                run=self.state.number,
                stopping=self.stopping,
                tell=self._tell_of,
            )
        describe(self.store, main, space, run=self.state.number, stopping=self.stopping)
        if self.detector is not None:
            self.state.counts["detected"] = detect_objects(
                self.store,
                self.detector,
                self.options,
                run=self.state.number,
                stopping=self.stopping,
                tell=self._tell_of,
            )
        self._give_pages_vectors()
        return kept

    def _take_in_archives(self, walk: Walk) -> None:
        """Index the files in archives that are new or have changed."""
        archives, due = Archives(self.store, self.processes, self.state), iter(self.archives)
        while not self.stopping.is_set() and (some := list(islice(due, _ARCHIVES_AT_ONCE))):
            found = list(archives.read(some))
            self._take_in(chain.from_iterable(map(members_of, found)))
            if self.stopping.is_set():
                return
            for archive in found:
                walk.left_out.update(archive.left_out)
                archives.commit(archive)

    def _give_pages_vectors(self) -> None:
        if self.options.late == NONE:
            with self.store.writing("pages", run=self.state.number):
                self.store.page_vectors.clear()
        if self.late is None:
            return
        counts = self.state.counts
        counts["pages"], counts["page_bytes"] = embed_pages(
            self.store,
            self.late,
            self.options,
            run=self.state.number,
            stopping=self.stopping,
            tell=self._tell_of,
        )

    def _take_in_tables(self) -> None:
        """Index the pictures that tables name, then store the rows. Tables that name none are
        indexed like other files."""
        fetching = self.places if self.options.urls else []
        tables = Tables(self.store, self.processes, self.state, self.tables, fetching)
        if not self.stopping.is_set():
            self._take_in(self._once(tables.awaited(self.places)))
        found = list(tables.read())
        sheets = [table for table in found if table.passages]
        tables.forget(sheets)
        self._put(sheets)
        for table in found:
            if table.passages:
                continue
            if not self.stopping.is_set():
                self._take_in(self._once(tables.pictures(table)))
            if not self.stopping.is_set():
                tables.commit(table)

    def _take_in(self, files: Iterator[ListedFile]) -> None:
        """Read, embed and store the files that are new or have changed."""
        # Close it at once if storing fails: its threads would wait for it.
        with closing(self.processes.read(self._changed(files))) as results:
            self._put(results)

    def _put(self, results: Iterable[ReadResult]) -> None:
        writer = Writer(self.store, self.models, self.state)
        without = _WORDS if self.options.words_first else ()
        for embedded in embed_files(self.models, results, without=without):
            if writer.add(embedded):
                self._tell()
        writer.flush()
        self._tell()

    def _changed(self, files: Iterator[ListedFile]) -> Iterator[ListedFile]:
        """Yield the files that must be read; set tables and archives aside."""
        aside = {"table": self.tables, "archive": self.archives}
        admitted = admission(self.store, self.options.inside)
        files = (file for file in files if admitted(file.path))
        while not self.stopping.is_set() and (some := list(islice(files, _AT_ONCE))):
            items = self.store.files.by_path(file.path for file in some)
            bad = self.store.quarantine.by_path(file.path for file in some)
            for file in some:
                if self.stopping.is_set():
                    return
                item, failure = items.get(file.path), bad.get(file.path)
                if self.walk is not None and _was_counted(self.walk, file, item or failure):
                    continue
                again = failure is not None and _may_gain(file, failure, self.options)
                again = again or self._looks_again(file)
                if item is not None and _is_unchanged(file, item) and not again:
                    self.state.counts["unchanged"] += self._files_in(file)
                elif failure is not None and _is_left_alone(file, failure, self.options):
                    self.state.counts["skipped"] += 1
                elif file.expected in aside and not (file.problem or archive_of(file.path)):
                    aside[file.expected].append(file)
                else:
                    yield file

    def _looks_again(self, file: ListedFile) -> bool:
        """Whether an unchanged archive is read again: files in it were removed from the collection
        and are named again, or failed and may be read now."""
        is_named = any(is_below(place, file.path) for place in self.places)
        may_gain = self.options.retry_failed or self.options.limits != ReadLimits()
        return file.expected == "archive" and (is_named or may_gain)

    def _files_in(self, file: ListedFile) -> int:
        """Returns the number of files that an unchanged file stands for."""
        return sum(1 for _ in self.store.files.under(file.path)) if is_archive(file.path) else 1

    def _once(self, files: Iterator[ListedFile]) -> Iterator[ListedFile]:
        """Yield each picture once, even if several tables name it."""
        for file in files:
            if file.path not in self.named:
                self.named.add(file.path)
                yield file

    def _count(self) -> None:
        self.total = count_files(self.places, self.options.recursive, self.stopping.is_set)

    def _tell(self) -> None:
        done = self.state.done
        self._tell_of(done, None if self.total is None else max(self.total, done))

    def _tell_of(self, done: int, total: int | None) -> None:
        if self.on_progress is None:
            return
        counts = self.state.counts
        progress = IndexProgress(
            done=done,
            total=total,
            failed=counts["failed"],
            unchanged=counts["unchanged"],
            seconds=time.monotonic() - self.began,
            path=self.state.path,
        )
        self.on_progress(progress)


def _was_counted(walk: Walk, file: ListedFile, known: File | Quarantined | None) -> bool:
    """Whether the walk has just indexed or refused this picture, under this or another name."""
    if known is None:
        return file.path in walk.aliases
    return _is_same_state(file, known) and walk.passes(file)


def _is_unchanged(file: ListedFile, item: File) -> bool:
    if file.expected == "address":
        return True  # an address is fetched once
    return file.problem is None and item.status == "ready" and _is_same_state(file, item)


def _is_left_alone(file: ListedFile, failure: Quarantined, options: IndexOptions) -> bool:
    again = failure.stage in _MACHINE or _may_gain(file, failure, options)
    return _is_same_state(file, failure) and not again


def _may_gain(file: ListedFile, failure: Quarantined, options: IndexOptions) -> bool:
    """Whether reading a file once more may give more of it: these options allow it, or somebody
    asked for it (see `Quarantine.retry`)."""
    if failure.stage == "table":
        return False
    asked = failure.stage == "part" and not _is_same_state(file, failure)
    raised = failure.stage in _LIMITED and options.limits != ReadLimits()
    return asked or raised or options.retry_failed


def _is_same_state(file: ListedFile, known: File | Quarantined) -> bool:
    return (file.size, file.mtime_ns) == (known.size, known.mtime_ns)


def _another_model(store: Store, space: EmbeddingSpace, active: EmbeddingSpace) -> CollectionError:
    revision = active.revision or "unknown"
    return CollectionError(
        Text(
            f"the collection in {store.folder} is searched with {active.model} (revision "
            f"{revision}), and {space.model} was given to index with; expected the same model; "
            "index with that one, or switch the collection to the other one first",
            f"资料库 {store.folder} 用 {active.model}（版本 {revision}）搜索，现在却要用 "
            f"{space.model} 收录；应为同一个模型；"
            "请用原来的模型收录，或先把资料库换成另一个模型",
        )
    )


def _not_fetched(address: str) -> CollectionError:
    return CollectionError(
        Text(
            f"{address} is an address, expected files and folders, since fetching was not "
            "allowed; allow it with --urls, or download it first",
            f"{address} 是网址；没有允许下载时，应为文件或文件夹；请加上 --urls，或先自行下载",
        )
    )

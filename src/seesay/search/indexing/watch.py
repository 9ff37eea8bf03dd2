"""Indexes files as they change."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Event

from seesay.data.archives import is_archive
from seesay.errors import CollectionError
from seesay.inference.embedder import Embedder
from seesay.search.catalog.store import Store
from seesay.search.indexing.embed import IndexingModels
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions, IndexReport
from seesay.search.indexing.read import stopped_by_ctrl_c
from seesay.search.indexing.walk import absolute, holds_something, is_below
from seesay.search.reading.registry import media_type_of
from seesay.text import Text

POLL_S = 30.0  # between two walks, if the system cannot report changes
_QUIET_MS = 500  # quiet time before indexing changes: files are copied in pieces
_MOST_MS = 5000  # after which they are indexed even if changes go on
_MOST_FOLDERS = 50  # indexed one by one; if more changed, walk everything


def watch(
    store: Store,
    embedder: Embedder | IndexingModels,
    roots: Sequence[str | Path],
    options: IndexOptions | None = None,
    *,
    on_report: Callable[[IndexReport], None] | None = None,
    stop: Event | None = None,
) -> None:
    """Index the folders, then any changes in them, until `stop` is set or Ctrl-C is pressed. Calls
    `on_report` after the first round, and after each round that found a change.

    Raises CollectionError as `index` does, and if no root exists.
    """
    options = options or IndexOptions()
    places = [place for place in map(absolute, roots) if os.path.exists(place)]
    if not places:
        raise _nothing_to_watch(", ".join(map(str, roots)))
    with stopped_by_ctrl_c(stop or Event()) as stopping:
        rounds = _rounds(places, options.recursive, stopping, os.path.abspath(store.folder))
        for number, some in enumerate(rounds):
            report = index(store, embedder, some, options, stop=stopping)
            if on_report is not None and (not number or _has_changes(report)):
                on_report(report)


def _rounds(
    places: list[str], recursive: bool, stopping: Event, collection: str
) -> Iterator[list[str]]:
    """Yield the folders to index, each time there is a reason to."""
    changes = _changes(places, recursive, stopping)
    next(changes)  # start listening, to miss nothing during the first round
    yield places
    for changed in changes:
        if stopping.is_set():
            return
        if changed is None:
            yield places
            continue
        matter = [path for path in changed if _matters(path, places, collection)]
        folders = {_folder(path, places) for path in matter}
        if folders:
            yield sorted(folders) if len(folders) <= _MOST_FOLDERS else places


def _changes(places: list[str], recursive: bool, stopping: Event) -> Iterator[set[str] | None]:
    """Yield an empty set once it listens; then the changed paths, or None if unknown paths may have
    changed."""
    try:
        from watchfiles import watch as watch_files
    except ModuleNotFoundError:
        yield set()
        while not stopping.wait(POLL_S):
            yield None
        return
    batches = watch_files(
        *places,
        watch_filter=None,
        debounce=_MOST_MS,
        step=_QUIET_MS,
        rust_timeout=_QUIET_MS,
        yield_on_timeout=True,
        stop_event=stopping,
        raise_interrupt=False,
        recursive=recursive,
        ignore_permission_denied=True,
    )
    yield from ({path for _, path in batch} for batch in batches)


def _matters(path: str, places: Iterable[str], collection: str) -> bool:
    """Whether a change may matter; the collection itself may be among the files."""
    root = next((place for place in places if is_below(path, place)), os.sep)
    hidden = any(part.startswith(".") for part in path[len(root) :].split(os.sep))
    readable = media_type_of(path) is not None or is_archive(path)
    uninteresting = os.path.isfile(path) and not readable and path != root
    return not (hidden or uninteresting or is_below(path, collection))


def _folder(path: str, places: Iterable[str]) -> str:
    """Returns the folder to index after a change: an existing one that is not empty, since an empty
    one looks like an unmounted disk."""
    root = next((place for place in places if is_below(path, place)), path)
    while path != root and not holds_something(path):
        path = os.path.dirname(path)
    return path


def _has_changes(report: IndexReport) -> bool:
    return bool(report.added or report.updated or report.moved or report.removed or report.failed)


def _nothing_to_watch(names: str) -> CollectionError:
    return CollectionError(
        Text(
            f"none of {names or 'no folders'} is there, expected folders to watch; check the "
            "names, or connect the disk",
            f"{names or '给出的文件夹'} 都不存在；应为要留意的文件夹；请检查名称，或接上硬盘",
        )
    )

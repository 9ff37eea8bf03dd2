"""Units that have no vector in a space get one, and pictures without a fingerprint get that."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np

from seesay.inference.embedder import Embedder
from seesay.search.catalog.files import Item
from seesay.search.catalog.passages import Unit
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.indexing.options import IngestProgress
from seesay.search.indexing.readers import Readers
from seesay.search.indexing.storing.captions import fill_captions
from seesay.search.indexing.storing.embedding import Embedding
from seesay.search.indexing.storing.known import vectors_of_contents
from seesay.search.indexing.storing.upkeep import keep_up
from seesay.search.reading.messages import Outcome, Task

_AT_ONCE = 384  # units, and so in a transaction


@dataclass(frozen=True, kw_only=True)
class FillReport:
    """How filling a space went."""

    embedded: int
    """Units that have a vector now and had none."""
    failed: int
    """Units whose file could not be read, or has changed since it was indexed."""
    complete: bool
    """Whether the collection is searched with this space now."""
    seconds: float


class Filling:
    """Fills one space."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        space: Space,
        readers: Readers,
        on_progress: Callable[[IngestProgress], None] | None,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._space = space
        self._readers = readers
        self._on_progress = on_progress
        self._began = time.monotonic()
        self._embedded = 0
        self._failed: set[int] = set()

    def __call__(self, stopping: Event) -> FillReport:
        """Fill it, and use it when nothing is missing."""
        complete = False
        while not stopping.is_set() and not complete:
            self._fill(stopping)
            if not stopping.is_set():
                fill_captions(self._store, self._embedder, self._space, stopping)
                keep_up(self._store, self._space)  # before searches come
                complete = self._switched()
        return FillReport(
            embedded=self._embedded,
            failed=len(self._failed),
            complete=complete,
            seconds=time.monotonic() - self._began,
        )

    def refill(self, stopping: Event) -> int:
        """Give units of the space in use that lost their vector another one; returns how many."""
        if self._store.vectors.count_missing(self._space.id):
            self._fill(stopping)
        return self._embedded + fill_captions(self._store, self._embedder, self._space, stopping)

    def fingerprint(self, stopping: Event) -> None:
        """Give pictures their fingerprint that were indexed before there were any. Their files are
        read for it, and nothing is embedded."""
        missing = self._store.fingerprints.missing()
        for start in range(0, len(missing), _AT_ONCE):
            if stopping.is_set():
                return
            some = missing[start : start + _AT_ONCE]
            found = self._fingerprints(self._store.units.get(some))
            if found:
                with self._store.writing("fingerprint"):
                    self._store.fingerprints.put(found)
            self._tell(start + len(some), len(missing))

    def _fingerprints(self, units: Sequence[Unit]) -> dict[int, bytes]:
        """Those of pictures whose file still holds what it held."""
        items = {item.id: item for item in self._store.items.get(unit.item for unit in units)}
        files = {items[unit.item].path: unit for unit in units if unit.item in items}
        found = {}
        for outcome in self._readers.read([_task(items[unit.item]) for unit in files.values()]):
            unit = files[outcome.path]
            fingerprints = [draft.fingerprint for draft in outcome.units]
            if outcome.content_hash == items[unit.item].content_hash and any(fingerprints):
                found[unit.id] = fingerprints[0] or b""
        return found

    def _fill(self, stopping: Event) -> None:
        after, total = 0, len(self._missing())
        while not stopping.is_set():
            some = self._store.vectors.missing(self._space.id, _AT_ONCE, after)
            if not some:
                return
            after = some[-1]
            self._embed(self._store.units.get(some))
            self._tell(self._embedded + len(self._failed), total)

    def _switched(self) -> bool:
        """Use the space, unless something was added while the last of it was filled."""
        with self._store.writing("switch"):
            if self._missing() - self._failed:
                return False
            if self._store.vectors.without_caption(self._space.id, 1):
                return False
            self._store.spaces.set_ready(self._space.id)
            self._store.spaces.activate(self._space.id)
            return True

    def _missing(self) -> set[int]:
        found: set[int] = set()
        after = 0
        while some := self._store.vectors.missing(self._space.id, 10_000, after):
            found.update(some)
            after = some[-1]
        return found

    def _embed(self, units: Sequence[Unit]) -> None:
        texts = [unit for unit in units if unit.modality == "text"]
        vectors = self._embedder.embed_texts([unit.text or "" for unit in texts]).vectors
        found = dict(zip((unit.id for unit in texts), vectors, strict=True))
        found |= self._pictures([unit for unit in units if unit.modality == "image"])
        self._failed.update({unit.id for unit in units} - found.keys())
        with self._store.writing("fill"):
            there = [unit.id for unit in self._store.units.get(found)]
            if there:
                rows = np.stack([found[number] for number in there])
                self._store.vectors.put(self._space.id, there, rows)
        self._embedded += len(there)

    def _pictures(self, units: Sequence[Unit]) -> dict[int, np.ndarray]:
        """Vectors of pictures whose file still holds what it held."""
        items = {item.id: item for item in self._store.items.get(unit.item for unit in units)}
        wanted = {unit.id: items[unit.item] for unit in units if unit.item in items}
        contents = {item.content_hash for item in wanted.values()}
        known = dict(vectors_of_contents(self._store, self._space.id, contents))
        files = {i.content_hash: i for i in wanted.values() if i.content_hash not in known}
        embedding = Embedding(self._store, self._embedder, self._space.id)
        outcomes = self._readers.read([_task(item) for item in files.values()])
        for embedded in embedding.of(_as_indexed(outcomes, files)):
            if embedded.vectors is not None:
                known[embedded.outcome.content_hash or ""] = embedded.vectors
        return {
            number: known[item.content_hash][0]
            for number, item in wanted.items()
            if item.content_hash in known
        }

    def _tell(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            progress = IngestProgress(
                done=done,
                total=total,
                failed=len(self._failed),
                unchanged=0,
                seconds=time.monotonic() - self._began,
                path="",
            )
            self._on_progress(progress)


def _task(item: Item) -> Task:
    is_address = item.path.startswith(("http://", "https://"))
    return Task(path=item.path, expected="address" if is_address else "image", again=True)


def _as_indexed(outcomes: Iterator[Outcome], files: dict[str, Item]) -> Iterator[Outcome]:
    """Those that were read and still hold what is known of them."""
    return (outcome for outcome in outcomes if outcome.content_hash in files and outcome.square)

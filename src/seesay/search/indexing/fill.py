"""Adds missing vectors of passages and fingerprints of pictures; builds indexes.

Another model gets its own embedding space, which is filled while searches use the old one, and used
once complete. In the spaces in use, lost vectors are restored.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

import numpy as np

from seesay.errors import CollectionBusyError, CollectionError, ConfigError, MissingExtraError
from seesay.inference.embedder import Embedder
from seesay.search.catalog.files import File
from seesay.search.catalog.passages import Passage
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace, Holding
from seesay.search.indexing.captions import fill_captions
from seesay.search.indexing.embed import IndexingModels, Rows, embed_files
from seesay.search.indexing.options import IndexProgress, default_workers
from seesay.search.indexing.read import ReadingProcesses, reading_processes, stopped_by_ctrl_c
from seesay.search.indexing.walk import SCHEMES
from seesay.search.model import draft_of, set_text_model
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, ReadResult, ReadSettings
from seesay.search.reading.process import stored_vectors
from seesay.search.vectors.generations import INDEXES
from seesay.search.vectors.vector_index import CHURN_LEAST, VectorIndex
from seesay.text import Text

_AT_ONCE = 384  # passages per transaction
_ALL = 2**62


@dataclass(frozen=True, kw_only=True)
class FillReport:
    """The result of filling an embedding space."""

    embedded: int
    """Passages that got a vector."""
    failed: int
    """Passages whose file could not be read or has changed since it was indexed."""
    complete: bool
    """Whether searches use this space now."""
    seconds: float


def fill(
    store: Store,
    embedder: Embedder,
    *,
    on_progress: Callable[[IndexProgress], None] | None = None,
    stop: Event | None = None,
    limits: ReadLimits | None = None,
) -> FillReport:
    """Embed every passage without a vector in this model's embedding space, then use that space for
    searches.

    Meanwhile searches use the old space, and indexing may add passages, which are embedded too.
    After Ctrl-C, `stop` or a kill, the same call continues. Passages whose file cannot be read do
    not prevent the switch: indexing again adds or removes them.

    Raises CollectionError if the collection cannot be written.
    """
    store.require_writable()
    models = IndexingModels(store, embedder)
    held: Holding = "all" if store.spaces.active("text") is None else "other"
    settings = ReadSettings(
        transform=embedder.transform_config,
        reduce_large=embedder.reduce_large,
        limits=limits or ReadLimits(),
    )
    with (
        stopped_by_ctrl_c(stop or Event()) as stopping,
        reading_processes(settings, default_workers()) as processes,
    ):
        filler = Filler(store, models, models.space, held, processes, on_progress)
        return filler.complete(stopping)


def fill_texts(
    store: Store,
    main: Embedder,
    texts: Embedder | None,
    *,
    on_progress: Callable[[IndexProgress], None] | None = None,
    stop: Event | None = None,
) -> FillReport:
    """Embed every text passage with this text embedder, or with the main model if it is None, then
    use these vectors for searches; as `fill`. The main model's vectors of text passages are removed
    once a text embedder is used: they would be found among the captions of pictures."""
    store.require_writable()
    models = IndexingModels(store, main, None if texts is None else lambda: texts)
    space = models.space
    if texts is not None:
        with store.writing("space"):
            space = store.spaces.add(draft_of(texts), "text")
    with stopped_by_ctrl_c(stop or Event()) as stopping:
        return Filler(store, models, space, "text", None, on_progress).complete(stopping)


def keep_up(store: Store, space: EmbeddingSpace) -> Text | None:
    """Build the indexes that are worth building. Returns why one could not be built, such as a full
    disk or a server without a token; searches still find everything, more slowly. Skips an index
    that another process is building."""
    problem = None
    built = (store.folder / INDEXES).is_dir()
    for modality, count in store.vectors.modalities(space.id, CHURN_LEAST + 1).items():
        if count <= CHURN_LEAST and not built:
            continue  # scanning it takes no time
        vector_index = VectorIndex(store, space, modality)
        try:
            if vector_index.status().needs_build:
                vector_index.update()
        except CollectionBusyError:
            continue
        except (CollectionError, ConfigError, MissingExtraError) as error:
            problem = error.text
        finally:
            vector_index.close()
    return problem


@dataclass(eq=False)
class Filler:
    """Fills one embedding space."""

    _store: Store
    _models: IndexingModels
    _space: EmbeddingSpace
    _held: Holding
    """Which passages the space should hold."""
    _processes: ReadingProcesses | None
    """None if it holds texts alone, which are in the collection."""
    _on_progress: Callable[[IndexProgress], None] | None
    _began: float = field(default_factory=time.monotonic)
    _embedded: int = 0
    _failed: set[int] = field(default_factory=set)

    def complete(self, stopping: Event) -> FillReport:
        """Fill the space, and use it once nothing is missing."""
        complete = False
        while not stopping.is_set() and not complete:
            self._fill(stopping)
            if not stopping.is_set():
                self._fill_captions(stopping)
                keep_up(self._store, self._space)  # before searches use it
                complete = self._switched()
        return FillReport(
            embedded=self._embedded,
            failed=len(self._failed),
            complete=complete,
            seconds=time.monotonic() - self._began,
        )

    def restore(self, stopping: Event) -> int:
        """Restore missing vectors in the space in use, whether lost or never computed because a
        file could not be read, and add missing fingerprints of pictures. Returns the number of
        vectors added."""
        if self._held != "text" and (missing := self._store.fingerprints.missing()):
            self._fingerprint(missing, stopping)
        if self._store.vectors.count_missing(self._space.id, held=self._held):
            self._fill(stopping)
        return self._embedded + self._fill_captions(stopping)

    def _fill_captions(self, stopping: Event) -> int:
        if self._space.role == "text":
            return 0
        return fill_captions(self._store, self._models.main, self._space, stopping)

    def _fingerprint(self, missing: Sequence[int], stopping: Event) -> None:
        """Read the files and store fingerprints, without embedding anything."""
        for start in range(0, len(missing), _AT_ONCE):
            if stopping.is_set():
                return
            some = missing[start : start + _AT_ONCE]
            units = self._store.passages.get(some)
            items = {item.id: item for item in self._store.files.get(unit.file for unit in units)}
            unit_of = {items[unit.file].path: unit.id for unit in units if unit.file in items}
            found = {
                unit_of[result.path]: result.passages[0].fingerprint
                for result in self._read(list(items.values()))
            }
            if found:
                with self._store.writing("fingerprint"):
                    self._store.fingerprints.put({n: one for n, one in found.items() if one})
            self._tell(start + len(some), len(missing))

    def _fill(self, stopping: Event) -> None:
        after, total = 0, self._store.vectors.count_missing(self._space.id, held=self._held)
        while not stopping.is_set():
            some = self._store.vectors.missing(self._space.id, _AT_ONCE, after, held=self._held)
            if not some:
                return
            after = some[-1]
            self._embed(self._store.passages.get(some))
            self._tell(self._embedded + len(self._failed), total)

    def _switched(self) -> bool:
        """Use the space, unless passages were added meanwhile."""
        with self._store.writing("switch"):
            missing = self._store.vectors.missing(self._space.id, _ALL, held=self._held)
            if not self._failed.issuperset(missing):
                return False
            is_main = self._space.role == "main"
            if is_main and self._store.vectors.without_caption(self._space.id, 1):
                return False
            if self._held == "text":
                set_text_model(self._store, None if is_main else self._space.model)
            if self._held == "text" and is_main:
                self._store.spaces.retire_text()
                return True
            self._store.spaces.activate(self._space.id)
            if not is_main:
                self._store.vectors.remove_texts_from_main()
            return True

    def _embed(self, units: Sequence[Passage]) -> None:
        texts = [unit for unit in units if unit.modality == "text"]
        found: dict[int, np.ndarray] = {}
        if texts:
            lines = [unit.text or "" for unit in texts]
            embedder = self._models.embedder_of("text")
            vectors = embedder.embed_texts(lines, role="passage").vectors
            found = dict(zip((unit.id for unit in texts), vectors, strict=True))
        found |= self._embed_files({unit.file for unit in units if unit.modality != "text"})
        self._failed.update({unit.id for unit in units} - found.keys())
        with self._store.writing("fill"):
            filled = set(self._store.vectors.get(self._space.id, found)[0].tolist())
            there = [one.id for one in self._store.passages.get(found) if one.id not in filled]
            if there:
                rows = np.stack([found[number] for number in there])
                self._store.vectors.put(self._space.id, there, rows)
        self._embedded += len(there)

    def _embed_files(self, files: Iterable[int]) -> dict[int, np.ndarray]:
        """Return the vectors of all passages but texts of files that must be read and are
        unchanged: a long document is read once."""
        items = {item.id: item for item in self._store.files.get(files)}
        contents = {item.content_hash: item for item in items.values()}
        known: dict[str, Rows] = {}
        texts = self._store.spaces.active("text") or self._space
        for content, item in contents.items():
            if some := stored_vectors(
                self._store.database, (self._space.id, texts.id), content, item.media_type
            ):
                known[content] = [np.frombuffer(one, "<f2") for one in some]
        results = self._read([item for content, item in contents.items() if content not in known])
        for embedded in embed_files(self._models, results, without=("text",)):
            if embedded.vectors is not None:
                known[embedded.file.content_hash] = embedded.vectors
        return self._by_passage(
            {n: known[i.content_hash] for n, i in items.items() if i.content_hash in known}
        )

    def _by_passage(self, vectors: Mapping[int, Rows]) -> dict[int, np.ndarray]:
        """Return the vectors of files by passage, without texts and without files that are now
        split in another way."""
        passages: dict[int, list[Passage]] = {}
        for passage in self._store.passages.of_files(vectors):
            passages.setdefault(passage.file, []).append(passage)
        return {
            one.id: vectors[file][one.position].astype(np.float32)
            for file, some in passages.items()
            if len(vectors[file]) == len(some)
            for one in some
            if one.modality != "text"
        }

    def _read(self, items: Sequence[File]) -> Iterator[ReadResult]:
        """Yield the files that can be read and are unchanged."""
        if self._processes is None:
            return
        known = {item.path: item.content_hash for item in items}
        tasks = [
            ListedFile(
                path=item.path,
                expected="address" if item.path.startswith(SCHEMES) else item.media_type,
                size=item.size,
                decode=True,
            )
            for item in items
        ]
        for result in self._processes.read(tasks):
            if result.stage is None and result.content_hash == known[result.path]:
                yield result

    def _tell(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            progress = IndexProgress(
                done=done,
                total=total,
                failed=len(self._failed),
                unchanged=0,
                seconds=time.monotonic() - self._began,
                path="",
            )
            self._on_progress(progress)

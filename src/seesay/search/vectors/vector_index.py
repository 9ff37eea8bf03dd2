"""The vectors of one modality in one embedding space: searched, indexed, verified."""

import math
import shutil
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from seesay.errors import CollectionBusyError, CollectionError, ConfigError, MissingExtraError
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import Filter, Operator
from seesay.search.catalog.store import Position, Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.checking.findings import Finding
from seesay.search.vectors import building, generations
from seesay.search.vectors.building import build_lock
from seesay.search.vectors.engine import (
    CandidateIndex,
    Engine,
    HoldingEngine,
    IndexDamagedError,
    IndexOutdatedError,
    LocalEngine,
    OpenIndex,
    Progress,
)
from seesay.search.vectors.engines import EngineOf, engine_in_use, engine_of
from seesay.search.vectors.generations import Generation, server_prefix
from seesay.search.vectors.planner import Question, Ranking, View, answer
from seesay.search.vectors.pushdown import pushed_down
from seesay.search.vectors.rows import Rows, StoredRows
from seesay.search.vectors.verification import check_recall, check_rows
from seesay.text import Text

CHURN = 0.15  # share of new and removed rows that calls for a new index
CHURN_LEAST = 2000  # fewer rows are scanned in no time
AGAIN_S = 30.0  # before an unusable index is retried: a server may come back


@dataclass(frozen=True, kw_only=True)
class IndexStatus:
    """The contents of a vector index, and whether rebuilding it would help."""

    vectors: int
    indexed: int
    """Rows of the index, including removed ones."""
    recent: int
    """Vectors added after the index was built."""
    gone: int
    """Rows of the index whose passage was removed or changed."""
    engine: str | None
    """The name of the engine that built the index."""
    kind: str | None
    """The type of index, such as "HNSW"; "scan" if there is none because scanning is as fast."""
    generation: int | None
    needs_build: bool
    problem: Text | None
    """Why the newest index is not used."""
    left: tuple[str, ...] = ()
    """After a build: engines that could not remove the previous index because their server is
    away."""


class VectorIndex:
    """The vectors of one modality in one embedding space. Any number of threads may search at
    once."""

    def __init__(
        self,
        store: Store,
        space: EmbeddingSpace,
        modality: Modality,
        *,
        engines: EngineOf = engine_of,
    ) -> None:
        """`engines` makes the engine that built an index from its name."""
        self.space = space
        self.modality: Modality = modality
        self.folder = generations.index_folder(store, space, modality)
        self._store = store
        self._engines = engines
        self._masks: FilterMasks | None = None  # until a search has a filter
        self._mutex = threading.Lock()
        self._view: View | None = None
        self._stamp = 0
        self._again_at = 0.0
        self._operators: Collection[Operator] = ()

    def search(
        self,
        query: Float[np.ndarray, " embed"],
        count: int,
        *,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> Ranking:
        """Returns the nearest `count` passages that the filter keeps. `exact` always scans.

        Raises CollectionError for a query that is not a direction in this embedding space. An
        unusable index is not an error; the plan reports it.
        """
        question = Question(self._direction(query), count, exact)
        view = self._current()
        if view.is_held:  # the vectors are read from the file, at one state of the collection
            with self._store.database.snapshot():
                return self._answer(self._known(self._current()), question, filter)
        return self._answer(view, question, filter)

    def _answer(self, view: View, question: Question, filter: Filter | None) -> Ranking:
        with self._mutex:
            units = expression = None
            if filter is not None:
                self._masks = self._masks or FilterMasks(self._store.database)
                units = self._masks.mask(filter)
                expression = pushed_down(filter, self._operators) if view.is_held else None
            base = view.base.allowed(filter, units, expression)
            recent = view.recent.allowed(filter, units)
        ranking = answer(view, question, (base, recent))
        if ranking.plan.problem is not None and view.problem is None:
            self._do_without(view, ranking.plan.problem)
        return ranking

    def build(self, engine: str | None = None, *, wait_s: float = 0.0) -> IndexStatus:
        """Rebuild the index from the stored vectors and use it, with the collection's engine or the
        one named. Raises CollectionBusyError if another process is building it, CollectionError if
        the disk is full or read-only, or no server answers."""
        chosen = self._engines(engine or engine_in_use(self._store.settings))
        return self._build(chosen, wait_s, anew=True)

    def update(self, *, wait_s: float = 0.0) -> IndexStatus:
        """Bring the index up to date: send changes to an engine that holds the vectors, else
        rebuild the index. Raises as `build` does."""
        chosen = self._engines(engine_in_use(self._store.settings))
        return self._build(chosen, wait_s, anew=False)

    def _build(self, engine: Engine, wait_s: float, *, anew: bool) -> IndexStatus:
        self._store.require_writable()
        where = self._store, self.space, self.modality
        with build_lock(self.folder, wait_s):
            held = None if anew else self._held_by(engine)
            if held is not None and isinstance(engine, HoldingEngine):
                number: int | None = building.send_changes(*where, engine, held)
            else:
                number = building.build(*where, engine)
            left = self._remove_all_but(number or 0)
            if number is not None:
                self._forget_removals(number)
        self.close()
        return replace(self.status(), left=left)

    def _held_by(self, engine: Engine) -> Generation | None:
        """Returns the generation that can receive changes; None if a new one must be built, such as
        in a copy of a collection, whose index on the server belongs to the original."""
        view = self._current()
        if not view.is_held or view.base.index is None or view.generation is None:
            return None
        manifest, here = view.generation.manifest, generations.place_of(self.folder)
        return view.generation if (manifest.engine, manifest.place) == (engine.name, here) else None

    def discard(self) -> None:
        """Remove the index, also from its server; searches then scan all vectors. Raises
        CollectionBusyError if another process keeps building it."""
        self.close()
        if self.folder.is_dir():
            with build_lock(self.folder, 10.0):
                self._remove_all_but(0)
            shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> IndexStatus:
        """Returns the present status of the index."""
        view = self._current()
        generation, gone, recent = view.generation, view.base.dead, len(view.recent.rows)
        engine = engine_in_use(self._store.settings)
        stale = generation is not None and generation.manifest.engine != engine
        scanned = 0 if view.is_held else max(CHURN_LEAST, CHURN * len(view.base.rows))
        churned = gone + recent > scanned
        return IndexStatus(
            vectors=view.row_count,
            indexed=len(view.base.rows),
            recent=recent - view.recent.dead,
            gone=gone,
            engine=generation.manifest.engine if generation else None,
            kind=generation.manifest.index_type if generation else None,
            generation=generation.number if generation else None,
            needs_build=churned or stale or view.problem is not None,
            problem=view.problem,
        )

    @property
    def engine(self) -> str | None:
        """Returns the name of the engine that built the index, without opening it; None if there is
        no index."""
        with suppress(IndexDamagedError):
            if number := generations.newest(self.folder):
                return generations.manifest_of(self.folder, number).engine
        return None

    def verify(self, *, deep: bool = False) -> list[Finding]:
        """Read every byte of the index and return its problems. `deep` also compares its rows with
        the stored vectors, and searches for some of them."""
        number, where = generations.newest(self.folder), str(self.folder)
        try:
            if number:
                generation = self._load(number, every_byte=True)
                generations.check(generation, every_byte=True)
                if index := self._open(generation):
                    index.close()
        except IndexOutdatedError:
            return []  # nothing is lost
        except IndexDamagedError as error:
            return [Finding(kind="index files", where=where, detail=error.text)]
        if not deep:
            return []
        with self._store.database.snapshot():
            view = self._current()
            rows = list(check_rows(self._store, self.space, self.modality, view, where))
            return rows or list(
                check_recall(self._store, self.space, view.base, self._search, where)
            )

    def close(self) -> None:
        """Release the index."""
        with self._mutex:
            self._release()

    def _search(self, query: Float32[np.ndarray, " embed"], count: int, exact: bool) -> Ranking:
        return self.search(query, count, exact=exact)

    def _release(self) -> None:
        """Release the index; a thread that is using it falls back to scanning."""
        if self._view is not None and self._view.base.index is not None:
            self._view.base.index.close()
        self._view = None

    def _do_without(self, view: View, problem: Text) -> None:
        """Stop using the index of a view, unless another view replaced it already."""
        with self._mutex:
            if self._view is view:
                self._release()
                self._view = view.without_index(problem)
                self._again_at = time.monotonic() + AGAIN_S

    def _is_current(self, view: View, stamp: int) -> bool:
        """Whether there is no new index and none worth another try."""
        lost = view.problem is not None and view.generation is not None
        return stamp == self._stamp and not (lost and time.monotonic() > self._again_at)

    def _current(self) -> View:
        """Returns the view of the collection's present state."""
        view, stamp, ledger = self._view, self._folder_stamp(), self._store.ledger
        where = self._store, self.space, self.modality
        if view and self._is_current(view, stamp) and view.position == ledger.position():
            return view
        with self._mutex, self._store.database.snapshot():
            position = ledger.position()
            view = self._view
            known = view and self._is_current(view, stamp) and ledger.has_passed(view.position)
            view = view.followed(*where, position) if view and known else None
            if view is None:
                self._release()
                view = (self._newest() if stamp else View.empty(self.space.dim)).followed(
                    *where, position
                )
            if view is None:
                view = replace(View.empty(self.space.dim), problem=building.OUTDATED)
                view = view.followed(*where, position)
            assert view is not None  # an empty view can always be updated
            if self._masks is not None:
                self._masks.follow(position)
            self._view, self._stamp = view, stamp
        return view

    def _newest(self) -> View:
        """Open the newest generation; returns an empty view if it cannot be used."""
        view = View.empty(self.space.dim)
        try:
            if number := generations.newest(self.folder):
                generation = self._load(number)
                view = View.of(generation, self._rows(generation), None)
                index = self._open(generation)
                view = replace(view, base=replace(view.base, index=index))
        except IndexDamagedError as error:
            view = replace(view, problem=error.text)
        self._again_at = time.monotonic() + AGAIN_S
        return view

    def _rows(self, generation: Generation) -> Rows | StoredRows:
        if generation.vectors is not None:
            return Rows(generation.vectors)
        return StoredRows(self._store.vectors, self.space, self.modality, generation.units)

    def _load(self, number: int, *, every_byte: bool = False) -> Generation:
        """Open a generation. Raises IndexDamagedError unless it was built from an earlier state of
        these very vectors."""
        generation = generations.load(self.folder, number, every_byte=every_byte)
        manifest, units, folder = generation.manifest, generation.units, generation.folder
        known = self._store.ledger.has_passed(manifest.position)
        if not known or manifest.lane != self.folder.name:
            raise IndexDamagedError(
                Text(
                    f"the index in {folder} belongs to another state of the collection: a copy of "
                    "the database was put back, or the index comes from another collection",
                    f"{folder} 里的索引对应资料库的另一个状态：可能是放回了旧的数据库，"
                    "或索引来自别的资料库",
                )
            )
        fits = generation.vectors is None or generation.vectors.shape[1] == self.space.dim
        if generation.manifest.is_held:
            fits = bool((units[1:] > units[:-1]).all())
        if (
            not fits
            or units.min(initial=1) < 1
            or units.max(initial=1) > self._store.passages.newest
        ):
            raise IndexDamagedError(
                Text(
                    f"{folder} holds vectors of another size, or of passages that this collection "
                    "never had",
                    f"{folder} 里的向量维数不对，或对应的段落这个资料库从来没有过",
                )
            )
        return generation

    def _open(self, generation: Generation) -> OpenIndex | None:
        generations.check(generation)
        manifest, rows = generation.manifest, self._rows(generation)
        try:
            engine = self._engines(manifest.engine)
            if isinstance(engine, LocalEngine) and isinstance(rows, Rows):
                return engine.open(rows, generation.folder, manifest.notes)
            if isinstance(engine, HoldingEngine) and isinstance(rows, StoredRows):
                self._operators = engine.operators
                return self._checked(engine.open(rows, manifest.notes), generation)
        except (ConfigError, MissingExtraError) as error:
            raise IndexDamagedError(error.text) from error
        raise generations.outdated(generation.folder)

    def _checked(self, index: CandidateIndex, generation: Generation) -> CandidateIndex:
        """Check an index. Raises IndexDamagedError, and closes the index, unless its server holds
        the right data and nothing from another history."""
        position, units = generation.manifest.position, generation.units
        try:
            progress = self._progress(index, position)
            removed = self._store.vectors.removed_since(self.space.id, self.modality, position.seq)
            unchanged = np.flatnonzero(~np.isin(units, [] if removed is None else removed))
            index.check(unchanged, counted=progress == (position, position))
        except IndexDamagedError:
            index.close()
            raise
        return index

    def _progress(self, index: CandidateIndex, position: Position) -> Progress:
        progress = index.progress()
        known = map(self._store.ledger.has_passed, progress)
        if not all(known) or progress.filled.seq < position.seq:
            raise IndexDamagedError(
                Text(
                    "the server's index belongs to another state of the collection: a copy of the "
                    "collection or of the server's data was put back",
                    "服务器上的索引对应资料库的另一个状态：可能放回过旧的资料库，"
                    "或恢复过服务器的旧数据",
                )
            )
        return progress

    def _known(self, view: View) -> View:
        """Returns the view, without its index if this collection is a copy whose original has moved
        on with the index."""
        index, generation = view.base.index, view.generation
        if not isinstance(index, CandidateIndex) or generation is None:
            return view
        if generation.manifest.place == generations.place_of(self.folder):
            return view
        try:
            self._progress(index, generation.manifest.position)
        except IndexDamagedError as error:
            self._do_without(view, error.text)
            return view.without_index(error.text)
        return view

    def _remove_all_but(self, number: int) -> tuple[str, ...]:
        """Remove the generations that `number` replaces; returns the engines that still hold
        any."""
        here, left, kept = generations.place_of(self.folder), [], None
        own = server_prefix(self._store, self.space, self.modality)
        if number:
            kept = generations.manifest_of(self.folder, number).notes.get("collection")
        for old in generations.remove_all_but(self.folder, number):
            # A copy of a collection refers to data on a server that the original still uses, and a
            # stranger's collection may refer to anything.
            name = str(old.notes.get("collection", own))
            if old.place == here and name.startswith(own) and name != kept:
                try:
                    self._engines(old.engine).drop(old.notes)
                except (IndexDamagedError, ConfigError, MissingExtraError):
                    left.append(old.engine)
        return tuple(left)

    def _forget_removals(self, number: int) -> None:
        """Forget the removals that generation `number` already includes."""
        seq = generations.manifest_of(self.folder, number).position.seq
        # Do not wait for a writer here: the next build cleans up instead.
        with suppress(CollectionBusyError), self._store.writing("forget removals", wait_s=0.0):
            self._store.vectors.forget_removals(self.space.id, self.modality, seq)

    def _folder_stamp(self) -> int:
        try:
            return self.folder.stat().st_mtime_ns  # changes when a generation comes or goes
        except OSError:
            return 0

    def _direction(self, query: Float[np.ndarray, " embed"]) -> Float32[np.ndarray, " embed"]:
        length = math.sqrt(np.vdot(query, query))
        if query.shape != (self.space.dim,) or not math.isfinite(length) or not length:
            dim, model = self.space.dim, self.space.model
            raise CollectionError(
                Text(
                    f"the query has shape {query.shape} and length {length:g}, expected {dim} "
                    f"numbers that are not all zero: embed it with {model}",
                    f"查询向量的形状为 {query.shape}、长度为 {length:g}；"
                    f"应为 {dim} 个不全为零的数；请用 {model} 计算向量",
                )
            )
        return (query / length).astype(np.float32)

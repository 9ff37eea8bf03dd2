"""A lane: the vectors of one modality in one space, searched and indexed."""

import math
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from seesay.errors import CollectionBusyError, CollectionError, ConfigError, MissingExtraError
from seesay.search.catalog.filter_masks import Columns
from seesay.search.catalog.filters import Filter
from seesay.search.catalog.ledger import Position
from seesay.search.catalog.passages import Modality
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.checking.findings import Finding
from seesay.search.checking.index import check_recall, check_rows
from seesay.search.vectors import building, generations
from seesay.search.vectors.engine import IndexDamagedError, IndexOutdatedError, OpenIndex
from seesay.search.vectors.engines import EngineOf, engine_in_use, engine_of
from seesay.search.vectors.generations import Generation
from seesay.search.vectors.planner import Question, Ranking, answer
from seesay.search.vectors.rows import Rows
from seesay.search.vectors.view import View, followed, opened, row_count

CHURN = 0.15  # of the rows: as many new and gone ones call for a new index
CHURN_LEAST = 2000  # rows that are scanned in no time whatever they are a part of
AGAIN_S = 30.0  # an index that could not be used is left alone for as long: a server may come back


@dataclass(frozen=True, kw_only=True)
class IndexStatus:
    """What a lane holds, and whether a new index would be worth building."""

    vectors: int
    indexed: int
    """Rows of the index, those that are gone included."""
    recent: int
    """Vectors that came after it was built."""
    gone: int
    """Rows of the index whose unit was removed or changed."""
    engine: str | None
    """Name of the engine that built it."""
    kind: str | None
    """What it built: "scan" where it built nothing, since scanning is as good; "HNSW"."""
    generation: int | None
    needs_build: bool
    problem: str | None
    """Why the newest index is not used."""
    left: tuple[str, ...] = ()
    """After a build: engines that could not remove the former index, as their server is away."""


class VectorIndex:
    """The vectors of one modality in one space. Any number of threads may search at once."""

    def __init__(
        self,
        store: Store,
        space: Space,
        modality: Modality,
        *,
        engines: EngineOf = engine_of,
        columns: Columns | None = None,
    ) -> None:
        """An index is opened with the engine that built it, which `engines` makes from its name.
        `columns` may be shared by the lanes of one thread."""
        self.space = space
        self.modality: Modality = modality
        self.folder = building.index_folder(store, space, modality)
        self._store = store
        self._engines = engines
        self._columns = columns or Columns(store.database)
        self._mutex = threading.Lock()
        self._view: View | None = None
        self._stamp = 0
        self._again_at = 0.0

    def search(
        self,
        query: Float[np.ndarray, " embed"],
        count: int,
        *,
        within: Filter | None = None,
        exact: bool = False,
    ) -> Ranking:
        """The nearest `count` units of those that the filter `within` takes.

        `exact` scans in any case. Raises CollectionError for a query that is not a
        direction in this space. An index that cannot be used is no error: its plan says so.
        """
        view = self._current()
        direction = self._direction(query)
        with self._mutex:
            units = None if within is None else self._columns.mask(within)
            allowed = (view.base.allowed(within, units), view.recent.allowed(within, units))
        ranking = answer(view, Question(direction, count, exact), allowed)
        if ranking.plan.problem is not None and view.problem is None:
            self._do_without(view, ranking.plan.problem)
        return ranking

    def build(self, engine: str | None = None, *, wait_s: float = 0.0) -> IndexStatus:
        """Build the index anew from what is stored, and use it; with the collection's engine, or
        the one of this name. Raises CollectionBusyError where another process is building it,
        CollectionError where there is no room, no right, or no server that answers."""
        self._store.require_writable()
        chosen = self._engines(engine or engine_in_use(self._store.settings))
        with building.building(self.folder, wait_s):
            number = building.build(self._store, self.space, self.modality, chosen)
            left = self._remove_all_but(number or 0)
            if number is not None:
                self._forget_removals(number)
        self.close()
        return replace(self.status(), left=left)

    def discard(self) -> None:
        """Remove the index, wherever it is: all is scanned from now on. Raises CollectionBusyError
        where another process goes on building it."""
        self.close()
        if self.folder.is_dir():
            with building.building(self.folder, 10.0):
                self._remove_all_but(0)
            shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> IndexStatus:
        """What the lane holds now."""
        view = self._current()
        generation, gone, recent = view.generation, view.base.dead, len(view.recent.rows)
        engine = engine_in_use(self._store.settings)
        stale = generation is not None and generation.manifest.engine != engine
        churned = gone + recent > max(CHURN_LEAST, CHURN * len(view.base.rows))
        return IndexStatus(
            vectors=row_count((view.base, view.recent)),
            indexed=len(view.base.rows),
            recent=recent - view.recent.dead,
            gone=gone,
            engine=generation.manifest.engine if generation else None,
            kind=generation.manifest.kind if generation else None,
            generation=generation.number if generation else None,
            needs_build=churned or stale or view.problem is not None,
            problem=view.problem,
        )

    @property
    def engine(self) -> str | None:
        """Name of the engine that built the index, which is not opened; None without an index."""
        with suppress(IndexDamagedError):
            if number := generations.newest(self.folder):
                return generations.manifest_of(self.folder, number).engine
        return None

    def verify(self, *, deep: bool = False) -> list[Finding]:
        """What is wrong with the index, every byte of it read; nothing where all is well. `deep`
        compares its rows with what is stored, and looks for some of them."""
        number = generations.newest(self.folder)
        try:
            if number:
                generation = self._load(number, every_byte=True)
                generations.check(generation, every_byte=True)
                if index := self._open(generation):
                    index.close()
        except IndexOutdatedError:
            return []  # nothing is lost
        except IndexDamagedError as error:
            return [Finding(kind="index files", where=str(self.folder), detail=str(error))]
        if not deep:
            return []
        with self._store.database.snapshot():
            view = self._current()
            found = list(check_rows(self, view, self._store))
            return found or list(check_recall(self, view, self._store))

    def close(self) -> None:
        """Let go of the index."""
        with self._mutex:
            self._let_go()

    def _let_go(self) -> None:
        """Another thread that is just asking the index falls back to scanning."""
        if self._view is not None and self._view.base.index is not None:
            self._view.base.index.close()
        self._view = None

    def _do_without(self, view: View, problem: str) -> None:
        """Ask the index of a view no more, unless another view is in use by now."""
        with self._mutex:
            if self._view is view:
                self._let_go()
                self._view = view.without_index(problem)
                self._again_at = time.monotonic() + AGAIN_S

    def _is_current(self, view: View, stamp: int) -> bool:
        """Whether there is neither a new index nor one that is worth another try."""
        lost = view.problem is not None and view.generation is not None
        return stamp == self._stamp and not (lost and time.monotonic() > self._again_at)

    def _current(self) -> View:
        """The view of the collection's present state."""
        view, stamp, ledger = self._view, self._folder_stamp(), self._store.ledger
        if view and self._is_current(view, stamp) and view.position == ledger.position():
            return view
        with self._mutex, self._store.database.snapshot():
            position = ledger.position()
            view = self._view
            known = view and self._is_current(view, stamp) and ledger.has_passed(view.position)
            view = self._follow(view, position) if view and known else None
            if view is None:
                self._let_go()
                view = self._follow(self._newest(), position)
            if view is None:
                problem = "the index is older than what is known of removals"
                nothing = opened(None, None, self.space.dim)
                view = self._follow(replace(nothing, problem=problem), position)
            assert view is not None  # nothing is forgotten for those who begin with nothing
            self._columns.follow(position)
            self._view, self._stamp = view, stamp
        return view

    def _follow(self, view: View, position: Position) -> View | None:
        return followed(view, self._store.vectors, (self.space.id, self.modality), position)

    def _newest(self) -> View:
        """Opens the newest generation, or an empty view if that cannot be used."""
        generation, index, problem = None, None, None
        try:
            if number := generations.newest(self.folder):
                generation = self._load(number)
                index = self._open(generation)
        except IndexDamagedError as error:
            problem = str(error)
        self._again_at = time.monotonic() + AGAIN_S
        view = opened(generation, index, self.space.dim)
        return replace(view, problem=problem)

    def _load(self, number: int, *, every_byte: bool = False) -> Generation:
        """Open a generation. Raises IndexDamagedError unless it was built from an earlier state of
        this very lane."""
        generation = generations.load(self.folder, number, every_byte=every_byte)
        manifest, units = generation.manifest, generation.units
        known = self._store.ledger.has_passed(manifest.position)
        if not known or manifest.lane != self.folder.name:
            raise IndexDamagedError(
                f"the index in {generation.folder} belongs to another state of the collection: a "
                "copy of the database was put back, or the index comes from another collection"
            )
        fits = generation.vectors.shape[1] == self.space.dim
        if not fits or units.min(initial=1) < 1 or units.max(initial=1) > self._store.units.newest:
            raise IndexDamagedError(
                f"{generation.folder} holds vectors of another size, or of units that this "
                "collection never had"
            )
        return generation

    def _open(self, generation: Generation) -> OpenIndex | None:
        generations.check(generation)
        manifest = generation.manifest
        try:
            engine = self._engines(manifest.engine)
            return engine.open(Rows(generation.vectors), generation.folder, manifest.notes)
        except (ConfigError, MissingExtraError) as error:
            raise IndexDamagedError(str(error)) from error

    def _remove_all_but(self, number: int) -> tuple[str, ...]:
        """Remove what generation `number` replaces; returns the engines that still keep some."""
        here, left = generations.place_of(self.folder), []
        own = building.names_begin(self._store, self.space, self.modality)
        for old in generations.remove_all_but(self.folder, number):
            # A copy of a collection names on a server what the first one still uses, and one of a
            # stranger may name anything.
            if old.place == here and str(old.notes.get("collection", own)).startswith(own):
                try:
                    self._engines(old.engine).drop(old.notes)
                except (IndexDamagedError, ConfigError, MissingExtraError):
                    left.append(old.engine)
        return tuple(left)

    def _forget_removals(self, number: int) -> None:
        """Forget which removals generation `number` knows of already."""
        seq = generations.manifest_of(self.folder, number).position.seq
        # Whoever is writing just now has more important things to do: the next build cleans up.
        with suppress(CollectionBusyError), self._store.writing("forget removals", wait_s=0.0):
            self._store.vectors.forget_removals(self.space.id, self.modality, seq)

    def _folder_stamp(self) -> int:
        try:
            return self.folder.stat().st_mtime_ns  # a generation came or went
        except OSError:
            return 0

    def _direction(self, query: Float[np.ndarray, " embed"]) -> Float32[np.ndarray, " embed"]:
        length = math.sqrt(np.vdot(query, query))
        if query.shape != (self.space.dim,) or not math.isfinite(length) or not length:
            raise CollectionError(
                f"the query has shape {query.shape} and length {length:g}, expected "
                f"{self.space.dim} numbers that are not all zero: embed it with {self.space.model}"
            )
        return (query / length).astype(np.float32)

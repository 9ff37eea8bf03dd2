"""Ask a collection: every lane for itself, then all rankings as one."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from seesay.data.images import ImageSource
from seesay.errors import CollectionError, ConfigError
from seesay.inference.embedder import Embedder
from seesay.search.filtering import fields_of
from seesay.search.indexes.protocol import VectorIndex
from seesay.search.query.asking import LANES, MOST_HITS, LaneName, Part, Query, without_pictures
from seesay.search.query.calibration import THRESHOLD
from seesay.search.query.embedding import Embedded, PartEmbedder
from seesay.search.query.everyday import Everyday
from seesay.search.query.hits import confidences_of, make_hits
from seesay.search.query.rankings.fusion import K, Ranked, fused, in_turn
from seesay.search.query.rankings.keyword_lane import search_keywords
from seesay.search.query.rankings.lanes import SpaceLanes
from seesay.search.query.rankings.ranking import Answered, rank
from seesay.search.query.reading.dates import DATE_KEY
from seesay.search.query.results import Explain, Hit, Results
from seesay.search.store.filters.conditions import FACTS, All, Filter, matching_units
from seesay.search.store.records import Space
from seesay.search.store.store import Store

_DEPTH = 500  # units that each lane names: pages of the first 400 hits are cut from one ranking
_SHALLOW = 400
_FIRST_PAGE, _FIRST_HITS = 100, 25  # enough units for as many hits, copies among them


@dataclass(frozen=True, eq=False)
class _Asked:
    """A query made ready."""

    parts: tuple[Embedded, ...]
    within: Filter | None
    notes: tuple[str, ...]


class Searcher:
    """Searches one collection with one model. Any number of threads may search at once, while
    others change the collection."""

    def __init__(
        self, store: Store, embedder: Embedder, *, engine: VectorIndex | None = None
    ) -> None:
        self._store = store
        self._engine = engine
        self._embedder = PartEmbedder(store, embedder)
        self._everyday = Everyday(embedder)
        self._mutex = threading.Lock()
        self._lanes: SpaceLanes | None = None

    def search(self, query: Query) -> Results:
        """Answer a query.

        Raises CollectionError for an empty collection, one of another model and a filter on
        something that no unit has; ConfigError for a query that asks for nothing; ImageError for a
        picture that cannot be read.
        """
        return self._search(query, without=())

    def expect(self, queries: Iterable[Query]) -> None:
        """Embed the words of queries that are searched for in a moment, all at once."""
        parts = (part for query in queries for part in query.parts)
        self._embedder.expect(part.text for part in parts if part.text is not None)

    def similar(
        self,
        units: Sequence[int] = (),
        *,
        images: Sequence[ImageSource] = (),
        unlike: Sequence[int] = (),
        filter: Filter | None = None,
        count: int = 20,
        offset: int = 0,
    ) -> Results:
        """What is most like these units and pictures, and not like those of `unlike`; they
        themselves are left out. Pictures bring pictures, texts bring texts."""
        parts = (
            *(Part(unit=unit) for unit in units),
            *(Part(image=image) for image in images),
            *(Part(unit=unit, weight=-0.5) for unit in unlike),
        )
        kinds = {unit.modality for unit in self._store.units.get(units)}
        lanes = cast(tuple[LaneName, ...], tuple(kinds | ({"image"} if images else set())))
        query = Query(
            parts=parts, filter=filter, count=count, offset=offset, lanes=lanes or ("image",)
        )
        return self._search(query, without=[*units, *unlike])

    def close(self) -> None:
        """Let go of the indexes."""
        with self._mutex:
            if self._lanes is not None:
                self._lanes.close()
            self._lanes = None

    def _search(self, query: Query, without: Sequence[int]) -> Results:
        start = time.perf_counter()
        lanes = self._current()
        asked = self._asked(query, lanes.space)
        answered = self._answers(query, asked, lanes, len(without))
        units, scores = self._fused(answered)
        if not asked.parts:
            units = np.sort(matching_units(cast(Filter, asked.within), self._store.database))
            scores = np.zeros(len(units))
        founds = [lane.found for lane in answered]
        sure = confidences_of(units, founds) if asked.parts else np.full(len(units), 100.0)
        # What fits comes before what does not, whichever lane found it; within a lane, where
        # confidence falls with the rank, this changes nothing.
        order = np.argsort(sure < THRESHOLD, kind="stable")
        units, scores, sure = units[order], scores[order], sure[order]
        keep = ~np.isin(units, np.asarray(without, np.int64))
        good = bool((sure[keep] >= THRESHOLD).any())
        if query.min_confidence is not None:
            keep &= sure >= query.min_confidence
        ranked = units[keep], scores[keep], sure[keep]
        page = slice(query.offset, query.offset + query.count)
        hits = make_hits(self._store, ranked, founds, page)
        return self._results(query, asked, answered, hits, good, start)

    def _fused(self, answered: Sequence[Answered]) -> Ranked:
        """All lanes as one ranking, in which pictures and texts come in turn."""
        ranked = fused([ranking for lane in answered for ranking in lane.rankings])
        if len(answered) < 2:
            return ranked
        return in_turn(ranked, np.isin(ranked[0], self._store.units.pictures(ranked[0])))

    def _answers(
        self, query: Query, asked: _Asked, lanes: SpaceLanes, left_out: int
    ) -> list[Answered]:
        if not asked.parts:
            return []
        last = query.offset + query.count
        depth = _DEPTH if last <= _SHALLOW else MOST_HITS
        names, answered = query.lanes or LANES, {}
        if "keyword" in names:
            answered["keyword"] = search_keywords(self._store, asked.parts, depth, asked.within)
        keywords = answered.get("keyword")
        # A unit is in one of the lanes of vectors, so that where no keyword is found, how deep they
        # are searched changes nothing of their order; five times as deep takes five times as long.
        if last + left_out <= _FIRST_HITS and not (keywords and len(keywords.found.units)):
            depth = _FIRST_PAGE
        for name in names:
            if name != "keyword":
                answered[name] = rank(lanes, name, asked.parts, depth, asked.within)
        return [found for name in names if (found := answered[name]) is not None]

    def _results(
        self,
        query: Query,
        asked: _Asked,
        answered: Sequence[Answered],
        hits: list[Hit],
        good: bool,
        start: float,
    ) -> Results:
        explain = Explain(
            parts=tuple(part.report for part in asked.parts),
            lanes=tuple(lane.report for lane in answered),
            notes=asked.notes,
            filter="" if asked.within is None else str(asked.within),
            threshold=THRESHOLD,
            fusion=f"sum over lanes of weight / ({K} + rank), then pictures and texts in turn",
            model=self._embedder.embedder.name,
        )
        names = [part.report.shown for part in asked.parts]
        return Results(
            hits=tuple(hits),
            no_good_match=not good,
            query=without_pictures(query, names),
            explain=explain,
            seconds=time.perf_counter() - start,
        )

    def _asked(self, query: Query, space: Space) -> _Asked:
        filters, notes = [query.filter] if query.filter else [], []
        known = self._store.units.metadata_keys()
        if query.period is not None:
            days = f"{query.period.first} up to before {query.period.end}"
            if DATE_KEY in known:
                filters.append(query.period.as_filter())
                notes.append(f"{query.period.words!r} was taken for the time from {days}")
            else:
                notes.append(
                    f"{query.period.words!r} was taken for a time ({days}), but nothing in this "
                    "collection has a date"
                )
        for condition in filters:
            check_keys(condition, known)
        if not query.parts and not filters:
            raise ConfigError(
                "the query has no words and no picture; expected at least one, or a filter; say "
                'what to look for, as in "a dog on the grass"'
            )
        parts = tuple(self._embedder.embed(part, space) for part in query.parts)
        within = None if not filters else filters[0] if len(filters) == 1 else All(tuple(filters))
        return _Asked(parts, within, tuple(notes))

    def _current(self) -> SpaceLanes:
        """The lanes of the space that is in use now."""
        space = self._store.spaces.active() or next(iter(self._store.spaces.all()), None)
        embedder = self._embedder.embedder
        if space is None:
            raise CollectionError(
                f"{self._store.folder} is empty, expected a collection with something in it; index "
                "some pictures and texts first: seesay index FOLDER"
            )
        if space.dim != embedder.dim:
            raise CollectionError(
                f"the collection was indexed with {space.model} ({space.dim} numbers in a vector), "
                f"and the query is embedded with {embedder.name} ({embedder.dim}); expected the "
                f"same model; search with {space.model}, or switch the collection to the other one"
            )
        with self._mutex:
            if self._lanes is None or self._lanes.space.id != space.id:
                if self._lanes is not None:
                    self._lanes.close()
                self._lanes = SpaceLanes(self._store, space, self._everyday, self._engine)
            return self._lanes


def check_keys(condition: Filter, known: set[str]) -> None:
    """Raises CollectionError for a filter on something that no unit has."""
    unknown = sorted(set(fields_of(condition)) - known - FACTS.keys())
    if unknown:
        names = ", ".join(sorted(known | FACTS.keys()))
        raise CollectionError(
            f"the filter asks for {', '.join(unknown)}, which nothing in the collection has; "
            f"expected some of {names}; correct the name"
        )

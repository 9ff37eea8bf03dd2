"""Ask a collection: every lane for itself, then all rankings as one."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from seesay.data.images import ImageSource
from seesay.errors import CollectionError, ConfigError
from seesay.inference.background import Backgrounds
from seesay.inference.embedder import Embedder
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.asking.asking import LANES, MOST_HITS, LaneName, Part, Query, without_pictures
from seesay.search.asking.confidence import THRESHOLD, in_order
from seesay.search.asking.embedding import Embedded, PartEmbedder
from seesay.search.asking.hits import make_hits
from seesay.search.asking.rankings.captions import captioned_of, confidences_of, weighed
from seesay.search.asking.rankings.fusion import K, Ranked, fused
from seesay.search.asking.rankings.keyword_lane import search_keywords
from seesay.search.asking.rankings.lanes import SpaceLanes
from seesay.search.asking.rankings.ranking import Answered, rank
from seesay.search.asking.results import Explain, Hit, Note, Results
from seesay.search.asking.timing import Timed, use_period
from seesay.search.catalog.filters import Filter, matching_units
from seesay.search.catalog.keywords import cache_folder, cuts_words, holds_chinese
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.filtering import as_text, check_filter

_DEPTH = 500  # units that each lane names: pages of the first 400 hits are cut from one ranking
_SHALLOW = 400
_FIRST_PAGE, _FIRST_HITS = 100, 25  # enough units for as many hits, copies among them


@dataclass(frozen=True, eq=False)
class _Asked:
    """A query made ready."""

    timed: Timed
    parts: tuple[Embedded, ...]


class Searcher:
    """Searches one collection with one model. Any number of threads may search at once, while
    others change the collection."""

    def __init__(self, store: Store, embedder: Embedder | TextEmbedder) -> None:
        self._store = store
        self._embedder = PartEmbedder(store, embedder)
        self._backgrounds = Backgrounds(embedder, cache_folder() / "background")
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
        with self._store.database.snapshot():  # one state of the collection, opened once
            return self._found(query, asked, lanes, without, start)

    def _found(
        self, query: Query, asked: _Asked, lanes: SpaceLanes, without: Sequence[int], start: float
    ) -> Results:
        answered = self._answers(query, asked, lanes, len(without))
        captioned = captioned_of(answered, self._store, lanes.space)
        units, scores = fused(weighed(answered, captioned))
        pictures = self._pictures(answered, units)
        founds = [lane.found for lane in answered]
        sure = confidences_of(units, founds, captioned)
        if not asked.parts:
            (units, scores), sure = self._listed(asked.timed, (units, scores), sure)
        order, sure = in_order(sure, None if pictures is None else np.isin(units, pictures))
        units, scores = units[order], scores[order]
        keep = ~np.isin(units, np.asarray(without, np.int64))
        good = bool((sure[keep] >= THRESHOLD).any())
        if query.min_confidence is not None:
            keep &= sure >= query.min_confidence
        ranked = units[keep], scores[keep], sure[keep]
        page = slice(query.offset, query.offset + query.count)
        hits = make_hits(self._store, ranked, founds, page)
        return self._results(query, asked, answered, hits, good, start)

    def _pictures(
        self, answered: Sequence[Answered], units: Int[np.ndarray, " found"]
    ) -> list[int] | None:
        """Those of the units that are pictures; None where one lane alone found something, and so
        nothing has to come in turn."""
        if sum(len(lane.found.units) > 0 for lane in answered) < 2:
            return None
        return self._store.units.pictures(units)

    def _listed(
        self, timed: Timed, literal: Ranked, sure: Float[np.ndarray, " found"]
    ) -> tuple[Ranked, Float[np.ndarray, " all"]]:
        """Everything that the filter or the time takes, and after it what holds every word."""
        listed = np.sort(matching_units(cast(Filter, timed.listed), self._store.database))
        more = (sure >= THRESHOLD) & ~np.isin(literal[0], listed)
        units = np.concatenate([listed, literal[0][more]])
        scores = np.concatenate([np.zeros(len(listed)), literal[1][more]])
        return (units, scores), np.concatenate([np.full(len(listed), 100.0), sure[more]])

    def _answers(
        self, query: Query, asked: _Asked, lanes: SpaceLanes, left_out: int
    ) -> list[Answered]:
        last = query.offset + query.count
        depth = _DEPTH if last <= _SHALLOW else MOST_HITS
        names, answered = query.lanes or LANES, {}
        within = asked.timed.within
        if "keyword" in names:
            answered["keyword"] = search_keywords(self._store, query.parts, depth, within)
        keywords = answered.get("keyword")
        # A unit is in one of the lanes of vectors unless it has captions, so that where no keyword
        # is found, how deep they are searched changes nothing of their order; five times as deep
        # takes five times as long.
        alone = self._store.annotations.is_empty() and not (keywords and len(keywords.found.units))
        if last + left_out <= _FIRST_HITS and alone:
            depth = _FIRST_PAGE
        for name in names:
            if name != "keyword" and asked.parts:
                answered[name] = rank(lanes, name, asked.parts, depth, within)
        return [found for name in names if (found := answered.get(name)) is not None]

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
            notes=asked.timed.notes + _problems(answered) + _uncut(query, answered),
            filter="" if asked.timed.within is None else as_text(asked.timed.within),
            threshold=THRESHOLD,
            fusion="by confidence; likely pictures, and likely texts, by the sum over lanes of "
            f"weight / ({K} + rank), and in turn where they are about as likely",
            model=self._embedder.embedder.name,
        )
        return Results(
            hits=tuple(hits),
            no_good_match=not good,
            query=without_pictures(query),
            explain=explain,
            seconds=time.perf_counter() - start,
        )

    def _asked(self, query: Query, space: Space) -> _Asked:
        types = self._store.units.metadata_types()
        if query.filter is not None:
            check_filter(query.filter, types)
        timed = use_period(query, set(types), self._store.database)
        if not query.parts and timed.within is None:
            raise ConfigError(
                "the query has no words and no picture; expected at least one, or a filter; say "
                'what to look for, as in "a dog on the grass"'
            )
        return _Asked(timed, tuple(self._embedder.embed(part, space) for part in timed.parts))

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
                self._lanes = SpaceLanes(self._store, space, self._backgrounds)
            return self._lanes


def _problems(answered: Sequence[Answered]) -> tuple[Note, ...]:
    """What is said of indexes that cannot be used; each once."""
    plans = (lane.report.plan for lane in answered)
    problems = dict.fromkeys(plan.problem for plan in plans if plan and plan.problem)
    return tuple(
        Note(
            en="an index cannot be used, so all vectors were compared, which finds the same: "
            f"{problem}",
            zh=f"索引无法使用，已逐一比较全部向量，结果相同：{problem}",
        )
        for problem in problems
    )


def _uncut(query: Query, answered: Sequence[Answered]) -> tuple[Note, ...]:
    """What is said where Chinese keywords were looked for without a segmenter."""
    texts = [part.text for part in query.parts if part.text and holds_chinese(part.text)]
    by_keywords = any(lane.report.lane == "keyword" for lane in answered)
    if not texts or not by_keywords or cuts_words():
        return ()
    return (
        Note(
            en="jieba is not installed, so Chinese keywords are compared by pairs of characters; "
            "pip install 'seesay[search]' compares words",
            zh="没有安装 jieba，中文关键词按相邻两字比较；pip install 'seesay[search]' 后按词比较",
        ),
    )

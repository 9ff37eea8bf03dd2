"""Searches a collection: runs every retriever, then fuses their rankings."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seesay.errors import CollectionError
from seesay.inference.background import Backgrounds
from seesay.inference.embedder import Embedder
from seesay.inference.text_embedder import TextEmbedder
from seesay.search.asking.confidence import THRESHOLD
from seesay.search.asking.embedding import EmbeddedPart, PartEmbedder
from seesay.search.asking.fusion import METHOD, captioned_among, fuse, fused_confidences, in_order
from seesay.search.asking.query import MOST_HITS, RETRIEVERS, Query, Scope
from seesay.search.asking.results import Explain, Ranked, Results, make_hits
from seesay.search.asking.retrievers import (
    Ranking,
    VectorRetrievers,
    rank_by_keywords,
    reciprocal_ranks,
)
from seesay.search.asking.second_stage import score_again
from seesay.search.catalog.filters import Filter, matching_passages
from seesay.search.catalog.keywords import cache_folder, cuts_words, holds_chinese
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.filtering import as_text, check_filter
from seesay.text import Text

_DEPTH = 500  # passages per retriever: enough for pages within the first 400 hits
_SHALLOW = 400
_FIRST_PAGE, _FIRST_HITS = 100, 25  # enough passages for this many hits, including copies


class Searcher:
    """Searches one collection with one model. Any number of threads may search at once, while
    others change the collection."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder | TextEmbedder,
        load_texts: Callable[[], Embedder | TextEmbedder] | None = None,
    ) -> None:
        """`load_texts` loads the text embedder, once there are text passages that it embedded."""
        self._store = store
        self._embedder = PartEmbedder(store, embedder)
        self._backgrounds = Backgrounds(embedder, cache_folder() / "background")
        self._load_texts = load_texts
        self._mutex = threading.Lock()
        self._retrievers: VectorRetrievers | None = None
        self._texts: TextSearch | None = None

    def search(self, asked: Query) -> Results:
        """Answers a query.

        Raises CollectionError for an empty collection, a collection of another model, or a filter
        on a field that no passage has; ImageError for a picture that cannot be read.
        """
        start = time.perf_counter()
        retrievers, texts = self._current(), self._current_texts()
        query = asked.among(self._store)
        examples = asked.like or asked.unlike
        leave_out = [part.unit for part in query.parts if examples and part.unit is not None]
        types = self._store.metadata.types()
        if query.filter is not None:
            check_filter(query.filter, types)
        scope = Scope.of(query, types.keys(), self._store.database)
        parts = [self._embedder.embed(part, retrievers.space) for part in scope.parts]
        if texts is not None and "text" in (query.retrievers or RETRIEVERS):
            texts = replace(texts, parts=texts.embedder.embed_for_texts(scope.parts, texts.space))
        page = slice(query.offset, query.offset + query.count)
        with self._store.database.snapshot():  # one snapshot of the collection
            last = page.stop + len(leave_out)
            rankings = self._rankings(query, scope, parts, (retrievers, texts), last)
            listed = None if parts else scope.listed
            ranked, told = self._ranked(rankings, retrievers.space.id, listed, query)
            keep = ~np.isin(ranked.units, np.asarray(leave_out, np.int64))
            good = bool((ranked.confidences[keep] >= THRESHOLD).any())
            if query.min_confidence is not None:
                keep &= ranked.confidences >= query.min_confidence
            hits = make_hits(
                self._store,
                Ranked(
                    ranked.units[keep], ranked.scores[keep], ranked.confidences[keep], ranked.places
                ),
                page,
            )
        explain = Explain(
            parts=tuple(part.report for part in parts),
            retrievers=tuple(one.report for one in rankings),
            notes=scope.notes + _notes(query, rankings) + told,
            filter="" if scope.filter is None else as_text(scope.filter),
            threshold=THRESHOLD,
            fusion=METHOD.en,
            model=self._embedder.embedder.name,
        )
        return Results(
            hits=tuple(hits),
            no_good_match=not good,
            query=asked,
            explain=explain,
            seconds=time.perf_counter() - start,
        )

    def expect(self, queries: Iterable[Query]) -> None:
        """Embed the words of queries that will be searched for soon, all at once."""
        parts = [part for query in queries for part in query.parts]
        words = [part.text for part in parts if part.text is not None]
        self._embedder.expect(words)
        if (texts := self._current_texts()) is not None:
            texts.embedder.expect(words)

    def close(self) -> None:
        """Close the indexes."""
        with self._mutex:
            if self._retrievers is not None:
                self._retrievers.close()
            if self._texts is not None:
                self._texts.retrievers.close()
            self._retrievers = self._texts = None

    def _rankings(
        self,
        query: Query,
        scope: Scope,
        parts: Sequence[EmbeddedPart],
        searched: tuple[VectorRetrievers, "TextSearch | None"],
        last: int,
    ) -> list[Ranking]:
        """Returns the rankings needed for hits up to `last`."""
        names = query.retrievers or RETRIEVERS
        depth = _DEPTH if last <= _SHALLOW else MOST_HITS
        keywords = None
        if "keyword" in names:
            keywords = rank_by_keywords(self._store, query.parts, depth, scope.filter)
        # A passage is in one ranking by vectors unless it has captions. So if keywords find
        # nothing, the depth does not change the order, and five times the depth takes five times as
        # long.
        single = self._store.annotations.is_empty() and not (keywords and len(keywords.units))
        if last <= _FIRST_HITS and single:
            depth = _FIRST_PAGE
        rankings: list[Ranking | None] = []
        worded = () if keywords is None else keywords.units
        (retrievers, texts), filter = searched, scope.filter
        for name in names:
            if name == "keyword":
                rankings.append(keywords)
            elif parts:
                found = retrievers.rank(name, parts, depth, filter, worded=worded)
                if name == "text" and texts is not None and texts.parts:
                    of_texts = texts.retrievers.rank(name, texts.parts, depth, filter)
                    rankings.append(of_texts)
                    found = _without(found, of_texts)
                rankings.append(found)
        return [found for found in rankings if found is not None]

    def _ranked(
        self, rankings: Sequence[Ranking], space: int, listed: Filter | None, query: Query
    ) -> tuple[Ranked, tuple[Text, ...]]:
        """Fuse all rankings, and run the second stage. With `listed`, everything that this filter
        accepts comes first, then the passages with every word."""
        captioned = captioned_among(rankings, self._store, space)
        units, scores = fuse(rankings, captioned)
        confidences = fused_confidences(units, rankings, captioned)
        notes: tuple[Text, ...] = ()
        if query.rerank is not None:
            words = " ".join(part.text for part in query.parts if part.text and part.weight > 0)
            again = score_again(self._store, query.rerank, words, units, confidences)
            units, scores, notes = units[again.order], scores[again.order], again.notes
            confidences = again.confidences
        pictures = None
        if sum(len(one.units) > 0 for one in rankings) > 1:
            pictures = np.isin(units, self._store.passages.pictures(units))
        if listed is not None:
            taken = np.sort(matching_passages(listed, self._store.database))
            more = (confidences >= THRESHOLD) & ~np.isin(units, taken)
            units = np.concatenate([taken, units[more]])
            scores = np.concatenate([np.zeros(len(taken)), scores[more]])
            confidences = np.concatenate([np.full(len(taken), 100.0), confidences[more]])
        order, confidences = in_order(confidences, pictures)
        places = [(one.retriever, one.units, one.scores) for one in rankings]
        return Ranked(units[order], scores[order], confidences, places), notes

    def _current(self) -> VectorRetrievers:
        """Returns the retrievers of the embedding space in use."""
        space = self._store.spaces.active() or next(iter(self._store.spaces.all()), None)
        embedder = self._embedder.embedder
        if space is None:
            raise CollectionError(
                Text(
                    f"{self._store.folder} is empty, expected a collection with something in it; "
                    "index some pictures and texts first: seesay index FOLDER",
                    f"{self._store.folder} 是空的，应为有内容的资料库；"
                    "请先收录一些图片和文字：seesay index 文件夹",
                )
            )
        if space.dim != embedder.dim:
            raise CollectionError(
                Text(
                    f"the collection was indexed with {space.model} ({space.dim} numbers in a "
                    f"vector), and the query is embedded with {embedder.name} ({embedder.dim}); "
                    f"expected the same model; search with {space.model}, or switch the collection "
                    "to the other one",
                    f"资料库用 {space.model} 收录（向量 {space.dim} 维），而查询用 {embedder.name} "
                    f"编码（{embedder.dim} 维）；两者应为同一模型；请用 {space.model} 搜索，"
                    "或将资料库切换到另一个模型",
                )
            )
        with self._mutex:
            if self._retrievers is None or self._retrievers.space.id != space.id:
                if self._retrievers is not None:
                    self._retrievers.close()
                self._retrievers = VectorRetrievers(self._store, space, self._backgrounds)
            return self._retrievers

    def _current_texts(self) -> "TextSearch | None":
        """Returns what searches the text space in use; None if there is none, or it is empty: then
        the text embedder is not loaded."""
        space = self._store.spaces.active("text")
        if space is None or self._load_texts is None:
            return None
        with self._mutex:
            known = self._texts
            if known is None or known.space.id != space.id:
                if not self._store.vectors.modalities(space.id)["text"]:
                    return None
                if known is not None:
                    known.retrievers.close()
                embedder = self._load_texts()
                backgrounds = Backgrounds(embedder, cache_folder() / "background")
                self._texts = TextSearch(
                    space=space,
                    embedder=PartEmbedder(self._store, embedder),
                    retrievers=VectorRetrievers(self._store, space, backgrounds),
                )
            return self._texts


@dataclass(frozen=True, kw_only=True, eq=False)
class TextSearch:
    """The text space of a collection, and the parts of a query in it."""

    space: EmbeddingSpace
    embedder: PartEmbedder
    retrievers: VectorRetrievers
    parts: Sequence[EmbeddedPart] = ()


def _without(captions: Ranking | None, texts: Ranking | None) -> Ranking | None:
    """Returns the ranking of captions without passages that the ranking of texts has too: while the
    collection is being switched to one model for both, the main space has vectors of some texts."""
    if captions is None or texts is None:
        return captions
    keep = ~np.isin(captions.units, texts.units)
    if keep.all():
        return captions
    rows = {n: getattr(captions, n)[keep] for n in ("units", "scores", "confidences")}
    return replace(captions, **rows, points=reciprocal_ranks(int(keep.sum())))


def _notes(query: Query, rankings: Sequence[Ranking]) -> tuple[Text, ...]:
    """Report each unusable index once, and Chinese keywords without a segmenter."""
    plans = (one.report.plan for one in rankings)
    problems = dict.fromkeys(plan.problem for plan in plans if plan and plan.problem)
    notes = [
        Text(
            "an index cannot be used, so all vectors were compared, which finds the same: "
            f"{problem.en}",
            f"索引无法使用，已逐一比较全部向量，结果相同：{problem.zh}",
        )
        for problem in problems
    ]
    chinese = any(part.text and holds_chinese(part.text) for part in query.parts)
    if chinese and any(one.retriever == "keyword" for one in rankings) and not cuts_words():
        notes.append(
            Text(
                "jieba is not installed, so Chinese keywords are compared by pairs of characters; "
                "pip install 'seesay[search]' compares words",
                "没有安装 jieba，中文关键词按相邻两字比较；pip install 'seesay[search]' 后按词比较",
            )
        )
    return tuple(notes)

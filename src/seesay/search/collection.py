"""The API of a collection: the commands, the server and Python code use nothing else."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Unpack

import numpy as np

from seesay.data.archives import archive_of
from seesay.data.images import several
from seesay.errors import CollectionError, ConfigError
from seesay.inference.embedder import Embedder, load
from seesay.search.asking.duplicates import (
    DuplicateGroup,
    Duplicates,
    Removable,
    duplicates,
    removable,
)
from seesay.search.asking.likeness import THRESHOLD, FoldedHit, fold
from seesay.search.asking.query import Query, QueryArguments, spelled_out
from seesay.search.asking.results import Hit, Results
from seesay.search.asking.searcher import Searcher
from seesay.search.asking.second_stage import Rescored, score_again
from seesay.search.asking.tags import TagReport, tag
from seesay.search.catalog.drafts import Modality
from seesay.search.catalog.export import export
from seesay.search.catalog.files import Quarantined
from seesay.search.catalog.filters import Filter
from seesay.search.catalog.map import MOST_POINTS, Map, draw_map, draw_places
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpace
from seesay.search.checking.findings import Finding
from seesay.search.checking.repair import BuiltIndex, rebuild
from seesay.search.checking.verify import (
    check_annotations,
    check_files,
    check_metadata,
    check_truth,
)
from seesay.search.description import Description, describe, newest
from seesay.search.filtering import Where, check_filter, make_filter
from seesay.search.indexing.embed import IndexingModels
from seesay.search.indexing.fill import FillReport, fill, fill_texts
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions, IndexProgress, IndexReport
from seesay.search.indexing.remove import ROOTS, known_paths, remove
from seesay.search.indexing.walk import absolute
from seesay.search.indexing.watch import watch
from seesay.search.model import (
    CollectionModel,
    CollectionTextModel,
    Loader,
    model_id,
    require_texts,
    set_text_model,
    text_model_id,
)
from seesay.search.places import find_collection, resolve_collection
from seesay.search.reading.files import ReadLimits
from seesay.search.statistics import Facets, Statistics, facets, gather
from seesay.search.thumbnails import Thumbnails, video_of
from seesay.search.vectors.vector_index import VectorIndex
from seesay.text import Text

OnProgress = Callable[[IndexProgress], None]


class Collection:
    """Pictures and texts that you search by words and by pictures.

    Any number of threads may read at once; only one process at a time may write. The model is
    loaded when it is first needed: statistics and checks do not need it.

        with seesay.open(create=True) as collection:
            collection.index(["~/Pictures"])
            for hit in collection.search("一只狗在草地上奔跑").hits:
                print(hit.confidence, hit.path)
    """

    def __init__(
        self,
        store: Store,
        model: str | Embedder | None = None,
        *,
        text_model: str | Embedder | None = None,
        device: str | None = None,
        loader: Loader | None = None,
    ) -> None:
        """If `model` or `text_model` is None, use those that the collection was made with; `loader`
        loads them."""
        self.store = store
        self.model = CollectionModel(store, model, device=device, loader=loader)
        self.text_model = CollectionTextModel(store, text_model, device=device, loader=loader)
        self._device = device
        self._thumbnails = Thumbnails(store)
        self._mutex = threading.Lock()
        self._searcher: Searcher | None = None

    def __repr__(self) -> str:
        return f"Collection({str(self.store.folder)!r}, model={self.model.name!r})"

    @staticmethod
    def open(  # noqa: PLR0913  # what a collection is opened with
        name_or_path: str | Path | None = None,
        *,
        create: bool = False,
        model: str | Embedder | None = None,
        text_model: str | Embedder | None = None,
        device: str | None = None,
        read_only: bool | None = None,
        loader: Loader | None = None,
    ) -> "Collection":
        """Open the collection of this name or in this folder; `create` makes it if it does not
        exist. Text passages of a new collection are embedded with `text_model`, by default
        seesay-text; "none" embeds them with `model` too.

        Raises CollectionError if it does not exist, is damaged or was made with another model, and
        ConfigError for an invalid name."""
        place = resolve_collection if create else find_collection
        store = Store(place(name_or_path), create=create, read_only=read_only)
        try:
            return Collection(store, model, text_model=text_model, device=device, loader=loader)
        except BaseException:
            store.close()
            raise

    # Writing

    def index(
        self,
        paths: str | Path | Sequence[str | Path] = (),
        options: IndexOptions | None = None,
        *,
        on_progress: OnProgress | None = None,
        stop: threading.Event | None = None,
    ) -> IndexReport:
        """Index files and folders; without a path, update the folders indexed before. Whatever
        happens, and if `stop` is set, committed files stay, and the same call continues from there.
        See `indexing.index`."""
        roots = several(paths) or [*self.known_roots()]
        self.store.require_writable()  # fail before loading a model
        models = self._models()
        report = index(self.store, models, roots, options, on_progress=on_progress, stop=stop)
        gone = (
            root
            for root in map(absolute, roots)
            if not ("://" in root or os.path.lexists(root) or archive_of(root))
        )
        missing = dict.fromkeys((*report.missing_roots, *gone))
        return replace(report, missing_roots=tuple(missing))

    def watch(
        self,
        paths: str | Path | Sequence[str | Path] = (),
        options: IndexOptions | None = None,
        *,
        on_report: Callable[[IndexReport], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Index now, and again whenever files change, until `stop` is set or Ctrl-C is pressed."""
        roots = several(paths) or [*self.known_roots()]
        self.store.require_writable()
        watch(self.store, self._models(), roots, options, on_report=on_report, stop=stop)

    def switch_model(
        self,
        model: str | Embedder,
        *,
        limits: ReadLimits | None = None,
        on_progress: OnProgress | None = None,
    ) -> FillReport:
        """Embed everything with another model, into a new embedding space, and switch searches to
        it once it is complete. Until then they use the old one; if stopped, the same call
        continues. The old vectors stay (see `forget_unused`), so switching back only embeds what
        was added since."""
        self.store.require_writable()
        embedder = model
        if not isinstance(embedder, Embedder):
            embedder = load(model_id(embedder), device=self._device)
        report = fill(self.store, embedder, limits=limits, on_progress=on_progress)
        if report.complete:
            with self._mutex:
                self._close_searcher()
                self.model = CollectionModel(self.store, embedder, device=self._device)
        return report

    def switch_text_model(
        self, model: str | Embedder, *, on_progress: OnProgress | None = None
    ) -> FillReport:
        """Embed every text passage with another text embedder, or with the main model if `model` is
        "none", and switch searches to these vectors once they are complete. Until then they use the
        old ones; if stopped, the same call continues."""
        self.store.require_writable()
        texts = model if isinstance(model, Embedder) else None
        if not isinstance(model, Embedder) and (name := text_model_id(model)) is not None:
            texts = load(name, device=self._device)
        if texts is not None:
            require_texts(texts.name, texts.has_images)
        report = fill_texts(self.store, self.model.get(), texts, on_progress=on_progress)
        if report.complete:
            with self._mutex:
                self._close_searcher()
                self.text_model = CollectionTextModel(self.store, texts, device=self._device)
        return report

    def forget_unused(self) -> list[EmbeddingSpace]:
        """Remove the vectors of every model except the one in use; returns the removed spaces."""
        with self.store.writing("forget models"):
            unused = [space for space in self.store.spaces.all() if not space.active]
            indexed = [(one, self.store.vectors.modalities(one.id)) for one in unused]
            for space in unused:
                self.store.spaces.drop(space.id)
        for space, modalities in indexed:
            for modality in modalities:
                VectorIndex(self.store, space, modality).discard()
        return unused

    def rebuild(self, engine: str | None = None) -> list[BuiltIndex]:
        """Rebuild the indexes from the stored vectors while searches go on. If you name an engine,
        it is used from now on. Vectors that `verify` finds damaged are removed first. See
        `rebuild`."""
        self._space()
        return rebuild(self.store, engine)

    def tag(
        self,
        labels: str | Sequence[str] | None = None,
        *,
        where: Where = (),
        on_progress: Callable[[int, int, int], None] | None = None,
    ) -> TagReport:
        """Tag pictures with the labels that fit them; tags are metadata under the key "tag"."""
        self._space()
        self.store.require_writable()
        filter = self._filter(where)
        labels = None if labels is None else several(labels)
        return tag(self.store, self.model.get(), labels, within=filter, on_progress=on_progress)

    def remove(
        self, paths: str | Path | Sequence[str | Path] = (), *, units: int | Sequence[int] = ()
    ) -> int:
        """Remove files, everything below folders, and the files of units from the collection;
        returns the number of files. The files themselves stay on the disk. `index` skips them from
        now on, unless you pass one to it by name. Raises CollectionError for an unknown unit."""
        self.store.require_writable()
        numbers = [units] if isinstance(units, int) else list(units)
        known = self.store.passages.get(numbers)
        if absent := sorted({*numbers} - {unit.id for unit in known}):
            raise CollectionError(
                Text(
                    f"there is no unit {absent[0]}, expected the number of one that was found; "
                    "search again",
                    f"没有条目 {absent[0]}；应为查找结果中的编号；请重新查找",
                )
            )
        files = self.store.files.get({unit.file for unit in known})
        return remove(self.store, [*map(absolute, several(paths)), *(one.path for one in files)])

    def retry_errors(self) -> int:
        """Let the next `index` retry the files that could not be read, or not all of them; returns
        their number."""
        with self.store.writing("retry"):
            return self.store.quarantine.retry()

    # Reading

    @spelled_out
    def search(self, query: str | Query = "", **asked: Unpack[QueryArguments]) -> Results:
        """Returns the passages that match best; see `Query.of` for the arguments.

        Raises ConfigError for an empty query, or a Query together with other arguments;
        CollectionError for an empty collection; ImageError for a picture that cannot be read."""
        if isinstance(query, str):
            query = Query.of(query, **asked)
        elif asked:
            names = ", ".join(asked)
            raise ConfigError(
                Text(
                    f"a Query is given together with {names}; expected the Query alone; give "
                    f"{names} to Query.of",
                    f"Query 与 {names} 同时给出；给了 Query 就不应再有别的参数；"
                    f"请把 {names} 交给 Query.of",
                )
            )
        return self._searching().search(query)

    def rerank(self, name: str, words: str, units: Sequence[int]) -> Rescored:
        """Scores the first of these units again with a second-stage model; see `score_again`."""
        return score_again(self.store, name, words, np.array(units, np.int64), np.zeros(len(units)))

    def expect(self, queries: Iterable[Query]) -> None:
        """Prepare for several searches that are about to come: embeds their words together, which
        is much faster than one by one."""
        self._searching().expect(queries)

    def duplicates(self, *, threshold: float | None = None, exact: bool = False) -> Duplicates:
        """Returns groups of files with the same content and, unless `exact`, of pictures that show
        the same thing, with the file to keep in each group and why."""
        self._space()
        wanted = THRESHOLD if threshold is None else threshold
        return duplicates(self.store, self.thumbnail, threshold=wanted, exact=exact)

    def removable(self, groups: Iterable[DuplicateGroup]) -> Removable:
        """Returns the files of these groups that are safe to delete, after reading them and the
        files to keep again. Delete only files that this returns."""
        return removable(self.store, groups)

    def fold(self, hits: Sequence[Hit]) -> list[FoldedHit]:
        """Fold hits that show the same picture into one; see `fold`."""
        return fold(self.store, self.thumbnail, hits)

    def map(self, modality: Modality = "image", *, most: int = MOST_POINTS) -> Map:
        """Returns the positions of pictures, or texts, on a two-dimensional map of their
        vectors."""
        space = self._space()
        if modality == "text":
            space = self.store.spaces.active("text") or space
        return draw_map(self.store, space, modality, most=most)

    def places(self, *, most: int = MOST_POINTS) -> Map:
        """Returns where pictures were taken; see `draw_places`."""
        return draw_places(self.store, most=most)

    def newest(self, count: int = 20) -> list[Hit]:
        """Returns the pictures added last; see `newest`."""
        return newest(self.store, count)

    def thumbnail(self, unit: int, size: int = 256) -> bytes:
        """Returns a WebP thumbnail of a unit; see `Thumbnails.get`."""
        return self._thumbnails.get(unit, size)

    def video(self, unit: int) -> Path:
        """Returns the file of the video that a unit belongs to; see `video_of`."""
        return video_of(self.store, unit)

    def describe(self, unit: int) -> Description:
        """Returns all that is known about a unit. Raises CollectionError if it does not exist."""
        return describe(self.store, self._space(), self._searching(), unit, self.thumbnail)

    def facets(self) -> Facets:
        """Returns the values that filters may choose from."""
        return facets(self.store)

    def passages_of(self, path: str | Path) -> list[int]:
        """Returns the numbers of a file's units; none if it is not in the collection."""
        items = self.store.files.by_path([absolute(path)])
        return [unit.id for unit in self.store.passages.of_files(i.id for i in items.values())]

    def known_roots(self) -> list[str]:
        """Returns the folders indexed before. Raises ConfigError if there are none."""
        roots = known_paths(self.store, ROOTS)
        if not roots:
            raise ConfigError(
                Text(
                    f"no files and folders were named, and {self.store.folder} knows none of "
                    "before; expected at least one path: seesay index FOLDER",
                    f"没有给出文件或文件夹，{self.store.folder} 里也没有收录过的；"
                    "至少应给出一个：seesay index 文件夹",
                )
            )
        return roots

    def errors(self) -> list[Quarantined]:
        """Returns every file that could not be read, and why."""
        return self.store.quarantine.all()

    def verify(self, *, deep: bool = False, files: bool = False) -> list[Finding]:
        """Returns the problems of the collection; none if all is well. Counts the rows of tables
        and reads the index files. `deep` also reads every page, compares the indexes with the
        stored vectors, searches for some of them, and compares pictures with their annotations;
        `files` compares the files on the disk with the indexed ones."""
        found = check_truth(self.store, deep=deep)
        if any(finding.kind == "pages" for finding in found):
            return found  # such a file tells nothing else
        found += check_metadata(self.store, deep=deep)
        found += check_annotations(self.store, deep=deep)
        for space in self.store.spaces.all():
            for modality in self.store.vectors.modalities(space.id):
                with closing(VectorIndex(self.store, space, modality)) as lane:
                    found += lane.verify(deep=deep)
        return found + (check_files(self.store) if files else [])

    def stats(self) -> Statistics:
        """Returns counts and sizes of the collection."""
        return gather(self.store, tuple(known_paths(self.store, ROOTS)))

    def export(self, file: str | Path, *, where: Where = ()) -> int:
        """Write vectors and the passages they belong to into a file; returns their number. See
        `export`."""
        return export(self.store, self._space(), Path(file), self._filter(where))

    def close(self) -> None:
        """Close the collection. It cannot be used afterwards."""
        with self._mutex:
            self._close_searcher()
        self._thumbnails.close()
        self.store.close()

    def __enter__(self) -> "Collection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _searching(self) -> Searcher:
        with self._mutex:
            if self._searcher is None:
                self._space()
                main, texts = self.model.for_queries(), self.text_model.for_queries
                self._searcher = Searcher(self.store, main, texts)
            return self._searcher

    def _close_searcher(self) -> None:
        if self._searcher is not None:
            self._searcher.close()
            self._searcher = None

    def _models(self) -> IndexingModels:
        """Returns the models to index with; a new collection keeps the choice of a text
        embedder."""
        main, name = self.model.get(), self.text_model.name
        if self.store.spaces.active() is None:
            with self.store.writing("text model"):
                set_text_model(self.store, name)
        return IndexingModels(self.store, main, None if name is None else self.text_model.get)

    def _space(self) -> EmbeddingSpace:
        """Returns the embedding space in use. Raises CollectionError if nothing was indexed yet."""
        space = self.store.spaces.active()
        if space is None:
            raise CollectionError(
                Text(
                    f"{self.store.folder} is empty, expected a collection with something in it; "
                    "index some pictures and texts first: seesay index FOLDER",
                    f"{self.store.folder} 是空的；应为有内容的资料库；请先收录图片和文字："
                    "seesay index 文件夹",
                )
            )
        return space

    def _filter(self, where: Where) -> Filter | None:
        filter = make_filter(where=where)
        if filter is not None:
            check_filter(filter, self.store.metadata.types())
        return filter

    def _roots(self, paths: str | Path | Sequence[str | Path]) -> list[str | Path]:
        return several(paths) or [*self.known_roots()]

"""Gives the pages of documents their vectors for late interaction, one page at a time.

Pages without vectors of the model are due, so the same call continues after a stop or a kill.
"""

from collections.abc import Callable
from threading import Event
from typing import TYPE_CHECKING

from seesay.data.squares import ImageTransformConfig
from seesay.errors import CollectionError, ImageError
from seesay.search.catalog.store import Store
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.read import reading_processes
from seesay.search.reading.messages import ReadSettings
from seesay.search.thumbnails import show_place

if TYPE_CHECKING:
    from seesay.inference.late_interaction import PageEmbedder

NONE = "none"
"""What removes all vectors, in place of a model's name."""
_SIDE = 2048  # pixels: more than a model sees, so that it shrinks the page itself
_AT_ONCE = 64  # pages looked up together


def embed_pages(
    store: Store,
    pages: "PageEmbedder",
    options: IndexOptions,
    *,
    run: int | None,
    stopping: Event,
    tell: Callable[[int, int], None],
) -> tuple[int, int]:
    """Give every page vectors of this model; returns the number of pages and of bytes. `tell` gets
    the number of pages done and the total. Pages of a file that cannot be read or has changed since
    it was indexed are left to a later run."""
    model = pages.fingerprint
    total = store.page_vectors.count_due(model)
    if not total:
        return 0, 0
    settings = ReadSettings(
        transform=ImageTransformConfig(size=1), reduce_large=True, limits=options.limits
    )
    done, size, looked_at, after = 0, 0, 0, 0
    with reading_processes(settings, 1) as reading:
        while not stopping.is_set() and (some := store.page_vectors.due(model, _AT_ONCE, after)):
            for passage in some:
                if stopping.is_set():
                    break
                after, looked_at = passage, looked_at + 1
                try:
                    known, file = store.passage_with_file(passage)
                    vectors = pages.embed_page(show_place(reading, file, known.place, _SIDE))
                except (CollectionError, ImageError):
                    continue
                # A page takes seconds on a processor, so each is stored at once.
                with store.writing("pages", run=run):
                    size += store.page_vectors.put(passage, model, vectors)
                done += 1
                tell(looked_at, max(total, looked_at))
    return done, size

"""Reads the text in the pictures of a collection, and keeps it as their own text.

A picture is then found by the words in it, as by its captions. The key "ocr" names the models that
looked at it, whether they found text or not: pictures without it are due, so the same call
continues after a stop, and a later one fills in what was indexed without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Event

from seesay.data.squares import ImageTransformConfig
from seesay.search.catalog.store import Store
from seesay.search.indexing.options import IndexOptions, default_workers
from seesay.search.indexing.read import ReadingProcesses, reading_processes
from seesay.search.reading.messages import ListedFile, ReadSettings
from seesay.search.reading.ocr import ENGINE, OCR_KEY, PATIENCE, require_ocr

_AT_ONCE = 16  # pictures per transaction: a few seconds of work

# Addresses are fetched only once, so their pictures are skipped.
_DUE = (
    " FROM units u JOIN items i ON i.id = u.item WHERE u.kind = 'image' AND i.status = 'ready'"
    " AND i.path NOT GLOB 'http://*' AND i.path NOT GLOB 'https://*'"
    " AND NOT EXISTS (SELECT 1 FROM metadata m JOIN metadata_keys k ON k.id = m.key"
    f" WHERE m.unit = u.id AND k.name = '{OCR_KEY}' AND m.value = '{ENGINE}')"
)


def read_picture_texts(
    store: Store,
    options: IndexOptions,
    *,
    run: int,
    stopping: Event,
    tell: Callable[[int, int], None],
) -> int:
    """Read the text in every picture that was not looked at yet; returns their number. `tell` gets
    the number of pictures done and the total. Leaves pictures that cannot be read or have changed
    since they were indexed to a later run. Raises MissingExtraError without RapidOCR."""
    require_ocr()
    ((total,),) = store.database.rows(f"SELECT count(*){_DUE}")
    if not total:
        return 0
    limits = replace(options.limits, seconds=PATIENCE * options.limits.seconds)
    settings = ReadSettings(
        transform=ImageTransformConfig(size=1), reduce_large=False, limits=limits, ocr=True
    )
    done, looked_at, after = 0, 0, 0
    with reading_processes(settings, options.workers or default_workers()) as processes:
        while not stopping.is_set() and (some := _due(store, after)):
            after = some[-1]
            texts = _read(store, processes, some)
            with store.writing("ocr", run=run):
                done += _keep(store, texts, some)
            looked_at += len(some)
            tell(looked_at, max(total, looked_at))
    return done


def _due(store: Store, after: int) -> list[int]:
    rows = store.database.rows(
        f"SELECT u.id{_DUE} AND u.id > ? ORDER BY u.id LIMIT {_AT_ONCE}", (after,)
    )
    return [passage for (passage,) in rows]


def _read(store: Store, processes: ReadingProcesses, passages: Sequence[int]) -> dict[str, str]:
    """Returns the text in each readable content; reads only one of several copies."""
    files = store.files.get({passage.file for passage in store.passages.get(passages)})
    by_content = {file.content_hash: file for file in files}
    tasks = [
        ListedFile(path=file.path, expected=file.media_type, decode=True)
        for file in by_content.values()
    ]
    return {
        result.content_hash: result.passages[0].text or ""
        for result in processes.read(tasks)
        if result.stage is None and result.content_hash in by_content
    }


def _keep(store: Store, texts: Mapping[str, str], passages: Sequence[int]) -> int:
    """Store texts as the own text of pictures; returns the number of pictures. Their captions are
    joined to it, and embedded, later in the same run. Only inside `store.writing`."""
    pictures = store.passages.get(passages)
    contents = {one.id: one.content_hash for one in store.files.get({p.file for p in pictures})}
    known, own = store.metadata.get(passages), store.annotations.own(passages)
    count = 0
    for picture in pictures:
        text = texts.get(contents[picture.file])
        if text is None:
            continue
        metadata = {**known[picture.id], OCR_KEY: ENGINE}
        annotated = own.get(picture.id)
        if annotated is None:
            store.passages.describe(picture.id, text=text or None, metadata=metadata)
        else:
            store.annotations.set_own({picture.id: replace(annotated, text=text or None)})
            store.annotations.set_undescribed([picture.file])
            store.passages.describe(picture.id, metadata=metadata)
        count += 1
    return count

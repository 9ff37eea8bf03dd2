"""Detects objects in the pictures of a collection and annotates the pictures with them.

A picture gets the names of its objects in both languages under the key "object", for filters and
word searches, and each object with its score and box under "object.box". The key "object.detector"
names the detector: pictures processed by another one or none are due, so the same call continues
after a stop. Nothing is embedded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Event

import numpy as np

from seesay.inference.detector import Detection, Detector
from seesay.search.catalog.metadata import OBJECT_KEY, Value
from seesay.search.catalog.store import Store
from seesay.search.indexing.options import IndexOptions, default_workers
from seesay.search.indexing.read import ReadingProcesses, reading_processes
from seesay.search.reading.messages import ListedFile, ReadSettings

BOX_KEY = "object.box"
DETECTOR_KEY = "object.detector"
KEYS = (OBJECT_KEY, BOX_KEY, DETECTOR_KEY)
_AT_ONCE = 64  # pictures per transaction: a few seconds of work

# Addresses are fetched only once, so detection skips their pictures.
_DUE = (
    " FROM units u JOIN items i ON i.id = u.item WHERE u.kind = 'image' AND i.status = 'ready'"
    " AND i.path NOT GLOB 'http://*' AND i.path NOT GLOB 'https://*'"
    " AND NOT EXISTS (SELECT 1 FROM metadata m JOIN metadata_keys k ON k.id = m.key"
    f" WHERE m.unit = u.id AND k.name = '{DETECTOR_KEY}' AND m.value = ?)"
)


def detect_objects(
    store: Store,
    detector: Detector,
    options: IndexOptions,
    *,
    run: int,
    stopping: Event,
    tell: Callable[[int, int], None],
) -> int:
    """Run this detector on every picture it has not seen; returns their number. `tell` gets the
    number of pictures done and the total. Leaves pictures that cannot be read or have changed since
    they were indexed to a later run."""
    ((total,),) = store.database.rows(f"SELECT count(*){_DUE}", (detector.name,))
    if not total:
        return 0
    settings = ReadSettings(transform=detector.transform, reduce_large=True, limits=options.limits)
    done, looked_at, after = 0, 0, 0
    with reading_processes(settings, options.workers or default_workers()) as processes:
        while not stopping.is_set() and (some := _due(store, detector, after)):
            after = some[-1]
            detections = _detect(store, detector, processes, some)
            with store.writing("objects", run=run):
                done += _annotate(store, detector.name, detections, some)
            looked_at += len(some)
            tell(looked_at, max(total, looked_at))
    return done


def _due(store: Store, detector: Detector, after: int) -> list[int]:
    rows = store.database.rows(
        f"SELECT u.id{_DUE} AND u.id > ? ORDER BY u.id LIMIT {_AT_ONCE}", (detector.name, after)
    )
    return [passage for (passage,) in rows]


def _detect(
    store: Store, detector: Detector, processes: ReadingProcesses, passages: Sequence[int]
) -> dict[str, tuple[Detection, ...]]:
    """Returns the objects in each readable content; reads only one of several copies."""
    files = store.files.get({passage.file for passage in store.passages.get(passages)})
    by_content = {file.content_hash: file for file in files}
    tasks = [
        ListedFile(path=file.path, expected=file.media_type, decode=True)
        for file in by_content.values()
    ]
    side = detector.transform.size
    found = {}
    for result in processes.read(tasks):
        if result.stage is None and result.content_hash in by_content:
            (picture,) = result.passages
            pixels = np.frombuffer(picture.payload, np.uint8).reshape(side, side, 3)
            width, height = (_pixels(picture.metadata[name]) for name in ("width", "height"))
            found[result.content_hash] = detector.detect_in_square(pixels, width, height)
    return found


def _pixels(value: object) -> int:
    assert isinstance(value, float)  # metadata numbers are floats
    return int(value)


def _annotate(
    store: Store,
    detector: str,
    detections: Mapping[str, Sequence[Detection]],
    passages: Sequence[int],
) -> int:
    """Annotate pictures; returns their number. Only inside `store.writing`."""
    pictures = store.passages.get(passages)
    contents = {
        file.id: file.content_hash for file in store.files.get({one.file for one in pictures})
    }
    known, own = store.metadata.get(passages), store.annotations.own(passages)
    count = 0
    for picture in pictures:
        objects = detections.get(contents[picture.file])
        if objects is None:
            continue
        given = {DETECTOR_KEY: detector, **_as_metadata(objects)}
        now = known[picture.id]
        if picture.id in own and (keys := [key for key in own[picture.id].keys if key in KEYS]):
            # A table has a column of this name: its values hide the detected ones until it is
            # removed.
            hidden = {k: v for k, v in own[picture.id].metadata.items() if k not in keys}
            hidden |= {key: given[key] for key in keys if key in given}
            store.annotations.set_own({picture.id: replace(own[picture.id], metadata=hidden)})
            given |= {key: now[key] for key in keys if key in now}
        rest = {key: value for key, value in now.items() if key not in KEYS}
        store.passages.describe(picture.id, metadata=rest | given)
        count += 1
    return count


def _as_metadata(objects: Sequence[Detection]) -> dict[str, Value | tuple[Value, ...]]:
    """Convert objects to metadata; a picture without objects gets no keys."""
    if not objects:
        return {}
    labels = dict.fromkeys(name for one in objects for name in (one.label.en, one.label.zh))
    return {OBJECT_KEY: tuple(labels), BOX_KEY: tuple(map(_shown, objects))}


def _shown(one: Detection) -> str:
    """dog 狗 0.91 12,30,212,210: the name, the score, and left, top, right, bottom in pixels."""
    box = ",".join(f"{side:.0f}" for side in one.box)
    return f"{one.label.en} {one.label.zh} {one.score:.2f} {box}"

"""What people see of hits. Thumbnails are made when first requested, and cached beside the
collection: of a passage of a document its page, with a mark around it, and of one of a video its
frame.

Callers give the number of a passage, never a path: they cannot read a file that is not in the
collection, nor one that has replaced a file of the collection.
"""

import hashlib
import io
import re
import secrets
import threading
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from seesay.data.archives import archive_of
from seesay.data.files import open_file
from seesay.data.images import open_image
from seesay.data.squares import ImageTransformConfig
from seesay.errors import CollectionError, DataError, ImageError
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.files import File
from seesay.search.catalog.store import Store
from seesay.search.indexing.read import ReadingProcesses, reading_processes
from seesay.search.indexing.walk import is_as_stored
from seesay.search.reading.files import ReadLimits, RefusedError, read_beginning, read_file
from seesay.search.reading.messages import ListedFile, ReadSettings
from seesay.search.reading.registry import shows
from seesay.search.reading.videos import MEDIA_TYPE as VIDEO
from seesay.text import Text

FOLDER = "thumbnails"
SIZES = (128, 256, 512, 1024, 2048)
"""Longest sides in pixels; only a few, so that the cache holds few versions of each picture."""
LONGEST_S = 60.0
"""Longest time to show a page or moment."""
LIMIT_BYTES = 1 << 30
"""How large the cache may grow before its oldest files are deleted."""

_RULES = 2  # increased when the same file would give another thumbnail
_NAME = re.compile(
    r"[0-9a-f]{64}(-at[0-9a-f]{12})?-\d+(-\d+)?\.webp"
)  # names that `get` writes, now or in the past
_PRUNE_EVERY = 200  # thumbnails made
_MARK, _EDGE = (255, 200, 0, 60), (225, 110, 0, 255)  # of the passage on its page


class Thumbnails:
    """The thumbnails of a collection. Any number of threads may use it at once."""

    def __init__(self, store: Store, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = store.folder / FOLDER
        self._store = store
        self._limit_bytes = limit_bytes
        self._made = 0
        self._open = ExitStack()
        self._one_place = threading.Lock()
        self._reading: ReadingProcesses | None = None

    def close(self) -> None:
        """End the process that shows pages and moments."""
        with self._one_place:
            self._reading = None
            self._open.close()

    def get(self, passage: int, size: int = 256) -> bytes:
        """Returns a WebP picture whose longest side is the smallest of SIZES that is at least
        `size`.

        Raises CollectionError if the passage does not exist or is no picture, page or moment nor
        stands in one, or if the file is gone or has changed since it was indexed."""
        source, place = self._picture(passage)
        side = next((one for one in SIZES if one >= size), SIZES[-1])
        at = (
            ""
            if place is None
            else f"-at{hashlib.sha256(place.to_json().encode()).hexdigest()[:12]}"
        )
        name = f"{source.content_hash}{at}-{side}-{_RULES}.webp"
        file = self.folder / source.content_hash[:2] / name
        with suppress(OSError), open_file(file) as kept:
            return kept.read()
        if place is None:
            made = _shrunk(_content(source), source, side)
        else:
            made = _as_webp(_marked(self._shown(source, place, side), place.box))
        self._keep(file, made)
        return made

    def _shown(self, file: File, place: Place, side: int) -> Image.Image:
        """Show a place in another process: documents are programs, and no video is trusted."""
        with self._one_place:
            if self._reading is None:
                settings = ReadSettings(
                    transform=ImageTransformConfig(),
                    reduce_large=True,
                    limits=ReadLimits(seconds=LONGEST_S),
                )
                self._reading = self._open.enter_context(reading_processes(settings, 1))
            return show_place(self._reading, file, place, side)

    def _picture(self, passage: int) -> tuple[File, Place | None]:
        """Return the file, and the place in it unless the passage is all of it."""
        known, file = self._store.passage_with_file(passage)
        if shows(file.media_type, known.place):
            return file, replace(known.place, offsets=None, cues=None)
        if known.media_type != "image":
            raise CollectionError(
                Text(
                    f"unit {passage} of {file.path} is {known.media_type}, expected a picture; "
                    "show its text instead",
                    f"{file.path} 的条目 {passage} 类型是 {known.media_type}；应为图片；"
                    "请改为显示其文字",
                )
            )
        return file, None

    def _keep(self, file: Path, made: bytes) -> None:
        """Write the file whole or not at all; if the folder is not writable, the next request is
        just slower. A power cut may lose it, but it can be made again, so do not sync the disk."""
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_name(f".{secrets.token_hex(8)}")
            try:
                unfinished.write_bytes(made)
                unfinished.replace(file)
            finally:
                unfinished.unlink(missing_ok=True)
            self._made += 1
            if self._made % _PRUNE_EVERY == 0:
                self.prune()

    def prune(self) -> None:
        """Delete the oldest thumbnails until the cache is below its limit. A collection may be in
        any folder, so a file that is not a thumbnail may be somebody's picture: it stays."""
        known = []
        for file in self.folder.glob("??/*.webp"):
            if not _NAME.fullmatch(file.name):
                continue
            with suppress(OSError):
                facts = file.stat()
                known.append((facts.st_mtime_ns, facts.st_size, file))
        spare = sum(size for _, size, _ in known) - self._limit_bytes
        for _, size, file in sorted(known):
            if spare <= 0:
                break
            with suppress(OSError):
                file.unlink()
            spare -= size


def show_place(reading: ReadingProcesses, file: File, place: Place, side: int) -> Image.Image:
    """Returns a page or moment as a picture whose longest side is about `side` pixels. Raises
    CollectionError if the file is gone, has changed since it was indexed, or cannot be read."""
    task = ListedFile(
        path=file.path,
        expected=file.media_type,
        size=file.size,
        mtime_ns=file.mtime_ns,
        place=replace(place, box=None),
        side=side,
    )
    (result,) = reading.read([task])
    # A video is too large to be hashed whenever it is shown.
    same = (result.size, result.mtime_ns) == (file.size, file.mtime_ns)
    if result.content_hash:
        same = result.content_hash == file.content_hash
    if result.stage == "size" or not same:
        raise _changed(file)
    if result.stage is not None:
        raise _unreadable(file, RefusedError(result.stage, result.error))
    (picture,) = result.passages
    width, height = (picture.metadata[name] for name in ("width", "height"))
    assert isinstance(width, float) and isinstance(height, float)
    return Image.frombytes("RGB", (int(width), int(height)), picture.payload)


def video_of(store: Store, passage: int) -> Path:
    """Returns the path of the video that a moment or subtitle belongs to. Raises CollectionError if
    there is none, or if it is gone or its size or time is another than when it was indexed: it is
    too large to be hashed whenever it is played."""
    _, file = store.passage_with_file(passage)
    if file.media_type != VIDEO:
        raise CollectionError(
            Text(
                f"unit {passage} of {file.path} belongs to no video, expected a moment or a "
                "subtitle; ask for its picture or text instead",
                f"{file.path} 的条目 {passage} 不属于任何视频；应为视频片段或字幕；"
                "请改为读取它的图片或文字",
            )
        )
    try:
        facts = read_beginning(file.path, file.size)
    except RefusedError as error:
        raise (_changed(file) if error.stage == "size" else _unreadable(file, error)) from error
    if (facts.size, facts.mtime_ns) != (file.size, file.mtime_ns):
        raise _changed(file)
    return Path(file.path)


def _content(file: File) -> bytes:
    """Returns the bytes of a file, verified to be those that were indexed."""
    try:
        if archive_of(file.path) and not is_as_stored(file):
            raise _changed(file)  # nobody has looked into this archive yet
        content = read_file(file.path, file.size)  # a larger one is another, and may be huge
    except RefusedError as error:
        raise (_changed(file) if error.stage == "size" else _unreadable(file, error)) from error
    except OSError as error:
        raise _unreadable(file, error) from error
    if content.content_hash != file.content_hash:
        raise _changed(file)
    return content.data


def _changed(file: File) -> CollectionError:
    return CollectionError(
        Text(
            f"{file.path} was changed since it was indexed, expected the same; index it again",
            f"{file.path} 收录后有改动；应与收录时相同；请重新收录",
        )
    )


def _unreadable(file: File, error: Exception) -> CollectionError:
    reason = error.text if isinstance(error, RefusedError) else Text.of(error)
    return CollectionError(Text(f"{file.path}: {reason.en}", f"{file.path}：{reason.zh}"))


def _shrunk(content: bytes, file: File, side: int) -> bytes:
    try:
        # Convert colours for screens, since people look at this. The model saw the same file
        # without that conversion: published models are trained on the raw values in the file.
        picture = open_image(content, target=side, srgb=True)
    except (ImageError, DataError) as error:
        raise _unreadable(file, error) from error
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return _as_webp(picture)


def _marked(page: Image.Image, box: tuple[float, float, float, float] | None) -> Image.Image:
    """Mark a part of a page."""
    if box is not None:
        edge = max(1, max(page.size) // 300)
        left, top, right, bottom = box
        across, down = page.size
        corners = (
            *(left * across - 2 * edge, top * down - 2 * edge),
            *(right * across + 2 * edge, bottom * down + 2 * edge),
        )
        ImageDraw.Draw(page, "RGBA").rectangle(corners, fill=_MARK, outline=_EDGE, width=edge)
    return page


def _as_webp(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80)
    return stream.getvalue()

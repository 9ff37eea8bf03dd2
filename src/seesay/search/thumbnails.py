"""Thumbnails of hits: made when first requested, and cached beside the collection.

Callers give the number of a passage, never a path: they cannot read a file that is not in the
collection, nor one that has replaced a file of the collection.
"""

import io
import re
import secrets
from contextlib import suppress
from pathlib import Path

from PIL import Image

from seesay.data.files import open_file
from seesay.data.images import open_image
from seesay.errors import CollectionError, DataError, ImageError
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.files import File
from seesay.search.catalog.store import Store
from seesay.search.moments import Moments
from seesay.search.reading.files import RefusedError, read_file
from seesay.text import Text

FOLDER = "thumbnails"
SIZES = (128, 256, 512, 1024, 2048)
"""Longest sides in pixels; only a few, so that the cache holds few versions of each picture."""
LIMIT_BYTES = 1 << 30
"""How large the cache may grow before its oldest files are deleted."""

_RULES = 2  # increased when the same file would give another thumbnail
# Names that `get` writes, now or in the past.
_NAME = re.compile(r"[0-9a-f]{64}-\d+(-\d+){0,2}\.webp")
_PRUNE_EVERY = 200  # thumbnails made


class Thumbnails:
    """The thumbnails of a collection. Any number of threads may use it at once."""

    def __init__(self, store: Store, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = store.folder / FOLDER
        self._store = store
        self._limit_bytes = limit_bytes
        self._made = 0
        self._moments = Moments()

    def close(self) -> None:
        """End the process that decodes videos."""
        self._moments.close()

    def get(self, passage: int, size: int = 256) -> bytes:
        """Returns a WebP picture whose longest side is the smallest of SIZES that is at least
        `size`.

        Raises CollectionError if the passage does not exist or is not a picture or moment, or if
        the file is gone or has changed since it was indexed."""
        source, place = self._picture(passage)
        side = next((one for one in SIZES if one >= size), SIZES[-1])
        name = f"{source.content_hash}-{side}-{_RULES}"
        if place.start_s is not None:
            name += f"-{round(1000 * place.start_s)}"
        file = self.folder / source.content_hash[:2] / f"{name}.webp"
        with suppress(OSError), open_file(file) as kept:
            return kept.read()
        if place.start_s is None:
            made = _shrunk(_content(source), source, side)
        else:
            made = self._moments.get(source, place, side)
        self._keep(file, made)
        return made

    def _picture(self, passage: int) -> tuple[File, Place]:
        known, file = self._store.passage_with_file(passage)
        if known.media_type not in ("image", "moment"):
            raise CollectionError(
                Text(
                    f"unit {passage} of {file.path} is {known.media_type}, expected a picture; "
                    "show its text instead",
                    f"{file.path} 的条目 {passage} 类型是 {known.media_type}；应为图片；"
                    "请改为显示其文字",
                )
            )
        return file, known.place

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


def _content(file: File) -> bytes:
    """Returns the bytes of a file, verified to be those that were indexed."""
    changed = CollectionError(
        Text(
            f"{file.path} was changed since it was indexed, expected the same; index it again",
            f"{file.path} 收录后有改动；应与收录时相同；请重新收录",
        )
    )
    try:
        content = read_file(file.path, file.size)  # a larger one is another, and may be huge
    except RefusedError as error:
        raise (changed if error.stage == "size" else _unreadable(file, error)) from error
    if content.content_hash != file.content_hash:
        raise changed
    return content.data


def _unreadable(file: File, error: Exception) -> CollectionError:
    reason = Text.of(error)
    return CollectionError(Text(f"{file.path}: {reason.en}", f"{file.path}：{reason.zh}"))


def _shrunk(content: bytes, file: File, side: int) -> bytes:
    try:
        # Convert colours for screens, since people look at this. The model saw the same file
        # without that conversion: published models are trained on the raw values in the file.
        picture = open_image(content, target=side, srgb=True)
    except (ImageError, DataError) as error:
        raise _unreadable(file, error) from error
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=80)
    return stream.getvalue()

"""Reads the bytes of a file and their hash in one pass, and makes sure that the file did not change
meanwhile."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader

from seesay.data.files import NoFileError, open_file
from seesay.errors import ConfigError
from seesay.text import Text

_BEGINNING = 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """Limits for reading one file. The defaults accept the files of every camera."""

    max_file_bytes: int = 256 * 2**20
    """Largest picture or document to open."""
    max_video_bytes: int = 64 * 2**30
    """Largest video to open."""
    max_text_bytes: int = 8 * 2**20
    """Largest text or table to open."""
    max_pixels: int = 128 * 2**20
    """Most pixels to decode into memory."""
    memory_bytes: int = 2 * 2**30
    """Most memory for a reading process, where the system can enforce it."""
    max_pages: int = 5000
    """Most pages to read of a document."""
    seconds: float = 30.0
    """Longest time to read one file or page, or wait for one address; ten times as long for the
    text on a scanned page or in a picture."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ConfigError(
                    Text(
                        f"{name}={value} lets no file through; expected a positive number; "
                        "raise it, or leave it out",
                        f"{name}={value} 会挡住所有文件；应为正数；请改大，或者不写",
                    )
                )


class RefusedError(Exception):
    """Why a file is not read; becomes an entry in the quarantine."""

    def __init__(self, stage: str, text: Text) -> None:
        super().__init__(text.en)
        self.stage, self.text = stage, text


@dataclass(frozen=True, kw_only=True, eq=False)
class FileData:
    """The bytes of a file and its status from the file system."""

    path: str
    data: bytes
    """All bytes; of a file that is read from the disk, the first."""
    content_hash: str
    """Empty where a large file is only shown."""
    size: int
    mtime_ns: int


def size_and_time(facts: os.stat_result) -> tuple[int, int]:
    """Returns the size in bytes and the time of the last change in nanoseconds, as the collection
    stores and compares them: SQLite integers cover the years 1677 to 2262, and a file from 2300
    counts as one from 2262."""
    return facts.st_size, min(max(facts.st_mtime_ns, -(2**63)), 2**63 - 1)


def content_hash(data: bytes) -> str:
    """Returns a hash that is the same for files with the same content."""
    return hashlib.sha256(data).hexdigest()


def millions(amount: int) -> str:
    """Format an amount as you would type a limit, rounded up: 8101M."""
    return f"{-(-amount // 10**6)}M"


def read_file(path: str, most: int) -> FileData:
    """Read a file. Raises RefusedError if it cannot be read, is larger than `most` bytes, is not a
    regular file, or keeps changing while it is read."""
    for _ in range(2):
        before, data, after = _read(path, most)
        size, mtime_ns = size_and_time(after)
        if size_and_time(before) == (size, mtime_ns) and len(data) == size:
            return FileData(
                path=path,
                data=data,
                content_hash=content_hash(data),
                size=size,
                mtime_ns=mtime_ns,
            )
    raise changing()


def hash_file(path: str, most: int) -> FileData:
    """Like `read_file`, for a file that does not fit into memory: keeps only its beginning."""
    with _opened(path, most) as (stream, before):
        first = stream.read(_BEGINNING)
        digest = hashlib.sha256(first)
        while part := stream.read(_BEGINNING):
            digest.update(part)
        after = os.fstat(stream.fileno())
    size, mtime_ns = size_and_time(after)
    if size_and_time(before) != (size, mtime_ns):
        raise changing()
    return FileData(
        path=path, data=first, content_hash=digest.hexdigest(), size=size, mtime_ns=mtime_ns
    )


def read_beginning(path: str, most: int = sys.maxsize) -> FileData:
    """Like `hash_file`, without the hash."""
    with _opened(path, most) as (stream, facts):
        first = stream.read(_BEGINNING)
    size, mtime_ns = size_and_time(facts)
    return FileData(path=path, data=first, content_hash="", size=size, mtime_ns=mtime_ns)


def changing() -> RefusedError:
    """Returns the error for a file that was written to while it was read."""
    return RefusedError(
        "read",
        Text(
            "it changed while it was read. Expected a file that holds still. "
            "Index again when it is complete.",
            "读取时文件有变化；读取期间应保持不变；请等它写完后重新收录",
        ),
    )


def _read(path: str, most: int) -> tuple[os.stat_result, bytes, os.stat_result]:
    with _opened(path, most) as (stream, before):
        return before, _all(stream, before.st_size, most), os.fstat(stream.fileno())


@contextmanager
def _opened(path: str, most: int) -> Iterator[tuple[BufferedReader, os.stat_result]]:
    try:
        stream = open_file(path)
    except OSError as error:
        raise _unreadable(error) from None
    with stream:
        before = os.fstat(stream.fileno())
        if before.st_size > most:
            raise RefusedError(
                "size",
                Text(
                    f"it is {before.st_size:,} bytes long. Expected at most {most:,}. Make it "
                    "smaller, divide it, or let it through with --max-file-size "
                    f"{millions(before.st_size)} if you trust it.",
                    f"有 {before.st_size:,} 字节，最多 {most:,}；请缩小或拆分；信得过的文件可加 "
                    f"--max-file-size {millions(before.st_size)}",
                ),
            )
        try:
            yield stream, before
        except OSError as error:
            raise _unreadable(error) from None


def _all(stream: BufferedReader, size: int, most: int) -> bytes:
    parts, length = [], 0
    while length <= most and (part := stream.read(max(size - length, 0) + 1)):
        parts.append(part)
        length += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unreadable(error: OSError) -> RefusedError:
    if isinstance(error, NoFileError):
        text = Text(
            "{reason}. Expected a file. Save it to one.", "{reason}；应为文件；请另存为文件"
        )
    elif isinstance(error, FileNotFoundError):
        text = Text(
            "it is not there ({reason}). Expected a file. Check its name, or the disk.",
            "文件不存在（{reason}）；应为文件；请检查文件名或硬盘",
        )
    else:
        text = Text(
            "it cannot be read ({reason}). Expected a readable file. Check its rights.",
            "无法读取（{reason}）；应为可读的文件；请检查权限",
        )
    return RefusedError("read", text.format(reason=reason_of(error)))


def reason_of(error: OSError) -> Text:
    """Returns the system's reason for a failure."""
    return Text.of(getattr(error, "text", None) or error.strerror or error)

"""Reads the bytes of a file and their hash in one pass, and makes sure that the file did not change
meanwhile."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from seesay.data.archives import Readable, archive_of, open_member
from seesay.data.files import NoFileError, open_file
from seesay.errors import ConfigError, DataError
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
        with _opened(path, most) as opened:
            data = _all(opened.stream, opened.size, most)
            size, mtime_ns = opened.size_and_time()
        if (opened.size, opened.mtime_ns) == (size, mtime_ns) and len(data) == size:
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
    with _opened(path, most) as opened:
        first = opened.stream.read(_BEGINNING)
        digest = hashlib.sha256(first)
        while part := opened.stream.read(_BEGINNING):
            digest.update(part)
        size, mtime_ns = opened.size_and_time()
    if (opened.size, opened.mtime_ns) != (size, mtime_ns):
        raise changing()
    return FileData(
        path=path, data=first, content_hash=digest.hexdigest(), size=size, mtime_ns=mtime_ns
    )


def read_beginning(path: str, most: int = sys.maxsize) -> FileData:
    """Like `hash_file`, without the hash."""
    with _opened(path, most) as opened:
        first = opened.stream.read(_BEGINNING)
    return FileData(
        path=path, data=first, content_hash="", size=opened.size, mtime_ns=opened.mtime_ns
    )


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


@dataclass(frozen=True, eq=False)
class _Opened:
    """A file that is being read, or one in an archive, with its size and time before."""

    stream: Readable
    size: int
    mtime_ns: int
    size_and_time: Callable[[], tuple[int, int]]
    """Returns both as they are now."""


@contextmanager
def _opened(path: str, most: int) -> Iterator[_Opened]:
    try:
        with _opened_member(path) if archive_of(path) else _opened_file(path) as opened:
            if opened.size > most:
                raise _too_large(opened.size, most)
            yield opened
    except OSError as error:
        raise _unreadable(error) from None
    except DataError as error:
        raise RefusedError("archive", error.text) from None


@contextmanager
def _opened_file(path: str) -> Iterator[_Opened]:
    with open_file(path) as stream:
        now = lambda: size_and_time(os.fstat(stream.fileno()))  # noqa: E731
        yield _Opened(stream, *now(), now)


@contextmanager
def _opened_member(path: str) -> Iterator[_Opened]:
    """A file in an archive has the time of the archive, so that it counts as changed with it."""
    with open_member(path) as (stream, size, status):
        _, mtime_ns = size_and_time(status)
        archive, _ = archive_of(path) or (path, "")
        now = lambda: (size, size_and_time(os.stat(archive))[1])  # noqa: E731
        yield _Opened(stream, size, mtime_ns, now)


def _too_large(size: int, most: int) -> RefusedError:
    return RefusedError(
        "size",
        Text(
            f"it is {size:,} bytes long. Expected at most {most:,}. Make it smaller, divide it, "
            f"or let it through with --max-file-size {millions(size)} if you trust it.",
            f"有 {size:,} 字节，最多 {most:,}；请缩小或拆分；信得过的文件可加 "
            f"--max-file-size {millions(size)}",
        ),
    )


def _all(stream: Readable, size: int, most: int) -> bytes:
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

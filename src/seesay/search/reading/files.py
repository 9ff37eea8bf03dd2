"""A file's bytes, read once, with its hash, and only if it held still meanwhile."""

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader

from seesay.data.opening import NoFileError, open_file


class RefusedError(Exception):
    """Why a file is not read; it becomes an entry of the quarantine."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """What a file held."""

    path: str
    data: bytes
    content_hash: str
    size: int
    mtime_ns: int


def size_and_time(facts: os.stat_result) -> tuple[int, int]:
    """Bytes and time of the last change in nanoseconds, as every part of a collection compares and
    stores them: SQLite's integers hold the years 1677 to 2262, and a file of 2300 counts as one of
    2262."""
    return facts.st_size, min(max(facts.st_mtime_ns, -(2**63)), 2**63 - 1)


def content_hash(data: bytes) -> str:
    """What two files of the same content have in common."""
    return hashlib.sha256(data).hexdigest()


def millions(amount: int) -> str:
    """At least so many, as a limit is typed: 8101M."""
    return f"{-(-amount // 10**6)}M"


def read_file(path: str, most: int) -> Content:
    """Raises RefusedError for what cannot be read, is larger than `most` bytes, is no file, or
    changes again and again while it is read."""
    for _ in range(2):
        before, data, after = _read(path, most)
        size, mtime_ns = size_and_time(after)
        if size_and_time(before) == (size, mtime_ns) and len(data) == size:
            return Content(
                path=path,
                data=data,
                content_hash=content_hash(data),
                size=size,
                mtime_ns=mtime_ns,
            )
    raise RefusedError(
        "read",
        "it changed while it was read. Expected a file that holds still. "
        "Index again when it is complete.",
    )


def _read(path: str, most: int) -> tuple[os.stat_result, bytes, os.stat_result]:
    try:
        stream = open_file(path)
    except OSError as error:
        raise _unreadable(error) from None
    with stream:
        before = os.fstat(stream.fileno())
        if before.st_size > most:
            raise RefusedError(
                "size",
                f"it is {before.st_size:,} bytes long. Expected at most {most:,}. Make it "
                "smaller, divide it, or let it through with --max-file-size "
                f"{millions(before.st_size)} if you trust it.",
            )
        try:
            data = _all(stream, before.st_size, most)
        except OSError as error:
            raise _unreadable(error) from None
        return before, data, os.fstat(stream.fileno())


def _all(stream: BufferedReader, size: int, most: int) -> bytes:
    parts, length = [], 0
    while length <= most and (part := stream.read(max(size - length, 0) + 1)):
        parts.append(part)
        length += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unreadable(error: Exception) -> RefusedError:
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, NoFileError):
        return RefusedError("read", f"{reason}. Expected a file. Save it to one.")
    if isinstance(error, FileNotFoundError):
        return RefusedError(
            "read", f"it is not there ({reason}). Expected a file. Check its name, or the disk."
        )
    return RefusedError(
        "read", f"it cannot be read ({reason}). Expected a readable file. Check its rights."
    )

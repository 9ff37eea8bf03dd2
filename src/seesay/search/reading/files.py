"""The bytes of a file with their hash, read once and only if the file holds still meanwhile."""

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader

from seesay.data.files import NoFileError, open_file
from seesay.errors import ConfigError
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What one file may cost. The defaults let every camera's files through."""

    max_file_bytes: int = 256 * 2**20
    """Largest picture that is opened."""
    max_text_bytes: int = 8 * 2**20
    """Largest text or table that is opened."""
    max_pixels: int = 128 * 2**20
    """Most pixels that are decoded into memory."""
    memory_bytes: int = 2 * 2**30
    """Most memory that a reading process may take, where the system can enforce it."""
    seconds: float = 30.0
    """Longest time that one file may take, or one address to answer."""

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
    """Why a file is not read; it becomes an entry of the quarantine."""

    def __init__(self, stage: str, text: Text) -> None:
        super().__init__(text.en)
        self.stage, self.text = stage, text


@dataclass(frozen=True, kw_only=True, eq=False)
class FileData:
    """The bytes of a file, and what the file system says of it."""

    path: str
    data: bytes
    content_hash: str
    size: int
    mtime_ns: int


def size_and_time(facts: os.stat_result) -> tuple[int, int]:
    """Bytes, and the time of the last change in nanoseconds, as the whole collection compares and
    stores them: SQLite's integers hold the years 1677 to 2262, and a file of 2300 counts as one of
    2262."""
    return facts.st_size, min(max(facts.st_mtime_ns, -(2**63)), 2**63 - 1)


def content_hash(data: bytes) -> str:
    """The same for two files of the same content."""
    return hashlib.sha256(data).hexdigest()


def millions(amount: int) -> str:
    """An amount as a limit is typed, rounded up: 8101M."""
    return f"{-(-amount // 10**6)}M"


def read_file(path: str, most: int) -> FileData:
    """Raises RefusedError for what cannot be read, is larger than `most` bytes, is no file, or
    changes again and again while it is read."""
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
    raise RefusedError(
        "read",
        Text(
            "it changed while it was read. Expected a file that holds still. "
            "Index again when it is complete.",
            "读取时文件有变化；读取期间应保持不变；请等它写完后重新收录",
        ),
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
                Text(
                    f"it is {before.st_size:,} bytes long. Expected at most {most:,}. Make it "
                    "smaller, divide it, or let it through with --max-file-size "
                    f"{millions(before.st_size)} if you trust it.",
                    f"有 {before.st_size:,} 字节，最多 {most:,}；请缩小或拆分；信得过的文件可加 "
                    f"--max-file-size {millions(before.st_size)}",
                ),
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
    """What the system says is wrong with a file."""
    return Text.of(getattr(error, "text", None) or error.strerror or error)

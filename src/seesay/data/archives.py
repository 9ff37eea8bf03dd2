"""Files inside ZIP and TAR archives, read one at a time and never written to the disk.

A file in an archive has a path of its own, such as photos.zip/2019/cat.jpg: since photos.zip is no
folder, no other file can have it. Names are only compared, never opened, so that links and ".." in
them lead nowhere.

Whoever made an archive may want to fill the memory or the disk of those who open it. So sizes are
checked as the archive states them, and no more than that is unpacked; a compressed TAR states none
and is unpacked only up to a limit.
"""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

from seesay.data.files import open_file
from seesay.errors import DataError
from seesay.text import Text

ENDINGS = (".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
MOST_FILES = 50_000
"""Files of one archive."""
MOST_UNPACKED = 64 * 2**30
"""Bytes of all files of an archive together."""
MOST_COMPRESSED_TAR = 4 * 2**30
"""The same of a compressed TAR, which is unpacked from its start for every file."""
RATIO, SMALL = 400, 8 * 2**20
"""How many times its packed size a file may have, if it is larger than `SMALL` bytes."""
_LONGEST_NAME = 1000  # characters
_WRONG = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OSError),
)
"""What the standard library raises for archives that are damaged or of an unknown kind."""
_OPENERS: dict[bytes, Callable[[io.BufferedReader], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    """Its path in the archive, with slashes, without "..", and not absolute."""
    size: int
    """Bytes, unpacked, as the archive states them."""


@dataclass
class Listing:
    """The files in an archive."""

    members: list[Member] = field(default_factory=list)
    outside: int = 0
    """Files whose names lead out of the archive or are too long."""
    repeated: int = 0
    """Files with a name that an earlier one has."""


@runtime_checkable
class Readable(Protocol):
    """A stream of bytes: one of `io`, or of a file in an archive."""

    def read(self, size: int = -1, /) -> bytes: ...


def is_archive(name: str) -> bool:
    """Whether a file is an archive, by its name."""
    return name.lower().endswith(ENDINGS)


def archive_of(path: str) -> tuple[str, str] | None:
    """Returns the archive that a path leads into, and the name of the file in it; None for any
    other path."""
    lower, at = path.lower(), 0
    while (at := lower.find(os.sep, at + 1)) > 0:
        if lower.endswith(ENDINGS, 0, at) and os.path.isfile(path[:at]):
            return path[:at], path[at + 1 :].replace(os.sep, "/")
    return None


def is_unpacked_whole(archive: str) -> bool:
    """Whether all of an archive before a file has to be unpacked to read this file."""
    return is_archive(archive) and not archive.lower().endswith((".zip", ".tar"))


def list_members(archive: str) -> Listing:
    """Returns the files in an archive, without folders, links and hidden files. Raises DataError
    if it is damaged or too large."""
    with _opened(archive) as opened, _refusing():
        return opened.listing()


def member_path(archive: str, name: str) -> str:
    """Returns the path of a file in an archive."""
    return f"{archive}{os.sep}{name.replace('/', os.sep)}"


@contextmanager
def open_member(path: str) -> Iterator[tuple[Readable, int, os.stat_result]]:
    """Yields a file in an archive for reading, its size in bytes, and the status of the archive.

    Raises DataError if the archive is damaged, or if the file is not in it, encrypted, or unpacks
    to far more than it takes; OSError if the archive cannot be opened."""
    found = archive_of(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    with _opened(found[0]) as opened:
        with _refusing():
            stream, size = opened.open(found[1])
        with stream:
            yield _Checked(stream), size, opened.status


class _Checked:
    """A stream whose errors are DataErrors."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        with _refusing():
            return self._stream.read(size)


class _Zip:
    """A ZIP archive, whose files can be read in any order."""

    def __init__(self, stream: io.BufferedReader, status: os.stat_result) -> None:
        self.status = status
        self._zip = zipfile.ZipFile(stream)
        self._found = Listing()
        self._infos: dict[str, zipfile.ZipInfo] = {}
        unpacked = 0
        for info in self._zip.infolist():
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            if info.is_dir() or is_link:
                continue
            name = _accept(_zip_name(info), self._infos, self._found)
            if name is not None:
                unpacked += info.file_size
                self._infos[name] = info
                self._found.members.append(Member(name, info.file_size))
        _check_sizes(len(self._infos), unpacked, status.st_size, MOST_UNPACKED)

    def listing(self) -> Listing:
        return self._found

    def open(self, name: str) -> tuple[io.BufferedIOBase, int]:
        info = self._infos.get(name)
        if info is None:
            raise _gone(name)
        if info.flag_bits & 1:
            raise DataError(_ENCRYPTED)
        if info.file_size > max(SMALL, info.compress_size * RATIO):
            raise _bomb(max(SMALL, info.compress_size * RATIO))
        return cast(io.BufferedIOBase, self._zip.open(info)), info.file_size


class _Tar:
    """A TAR archive. A compressed one is read from its start to its end: files are found fast in
    the order in which they stand in it."""

    def __init__(self, stream: io.BufferedReader, status: os.stat_result) -> None:
        self.status = status
        self._stream = stream
        first = stream.read(6)
        self._unpack = next((o for mark, o in _OPENERS.items() if first.startswith(mark)), None)
        self._rewind()

    def listing(self) -> Listing:
        found, unpacked = Listing(), 0
        most = MOST_COMPRESSED_TAR if self._unpack else MOST_UNPACKED
        self._rewind()
        for name, info in self._files(found):
            unpacked += info.size
            found.members.append(Member(name, info.size))
            _check_sizes(len(found.members), unpacked, self.status.st_size, most)
        return found

    def open(self, name: str) -> tuple[io.BufferedIOBase, int]:
        if name in self._passed:
            self._rewind()
        for stands, info in self._files(Listing()):
            if stands == name and (stream := self._tar.extractfile(info)) is not None:
                return cast(io.BufferedIOBase, stream), info.size
        raise _gone(name)

    def _rewind(self) -> None:
        self._stream.seek(0)
        if self._unpack is None:
            self._tar = tarfile.open(fileobj=self._stream, mode="r:")  # noqa: SIM115  # `_Last` closes it
        else:
            most = min(MOST_COMPRESSED_TAR, max(SMALL, self.status.st_size * RATIO))
            unpacked = _Limited(self._unpack(self._stream), most)
            self._tar = tarfile.open(fileobj=unpacked, mode="r|")  # noqa: SIM115
        self._passed: set[str] = set()
        self._entries = 0

    def _files(self, found: Listing) -> Iterator[tuple[str, tarfile.TarInfo]]:
        """Yields the files from here on, each name once, and counts what is left out."""
        while (info := self._tar.next()) is not None:
            self._entries += 1
            _check_sizes(self._entries // 2, 0, 0, MOST_UNPACKED)  # folders and links, too
            name = _accept(_tar_name(info), self._passed, found) if info.isreg() else None
            if name is not None:
                self._passed.add(name)
                yield name, info


class _Limited(io.RawIOBase):
    """A stream that refuses to unpack more than some bytes."""

    def __init__(self, stream: io.BufferedIOBase, most: int) -> None:
        self._stream, self._most, self._left = stream, most, most

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _bomb(self._most)
        return data


@dataclass(eq=False)
class _Last:
    """The archive that was opened last: the next file is mostly in the same one."""

    key: tuple[object, ...] = ()
    stream: io.BufferedReader | None = None
    archive: _Zip | _Tar | None = None

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
        self.key, self.stream, self.archive = (), None, None


_last: _Last | None = None


def keep_open() -> None:
    """Keep the archive that was opened last open, in a process with one thread that reads many
    files of it."""
    global _last
    _last = _Last()


@contextmanager
def _opened(path: str) -> Iterator[_Zip | _Tar]:
    last = _Last() if _last is None else _last
    status = os.stat(path)
    key = (path, status.st_size, status.st_mtime_ns)
    try:
        if last.archive is None or last.key != key:
            last.close()
            last.stream = open_file(path)
            kind = _Zip if path.lower().endswith(".zip") else _Tar
            with _refusing():
                last.archive = kind(last.stream, os.fstat(last.stream.fileno()))
            last.key = key
        yield last.archive
    except BaseException:
        if isinstance(last.archive, _Tar):  # it may stand anywhere
            last.close()
        raise
    finally:
        if last is not _last:
            last.close()


@contextmanager
def _refusing() -> Iterator[None]:
    """Raises DataError for what the standard library raises."""
    try:
        yield
    except _WRONG as error:
        raise _damaged(error) from None


def _accept(name: str, known: Container[str], found: Listing) -> str | None:
    """Returns the name of a file as its path in the archive has it, or None if it is not read, and
    counts why."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if ".." in parts or not parts or "\0" in name or len(name) > _LONGEST_NAME:
        found.outside += 1
        return None
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    plain = "/".join(parts)
    if plain in known:
        found.repeated += 1
        return None
    return plain


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Windows in China stores names in GB2312, and older programs of Unix in UTF-8, without saying
    so; then they are taken for the code page of DOS, as the format says."""
    is_told = info.flag_bits & 0x800
    name = info.filename
    return name if is_told or name.isascii() else _decoded(name.encode("cp437", "replace"), name)


def _tar_name(info: tarfile.TarInfo) -> str:
    raw = info.name.encode("utf-8", "surrogateescape")
    return info.name if info.name.isascii() else _decoded(raw, info.name)


def _decoded(raw: bytes, otherwise: str) -> str:
    for encoding in ("utf-8", "gb2312"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return otherwise


def _check_sizes(files: int, unpacked: int, packed: int, most: int) -> None:
    """Raises DataError for too many files, or too much in them."""
    if files > MOST_FILES:
        raise DataError(
            Text(
                f"it holds more than {MOST_FILES:,} files. Divide it, or unpack it and index the "
                "folder.",
                f"其中的文件超过 {MOST_FILES:,} 个；请拆分，或解压后收录文件夹",
            )
        )
    most = min(most, max(SMALL, packed * RATIO))
    if unpacked > most:
        raise _bomb(most)


def _bomb(most: int) -> DataError:
    return DataError(
        Text(
            f"unpacked, it takes more than {most:,} bytes, the most for its size. If you trust it, "
            "unpack it and index the folder.",
            f"解压后超过 {most:,} 字节，即这种大小的文件的上限；如果信得过，请解压后收录文件夹",
        )
    )


def _gone(name: str) -> DataError:
    return DataError(
        Text(
            f"{name} is no longer in the archive. Index the archive again.",
            f"压缩包里已没有 {name}；请重新收录这个压缩包",
        )
    )


def _damaged(error: Exception) -> DataError:
    return DataError(
        Text(
            f"the archive is damaged or of an unknown kind ({error or type(error).__name__}). "
            "Expected a whole ZIP or TAR archive. Copy, download or pack it again.",
            f"压缩包已损坏或格式不支持（{error or type(error).__name__}）；应为完整的 ZIP 或 TAR；"
            "请重新复制、下载或打包",
        )
    )


_ENCRYPTED = Text(
    "it is encrypted in the archive. Expected a file that opens without a password. Unpack it and "
    "index the folder, or pack it again without one.",
    "它在压缩包里是加密的；应无需密码即可打开；请解压后收录文件夹，或不设密码重新打包",
)

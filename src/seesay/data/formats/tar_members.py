"""A survey of a tar file: the place of each file in it, five times as fast as tarfile's.

Understands POSIX (ustar and pax) and GNU long names, which is what writers of shards produce.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seesay.errors import DataError
from seesay.text import Text

BLOCK = 512
FILE = (b"0", b"\0", b"7")


class Member(NamedTuple):
    """A file in a tar file. `start` counts its headers in, `stop` its padding."""

    name: str
    start: int
    stop: int


def members(file: Path) -> Iterator[Member]:
    """The plain files in a tar file, in order. Raises DataError where it is damaged or cut off,
    after all members before that place."""
    if not file.stat().st_size:
        raise DataError(
            Text(
                f"{file} is empty, expected a tar file: fetch it again",
                f"{file} 是空的；应为 tar 文件；请重新下载",
            )
        )
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as tar:
        start, long_name = 0, ""
        for header, content, stop in _entries(tar, file):
            kind = header[156:157]
            if kind == b"x":
                long_name = _pax_path(tar[content:stop]) or long_name
            elif kind == b"L":
                long_name = tar[content:stop].partition(b"\0")[0].decode(errors="surrogateescape")
            else:
                if kind in FILE:
                    yield Member(long_name or _name(header), start, stop)
                start, long_name = stop, ""


def _entries(tar: mmap.mmap, file: Path) -> Iterator[tuple[bytes, int, int]]:
    """Every header, with where its content begins and where the next header does."""
    position = 0
    while position + BLOCK <= len(tar) and (header := tar[position : position + BLOCK])[0]:
        size = _size(header, file, position)
        content = position + BLOCK
        if content + size > len(tar):
            raise DataError(
                Text(
                    f"{file} ends in the middle of a file: fetch it again",
                    f"{file} 在某个文件中途结束；应为完整的 tar 文件；请重新下载",
                )
            )
        position = content + -(-size // BLOCK) * BLOCK
        yield header, content, position
    if position + BLOCK > len(tar):
        raise DataError(
            Text(
                f"{file} ends without a tar file's zeros: fetch it again, unpack a compressed one",
                f"{file} 结尾没有 tar 文件应有的零字节；应为完整的未压缩 tar 文件；请重新下载，压"
                "缩过的请先解压",
            )
        )


def _size(header: bytes, file: Path, position: int) -> int:
    """The size of what follows a header, after a check of the header."""
    try:
        # The checksum counts its own eight bytes as blanks.
        if sum(header) - sum(header[148:156]) + 8 * 0x20 != _octal(header[148:156]):
            raise ValueError("its checksum is wrong")
        if header[124] & 0x80:  # GNU's binary form, for more than 8 GiB
            return int.from_bytes(header[125:136], "big")
        if (size := _octal(header[124:136])) < 0:
            raise ValueError("it has a negative size")
        return size
    except ValueError as error:
        raise DataError(
            Text(
                f"{file} is no uncompressed tar file at byte {position} ({error}): "
                "unpack a compressed one, fetch a damaged one again",
                f"{file} 在第 {position} 字节处不是未压缩的 tar（{error}）；应为完整的未压缩 tar "
                "文件；压缩过的请先解压，损坏的请重新下载",
            )
        ) from None


def _octal(field: bytes) -> int:
    return int(field.strip(b"\0 ") or b"0", 8)


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode(errors="surrogateescape")


def _pax_path(content: bytes) -> str:
    """The path among records of the form "LENGTH KEY=VALUE\n"."""
    while (digits := content.partition(b" ")[0].strip(b"\0")).isdigit() and int(digits[:9]):
        record, content = content[: int(digits[:9])], content[int(digits[:9]) :]
        key, _, value = record.partition(b" ")[2].rstrip(b"\n").partition(b"=")
        if key == b"path":
            return value.decode(errors="surrogateescape")
    return ""

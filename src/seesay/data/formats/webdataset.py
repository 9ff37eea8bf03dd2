"""WebDataset shards: tar files in which the files of one sample follow each other.

Tar files must be uncompressed, because each sample is read by its position in the file. The survey
that finds these positions is five times as fast as tarfile's; it understands POSIX (ustar and pax)
and GNU long names, the formats that shard writers produce.
"""

import io
import mmap
import tarfile
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from seesay.data.encodings import decode_text
from seesay.data.formats.records import (
    Damaged,
    Record,
    boxes_from,
    captions_from,
    find_files,
    label_from,
    objects_from,
    parse_json,
    questions_from,
)
from seesay.errors import DataError
from seesay.text import Text

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "heic", "avif")


class WebDatasetSource:
    """The samples of all shards that a pattern names, in the order of the files' names.

    Opening reads only the headers; about 20 bytes are kept per sample, whatever its size.
    """

    blocks: Sequence[int] = ()

    def __init__(self, pattern: str) -> None:
        self.files = find_files(pattern, [".tar"])
        self.damaged: list[Damaged] = []
        self._shard, self._start, self._size = array("l"), array("q"), array("q")
        for number, file in enumerate(self.files):
            self._survey(number, file)

    def _survey(self, number: int, file: Path) -> None:
        key, start, stop = "", 0, 0
        try:
            for member in members(file):
                name, extension = _split(member.name)
                if not extension or _is_apple_double(member.name):  # a README and the like
                    continue
                if name != key:
                    self._keep(number, start, stop)
                    key, start = name, member.start
                stop = member.stop
        except DataError as error:
            self.damaged.append(Damaged(str(file), f"{error}; the samples before that are used"))
        self._keep(number, start, stop)

    def _keep(self, number: int, start: int, stop: int) -> None:
        if stop > start:
            self._shard.append(number)
            self._start.append(start)
            self._size.append(stop - start)

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int) -> Record:
        file = self.files[self._shard[index]]
        where = f"{file.name} at byte {self._start[index]}"
        with file.open("rb", buffering=0) as shard:
            shard.seek(self._start[index])
            content = shard.read(self._size[index])
        try:
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
                files = [m for m in tar if m.isfile() and not _is_apple_double(m.name)]
                parts = {_split(m.name)[1]: _read(tar, m) for m in files}
                key = _split(files[0].name)[0]
        except (tarfile.TarError, ValueError, IndexError) as error:
            raise DataError(
                Text(
                    f"{where} is damaged ({error}), expected a whole tar file: fetch the shard "
                    "again",
                    f"{where} 已损坏（{error}）；应为完整的 tar 文件；请重新下载该分片",
                )
            ) from None
        return record_from(key, parts)


def record_from(key: str, parts: dict[str, bytes]) -> Record:
    """A record from the files of one sample, by extension: an image; captions in `json`, `txt`,
    `en.txt` and `zh.txt`; questions and objects in `json`; a class number in `cls`."""
    image = next((parts[extension] for extension in IMAGES if extension in parts), None)
    if image is None:
        raise DataError(
            Text(
                f"{key} holds {', '.join(parts) or 'nothing'} and no image, expected one of "
                f"{', '.join(IMAGES)}: add it or remove the sample",
                f"{key} 里有 {'、'.join(parts) or '空内容'}，没有图片；应有 {'、'.join(IMAGES)} 之"
                "一；请补上，或删除这个样本",
            )
        )
    fields = parse_json(parts["json"], f"{key}.json") if "json" in parts else {}
    try:
        for extension in ("txt", "cls"):
            if extension in parts:
                fields[extension] = decode_text(parts[extension]).strip()
        for language in ("en", "zh"):
            if f"{language}.txt" in parts:
                fields[language] = decode_text(parts[f"{language}.txt"]).splitlines()
        label, questions = label_from(fields), questions_from(fields)
    except DataError as error:
        raise DataError(Text(f"{key}: {error}", f"{key}：{Text.of(error).zh}")) from None
    return Record(
        key=key,
        image=image,
        captions=captions_from(fields),
        questions=questions,
        label=label,
        objects=objects_from(fields),
        boxes=boxes_from(fields),
    )


def _is_apple_double(name: str) -> bool:
    """Whether it is macOS's file of another file's attributes, named after that file: `._a.jpg`."""
    *folders, file = name.split("/")
    return file.startswith("._") or "__MACOSX" in folders


def _split(name: str) -> tuple[str, str]:
    """Returns the sample's key and the extension, split at the first dot of the file name."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    data = content.read() if content else b""
    if len(data) < member.size:
        raise tarfile.ReadError(f"{member.name} ends after {len(data)} of {member.size} bytes")
    return data


BLOCK = 512
FILE = (b"0", b"\0", b"7")


class Member(NamedTuple):
    """A file in a tar file. `start` counts its headers in, `stop` its padding."""

    name: str
    start: int
    stop: int


def members(file: Path) -> Iterator[Member]:
    """The plain files in a tar file, in order. Raises DataError where it is damaged or cut off,
    after yielding all members before that place."""
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
    """Yields every header with the start of its content and of the next header."""
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
    """Checks a header and returns the size of its content."""
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
                f"{file} is no uncompressed tar file at byte {position} ({error}): unpack a "
                "compressed one, fetch a damaged one again",
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

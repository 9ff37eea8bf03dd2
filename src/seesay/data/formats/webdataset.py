"""WebDataset shards: tar files in which the files of one sample follow each other.

Only uncompressed tar files, because each sample is read by its place in the file.
"""

import io
import tarfile
from array import array
from collections.abc import Sequence
from pathlib import Path

from seesay.data.encodings import decode_text
from seesay.data.formats.records import (
    Damaged,
    Record,
    captions_from,
    find_files,
    label_from,
    parse_json,
)
from seesay.data.formats.tar_members import members
from seesay.errors import DataError
from seesay.text import Text

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "heic", "avif")


class WebDatasetSource:
    """The samples of all shards that a pattern names, in the order of the files' names.

    Opening reads the headers only; about 20 bytes are kept per sample, whatever its size.
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
    `en.txt` and `zh.txt`; a class number in `cls`."""
    image = next((parts[extension] for extension in IMAGES if extension in parts), None)
    if image is None:
        raise DataError(
            Text(
                f"{key} holds {', '.join(parts) or 'nothing'} and no image, expected one of "
                f"{', '.join(IMAGES)}: add it or remove the sample",
                f"{key} 里有 {'、'.join(parts) or '空内容'}，没有图片；应有 {'、'.join(IMAGES)} "
                "之一；请补上，或删除这个样本",
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
        label = label_from(fields)
    except DataError as error:
        raise DataError(Text(f"{key}: {error}", f"{key}：{Text.of(error).zh}")) from None
    return Record(key=key, image=image, captions=captions_from(fields), label=label)


def _is_apple_double(name: str) -> bool:
    """Whether macOS keeps attributes of another file in it, under that file's name: `._a.jpg`."""
    *folders, file = name.split("/")
    return file.startswith("._") or "__MACOSX" in folders


def _split(name: str) -> tuple[str, str]:
    """The sample's key and the extension: both meet at the first dot of the file's own name."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    data = content.read() if content else b""
    if len(data) < member.size:
        raise tarfile.ReadError(f"{member.name} ends after {len(data)} of {member.size} bytes")
    return data

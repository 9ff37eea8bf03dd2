"""A picture, a PDF or a video -> what it costs a vision-language model, from the file's header.

    size = measure_file("report.pdf")       # 12 pages of 1240 x 1754 pixels, at 150 dots per inch
    file_cost(size, "qwen2-vl").total

No pixel is decoded and no model is loaded. Of a PDF only the tree of its pages is read.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from seesay.data.decoding import open_header, upright_size
from seesay.data.token_budget import Size, TokenCost, pages_cost, picture_cost, video_cost
from seesay.data.video import Video, duration, is_video
from seesay.errors import DataError, ImageError
from seesay.text import Text

DPI = 150
"""Dots per inch at which the pages of a document become pictures."""
_POINTS = 72  # of an inch
_MOST_BYTES = 512 * 2**20
_MOST_OBJECTS = 64 * 2**20  # bytes that one stream of objects may unpack to
_MOST_PAGES = 100_000
_LETTER = (0.0, 0.0, 612.0, 792.0)  # where a page names no size

_OBJECT = re.compile(rb"(?<!\d)(\d{1,10})\s+\d{1,5}\s+obj\b")
_REFERENCE = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+R\b")
_STREAM = re.compile(rb"stream\r?\n")
_NUMBER = re.compile(rb"-?\d*\.?\d+")


@dataclass(frozen=True, kw_only=True)
class FileSize:
    """What of a file decides its cost."""

    media_type: Literal["picture", "document", "video"]
    sizes: tuple[Size, ...]
    """Width and height in pixels of the picture, of each page or of the frames."""
    seconds: float = 0.0
    """Length of a video."""
    fps: float = 0.0
    """Its frames per second."""


def measure_file(file: str | Path) -> FileSize:
    """Returns the size of a picture, a PDF or a video.

    Raises ImageError for what is no picture, and DataError for a broken PDF or video.
    """
    path = Path(file)
    if is_video(path):
        with Video(path) as video:
            (frame,) = video.frames([0])
            seconds = duration(video.times) or 1.0
            fps = len(video.times) / seconds
            return FileSize(media_type="video", sizes=(frame.image.size,), seconds=seconds, fps=fps)
    try:
        with path.open("rb") as stream:
            if b"%PDF-" in stream.read(1024):
                return FileSize(media_type="document", sizes=page_sizes(path))
            stream.seek(0)
            header = open_header(stream, path.name)
            width, height = upright_size(header)
    except OSError as error:
        raise ImageError(
            Text(
                f"{path} cannot be opened ({error.strerror}); expected a picture, a PDF or a "
                "video. Check the path.",
                f"{path} 无法打开（{error.strerror}）；应为图片、PDF 或视频；请检查路径",
            )
        ) from error
    return FileSize(media_type="picture", sizes=((width, height),))


def file_cost(size: FileSize, scheme: str) -> TokenCost:
    """Returns what a file costs under a scheme; the pages of a document are pictures.

    Raises ConfigError for an unknown scheme and for a video where the scheme has none, ImageError
    for a picture that the scheme refuses.
    """
    if size.media_type == "video":
        return video_cost(size.sizes[0], size.seconds, scheme, fps=size.fps)
    if size.media_type == "picture":
        return picture_cost(size.sizes[0], scheme)
    return pages_cost(size.sizes, scheme)


def page_sizes(file: str | Path) -> tuple[Size, ...]:
    """Returns width and height of each page of a PDF in pixels, at 150 dots per inch, upright.

    Raises DataError for a file whose pages cannot be read: damaged, or encrypted.
    """
    path = Path(file)
    if path.stat().st_size > _MOST_BYTES:
        raise _unreadable(path, Text("it is too large", "文件过大"))
    pages = tuple(_Objects(path).pages())
    if not pages:
        raise _unreadable(path, Text("it has no page", "没有页面"))
    return pages


class _Objects:
    """The objects of a PDF by number; a later one replaces an earlier (ISO 32000-1, 7.5)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes()
        self._bodies: dict[int, bytes] = {}
        starts = list(_OBJECT.finditer(data))
        ends = [*(match.start() for match in starts), len(data)][1:]
        packed = []
        for match, end in zip(starts, ends, strict=True):
            body = data[match.end() : end]
            if re.search(rb"/Type\s*/ObjStm\b", body[:2000]):
                packed.append(body)
            else:
                self._bodies[int(match[1])] = body.partition(b"endobj")[0]
        self._encrypted = re.search(rb"/Encrypt\s+\d+\s+\d+\s+R", data) is not None
        for body in packed:
            self._bodies.update(self._unpacked(body))

    def pages(self) -> Iterator[Size]:
        catalogs = [b for b in self._bodies.values() if re.search(rb"/Type\s*/Catalog\b", b)]
        root = re.search(rb"/Pages\s+(\d+)\s+\d+\s+R", catalogs[-1]) if catalogs else None
        if root is None:
            raise _unreadable(self._path, Text("it names no pages", "其中没有页面目录"))
        ahead: list[tuple[int, bytes | None, bytes | None]] = [(int(root[1]), None, None)]
        seen: set[int] = set()
        while ahead:
            number, box, turned = ahead.pop()
            if number in seen or len(seen) > _MOST_PAGES or number not in self._bodies:
                raise _unreadable(self._path, Text("its pages are damaged", "页面目录已损坏"))
            seen.add(number)
            body = self._bodies[number]
            # A page has what stands above it in the tree, unless it says otherwise.
            box = self._value(body, rb"CropBox") or self._value(body, rb"MediaBox") or box
            turned = self._value(body, rb"Rotate") or turned
            kids = self._value(body, rb"Kids")
            if kids is None:
                yield _pixels(box, turned)
            else:
                below = [int(match[1]) for match in _REFERENCE.finditer(kids)]
                ahead += [(kid, box, turned) for kid in reversed(below)]

    def _value(self, body: bytes, name: bytes) -> bytes | None:
        """The array or number of a key, which may stand in an object of its own."""
        found = re.search(rb"/" + name + rb"\s*(\[[^\]]*\]|\d+\s+\d+\s+R\b|-?\d+)", body)
        if found is None:
            return None
        reference = _REFERENCE.fullmatch(found[1])
        return self._bodies.get(int(reference[1])) if reference else found[1]

    def _unpacked(self, body: bytes) -> Iterator[tuple[int, bytes]]:
        """The objects of a stream of objects (7.5.7)."""
        begin = _STREAM.search(body)
        first, count = (re.search(rb"/" + n + rb"\s+(\d+)", body) for n in (b"First", b"N"))
        if begin is None or first is None or count is None:
            return
        packed = body[begin.end() :]
        try:
            data = zlib.decompressobj().decompress(packed, _MOST_OBJECTS)
        except zlib.error as error:
            why = Text("it is damaged", "文件已损坏")
            if self._encrypted:
                why = Text("it is encrypted", "文件已加密")
            raise _unreadable(self._path, why) from error
        start = int(first[1])
        numbers = [int(n) for n in data[:start].split()[: 2 * int(count[1])] if n.isdigit()]
        places = [start + at for at in numbers[1::2]]
        whole = numbers[: 2 * len(places) : 2]  # a damaged table may end within a pair
        for number, (at, end) in zip(whole, pairwise([*places, len(data)]), strict=True):
            yield number, data[at:end]


def _pixels(box: bytes | None, turned: bytes | None) -> Size:
    given = [float(n) for n in _NUMBER.findall(box or b"")]
    left, bottom, right, top = given if len(given) == 4 else _LETTER
    width, height = (max(1, round(abs(s) * DPI / _POINTS)) for s in (right - left, top - bottom))
    angle = _NUMBER.search(turned or b"0")
    on_its_side = angle is not None and int(float(angle[0])) % 180 != 0
    return (height, width) if on_its_side else (width, height)


def _unreadable(path: Path, why: Text) -> DataError:
    return DataError(
        Text(
            f"the pages of {path.name} cannot be counted ({why.en}); expected a whole PDF without "
            "a password. Save it anew from a PDF viewer.",
            f"无法统计 {path.name} 的页数（{why.zh}）；应为完整、没有密码的 PDF；请用阅读器重新"
            "保存",
        )
    )

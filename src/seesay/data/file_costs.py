"""A picture, a PDF or a video -> what it costs a vision-language model, from the file's header.

    size = measure_file("report.pdf")       # 12 pages of 1240 x 1754 pixels, at 150 dots per inch
    file_cost(size, "qwen2-vl").total

No pixel is decoded and no model is loaded. Of a PDF only the tree of its pages is read.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
_IS_PAGE = re.compile(rb"/Type\s*/Page\b")
_IS_BRANCH = re.compile(rb"/Type\s*/Pages\b")
_INSIDE = re.compile(rb"<<(?:[^<>]|<[0-9A-Fa-f\s]*>)*>>")
_DEEPEST = 50  # dictionaries within one another
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
        what = Text(f"cannot be opened ({error.strerror})", f"无法打开（{error.strerror}）")
        if isinstance(error, FileNotFoundError):
            what = Text("cannot be found", "找不到")
        raise ImageError(
            Text(
                f"{path} {what.en}; expected a picture, a PDF or a video. Check the path.",
                f"{path} {what.zh}；应为图片、PDF 或视频；请检查路径",
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
        ahead: list[tuple[int, _Page]] = [(int(root[1]), _Page())]
        branches: set[int] = set()
        pages = 0
        while ahead:
            number, above = ahead.pop()
            if number in branches or pages > _MOST_PAGES or number not in self._bodies:
                raise _unreadable(self._path, Text("its pages are damaged", "页面目录已损坏"))
            body = _outermost(self._bodies[number])
            page = self._page(body, above)
            kids = None if _IS_PAGE.search(body) else self._value(body, rb"Kids")
            if kids is not None:
                branches.add(number)
                below = [int(match[1]) for match in _REFERENCE.finditer(kids)]
                ahead += [(kid, page) for kid in reversed(below)]
            elif not _IS_BRANCH.search(body):
                pages += 1
                yield page.pixels()

    def _page(self, body: bytes, above: "_Page") -> "_Page":
        """A page has what stands above it in the tree, unless it says otherwise."""
        names = dict(media=rb"MediaBox", crop=rb"CropBox", turned=rb"Rotate", unit=rb"UserUnit")
        found = {key: self._value(body, name) for key, name in names.items()}
        return replace(above, **{key: self._numbers(v) for key, v in found.items() if v})

    def _numbers(self, value: bytes) -> tuple[float, ...]:
        """The numbers of a value, each of which may stand in an object of its own."""
        plain = _REFERENCE.sub(lambda one: self._bodies.get(int(one[1]), b"0"), value)
        return tuple(map(float, _NUMBER.findall(plain)))

    def _value(self, body: bytes, name: bytes) -> bytes | None:
        """The array or number of a key, which may stand in an object of its own."""
        pattern = rb"/" + name + rb"\s*(\[[^\]]*\]|\d+\s+\d+\s+R\b|-?\d*\.?\d+)"
        found = re.search(pattern, body)
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
        data = packed  # begins with the number of an object where it is not compressed
        try:
            if not packed.lstrip()[:1].isdigit():
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


@dataclass(frozen=True)
class _Page:
    """What decides the size of a page (7.7.3.3); empty where nothing says it."""

    media: tuple[float, ...] = ()
    crop: tuple[float, ...] = ()
    turned: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()

    def pixels(self) -> Size:
        left, bottom, right, top = _corners(self.media) or _LETTER
        if crop := _corners(self.crop):  # as far as it lies on the page
            left, bottom = max(left, crop[0]), max(bottom, crop[1])
            right, top = min(right, crop[2]), min(top, crop[3])
        scale = (self.unit or (1.0,))[0] * DPI / _POINTS
        width, height = (max(1, round(side * scale)) for side in (right - left, top - bottom))
        on_its_side = int((self.turned or (0.0,))[0]) % 180 != 0
        return (height, width) if on_its_side else (width, height)


def _corners(box: tuple[float, ...]) -> tuple[float, float, float, float] | None:
    """Left, bottom, right and top; None for a box without an area."""
    if len(box) != 4 or box[0] == box[2] or box[1] == box[3]:
        return None
    return min(box[0::2]), min(box[1::2]), max(box[0::2]), max(box[1::2])


def _outermost(body: bytes) -> bytes:
    """The dictionary of an object without those inside it, whose keys are not its own."""
    begin = body.find(b"<<") + 2
    own = body[begin:].partition(b"stream")[0]
    for _ in range(_DEEPEST):
        own, count = _INSIDE.subn(b"", own)
        if not count:
            break
    return own


def _unreadable(path: Path, why: Text) -> DataError:
    return DataError(
        Text(
            f"the pages of {path.name} cannot be counted ({why.en}); expected a whole PDF without "
            "a password. Save it anew from a PDF viewer.",
            f"无法统计 {path.name} 的页数（{why.zh}）；应为完整、没有密码的 PDF；请用阅读器重新"
            "保存",
        )
    )

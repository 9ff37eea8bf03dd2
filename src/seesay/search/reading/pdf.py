"""PDF: each page as a picture, and its text as passages with page and box.

Text that nobody can see is left out, since it may have been put there for machines alone: text
without ink where it should stand, off the page, smaller than a point, or invisible by its mode,
which only the text layer of a scanned page may be. Pages without text are read by OCR.

ISO 32000-2: text rendering modes in 9.3.6.
"""

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from seesay.data.squares import square
from seesay.errors import MissingExtraError
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.metadata import Metadata
from seesay.search.reading import ocr
from seesay.search.reading.blocks import Block, Box, passages_of
from seesay.search.reading.files import FileData, RefusedError
from seesay.search.reading.layout import (
    RIGHT_TO_LEFT,
    Line,
    PageText,
    Style,
    blocks_of,
    merged,
    style_of,
)
from seesay.search.reading.messages import FileContent, FileReader, Passage, ReadSettings
from seesay.text import Text

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

MEDIA_TYPE = "pdf"
HEAD = b"%PDF-"
_SAMPLE = 12  # pages that tell what a document's pages have in common
_MOST_RENDERED = 2_000_000  # pixels of a page, whatever its size
_SMALLEST = 1.0  # points: smaller text cannot be read
_INVISIBLE = (3, 7)  # text rendering modes without ink
_FILLING = 0.5  # share of a page from which on a picture is the scan of it
_INK = 12  # levels of grey between text and its background that can be told apart
_WHITE, _NOT_WHITE = 245, 225  # levels: white text, and a background before which it is seen
_LITTLE = 10  # characters: a page with fewer is read by OCR
_UNKNOWN = 0.3  # share of characters that a font does not explain, from which on all are doubted
_GAP = 1.5  # letters: what is further apart stands in different columns or cells
_HYPHEN = re.compile("[\x02\ufffe]")  # what PDFium makes of one at the end of a line
_HIDDEN_FIELD = 1 | 2 | 32  # flags of annotations: invisible, hidden, no view
_LINE = re.compile(r"[^\r\n]+")
_NAMED = 5  # pages that a complaint names


def read_pdf(file: FileData, settings: ReadSettings, pixels: bool) -> Iterator[FileContent]:
    """Yields the content of each page, then any complaint about the whole. Raises
    RefusedError."""
    pages = _Pages(_opened(file.data))
    try:
        yield from _Reading(file, settings, pixels, pages)()
    finally:
        pages.close()


def show_page(file: FileData, place: Place, side: int) -> "Image.Image":
    """Returns a page as an RGB picture whose longest side is `side` pixels. Raises
    RefusedError."""
    pages = _Pages(_opened(file.data))
    try:
        with pages.page(place.page or 1) as page:
            return page.render(side / max(page.width, page.height))
    finally:
        pages.close()


def _opened(data: bytes) -> Any:
    try:
        import pypdfium2
    except ModuleNotFoundError:
        error = MissingExtraError("pypdfium2", "documents")
        raise RefusedError("codec", error.text) from None
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise _refused(error.err_code) from None
    if not len(document):
        raise _empty()
    if document.get_formtype():
        document.init_forms()
    return document


def _refused(code: int | None) -> RefusedError:
    from pypdfium2 import raw

    if code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
        return RefusedError(
            "decode",
            Text(
                "it is locked with a password. Expected a PDF that opens without one. Save a copy "
                "without a password from a PDF viewer.",
                "它有密码保护；应为无需密码即可打开的 PDF；请用阅读器另存一份没有密码的",
            ),
        )
    return RefusedError(
        "decode",
        Text(
            "it is not a complete PDF. Expected one that a viewer opens. Copy, download or export "
            "it again.",
            "它不是完整的 PDF；应为阅读器能打开的文件；请重新复制、下载或导出",
        ),
    )


def _empty() -> RefusedError:
    return RefusedError(
        "text",
        Text(
            "there is nothing on its pages. Expected text or pictures. Leave it, or export it "
            "again.",
            "各页都是空白；应有文字或图片；请重新导出，或不必理会",
        ),
    )


@dataclass(eq=False)
class _Reading:
    """The reading of one document."""

    file: FileData
    settings: ReadSettings
    pixels: bool
    pages: "_Pages"
    hidden: list[int] = field(default_factory=list)
    """Pages with text that nobody can see."""
    broken: list[int] = field(default_factory=list)
    """Pages that could not be opened."""
    unread: list[int] = field(default_factory=list)
    """Pages without text that could not be read by OCR."""
    missing: Text | None = None
    """What OCR lacks."""
    passages: int = 0

    def __call__(self) -> Iterator[FileContent]:
        count = min(len(self.pages), self.settings.limits.max_pages)
        known: dict[int, list[_Run]] = {}
        texts = []
        for at in range(min(count, _SAMPLE)):
            number = 1 + at * count // min(count, _SAMPLE)
            with suppress(RefusedError), self.pages.page(number) as page:
                known[number] = list(page.runs())
                texts.append(page.text(known[number]))
            yield FileContent()
        style = style_of(texts)
        headings: list[tuple[int, str]] = []
        for number in range(1, count + 1):
            try:
                opened = self.pages.page(number)
            except RefusedError:
                self.broken.append(number)
                continue
            with opened as page:
                runs = known.pop(number) if number in known else list(page.runs())
                yield from self._page(page, runs, style, headings)
        if not self.passages:
            raise _refused(None) if self.broken else _empty()
        yield FileContent(complaint=self._complaint(count))

    def _page(
        self,
        page: "_Page",
        runs: "Sequence[_Run]",
        style: Style,
        headings: list[tuple[int, str]],
    ) -> Iterator[FileContent]:
        if page.is_empty:
            yield FileContent()
            return
        image = page.picture(2 * self.settings.transform.size)
        seen = _visible(page, image, runs)
        if len(seen) < sum(1 for run in runs if run.line.text.strip()):
            self.hidden.append(page.number)
        text, fields = page.text(_sound(seen)), page.fields()
        if not (text.lines or fields) and _is_blank(image):
            yield FileContent()
            return
        metadata: Metadata = {}
        if sum(len(line.text) for line in text.lines) < _LITTLE and not fields:
            yield FileContent(patience=ocr.PATIENCE)
            if lines := self._scanned(page):
                text, metadata = replace(text, lines=lines), {ocr.OCR_KEY: ocr.ENGINE}
                style = style if style.body else style_of([text])
        # Half the size first: the same picture to the eye, in a third of the time.
        payload = square(image.reduce(2), self.settings.transform).tobytes() if self.pixels else b""
        place = Place(page=page.number)
        picture = Passage(media_type="page", modality="image", place=place, payload=payload)
        passages = passages_of([*blocks_of(text, style), *fields], headings)
        found = (picture, *(replace(one, metadata=metadata) for one in passages))
        self.passages += len(found)
        yield FileContent(passages=found)

    def _scanned(self, page: "_Page") -> list[Line]:
        try:
            image = page.render(ocr.SIDE / max(page.width, page.height))
            return ocr.read_lines(image, page.width, page.height)
        except MissingExtraError as error:
            self.missing = error.text
            self.unread.append(page.number)
            return []

    def _complaint(self, count: int) -> Text | None:
        told = []
        if len(self.pages) > count:
            told.append(
                Text(
                    f"it has {len(self.pages):,} pages, of which the first {count:,} were read. "
                    f"Divide it, or raise the limit with --max-pages {len(self.pages)}.",
                    f"共 {len(self.pages):,} 页，只读取了前 {count:,} 页；请拆分，"
                    f"或加 --max-pages {len(self.pages)}。",
                )
            )
        if self.broken:
            where = _named(self.broken)
            told.append(
                Text(
                    f"{where.en} could not be opened. Copy, download or export it again.",
                    f"{where.zh}无法打开；请重新复制、下载或导出。",
                )
            )
        if self.hidden:
            where = _named(self.hidden)
            told.append(
                Text(
                    f"text that nobody can see ({where.en}) was left out, as it may be meant to "
                    "mislead programs. If it matters, show it and save the PDF again.",
                    f"{where.zh}有肉眼看不见的文字，可能用来误导程序，未收录；"
                    "如确有需要，请改为可见后重新保存。",
                )
            )
        if self.missing is not None:
            where = _named(self.unread)
            told.append(
                Text(
                    f"{where.en} could be shown but not read: {self.missing.en}",
                    f"{where.zh}只收录了画面，没有读出文字：{self.missing.zh}",
                )
            )
        if self.pages.has_adobe_form():
            told.append(
                Text(
                    "it is a form that only Adobe's programs show in full (XFA); what its pages "
                    "show without them was read. Print it to a PDF with Adobe Reader.",
                    "它是只有 Adobe 软件才能完整显示的表单（XFA），只读取了页面上可见的内容；"
                    "请用 Adobe Reader 打印成 PDF。",
                )
            )
        if not self.file.path.lower().endswith(".pdf"):
            told.append(
                Text(
                    "it is a PDF, whatever its name says, and was read as one. End its name in "
                    ".pdf.",
                    "它是 PDF，与扩展名不符，已按 PDF 读取；请把扩展名改为 .pdf。",
                )
            )
        return Text(" ", "").join(told) if told else None


def _named(pages: Sequence[int]) -> Text:
    first = [str(number) for number in pages[:_NAMED]]
    en, zh = f"p. {', '.join(first)}", f"第 {'、'.join(first)} 页"
    if more := len(pages) - len(first):
        en, zh = f"{en} and {more} more", f"{zh}等 {len(pages)} 页"
    return Text(en, zh)


@dataclass(eq=False)
class _Pages:
    """The pages of an open document."""

    document: Any

    def __len__(self) -> int:
        return len(self.document)

    def page(self, number: int) -> "_Page":
        import pypdfium2

        try:
            return _Page(number, self.document[number - 1], self.document.formenv)
        except pypdfium2.PdfiumError:
            raise _refused(None) from None

    def has_adobe_form(self) -> bool:
        """Whether it is a form in XML (XFA), which PDF 2.0 dropped."""
        from pypdfium2 import raw

        return self.document.get_formtype() in (raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND)

    def close(self) -> None:
        self.document.close()


class _Page:
    """An open page; a context, so that its memory is free before the next one is opened."""

    def __init__(self, number: int, page: Any, form: Any) -> None:
        from pypdfium2 import raw

        self._raw, self._page, self._form = raw, page, form
        self.number = number
        self.width, self.height = (max(side, 1.0) for side in page.get_size())

    def __enter__(self) -> "_Page":
        return self

    def __exit__(self, *_: object) -> None:
        self._page.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be on it."""
        objects = self._raw.FPDFPage_CountObjects(self._page)
        return not objects and not self._raw.FPDFPage_GetAnnotCount(self._page)

    def picture(self, side: int) -> "Image.Image":
        """Returns the page at 72 dots per inch, or larger if its shorter side would have fewer than
        `side` pixels."""
        return self.render(max(1.0, side / min(self.width, self.height)))

    def render(self, scale: float) -> "Image.Image":
        """Returns the page as an RGB picture, at a lower scale if it would be too large."""
        most = (_MOST_RENDERED / (self.width * self.height)) ** 0.5
        image = self._page.render(scale=min(scale, most), rev_byteorder=True).to_pil()
        return image if image.mode == "RGB" else image.convert("RGB")

    def has_scan(self) -> bool:
        """Whether a picture fills the page, so that invisible text may be the text layer of a
        scan."""
        area = 0.0
        for one in self._page.get_objects(filter=[self._raw.FPDF_PAGEOBJ_IMAGE], max_depth=3):
            left, bottom, right, top = one.get_bounds()
            area = max(area, (right - left) * (top - bottom))
        return area >= _FILLING * self.width * self.height

    def text(self, runs: "Iterable[_Run]") -> PageText:
        """Returns the lines that runs stand in."""
        lines: list[list[Line]] = []
        last = -1
        for run in runs:
            if run.row != last:
                lines.append([])
            last = run.row
            lines[-1].append(run.line)
        parts = [part for one in lines for part in merged(one, _GAP)]
        return PageText(number=self.number, width=self.width, height=self.height, lines=parts)

    def runs(self) -> "Iterator[_Run]":
        """Yields the text, cut where its font, colour or line changes."""
        text_page = self._page.get_textpage()
        try:
            yield from _runs(self._raw, self._page.raw, text_page.raw, self.height)
        finally:
            text_page.close()

    def fields(self) -> list[Block]:
        """Returns the fields of a form that can be seen and are filled in."""
        if self._form is None:
            return []
        found = []
        for index in range(self._raw.FPDFPage_GetAnnotCount(self._page)):
            annotation = self._raw.FPDFPage_GetAnnot(self._page, index)
            try:
                block = self._field(annotation)
            finally:
                self._raw.FPDFPage_CloseAnnot(annotation)
            if block is not None:
                found.append(block)
        return found

    def _field(self, annotation: Any) -> Block | None:
        raw = self._raw
        flags, rectangle = raw.FPDFAnnot_GetFlags(annotation), raw.FS_RECTF()
        if raw.FPDFAnnot_GetSubtype(annotation) != raw.FPDF_ANNOT_WIDGET or flags & _HIDDEN_FIELD:
            return None
        value = _string(partial(raw.FPDFAnnot_GetFormFieldValue, self._form, annotation))
        if not value.strip() or value == "Off":
            return None
        raw.FPDFAnnot_GetRect(annotation, rectangle)
        corners = _on_page(raw, self._page.raw, self.height, rectangle)
        page = PageText(number=self.number, width=self.width, height=self.height, lines=())
        box = page.fractions(corners)
        if min(box[2] - box[0], box[3] - box[1]) <= 0:
            return None
        name = _string(partial(raw.FPDFAnnot_GetFormFieldAlternateName, self._form, annotation))
        name = name or _string(partial(raw.FPDFAnnot_GetFormFieldName, self._form, annotation))
        return Block(text=f"{name}: {value}", place=Place(page=self.number, box=box))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Neighbouring characters of one object."""

    line: Line
    row: int
    """Number of the line that it stands in."""
    mode: int
    colour: tuple[int, int, int, int]
    """Red, green, blue, and how opaque it is."""
    embedded: bool
    """Whether the file holds its font; a font that this machine lacks, too, leaves no ink."""
    unknown: int
    """Characters that its font does not explain."""


def _visible(page: _Page, image: "Image.Image", runs: Sequence[_Run]) -> list[_Run]:
    """Returns the runs that a person sees, with the spaces between them."""
    import numpy as np

    grey = np.asarray(image.convert("L"))
    scale = image.width / page.width, image.height / page.height
    scanned: bool | None = None
    found = []
    for run in runs:
        if not run.line.text.strip():
            continue
        seen = run.line.size >= _SMALLEST
        if run.mode in _INVISIBLE or not run.colour[3]:
            scanned = page.has_scan() if scanned is None else scanned
            seen = seen and scanned
        else:
            seen = seen and _has_ink(run, grey, scale)
        if seen:
            found.append(run)
    return found


def _sound(runs: Sequence[_Run]) -> Sequence[_Run]:
    """Returns no run if the fonts explain too few of their characters, so that OCR reads better."""
    unknown = sum(run.unknown for run in runs)
    return () if unknown > _UNKNOWN * sum(len(run.line.text) for run in runs) else runs


def _has_ink(run: _Run, grey: "np.ndarray", scale: tuple[float, float]) -> bool:
    """Whether something can be told from its background where this text stands; lines above and
    below reach into its box, so that white text wants a dark background, too."""
    left, top, right, bottom = run.line.box
    inset = 0.15 * (bottom - top)
    rows = slice(
        max(int((top + inset) * scale[1]), 0), max(int((bottom - inset) * scale[1]) + 1, 0)
    )
    columns = slice(max(int(left * scale[0]), 0), max(int(right * scale[0]) + 1, 0))
    part = grey[rows, columns]
    if not part.size:
        return False
    is_white, differs = min(run.colour[:3]) >= _WHITE, int(part.max()) - int(part.min()) >= _INK
    if differs and not is_white:
        return True
    import numpy as np

    background = float(np.median(part))
    if is_white and background >= _NOT_WHITE:
        return False
    red, green, blue, _ = run.colour
    told_apart = abs(0.299 * red + 0.587 * green + 0.114 * blue - background) >= _INK
    return differs or (told_apart and not run.embedded)


def _is_blank(image: "Image.Image") -> bool:
    levels = image.convert("L").histogram()
    used = [level for level, count in enumerate(levels) if count]
    return used[-1] - used[0] < _INK


def _runs(raw: Any, page: Any, text_page: Any, height: float) -> Iterator[_Run]:
    """Yields the text of a page, an object at a time, with the space that stands before it."""
    text = _characters(raw, text_page)
    objects = objects_of(text, lambda at: _address(raw.FPDFText_GetTextObject(text_page, at)))
    start = row = 0
    space = ""
    while start < len(text):
        if objects[start] is None or text[start] in " \r\n":  # None: PDFium saw a gap
            row += text[start] == "\n"
            space = " "
            start += 1
            continue
        end = start + 1
        while end < len(text) and (
            objects[end] == objects[start]
            or (text[end] == " " and objects[end + 1 : end + 2] == [objects[start]])
        ):
            end += 1
        shown = _HYPHEN.sub("-", text[start:end]).rstrip()
        run = _run(raw, (page, text_page), (start, start + len(shown)), space + shown, height)
        if run is not None:
            yield replace(run, row=row)
        space = " " if text[end - 1].isspace() else ""
        start = end


def objects_of(text: str, object_of: Callable[[int], int | None]) -> list[int | None]:
    """Returns the object of each character. Asking for each takes longest of all, so what stands in
    a line between two characters of one object counts as part of it: PDFium adds an object at a
    time, and changes that order only where text runs from right to left."""
    if RIGHT_TO_LEFT.search(text):
        return [object_of(at) for at in range(len(text))]
    objects: list[int | None] = [None] * len(text)
    asked = cache(object_of)
    spans = [found.span() for found in _LINE.finditer(text)]
    while spans:
        start, end = spans.pop()
        first, last = asked(start), asked(end - 1)
        if first == last and first is not None:
            objects[start:end] = [first] * (end - start)
        elif end - start > 1:
            middle = (start + end) // 2
            spans += (start, middle), (middle, end)
    return objects


def _run(
    raw: Any, where: tuple[Any, Any], span: tuple[int, int], text: str, height: float
) -> _Run | None:
    page, text_page = where
    start, end = span
    one = raw.FPDFText_GetTextObject(text_page, start)
    matrix, first, last = raw.FS_MATRIX(), raw.FS_RECTF(), raw.FS_RECTF()
    raw.FPDFText_GetMatrix(text_page, start, matrix)
    size = raw.FPDFText_GetFontSize(text_page, start) * (matrix.c**2 + matrix.d**2) ** 0.5
    if not raw.FPDFText_GetLooseCharBox(text_page, start, first):
        return None
    raw.FPDFText_GetLooseCharBox(text_page, end - 1, last)
    around = raw.FS_RECTF(
        left=min(first.left, last.left),
        bottom=min(first.bottom, last.bottom),
        right=max(first.right, last.right),
        top=max(first.top, last.top),
    )
    colour = [ctypes.c_uint(level) for level in (0, 0, 0, 255)]
    raw.FPDFPageObj_GetFillColor(one, *colour)
    red, green, blue, alpha = (level.value for level in colour)
    step = max(1, (end - start) // 4)  # a few tell whether a font explains its characters
    errors = [
        raw.FPDFText_HasUnicodeMapError(text_page, at) == 1 or _is_unassigned(text[at - end])
        for at in range(start, end, step)
    ]
    return _Run(
        line=Line(text=text, box=_on_page(raw, page, height, around), size=round(size, 1)),
        row=0,
        mode=raw.FPDFTextObj_GetTextRenderMode(one),
        colour=(red, green, blue, alpha),
        embedded=raw.FPDFFont_GetIsEmbedded(raw.FPDFTextObj_GetFont(one)) == 1,
        unknown=round(sum(errors) / len(errors) * (end - start)),
    )


def _is_unassigned(character: str) -> bool:
    """Whether a character means nothing outside its font."""
    return character == "\ufffd" or "\ue000" <= character <= "\uf8ff" or character < "\t"


def _on_page(raw: Any, page: Any, height: float, rectangle: Any) -> Box:
    """Returns a rectangle of the file in points from the top left of the page as it is shown."""
    units = 100  # of the device, in a point: it has whole numbers only
    width = raw.FPDF_GetPageWidthF(page)
    sides = round(width * units), round(height * units)
    xs, ys = [], []
    for x, y in ((rectangle.left, rectangle.top), (rectangle.right, rectangle.bottom)):
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, *sides, 0, x, y, across, down)
        xs.append(across.value / units)
        ys.append(down.value / units)
    return min(xs), min(ys), max(xs), max(ys)


def _characters(raw: Any, text_page: Any) -> str:
    """Returns the text of a page, one character for each that PDFium counts."""
    count = raw.FPDFText_CountChars(text_page)
    if count <= 0:
        return ""
    buffer = (ctypes.c_ushort * (count + 1))()
    written = raw.FPDFText_GetText(text_page, 0, count, buffer)
    units = buffer[:count]
    if written == count + 1 and not any(0xD800 <= unit < 0xE000 for unit in units):
        return "".join(map(chr, units))
    codes = (raw.FPDFText_GetUnicode(text_page, at) for at in range(count))
    return "".join(chr(code) if 0 < code < 0x110000 else "\ufffd" for code in codes)


def _address(one: Any) -> int | None:
    return ctypes.cast(one, ctypes.c_void_p).value


def _string(get: Any) -> str:
    """Returns a string that PDFium writes as UTF-16."""
    length = get(None, 0)
    if length <= 2:
        return ""
    buffer = (ctypes.c_ushort * (length // 2))()
    get(buffer, length)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")


READER = FileReader(
    media_type=MEDIA_TYPE,
    endings=frozenset((".pdf",)),
    read=read_pdf,
    recognises=lambda data: data.startswith(HEAD),
    show=show_page,
    is_text=False,
)

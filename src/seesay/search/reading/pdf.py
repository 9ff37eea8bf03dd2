"""PDF: each page as a picture, and its text as passages with page and box.

Text that nobody can see is left out, since it may have been put there for machines alone: text
without ink where it should stand, off the page, smaller than a point, or invisible by its mode,
which only the text layer of a scanned page may be. Pages without text are read by OCR.

ISO 32000-2: text rendering modes in 9.3.6.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from seesay.data.squares import square
from seesay.errors import MissingExtraError
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.metadata import Metadata
from seesay.search.reading import ocr
from seesay.search.reading.blocks import Block, passages_of
from seesay.search.reading.files import FileData, RefusedError
from seesay.search.reading.layout import Line, PageText, Style, blocks_of, merged, style_of
from seesay.search.reading.messages import FileContent, FileReader, Passage, ReadSettings
from seesay.search.reading.pdf_runs import Run, on_page, runs_of
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
_HIDDEN_FIELD = 1 | 2 | 32  # flags of annotations: invisible, hidden, no view
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
        known: dict[int, list[Run]] = {}
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
        runs: "Sequence[Run]",
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
        payload = self._square(image).tobytes() if self.pixels else b""
        place = Place(page=page.number)
        picture = Passage(media_type="page", modality="image", place=place, payload=payload)
        passages = passages_of([*blocks_of(text, style), *fields], headings)
        found = (picture, *(replace(one, metadata=metadata) for one in passages))
        self.passages += len(found)
        yield FileContent(passages=found)

    def _square(self, image: "Image.Image") -> "Image.Image":
        """Returns a page as the model sees it. Halving it first looks the same and is faster."""
        if min(image.size) >= 2 * self.settings.transform.size:
            image = image.reduce(2)
        return square(image, self.settings.transform)

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

    def text(self, runs: "Iterable[Run]") -> PageText:
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

    def runs(self) -> "Iterator[Run]":
        """Yields the text, cut where its font, colour or line changes."""
        text_page = self._page.get_textpage()
        try:
            yield from runs_of(self._raw, self._page.raw, text_page.raw, self.height)
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
        corners = on_page(raw, self._page.raw, self.height, rectangle)
        page = PageText(number=self.number, width=self.width, height=self.height, lines=())
        box = page.fractions(corners)
        if min(box[2] - box[0], box[3] - box[1]) <= 0:
            return None
        name = _string(partial(raw.FPDFAnnot_GetFormFieldAlternateName, self._form, annotation))
        name = name or _string(partial(raw.FPDFAnnot_GetFormFieldName, self._form, annotation))
        return Block(text=f"{name}: {value}", place=Place(page=self.number, box=box))


def _visible(page: _Page, image: "Image.Image", runs: Sequence[Run]) -> list[Run]:
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


def _sound(runs: Sequence[Run]) -> Sequence[Run]:
    """Returns no run if the fonts explain too few of their characters, so that OCR reads better."""
    unknown = sum(run.unknown for run in runs)
    return () if unknown > _UNKNOWN * sum(len(run.line.text) for run in runs) else runs


def _has_ink(run: Run, grey: "np.ndarray", scale: tuple[float, float]) -> bool:
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

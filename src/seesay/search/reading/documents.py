"""Word documents and slides (ECMA-376, part 1, sections 17, 19 and 21): text, headings and tables.

Text that Word does not show (deleted, hidden, or white on no background) is left out: it is a
known way to smuggle instructions into a collection. Macros never run, and links are not followed.
"""

import re
from collections.abc import Iterator, Mapping

from seesay.search.catalog.drafts import Place
from seesay.search.reading.blocks import Block, Box
from seesay.search.reading.files import FileData, RefusedError
from seesay.search.reading.grids import Grid, document_content
from seesay.search.reading.messages import FileContent, FileReader
from seesay.search.reading.packages import Element, Package, attribute, local, refused, relation
from seesay.text import Text

_HEADING = re.compile(r"(?:heading|标题|titre|überschrift)\s*(\d)", re.I)
_SLIDES = 2000
_UNSEEN = frozenset(("del", "moveFrom", "instrText", "delText", "Fallback", "rPr", "pPr"))
_SMALLEST = 4  # half points

Part = Block | Grid


def read_document(file: FileData) -> FileContent:
    """Returns the passages of a Word document. Raises RefusedError if it is damaged, encrypted or
    holds no text."""
    package = Package(file.data)
    main = package.main_part()
    related = package.related(main)
    levels = {}
    for kind, name in related.values():
        if kind == "styles" and name in package:
            levels = _levels(package.xml(name))
    parts = [*_word_parts(package.xml(main), levels)]
    for kind, name in related.values():
        if kind in ("footnotes", "endnotes") and name in package:
            parts += _word_parts(package.xml(name), {})
    return document_content(parts)


def _levels(styles: Element) -> dict[str, int]:
    """Returns the level of heading of each style that is one."""
    levels: dict[str, int] = {}
    based: dict[str, str] = {}
    for style in styles:
        number = attribute(style, "styleId") or ""
        values = {local(one): attribute(one, "val") or "" for one in style.iter()}
        name, outline = values.get("name", ""), values.get("outlineLvl", "")
        if found := _HEADING.match(name):
            levels[number] = int(found[1]) + 1  # below the title
        elif name.lower() in ("title", "标题"):
            levels[number] = 1
        elif outline.isdigit() and int(outline) < 9:
            levels[number] = int(outline) + 2
        elif "basedOn" in values:
            based[number] = values["basedOn"]
    return levels | {one: levels[parent] for one, parent in based.items() if parent in levels}


def _word_parts(parent: Element, levels: Mapping[str, int]) -> Iterator[Part]:
    for one in parent:
        name = local(one)
        if name == "p":
            if text := _word_text(one).strip():
                yield Block(text=text, heading=_level(one, levels))
        elif name == "tbl":
            yield Grid.of_rows(_word_rows(one))
        elif name not in _UNSEEN:  # content controls, text boxes, footnotes
            yield from _word_parts(one, levels)


def _level(paragraph: Element, levels: Mapping[str, int]) -> int:
    for one in paragraph.iter():
        value = attribute(one, "val") or ""
        if local(one) == "outlineLvl" and value.isdigit() and int(value) < 9:
            return int(value) + 2
        if local(one) == "pStyle":
            return levels.get(value, 0)
        if local(one) == "r":
            break
    return 0


def _word_rows(table: Element) -> list[list[str]]:
    """Returns the texts of a table. A cell over several rows or columns stands in each of them."""
    rows: list[list[str]] = []
    for row in (one for one in table if local(one) == "tr"):
        cells: list[str] = []
        for cell in (one for one in row if local(one) == "tc"):
            paragraphs = [one for one in cell.iter() if local(one) == "p"]
            text = " ".join(filter(None, (_word_text(one).strip() for one in paragraphs)))
            span, goes_on = 1, False
            for one in next((one for one in cell if local(one) == "tcPr"), ()):
                if local(one) == "gridSpan":
                    span = min(int(attribute(one, "val") or 1), 100)
                elif local(one) == "vMerge":
                    goes_on = attribute(one, "val") != "restart"
            if goes_on and rows and len(cells) < len(rows[-1]):
                text = rows[-1][len(cells)]
            cells += [text] * max(span, 1)
        rows.append(cells)
    return rows


def _word_text(element: Element) -> str:
    """Returns the text of a paragraph that is seen."""
    name = local(element)
    if name in _UNSEEN or (name == "r" and _is_hidden(element)):
        return ""
    if name == "t":
        return element.text or ""
    if name in ("tab", "br", "cr"):
        return " "
    return "".join(map(_word_text, element))


def _is_hidden(run: Element) -> bool:
    properties = next((one for one in run if local(one) == "rPr"), ())
    values = {local(one): (attribute(one, "val") or "").lower() for one in properties}
    if "vanish" in values and values["vanish"] not in ("0", "false"):
        return True
    if values.get("sz", "").isdigit() and int(values["sz"]) <= _SMALLEST:
        return True
    return values.get("color") == "ffffff" and not {"shd", "highlight"} & values.keys()


def read_slides(file: FileData) -> FileContent:
    """Returns the passages of a presentation, with the number of their slide as page. Raises
    RefusedError if it is damaged, encrypted or holds no text."""
    package = Package(file.data)
    main = package.main_part()
    show = package.xml(main)
    related = package.related(main)
    numbers = [relation(one) for one in show.iter() if local(one) == "sldId"]
    slides = [related[one][1] for one in numbers if one in related and related[one][1] in package]
    size = next((one for one in show if local(one) == "sldSz"), None)
    extent = (1, 1) if size is None else (int(size.get("cx", 1)), int(size.get("cy", 1)))
    parts: list[Part] = []
    hidden = []
    for page, name in enumerate(slides[:_SLIDES], start=1):
        slide = package.xml(name)
        if slide.get("show") in ("0", "false"):
            hidden.append(page)
            continue
        parts += _slide_parts(slide, page, extent)
        for kind, notes in package.related(name).values():
            if kind == "notesSlide" and notes in package:
                parts += _slide_parts(package.xml(notes), page, None)
    return document_content(parts, complaints=[_hidden_slides(hidden)] if hidden else [])


def _slide_parts(slide: Element, page: int, extent: tuple[int, int] | None) -> list[Part]:
    """Returns the parts of a slide, its title first; of its notes if `extent` is None."""
    titles: list[Part] = []
    others: list[Part] = []
    grouped = {one for group in slide.iter() if local(group) == "grpSp" for one in group.iter()}
    for shape in slide.iter():
        if local(shape) not in ("sp", "graphicFrame") or _is_left_out(shape):
            continue
        box = extent and _box(shape, extent)
        if box and shape not in grouped and _is_beside(box):
            continue
        place = Place(page=page, box=box)
        for table in (one for one in shape.iter() if local(one) == "tbl"):
            others.append(Grid.of_rows(_slide_rows(table), place=place))
        if local(shape) == "graphicFrame":
            continue
        texts = [text for one in shape.iter() if local(one) == "p" and (text := _slide_text(one))]
        if extent and _role(shape) in ("title", "ctrTitle") and texts:
            titles.append(Block(text=" ".join(texts), heading=1, place=place))
        else:
            others += [Block(text=text, place=place) for text in texts]
    if extent and not titles:  # what follows is not under the title of the slide before it
        first = others.pop(0) if others and isinstance(others[0], Block) else None
        title = first.text if isinstance(first, Block) else str(page)
        titles.append(
            Block(text=title, heading=1, place=first.place if first else Place(page=page))
        )
    return [*titles, *others]


def _role(shape: Element) -> str:
    """Returns what a shape is for in its layout; empty if that says nothing."""
    return next((one.get("type", "") for one in shape.iter() if local(one) == "ph"), "")


def _is_left_out(shape: Element) -> bool:
    """Whether a shape is hidden, or repeats a number, date or footer."""
    if _role(shape) in ("sldNum", "dt", "ftr", "hdr", "sldImg"):
        return True
    return any(local(one) == "cNvPr" and one.get("hidden") == "1" for one in shape.iter())


def _slide_rows(table: Element) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in (one for one in table if local(one) == "tr"):
        cells: list[str] = []
        for cell in (one for one in row if local(one) == "tc"):
            paragraphs = [_slide_text(one) for one in cell.iter() if local(one) == "p"]
            text = " ".join(filter(None, paragraphs))
            if cell.get("hMerge") == "1" and cells:
                text = cells[-1]
            elif cell.get("vMerge") == "1" and rows and len(cells) < len(rows[-1]):
                text = rows[-1][len(cells)]
            cells.append(text)
        rows.append(cells)
    return rows


def _slide_text(paragraph: Element) -> str:
    texts = (
        " " if local(one) == "br" else one.text or ""
        for one in paragraph.iter()
        if local(one) in ("t", "br")
    )
    return " ".join("".join(texts).split())


def _box(shape: Element, extent: tuple[int, int]) -> Box | None:
    """Returns where a shape stands; None if its layout says so."""
    off = next((one for one in shape.iter() if local(one) == "off"), None)
    ext = next((one for one in shape.iter() if local(one) == "ext" and one.get("cx")), None)
    if off is None or ext is None or min(extent) <= 0:
        return None
    left, top = int(off.get("x", 0)) / extent[0], int(off.get("y", 0)) / extent[1]
    right, bottom = (
        left + int(ext.get("cx", 0)) / extent[0],
        top + int(ext.get("cy", 0)) / extent[1],
    )
    return tuple(round(min(max(one, 0.0), 1.0), 4) for one in (left, top, right, bottom))  # type: ignore[return-value]


def _is_beside(box: Box) -> bool:
    """Whether a shape stands beside its slide, where nobody sees it; one of a group may have other
    units."""
    left, top, right, bottom = box
    return (left == right and left in (0.0, 1.0)) or (top == bottom and top in (0.0, 1.0))


def _hidden_slides(pages: list[int]) -> Text:
    told = ", ".join(map(str, pages[:10]))
    return Text(
        f"hidden slides were left out: {told}. Expected visible slides. "
        "Unhide them if they are to be found.",
        f"未读取隐藏的幻灯片：{told}；要能查到，请取消隐藏。",
    )


def _old(file: FileData) -> RefusedError:
    return refused(
        "it is in a format of Office 97-2003, which is not read. Expected .docx, .xlsx or .pptx. "
        "Open it, and save it in the new format",
        "它是 Office 97-2003 的格式，不能读取；应为 .docx、.xlsx 或 .pptx；请打开后另存为新格式",
    )


def _refuse_old(file: FileData) -> FileContent:
    raise _old(file)


READER = FileReader(
    media_type="document",
    endings=frozenset((".docx", ".docm", ".dotx", ".dotm")),
    read=lambda file, settings, needed: read_document(file),
    is_text=False,
)
SLIDES = FileReader(
    media_type="slides",
    endings=frozenset((".pptx", ".pptm", ".ppsx", ".ppsm", ".potx")),
    read=lambda file, settings, needed: read_slides(file),
    is_text=False,
)
OLD = FileReader(
    media_type="old office",
    endings=frozenset((".doc", ".xls", ".ppt", ".pps", ".dot", ".xlt")),
    read=lambda file, settings, needed: _refuse_old(file),
    is_text=False,
)

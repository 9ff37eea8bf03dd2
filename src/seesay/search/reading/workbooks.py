"""Excel workbooks (ECMA-376, part 1, section 18): the values of cells, never their formulas.

Macros, links to other workbooks and pictures are left alone. A value is read as it is shown: 0.15
in a cell formatted as a percentage is 15%, 45000 in one formatted as a date is a day.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from seesay.search.catalog.drafts import Place
from seesay.search.reading.files import FileData
from seesay.search.reading.grids import (
    MOST_CELLS,
    MOST_ROWS,
    Grid,
    RawCell,
    document_content,
)
from seesay.search.reading.messages import FileContent, FileReader
from seesay.search.reading.packages import Element, Package, attribute, local, refused, relation
from seesay.search.reading.values import Number
from seesay.text import Text

_ADDRESS = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_RANGE = re.compile(r"([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})")
_MOST_MERGED = 10_000  # cells that merged ranges may fill
_MOST_SHEETS = 200
_MOST_CELL = 32_767  # characters, the limit of Excel
_PERCENT = frozenset((9, 10))
_DATES = frozenset((*range(14, 23), *range(27, 37), 45, 46, 47, *range(50, 59)))
_QUOTED = re.compile(r'"[^"]*"|\\.|\[(?!\$)[^\]]*\]|_.|\*.')
_MONEY = re.compile(r"\[\$([^\]-]{1,4})[^\]]*\]|([¥￥$€£])")

_Sheets = list[tuple[str, str]]


def read_workbook(file: FileData) -> FileContent:
    """Returns the tables of a workbook, and the texts between them, sheet by sheet. Raises
    RefusedError if it is damaged, encrypted or empty."""
    package = Package(file.data)
    main = package.main_part()
    book = package.xml(main)
    sheets, hidden = _sheets(package, main, book)
    related = [name for kind, name in package.related(main).values()]
    style_parts = [name for name in related if name.endswith("styles.xml") and name in package]
    string_parts = [name for name in related if name.lower().endswith("sharedstrings.xml")]
    is_1904 = any(attribute(one, "date1904") in ("1", "true") for one in book.iter())
    styles = _styles(package.xml(style_parts[0])) if style_parts else []
    strings = _strings(package, string_parts[0]) if string_parts else []
    complaints = [_links()] if package.is_linked() else []
    if hidden:
        complaints.append(_hidden(hidden))
    grids = []
    for name, part in sheets[:_MOST_SHEETS]:
        sheet = _Sheet(package, part, styles, strings, is_1904)
        grids.append(Grid(lines=sheet.read(), title=name, place=Place(sheet=name), is_sheet=True))
        complaints += sheet.complaints(name)
    if len(sheets) > _MOST_SHEETS:
        complaints.append(_too_many(len(sheets)))
    return document_content(grids, complaints=complaints)


def _sheets(package: Package, main: str, book: Element) -> tuple[_Sheets, list[str]]:
    """Returns the name and the part of each sheet that is seen, and the names of hidden ones."""
    related = package.related(main)
    shown, hidden = [], []
    for one in book.iter():
        if local(one) != "sheet":
            continue
        kind, part = related.get(relation(one) or attribute(one, "id") or "", ("", ""))
        if kind != "worksheet" or part not in package:
            continue  # a chart, or a macro of Excel 4
        name = one.get("name", "")
        if one.get("state") in ("hidden", "veryHidden"):
            hidden.append(name)
        else:
            shown.append((name, part))
    if not shown:
        raise refused(
            "it has no visible sheet. Expected one with cells. Unhide one, or leave the file out",
            "没有可见的工作表；应有一个含单元格的工作表；请取消隐藏，或去掉这个文件",
        )
    return shown, hidden


def _strings(package: Package, part: str) -> list[str]:
    """Returns the texts that cells refer to by number, without their phonetic guides."""
    strings: list[str] = []
    for event, element in package.elements(part):
        if event == "end" and local(element) == "si":
            strings.append(_text(element))
            element.clear()
    return strings


def _text(element: Element) -> str:
    """Returns the text of a cell made of runs."""
    if local(element) == "rPh":
        return ""
    own = element.text or "" if local(element) == "t" else ""
    return (own + "".join(map(_text, element)))[:_MOST_CELL]


def _styles(root: Element) -> list[str]:
    """Returns how each style shows a number: "date", "%", a sign of money, or nothing."""
    codes: dict[int, str] = {}
    for one in root.iter():
        if local(one) == "numFmt":
            codes[int(one.get("numFmtId", "0"))] = one.get("formatCode", "")
    formats = next((one for one in root if local(one) == "cellXfs"), ())
    return [_shown_as(int(one.get("numFmtId", "0")), codes) for one in formats]


def _shown_as(number: int, codes: Mapping[int, str]) -> str:
    if number not in codes:
        return "date" if number in _DATES else "%" if number in _PERCENT else ""
    code = codes[number].split(";")[0]
    money = _MONEY.search(code)
    plain = _QUOTED.sub("", re.sub(r"\[\$[^\]]*\]", "", code)).lower()
    if "%" in plain:
        return "%"
    if re.search(r"[ymdhs年月日]", plain) and "general" not in plain and "[h" not in code.lower():
        return "date"
    sign = (money[1] or money[2]) if money else ""
    if not sign and re.search(r'"[^"]*[¥￥元][^"]*"', code):
        sign = "¥"
    return sign.replace("￥", "¥")


class _Sheet:
    """The cells of one sheet."""

    def __init__(
        self,
        package: Package,
        part: str,
        styles: Sequence[str],
        strings: Sequence[str],
        is_1904: bool,
    ) -> None:
        self._package = package
        self._part = part
        self._styles = styles
        self._strings = strings
        self._start = datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30)
        self._uncalculated = 0
        self._is_cut = False

    def read(self) -> dict[int, dict[int, RawCell]]:
        """Returns the cells that hold something, by row and column."""
        lines: dict[int, dict[int, RawCell]] = {}
        count, merged = 0, []
        row = 0
        for event, element in self._package.elements(self._part):
            name = local(element)
            if event == "start":
                if name == "sheetData":
                    data = element
                continue
            if name == "row" and not self._is_cut:
                row = int(element.get("r", row + 1))
                line = self._line(element)
                element.clear()
                data.clear()
                if line:
                    lines[row] = line
                    count += len(line)
                self._is_cut = len(lines) >= MOST_ROWS or count >= MOST_CELLS
            elif name == "row":
                break  # what follows the cells is not needed
            elif name == "mergeCell":
                merged.append(element.get("ref", ""))
        self._fill(lines, merged)
        return lines

    def complaints(self, sheet: str) -> Iterator[Text]:
        """Yields what was left out."""
        if self._is_cut:
            yield Text(
                f"sheet {sheet!r} is too long: only its first {MOST_ROWS:,} rows, or "
                f"{MOST_CELLS:,} cells, can be found. Split it into several sheets to find the "
                "rest.",
                f"工作表 {sheet!r} 太长，只能搜到前 {MOST_ROWS:,} 行或前 {MOST_CELLS:,} 个单元格；"
                "要搜到其余部分，请把它拆成几个工作表。",
            )
        if self._uncalculated:
            yield Text(
                f"{self._uncalculated:,} formulas of sheet {sheet!r} have no stored value, and are "
                "not calculated here. Expected values. Open it in a spreadsheet program, and save "
                "it.",
                f"工作表 {sheet!r} 有 {self._uncalculated:,} 个公式没有存下结果，这里不作计算；"
                "请用电子表格软件打开并保存一次。",
            )

    def _line(self, row: Element) -> dict[int, RawCell]:
        line: dict[int, RawCell] = {}
        column = 0
        for cell in row:
            if local(cell) != "c":
                continue
            found = _ADDRESS.fullmatch(cell.get("r", ""))
            column = _number_of(found[1]) if found else column + 1
            value = self._value(cell)
            if value is not None and value != "":
                line[column] = value
        return line

    def _value(self, cell: Element) -> RawCell | None:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _text(cell).strip()
        children = {local(one): one.text for one in cell}
        value = children.get("v")
        if value is None:
            self._uncalculated += "f" in children
            return None
        if kind == "n":
            return self._number(float(value), int(cell.get("s", "0")))
        if kind == "s":
            at = int(value)
            return self._strings[at].strip() if 0 <= at < len(self._strings) else None
        if kind == "b":
            return "TRUE" if value.strip() == "1" else "FALSE"
        if kind == "d":
            return datetime.fromisoformat(value).replace(tzinfo=None)
        return value.strip()[:_MOST_CELL] if kind == "str" else None  # "e": an error

    def _number(self, value: float, style: int) -> RawCell:
        shown_as = self._styles[style] if 0 <= style < len(self._styles) else ""
        if shown_as == "%":
            return Number(round(value * 100, 10), "%")
        if shown_as == "date" and 0 < value < 2_958_466:  # up to the year 9999
            if value < 1:  # a time of day
                return str(timedelta(seconds=round(value * 86_400)))
            return self._start + timedelta(seconds=round(value * 86_400))
        return Number(value, "" if shown_as == "date" else shown_as)

    def _fill(self, lines: dict[int, dict[int, RawCell]], merged: Sequence[str]) -> None:
        """Repeats the value of a merged range in each of its cells: it holds for all of them."""
        room = _MOST_MERGED
        for one in merged:
            found = _RANGE.fullmatch(one)
            if not found:
                continue
            left, right = _number_of(found[1]), _number_of(found[3])
            top, bottom = int(found[2]), int(found[4])
            value = lines.get(top, {}).get(left)
            room -= max(bottom - top + 1, 0) * max(right - left + 1, 0)
            if value is None or room < 0:
                continue
            for row in range(top, bottom + 1):
                if row in lines:
                    lines[row].update(dict.fromkeys(range(left, right + 1), value))


def _number_of(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number


def _links() -> Text:
    return Text(
        "it refers to other workbooks, which were not opened. Expected values in the file itself. "
        "Check them, or copy the values into it.",
        "它引用了其他工作簿，那些文件没有打开；数值应在本文件之内；请核对，或把数值复制进来。",
    )


def _hidden(names: Sequence[str]) -> Text:
    told = ", ".join(repr(name) for name in names[:5])
    return Text(
        f"hidden sheets were left out: {told}. Expected visible sheets. "
        "Unhide them if they are to be found.",
        f"未读取隐藏的工作表：{told}；要能查到，请取消隐藏。",
    )


def _too_many(count: int) -> Text:
    return Text(
        f"it has {count:,} sheets, and only the first {_MOST_SHEETS} can be found. Split it into "
        "several workbooks to find the rest.",
        f"共 {count:,} 个工作表，只能搜到前 {_MOST_SHEETS} 个；要搜到其余的，请拆成几个工作簿。",
    )


READER = FileReader(
    media_type="workbook",
    endings=frozenset((".xlsx", ".xlsm", ".xltx", ".xltm")),
    read=lambda file, settings, needed: read_workbook(file),
    is_text=False,
)

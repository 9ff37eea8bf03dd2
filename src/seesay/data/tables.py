"""CSV, TSV and JSON Lines: the one reader of tables, for `index` and for training.

Tables come from all kinds of programs and from people. So an unusable entry costs only its line, or
its column, and is counted; no content makes reading a table fail.
"""

import io
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from seesay.data.encodings import clean_text, find_encoding, on_error

JSON_LINES = ".jsonl"
DELIMITED = (".csv", ".tsv", ".tab")
EXPORTED = ("unit", "kind", "source", "text", "locator")  # the first columns of `seesay export`
MOST_COLUMNS = 1000
MOST_CELL = 1 << 20  # characters
MOST_NAME = 256  # characters of the name of a column

MOST_LINE = 1 << 24
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_BLANK, _OPENING = re.compile(" *"), re.compile(' *"')
_TO_QUOTE = re.compile('[",\r\n]')
_QUOTED = re.compile('((?:[^"]++|"")*+)("?)')  # the rest of a quoted cell on a line, and its end

Row = dict[str, Any]


@dataclass(eq=False)
class Table:
    """Rows by the names of their columns. The counts of what was left out are complete after the
    last row.

    `wanted` are columns that are kept however many there are; `inner` names an object in each line
    of JSON whose entries also count as columns.
    """

    source: Path | bytes
    name: str
    wanted: Collection[str] = ()
    inner: str | None = None
    longest: int = MOST_CELL
    """Characters of a cell at most; tables with pictures inside need more."""
    stripped: bool = True
    """Whether blanks around a cell of a CSV or TSV are removed."""
    unusable: list[tuple[int, str]] = field(default_factory=list)
    """Number of each line that was left out, and the reason."""
    undecodable: list[int] = field(default_factory=list)
    """Lines with bytes that are invalid in the encoding; they became U+FFFD."""
    left_out: set[str] = field(default_factory=set)
    """Columns beyond the limit, and those whose name is too long."""

    def __post_init__(self) -> None:
        """Raises DataError if the file is not text, OSError if it cannot be read."""
        with self._bytes() as stream:
            self._encoding = find_encoding(stream)
        self.is_json = self.name.lower().endswith(JSON_LINES)
        self.head: tuple[str, ...] = ()
        """The names of a CSV or TSV, in order; those of JSON Lines come with the rows."""
        if not self.is_json:
            self._delimiter = self._find_delimiter()
            cells = next(self._records(), (0, []))[1]
            self.head = tuple(restored(_clean(cell)) for cell in cells)
            self._forget()

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        """Yields the number of each line with its values: text, and in JSON numbers and more. Text
        is clean; in a CSV, `restored` removes the apostrophe that `write_csv` may have added."""
        self._forget()
        return self._objects() if self.is_json else self._cells()

    def _forget(self) -> None:
        """Resets the counts: each reading counts again what it leaves out."""
        self.unusable.clear()
        self.undecodable.clear()
        self.left_out.clear()

    def _cells(self) -> Iterator[tuple[int, Row]]:
        admitted = self._admit([*dict.fromkeys(filter(None, self.head))], 0)
        at = {name: self.head.index(name) for name in admitted}
        count = len(self.head)
        clean = _clean if self.stripped else clean_text
        records = self._records()
        next(records, None)
        for number, cells in records:
            if not any(map(str.strip, cells)):
                continue
            if any(map(str.strip, cells[count:])) or len(cells) < count:
                self.unusable.append((number, f"it has {len(cells)} cells instead of {count}"))
            elif max(map(len, cells)) > self.longest:
                self.unusable.append((number, f"a cell is longer than {self.longest:,} characters"))
            else:
                yield number, {name: clean(cells[i]) for name, i in at.items()}

    def _objects(self) -> Iterator[tuple[int, Row]]:
        known: set[str] = set()
        for number, line in self._lines():
            if not line.strip():
                continue
            try:
                cells = self._opened(_cleaned(json.loads(line)))
            except _UnusableError as error:
                self.unusable.append((number, str(error)))
            except (ValueError, RecursionError) as error:
                reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
                self.unusable.append((number, f"it is not JSON ({reason})"))
            else:
                if new := [name for name in cells if name not in known]:
                    known.update(self._admit(new, len(known.difference(self.wanted))))
                yield number, {name: cells[name] for name in cells if name in known}

    def _opened(self, value: object) -> Row:
        """Returns an object merged with the entries of its inner one; its own entries win."""
        if not isinstance(value, dict):
            raise _UnusableError(f"it is {type(value).__name__}, no object {{...}}")
        inner = value.get(self.inner) if self.inner else None
        return {**inner, **value} if isinstance(inner, dict) else value

    def _admit(self, names: Sequence[str], known: int) -> list[str]:
        """Those of the names that count as columns beside as many that do already."""
        others = (name for name in names if name not in self.wanted and len(name) <= MOST_NAME)
        first = {*islice(others, max(MOST_COLUMNS - known, 0))}
        admitted = [name for name in names if name in self.wanted or name in first]
        if len(admitted) < len(names):
            self.left_out |= {name[:MOST_NAME] for name in names}.difference(admitted)
        return admitted

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Splits lines into cells; a quoted cell may span several lines. A quote that is never
        closed, or in the middle of a cell, is part of the text, and the line ends as usual.
        """
        lines = self._lines()
        ahead: deque[tuple[int, str]] = deque()
        while line := ahead.popleft() if ahead else next(lines, None):
            number, text = line
            cells = self._quoted(text, ahead, lines) if '"' in text else None
            yield number, text.split(self._delimiter) if cells is None else cells

    def _quoted(
        self, text: str, ahead: deque[tuple[int, str]], lines: Iterator[tuple[int, str]]
    ) -> list[str] | None:
        """Returns the cells of a line and of the following lines that belong to it, which it
        consumes; None if the quotes do not match."""
        record = _Record(self._delimiter)
        taken, whole = 0, record.add(text)
        while whole is False and record.length <= self.longest:
            if taken == len(ahead):
                ahead.extend(islice(lines, 1))
            if taken == len(ahead):
                return None
            whole = record.add(ahead[taken][1])
            taken += 1
        if not whole:
            return None
        for _ in range(taken):
            ahead.popleft()
        return record.cells

    def _find_delimiter(self) -> str:
        """Detects the delimiter: Excel writes semicolons in half of Europe."""
        if not self.name.lower().endswith(".csv"):
            return "\t"
        head = next((line for _, line in self._lines() if line.strip()), "")
        return max(",;\t", key=head.count)

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yields every line with its number, without its line break."""
        errors = on_error(self._encoding)
        number = 0
        with io.TextIOWrapper(self._bytes(), self._encoding, errors) as stream:
            while line := stream.readline(MOST_LINE):
                number += 1
                if len(line) == MOST_LINE and line[-1] != "\n":
                    self.unusable.append((number, f"it is over {MOST_LINE:,} characters long"))
                    while line and line[-1] != "\n":
                        line = stream.readline(MOST_LINE)
                    continue
                if not line.isascii() and re.search("[\udc80-\udcff]", line):
                    self.undecodable.append(number)
                yield number, line.rstrip("\n")

    def _bytes(self) -> io.BytesIO | io.BufferedReader:
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        return self.source.open("rb")


class _Record:
    """The cells of a line, or of several lines if a quoted cell continues."""

    def __init__(self, delimiter: str) -> None:
        self.cells: list[str] = []
        self.length = 0
        self._delimiter = delimiter
        self._open: list[str] | None = None
        """The content so far of the cell that continues."""

    def add(self, line: str) -> bool | None:
        """Whether the last cell is complete; None if something follows the end of a quoted cell."""
        self.length += len(line)
        at = 0
        while at <= len(line):
            if self._open is None and (quote := _OPENING.match(line, at)):
                self._open, at = [], quote.end()
            if self._open is None:
                end = line.find(self._delimiter, at) % (len(line) + 1)  # -1 is the end of the line
                self.cells.append(line[at:end])
            else:
                found = _QUOTED.match(line, at)
                self._open.append(found[1].replace('""', '"'))  # type: ignore[index]
                if not found[2]:  # type: ignore[index]
                    self._open.append("\n")
                    return False
                self.cells.append("".join(self._open))
                self._open = None
                end = _BLANK.match(line, found.end()).end()  # type: ignore[union-attr]
                if line[end : end + 1] not in ("", self._delimiter):
                    return None
            at = end + 1
        return True


def write_csv(stream: io.TextIOBase, rows: Iterable[Iterable[object]]) -> None:
    """Write rows for spreadsheets. A text that looks like a formula gets an apostrophe in front,
    which marks text in spreadsheets and which `restored` removes; numbers stay."""
    stream.writelines(",".join(map(_written, row)) + "\n" for row in rows)


def restored(cell: str) -> str:
    """Returns a text as it was before `write_csv`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def _written(cell: object) -> str:
    text = "" if cell is None else str(cell)
    if isinstance(cell, str) and _FORMULA.match(cell):
        text = f"'{text}"
    # The csv module of Python leaves a carriage return unquoted where lines end in "\n" alone.
    return '"' + text.replace('"', '""') + '"' if _TO_QUOTE.search(text) else text


class _UnusableError(ValueError):
    """Why a line cannot be used."""


def _clean(text: str) -> str:
    return clean_text(text).strip()


def _cleaned(value: Any) -> Any:
    """The same with every text in it clean."""
    if isinstance(value, str):
        if len(value) > MOST_CELL:
            raise _UnusableError(f"a text is longer than {MOST_CELL:,} characters")
        return _clean(value)
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if isinstance(value, Mapping):
        return {_clean(name): _cleaned(one) for name, one in value.items()}
    return value

"""Markdown: headings, paragraphs, lists, tables and code, without the markup.

Earlier versions of this package read Markdown as plain text; a file that they indexed stays so
until it changes.
"""

import re
from collections.abc import Iterator
from itertools import takewhile

from seesay.data.encodings import decode_text
from seesay.search.reading.blocks import Block
from seesay.search.reading.files import FileData
from seesay.search.reading.grids import Grid, document_content
from seesay.search.reading.messages import FileContent, FileReader

_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LIST = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?")
_RULE = re.compile(r" {0,3}([-*_])\s*(?:\1\s*){2,}")
_DELIMITER = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_CELL = re.compile(r"(?<!\\)\|")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()\s]*(?:\s+\"[^\"]*\")?\)|\[[^\[\]]*\])")
_REFERENCE = re.compile(r" {0,3}\[[^\]]+\]:\s*\S+.*")
_MARKS = re.compile(
    r"(\*\*|__|~~|`+)(?=\S)(.+?)(?<=\S)\1|(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?!\w)"
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>~])")
_WIDE = re.compile(
    r"(?<=[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef])\n(?=[\u2e80-\u9fff\uff00-\uffef])"
)

Part = Block | Grid


def read_markdown(file: FileData) -> FileContent:
    """Returns the passages of a Markdown file. Raises RefusedError if it holds no text."""
    return document_content(markdown_parts(decode_text(file.data)))


def markdown_parts(text: str) -> list[Part]:
    """Returns headings, paragraphs, list items, tables and blocks of code, in order."""
    reader = _Reader()
    lines = iter(_without_front_matter(_COMMENT.sub("", text).split("\n")))
    for line in lines:
        after = reader.take(line, lines)
        while after is not None:
            after = reader.take(after, lines)
    reader.end_paragraph()
    return reader.parts


class _Reader:
    """Takes lines, and keeps those of the paragraph that has not ended."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._waiting: list[str] = []
        self._is_title = False
        """Whether a line below makes what waits a heading, which it cannot be in a list."""

    def take(self, line: str, rest: Iterator[str]) -> str | None:
        """Takes a line with those of the rest that belong to it; returns the one after them, if it
        was read."""
        if fence := _FENCE.match(line):
            self.end_paragraph()
            code = takewhile(lambda one: not one.strip().startswith(fence[1]), rest)
            self.parts.append(Block(text="\n".join(code)))
        elif len(self._waiting) == 1 and "|" in line and _is_table(self._waiting[0], line):
            return self._table(rest)
        elif heading := _HEADING.fullmatch(line):
            self.end_paragraph(heading=0)
            self._waiting = [heading[2] or ""]
            self.end_paragraph(heading=len(heading[1]))
        elif self._waiting and self._is_title and _UNDERLINE.fullmatch(line):
            self.end_paragraph(heading=1 if "=" in line else 2)
        elif not line.strip() or _RULE.fullmatch(line) or _REFERENCE.fullmatch(line):
            self.end_paragraph()
        else:
            self._add(line)
        return None

    def end_paragraph(self, heading: int = 0) -> None:
        """Ends the paragraph, or the title, that was taken last."""
        if text := _plain("\n".join(self._waiting)):
            self.parts.append(Block(text=text, heading=heading))
        self._waiting = []

    def _table(self, rest: Iterator[str]) -> str | None:
        rows, line = [_cells(self._waiting.pop())], None
        for line in rest:
            if "|" not in line:
                break
            rows.append(_cells(line))
            line = None
        self.parts.append(Grid.of_rows(rows))
        return line

    def _add(self, line: str) -> None:
        if line.lstrip().startswith(">"):
            line = line.lstrip().removeprefix(">").lstrip()
        if entry := _LIST.match(line):
            self.end_paragraph()
            line = line[entry.end() :]
        if not self._waiting:
            self._is_title = entry is None
        self._waiting.append(line)


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines[0].rstrip() == "---" and "---" in (rest := [one.rstrip() for one in lines[1:100]]):
        return lines[rest.index("---") + 2 :]
    return lines


def _is_table(head: str, delimiter: str) -> bool:
    return _DELIMITER.fullmatch(delimiter) is not None and len(_cells(head)) == len(
        _cells(delimiter)
    )


def _cells(line: str) -> list[str]:
    return [_plain(cell) for cell in _CELL.split(line.strip().removeprefix("|").removesuffix("|"))]


def _plain(text: str) -> str:
    """Returns a text without its marks; lines of Chinese are joined without a space."""
    text = _TAG.sub(" ", _LINK.sub(r"\1", text))
    for _ in range(3):  # marks inside of marks
        text = _MARKS.sub(lambda found: found[2] or found[3], text)
    return _WIDE.sub("", _ESCAPED.sub(r"\1", text)).strip()


READER = FileReader(
    media_type="markdown",
    endings=frozenset((".md", ".markdown", ".mdown")),
    read=lambda file, settings, needed: read_markdown(file),
)

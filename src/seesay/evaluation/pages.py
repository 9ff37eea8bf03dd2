"""Tables and pages of reports: one table drawn for a terminal, a page of HTML or Markdown."""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from seesay.text import to_unicode

STYLE = """
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "Noto Sans SC", sans-serif; margin: 2em auto;
       max-width: 1120px; padding: 0 1em; color: #222; background: #fff }
svg text { font: 12px system-ui, sans-serif; fill: #444 } svg .title { font-weight: 600 }
svg .grid { stroke: #e4e4e4 } .charts { display: grid; gap: 1.2em;
  grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } caption { text-align: left }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left } .legend span { margin-right: 1.2em }
.scroll { overflow-x: auto } .note { color: #555 }
"""


class Table(NamedTuple):
    """What a report says in rows and columns, in the language of its reader."""

    title: str
    head: Sequence[str]
    """Empty names where no head is to be shown."""
    rows: Sequence[Sequence[str]]
    colours: Sequence[Sequence[str]] = ()
    """In HTML, the background of each cell but the first of its row; none where left out."""


def html_page(title: str, body: str, language: str = "en", note: str = "") -> str:
    """A page that needs nothing but itself; `body` is HTML, the rest is text."""
    tag = "zh-CN" if language == "zh" else "en"
    remark = f'<p class="note">{escape(note)}</p>' if note else ""
    return to_unicode(
        f'<!doctype html>\n<html lang="{tag}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>{remark}\n{body}\n</body>\n</html>\n"
    )


def html_table(table: Table) -> str:
    """The table with its title, in HTML."""
    names = "".join(f"<th>{escape(name)}</th>" for name in table.head) if any(table.head) else ""
    head = f"<thead><tr>{names}</tr></thead>" if names else ""
    body = "".join(
        f"<tr>{''.join(_cells(row, table.colours[at] if table.colours else ()))}</tr>"
        for at, row in enumerate(table.rows)
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return f'<div class="scroll"><table>{caption}{head}<tbody>{body}</tbody></table></div>'


def _cells(row: Sequence[str], colours: Sequence[str]) -> list[str]:
    styles = ["", *(f' style="background:{colour}"' for colour in colours)]
    styles += [""] * (len(row) - len(styles))
    return [f"<td{style}>{escape(cell)}</td>" for style, cell in zip(styles, row, strict=True)]


def markdown_table(table: Table) -> str:
    """The table without its title, in Markdown."""
    ruler = ["---", *["---:"] * (len(table.head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (table.head, ruler, *table.rows))


def format_value(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
    return str(value)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"

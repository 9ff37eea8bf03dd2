"""Output of every command: results on stdout, everything else on stderr.

Each text is written in both languages where it is used: say(en, zh). SEESAY_LANG (en or zh), or
else the locale, decides which one is printed.
"""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Timer
from typing import TYPE_CHECKING, Any

import typer

from seesay.text import Language, Text, printable, to_unicode

if TYPE_CHECKING:  # rich takes a tenth of a second, which --version and errors need not spend
    from rich.console import Console, RenderableType

    from seesay.inference.answer import Answer, AnswerStream

NAME = 24  # characters of a first column that other columns give way to
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# A run of other characters is one word; East Asian ones stand alone, with closing marks after them.
_WORDS = re.compile(
    "[\u2e80-\uffef][，。；：！？、）”…]*|[^\\s\u2e80-\uffef]+[，。；：！？、）”…]*|\\s+"
)
PATIENCE_S = 1.0  # work that takes longer shows how far it is


def language() -> Language:
    """Returns "zh" if the environment asks for Chinese, else "en"."""
    names = ("SEESAY_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = next((value for name in names if (value := os.environ.get(name))), "en")
    return "zh" if wanted.lower().startswith("zh") else "en"


def say(en: str, zh: str) -> str:
    """Returns the text in the user's language."""
    return zh if language() == "zh" else en


def localized(text: Text) -> str:
    """Returns a library text in the user's language."""
    return text.in_language(language())


def console(*, stderr: bool = False) -> "Console":
    """A rich console on stdout or stderr. Into a file or pipe no line is cut."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    fits = file.isatty() or "COLUMNS" in os.environ
    return Console(file=file, width=None if fits else 1000, highlight=False, soft_wrap=False)


def print_json(value: Any, *, compact: bool = False) -> None:
    """One JSON document on stdout. `compact` puts long rows of numbers on one line."""
    text = json.dumps(value, ensure_ascii=False, indent=None if compact else 2, allow_nan=False)
    print(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A plain table; columns whose cells are all numbers or percentages stand to the right. Empty
    names of columns are not shown."""
    from rich.text import Text

    if title:  # as the table's own it would be folded to the width of a narrow table
        print_rich(Text(printable(title), style="bold"))
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    print_rich(table([printable(name) for name in columns], cells))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, show_header=any(columns), pad_edge=False)
    for index, name in enumerate(columns):
        right = bool(rows) and all(_is_number(row[index]) for row in rows)
        whole = index == 0 and max((len(row[0]) for row in rows), default=0) <= NAME
        drawn.add_column(
            Text(name), justify="right" if right else "left", overflow="fold", no_wrap=whole
        )
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def print_rich(*renderables: "RenderableType") -> None:
    """Anything rich can draw, on stdout."""
    screen = console()
    for renderable in renderables:
        screen.print(renderable)


def print_indented(text: str) -> None:
    """A paragraph below a line of a list, folded as `print_folded` does."""
    print_folded(text, indent=6)


def print_folded(text: str, *, indent: int = 0) -> None:
    """A paragraph, folded at words and between Chinese characters."""
    for line in wrap(printable(text), console().width - indent):
        print(" " * indent + line)


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most so many columns; breaks at spaces, and between East Asian characters."""
    lines, line = [], ""
    for word in _WORDS.findall(text):
        if columns(line) + columns(word.rstrip()) > width and line:
            lines.append(line.rstrip())
            line = ""
        line += word if line or not word.isspace() else ""
    return [*lines, line.rstrip()] if line.strip() else lines


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cell_width(text: str) -> int:
    """Columns of a terminal; Chinese characters take two."""
    from rich.cells import cell_len

    return cell_len(text)


def warn(text: str) -> None:
    """One line on stderr."""
    print(f"seesay: {one_line(text)}", file=sys.stderr)


def print_pieces(stream: "AnswerStream") -> "Answer":
    """Print an answer as it comes, and return it whole; control characters, which could steer a
    terminal, are left out. Whatever ends it, the line ends."""
    begun = False
    try:
        while True:
            piece = next(stream)
            print(_CONTROL.sub("", to_unicode(piece)), end="", flush=True)
            begun = True
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    finally:
        stream.close()
        if begun or sys.exc_info()[0] is None:
            print(flush=True)


def warn_of_limits(answer: "Answer", max_tokens: int) -> None:
    """Say so where an answer has not come to its end, or is not sure."""
    if answer.doubt is not None:
        warn(localized(answer.doubt))
    if answer.finish_reason == "length":
        warn(
            say(
                f"the answer was cut off after {answer.answer_tokens or max_tokens} tokens; for "
                "more raise --max-tokens",
                f"回答在 {answer.answer_tokens or max_tokens} 个词元后截断；如需更长，请调大 "
                "--max-tokens",
            )
        )


def fail_unless_whole(failures: Sequence[tuple[str, str]], total: int, *, listed: bool) -> None:
    """Exit with code 1 if some inputs failed, naming each unless the output lists them already."""
    if not failures:
        return
    if not listed:
        for source, reason in failures:
            warn(reason if source in reason else say(f"{source}: {reason}", f"{source}：{reason}"))
        if len(failures) < total:
            warn(
                say(
                    f"{len(failures)} of {total} inputs failed; the others are done",
                    f"{total} 个输入中有 {len(failures)} 个失败，其余已完成",
                )
            )
        elif total > 1:  # of a single one its own line says it
            warn(say(f"all {total} inputs failed", f"{total} 个输入全部失败"))
    raise typer.Exit(1)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def one_line(text: str) -> str:
    """Lines become clauses; one that ends with a mark of its own needs no other."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    joined = "".join(line + (" " if line[-1] in ".:;,?!。：；，？！" else "; ") for line in lines)
    return printable(joined.rstrip("; ") if joined else "")


def working(what: str) -> AbstractContextManager[Any]:
    """Show on a terminal what is being done, for work of unknown length."""
    return console(stderr=True).status(f"{what} …") if sys.stderr.isatty() else nullcontext()


@contextmanager
def progress(what: str) -> Iterator[Callable[..., None]]:
    """Yields report(done, total, failed, part=""), where a part has counts of its own. A bar with
    rate and time left appears on stderr, if that is a terminal, once the work has taken longer than
    a second, and goes when it ends."""
    if not sys.stderr.isatty():
        yield lambda done, total, failed, part="": None
        return
    from rich import progress as rich_progress

    bar = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=None),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(compact=True),
        rich_progress.TextColumn("[red]{task.fields[failures]}"),
        console=console(stderr=True),
        transient=True,
        expand=True,
    )
    task = bar.add_task(what, total=None, rate="", failures="")

    of = ""

    def report(done: int, total: int, failed: int, part: str = "") -> None:
        nonlocal of
        if part != of:
            of = part
            bar.reset(task, description=f"{what}: {part}", total=total or None)
        speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
        rate = f"{speed:.1f}/s" if speed else ""
        lost = say(f"{failed} failed", f"{failed} 个失败") if failed else ""
        bar.update(task, completed=done, total=total or None, rate=rate, failures=lost)

    starter = Timer(PATIENCE_S, bar.start)
    starter.start()
    try:
        yield report
    finally:
        starter.cancel()
        starter.join()  # else it could start the bar after this stops it
        bar.stop()


def _is_number(cell: str) -> bool:
    return cell.rstrip("%").lstrip("-").replace(".", "", 1).isdigit() or cell in ("", "–", "·")

"""Reports of a sweep: a CSV with every value, a self-contained page of tables, curves and answers
side by side, and a table for the documentation, so that nobody copies figures by hand."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import floor, isfinite, log10
from pathlib import Path
from typing import Any, NamedTuple

from seesay.data.files import write_text
from seesay.data.tables import write_csv
from seesay.errors import DataError
from seesay.evaluation.answers import Answers
from seesay.evaluation.report import Table, format_value, html_page, html_table, markdown_table
from seesay.evaluation.worst_answers import STYLE, figure, thumbnails
from seesay.training.sweep import (
    Cell,
    Runner,
    SweepConfig,
    cells_of,
    claim_sweep_folder,
    read_sweep,
    run_sweep,
)

# Logged at each step under these names, besides the measures.
COSTS = ("seconds", "memory_mib", "trained_parameters")
KNOWN = ("step", "loss", "scale", "bias", *COSTS)
EXAMPLES = "examples"
"""Logged at a measurement of answers: some of them."""
BEFORE = "before 训练前"
NOTHING = "No measurement yet 还没有结果"
Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 30, 40
NAMES, ROW = 160, 26
"""Of a dot chart: the width of the names, and the height of a row."""
# Colour-blind safe (Okabe and Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
DASHES = ("", "6 3", "2 3")
OF_STEPS = {*KNOWN, "gradient_norm", "lr", "damaged", "samples_per_s"}


@dataclass(frozen=True)
class Summary:
    """What a report says of several runs each."""

    rows: Sequence[Mapping[str, Any]] = ()
    """Of a table; none while there is nothing to compare."""
    charts: Mapping[str, str] = field(default_factory=dict)
    """SVG images by name."""


Summarise = Callable[[Sequence[Cell]], Summary]


@dataclass(frozen=True)
class SweepReport:
    """What the reports of a sweep show."""

    folder: Path
    """Holds report.html, report.csv and report.md."""
    rows: Sequence[Mapping[str, Any]]
    """The last measurement of each run."""
    summary: Summary


def run_and_report(
    file: Path,
    train: Runner | None,
    on_cell: Callable[[Cell, int, int], None],
    summarise: Summarise | None = None,
) -> SweepReport:
    """Runs what is unfinished of a sweep with `train`, or nothing with None, and writes its
    reports, in which what `summarise` finds stands first; its charts are also files. Calls
    `on_cell` before each run, with its number from 1 and the number of runs. Raises as `read_sweep`
    and `run_sweep` do."""
    config = read_sweep(file)
    cells = cells_of(config, file)
    folder = claim_sweep_folder(config, cells)

    def begin(cell: Cell, number: int) -> None:
        write_text(folder / "report.html", sweep_page(config, cells))
        on_cell(cell, number, len(cells))

    if train is not None:
        run_sweep(cells, file.parent / config.recipe, train, begin)
    summary = Summary() if summarise is None else summarise(cells)
    write_text(folder / "report.html", sweep_page(config, cells, summary))
    write_text(folder / "report.csv", sweep_csv(cells))
    first = f"{markdown_table(_comparison(summary))}\n" if summary.rows else ""
    tables = first + sweep_markdown(config, cells) + answers_markdown(cells)
    write_text(folder / "report.md", tables)
    for name, chart in summary.charts.items():
        write_text(folder / f"{name}.svg", chart)
    return SweepReport(folder, last_rows(config, cells), summary)


def _comparison(summary: Summary) -> Table:
    values = [[format_value(value) for value in row.values()] for row in summary.rows]
    return Table("Comparison 对比", list(summary.rows[0]), values)


def measurements(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Returns a row for every measurement of every run: the values, with the state at that step."""
    rows = []
    for cell in cells:
        at_step: dict[str, Any] = {}
        for line in cell.log:
            if "loss" in line:
                at_step = line
                continue
            state = (
                {k: at_step.get(k) for k in KNOWN} if at_step.get("step") == line["step"] else {}
            )
            rows.append(
                {"run": cell.name, **cell.choices, **state, **line, "epoch": _epoch(cell, line)}
            )
            rows[-1].pop(EXAMPLES, None)
    return rows


def _epoch(cell: Cell, line: Mapping[str, Any]) -> float:
    """How far the run has come, in epochs."""
    last = max(1, *(row["step"] for row in cell.log))  # one killed early has measured step 0 alone
    return round(cell.recipe.run.epochs * line["step"] / last, 4)


def sweep_csv(cells: Sequence[Cell]) -> str:
    """Every measurement as CSV, a column for each value."""
    rows = measurements(cells)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    write_csv(text, [columns, *([row.get(name) for name in columns] for row in rows)])
    return text.getvalue()


def measures_of(config: SweepConfig, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The measures to show, in order."""
    found = dict.fromkeys(name for row in rows for name in row)
    others = {"run", "epoch", *config.axes, *OF_STEPS}
    return list(config.curves) or [name for name in found if name not in others]


def last_rows(config: SweepConfig, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Returns the last measurement of each run."""
    adapted = any(COSTS[-1] in line for cell in cells for line in cell.log)
    return _rows_of_runs(config, cells, -1, COSTS if adapted else COSTS[:-1])


def first_rows(config: SweepConfig, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Returns the measurement before the first step of each run."""
    rows = _rows_of_runs(config, cells, 0, ("step",))
    return [{k: v for k, v in row.items() if k != "step"} for row in rows if row["step"] == 0]


def _rows_of_runs(
    config: SweepConfig, cells: Sequence[Cell], which: int, also: Sequence[str]
) -> list[dict[str, Any]]:
    rows = measurements(cells)
    found = []
    for cell in cells:
        own = [row for row in rows if row["run"] == cell.name]
        if own:
            wanted = ("run", *measures_of(config, rows), *also)
            found.append({name: own[which].get(name) for name in wanted})
    return found


def sweep_markdown(config: SweepConfig, cells: Sequence[Cell]) -> str:
    """Returns the last measurement of each run as a Markdown table with a line for each measure; a
    trained model that all runs began with stands before them."""
    ends = last_rows(config, cells)
    if not ends:
        return f"{NOTHING}\n"
    begun = first_rows(config, cells)
    if begun and len({cell.recipe.model.start for cell in cells} - {None}) == 1:
        ends = [{**begun[0], "run": BEFORE}, *ends]
    names = ends[-1]
    head, *rows = ([name, *(format_value(end.get(name)) for end in ends)] for name in names)
    return markdown_table(Table("", head, rows))


_NOTHING_COMPARED = Summary()


def sweep_page(
    config: SweepConfig, cells: Sequence[Cell], summary: Summary = _NOTHING_COMPARED
) -> str:
    """The report as one HTML file, with a summary of several runs in front, if there is one."""
    rows = measurements(cells)
    charts = [
        line_chart(name, "epoch 轮次", _by_run(cells, rows, name))
        for name in measures_of(config, rows)
    ]
    logged = {name for cell in cells for line in cell.log for name in line}
    charts.append(line_chart("training loss 训练损失", "epoch 轮次", _of_steps(cells, "loss")))
    if "scale" in logged:
        charts.append(line_chart("temperature 1/scale 温度", "epoch 轮次", _temperatures(cells)))
    if "bias" in logged:
        charts.append(line_chart("bias 偏置", "epoch 轮次", _of_steps(cells, "bias")))
    parts = [html_table(_comparison(summary))] if summary.rows else []
    parts.append(_side_by_side(summary.charts.values()))
    parts.append(
        _table(last_rows(config, cells), "Last measurement of each run 每次训练的最终结果")
    )
    if begun := first_rows(config, cells):
        parts.append(_table(begun, "Before the first step 训练开始之前"))
    parts.append(legend([cell.name for cell in cells]))
    parts.append(_side_by_side(charts))
    parts.append(_answers_html(cells))
    running = ", ".join(cell.name for cell in cells if not cell.finished)
    note = f"Not finished 未完成: {running}" if running else ""
    return html_page(config.title, "\n".join(parts), note=note)


def _side_by_side(charts: Iterable[str]) -> str:
    return f'<div class="charts">{"".join(f"<div>{chart}</div>" for chart in charts)}</div>'


def _by_run(
    cells: Sequence[Cell], rows: Sequence[Mapping[str, Any]], name: str
) -> dict[str, list[tuple[float, float]]]:
    return {
        cell.name: [
            (row["epoch"], row[name])
            for row in rows
            if row["run"] == cell.name and row.get(name) is not None
        ]
        for cell in cells
    }


def _of_steps(cells: Sequence[Cell], name: str) -> dict[str, list[tuple[float, float]]]:
    return {
        cell.name: [(_epoch(cell, row), row[name]) for row in cell.log if name in row]
        for cell in cells
    }


def _temperatures(cells: Sequence[Cell]) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [(epoch, 1 / scale) for epoch, scale in line]
        for name, line in _of_steps(cells, "scale").items()
    }


def _table(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    if not rows:
        return f"<p>{NOTHING}</p>"
    cells = [[format_value(value) for value in row.values()] for row in rows]
    return html_table(Table(title, list(rows[0]), cells))


# Answers side by side


class SweepQuestion(NamedTuple):
    """A question that the runs of a sweep have answered."""

    language: str
    record: int
    question: str
    truth: str


def answers_by_question(cells: Sequence[Cell]) -> dict[str, dict[SweepQuestion, str]]:
    """Returns the answers by question, before the first step and at the end of each run. Where runs
    began with different answers, each has its own before."""
    begun: dict[str, dict[SweepQuestion, str]] = {}
    ended: dict[str, dict[SweepQuestion, str]] = {}
    for cell in cells:
        for line in cell.log:
            if line.get(EXAMPLES):
                (ended if line["step"] else begun)[cell.name] = {
                    SweepQuestion(*(one[name] for name in SweepQuestion._fields)): one["answer"]
                    for one in line[EXAMPLES]
                }
    different = [one for one in begun.values() if one != next(iter(begun.values()))]
    before = {f"{BEFORE} ({name})" if different else BEFORE: one for name, one in begun.items()}
    return before | ended


def answers_table(cells: Sequence[Cell]) -> Table:
    """The answers with a row for each question; no rows if no run has kept any."""
    columns = answers_by_question(cells)
    asked = dict.fromkeys(one for answers in columns.values() for one in answers)
    head = ("question 问题", "truth 正确答案", *columns)
    rows = [
        [one.question, one.truth, *(answers.get(one, "") for answers in columns.values())]
        for one in asked
    ]
    return Table("Answers side by side 回答对比", head, rows)


def answers_markdown(cells: Sequence[Cell]) -> str:
    """The same as a further Markdown table; empty without answers."""
    _, head, rows, _ = answers_table(cells)
    plain = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    return f"\n{markdown_table(Table('', plain[0], plain[1:]))}" if rows else ""


def _answers_html(cells: Sequence[Cell]) -> str:
    """The same with the pictures that the questions are about, as far as they are at hand."""
    table, columns = answers_table(cells), answers_by_question(cells)
    asked = dict.fromkeys(one for answers in columns.values() for one in answers)
    if not asked:
        return ""
    pictures = _pictures(cells[0], {one.record for one in asked})
    figures = [
        figure(
            pictures.get(one.record, ()),
            [(name, text or "–") for name, text in zip(table.head, row, strict=True)],
            "(picture not available 图片已不可用)",
        )
        for one, row in zip(asked, table.rows, strict=True)
    ]
    return f'{STYLE}<h2>{table.title}</h2><div class="worst">{"".join(figures)}</div>'


def _pictures(cell: Cell, records: set[int]) -> dict[int, tuple[bytes, ...]]:
    measures = [m for m in cell.recipe.evaluation.measures.values() if isinstance(m, Answers)]
    try:
        known = measures[0].records if measures else ()
    except (DataError, OSError):  # moved since
        return {}
    return {at: tuple(thumbnails([known[at].image])) for at in records if at < len(known)}


# Charts, without any script or library


@dataclass(frozen=True)
class Frame:
    """The ranges of a chart, and the position of a value in it."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )


def line_chart(title: str, x_label: str, lines: Mapping[str, Points]) -> str:
    """An SVG image with a line for each name. Values that are not finite leave a gap."""
    points = [p for line in lines.values() for p in line if isfinite(p[0]) and isfinite(p[1])]
    frame = Frame(_range([x for x, _ in points]), _range([y for _, y in points]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="18" class="title">{escape(title)}</text>',
        *_grid(frame),
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
    ]
    for number, line in enumerate(lines.values()):
        parts.append(_line(frame, line, *style(number)))
    return "\n".join([*parts, "</svg>"])


def dot_chart(title: str, rows: Mapping[str, Sequence[float]]) -> str:
    """An SVG image that needs no page around it, with a row for each name: a dot for each value, a
    stroke for their mean."""
    low, high = _range([value for values in rows.values() for value in values])
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="12" fill="#333">',
        f'<title>{escape(title)}</title><rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{NAMES}" y="18" font-weight="bold">{escape(title)}</text>',
    ]

    def across(value: float) -> str:
        return f"{NAMES + (value - low) / (high - low) * (WIDTH - NAMES - RIGHT):.1f}"

    end = height - BOTTOM
    for value in ticks(low, high):
        x = across(value)
        parts.append(f'<path d="M{x} {TOP}V{end}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{end + 16}" text-anchor="middle">{value:g}</text>')
    for number, (name, values) in enumerate(rows.items()):
        y = TOP + ROW * (number + 0.5)
        colour, _ = style(number)
        parts.append(f'<text x="{NAMES - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        mean = across(sum(values) / len(values))
        parts.append(f'<path d="M{mean} {y - 9}v18" stroke="{colour}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{across(value)}" cy="{y}" r="4" fill="{colour}" fill-opacity="0.6"/>'
            for value in values
        ]
    return "\n".join([*parts, "</svg>"])


def style(number: int) -> tuple[str, str]:
    """Colour and dashes of a line by its number: the same in every chart of a page."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def legend(names: Sequence[str]) -> str:
    """HTML that says which line is which."""
    entries = []
    for number, name in enumerate(names):
        colour, dashes = style(number)
        entries.append(
            f'<span><svg width="28" height="8"><line x1="0" y1="4" x2="28" y2="4" '
            f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/></svg> '
            f"{escape(name)}</span>"
        )
    return f'<p class="legend">{" ".join(entries)}</p>'


def _line(frame: Frame, points: Points, colour: str, dashes: str) -> str:
    path, pen = [], "M"
    for x, y in points:
        if isfinite(x) and isfinite(y):
            path.append("{}{:.1f} {:.1f}".format(pen, *frame.at(x, y)))
            pen = "L"
        else:
            pen = "M"
    return (
        f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dashes}" stroke-linejoin="round" stroke-linecap="round"/>'
    )


def _grid(frame: Frame) -> list[str]:
    parts = []
    for value in ticks(*frame.y):
        x, y = frame.at(frame.x[0], value)
        parts.append(
            f'<line x1="{x}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>'
        )
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(*frame.x):
        x, y = frame.at(value, frame.y[0])
        parts.append(f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle">{value:g}</text>')
    return parts


def _range(values: Sequence[float]) -> tuple[float, float]:
    """A range a little wider than the values; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside a range, about as many as wanted."""
    raw = (high - low) / wanted
    size = 10.0 ** floor(log10(raw))
    step = min((size * factor for factor in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
    first = floor(low / step) + 1
    count = floor(high / step) - first + 1
    return [round((first + i) * step, 12) for i in range(count)]

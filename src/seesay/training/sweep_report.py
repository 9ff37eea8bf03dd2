"""What a sweep found: a CSV with every measurement, a page with curves that stands alone, and a
table for pages of documentation, so that no figure is copied by hand."""

import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from seesay.data.tables import write_csv
from seesay.training.line_charts import legend, line_chart
from seesay.training.sweep import Cell, SweepConfig

# Of each step, beside what is measured: in the log under these names.
KNOWN = ("step", "loss", "scale", "bias", "seconds", "memory_mib")
NOTHING = "No measurement yet 还没有结果"
OF_STEPS = {*KNOWN, "gradient_norm", "lr", "damaged", "samples_per_s"}

STYLE = """
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; margin: 2em auto;
       max-width: 1120px; padding: 0 1em; color: #222; background: #fff }
svg text { font: 12px system-ui, sans-serif; fill: #444 } svg .title { font-weight: 600 }
svg .grid { stroke: #e4e4e4 } .charts { display: grid; gap: 1.2em;
  grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } caption { text-align: left }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left } .legend span { margin-right: 1.2em }
.scroll { overflow-x: auto } .note { color: #555 }
"""


def measurements(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row for every measurement of every run: what was measured, with the state of that step."""
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
    return rows


def _epoch(cell: Cell, line: Mapping[str, Any]) -> float:
    """How much of the run's length has passed, in epochs."""
    last = max((row["step"] for row in cell.log), default=1)
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
    """How each run ended."""
    return _rows_of_runs(config, cells, -1, ("seconds", "memory_mib"))


def first_rows(config: SweepConfig, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """How each run began: what was measured before its first step."""
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
    """How each run ended, as a table in Markdown with a line for each measure."""
    ends = last_rows(config, cells)
    if not ends:
        return f"{NOTHING}\n"
    head, *body = ([name, *(shown(end[name]) for end in ends)] for name in ends[0])
    ruler = ["---", *["---:"] * len(ends)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ruler, *body))


def sweep_page(config: SweepConfig, cells: Sequence[Cell]) -> str:
    """The report as one HTML file."""
    rows = measurements(cells)
    charts = [
        line_chart(name, "epoch 轮次", _by_run(cells, rows, name))
        for name in measures_of(config, rows)
    ]
    charts += [
        line_chart("training loss 训练损失", "epoch 轮次", _of_steps(cells, "loss")),
        line_chart("temperature 1/scale 温度", "epoch 轮次", _temperatures(cells)),
    ]
    if any("bias" in line for cell in cells for line in cell.log):
        charts.append(line_chart("bias 偏置", "epoch 轮次", _of_steps(cells, "bias")))
    names, begun = [cell.name for cell in cells], first_rows(config, cells)
    open_runs = [cell.name for cell in cells if not cell.finished]
    note = (
        f"<p class='note'>Not finished 未完成: {escape(', '.join(open_runs))}</p>"
        if open_runs
        else ""
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(config.title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(config.title)}</h1>{note}",
            _table(last_rows(config, cells), "Last measurement of each run 每次训练的最终结果"),
            _table(begun, "Before the first step 训练开始之前") if begun else "",
            legend(names),
            f'<div class="charts">{"".join(f"<div>{chart}</div>" for chart in charts)}</div>',
            "</body></html>",
        ]
    )


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
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(shown(value))}</td>" for value in row.values()) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><caption>{escape(title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
    return str(value)

"""Compares finished runs of one suite in a table: models by tasks, each column with its scorer.

    board = leaderboard({"a": read_report(Path("evaluations/quick-a")), "b": ...})

The average is formed as OpenCompass forms that of its board: of each set one figure, normalised to
0 to 100, and the mean over all sets; a model that lacks one has no average.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seesay.errors import ConfigError, DataError
from seesay.evaluation.report import Table, format_value, html_page, html_table, markdown_table
from seesay.evaluation.scorers import find_scorer
from seesay.evaluation.scoring import share
from seesay.evaluation.suites import MEASURED, Scores, SuiteReport
from seesay.text import Text

REPORT = "report.json"
"""The report file of a finished run."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A task, and the scorer that all figures below it come from. Raises ConfigError without a
    scorer that is known."""

    task: str
    scorer: str

    def __post_init__(self) -> None:
        find_scorer(self.scorer)

    @property
    def figure(self) -> str:
        """The value of the scorer that is shown."""
        return find_scorer(self.scorer).figure

    @property
    def best(self) -> float | None:
        """The highest possible value; None: shown as it is and never averaged."""
        return find_scorer(self.scorer).best

    def of(self, report: SuiteReport) -> float | None:
        """The figure of a run, 0 to 100 if there is a highest value; None if the run has none."""
        scores = [
            one for one in report.scores if (one.task, one.scorer) == (self.task, self.scorer)
        ]
        if not scores or self.figure not in scores[0].values:
            return None
        value = scores[0].values[self.figure]
        return value if self.best is None else 100 * value / self.best


@dataclass(frozen=True, kw_only=True)
class Row:
    """A model."""

    model: str
    figures: tuple[float | None, ...]
    """Of each column; None if the run has none."""
    average: float | None
    """Over the columns with a highest value; None if any of them is missing."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """The runs of a suite, best average first."""

    suite: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The values of each embedding model, by measure and value."""
    notes: tuple[Text, ...] = ()
    """What is missing, and where the runs differ."""


def read_report(folder: Path) -> SuiteReport:
    """The report of a finished run, without its cost. Raises ConfigError if there is none, and
    DataError if it cannot be read."""
    file = folder / REPORT
    if not file.is_file():
        raise ConfigError(
            Text(
                f"{folder} holds no finished run, expected {REPORT} in it: finish the run, or name "
                "another folder",
                f"{folder} 里没有已完成的评测；其中应有 {REPORT}；请完成评测，或指定其他文件夹",
            )
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        scores = tuple(_scores(one) for one in content["scores"])
        known = {name: content[name] for name in ("suite", "model", "seesay", "data")}
        return SuiteReport(**known, skipped=tuple(content["skipped"]), scores=scores)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            Text(
                f"{file} cannot be read ({error!r}), expected the report of a run: write it again "
                "with --rescore",
                f"{file} 无法读取（{error!r}）；应为一次评测的报告；请用 --rescore 重新写出",
            )
        ) from None


def _scores(values: dict[str, Any]) -> Scores:
    problem = values["problem"]
    reasons = tuple((Text(**reason), count) for reason, count in values["reasons"])
    known = {"reasons": reasons, "problem": None if problem is None else Text(**problem)}
    return Scores(**values | known)


def leaderboard(runs: Mapping[str, SuiteReport]) -> Board:
    """The leaderboard of runs, each under a unique name. Raises ConfigError if they are not of one
    suite."""
    suites = sorted({one.suite for one in runs.values()})
    if len(suites) != 1:
        names = ", ".join(suites) or "–"
        raise ConfigError(
            Text(
                f"the runs are of {len(suites)} suites ({names}), expected runs of one: choose "
                "such folders",
                f"这些评测属于 {len(suites)} 个套件（{names}）；应属于同一个；请重新选择文件夹",
            )
        )
    columns = _columns(list(runs.values()))
    rows = [_row(name, run, columns) for name, run in _named(runs).items() if _has_tasks(run)]
    rows.sort(key=lambda row: (row.average is None, -(row.average or 0.0), row.model))
    notes = [*_missing(rows, columns), *_unbounded(columns), *_differences(runs, columns)]
    return Board(
        suite=suites[0],
        columns=columns,
        rows=tuple(rows),
        measures=_measures(_named(runs)),
        notes=tuple(notes),
    )


def _named(runs: Mapping[str, SuiteReport]) -> dict[str, SuiteReport]:
    """The runs by model; several runs of a model also carry the name of the run."""
    counts = Counter(run.model for run in runs.values())
    return {
        run.model if counts[run.model] == 1 else f"{run.model} ({name})": run
        for name, run in runs.items()
    }


def _has_tasks(run: SuiteReport) -> bool:
    return any(one.scorer not in MEASURED for one in run.scores)


def _columns(runs: Sequence[SuiteReport]) -> tuple[Column, ...]:
    """For each task, the first of the scorers that most runs have."""
    scorers: dict[str, Counter[str]] = {}
    for run in runs:
        for one in run.scores:
            if one.scorer not in MEASURED:
                scorers.setdefault(one.task, Counter())[one.scorer] += 1
    return tuple(
        Column(task=task, scorer=counts.most_common(1)[0][0]) for task, counts in scorers.items()
    )


def _row(name: str, run: SuiteReport, columns: Sequence[Column]) -> Row:
    figures = tuple(column.of(run) for column in columns)
    averaged = [one for one, column in zip(figures, columns, strict=True) if column.best]
    known = [one for one in averaged if one is not None]
    whole = bool(averaged) and len(known) == len(averaged)
    return Row(model=name, figures=figures, average=share(known) if whole else None)


def _missing(rows: Sequence[Row], columns: Sequence[Column]) -> list[Text]:
    notes = []
    for row in rows:
        pairs = zip(columns, row.figures, strict=True)
        without = ", ".join(column.task for column, one in pairs if column.best and one is None)
        if without:
            notes.append(
                Text(
                    f"{row.model} has no average: no figure for {without}.",
                    f"{row.model} 没有平均分：缺少 {without}。",
                )
            )
    return notes


def _unbounded(columns: Sequence[Column]) -> list[Text]:
    names = ", ".join(f"{one.task} ({one.figure})" for one in columns if one.best is None)
    if not names:
        return []
    return [
        Text(
            f"Not in the average, because it has no upper bound or lower is better: {names}.",
            f"没有上限或越低越好，不计入平均分：{names}。",
        )
    ]


def _differences(runs: Mapping[str, SuiteReport], columns: Sequence[Column]) -> list[Text]:
    """Notes on tasks where the runs differ in prompt, data or samples."""
    notes = []
    for column in columns:
        some = [
            (one.prompt, one.answers + one.left_out)
            for run in runs.values()
            for one in run.scores
            if (one.task, one.scorer) == (column.task, column.scorer) and one.values
        ]
        if len({prompt for prompt, _ in some}) > 1:
            notes.append(
                Text(
                    f"{column.task}: the runs used different prompts.",
                    f"{column.task}：各次评测的提示词不同。",
                )
            )
        if len(counts := sorted({count for _, count in some})) > 1:
            notes.append(
                Text(
                    f"{column.task}: the runs have between {counts[0]} and {counts[-1]} samples.",
                    f"{column.task}：各次评测的样本数从 {counts[0]} 到 {counts[-1]} 不等。",
                )
            )
    files = Counter(Path(name).name for run in runs.values() for name in run.data)
    digests = {(Path(name).name, md5) for run in runs.values() for name, md5 in run.data.items()}
    if changed := ", ".join(
        name for name in files if len({md5 for file, md5 in digests if file == name}) > 1
    ):
        notes.append(Text(f"The data differs: {changed}.", f"各次评测所用的数据不同：{changed}。"))
    return notes


def _measures(runs: Mapping[str, SuiteReport]) -> dict[str, dict[str, float]]:
    values: dict[str, dict[str, float]] = {}
    for name, run in runs.items():
        for one in run.scores:
            if one.scorer in MEASURED:
                for value, number in one.values.items():
                    key = f"{one.task}: {value} ({one.scorer})"
                    values.setdefault(key, {})[name] = number
    return values


# Forms


def board_tables(board: Board, language: str = "en") -> list[Table]:
    """Models by tasks; values of measures by models."""
    tables = []
    if board.rows:
        head = [Text("model", "模型"), Text("average", "平均分")]
        names = [name.in_language(language) for name in head]
        names += [f"{one.task}\n{one.scorer}\n{_unit(one)}" for one in board.columns]
        rows = [
            [row.model, _percent(row.average), *map(_figure, row.figures, board.columns)]
            for row in board.rows
        ]
        tables.append(Table(Text("Tasks", "任务").in_language(language), names, rows))
    if board.measures:
        models = list(dict.fromkeys(name for one in board.measures.values() for name in one))
        rows = [
            [value, *(format_value(one.get(name)) for name in models)]
            for value, one in board.measures.items()
        ]
        measure = Text("measure", "评测项").in_language(language)
        title = Text("Measures", "评测项").in_language(language)
        tables.append(Table(title, [measure, *models], rows))
    return tables


def _unit(column: Column) -> str:
    return column.figure if column.best is None else f"{column.figure}, 0–100"


def _figure(value: float | None, column: Column) -> str:
    return format_value(value) if column.best is None else _percent(value)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _title(board: Board, language: str) -> str:
    return Text(f"{board.suite}: leaderboard", f"{board.suite}：排行榜").in_language(language)


def board_html(board: Board, language: str = "en") -> str:
    """A self-contained page."""
    parts = [*map(html_table, board_tables(board, language))]
    note = (" " if language == "en" else "").join(one.in_language(language) for one in board.notes)
    return html_page(_title(board, language), "\n".join(parts), language, note)


def board_markdown(board: Board, language: str = "en") -> str:
    """The same in Markdown."""
    parts = [f"# {_title(board, language)}\n"]
    for table in board_tables(board, language):
        cells = [[cell.replace("|", "\\|") for cell in row] for row in (table.head, *table.rows)]
        head = [cell.replace("\n", "<br>") for cell in cells[0]]
        plain = table._replace(head=head, rows=cells[1:])
        parts.append(f"## {table.title}\n\n{markdown_table(plain)}")
    notes = "".join(f"- {one.in_language(language)}\n" for one in board.notes)
    return "\n".join([*parts, notes] if notes else parts)


def board_json(board: Board) -> dict[str, Any]:
    """The same as values of JSON; texts are {en, zh}."""
    columns = [asdict(one) | {"figure": one.figure} for one in board.columns]
    values = asdict(board) | {"columns": columns}
    plain: dict[str, Any] = json.loads(json.dumps(values, ensure_ascii=False))
    return plain

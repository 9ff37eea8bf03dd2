"""Show a zero-shot evaluation: tables for a terminal, rows for a spreadsheet, a page to keep."""

import io
from html import escape
from typing import TYPE_CHECKING

from seesay.data.tables import write_csv
from seesay.evaluation.zero_shot import NONE, ClassScore, ZeroShotReport

if TYPE_CHECKING:
    from rich.console import RenderableType

MATRIX_LABELS = 10  # a larger matrix does not fit 80 columns; its largest errors are listed instead
WORST = 10

_CHINESE = {
    NONE: "都不是",
    "class": "类别",
    "pictures": "图片数",
    "answered": "判为此类",
    "right": "判对",
    "precision": "精确率",
    "recall": "召回率",
    "accuracy": "准确率",
    "if a label must be given: top-1": "必须选一个类别时：top-1",
    "top-5": "top-5",
    "mean recall of the classes": "各类召回率的平均",
    "could not be read": "无法读取",
    "Classes": "各类别",
    "Confusion: rows are the truth, columns the answers": "混淆矩阵：行为真实类别，列为回答",
    "Most frequent errors": "最常见的错误",
    "truth": "真实类别",
    "answer": "回答",
    "Zero-shot classification": "零样本分类",
    "model": "模型",
    "folder": "文件夹",
}


def tables(report: ZeroShotReport, language: str = "en") -> "list[RenderableType]":
    """Summary, classes and confusions for `rich.print`, within 80 columns."""
    drawn = [_summary(report, language), _classes(report, language)]
    if len(report.answers) - 1 <= MATRIX_LABELS:
        drawn.append(_matrix(report, language))
    elif errors := worst_errors(report):
        drawn.append(_errors(errors, language))
    return drawn


def to_csv(report: ZeroShotReport) -> str:
    """A row per class: its scores, then how many of its pictures got each answer."""
    stream = io.StringIO()
    scores = ("support", "predicted", "correct", "precision", "recall", "f1")
    write_csv(stream, [["label", *scores, *(f"answer: {answer}" for answer in report.answers)]])
    rows = zip(report.classes, report.confusion, strict=True)
    write_csv(stream, ([r.label, *(getattr(r, name) for name in scores), *c] for r, c in rows))
    return stream.getvalue()


def to_html(report: ZeroShotReport, language: str = "en") -> str:
    """A page that needs nothing but itself; the darker a cell, the larger its share of the row."""
    t = _Words(language)
    facts = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in _facts(report, t)
    )
    failed = "".join(
        f"<li>{escape(source)}: {escape(reason)}</li>" for source, reason in report.failures
    )
    failures = f"<h2>{t('could not be read')}</h2><ul>{failed}</ul>" if failed else ""
    return (
        f'<!doctype html><html lang="{"zh-CN" if language == "zh" else "en"}">'
        f'<meta charset="utf-8"><title>{t("Zero-shot classification")}</title>{_STYLE}'
        f"<h1>{t('Zero-shot classification')}</h1><table>{facts}</table>"
        f"<h2>{t('Classes')}</h2>{_html_table(_class_head(t), _class_rows(report, t))}"
        f"<h2>{t('Confusion: rows are the truth, columns the answers')}</h2>"
        f"{_html_matrix(report, t)}{failures}</html>\n"
    )


def worst_errors(report: ZeroShotReport) -> list[tuple[str, str, int]]:
    """(truth, answer, pictures), the most frequent first; ties in the order of the labels."""
    errors = [
        (truth, answer, count)
        for truth, row in zip(report.answers, report.confusion, strict=True)
        for answer, count in zip(report.answers, row, strict=True)
        if truth != answer and count
    ]
    return sorted(errors, key=lambda error: -error[2])[:WORST]


class _Words:
    """English words, or their Chinese."""

    def __init__(self, language: str) -> None:
        self.chinese = language == "zh"

    def __call__(self, words: str) -> str:
        return _CHINESE.get(words, words) if self.chinese else words


def _facts(report: ZeroShotReport, t: _Words) -> list[tuple[str, str]]:
    facts = [
        (t("model"), report.model),
        (t("folder"), report.folder),
        (t("pictures"), str(report.images)),
        (t("accuracy"), _percent(report.accuracy)),
        (t("if a label must be given: top-1"), _percent(report.top1)),
        (t("top-5"), _percent(report.top5)),
        (t("mean recall of the classes"), _percent(report.mean_recall)),
        (t("could not be read"), str(len(report.failures))),
    ]
    return [fact for fact in facts if fact[1] != "–"]


def _class_head(t: _Words) -> list[str]:
    return [t(w) for w in ("class", "pictures", "answered", "right", "precision", "recall")] + [
        "F1"
    ]


def _class_rows(report: ZeroShotReport, t: _Words) -> list[list[str]]:
    return [
        [t(c.label), str(c.support), str(c.predicted), str(c.correct)]
        + [_percent(share) for share in (c.precision, c.recall, c.f1)]
        for c in report.classes
        if _happened(c)
    ]


def _happened(row: ClassScore) -> bool:
    """Whether "none of these" was ever an answer or a truth; labels are always shown."""
    return row.label != NONE or bool(row.support or row.predicted)


def _summary(report: ZeroShotReport, language: str) -> "RenderableType":
    return _draw("", ["", ""], _facts(report, _Words(language)), header=False)


def _classes(report: ZeroShotReport, language: str) -> "RenderableType":
    t = _Words(language)
    return _draw(t("Classes"), _class_head(t), _class_rows(report, t))


def _matrix(report: ZeroShotReport, language: str) -> "RenderableType":
    """Columns carry numbers, which the rows explain, so that long names need no room twice."""
    t = _Words(language)
    shown = [i for i, row in enumerate(report.classes) if _happened(row)]
    head = [t("truth"), *(str(i + 1) for i in shown)]
    rows = [
        [f"{i + 1} {t(report.answers[i])}", *(str(report.confusion[i][j] or "·") for j in shown)]
        for i in shown
    ]
    return _draw(t("Confusion: rows are the truth, columns the answers"), head, rows)


def _errors(errors: list[tuple[str, str, int]], language: str) -> "RenderableType":
    t = _Words(language)
    rows = [[t(truth), t(answer), str(count)] for truth, answer, count in errors]
    return _draw(t("Most frequent errors"), [t("truth"), t("answer"), t("pictures")], rows)


def _draw(
    title: str,
    head: list[str],
    rows: "list[list[str]] | list[tuple[str, str]]",
    header: bool = True,
) -> "RenderableType":
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=header)
    for index, name in enumerate(head):
        right = index > 0 and header and rows and rows[0][index][:1] in "0123456789–·"
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Not as the table's own title: that would be folded to the width of a narrow table.
    return Group(Text(title, style="bold"), table) if title else table


def _html_table(head: list[str], rows: list[list[str]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{names}</tr>{body}</table>"


def _html_matrix(report: ZeroShotReport, t: _Words) -> str:
    head = "".join(f"<th>{escape(t(answer))}</th>" for answer in report.answers)
    rows = []
    for i, (answer, counts) in enumerate(zip(report.answers, report.confusion, strict=True)):
        whole = sum(counts) or 1
        cells = "".join(
            f'<td style="background:rgba({"40,140,60" if i == j else "200,60,40"},'
            f'{0.8 * count / whole:.2f})">{count or ""}</td>'
            for j, count in enumerate(counts)
        )
        rows.append(f"<tr><th>{escape(t(answer))}</th>{cells}</tr>")
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


_STYLE = (
    "<style>body{font:15px/1.5 system-ui,'Noto Sans SC',sans-serif;margin:2rem auto;"
    "max-width:70rem;padding:0 1rem;color:#222}table{border-collapse:collapse}"
    "th,td{padding:.25rem .6rem;border:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}.wide{overflow-x:auto}</style>"
)

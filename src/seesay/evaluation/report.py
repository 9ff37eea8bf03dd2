"""Reports: tables for a terminal, a page of HTML or Markdown; and the report of a zero-shot run."""

import io
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from seesay.data.tables import write_csv
from seesay.evaluation.scorers import Result
from seesay.evaluation.zero_shot import NONE, ClassScore, ZeroShotReport
from seesay.text import Text, to_unicode

STYLE = """
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "Noto Sans SC", sans-serif; margin: 2em auto;
       max-width: 1120px; padding: 0 1em; color: #222; background: #fff }
svg text { font: 12px system-ui, sans-serif; fill: #444 } svg .title { font-weight: 600 }
svg .grid { stroke: #e4e4e4 } .charts { display: grid; gap: 1.2em;
  grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } caption { text-align: left }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right }
th { white-space: pre; vertical-align: bottom } td:first-child { white-space: nowrap }
h2 { font-size: 1.15em; margin-top: 2em }
th:first-child, td:first-child, .text { text-align: left } .legend span { margin-right: 1.2em }
.scroll { overflow-x: auto; margin-bottom: 1.5em } .note { color: #555 }
"""
_LEFT = ' class="text"'


class Table(NamedTuple):
    """A table of a report, in the language of its reader."""

    title: str
    head: Sequence[str]
    """Empty names show no head."""
    rows: Sequence[Sequence[str]]
    colours: Sequence[Sequence[str]] = ()
    """In HTML, the background of each cell but the first of its row; empty: none."""


def html_page(title: str, body: str, language: str = "en", note: str = "") -> str:
    """Returns a self-contained page; `body` is HTML, the rest is text."""
    tag = "zh-CN" if language == "zh" else "en"
    remark = f'<p class="note">{escape(note)}</p>' if note else ""
    return to_unicode(
        f'<!doctype html>\n<html lang="{tag}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>{remark}\n{body}\n</body>\n</html>\n"
    )


def html_table(table: Table) -> str:
    """The table with its title, in HTML. Columns without a number stand to the left."""
    texts = [not any(_is_number(row[at]) for row in table.rows) for at in range(len(table.head))]
    names = "".join(map(_head, table.head, texts)) if any(table.head) else ""
    head = f"<thead><tr>{names}</tr></thead>" if names else ""
    body = "".join(
        f"<tr>{''.join(_cells(row, texts, table.colours[at] if table.colours else ()))}</tr>"
        for at, row in enumerate(table.rows)
    )
    caption = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    return f'<div class="scroll"><table>{caption}{head}<tbody>{body}</tbody></table></div>'


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] in ("+", "-", "")


def _head(name: str, text: bool) -> str:
    return f"<th{_LEFT * text}>{escape(name)}</th>"


def _cells(row: Sequence[str], texts: Sequence[bool], colours: Sequence[str]) -> list[str]:
    styles = ["", *(f' style="background:{colour}"' for colour in colours)]
    styles += [""] * (len(row) - len(styles))
    return [
        f"<td{_LEFT * text}{style}>{escape(cell)}</td>"
        for text, style, cell in zip(texts, styles, row, strict=True)
    ]


def markdown_table(table: Table) -> str:
    """The table without its title, in Markdown."""
    ruler = ["---", *["---:"] * (len(table.head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (table.head, ruler, *table.rows))


def format_value(value: Any) -> str:
    """Formats a value for people."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
    return str(value)


def scores_table(results: Sequence[Result], language: str = "en") -> Table:
    """The values of several results, each beside its scorer, and how many answers they are of."""
    rows = [
        [one.scorer, name, format_value(value), str(len(one.verdicts)), str(one.left_out)]
        for one in results
        for name, value in one.values.items()
    ]
    head = (
        Text("scorer", "评分器"),
        Text("value", "指标"),
        Text("score", "分数"),
        Text("answers", "回答数"),
        Text("left out", "未计入"),
    )
    title = Text("Scores", "成绩").in_language(language)
    return Table(title, [name.in_language(language) for name in head], rows)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


MATRIX_LABELS = 10  # a larger matrix does not fit 80 columns; its largest errors are listed instead
WORST = 10
TITLE = Text("Zero-shot classification", "零样本分类")
TRUTH = Text("truth", "真实类别")
PICTURES = Text("pictures", "图片数")
UNREADABLE = Text("could not be read", "无法读取")
CLASS_HEAD = (
    Text("class", "类别"),
    PICTURES,
    Text("answered", "判为此类"),
    Text("right", "判对"),
    Text("precision", "精确率"),
    Text("recall", "召回率"),
    Text("F1", "F1"),
)


def tables(report: ZeroShotReport, language: str = "en") -> list[Table]:
    """Summary, classes and confusions, within the 80 columns of a terminal."""
    found = [_summary(report, language), _classes(report, language)]
    if len(report.answers) - 1 <= MATRIX_LABELS:
        return [*found, _matrix(report, language)]
    errors = worst_errors(report)
    return [*found, _errors(errors, language)] if errors else found


def to_csv(report: ZeroShotReport) -> str:
    """A row per class: its scores, then how many of its pictures got each answer."""
    stream = io.StringIO()
    scores = ("support", "predicted", "correct", "precision", "recall", "f1")
    write_csv(stream, [["label", *scores, *(f"answer: {answer}" for answer in report.answers)]])
    rows = zip(report.classes, report.confusion, strict=True)
    write_csv(stream, ([r.label, *(getattr(r, name) for name in scores), *c] for r, c in rows))
    return stream.getvalue()


def to_html(report: ZeroShotReport, language: str = "en") -> str:
    """A page; the darker a cell of the confusions, the larger its share of the row."""
    parts = [_summary(report, language), _classes(report, language)]
    parts.append(_coloured_matrix(report, language))
    if report.failures:
        parts.append(Table(UNREADABLE.in_language(language), ("", ""), report.failures))
    return html_page(TITLE.in_language(language), "\n".join(map(html_table, parts)), language)


def worst_errors(report: ZeroShotReport) -> list[tuple[str, str, int]]:
    """(truth, answer, pictures), the most frequent first; ties in the order of the labels."""
    errors = [
        (truth, answer, count)
        for truth, row in zip(report.answers, report.confusion, strict=True)
        for answer, count in zip(report.answers, row, strict=True)
        if truth != answer and count
    ]
    return sorted(errors, key=lambda error: -error[2])[:WORST]


def _label(label: str, language: str) -> str:
    return Text(NONE, "都不是").in_language(language) if label == NONE else label


def _happened(row: ClassScore) -> bool:
    """Whether to show an answer: labels always, "none of these" if it was ever an answer or a
    truth."""
    return row.label != NONE or bool(row.support or row.predicted)


def _summary(report: ZeroShotReport, language: str) -> Table:
    facts = (
        (Text("model", "模型"), report.model),
        (Text("folder", "文件夹"), report.folder),
        (PICTURES, str(report.images)),
        (Text("accuracy", "准确率"), percent(report.accuracy)),
        (
            Text("if a label must be given: top-1", "必须选一个类别时：top-1"),
            percent(report.top1),
        ),
        (Text("top-5", "top-5"), percent(report.top5)),
        (Text("mean recall of the classes", "各类召回率的平均"), percent(report.mean_recall)),
        (UNREADABLE, str(len(report.failures))),
    )
    known = [(name.in_language(language), value) for name, value in facts if value != "–"]
    return Table("", ("", ""), known)


def _classes(report: ZeroShotReport, language: str) -> Table:
    rows = [
        [_label(c.label, language), str(c.support), str(c.predicted), str(c.correct)]
        + [percent(share) for share in (c.precision, c.recall, c.f1)]
        for c in report.classes
        if _happened(c)
    ]
    head = [name.in_language(language) for name in CLASS_HEAD]
    return Table(Text("Classes", "各类别").in_language(language), head, rows)


def _confusion_title(language: str) -> str:
    return Text(
        "Confusion: rows are the truth, columns the answers", "混淆矩阵：行为真实类别，列为回答"
    ).in_language(language)


def _matrix(report: ZeroShotReport, language: str) -> Table:
    """Columns are numbered and the rows explain the numbers, so that long names appear only
    once."""
    happened = [i for i, row in enumerate(report.classes) if _happened(row)]
    rows = [
        [f"{i + 1} {_label(report.answers[i], language)}"]
        + [str(report.confusion[i][j] or "·") for j in happened]
        for i in happened
    ]
    head = [TRUTH.in_language(language), *(str(i + 1) for i in happened)]
    return Table(_confusion_title(language), head, rows)


def _coloured_matrix(report: ZeroShotReport, language: str) -> Table:
    """All answers by name; green if they are right, red if not."""
    names = [_label(answer, language) for answer in report.answers]
    rows, colours = [], []
    for i, counts in enumerate(report.confusion):
        whole = sum(counts) or 1
        rows.append([names[i], *(str(count or "") for count in counts)])
        colours.append(
            [
                f"rgba({'40,140,60' if i == j else '200,60,40'},{0.8 * count / whole:.2f})"
                for j, count in enumerate(counts)
            ]
        )
    return Table(_confusion_title(language), ["", *names], rows, colours)


def _errors(errors: list[tuple[str, str, int]], language: str) -> Table:
    rows = [
        [_label(truth, language), _label(answer, language), str(n)] for truth, answer, n in errors
    ]
    head = [name.in_language(language) for name in (TRUTH, Text("answer", "回答"), PICTURES)]
    title = Text("Most frequent errors", "最常见的错误").in_language(language)
    return Table(title, head, rows)

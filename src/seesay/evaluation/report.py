"""A zero-shot evaluation as tables, as rows for a spreadsheet, and as a page to keep."""

import io

from seesay.data.tables import write_csv
from seesay.evaluation.pages import Table, html_page, html_table, percent
from seesay.evaluation.zero_shot import NONE, ClassScore, ZeroShotReport
from seesay.text import Text

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
    """Whether "none of these" was ever an answer or a truth; labels are always shown."""
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
    """Columns carry numbers, which the rows explain, so that long names need no room twice."""
    happened = [i for i, row in enumerate(report.classes) if _happened(row)]
    rows = [
        [f"{i + 1} {_label(report.answers[i], language)}"]
        + [str(report.confusion[i][j] or "·") for j in happened]
        for i in happened
    ]
    head = [TRUTH.in_language(language), *(str(i + 1) for i in happened)]
    return Table(_confusion_title(language), head, rows)


def _coloured_matrix(report: ZeroShotReport, language: str) -> Table:
    """All answers by name; green where they are right, red where they are not."""
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

"""The report of a suite as Markdown, a page of HTML or JSON, and the comparison of two runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from seesay.errors import DataError
from seesay.evaluation.answer_store import AnswerStore
from seesay.evaluation.bootstrap import RESAMPLES, interval
from seesay.evaluation.report import Table, format_value, html_page, html_table, markdown_table
from seesay.evaluation.scorers import SCORERS
from seesay.evaluation.suites import Cost, Prices, Scores, SuiteReport
from seesay.evaluation.worst_answers import WorstAnswers, worst_html
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better a run is than another on the answers that both have, by one scorer."""

    task: str
    scorer: str
    answers: int
    """Samples that both runs have a verdict on."""
    mean: float
    """Mean score of an answer."""
    other: float
    """The same of the other run."""
    difference: float
    low: float
    """Where the middle 95 percent of the resampled differences begin."""
    high: float
    seed: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare_runs(
    store: AnswerStore, other: AnswerStore, report: SuiteReport, *, seed: int = 0
) -> list[Comparison]:
    """Compares the mean scores by a bootstrap of the paired differences, over pictures. Scores of a
    whole set, such as BLEU, and measures are left out.

    Raises DataError if the runs share no answer.
    """
    found = []
    for one in report.scores:
        if one.scorer not in SCORERS or SCORERS[one.scorer].whole:
            continue
        mine, theirs = (some.scores(one.task, one.scorer) for some in (store, other))
        common = [sample for sample in mine if sample in theirs]
        if not common:
            continue
        pictures = [mine[sample][0] for sample in common]
        pairs = np.array([(mine[sample][1], theirs[sample][1]) for sample in common])
        differences = pairs[:, 0] - pairs[:, 1]
        low, high = interval(differences, pictures, seed=seed)
        found.append(
            Comparison(
                task=one.task,
                scorer=one.scorer,
                answers=len(common),
                mean=float(pairs[:, 0].mean()),
                other=float(pairs[:, 1].mean()),
                difference=float(differences.mean()),
                low=low,
                high=high,
                seed=seed,
            )
        )
    if not found:
        raise DataError(
            Text(
                f"{store.file} and {other.file} share no scored answer, expected runs of the same "
                "suite: compare two such",
                f"{store.file} 与 {other.file} 没有共同的已评分回答；应为同一套件的两次评测；"
                "请换成这样的两次",
            )
        )
    return found


# Tables


def suite_tables(
    report: SuiteReport,
    comparisons: Sequence[Comparison] = (),
    language: str = "en",
    prices: Prices | None = None,
) -> list[Table]:
    """The scores, each beside its scorer; what was left out and why; the comparison; the cost; the
    data."""

    def table(title: Text, head: Sequence[Text], rows: Sequence[Sequence[str]]) -> Table:
        return Table(title.in_language(language), [h.in_language(language) for h in head], rows)

    task, scorer = Text("task", "任务"), Text("scorer", "评分器")
    head = (task, scorer, Text("value", "指标"), Text("score", "分数"), Text("answers", "回答数"))
    scores = [row for one in report.scores for row in _rows(one)]
    tables = [table(Text("Scores", "成绩"), (*head, Text("left out", "未计入")), scores)]
    if problems := _problems(report, language):
        title = Text("What was left out or drawn, and why", "未计入或随机取的内容及原因")
        tables.append(
            table(title, (task, Text("reason", "原因"), Text("number", "数量")), problems)
        )
    if comparisons:
        title = Text(
            "Mean score of an answer beside another run, with the 95 % interval of a paired "
            f"bootstrap over pictures ({RESAMPLES} resamples, seed {comparisons[0].seed})",
            "每个回答的平均分与另一次评测对比，区间为按图片配对自助法的 95% 区间"
            f"（重采样 {RESAMPLES} 次，种子 {comparisons[0].seed}）",
        )
        names = (Text("other", "对方"), Text("difference", "差"), Text("interval", "区间"))
        columns = (task, scorer, Text("mean", "平均"), *names, Text("answers", "回答数"))
        tables.append(table(title, columns, [_compared(one) for one in comparisons]))
    if report.costs:
        costs = [task, Text("answers", "回答数"), Text("input tokens", "输入词元")]
        costs += [Text("output tokens", "输出词元"), Text("seconds each", "每个用时（秒）")]
        costs += [] if prices is None else [Text("price", "费用")]
        title = Text("Cost of the answers", "回答的开销")
        tables.append(table(title, costs, [_cost(one, prices) for one in report.costs]))
    facts = [
        (one.task, one.scorer, one.prompt or "–", one.judge or "–")
        for one in report.scores
        if one.prompt or one.judge
    ]
    if facts:
        asked = (task, scorer, Text("prompt", "提示词"), Text("judge", "评判模型"))
        tables.append(table(Text("How it was asked", "提问方式"), asked, facts))
    if report.data:
        title, named = Text("Data", "数据"), (Text("file", "文件"), Text("MD5", "MD5"))
        tables.append(table(title, named, list(report.data.items())))
    return tables


def _rows(one: Scores) -> list[list[str]]:
    counts = [str(one.answers), str(one.left_out)]
    values: Mapping[str, float | None] = one.values or {"–": None}
    return [[one.task, one.scorer, name, format_value(v), *counts] for name, v in values.items()]


def _problems(report: SuiteReport, language: str) -> list[tuple[str, str, str]]:
    rows = []
    for task, some in groupby(report.scores, key=lambda one: one.task):
        scores = list(some)
        reasons = {
            (reason.in_language(language), str(count)): None
            for one in scores
            for reason, count in one.reasons
        }
        failed = {one.problem.in_language(language): None for one in scores if one.problem}
        rows += [(task, reason, count) for reason, count in reasons]
        rows += [(task, problem, "–") for problem in failed]
        if cut := max(one.cut for one in scores):
            text = Text("cut off at max_tokens", "因 max_tokens 被截断").in_language(language)
            rows.append((task, text, str(cut)))
    return rows


def _compared(one: Comparison) -> list[str]:
    interval = f"{one.low:+.3f} … {one.high:+.3f}{' *' if one.clear else ''}"
    values = (f"{one.mean:.3f}", f"{one.other:.3f}", f"{one.difference:+.3f}", interval)
    return [one.task, one.scorer, *values, str(one.answers)]


def _cost(one: Cost, prices: Prices | None) -> list[str]:
    tokens = [f"{one.prompt_tokens:,}", f"{one.answer_tokens:,}"]
    if one.counted < one.answers:  # not all endpoints tell
        tokens = [f"{number} ({one.counted}/{one.answers})" for number in tokens]
    each = f"{one.seconds / one.answers:.2f}" if one.answers else "–"
    price = [] if prices is None else [f"{prices.of(one):.4f}"]
    return [one.task, str(one.answers), *(tokens if one.counted else "––"), each, *price]


def _title(report: SuiteReport) -> str:
    return f"{report.suite}: {report.model}"


def _note(report: SuiteReport, language: str) -> str:
    note = Text(f"seesay {report.seesay}.", f"seesay {report.seesay}。").in_language(language)
    if report.skipped:
        names = ", ".join(report.skipped)
        note += Text(
            f" Not for this kind of model: {names}.", f"不适用于这类模型：{names}。"
        ).in_language(language)
    return note


def suite_html(
    report: SuiteReport,
    comparisons: Sequence[Comparison] = (),
    language: str = "en",
    prices: Prices | None = None,
    worst: Sequence[WorstAnswers] = (),
) -> str:
    """A self-contained page, with the worst answers at its end."""
    tables = map(html_table, suite_tables(report, comparisons, language, prices))
    body = "\n".join([*tables, worst_html(worst, language)])
    return html_page(_title(report), body, language, _note(report, language))


def suite_markdown(
    report: SuiteReport,
    comparisons: Sequence[Comparison] = (),
    language: str = "en",
    prices: Prices | None = None,
) -> str:
    """The same in Markdown, without the worst answers."""
    parts = [f"# {_title(report)}\n\n{_note(report, language)}\n"]
    for table in suite_tables(report, comparisons, language, prices):
        rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
        parts.append(f"## {table.title}\n\n{markdown_table(table._replace(rows=rows))}")
    return "\n".join(parts)


def suite_json(
    report: SuiteReport,
    comparisons: Sequence[Comparison] = (),
    prices: Prices | None = None,
) -> dict[str, Any]:
    """The same as values of JSON; texts are {en, zh}."""
    costs = [
        asdict(one) | ({} if prices is None else {"price": prices.of(one)}) for one in report.costs
    ]
    compared = [asdict(one) for one in comparisons]
    values = {**asdict(report), "costs": costs, "comparison": compared}
    plain: dict[str, Any] = json.loads(json.dumps(values, ensure_ascii=False))
    return plain

"""`seesay evaluate`: the answers of a model to a suite, scored by named scorers, and a report."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Adapter, Assistant, Device, Endpoint, Json
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.evaluation.answer_store import AnswerStore
    from seesay.evaluation.running import Model, NamedJudge
    from seesay.evaluation.suite_report import Comparison
    from seesay.evaluation.suites import Prices, SuiteConfig, SuiteReport
    from seesay.evaluation.worst_answers import WorstAnswers
    from seesay.inference.processes import OtherProcesses

ANSWERS = "answers.sqlite"
Suite = Annotated[
    str,
    typer.Argument(
        metavar="SUITE",
        help=say(
            "A suite in TOML, or a built-in one: quick, limits, standard or full.",
            "TOML 格式的套件，或内置的 quick、limits、standard、full。",
        ),
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        help=say(
            "Folder that the paths in the suite start from; else the current one.",
            "套件里的路径从这个文件夹算起；默认为当前文件夹。",
        ),
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help=say(
            "Where answers and reports go; a run begun there goes on. By default "
            "evaluations/SUITE-MODEL.",
            "回答和报告的存放处；已有未完成的评测会继续。默认为 evaluations/套件-模型。",
        ),
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help=say("Samples of each task at most.", "每个任务最多用多少个样本。")),
]
Rescore = Annotated[
    bool,
    typer.Option(
        "--rescore",
        help=say(
            "Ask nothing; score the stored answers again.", "不再提问，只给已存的回答重新评分。"
        ),
    ),
]
Against = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help=say(
            "Compare with the run in this folder, with intervals.",
            "与这个文件夹里的评测对比，并给出区间。",
        ),
    ),
]
JudgeModel = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="NAME",
        help=say(
            "Model that reads the answers, for scorers that need one.",
            "供需要评判的评分器使用的评判模型。",
        ),
    ),
]
JudgeEndpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help=say("Where the judge is; else on this machine.", "评判模型的地址；默认在本机。"),
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=say(
            "Processes that answer, each with its own copy of the model (default 1), or requests "
            "at a time to an endpoint (default 4).",
            "同时作答的进程数，各加载一份模型，默认 1；对端点则是同时发出的请求数，默认 4。",
        ),
    ),
]
Worst = Annotated[
    int,
    typer.Option(
        min=0,
        max=60,
        help=say(
            "Number of lowest-scored answers per task to show in the HTML report, with pictures.",
            "HTML 报告里每个任务展示多少个得分最低的回答（含图片）。",
        ),
    ),
]
PriceIn = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="PRICE",
        help=say(
            "Price per million input tokens, in any currency.",
            "每百万输入词元的价格，货币不限。",
        ),
    ),
]
PriceOut = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="PRICE",
        help=say("Price per million output tokens.", "每百万输出词元的价格。"),
    ),
]


def evaluate(
    suite: Suite,
    model: Assistant = None,
    adapter: Adapter = None,
    endpoint: Endpoint = None,
    data: Data = None,
    out: Out = None,
    limit: Limit = None,
    rescore: Rescore = False,
    against: Against = None,
    judge: JudgeModel = None,
    judge_endpoint: JudgeEndpoint = None,
    processes: Processes = None,
    worst: Worst = 12,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from functools import partial

    from seesay.cli.inputs import assistant_name
    from seesay.cli.output import working
    from seesay.evaluation.answer_store import AnswerStore
    from seesay.evaluation.running import open_model
    from seesay.evaluation.running import rescore as score_again
    from seesay.evaluation.suite_report import compare_runs
    from seesay.evaluation.suites import read_suite
    from seesay.evaluation.worst_answers import worst_answers
    from seesay.inference.answering import open_assistant
    from seesay.inference.processes import OtherProcesses
    from seesay.weights.catalog import default_assistant

    config = read_suite(suite, data=data, limit=limit)
    name = assistant_name(model, adapter, endpoint) or ("" if endpoint else default_assistant())
    folder = out or Path("evaluations") / f"{config.name}-{_file_name(name)}"
    reader = _judge(judge, judge_endpoint, device)
    with ExitStack() as stack:
        file = folder / ANSWERS
        if rescore:
            store = stack.enter_context(AnswerStore(file))
            report = score_again(config, store, judge=reader)
        else:
            with working(say("loading the model", "正在加载模型")):
                opened = open_model(name, endpoint=endpoint, device=device)
            folder.mkdir(parents=True, exist_ok=True)
            facts = {"model": name, "endpoint": endpoint or ""}
            store = stack.enter_context(AnswerStore(file, facts))
            opens = None if endpoint else partial(open_assistant, name, device=device)
            others = stack.enter_context(OtherProcesses(processes, opens)) if processes else None
            report = _run(config, opened, store, reader, others)
        comparisons = []
        if against is not None:
            other = stack.enter_context(AnswerStore(against / ANSWERS))
            comparisons = compare_runs(store, other, report)
        sheets = worst_answers(config, store, report, worst) if worst else []
    prices = _prices(price_in, price_out)
    _write(report, comparisons, folder, prices, sheets)
    _show(report, comparisons, folder, prices, as_json=json)


def _judge(name: str | None, endpoint: str | None, device: str | None) -> "NamedJudge | None":
    """Raises ConfigError for an endpoint without a name."""
    from seesay.errors import ConfigError
    from seesay.evaluation.running import NamedJudge
    from seesay.evaluation.scoring import Judge

    if name is None and endpoint is not None:
        raise ConfigError(
            Text(
                "--judge-endpoint stands without --judge, expected the endpoint's name of the "
                "judge: give both",
                "有 --judge-endpoint 而没有 --judge；应给出端点上评判模型的名称；请两个都给",
            )
        )
    if name is None:
        return None
    from seesay.cli.inputs import load_assistant

    assistant = load_assistant(name, endpoint, device)
    return NamedJudge(name=name, judge=Judge(lambda prompt: assistant.ask(None, prompt).text))


def _file_name(model: str) -> str:
    from seesay.weights.hub import split_adapter

    name, adapter = split_adapter(model)
    parts = [name.replace("\\", "/").rstrip("/").split("/")[-1]]
    if adapter is not None:  # that of a run is in RUN/adapter
        parts += adapter.parts[-2:]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts)) or "model"


def _prices(prompt: float | None, answer: float | None) -> "Prices | None":
    from seesay.evaluation.suites import Prices

    if prompt is None and answer is None:
        return None
    return Prices(prompt=prompt or 0.0, answer=answer or 0.0)


def _run(
    suite: "SuiteConfig",
    model: "Model",
    store: "AnswerStore",
    judge: "NamedJudge | None",
    others: "OtherProcesses | None",
) -> "SuiteReport":
    """Runs the suite with a progress bar for each task."""
    from seesay.cli.output import progress, warn
    from seesay.evaluation.running import run_suite

    with progress(say("answers", "回答")) as show:
        report = run_suite(
            suite,
            model,
            store,
            judge=judge,
            others=others,
            on_progress=lambda task, *counts: show(*counts, task),
        )
    if others is not None and others.broken:
        warn(
            say(
                "one of the processes died, perhaps out of memory; a single process answered the "
                "remaining questions",
                "有一个进程意外退出（可能是内存不足）；剩下的问题由单个进程回答",
            )
        )
    return report


def _write(
    report: "SuiteReport",
    comparisons: "list[Comparison]",
    folder: Path,
    prices: "Prices | None",
    sheets: "list[WorstAnswers]",
) -> None:
    """The three forms of the report."""
    import json

    from seesay.cli.output import language
    from seesay.data.files import write_text
    from seesay.evaluation.leaderboard import REPORT
    from seesay.evaluation.suite_report import suite_html, suite_json, suite_markdown

    page = suite_html(report, comparisons, language(), prices, sheets)
    values = suite_json(report, comparisons, prices)
    write_text(folder / "report.html", page)
    write_text(folder / "report.md", suite_markdown(report, comparisons, language(), prices))
    write_text(folder / REPORT, json.dumps(values, ensure_ascii=False, indent=2))


def _show(
    report: "SuiteReport",
    comparisons: "list[Comparison]",
    folder: Path,
    prices: "Prices | None",
    *,
    as_json: bool,
) -> None:
    from seesay.cli.output import (
        fail_unless_whole,
        language,
        localized,
        print_json,
        print_table,
        warn,
    )
    from seesay.evaluation.suite_report import suite_json, suite_tables

    if as_json:
        print_json(suite_json(report, comparisons, prices))
    else:
        for table in suite_tables(report, comparisons, language(), prices):
            print_table(table.head, table.rows, table.title)
        page = folder / "report.html"
        print(say(f"report: {page}", f"报告：{page}"))
    if report.skipped:
        names = ", ".join(report.skipped)
        warn(say(f"not for this kind of model: {names}", f"不适用于这类模型：{names}"))
    failed = {one.task: localized(one.problem) for one in report.scores if one.problem}
    fail_unless_whole(
        list(failed.items()), len({one.task for one in report.scores}), listed=as_json
    )

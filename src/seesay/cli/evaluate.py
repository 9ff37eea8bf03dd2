"""`seesay evaluate`: the answers of a model to a suite, scored by named scorers, and a report."""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Assistant, Device, Endpoint, Json
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.evaluation.suite_report import Comparison
    from seesay.evaluation.suites import NamedJudge, SuiteReport

ANSWERS = "answers.sqlite"
Suite = Annotated[
    str,
    typer.Argument(
        metavar="SUITE",
        help=say(
            "A suite in TOML, or a built-in one: quick or limits.",
            "TOML 格式的套件，或内置的 quick、limits。",
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


def evaluate(
    suite: Suite,
    model: Assistant = None,
    endpoint: Endpoint = None,
    data: Data = None,
    out: Out = None,
    limit: Limit = None,
    rescore: Rescore = False,
    against: Against = None,
    judge: JudgeModel = None,
    judge_endpoint: JudgeEndpoint = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import progress, working
    from seesay.evaluation.answer_store import AnswerStore
    from seesay.evaluation.suite_report import compare_runs
    from seesay.evaluation.suites import open_model, read_suite, run_suite
    from seesay.evaluation.suites import rescore as score_again
    from seesay.weights.catalog import default_assistant

    config = read_suite(suite, data=data, limit=limit)
    name = model or ("" if endpoint else default_assistant())
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
            with progress(say("answers", "回答")) as show:
                report = run_suite(
                    config,
                    opened,
                    store,
                    judge=reader,
                    on_progress=lambda _, done, total, lost: show(done, total, lost),
                )
        comparisons = []
        if against is not None:
            other = stack.enter_context(AnswerStore(against / ANSWERS))
            comparisons = compare_runs(store, other, report)
    _show(report, comparisons, folder, as_json=json)


def _judge(name: str | None, endpoint: str | None, device: str | None) -> "NamedJudge | None":
    """Raises ConfigError for an endpoint without a name."""
    from seesay.errors import ConfigError
    from seesay.evaluation.scoring import Judge
    from seesay.evaluation.suites import NamedJudge

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
    return re.sub(r"[^\w.-]+", "-", model.replace("\\", "/").rstrip("/").split("/")[-1]) or "model"


def _show(
    report: "SuiteReport", comparisons: "list[Comparison]", folder: Path, *, as_json: bool
) -> None:
    import json

    from seesay.cli.output import (
        fail_unless_whole,
        language,
        localized,
        print_json,
        print_table,
        warn,
        write_text,
    )
    from seesay.evaluation.suite_report import (
        suite_html,
        suite_json,
        suite_markdown,
        suite_tables,
    )

    values = suite_json(report, comparisons)
    write_text(folder / "report.html", suite_html(report, comparisons, language()))
    write_text(folder / "report.md", suite_markdown(report, comparisons, language()))
    write_text(folder / "report.json", json.dumps(values, ensure_ascii=False, indent=2))
    if as_json:
        print_json(values)
    else:
        for table in suite_tables(report, comparisons, language()):
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

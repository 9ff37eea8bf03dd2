"""Runs a suite: opens a model, asks it the questions, and scores the answers.

    with AnswerStore(Path("answers.sqlite"), {"model": "..."}) as store:
        report = run_suite(suite, open_model("seesay-assistant"), store)

Each answer is stored as it arrives; a killed run resumes after the last one and ends with the same
values. Samples that a task cannot use are left out and counted, and a task that cannot be read does
not stop the others.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seesay.errors import ConfigError, DataError, MissingExtraError, SeesayError
from seesay.evaluation.answer_store import AnswerStore
from seesay.evaluation.asking import ask_task
from seesay.evaluation.measure import MEASURES, OF_ASSISTANTS, Measure, evaluate, fits
from seesay.evaluation.samples import LeftOut
from seesay.evaluation.scorers import score
from seesay.evaluation.scoring import Judge, Values
from seesay.evaluation.suites import Cost, Scores, SuiteConfig, SuiteReport, TaskConfig
from seesay.inference.answer import Assistant
from seesay.inference.answer_writer import AnswerWriter
from seesay.inference.answering import open_assistant
from seesay.inference.embedder import Embedder, load
from seesay.inference.processes import OtherProcesses
from seesay.text import Text
from seesay.weights.catalog import find
from seesay.weights.hub import split_adapter

Model = Assistant | Embedder
Progress = Callable[[str, int, int, int], None]
"""Called with the task and the numbers of samples done, in total, and left out."""


@dataclass(frozen=True, kw_only=True)
class NamedJudge:
    """A model that reads answers."""

    name: str
    judge: Judge


def open_model(
    name: str | None, *, endpoint: str | None = None, device: str | None = None
) -> Model:
    """Opens a model that answers questions, or else an embedding model. Raises what
    `open_assistant` raises if it is neither."""
    folder = None if name is None else split_adapter(name)[0]
    if folder is not None and endpoint is None and find(folder) is not None:
        return load(name, device=device)
    try:
        return open_assistant(name, endpoint=endpoint, device=device)
    except SeesayError as error:
        if endpoint is not None or folder is None or not Path(folder).is_dir():
            raise
        try:
            return load(name, device=device)
        except SeesayError:
            raise error from None


def run_suite(
    suite: SuiteConfig,
    model: Model,
    store: AnswerStore,
    *,
    judge: NamedJudge | None = None,
    others: OtherProcesses | None = None,
    on_progress: Progress = lambda task, done, total, left_out: None,
) -> SuiteReport:
    """Asks the questions without a stored answer, and scores all answers. Raises EndpointError for
    an endpoint that keeps failing; earlier answers stay stored."""
    scores: list[Scores] = []
    skipped: list[str] = []
    for name, task in suite.tasks.items():
        if isinstance(model, Embedder):
            skipped.append(name)
            continue
        try:
            ask_task(name, task, model, store, others, partial(on_progress, name))
            scores += list(_scored(name, task, store, judge))
        except (DataError, ConfigError, MissingExtraError, OSError) as error:
            problem = Text.of(error)
            scores += [Scores(task=name, scorer=one, problem=problem) for one in task.scorers]
    for name, measure in suite.measures.items():
        if not _measurable(measure, model):
            skipped.append(name)
            continue
        scores.append(_measured(name, measure, model, store))
    return _reported(suite, store, scores, skipped)


def rescore(
    suite: SuiteConfig, store: AnswerStore, *, judge: NamedJudge | None = None
) -> SuiteReport:
    """Scores the stored answers again and asks no model but the judge."""
    tasks = {name: task for name, task in suite.tasks.items() if store.answers(name)}
    scores = [one for name, task in tasks.items() for one in _scored(name, task, store, judge)]
    skipped = [name for name in (*suite.tasks, *suite.measures) if name not in tasks]
    return _reported(suite, store, scores, skipped)


def _reported(
    suite: SuiteConfig, store: AnswerStore, scores: Sequence[Scores], skipped: Sequence[str]
) -> SuiteReport:
    used = {one.task for one in scores}
    data = {
        file: digest
        for name, digest in store.facts.items()
        if (parts := name.split("\t"))[0] == "md5" and parts[1] in used
        for file in parts[2:]
    }
    return SuiteReport(
        suite=suite.name,
        model=store.facts.get("model", ""),
        seesay=version("seesay"),
        scores=tuple(scores),
        data=data,
        skipped=tuple(skipped),
        costs=tuple(cost for name in suite.tasks if name in used and (cost := _cost(name, store))),
    )


def _cost(task: str, store: AnswerStore) -> Cost | None:
    """None without answers."""
    if not (answers := store.answers(task)):
        return None
    counted = [
        (one.prompt_tokens, one.answer_tokens)
        for one in answers
        if one.prompt_tokens is not None and one.answer_tokens is not None
    ]
    return Cost(
        task=task,
        answers=len(answers),
        counted=len(counted),
        prompt_tokens=sum(read for read, _ in counted),
        answer_tokens=sum(written for _, written in counted),
        seconds=sum((one.seconds for one in answers), start=0.0),
    )


def _scored(
    name: str, task: TaskConfig, store: AnswerStore, judge: NamedJudge | None
) -> Iterator[Scores]:
    """The scores of the stored answers by each scorer, whose verdicts are stored too."""
    stored, left_out = store.answers(name), store.left_out(name)
    certainties = [one.certainty for one in stored if one.certainty is not None]
    known = Counter(one.reason for one in left_out)
    asks = None if judge is None else store.remembering(_instructed(judge.judge, task), judge.name)
    for scorer in task.scorers:
        try:
            result = score(
                scorer,
                [one.answer for one in stored],
                [one.truth for one in stored],
                judge=asks,
                confidences=certainties if len(certainties) == len(stored) else None,
            )
        except (ConfigError, DataError, MissingExtraError) as error:
            problem = error.text if stored else _nothing(left_out)
            yield Scores(task=name, scorer=scorer, problem=problem, left_out=len(left_out))
            continue
        samples = (one.sample for one in stored)
        store.judge(name, scorer, zip(samples, result.verdicts, strict=True))
        exchanged = any(one.exchanges for one in result.verdicts)
        yield Scores(
            task=name,
            scorer=scorer,
            prompt=task.prompt,
            values=result.values,
            answers=len(stored) - result.left_out,
            left_out=len(left_out) + result.left_out,
            cut=sum(one.finish == "length" for one in stored),
            reasons=tuple((known + Counter(result.notes)).most_common()),
            seed=result.seed,
            judge=judge.name if judge is not None and exchanged else "",
        )


def _instructed(judge: Judge, task: TaskConfig) -> Judge:
    """Raises DataError if the file of an instruction cannot be read."""
    first, second = (
        _instruction(file) if file else "" for file in (task.instruction, task.second_instruction)
    )
    return Judge(judge.ask, first or judge.instruction, second or judge.second_instruction)


def _instruction(file: str) -> str:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            Text(
                f"{file} cannot be read ({error}), expected a judge prompt: correct the path",
                f"{file} 无法读取（{error}）；应为评判模型的提示词；请改正路径",
            )
        ) from None


def _nothing(left_out: Sequence[LeftOut]) -> Text:
    first = left_out[0].reason if left_out else Text("it has no sample", "没有样本")
    return Text(
        f"nothing could be asked, the first because {first.en}",
        f"没有可以提问的样本，第一个的原因：{first.zh}",
    )


def _measurable(measure: Measure, model: Model) -> bool:
    if isinstance(measure, OF_ASSISTANTS):  # they need its prompts
        return isinstance(model, AnswerWriter)
    return fits(measure, model)


def _measured(name: str, measure: Measure, model: Any, store: AnswerStore) -> Scores:
    [(kind, _)] = [(n, one) for n, one in MEASURES.items() if type(measure) is one]
    settings = json.dumps([kind, asdict(measure)], sort_keys=True, default=str)  # type: ignore[call-overload]
    scorer = f"{kind}/seesay@1"
    values: Values | None = store.measured(name, settings)
    if values is None:
        try:
            values = evaluate(model, [measure])
        except (ConfigError, DataError, MissingExtraError) as error:
            return Scores(task=name, scorer=scorer, problem=error.text)
        store.add_measured(name, settings, values)
    records = len(getattr(measure, "records", ()))
    return Scores(task=name, scorer=scorer, values=values, answers=records)

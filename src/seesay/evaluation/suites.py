"""A suite: tasks that a model answers, scored by named scorers, and measures of a model's vectors.

    suite = read_suite("quick", data=Path("../shared/data"))
    with AnswerStore(Path("answers.sqlite"), {"model": "..."}) as store:
        report = run_suite(suite, model, store)

A suite is a TOML file. Each answer is stored when it comes; a run that was killed goes on behind
the last one and ends with the same values. What a task cannot use is left out and counted, and a
task that cannot be read does not stop the others.
"""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from glob import glob
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from seesay.data.settings import ChosenByType, build, read_toml
from seesay.errors import ConfigError, DataError, EndpointError, MissingExtraError, SeesayError
from seesay.evaluation.answer_store import AnswerStore, StoredAnswer
from seesay.evaluation.measure import MEASURES, OF_ASSISTANTS, Measure, evaluate, fits
from seesay.evaluation.published import DataConfig, load_samples
from seesay.evaluation.samples import LeftOut, Picture, Sample, find_prompt, question_for
from seesay.evaluation.scorers import find_scorer, score
from seesay.evaluation.scoring import Judge, Values
from seesay.inference.answer import Answer, Assistant, Question
from seesay.inference.answer_writer import AnswerWriter
from seesay.inference.answering import AnswerConfig, answer_each, open_assistant
from seesay.inference.embedder import Embedder, load
from seesay.models.layers import require_range
from seesay.text import Text
from seesay.weights.catalog import find

BUILT_IN = {name: Path(__file__).with_name(f"{name}.toml") for name in ("quick", "limits")}
"""Suites that come with seesay, by name."""
FAILURES_IN_A_ROW = 5
"""Of an endpoint, after which a run stops: it is down, and the answers would all be left out."""
DIGITS = 4
"""Of a certainty, after the point: those behind depend on the machine and its threads."""
Model = Assistant | Embedder
Progress = Callable[[str, int, int, int], None]
"""Is given the task, the samples done, all of them, and those left out."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig(DataConfig):
    """Samples, how a model is asked, and what scores its answers."""

    prompt: str
    """Name and version of a prompt, or a text of your own with {question} in it."""
    scorers: tuple[str, ...]
    """Names and versions of scorers; all score the same answers."""
    max_tokens: int = 128
    """Longest answer."""
    instruction: str | None = None
    """File with the words that stand before each question to the judge, as the toolkit has them;
    none: the scorer's own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        find_prompt(self.prompt)
        for name in self.scorers:
            find_scorer(name)
        require_range(1, max_tokens=self.max_tokens, scorers=len(self.scorers))


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """What a model is measured by."""

    name: str
    """Stands in reports."""
    tasks: Mapping[str, TaskConfig] = field(default_factory=dict)
    """Tasks for models that answer."""
    measures: Mapping[str, Annotated[Measure, ChosenByType(MEASURES)]] = field(default_factory=dict)
    """Measures by name, each with its `kind` as in recipes: for models that make vectors, and
    answers and captions for those that answer."""

    def __post_init__(self) -> None:
        if not self.tasks and not self.measures:
            raise ConfigError(
                Text(
                    f"the suite {self.name!r} measures nothing, expected a task or a measure: add "
                    "[tasks.NAME] or [measures.NAME]",
                    f"套件 {self.name!r} 没有内容；至少应有一个任务或一项评测；请加上 "
                    "[tasks.名称] 或 [measures.名称]",
                )
            )


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a scorer says about a task. Raises ConfigError without a scorer that is known."""

    task: str
    scorer: str
    """Name and version; a measure is its name in seesay, such as retrieval/seesay@1."""
    prompt: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    """By name; empty if nothing could be scored."""
    answers: int = 0
    """Answers that were scored."""
    left_out: int = 0
    """Samples without an answer, and answers without a verdict."""
    cut: int = 0
    """Answers that were not finished within the tokens allowed."""
    reasons: tuple[tuple[Text, int], ...] = ()
    """Why something was left out or could not be read, the most frequent first, and how often."""
    problem: Text | None = None
    """Why there are no values."""
    seed: int | None = None
    """Of what the scorer drew."""
    judge: str = ""
    """The model that read the answers, if one did."""

    def __post_init__(self) -> None:
        if self.scorer not in MEASURED:
            find_scorer(self.scorer)


MEASURED = {f"{name}/seesay@1": name for name in MEASURES}


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """The values of a model in a suite."""

    suite: str
    model: str
    seesay: str
    """Version."""
    scores: tuple[Scores, ...]
    data: Mapping[str, str] = field(default_factory=dict)
    """MD5 of each file of the tasks, as toolkits publish it."""
    skipped: tuple[str, ...] = ()
    """Tasks and measures of other kinds of models."""


@dataclass(frozen=True, kw_only=True)
class NamedJudge:
    """A model that reads answers."""

    name: str
    judge: Judge


# Reading a suite, opening a model


def read_suite(
    name: str | Path, *, data: Path | None = None, limit: int | None = None
) -> SuiteConfig:
    """Reads a suite from a file, or a built-in one by name. Paths in it start from the folder
    `data`, else from the current one; `limit` is for every task. Raises ConfigError if a setting is
    wrong."""
    table = read_toml(BUILT_IN.get(str(name), Path(name)))
    suite = build(SuiteConfig, table)
    place = partial(_placed, folder=data)
    tasks = {key: place(task) for key, task in suite.tasks.items()}
    if limit is not None:
        limits = {key: min(limit, task.limit or limit) for key, task in tasks.items()}
        tasks = {key: replace(task, limit=limits[key]) for key, task in tasks.items()}
    measures = {key: place(one) for key, one in suite.measures.items()}
    return replace(suite, tasks=tasks, measures=measures)


def _placed(config: Any, folder: Path | None) -> Any:
    """The config with its paths in a folder."""
    names = ["data", "path", "images", "annotations", "classes", "added", "kept", "frequencies"]
    names += ["instruction"]
    paths = {name: getattr(config, name, None) for name in names}
    there = {name: str((folder or Path()) / path) for name, path in paths.items() if path}
    return replace(config, **there)


def open_model(
    name: str | None, *, endpoint: str | None = None, device: str | None = None
) -> Model:
    """Opens a model that answers, or else one that makes vectors. Raises what `open_assistant`
    raises if it is neither."""
    if name is not None and endpoint is None and find(name) is not None:
        return load(name, device=device)
    try:
        return open_assistant(name, endpoint=endpoint, device=device)
    except SeesayError as error:
        if endpoint is not None or name is None or not Path(name).is_dir():
            raise
        try:
            return load(name, device=device)
        except SeesayError:
            raise error from None


# Running it


def run_suite(
    suite: SuiteConfig,
    model: Model,
    store: AnswerStore,
    *,
    judge: NamedJudge | None = None,
    on_progress: Progress = lambda task, done, total, left_out: None,
) -> SuiteReport:
    """Asks what has not been answered, and scores all answers. Raises EndpointError for an endpoint
    that fails again and again; what came before is stored."""
    scores: list[Scores] = []
    skipped: list[str] = []
    for name, task in suite.tasks.items():
        if isinstance(model, Embedder):
            skipped.append(name)
            continue
        try:
            _answer(name, task, model, store, partial(on_progress, name))
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
    )


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


# Asking


def _answer(
    name: str,
    task: TaskConfig,
    assistant: Assistant,
    store: AnswerStore,
    report: Callable[[int, int, int], None],
) -> None:
    """Asks what has not been asked in the same way, and stores each answer."""
    config = AnswerConfig(max_tokens=task.max_tokens)
    loaded = load_samples(task)
    for pattern in filter(None, (task.data, task.annotations)):
        for file in sorted(glob(str(Path(pattern).expanduser()), recursive=True)):
            store.add_fact(f"md5\t{name}\t{file}", _md5(Path(file)))
    store.begin(name)
    run = _Run(name, task, store, json.dumps(asdict(config), sort_keys=True))
    failures = 0
    block: list[tuple[int, StoredAnswer]] = []
    for answer in answer_each(assistant, run.questions(loaded.samples), config):
        number, question = run.waiting.popleft()
        if isinstance(answer, Answer):
            failures = 0
            block.append((number, _answered(question, answer)))
        else:
            failures = failures + 1 if isinstance(answer, EndpointError) else 0
            if failures == FAILURES_IN_A_ROW:
                raise answer
            run.leave_out(LeftOut(question.sample, answer.text))
        # A model on this machine reads a batch at a time, and the last digits depend on what is in
        # it: a batch is stored as a whole, so that a resumed run forms the same ones.
        if not (isinstance(assistant, AnswerWriter) and run.waiting):
            store.add(name, block)
            block = []
        done = run.read - len(run.waiting)
        report(done, max(done, loaded.total), run.left_out)
    report(run.read, run.read, run.left_out)


def _answered(question: StoredAnswer, answer: Answer) -> StoredAnswer:
    certainty = None if answer.certainty is None else round(answer.certainty, DIGITS)
    return replace(question, answer=answer.text, finish=answer.finish_reason, certainty=certainty)


class _Run:
    """The questions of a task, on their way to a model."""

    def __init__(self, name: str, task: TaskConfig, store: AnswerStore, settings: str) -> None:
        self.waiting: deque[tuple[int, StoredAnswer]] = deque()
        """Questions without an answer yet, in the order in which they are asked."""
        self.read = 0
        self.left_out = 0
        self._name, self._store, self._settings = name, store, settings
        self._prompt = find_prompt(task.prompt)

    def questions(
        self, samples: Iterator[Sample | LeftOut]
    ) -> Iterator[tuple[tuple[Picture, ...], Question]]:
        """Yields what is to be asked; what has been asked is kept as it is."""
        for number, one in enumerate(samples):
            self.read += 1
            if isinstance(one, LeftOut):
                self.leave_out(one)
                continue
            text = self._prompt.of(one)
            stored = self._stored(one, text)
            if stored is not None and not self._store.keep(self._name, number, stored):
                self.waiting.append((number, stored))
                yield question_for(one, text)

    def leave_out(self, one: LeftOut) -> None:
        self.left_out += 1
        self._store.leave_out(self._name, one)

    def _stored(self, sample: Sample, prompt: str) -> StoredAnswer | None:
        digest = hashlib.sha256()
        for image in sample.images:
            try:
                content = image if isinstance(image, bytes) else image.read_bytes()
            except OSError as error:
                reason = Text(
                    f"{image!s} cannot be read ({error.strerror}), expected a picture: correct "
                    "`images`, or copy it there",
                    f"{image!s} 无法读取（{error.strerror}）；应为图片；请改正 images，"
                    "或把图片复制过去",
                )
                self.leave_out(LeftOut(sample.key, reason))
                return None
            digest.update(hashlib.sha256(content).digest())
        return StoredAnswer(
            sample=sample.key,
            prompt=prompt,
            pictures=digest.hexdigest(),
            settings=self._settings,
            truth=sample.truth,
            answer="",
        )


# Scoring


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
    """Raises DataError if the file of the instruction cannot be read."""
    if task.instruction is None:
        return judge
    try:
        return Judge(judge.ask, Path(task.instruction).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            Text(
                f"{task.instruction} cannot be read ({error}), expected a text for the judge: "
                "correct the path",
                f"{task.instruction} 无法读取（{error}）；应为给评判模型的文字；请改正路径",
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

"""A suite: tasks that a model answers, scored by named scorers, and measures of a model's vectors;
and what comes of it.

    suite = read_suite("quick", data=Path("../shared/data"))

A suite is a TOML file. `running.run_suite` asks a model, and `suite_report` writes what came of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from seesay.data.settings import ChosenByType, build, read_toml
from seesay.errors import ConfigError
from seesay.evaluation.measure import MEASURES, Measure
from seesay.evaluation.samples import find_prompt
from seesay.evaluation.scorers import find_scorer
from seesay.evaluation.sets import DataConfig
from seesay.inference.decoding import ContrastConfig
from seesay.models.layers import require_range
from seesay.text import Text

BUILT_IN = {
    name: Path(__file__).with_name(f"{name}.toml")
    for name in ("quick", "limits", "standard", "full")
}
"""Suites that come with seesay, by name."""
MEASURED = {f"{name}/seesay@1": name for name in MEASURES}
"""Measures by what stands for a scorer beside their values."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig(DataConfig):
    """Samples, the prompt for the model, and the scorers of its answers."""

    prompt: str
    """Name and version of a prompt, or your own text containing {question}."""
    scorers: tuple[str, ...]
    """Names and versions of scorers; all score the same answers; leaderboards show the first."""
    max_tokens: int = 128
    """Maximum tokens of an answer."""
    contrast: ContrastConfig | None = None
    """Visual contrastive decoding, for local models."""
    instruction: str | None = None
    """File with the toolkit's judge prompt, put before each question to the judge; none: the
    scorer's own."""
    second_instruction: str | None = None
    """The same for the second question to the judge (MathVerse)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        find_prompt(self.prompt)
        for name in self.scorers:
            find_scorer(name)
        require_range(1, max_tokens=self.max_tokens, scorers=len(self.scorers))


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """The tasks and measures to evaluate a model on."""

    name: str
    """Name shown in reports."""
    tasks: Mapping[str, TaskConfig] = field(default_factory=dict)
    """Tasks for models that answer questions."""
    measures: Mapping[str, Annotated[Measure, ChosenByType(MEASURES)]] = field(default_factory=dict)
    """Measures by name, each with its `kind` as in recipes: for embedding models, and answers and
    captions for models that answer questions."""

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
    """Answers cut off at max_tokens."""
    reasons: tuple[tuple[Text, int], ...] = ()
    """Why something was skipped or could not be read, and how often, most frequent first."""
    problem: Text | None = None
    """Why there are no values."""
    seed: int | None = None
    """Of what the scorer drew."""
    judge: str = ""
    """The model that read the answers, if one did."""

    def __post_init__(self) -> None:
        if self.scorer not in MEASURED:
            find_scorer(self.scorer)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the answers to a task took. A judge's own tokens are not counted."""

    task: str
    answers: int
    counted: int
    """Answers whose tokens are known: not all endpoints report them."""
    prompt_tokens: int
    """Read for these, pictures included."""
    answer_tokens: int
    """Written for these."""
    seconds: float
    """From the first question to the last answer, without what was interrupted."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices per million tokens, in any currency."""

    prompt: float = 0.0
    """Of input tokens."""
    answer: float = 0.0
    """Of output tokens."""

    def of(self, cost: Cost) -> float:
        """The price of the answers whose tokens are known."""
        return (self.prompt * cost.prompt_tokens + self.answer * cost.answer_tokens) / 1e6


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
    costs: tuple[Cost, ...] = field(default=(), compare=False)
    """Of each task; no two runs take the same time."""


def read_suite(
    name: str | Path, *, data: Path | None = None, limit: int | None = None
) -> SuiteConfig:
    """Reads a suite from a file, or a built-in one by name. Paths in it start from the folder
    `data`, else from the current one; `limit` is for every task. Raises ConfigError if a setting is
    wrong."""
    file = BUILT_IN.get(str(name), Path(name))
    if not file.exists():
        known = ", ".join(BUILT_IN)
        raise ConfigError(
            Text(
                f"there is no suite {name}, expected one of {known}, or a TOML file: correct the "
                "name",
                f"没有名为 {name} 的评测套件；应为 {known} 之一，或一个 TOML 文件；请改正名称",
            )
        )
    suite = build(SuiteConfig, read_toml(file))
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
    names += ["instruction", "second_instruction"]
    paths = {name: getattr(config, name, None) for name in names}
    there = {name: str((folder or Path()) / path) for name, path in paths.items() if path}
    return replace(config, **there)

"""Which vision-language models of the catalogue meet a need, best first, and why the others do not.

    found = recommend(Need(task="ocr", language="zh", memory=8_000_000_000))
    found.ranked[0].alias, found.ranked[0].reason, found.excluded[0].reasons

It only selects from the catalogue: to change an answer, change a line there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean

from seesay.errors import ConfigError
from seesay.text import Text
from seesay.weights.catalog import (
    CONTEXT,
    AssistantEntry,
    Commercial,
    Figure,
    Language,
    NumberType,
    Purpose,
    Task,
    published_assistants,
)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the model is for."""

    task: Task
    language: Language | None = None
    """Language the model must be trained on."""
    memory: int | None = None
    """Bytes of memory available."""
    commercial: bool = False
    """Whether the licence must allow commercial use, possibly under conditions."""
    tokens: int = CONTEXT
    """Tokens of prompt and answer to reserve memory for."""

    def __post_init__(self) -> None:
        if min(self.tokens, 1 if self.memory is None else self.memory) < 1:
            given = f"memory={self.memory}, tokens={self.tokens}"
            raise ConfigError(
                Text(
                    f"{given} leave no room for a model; expected numbers above 0. Correct them",
                    f"{given} 放不下任何模型；应为大于 0 的数；请改正",
                )
            )


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A model that fits."""

    alias: str
    name: str
    """Hub repository."""
    purpose: Purpose
    share: float
    """Ranking score from 0 to 1: each figure divided by the catalogue's best on the same benchmark,
    averaged."""
    figures: tuple[Figure, ...]
    """Its figures for the task."""
    number_type: NumberType
    """The most precise type that fits, up to bfloat16."""
    memory: int
    """Bytes it takes in that type."""
    photo_tokens: int
    page_tokens: int
    languages: tuple[Language, ...]
    licence: str
    commercial: Commercial
    reason: Text
    """Why it is recommended, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A model that does not fit."""

    alias: str
    name: str
    least_memory: int
    """Bytes it takes in its smallest number type."""
    reasons: tuple[Text, ...]
    """All reasons against it."""


@dataclass(frozen=True, kw_only=True)
class Recommendations:
    """Every model of the catalogue, in one of two lists."""

    need: Need
    ranked: tuple[Recommendation, ...]
    excluded: tuple[Exclusion, ...]


def recommend(need: Need, entries: Mapping[str, AssistantEntry] | None = None) -> Recommendations:
    """Returns the models that fit, best first, and those that do not.

    The catalogue defaults to seesay's own. Figures on different benchmarks cannot be compared, so a
    model is ranked by how close it comes to the best figure on each of its benchmarks.
    """
    every = (published_assistants() if entries is None else entries).values()
    best = _best(figure for entry in every for figure in _figures(entry, need.task))
    ranked, excluded = [], []
    for entry in every:
        number_type, reasons = _number_type(entry, need), _obstacles(entry, need)
        if number_type is not None and not reasons:
            ranked.append(_recommendation(entry, need, number_type, best))
            continue
        least = entry.memory(entry.number_types[-1], need.tokens)
        if number_type is None:
            reasons += (Text("needs more memory", "需要更多内存"),)
        excluded.append(
            Exclusion(alias=entry.alias, name=entry.name, least_memory=least, reasons=reasons)
        )
    ranked.sort(key=lambda one: (-one.share, one.memory, one.alias))
    return Recommendations(need=need, ranked=tuple(ranked), excluded=tuple(excluded))


def _figures(entry: AssistantEntry, task: Task) -> tuple[Figure, ...]:
    return tuple(figure for figure in entry.figures if figure.task == task)


def _best(figures: Iterable[Figure]) -> dict[str, float]:
    """Returns the best score on each benchmark."""
    best: dict[str, float] = {}
    for figure in figures:
        best[figure.benchmark] = max(figure.score, best.get(figure.benchmark, 0.0))
    return best


def _obstacles(entry: AssistantEntry, need: Need) -> tuple[Text, ...]:
    """Returns the reasons against a model, apart from its size."""
    found = []
    if need.language is not None and need.language not in entry.languages:
        found.append(_UNTRAINED[need.language])
    if need.commercial and entry.commercial in _LICENCES:
        found.append(_LICENCES[entry.commercial])
    if entry.purpose == "matcher":
        found.append(Text("compares pictures with texts and writes none", "只比较图文，不生成文字"))
    elif not _figures(entry, need.task):
        found.append(_WITHOUT_FIGURE)
    return tuple(found)


_WITHOUT_FIGURE = Text(
    "no published figure for this task in the catalogue", "目录里没有这项任务的公开成绩"
)
_UNTRAINED: dict[str, Text] = {
    "en": Text("not trained on English", "没有用英文训练"),
    "zh": Text("not trained on Chinese", "没有用中文训练"),
    "multilingual": Text("not trained on many languages", "没有用多种语言训练"),
}
_LICENCES: dict[str, Text] = {
    "no": Text("its licence forbids commercial use", "许可证禁止商用"),
    "unknown": Text("unclear whether it may be used commercially", "能否商用不明确"),
}
_NAMES: dict[str, Text] = {
    "en": Text("English", "英文"),
    "zh": Text("Chinese", "中文"),
    "multilingual": Text("others", "其他语言"),
}


def _number_type(entry: AssistantEntry, need: Need) -> NumberType | None:
    """Returns the most precise number type that fits, from bfloat16 (as most are published) down;
    None if none does."""
    for one in entry.number_types[1:]:
        if need.memory is None or entry.memory(one, need.tokens) <= need.memory:
            return one
    return None


def _recommendation(
    entry: AssistantEntry, need: Need, number_type: NumberType, best: Mapping[str, float]
) -> Recommendation:
    figures, memory = _figures(entry, need.task), entry.memory(number_type, need.tokens)
    return Recommendation(
        alias=entry.alias,
        name=entry.name,
        purpose=entry.purpose,
        share=round(mean(figure.score / best[figure.benchmark] for figure in figures), 4),
        figures=figures,
        number_type=number_type,
        memory=memory,
        photo_tokens=entry.photo_tokens,
        page_tokens=entry.page_tokens,
        languages=entry.languages,
        licence=entry.licence,
        commercial=entry.commercial,
        reason=_reason(entry, figures, number_type, memory),
    )


def _reason(
    entry: AssistantEntry, figures: tuple[Figure, ...], number_type: NumberType, memory: int
) -> Text:
    licence = Text(entry.licence, entry.licence_zh or entry.licence)
    if entry.terms_en:
        licence = Text(": ", "：").join([licence, Text(entry.terms_en, entry.terms_zh)])
    parts = [
        *(Text.of(f"{one.benchmark} {one.score:.1f} ({one.source})") for one in figures),
        Text(f"{memory / 1e9:.1f} GB in {number_type}", f"{number_type} 占 {memory / 1e9:.1f} GB"),
        Text(", ", "、").join(_NAMES[code] for code in entry.languages),
        licence,
    ]
    return Text("; ", "；").join(parts)

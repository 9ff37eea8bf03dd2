"""The published models known by name, their needs and uses, as frozen records.

catalog.toml lists embedding models, catalog_assistants.toml vision-language models.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from seesay.errors import ConfigError, UnknownModelError
from seesay.text import Text

BUILT_IN = "seesay-base"
MODEL = "SEESAY_MODEL"
"""Environment variable for the default model."""

BUILT_IN_TEXTS = "seesay-text"
TEXT_MODEL = "SEESAY_TEXT_MODEL"
"""Environment variable for the text embedder of new collections."""

BUILT_IN_ASSISTANT = "seesay-assistant"
ASSISTANT = "SEESAY_ASSISTANT"
"""Environment variable for the default assistant."""

Layout = Literal["seesay", "hf", "open_clip", "cn_clip", "open_flamingo"]
Language = Literal["en", "zh", "multilingual"]


def default_model() -> str:
    """Returns the default model: that of SEESAY_MODEL, or the built-in one."""
    return os.environ.get(MODEL) or BUILT_IN


def default_text_model() -> str:
    """Returns the text embedder of new collections, or "none"."""
    return os.environ.get(TEXT_MODEL) or BUILT_IN_TEXTS


def default_assistant() -> str:
    """Returns the default assistant: the one SEESAY_ASSISTANT names, else the built-in one."""
    return os.environ.get(ASSISTANT) or BUILT_IN_ASSISTANT


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One published checkpoint."""

    alias: str
    """Short name for the command line."""
    family: str
    """Family of the model, such as "Chinese-CLIP"."""
    repo: str = ""
    """Repository on Hugging Face; empty for models that come with seesay."""
    modelscope: str = ""
    """Repository on ModelScope, if a copy is known."""
    revision: str = "main"
    """Commit on Hugging Face, or "main" if none could be verified."""
    layout: Layout | None = None
    """Which layout of the repository to read, if the first one found is not the best."""
    megabytes: int
    """Size of the download (10^6 bytes), all parts together."""
    parameters_m: int
    """Millions of parameters."""
    licence: str
    """Licence of the weights."""
    licence_zh: str = ""
    """The licence in Chinese, if it is not a proper name."""
    languages: tuple[Language, ...]
    """Training languages; "multilingual" means many more than those listed."""
    image_half: str = ""
    """Catalogue name of the checkpoint with the image tower, if it is separate."""
    tokenizer: str = ""
    """Catalogue name of the checkpoint with the tokenizer files, if its own repository has none."""

    def __post_init__(self) -> None:
        if min(self.megabytes, self.parameters_m) <= 0:
            numbers = (self.megabytes, self.parameters_m)
            raise _wrong(self.alias, f"the numbers {numbers}", "sizes above 0")
        if not re.fullmatch(r"main|[0-9a-f]{40}", self.revision):
            raise _wrong(self.alias, f"revision={self.revision!r}", "main or a 40-digit commit")

    @property
    def name(self) -> str:
        """The hub id, or the alias of a built-in model."""
        return self.repo or self.alias

    @property
    def built_in(self) -> Path | None:
        """The folder of a model that comes with seesay; None for a model of a hub."""
        return None if self.repo else Path(__file__).with_name(self.alias)


@dataclass(frozen=True, kw_only=True)
class EmbeddingEntry(CatalogEntry):
    """A checkpoint that embeds pictures and texts, or only texts."""

    image_size: int
    """Side of the square that the image tower sees, in pixels; 0 for a text-only model."""
    smallest_dim: int = 0
    """Smallest dimension its vectors may be truncated to (Matryoshka training); else 0."""
    top1: float | None = None
    """Published zero-shot accuracy on ImageNet-1K in percent."""
    prompts: Literal["en", "zh"] = "en"
    """Language of the prompts for `top1`."""
    source: str = ""
    """Source of `top1`."""
    query_prefix: str = ""
    """What is put before a query, if the files do not say."""
    passage_prefix: str = ""
    """What is put before a passage, if the files do not say."""
    recommended_en: str = ""
    """Recommended use; empty for other models."""
    recommended_zh: str = ""
    """The recommended use in Chinese."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < 0 or not 0 < (1 if self.top1 is None else self.top1) <= 100:
            numbers = (self.image_size, self.top1)
            raise _wrong(self.alias, f"the numbers {numbers}", "sizes from 0, percent up to 100")
        if (self.top1 is None) != (not self.source):
            raise _wrong(self.alias, f"top1={self.top1}, source={self.source!r}", "both or none")
        if bool(self.recommended_en) != bool(self.recommended_zh):
            raise _wrong(self.alias, "a recommendation in one language", "it in en and zh")

    @property
    def purpose(self) -> str:
        """What the model is for: "embedding" or "text"."""
        return "embedding" if self.image_size else "text"


# Vision-language models


NumberType = Literal["float32", "bfloat16", "int8", "int4"]
"""How weights are stored in memory. Only the language model is quantized to int8 or int4."""
BYTES: dict[NumberType, float] = {"float32": 4, "bfloat16": 2, "int8": 1, "int4": 0.625}
"""Bytes per weight; int4 adds a scale and an offset in bfloat16 for every 32 weights."""
CONTEXT = 8192
"""Default number of tokens to count cache memory for."""
Purpose = Literal["assistant", "captioner", "matcher"]
Task = Literal["caption", "vqa", "ocr", "documents", "video", "pictures", "chinese"]
TASKS: tuple[Task, ...] = get_args(Task)
Commercial = Literal["yes", "conditions", "no", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published measurement."""

    benchmark: str
    task: Task
    """The task that the benchmark is counted under; "pictures" means several at once."""
    score: float
    """Larger is better: percent, except for CIDEr, which has no maximum."""
    source: str


@dataclass(frozen=True, kw_only=True)
class AssistantEntry(CatalogEntry):
    """A vision-language checkpoint."""

    purpose: Purpose = "assistant"
    """A captioner describes pictures but takes no questions; a matcher only compares."""
    files: Literal["hf", "original"]
    """Whether the repository uses transformers' layout or the authors'."""
    other_form: str = ""
    """Repository with the same weights in the other layout."""
    stored_bytes: int = 2
    """Bytes of a weight in the files."""
    tower: str
    """Image tower."""
    connector: str
    """Connector from image patches to tokens."""
    language_model: str
    scheme: str
    """How pictures become tokens: a key of `seesay.data.token_budget.SCHEMES`, or empty."""
    photo_tokens: int
    """Tokens of a photograph of 1024 x 768 pixels."""
    page_tokens: int
    """Tokens of an A4 page at 150 dpi."""
    context: int
    """Most tokens in a prompt and its answer."""
    depth: int
    """Layers of the language model that keep keys and values."""
    key_heads: int
    """Key and value heads."""
    head_dim: int
    """Width of a head."""
    layers_m: int = 0
    """Millions of weights in the language model's layers that int8 and int4 shrink; 0 if it cannot
    be quantized."""
    head_m: int = 0
    """Millions of weights in the output head, which is int8 in both int8 and int4."""
    tied: bool = False
    """Whether the head shares the token embeddings; quantizing then stores a separate copy."""
    commercial: Commercial = "unknown"
    """Whether the licence allows commercial use."""
    terms_en: str = ""
    """The conditions, or what is unclear."""
    terms_zh: str = ""
    figures: tuple[Figure, ...] = ()
    """Published figures, verified at their source."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.context, self.depth, self.key_heads, self.head_dim, self.stored_bytes) <= 0:
            raise _wrong(self.alias, "a size of 0 or below", "sizes above 0")
        if bool(self.terms_en) != bool(self.terms_zh):
            raise _wrong(self.alias, "terms in one language", "them in en and zh")

    @property
    def number_types(self) -> tuple[NumberType, ...]:
        """Number types it can be loaded in, largest first."""
        every: tuple[NumberType, ...] = tuple(BYTES)
        return every if self.layers_m else every[:2]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks it has figures for."""
        return tuple(dict.fromkeys(figure.task for figure in self.figures))

    def memory(self, number_type: NumberType, tokens: int = CONTEXT) -> int:
        """Returns the bytes for the weights plus the keys and values of this many tokens, at most
        the whole context. Working memory is not counted."""
        wide = 4 if number_type == "float32" else 2
        cache = 2 * self.depth * self.key_heads * self.head_dim * min(tokens, self.context) * wide
        weights: float = self.parameters_m * wide
        if number_type in ("int8", "int4"):
            replaced = self.layers_m + (0 if self.tied else self.head_m)
            weights += self.layers_m * BYTES[number_type] + self.head_m - replaced * wide
        return round(weights * 1e6) + cache


Entry = TypeVar("Entry", bound=CatalogEntry)


def read_catalog(path: Path) -> dict[str, EmbeddingEntry]:
    """Returns the entries of a catalogue file by alias.

    The file has one [[family]] table per family: values its checkpoints share, and `checkpoints`,
    one inline table each. Raises ConfigError for a wrong key or value.
    """
    entries = _by_alias(_entry(EmbeddingEntry, values) for values in _read(path)[1])
    for entry in entries.values():
        for other in (entry.image_half, entry.tokenizer):
            if other and other not in entries:
                raise _wrong(entry.alias, f"a reference to {other!r}", "the alias of an entry")
    return entries


def read_assistants(path: Path) -> dict[str, AssistantEntry]:
    """Returns the entries of a catalogue of vision-language models by alias.

    Besides its families, the file has [tasks], with their benchmarks, and [licences], with what
    they allow. `figures` has one table per source, with scores by benchmark. Raises ConfigError for
    a wrong key or value.
    """
    data, checkpoints = _read(path)
    return _by_alias(_entry(AssistantEntry, _resolved(values, data)) for values in checkpoints)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the parsed file and the settings of each checkpoint in it."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return data, [
            {
                name: value
                for name, value in (*family.items(), *own.items())
                if name != "checkpoints"
            }
            for family in data["family"]
            for own in family["checkpoints"]
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            Text(
                f"{path} is no catalogue ({error!r}); expected [[family]] tables with checkpoints "
                "= [{...}, ...]; compare it with the one that comes with seesay",
                f"{path} 不是模型目录（{error!r}）；应为 [[family]] 表，其中 checkpoints = "
                "[{...}, ...]；请与 seesay 自带的对照",
            )
        ) from None


def _resolved(values: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a checkpoint's values, completed with its licence terms and benchmarks."""
    alias, licences = str(values.get("alias")), data.get("licences", {})
    benchmarks = {name: task for task in TASKS for name in data.get("tasks", {}).get(task, ())}
    if values.get("licence") not in licences:
        raise _wrong(alias, f"licence={values.get('licence')!r}", f"one of {', '.join(licences)}")
    figures = []
    for source, scores in values.get("figures", {}).items():
        for name, score in scores.items():
            if name not in benchmarks:
                raise _wrong(alias, f"a figure on {name!r}", f"one on {', '.join(benchmarks)}")
            figures.append(
                Figure(benchmark=name, task=benchmarks[name], score=float(score), source=source)
            )
    known = {**licences[values["licence"]], **values}
    known.pop("figures", None)
    return {**known, **({"figures": figures} if figures else {})}


def _by_alias(entries: Iterable[Entry]) -> dict[str, Entry]:
    by_alias: dict[str, Entry] = {}
    for entry in entries:
        if entry.alias in by_alias:
            raise _wrong(entry.alias, "two checkpoints of this name", "one")
        by_alias[entry.alias] = entry
    return by_alias


@cache
def published_models() -> dict[str, EmbeddingEntry]:
    """Returns the embedding models of seesay's catalogue, by alias."""
    return read_catalog(Path(__file__).with_name("catalog.toml"))


@cache
def published_assistants() -> dict[str, AssistantEntry]:
    """Returns the vision-language models of seesay's catalogue, by alias."""
    return read_assistants(Path(__file__).with_name("catalog_assistants.toml"))


def find(name: str) -> EmbeddingEntry | None:
    """Finds the embedding model with this alias or hub id, ignoring case."""
    return _find(name, published_models())


def find_assistant(name: str) -> AssistantEntry | None:
    """Finds the vision-language model with this alias or hub id, ignoring case."""
    return _find(name, published_assistants())


def _find(name: str, entries: Mapping[str, Entry]) -> Entry | None:
    if wanted := name.strip().casefold():
        for entry in entries.values():
            names = (entry.alias, entry.repo, entry.modelscope)
            if wanted in (one.casefold() for one in names):
                return entry
    return None


def require_embedding(name: str) -> None:
    """Raises ConfigError if the name is that of a vision-language model, not an embedding model."""
    if (entry := find_assistant(name)) is not None:
        raise ConfigError(
            Text(
                f"{entry.alias} answers questions and makes no vectors; expected a model that "
                "embeds. Load it with seesay.chat, or choose another: seesay models list "
                "--kind embedding",
                f"{entry.alias} 用来回答问题，不产生向量；应为嵌入模型；请用 seesay.chat 加载它，"
                "或另选一个：seesay models list --kind embedding",
            )
        )


def require_assistant(name: str) -> None:
    """Raises ConfigError if the name is that of an embedding model, not a vision-language model."""
    if (entry := find(name)) is not None:
        raise ConfigError(
            Text(
                f"{entry.alias} makes vectors and answers no questions; expected a vision-language "
                "model. Load it with seesay.load, or choose another: seesay models list "
                "--kind assistant",
                f"{entry.alias} 产生向量，不回答问题；应为视觉语言模型；请用 seesay.load 加载它，"
                "或另选一个：seesay models list --kind assistant",
            )
        )


def nearest(name: str, count: int = 3) -> list[str]:
    """Returns aliases and hub ids similar to `name`, best first."""
    entries = (*published_models().values(), *published_assistants().values())
    names = {known.casefold(): known for e in entries for known in (e.alias, e.repo)}
    # People leave out the owner.
    names |= {key.split("/")[-1]: known for key, known in names.items() if "/" in key}
    near = difflib.get_close_matches(name.strip().casefold(), names, n=2 * count, cutoff=0.5)
    return list(dict.fromkeys(names[key] for key in near))[:count]


def unknown_model(name: str, reason: Text | None = None) -> UnknownModelError:
    """Returns the error for an unknown name, with suggestions."""
    near = nearest(name)
    ask = f" Did you mean {' or '.join(near)}?" if near else ""
    ask_zh = f"是不是想用 {' 或 '.join(near)}？" if near else ""
    return UnknownModelError(
        Text(
            f"there is no model {name!r}{f' ({reason.en})' if reason else ''}; expected a name of "
            f"the catalogue, a hub repository (owner/name) or a folder.{ask} See: seesay models "
            "list",
            f"没有模型 {name!r}{f'（{reason.zh}）' if reason else ''}；应为目录里的名字、"
            f"模型站点上的仓库（owner/name）或文件夹。{ask_zh}可用的见 seesay models list",
        )
    )


def _entry(record: type[Entry], values: Mapping[str, Any]) -> Entry:
    alias = str(values.get("alias", "an entry without alias"))
    known = {field.name: field for field in fields(record)}
    if unknown := sorted(values.keys() - known.keys()):
        raise _wrong(alias, f"a key {unknown[0]!r}", ", ".join(known))
    needed = [name for name, field in known.items() if field.default is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise _wrong(alias, f"no {missing[0]!r}", ", ".join(needed))
    tuples: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    for name, value in tuples.items():
        if not _fits(value, known[name].type):
            raise _wrong(alias, f"{name}={value!r}", str(known[name].type))
    return record(**tuples)


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value has an annotated type; an int is accepted for a float."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):  # X | None of a Literal is the older kind
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and value != () and all(_fits(v, parts[0]) for v in value)
    allowed = (int, float) if kind is float else kind
    return isinstance(value, allowed) and isinstance(value, bool) == (kind is bool)


def _wrong(alias: str, problem: str, expected: str) -> ConfigError:
    return ConfigError(
        Text(
            f"catalogue entry {alias!r} has {problem}; expected {expected}; correct it in the "
            "catalogue",
            f"目录条目 {alias!r} 有误（{problem}）；应为 {expected}；请在目录里改正",
        )
    )

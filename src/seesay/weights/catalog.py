"""The published models known by name, their needs and uses: catalog.toml as frozen records."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from seesay.errors import ConfigError, UnknownModelError
from seesay.text import Text

BUILT_IN = "seesay-mini"
MODEL = "SEESAY_MODEL"
"""Environment variable with the model to take where none is named."""

BUILT_IN_ASSISTANT = ""
"""The assistant that comes with seesay; empty while none does."""
ASSISTANT = "SEESAY_ASSISTANT"
"""Environment variable with the assistant to ask where none is named."""

Layout = Literal["seesay", "hf", "open_clip", "cn_clip", "open_flamingo"]
Language = Literal["en", "zh", "multilingual"]


def default_model() -> str:
    """The model to take where none is named: that of SEESAY_MODEL, or the built-in one."""
    return os.environ.get(MODEL) or BUILT_IN


def has_assistant() -> bool:
    """Whether there is an assistant where none is named."""
    return bool(os.environ.get(ASSISTANT) or BUILT_IN_ASSISTANT)


def default_assistant() -> str:
    """The assistant to ask where none is named: that of SEESAY_ASSISTANT, or the built-in one.

    Raises ConfigError while there is neither.
    """
    if name := os.environ.get(ASSISTANT) or BUILT_IN_ASSISTANT:
        return name
    raise ConfigError(
        Text(
            "no assistant was named, and none comes with seesay yet; expected a vision-language "
            "model. Name a folder or a hub repository with --model, such as "
            "Qwen/Qwen2-VL-2B-Instruct, or an endpoint with --endpoint URL --model NAME; "
            f"{ASSISTANT} sets it for good",
            "没有指定视觉语言模型，而 seesay 目前还不自带；请用 --model 给出文件夹或模型仓库，如 "
            "Qwen/Qwen2-VL-2B-Instruct，或用 --endpoint 网址 --model 名称 给出端点；"
            f"也可用环境变量 {ASSISTANT} 设定",
        )
    )


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """One published checkpoint."""

    alias: str
    """Short name, for the command line."""
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
    image_size: int
    """Side of the square that the image tower sees, in pixels; 0 for a text-only model."""
    licence: str
    """Licence of the weights."""
    licence_zh: str = ""
    """The licence in Chinese, unless it is a name."""
    languages: tuple[Language, ...]
    """Languages of its training captions; "multilingual" means many more than the listed ones."""
    smallest_dim: int = 0
    """Smallest dimension that its vectors may be truncated to, if trained for it (Matryoshka); else
    0."""
    top1: float | None = None
    """Published zero-shot accuracy on ImageNet-1K in percent."""
    prompts: Literal["en", "zh"] = "en"
    """Language of the prompts for `top1`."""
    source: str = ""
    """Source of `top1`."""
    image_half: str = ""
    """Catalogue name of the checkpoint with the image tower, if it is separate."""
    tokenizer: str = ""
    """Catalogue name of the checkpoint with the tokenizer files, if its own repository has none."""
    recommended_en: str = ""
    """Recommended use; empty for other models."""
    recommended_zh: str = ""
    """The recommended use in Chinese."""

    def __post_init__(self) -> None:
        numbers = (self.megabytes, self.parameters_m, self.top1 or 1)
        if min(numbers) <= 0 or numbers[-1] > 100 or self.image_size < 0:
            raise _wrong(self.alias, f"the numbers {numbers}", "sizes above 0, percent up to 100")
        if not re.fullmatch(r"main|[0-9a-f]{40}", self.revision):
            raise _wrong(self.alias, f"revision={self.revision!r}", "main or a 40-digit commit")
        if (self.top1 is None) != (not self.source):
            raise _wrong(self.alias, f"top1={self.top1}, source={self.source!r}", "both or none")
        if bool(self.recommended_en) != bool(self.recommended_zh):
            raise _wrong(self.alias, "a recommendation in one language", "it in en and zh")

    @property
    def name(self) -> str:
        """The hub id, or the alias of a built-in model."""
        return self.repo or self.alias

    @property
    def built_in(self) -> Path | None:
        """The folder of a model that comes with seesay; None for a model of a hub."""
        return None if self.repo else Path(__file__).with_name(self.alias)


def read_catalog(path: Path) -> dict[str, CatalogEntry]:
    """The entries of a catalogue file by alias.

    The file has one [[family]] table for each family: values that its checkpoints share, and
    `checkpoints`, one inline table for each. Raises ConfigError for a wrong key or value.
    """
    try:
        families = tomllib.loads(path.read_text(encoding="utf-8"))["family"]
        merged = [
            {
                name: value
                for name, value in (*family.items(), *own.items())
                if name != "checkpoints"
            }
            for family in families
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
    entries: dict[str, CatalogEntry] = {}
    for values in merged:
        entry = _entry(values)
        if entry.alias in entries:
            raise _wrong(entry.alias, "two checkpoints of this name", "one")
        entries[entry.alias] = entry
    for entry in entries.values():
        for other in (entry.image_half, entry.tokenizer):
            if other and other not in entries:
                raise _wrong(entry.alias, f"a reference to {other!r}", "the alias of an entry")
    return entries


@cache
def published_models() -> dict[str, CatalogEntry]:
    """The entries of the catalogue that comes with seesay, by alias."""
    return read_catalog(Path(__file__).with_name("catalog.toml"))


def find(name: str) -> CatalogEntry | None:
    """Finds the entry with this alias or hub id, in upper or lower case."""
    wanted = name.strip().casefold()
    for entry in published_models().values():
        if wanted in (entry.alias.casefold(), entry.repo.casefold(), entry.modelscope.casefold()):
            return entry if wanted else None
    return None


def nearest(name: str, count: int = 3) -> list[str]:
    """Aliases and hub ids that look like `name`, best first."""
    names = {
        known.casefold(): known for e in published_models().values() for known in (e.alias, e.repo)
    }
    # People forget the owner.
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


def _entry(values: Mapping[str, Any]) -> CatalogEntry:
    alias = str(values.get("alias", "an entry without alias"))
    known = {field.name: field for field in fields(CatalogEntry)}
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
    return CatalogEntry(**tuples)


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
    return isinstance(value, allowed) and not isinstance(value, bool)


def _wrong(alias: str, problem: str, expected: str) -> ConfigError:
    return ConfigError(
        Text(
            f"catalogue entry {alias!r} has {problem}; expected {expected}; correct it in the "
            "catalogue",
            f"目录条目 {alias!r} 有误（{problem}）；应为 {expected}；请在目录里改正",
        )
    )

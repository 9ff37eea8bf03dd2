"""TOML files -> frozen dataclasses; wrong settings are refused with a suggestion.

All problems are found before any data or weights are touched, and reported together.
"""

import difflib
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from seesay.errors import ConfigError
from seesay.text import Text

RECIPES = "recipes"  # the folder of recipes
Config = TypeVar("Config")
Table = dict[str, Any]
At = tuple[str, ...]  # the path of a setting
SCALARS: dict[type, Text] = {
    bool: Text("true or false", "true 或 false"),
    int: Text("a whole number", "整数"),
    float: Text("a number", "数字"),
    str: Text("a text", "文字"),
}

# A setting's name in other toolkits -> its name here.
CALLED: dict[str, str] = {
    "learning": "lr",
    "learning_rate": "lr",
    "base_lr": "lr",
    "min_lr": "final",
    "warmup_steps": "warmup",
    "warmup_ratio": "warmup",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "amp": "precision",
    "bf16": "precision",
    "bfloat16": "precision",
    "fp16": "precision",
    "float16": "precision",
    "fp32": "precision",
    "dtype": "precision",
    "batch_size": "batch",
    "num_workers": "workers",
    "max_steps": "steps",
    "num_epochs": "epochs",
    "output_dir": "folder",
    "output": "folder",
    "accum_freq": "accumulate",
    "gradient_accumulation_steps": "accumulate",
    "grad_clip": "clip_norm",
    "grad_clip_norm": "clip_norm",
    "max_grad_norm": "clip_norm",
    "grad_checkpointing": "recompute",
    "gradient_checkpointing": "recompute",
    "lock": "freeze",
    "locked": "freeze",
    "pretrained": "start",
    "width": "dim",
    "hidden_size": "dim",
    "layers": "depth",
    "num_layers": "depth",
    "num_heads": "heads",
    "mlp_dim": "hidden",
    "intermediate_size": "hidden",
    "max_length": "context",
    "dropout_rate": "dropout",
    "loss_weight": "weight",
    "save_every": "every",
    "hflip": "flip",
}


# Files


def read_toml(file: Path) -> Table:
    """The table in a file. Raises ConfigError if it cannot be read."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = _other_files(file)
        raise ConfigError(
            Text(
                f"{file} is not there, expected a recipe, a sweep or a suite in TOML{remedy.en}",
                f"{file} 不存在；应为 TOML 格式的配方、对比实验或评测套件{remedy.zh}",
            )
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            Text(
                f"{file} is no TOML file ({error}), expected a recipe as in {RECIPES}/: correct "
                "that place, or name another file",
                f"{file} 不是 TOML 文件（{error}）；应为 {RECIPES}/ 里那样的配方；"
                "请改正该处，或换一个文件",
            )
        ) from None


def _other_files(file: Path) -> Text:
    folders = (file.parent, file.parent / RECIPES, Path(RECIPES))
    found = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    there = {path.name: path for path in reversed(found) if path.name != "pyproject.toml"}
    if near := difflib.get_close_matches(file.name, there, n=1):
        path = there[near[0]]
        return Text(f"; did you mean {path}?", f"；是不是想用 {path}？")
    if there:
        names = [str(there[name]) for name in sorted(there)[:3]]
        return Text(
            f": name another file, such as {', '.join(names)}",
            f"；请换一个文件，如 {'、'.join(names)}",
        )
    return Text(
        ": correct the path, or write one; `seesay train --reference` lists its settings",
        "；请改正路径，或新写一个；可设的项见 `seesay train --reference`",
    )


def check_file_type(file: Path, table: Table, *, sweep: bool) -> None:
    """Raises ConfigError for a recipe in place of a sweep, or a sweep in place of a recipe."""
    if sweep and "axes" not in table and "run" in table:
        raise ConfigError(
            Text(
                f"{file} is a recipe: it has [run] and no [axes], expected a sweep. "
                f"Train it with: seesay train {file}",
                f"{file} 是配方（有 [run]，没有 [axes]）；应为对比实验；"
                f"训练它请运行：seesay train {file}",
            )
        )
    if not sweep and "axes" in table and "run" not in table:
        raise ConfigError(
            Text(
                f"{file} is a sweep: it has [axes] and no [run], expected a recipe. "
                f"Run it with: seesay sweep {file}",
                f"{file} 是对比实验（有 [axes]，没有 [run]）；应为配方；"
                f"请运行：seesay sweep {file}",
            )
        )


def override(table: Table, assignments: Sequence[str]) -> Table:
    """A copy of a table with `section.key=value` assignments; values are TOML, or plain texts."""
    table = _copy(table)
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        *sections, key = (part.strip() for part in path.split("."))
        if not equals or not all([*sections, key]):
            raise ConfigError(
                Text(
                    f"{assignment!r} sets nothing: expected section.key=value",
                    f"{assignment!r} 没有设置任何项；应写成 section.key=value",
                )
            )
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    Text(
                        f"{assignment!r}: {section!r} is a value, expected a section",
                        f"{assignment!r}：{section!r} 是一个值；应为一节",
                    )
                )
        inner[key] = _parse(value.strip())
    return table


def _copy(table: Table) -> Table:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in table.items()}


def _parse(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        return value


# The types of settings


@dataclass(frozen=True, eq=False)
class ChosenByType:
    """In an annotation, the configs that a section may hold, by its `kind`."""

    configs: Mapping[str, type]


@dataclass(frozen=True, eq=False)
class SectionsByName:
    """In the annotation of a mapping, the configs that it may hold. They are sections beside the
    other settings, each under its own name."""

    configs: Mapping[str, type]


def choices(hint: Any) -> dict[str, Any]:
    """Returns, by kind, the configs that a section may hold; empty if it has no `kind`."""
    if get_origin(hint) is Annotated:
        return dict(hint.__metadata__[0].configs)
    options: list[Any] = [one for one in _options(hint) if is_dataclass(one)]
    return {config_name(one): one for one in options} if len(options) > 1 else {}


def named_sections(hint: Any) -> dict[str, Any]:
    """Returns, by name, the configs that stand beside the other settings in place of this one."""
    named = get_origin(hint) is Annotated and isinstance(hint.__metadata__[0], SectionsByName)
    return dict(hint.__metadata__[0].configs) if named else {}


def hints_of(config: Any) -> dict[str, Any]:
    """The type of each setting that a TOML file can hold."""
    hints = get_type_hints(config, include_extras=True)
    return {
        name: hint
        for field in fields(config)
        for name, hint in (
            named_sections(hints[field.name]) or {field.name: hints[field.name]}
        ).items()
    }


def config_name(config: type) -> str:
    """Returns the `kind` of a config class in a recipe: "vit" for VitConfig."""
    return config.__name__.removesuffix("Config").lower()


def key_paths(config: Any, prefix: At = ()) -> Iterator[At]:
    """The path of every setting in a tree of configs; NAME stands for a section of free name."""
    for name, hint in hints_of(config).items():
        yield (*prefix, name)
        for inner, more in _inner_configs(hint):
            yield from key_paths(inner, (*prefix, name, *more))


def _inner_configs(hint: Any) -> Iterator[tuple[Any, At]]:
    if is_dataclass(hint):
        yield hint, ()
    elif get_origin(hint) in (dict, Mapping):
        for inner, more in _inner_configs(get_args(hint)[1]):
            yield inner, ("NAME", *more)
    else:
        for one in choices(hint).values() or _options(hint):
            yield from _inner_configs(one)


def _options(hint: Any) -> list[Any]:
    """The alternatives of a union, without None."""
    union = get_origin(hint) in (Union, types.UnionType)
    return [one for one in get_args(hint) if one is not type(None)] if union else []


# Tables -> configs


def build(config: type[Config], table: Mapping[str, Any]) -> Config:
    """The config that a table describes. Raises ConfigError listing every problem in it."""
    return _Builder(list(key_paths(config))).build(config, table, ())


class _Builder:
    def __init__(self, known: Sequence[At]) -> None:
        self._known = known

    def build(self, config: Any, table: Any, at: At) -> Any:
        if not isinstance(table, Mapping):
            raise ConfigError(_no_section(table, at, " of settings"))
        hints = hints_of(config)
        values: dict[str, Any] = {}
        problems = [
            Text(
                f"{show((*at, f.name))} is missing: it has no default, so set it",
                f"缺少 {show((*at, f.name))}：它没有默认值，请写上",
            )
            for f in fields(config)
            if f.name not in table and f.default is MISSING and f.default_factory is MISSING
        ]
        for name, value in table.items():
            try:
                if name not in hints:
                    raise ConfigError(self._meant(name, list(hints), at))
                values[name] = self.convert(hints[name], value, (*at, name))
            except ConfigError as error:
                problems.append(error.text)
        if problems:
            raise ConfigError(Text("; ", "；").join(problems))
        try:
            return config(**_gathered(config, values))
        except ConfigError as error:
            section = f"[{show(at)}] " if at else ""
            raise ConfigError(
                Text(f"{section}{error.text.en}", f"{section}{error.text.zh}")
            ) from None

    def convert(self, hint: Any, value: Any, at: At) -> Any:
        """A TOML value as the type that a setting is declared with."""
        origin, arguments = get_origin(hint), get_args(hint)
        if is_dataclass(hint):
            return self.build(hint, value, at)
        if origin in (Union, types.UnionType, Annotated):
            return self._alternative(hint, value, at)
        if origin is Literal:
            return _choice(arguments, value, at)
        if origin is tuple:
            return self._tuple(arguments, value, at)
        if origin in (dict, Mapping):
            if not isinstance(value, Mapping):
                raise ConfigError(_no_section(value, at, ""))
            return {
                self.convert(arguments[0], k, at): self.convert(arguments[1], v, (*at, k))
                for k, v in value.items()
            }
        return _scalar(hint, value, at)

    def _alternative(self, hint: Any, value: Any, at: At) -> Any:
        configs, options = choices(hint), _options(hint)
        if configs and isinstance(value, Mapping):
            kind = _choice(tuple(configs), value.get("kind", "(nothing)"), (*at, "kind"))
            return self.build(configs[kind], {k: v for k, v in value.items() if k != "kind"}, at)
        if configs and not options:
            raise ConfigError(_no_section(value, at, ""))
        # A table is meant for the config among the alternatives, and anything else for the rest.
        fitting = [one for one in options if is_dataclass(one) == isinstance(value, Mapping)]
        problems = []
        for option in fitting or options:
            try:
                return self.convert(option, value, at)
            except ConfigError as error:
                problems.append(error.text)
        raise ConfigError(Text(" or ", "；或者 ").join(problems))

    def _tuple(self, hints: tuple[Any, ...], value: Any, at: At) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ConfigError(
                Text(
                    f"{show(at)} = {value!r} must be a list: write [{value!r}]",
                    f"{show(at)} = {value!r} 应为列表；请写成 [{value!r}]",
                )
            )
        if hints[-1] is Ellipsis:
            hints = (hints[0],) * len(value)
        if len(hints) != len(value):
            raise ConfigError(
                Text(
                    f"{show(at)} = {value!r} has {len(value)} entries, expected {len(hints)}",
                    f"{show(at)} = {value!r} 有 {len(value)} 项；应为 {len(hints)} 项",
                )
            )
        return tuple(self.convert(h, v, at) for h, v in zip(hints, value, strict=True))

    def _meant(self, name: str, wanted: Sequence[str], at: At) -> Text:
        """Returns the message that section `at`, with the settings `wanted`, has no setting of this
        name, and suggests the likely one."""
        elsewhere = [path for path in self._known if path[-1] == name]
        called = CALLED.get(name.lower(), "")
        # The same name in another section is likelier than a name that is only somewhat alike.
        near = difflib.get_close_matches(name, wanted, n=1, cutoff=0.75 if elsewhere else 0.6)
        there = elsewhere or [path for path in self._known if path[-1] == called]
        meant: At | None = None
        if called in wanted or near:
            meant = (*at, called if called in wanted else near[0])
        elif there:
            meant = there[0]
        here = show((*at, name))
        if meant is not None:
            return Text(
                f"{here} is no setting: did you mean {show(meant)}?",
                f"没有 {here} 这一项；是不是想用 {show(meant)}？",
            )
        return Text(
            f"{here} is no setting: expected one of {', '.join(wanted)}",
            f"没有 {here} 这一项；应为以下之一：{'、'.join(wanted)}",
        )


def _gathered(config: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Collects named sections into the mapping that they stand for."""
    hints = get_type_hints(config, include_extras=True)
    for field in fields(config):
        named = named_sections(hints[field.name])
        if named:
            found = {name: values.pop(name) for name in named if name in values}
            values[field.name] = found
    return values


def show(path: Sequence[str]) -> str:
    return ".".join(path) or "the recipe"


def _no_section(value: Any, at: At, more: str) -> Text:
    return Text(
        f"{show(at)} = {value!r} is a value, expected a section{more}",
        f"{show(at)} = {value!r} 是一个值；应为一节设置",
    )


def _choice(options: tuple[Any, ...], value: Any, at: At) -> Any:
    if value in options and not isinstance(value, bool) | any(isinstance(o, bool) for o in options):
        return value
    near = difflib.get_close_matches(str(value), [str(o) for o in options], n=1)
    names = [repr(option) for option in options]
    raise ConfigError(
        Text(
            f"{show(at)} = {value!r} is not one of {', '.join(names)}"
            + (f": did you mean {near[0]!r}?" if near else ""),
            f"{show(at)} = {value!r} 不能用；应为以下之一：{'、'.join(names)}"
            + (f"；是不是想用 {near[0]!r}？" if near else ""),
        )
    )


def _scalar(hint: Any, value: Any, at: At) -> Any:
    if hint is float and type(value) is int:
        value = float(value)
    expected = SCALARS.get(hint, Text.of(hint))
    if type(value) is hint and hint is float and not isfinite(value):
        expected = Text("a finite number", "有限的数")
    elif type(value) is hint:
        return value
    raise ConfigError(
        Text(
            f"{show(at)} = {value!r} must be {expected.en}",
            f"{show(at)} = {value!r} 应为{expected.zh}",
        )
    )

"""TOML tables -> frozen dataclasses, refusing what does not fit and naming what was meant.

All problems are found before any data or weights are touched, and reported together.
"""

import difflib
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from seesay.errors import ConfigError
from seesay.training.recipes.names import meant, show

Config = TypeVar("Config")
Table = dict[str, Any]
SCALARS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


def override(table: Table, assignments: Sequence[str]) -> Table:
    """A copy of a table with `section.key=value` assignments; values are TOML, or plain texts."""
    table = _copy(table)
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        *sections, key = (part.strip() for part in path.split("."))
        if not equals or not all([*sections, key]):
            raise ConfigError(f"{assignment!r} sets nothing: expected section.key=value")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{assignment!r}: {section!r} is a value, expected a section")
        inner[key] = _parse(value.strip())
    return table


def _copy(table: Table) -> Table:
    return {k: _copy(v) if isinstance(v, dict) else v for k, v in table.items()}


def _parse(value: str) -> Any:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        return value


def build(kind: type[Config], table: Mapping[str, Any]) -> Config:
    """The config that a table describes. Raises ConfigError listing every problem in it."""
    return _Builder(key_paths(kind)).build(kind, table, ())


def key_paths(kind: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting in a tree of configs; NAME stands for a section of free name."""
    for name, hint in get_type_hints(kind).items():
        if name not in {f.name for f in fields(kind)}:
            continue
        yield (*prefix, name)
        for inner, more in _inner_configs(hint):
            yield from key_paths(inner, (*prefix, name, *more))


def _inner_configs(hint: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    if is_dataclass(hint):
        yield hint, ()
    elif get_origin(hint) in (Union, types.UnionType):
        for one in get_args(hint):
            yield from _inner_configs(one)
    elif get_origin(hint) in (dict, AbstractMapping):
        for inner, more in _inner_configs(get_args(hint)[1]):
            yield inner, ("NAME", *more)


def kind_of(config: type) -> str:
    """What `kind` a recipe gives a class among alternatives: "vit" for VitConfig."""
    return config.__name__.removesuffix("Config").lower()


class _Builder:
    def __init__(self, known: Iterator[tuple[str, ...]]) -> None:
        self._known = list(known)

    def build(self, kind: Any, table: Any, at: tuple[str, ...]) -> Any:
        if not isinstance(table, Mapping):
            raise ConfigError(f"{show(at)} = {table!r} is a value, expected a section of settings")
        hints = get_type_hints(kind)
        wanted = {f.name: f for f in fields(kind)}
        values: dict[str, Any] = {}
        problems = [
            f"{show((*at, name))} is missing: it has no default, so set it"
            for name, f in wanted.items()
            if name not in table and f.default is MISSING and f.default_factory is MISSING
        ]
        for name, value in table.items():
            try:
                if name not in wanted:
                    hint = meant(name, list(wanted), at, self._known)
                    raise ConfigError(f"{show((*at, name))} is no setting: {hint}")
                values[name] = self.convert(hints[name], value, (*at, name))
            except ConfigError as error:
                problems.append(str(error))
        if problems:
            raise ConfigError("; ".join(problems))
        try:
            return kind(**values)
        except ConfigError as error:
            raise ConfigError(f"[{show(at)}] {error}" if at else str(error)) from None

    def convert(self, hint: Any, value: Any, at: tuple[str, ...]) -> Any:
        """A TOML value as the type that a setting is declared with."""
        origin, arguments = get_origin(hint), get_args(hint)
        if is_dataclass(hint):
            return self.build(hint, value, at)
        if origin in (Union, types.UnionType):
            return self._alternative([a for a in arguments if a is not type(None)], value, at)
        if origin is Literal:
            return _choice(arguments, value, at)
        if origin is tuple:
            return self._tuple(arguments, value, at)
        if origin in (dict, AbstractMapping):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{show(at)} = {value!r} is a value, expected a section")
            return {
                self.convert(arguments[0], k, at): self.convert(arguments[1], v, (*at, k))
                for k, v in value.items()
            }
        return _scalar(hint, value, at)

    def _alternative(self, options: list[Any], value: Any, at: tuple[str, ...]) -> Any:
        if len(options) == 1:
            return self.convert(options[0], value, at)
        if all(is_dataclass(option) for option in options) and isinstance(value, Mapping):
            kinds = {kind_of(option): option for option in options}
            kind = _choice(tuple(kinds), value.get("kind", "(nothing)"), (*at, "kind"))
            return self.build(kinds[kind], {k: v for k, v in value.items() if k != "kind"}, at)
        problems = []
        for option in options:
            try:
                return self.convert(option, value, at)
            except ConfigError as error:
                problems.append(str(error))
        raise ConfigError(" or ".join(problems))

    def _tuple(self, hints: tuple[Any, ...], value: Any, at: tuple[str, ...]) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{show(at)} = {value!r} must be a list: write [{value!r}]")
        if hints[-1] is Ellipsis:
            hints = (hints[0],) * len(value)
        if len(hints) != len(value):
            raise ConfigError(
                f"{show(at)} = {value!r} has {len(value)} entries, expected {len(hints)}"
            )
        return tuple(self.convert(h, v, at) for h, v in zip(hints, value, strict=True))


def _choice(options: tuple[Any, ...], value: Any, at: tuple[str, ...]) -> Any:
    if value in options and not isinstance(value, bool) | any(isinstance(o, bool) for o in options):
        return value
    near = difflib.get_close_matches(str(value), [str(o) for o in options], n=1)
    meant = f": did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"{show(at)} = {value!r} is not one of {', '.join(map(repr, options))}{meant}"
    )


def _scalar(hint: Any, value: Any, at: tuple[str, ...]) -> Any:
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{show(at)} = {value!r} must be {SCALARS.get(hint, str(hint))}")
    if hint is float and not isfinite(value):
        raise ConfigError(f"{show(at)} = {value!r} must be a finite number")
    return value

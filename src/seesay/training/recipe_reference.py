"""The reference of all recipe settings, generated from their docstrings."""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin

from seesay.data.settings import SCALARS, choices, hints_of
from seesay.training.recipe import Recipe


def recipe_reference() -> str:
    """Markdown: a table for each section of a recipe, in order."""
    return "\n\n".join(_markdown(section) for section in _sections(Recipe, ()) if section.path)


def recipe_settings() -> list[dict[str, Any]]:
    """The same as data: each section with its settings."""
    return [asdict(section) for section in _sections(Recipe, ()) if section.path]


@dataclass(frozen=True)
class Setting:
    """One line of a section."""

    setting: str
    value: str
    """Its type or choices."""
    default: str | None
    """The default in TOML; None if the setting is required."""
    meaning: str


@dataclass(frozen=True)
class Section:
    """One heading of the reference."""

    path: str
    """Path of the section; empty for the recipe itself."""
    about: tuple[str, ...]
    settings: tuple[Setting, ...]


def _markdown(section: Section) -> str:
    table = ["| setting | value | default | meaning |", "| --- | --- | --- | --- |"]
    for one in section.settings:
        bare = one.default in (None, "none")
        default = (one.default or "required") if bare else f"`{one.default}`"
        table.append(f"| `{one.setting}` | {one.value} | {default} | {one.meaning} |")
    parts = [f"### [{section.path}]", *section.about]
    return "\n\n".join([*parts, "\n".join(table)] if section.settings else parts)


def _sections(config: Any, at: tuple[str, ...], about: str = "") -> Iterator[Section]:
    notes = setting_notes(config)
    inner: list[tuple[Any, tuple[str, ...], str]] = []
    rows = []
    defaults = {field.name: field for field in fields(config)}
    for name, hint in hints_of(config).items():
        if configs := list(_configs(hint, (*at, name))):
            inner += [(*one, notes.get(name, "")) for one in configs]
        else:
            rows.append(Setting(name, _type(hint), _default(defaults[name]), notes.get(name, "")))
    own = inspect.cleandoc(config.__doc__ or "")
    words = [about, "" if own.startswith(f"{config.__name__}(") else own]
    yield Section(".".join(at), tuple(dict.fromkeys(filter(None, words))), tuple(rows))
    for one, path, note in inner:
        yield from _sections(one, path, note)


def setting_notes(config: Any) -> dict[str, str]:
    """Returns the docstring below each setting of a config, including inherited settings."""
    notes: dict[str, str] = {}
    for owner in reversed(config.__mro__):
        if not is_dataclass(owner):
            continue
        source: Any = owner
        body = ast.parse(textwrap.dedent(inspect.getsource(source))).body[0]
        assert isinstance(body, ast.ClassDef)
        for setting, note in pairwise(body.body):
            if (
                isinstance(setting, ast.AnnAssign)
                and isinstance(setting.target, ast.Name)
                and isinstance(note, ast.Expr)
                and isinstance(note.value, ast.Constant)
            ):
                notes[setting.target.id] = " ".join(str(note.value.value).split())
    return notes


def _configs(hint: Any, at: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Yields the sections that a setting is written as, if any."""
    if is_dataclass(hint):
        yield hint, at
    elif by_kind := choices(hint):
        for kind, config in by_kind.items():
            yield config, (*at[:-1], f'{at[-1]} (kind = "{kind}")')
    elif get_origin(hint) in (Union, types.UnionType):
        for option in get_args(hint):
            yield from _configs(option, at) if is_dataclass(option) else ()
    elif get_origin(hint) in (dict, Mapping):
        yield from _configs(get_args(hint)[1], (*at, "NAME"))


def _type(hint: Any) -> str:
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return " or ".join(f"`{option!r}`".replace("'", '"') for option in arguments)
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return f"list of {_type(arguments[0])}"
        return "list: " + ", ".join(_type(a) for a in arguments)
    if get_origin(hint) in (dict, Mapping):
        return f"table of {_type(arguments[1])}"
    return str(SCALARS.get(hint, hint))


def _default(field: "Field[Any]") -> str | None:
    if field.default is MISSING and field.default_factory is MISSING:
        return None
    make: Any = field.default_factory
    value = make() if field.default is MISSING else field.default
    if value is None or value in ((), {}):
        return "none"
    return toml(value)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f'"{value}"' if isinstance(value, str) else str(value)

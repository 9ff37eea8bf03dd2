"""The reference of everything a recipe may set, from the docstrings of its settings."""

import ast
import inspect
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from seesay.training.recipes.recipe import Recipe
from seesay.training.recipes.settings import SCALARS, kind_of


def recipe_reference() -> str:
    """Markdown: a table for each section of a recipe, in order."""
    return "\n\n".join(_markdown(section) for section in _sections(Recipe, ()) if section.path)


def recipe_settings() -> list[dict[str, Any]]:
    """The same for programs: each section with its settings."""
    return [asdict(section) for section in _sections(Recipe, ()) if section.path]


@dataclass(frozen=True)
class Setting:
    """One line of a section."""

    setting: str
    value: str
    """What it may be."""
    default: str | None
    """As TOML writes it; None where the setting is required."""
    meaning: str


@dataclass(frozen=True)
class Section:
    """One heading of the reference."""

    path: str
    """Empty for the recipe itself."""
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


def _sections(kind: Any, at: tuple[str, ...], about: str = "") -> Iterator[Section]:
    hints, notes = get_type_hints(kind), setting_notes(kind)
    inner: list[tuple[Any, tuple[str, ...], str]] = []
    rows = []
    for field in fields(kind):
        configs = list(_configs(hints[field.name], (*at, field.name)))
        if configs:
            inner += [(*config, notes.get(field.name, "")) for config in configs]
        else:
            value, note = _type(hints[field.name]), notes.get(field.name, "")
            rows.append(Setting(field.name, value, _default(field), note))
    own = inspect.cleandoc(kind.__doc__ or "")
    words = [about, "" if own.startswith(f"{kind.__name__}(") else own]
    said = tuple(dict.fromkeys(word for word in words if word))
    yield Section(".".join(at), said, tuple(rows))
    for config, path, note in inner:
        yield from _sections(config, path, note)


def setting_notes(kind: Any) -> dict[str, str]:
    """The docstring line under each setting of a config, inherited ones included."""
    notes: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
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
    """The sections that a setting stands for, where it stands for any."""
    if is_dataclass(hint):
        yield hint, at
    elif get_origin(hint) in (Union, types.UnionType):
        options: list[Any] = [option for option in get_args(hint) if is_dataclass(option)]
        for option in options:
            # With alternatives, the section's heading says by which kind this one is chosen.
            chosen = f'{at[-1]} (kind = "{kind_of(option)}")'
            yield option, at if len(options) == 1 else (*at[:-1], chosen)
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
    return SCALARS.get(hint, str(hint))


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

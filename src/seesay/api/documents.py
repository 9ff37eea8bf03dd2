"""The results of search as the API documents them: the same frozen dataclasses that Python returns
and `--json` prints, as models that OpenAPI can show."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from functools import cache, reduce
from itertools import pairwise
from operator import or_
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from seesay.search.catalog.filters import All, AnyOf, Compare, Not
from seesay.search.plain import to_json

_PLAIN = (str, int, float, bool, NoneType, Any, date, datetime)
_FILTERS = (Compare, All, AnyOf, Not)  # each may hold others, to any depth


def answer(result: Any, status: int = 200) -> Response:
    """A result as it is sent."""
    return Response(to_json(result), status, media_type="application/json")


@cache
def model_of(kind: Any) -> type[BaseModel]:
    """A model that shows the fields of a frozen dataclass with their docstrings."""
    hints, notes = get_type_hints(kind), _notes(kind)
    shown: dict[str, Any] = {
        field.name: (_shown(hints[field.name]), Field(description=notes.get(field.name)))
        for field in fields(kind)
    }
    config = ConfigDict(extra="forbid")
    about = inspect.cleandoc(kind.__doc__ or "")
    return create_model(kind.__name__, __config__=config, __doc__=about, **shown)


def _shown(hint: Any) -> Any:
    """What JSON holds of a type; a picture is called by a name."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _FILTERS:
        return dict[str, Any]
    if isinstance(hint, type) and is_dataclass(hint):
        return model_of(hint)
    if origin in (Union, UnionType):
        return reduce(or_, dict.fromkeys(_shown(one) for one in arguments))
    if origin in (tuple, list):
        return _listed(arguments)
    if origin in (Mapping, dict):
        return dict[str, _shown(arguments[1])]  # type: ignore[misc]
    if hint is object:
        return Any
    return hint if origin is Literal or hint in _PLAIN else str


def _listed(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) == 1 or arguments[-1] is Ellipsis:
        return list[_shown(arguments[0])]  # type: ignore[misc]
    return tuple[tuple(_shown(one) for one in arguments)]  # type: ignore[misc]


def _notes(kind: Any) -> dict[str, str]:
    """The docstring under each field."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    return {
        one.target.id: " ".join(str(note.value.value).split())
        for one, note in pairwise(body.body)
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and isinstance(note, ast.Expr)
        and isinstance(note.value, ast.Constant)
    }

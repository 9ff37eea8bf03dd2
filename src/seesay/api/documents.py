"""How the API documents itself: models that OpenAPI can show, of the frozen dataclasses that Python
returns and `--json` prints; and /docs, a page written from the schema, which loads nothing from
here or elsewhere."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from functools import cache, reduce
from html import escape
from itertools import pairwise
from operator import or_
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fastapi import FastAPI, Response
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


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #8881; padding: .75rem; overflow: auto; white-space: pre-wrap;
  overflow-wrap: anywhere }
h3 { margin-top: 2.5rem } h3 code { font-size: 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .5rem; border-top: 1px solid #8884 }
:root { color-scheme: light dark }
"""
_SHOWN = 1000  # characters of an example


def add_docs_page(app: FastAPI) -> None:
    """Let an application show its routes at /docs."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page_of(app.openapi()), media_type="text/html; charset=utf-8")


def page_of(schema: Mapping[str, Any]) -> str:
    """A page that tells what an OpenAPI schema does."""
    info = schema["info"]
    about = "".join(f"<p>{_text(one)}</p>" for one in info["description"].split("\n\n"))
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><h1>{title}</h1>{about}"
        '<p>For programs: <a href="openapi.json"><code>/openapi.json</code></a></p>'
        f"{''.join(_routes(schema))}</html>"
    )


def _routes(schema: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            yield f"<h3><code>{method.upper()} {escape(path)}</code> {_text(route['summary'])}</h3>"
            yield f"<p>{_text(route.get('description', ''))}</p>"
            yield _table("Parameters", [_parameter(one) for one in route.get("parameters", ())])
            if "requestBody" in route:
                yield from _body(route["requestBody"], schema)
            yield _table("Answers", list(_answers(route["responses"])))


def _parameter(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["name"], f"{_type(one['schema'])}, in {one['in']}", one.get("description", "")


def _body(body: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    described = _resolved(body["content"]["application/json"]["schema"], schema)
    fields = described.get("properties", {})
    needed = described.get("required", ())
    yield _table(
        "Body",
        [
            (name, _type(one) + (", required" if name in needed else ""), _told(one))
            for name, one in fields.items()
        ],
    )
    for example in described.get("examples", ()):
        shown = json.dumps(example, ensure_ascii=False, indent=2)
        yield f"<pre>{escape(shown[:_SHOWN])}</pre>"


def _answers(responses: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for status, one in responses.items():
        kinds = one.get("content", {})
        models = (_type(kind["schema"]) for kind in kinds.values() if kind.get("schema"))
        yield status, next(models, ", ".join(kinds)), one["description"]


def _resolved(kind: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for one in (kind, *kind.get("anyOf", ())):
        if "$ref" in one:
            named: Mapping[str, Any] = schema["components"]["schemas"][_last(one["$ref"])]
            return named
    return kind


def _type(kind: Mapping[str, Any]) -> str:
    if "$ref" in kind:
        return _last(kind["$ref"])
    if "anyOf" in kind:
        return " or ".join(dict.fromkeys(map(_type, kind["anyOf"])))
    if "enum" in kind:
        return " | ".join(map(str, kind["enum"]))
    if kind.get("type") == "array":
        return f"list of {_type(kind.get('items', {}))}"
    return str(kind.get("const") or kind.get("type", "anything"))


def _told(field: Mapping[str, Any]) -> str:
    told = str(field.get("description", ""))
    default = field.get("default")
    return told if default in (None, [], "") else f"{told} Default: {default}."


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(kind)}<td>{_text(told)}"
        for name, kind, told in rows
    )
    return f"<table><tr><th colspan=3>{title}{cells}</table>"


def _text(told: str) -> str:
    """Escapes the text for HTML and shows what is in backquotes as code."""
    parts = escape(told).split("`")
    return "".join(f"<code>{one}</code>" if odd % 2 else one for odd, one in enumerate(parts))

"""/docs: the API as a page, written from its schema. It loads nothing, from here or elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI, Response

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
    """With what stands in backquotes as code."""
    parts = escape(told).split("`")
    return "".join(f"<code>{one}</code>" if odd % 2 else one for odd, one in enumerate(parts))

"""Whatever is sent to a route or a tool is answered in our form: no 5xx, no traceback, no library's
words."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from mcp import Client

from live_server import live, serving
from seesay.api.bodies import PICTURE
from seesay.api.config import MAX_CONDITION, MAX_NAME, MAX_UNWANTED_WORDS, MAX_WORDS, ServerConfig
from seesay.api.mcp import build_mcp
from seesay.cli.serve import compose
from seesay.inference.embedder import Embedder
from seesay.search.library import Library

POSTS = (
    *("/v1/search", "/v1/similar", "/v1/embeddings", "/v1/classify", "/v1/tags", "/v1/remove"),
    *("/v1/answers", "/v1/chat/completions"),
    "/v1/collections/album/index",
)
GETS = (
    *("/v1/units/{}", "/v1/units/{}/picture", "/v1/units/1/picture?size={}", "/v1/thumbnails/{}"),
    *("/v1/thumbnails/1?size={}", "/v1/collections/{}"),
    *("/v1/units/1?collection={}", "/v1/duplicates?threshold={}", "/v1/duplicates?count={}"),
    *("/v1/duplicates?offset={}", "/v1/collections/{}/index", "/v1/{}"),
    "/v1/tags?collection={}",
)
RAW = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"query": "\xff\xfe"}',
    "UTF-16": '{"query": "cat"}'.encode("utf-16"),
    "a mark in front": b'\xef\xbb\xbf{"query": "cat"}',
    "very deep": b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a very long number": b'{"query": "cat", "count": ' + b"9" * 10_000 + b"}",
    "no number": b'{"query": "cat", "min_confidence": NaN, "count": Infinity}',
    "a form": b"query=cat",
    "twice the same key": b'{"query": "a", "query": null, "input": "a", "input": 1}',
}
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 1e308, 2**63, 10**400, "", "\0", "\ud83d", "\udce9", "a\0b"),
    *("\n\x1b[31m", "x" * 100_000, [], [[]], {}, [None], ["\ud83d"], ["\0"], ["a=\udce9"]),
    *([f"k{'=' * 50}"], ["date>=9999-12-31"], ["file.size>x"], ["file.nothing=1"], ["=~<>"]),
    *(["x" * 100_000], ["a"] * 10_000, {"a": {"b": []}}, ["data:image/png;base64,AAAA"], [PICTURE]),
)
SOUND = {
    "/v1/search": {"query": "a cat"},
    "/v1/similar": {"units": [1]},
    "/v1/answers": {"question": "Where is the rocket?"},
    "/v1/embeddings": {"input": "a cat", "model": "seesay-mini"},
    "/v1/chat/completions": {"model": "x", "messages": [{"role": "user", "content": "Why?"}]},
    "/v1/classify": {"images": [PICTURE], "labels": ["cat"]},
    "/v1/tags": {"labels": ["cat"]},
    "/v1/remove": {"units": [1]},
}


def check(answer: Any, sent: Any) -> None:
    assert answer.status_code < 500, (repr(sent)[:200], answer.text[:500])
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"type", "message"} and error["message"]
        assert "Traceback" not in answer.text and "errors.pydantic.dev" not in answer.text
        assert len(answer.content) < 5000, "an answer that gives back what was sent"


@pytest.fixture(scope="module")
def reading(album):
    with serving(album, read_only=True) as up, httpx.Client(base_url=up.url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("name", RAW)
def test_a_body_that_is_no_request_is_told_so(reading, name):
    for route in POSTS:
        for kind in ("application/json", "text/plain", "multipart/form-data", ""):
            answer = reading.post(route, content=RAW[name], headers={"content-type": kind})
            check(answer, (route, name, kind))


@pytest.mark.parametrize("route", POSTS[:-1])
def test_a_field_may_hold_anything(reading, route):
    known = reading.get("/openapi.json").json()
    body = known["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = known["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    for field in (*fields, "what is this"):
        for value in VALUES:
            body = json.dumps({**SOUND[route], field: value})
            headers = {"content-type": "application/json"}
            check(reading.post(route, content=body.encode(), headers=headers), (field, value))


@pytest.mark.parametrize("route", GETS)
def test_an_address_may_hold_anything(reading, route):
    odd = ("-1", "0", "9" * 5000, "1e5", "nan", "-inf", "%00", "%ff", "%ed%a0%80", "..%2f", "%0a")
    for value in (*odd, "x" * 10_000, "%F0%9F%90%B1", "%22%27%3C"):
        check(reading.get(route.format(value)), value)


@pytest.mark.parametrize("route", [*POSTS, "/v1/models", "/v1/units/1", "/ready", "/metrics"])
def test_another_method_is_answered_in_the_same_form(reading, route):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"):
        check(reading.request(method, route), method)


TOO_LONG = [
    ("/v1/search", "query", "x" * (MAX_WORDS + 1), "body.query has 4,001 characters instead of"),
    ("/v1/search", "without", ["x" * (MAX_UNWANTED_WORDS + 1)], "body.without.0 has 1,001"),
    ("/v1/search", "without", ["x"] * 17, "body.without has 17 entries instead of at most 16"),
    ("/v1/search", "where", ["x" * (MAX_CONDITION + 1)], "body.where.0 has 1,001 characters"),
    ("/v1/search", "folders", ["x" * (MAX_CONDITION + 1)], "body.folders.0 has 1,001 characters"),
    ("/v1/search", "since", "2024-01-011", "body.since has 11 characters instead of at most 10"),
    ("/v1/search", "collection", "x" * (MAX_NAME + 1), "body.collection has 201 characters"),
    ("/v1/search", "images", [PICTURE] * 9, "body.images has 9 entries instead of at most 8"),
    ("/v1/similar", "units", [1] * 65, "body.units has 65 entries instead of at most 64"),
    ("/v1/embeddings", "model", "x" * (MAX_NAME + 1), "body.model has 201 characters"),
    ("/v1/embeddings", "input", ["a"] * 257, "expected 1 to 256 (max_inputs)"),
    ("/v1/embeddings", "input", "a " * 10_001, "at most 20,000 (max_input_characters)"),
    ("/v1/embeddings", "input", ["a" * 9000] * 23, "at most 200,000 (max_request_characters)"),
    ("/v1/embeddings", "input", ["word " * 600_000] * 2, "input 0 has 3,000,000 characters"),
]


@pytest.mark.parametrize(
    ("route", "field", "value", "told"), TOO_LONG, ids=[f"{r} {f} {t}" for r, f, _, t in TOO_LONG]
)
def test_a_text_that_is_too_long_is_refused_before_it_is_read(
    reading, route, field, value, told, monkeypatch
):
    def embed(*_):
        raise AssertionError("it was embedded")

    monkeypatch.setattr(Embedder, "embed_texts", embed)
    answer = reading.post(route, json={**SOUND[route], field: value})
    assert answer.status_code in (400, 422)
    assert told in answer.json()["error"]["message"]


MESSAGES: tuple[Any, ...] = (
    *(None, 1, "x", [], {}, [[]], {"jsonrpc": "2.0"}, {"jsonrpc": 2, "id": 1, "method": "ping"}),
    *({"jsonrpc": "2.0", "id": odd, "method": "tools/list"} for odd in (None, -1, 1e308, "x" * 9)),
    *({"jsonrpc": "2.0", "id": 1, "method": odd} for odd in (None, 1, "", "x" * 10_000, "a/b")),
    *({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": odd} for odd in VALUES),
)
TALK = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


def test_assistants_may_send_anything_to_their_route(album):
    config = ServerConfig()
    with (
        Library.open([album], read_only=True) as library,
        live(compose(library, config, page=False), config) as up,
        httpx.Client(base_url=up.url, timeout=60) as client,
    ):
        bodies = [*RAW.values(), *(json.dumps(one).encode() for one in MESSAGES)]
        for body in bodies:
            for version in ({}, {"mcp-protocol-version": "2025-06-18"}, {"mcp-session-id": "x"}):
                answer = client.post("/mcp", content=body, headers={**TALK, **version})
                assert answer.status_code < 500, (body[:200], answer.text[:500])
                assert "Traceback" not in answer.text and "pydantic" not in answer.text
        told = client.post("/mcp", content=b"{}", headers=TALK).json()["error"]["message"]
        assert told.startswith("the body is no message; expected one of JSON-RPC 2.0")
        told = client.post("/mcp", content=b"{", headers=TALK).json()["error"]["message"]
        assert told.startswith("the body is not JSON; expected")
        for method in ("GET", "PUT", "DELETE"):  # an answer may be a stream without an end
            with client.stream(method, "/mcp", headers=TALK) as answer:
                assert answer.status_code < 500


ARGUMENTS = {
    "search": (
        {"query": "a cat"},
        "query without where folders since until type count offset min_confidence collection",
    ),
    "ask": ({"question": "Where is it?"}, "question history where folders collection"),
    "show": ({"unit": 1}, "unit size collection"),
    "describe": ({"unit": 1}, "unit collection"),
}
TOOL_VALUES = [one for one in VALUES if "\\ud" not in json.dumps(one)]
"""Half of a character does not reach a tool: it is no JSON to the protocol."""


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_a_tool_may_be_called_with_anything(album, tool, caplog):
    sound, names = ARGUMENTS[tool]
    calls = [
        *({**sound, name: value} for name in names.split() for value in TOOL_VALUES),
        *({name: value for name in names.split()} for value in TOOL_VALUES),
        *({}, {**sound, "paths": ["/etc/passwd"]}),
    ]

    async def talk() -> list[Any]:
        with Library.open([album], read_only=True) as library:
            async with Client(build_mcp(library)) as client:
                return [await client.call_tool(tool, one) for one in calls]

    answers = asyncio.run(talk())
    assert "Traceback" not in caplog.text
    failed = [
        (call, answer) for call, answer in zip(calls, answers, strict=True) if answer.is_error
    ]
    assert len(failed) > len(calls) / 3
    for call, answer in failed:
        told = answer.content[0].text
        assert "; " in told and "the server failed" not in told, (repr(call)[:200], told)
        assert "pydantic" not in told and "Error executing" not in told
        assert len(told) < 2000


def test_a_tool_and_an_argument_that_are_not_there_are_named_with_those_that_are(album):
    async def talk() -> tuple[str, str]:
        with Library.open([album], read_only=True) as library:
            async with Client(build_mcp(library)) as client:
                none = await client.call_tool("delete", {})
                typo = await client.call_tool("search", {"query": "a cat", "folderz": ["/a"]})
                return none.content[0].text, typo.content[0].text

    assert asyncio.run(talk()) == (
        "there is no tool 'delete'; expected one of search, ask, show, describe, duplicates; "
        "call one of these",
        "search was given 'folderz'; expected only query, without, where, folders, since, until, "
        "type, count, offset, min_confidence, collection; leave it out",
    )

"""Assistants find, look at and describe what is in a collection, over stdio and over HTTP."""

import asyncio
import base64
import io
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import torch
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from live_server import live
from photographs import photographs
from seesay.api.bodies import SearchBody
from seesay.api.config import ServerConfig
from seesay.api.mcp import build_mcp
from seesay.api.mcp_tools import MOST_TEXT
from seesay.cli.serve import compose
from seesay.inference.answering import ServedAssistant
from seesay.search.collection import Collection
from seesay.search.library import Library
from served import Served, command, make_collection, served, surroundings
from tiny_assistants import picture, tiny_qwen

TOKEN = "a-token-for-tests"
Conversation = Callable[[Client], Awaitable[Any]]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_collection(folder)
    return folder


@pytest.fixture(scope="module")
def library(home):
    with Library.open([home / "collections" / "default"], read_only=True) as library:
        yield library


@pytest.fixture(scope="module")
def server(home):
    with served(home, "--no-page", variables={"SEESAY_TOKEN": TOKEN}) as server:
        yield server


def ask(library: Library, tool: str, **arguments: Any) -> Any:
    """One call, without a process between."""

    async def talk() -> Any:
        async with Client(build_mcp(library, most=5)) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(talk())


def found(library: Library, **arguments: Any) -> dict[str, Any]:
    answer = ask(library, "search", **arguments)
    assert not answer.is_error, answer.content[0].text
    assert json.loads(answer.content[0].text) == answer.structured_content
    return answer.structured_content


def names(answer: dict[str, Any]) -> list[str]:
    return [Path(hit["path"]).name for hit in answer["hits"]]


async def whole_conversation(client: Client) -> dict[str, Any]:
    """What an assistant does: read the tools, search in both languages, look, describe, and ask the
    built-in model."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    english = await client.call_tool("search", {"query": "a man with a camera on a tripod"})
    chinese = await client.call_tool("search", {"query": "一只猫的脸", "type": "image"})
    cat = chinese.structured_content["hits"][0]["unit"]
    shown = await client.call_tool("show", {"unit": cat, "size": 128})
    told = await client.call_tool("describe", {"unit": cat})
    man = {"units": [english.structured_content["hits"][0]["unit"]]}
    asked = {**man, "question": "Is there a man in the picture?"}
    answered = await client.call_tool("ask_picture", asked)
    described = await client.call_tool("caption", {**man, "language": "zh"})
    doubled = await client.call_tool("duplicates", {"count": 1})
    return {
        "tools": tools,
        "doubled": doubled.structured_content,
        "english": english.structured_content,
        "chinese": chinese.structured_content,
        "shown": shown.content,
        "told": told.structured_content,
        "answered": answered.structured_content,
        "described": described.structured_content,
    }


def check_conversation(heard: dict[str, Any]) -> None:
    looking = ["search", "ask", "show", "describe", "duplicates"]
    asking = ["ask_picture", "caption"]
    assert list(heard["tools"]) == [*looking, *asking]
    assert all(tool.annotations.read_only_hint for tool in heard["tools"].values())
    assert names(heard["english"])[0] == "camera.png"
    assert names(heard["chinese"])[0] == "chelsea.png"
    title, picture = heard["shown"]
    assert title.text.endswith("chelsea.png") and picture.mime_type == "image/webp"
    drawn = Image.open(io.BytesIO(base64.b64decode(picture.data)))
    assert drawn.format == "WEBP" and max(drawn.size) == 128
    assert heard["told"]["path"].endswith("chelsea.png")
    assert heard["answered"]["answer"] == "yes"
    assert heard["answered"]["model"] == "seesay-assistant"
    assert "人" in heard["described"]["captions"][0]["caption"]
    assert heard["doubled"]["total"] == 0 and heard["doubled"]["uncompared"] == 0
    assert heard["told"]["size"] == photographs()[1].stat().st_size


def test_an_assistant_talks_over_stdio(home):
    words = command("mcp", "--collection", str(home / "collections" / "default"))
    start = StdioServerParameters(command=words[0], args=words[1:], env=surroundings(home))

    async def talk() -> dict[str, Any]:
        async with Client(start) as client:
            return await whole_conversation(client)

    check_conversation(asyncio.run(talk()))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_assistant_talks_to_the_server_over_http(server: Served, mode):
    async def talk() -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers))
            transport = streamable_http_client(f"{server.address}/mcp", http_client=http)
            client = await stack.enter_async_context(Client(transport, mode=mode))
            return await whole_conversation(client)

    check_conversation(asyncio.run(talk()))


def test_assistants_that_ask_too_much_at_once_are_told_so_and_keep_no_program_waiting(
    library, monkeypatch
):
    """One search runs, one waits, and there is room for no other, whoever asks."""
    free, search = threading.Event(), Collection.search

    def waiting(self, query="", **options):
        if not isinstance(query, str) and query.parts[0].text == "wait":
            free.wait(30)
        return search(self, query, **options)

    monkeypatch.setattr(Collection, "search", waiting)
    config = ServerConfig(threads=1, max_waiting=1)
    with (
        live(compose(library, config, page=False), config) as up,
        httpx.Client(base_url=up.url) as rest,
    ):

        def told(path: str, **body: Any) -> Any:
            return asyncio.to_thread(rest.request, "POST" if body else "GET", path, json=body)

        async def talk() -> None:
            async with Client(streamable_http_client(f"{up.url}/mcp")) as client:
                calls = [client.call_tool("search", {"query": "wait"}) for _ in range(6)]
                answers = asyncio.as_completed(calls, timeout=20)
                try:
                    for answer in islice(answers, 4):
                        refused = await answer
                        assert refused.is_error
                        assert "2 requests are being worked on" in refused.content[0].text
                    assert (await told("/v1/search", query="a cat")).status_code == 503
                    assert (await told("/v1/models")).status_code == 200
                    shown = await client.call_tool("show", {"unit": 1})
                    assert not shown.is_error
                finally:
                    free.set()
                assert not any([(await answer).is_error for answer in answers])
            assert (await told("/v1/search", query="a cat")).json()["hits"]
            figures = (await told("/metrics")).text
            assert 'seesay_searches_total{collection="default"} 3.0' in figures
            assert 'seesay_requests_total{method="POST",route="/mcp",status="200"}' in figures

        asyncio.run(talk())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong-one"}])
def test_without_the_token_nobody_talks_over_http(server: Served, headers):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {**headers, "Accept": "application/json, text/event-stream"}
    answer = httpx2.post(f"{server.address}/mcp", json=body, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["message"]


def test_a_page_of_another_site_cannot_talk_over_http(server: Served):
    headers = {"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}
    answer = httpx2.post(f"{server.address}/mcp", json={}, headers=headers)
    assert answer.status_code == 403


def test_nothing_but_the_protocol_stands_on_stdout(home):
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    run = subprocess.run(
        command("mcp"),
        input=json.dumps(hello) + "\n",
        env=surroundings(home),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )
    assert (run.returncode, run.stderr) == (0, "")
    (line,) = run.stdout.splitlines()
    assert json.loads(line)["result"]["serverInfo"]["name"] == "seesay"


def test_without_a_collection_the_reason_is_on_stderr_alone(tmp_path):
    run = subprocess.run(
        command("mcp"), env=surroundings(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "seesay index" in run.stderr


def test_what_is_not_there_is_said_to_be_no_good_match(library):
    answer = found(library, query="一群大象在河里洗澡", type="image")
    assert answer["no_good_match"] and answer["message"].startswith("No good match")
    assert all(hit["confidence"] < 50 for hit in answer["hits"])


@pytest.mark.parametrize("words", ["how to take a picture of a cat", "怎样给猫拍照"])
def test_notes_come_with_a_snippet(library, words):
    hit = found(library, query=words, type="text")["hits"][0]
    assert hit["path"].endswith("cat.md") and hit["snippet"].startswith("How to photograph a cat")


def test_remarks_are_in_the_language_of_the_query(library):
    (remark,) = found(library, query="去年的火箭")["notes"]
    assert "没有“去年的”" in remark
    (remark,) = found(library, query="a rocket last year")["notes"]
    assert "'last year'" in remark


def test_filters_hold(library, home):
    notes = found(library, query="火箭", folders=[str(home / "notes")])
    assert notes["hits"] and all("/notes/" in hit["path"] for hit in notes["hits"])
    assert len(found(library, query="a cat", count=2)["hits"]) == 2
    none = found(library, query="a cat", until="1980")
    assert none["hits"] == [] and none["message"].startswith("Nothing was found")


def test_what_is_unwanted_moves_down(library):
    plain = names(found(library, query="a man with a camera", type="image"))
    without = names(found(library, query="a man with a camera", without=["三脚架"], type="image"))
    assert (plain[0], without[0]) == ("camera.png", "astronaut.png")


def test_more_finds_than_the_server_allows_are_not_returned(library):
    assert len(found(library, query="a cat", count=1000)["hits"]) == 5


def test_a_note_is_shown_as_its_text(library):
    unit = found(library, query="怎样给猫拍照", type="text")["hits"][0]["unit"]
    _, text = ask(library, "show", unit=unit).content
    assert text.text.startswith("How to photograph a cat") and len(text.text) <= MOST_TEXT


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("show", {"unit": 4321}, "no unit 4321"),
        ("describe", {"unit": 4321}, "no unit 4321"),
        ("describe", {"unit": 1, "collection": "defalt"}, "Did you mean 'default'"),
        ("search", {"query": ""}, "say what to look for"),
        ("search", {"query": "cat", "since": "soon"}, "is not a date"),
        ("search", {"query": "c" * 5000}, "5,000 characters instead of at most 4,000"),
        ("search", {"query": "cat", "count": 0}, "greater than or equal to 1"),
        ("show", {"unit": 1, "size": 10**9}, "less than or equal to 1024"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(library, tool, arguments, expected):
    answer = ask(library, tool, **arguments)
    assert answer.is_error
    assert expected in answer.content[0].text


def test_no_tool_takes_the_name_of_a_file(library):
    async def tools() -> Any:
        async with Client(build_mcp(library)) as client:
            return (await client.list_tools()).tools

    taken = {name for tool in asyncio.run(tools()) for name in tool.input_schema["properties"]}
    # `folders` narrow what is found; nothing is opened by them.
    assert taken == {
        *("query", "without", "where", "folders", "since", "until", "type", "count"),
        *("unit", "size", "collection", "exact", "offset", "min_confidence"),
        *("question", "history"),
    }


def test_arguments_are_named_as_in_the_api_and_old_names_are_still_taken(library, home):
    (tool,) = (one for one in asyncio.run(build_mcp(library).list_tools()) if one.name == "search")
    taken = set(tool.input_schema["properties"])
    assert taken == set(SearchBody.model_fields) - {"images", "retrievers", "rerank"}
    notes = str(home / "notes")
    new = found(library, query="火箭", folders=[notes], where=["file.folder~notes"], offset=0)
    assert new == found(library, words="火箭", folder=notes)


def test_an_assistant_is_answered_before_anything_heavy_is_imported():
    code = (
        "import sys, seesay.api.mcp, seesay.search.library;"
        "print(*{'torch', 'fastapi', 'faiss', 'gradio'} & sys.modules.keys())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_models_are_prepared_once_the_tools_were_read(library):
    warmed = threading.Event()
    server = build_mcp(library, warm_up=warmed.set)
    assert not warmed.is_set()
    asyncio.run(server.list_tools())
    assert warmed.wait(60) and server.warm_up is None


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    """A tiny vision-language model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    return ServedAssistant(str(tiny_qwen(folder).folder), device="cpu")


def ask_vision(library: Library, vision: ServedAssistant, tool: str, **arguments: Any) -> Any:
    async def talk() -> Any:
        async with Client(build_mcp(library, assistant=vision)) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(talk())


def test_pictures_of_finds_are_asked_about_and_captioned(library, vision):
    hits = found(library, query="a cat", type="image")["hits"]
    units = [hit["unit"] for hit in hits[:2]]
    answer = ask_vision(library, vision, "ask_picture", question="Why?", units=units, max_tokens=6)
    files = [library.get().thumbnail(unit, 2048) for unit in units]
    expected = vision.get().ask(files, "Why?", max_tokens=6)
    assert answer.structured_content == {
        "answer": expected.text,
        "model": vision.name,
        "finish_reason": expected.finish_reason,
        "doubt": None,
    }
    sent = f"data:image/webp;base64,{base64.b64encode(files[1]).decode()}"
    whole = io.BytesIO()
    picture(0, (200, 200)).save(whole, "PNG")
    half = whole.getvalue()[: len(whole.getvalue()) // 2]
    wrong = f"data:image/png;base64,{base64.b64encode(half).decode()}"
    captions = ask_vision(
        library, vision, "caption", units=units[:1], images=[sent, wrong], language="zh"
    ).structured_content["captions"]
    prompt = "用一句话描述这张图片。"
    texts = [vision.get().ask(file, prompt, max_tokens=100).text for file in files]
    assert [one["caption"] for one in captions] == [*texts, None]
    assert [one["unit"] for one in captions] == [units[0], None, None]
    assert captions[2]["error"] and captions[0]["error"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"question": "Why?"}, "no picture was given"),
        ({"question": "Why?", "images": ["/etc/passwd"]}, "is no picture"),
        ({"question": "Why?", "images": ["http://127.0.0.1/a.png"]}, "never fetched"),
        ({"question": "Why?", "units": [10**6]}, "1000000"),
        ({"question": "", "units": [1]}, "question"),
    ],
)
def test_what_cannot_be_asked_about_is_told(library, vision, arguments, words):
    answer = ask_vision(library, vision, "ask_picture", **arguments)
    assert answer.is_error and words in answer.content[0].text

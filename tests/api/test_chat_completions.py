"""The `openai` client asks a live server with a tiny model about pictures."""

import base64
import io
import json
import threading
from contextlib import contextmanager
from functools import partial

import httpx
import openai
import pytest
import torch
from PIL import Image

import seesay.inference.assistant as local
import seesay.inference.remote as remote
from chat_server import Reply, chat_server, piece, stream
from live_server import live, until
from seesay.api.app import create_app
from seesay.api.config import MAX_ASKED, ServerConfig
from seesay.inference.answering import ServedAssistant
from seesay.inference.assistant import LocalAssistant
from seesay.inference.remote import RemoteConfig
from seesay.search.collection import Collection
from seesay.search.library import Library
from tiny_assistants import picture, tiny_qwen

FIRST = picture(0)
JSON = {"content-type": "application/json"}


def as_url(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def question(text: str, *urls: str) -> list[dict]:
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "tiny"
    place.mkdir()
    torch.manual_seed(0)
    return tiny_qwen(place)


@pytest.fixture(scope="module")
def served(folder):
    assistant = ServedAssistant(str(folder.folder), device="cpu")
    assistant.get()
    return assistant


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A collection with one note, whose model is loaded once for all servers."""
    place = tmp_path_factory.mktemp("home") / "notes"
    note = tmp_path_factory.mktemp("texts") / "cat.md"
    note.write_text("A cat on a mat.")
    with Collection.open(place, create=True) as collection:
        collection.index([note])
    with Library.open([place]) as library:
        yield library


@contextmanager
def serving(library, assistant=None, **settings):
    """The client of a server with this assistant."""
    config = ServerConfig(**settings)
    with (
        live(create_app(library, config, assistant=assistant), config) as up,
        openai.OpenAI(base_url=f"{up.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client(library, served):
    with serving(library, served, picture_hosts=("127.0.0.1",)) as client:
        yield client


@pytest.fixture
def asked(client):
    def ask(*urls: str, text: str = "What is it?", **more):
        settings = {"model": "tiny", "max_tokens": 12, "temperature": 0.0} | more
        return client.chat.completions.create(messages=question(text, *urls), **settings)

    return ask


def test_the_answer_is_the_assistants(asked, served):
    found = asked(as_url(FIRST))
    expected = served.get().ask(FIRST, "What is it?", max_tokens=12)
    assert found.choices[0].message.content == expected.text
    assert found.choices[0].finish_reason == expected.finish_reason
    assert found.usage.prompt_tokens == expected.prompt_tokens
    assert found.usage.completion_tokens == expected.answer_tokens
    assert found.model == "tiny" and found.object == "chat.completion" and len(found.choices) == 1


def test_a_stream_has_the_same_pieces_and_ends_with_its_usage(asked):
    whole = asked(as_url(FIRST))
    chunks = list(asked(as_url(FIRST), stream=True, stream_options={"include_usage": True}))
    texts = [one.choices[0].delta.content or "" for one in chunks if one.choices]
    assert "".join(texts) == whole.choices[0].message.content
    assert len(texts) > 3
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage


def test_a_conversation_goes_on_and_settings_count(asked, client):
    whole = asked(as_url(FIRST)).choices[0].message.content
    stop = whole[len(whole) // 2]
    cut = asked(as_url(FIRST), stop=[stop])
    assert cut.choices[0].message.content == whole.partition(stop)[0] != whole
    assert cut.choices[0].finish_reason == "stop"
    streamed = asked(as_url(FIRST), stop=stop, stream=True)
    texts = [one.choices[0].delta.content or "" for one in streamed]
    assert "".join(texts) == cut.choices[0].message.content
    drawn = [
        asked(as_url(FIRST), temperature=1.5, top_p=0.9, seed=seed).choices[0].message.content
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    turns = [
        {"role": "system", "content": "Be brief."},
        *question("What is it?", as_url(FIRST)),
        {"role": "assistant", "content": whole},
        *question("And this?", as_url(picture(1))),
    ]
    longer = client.chat.completions.create(model="tiny", messages=turns, max_tokens=5)
    assert longer.usage.prompt_tokens > asked(as_url(FIRST)).usage.prompt_tokens


def test_the_models_have_the_assistant_after_the_embedder(client):
    assert [one.id for one in client.models.list()] == ["seesay-mini", "tiny"]


BAD = {
    "another model": ({"model": "gpt-4o"}, openai.NotFoundError, "expected 'tiny'"),
    "no answer": ({"max_tokens": 0}, openai.UnprocessableEntityError, "max_tokens"),
    "five stops": ({"stop": list("abcde")}, openai.BadRequestError, "at most 4"),
    "an empty stop": ({"stop": [""]}, openai.BadRequestError, "a stop text is empty"),
    "two answers": ({"n": 2}, openai.UnprocessableEntityError, "body.n"),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_settings_that_allow_no_answer_are_refused(asked, case, streamed):
    settings, error, words = case
    with pytest.raises(error, match=words):
        asked(as_url(FIRST), stream=streamed, **settings)


PICTURES = {
    "a path": (["/etc/passwd"], "is no picture"),
    "no base64": (["data:image/png;base64,???"], "other than base64"),
    "no picture": (["data:image/png;base64,AAAA"], "begin like any picture"),
    "another host": (["http://example.com/a.png"], "'example.com', which nothing is fetched from"),
    "too many": ([as_url(FIRST)] * (MAX_ASKED + 1), f"at most {MAX_ASKED}"),
    "a long prompt": ([as_url(picture(0, (48, 48)))] * 16, "tokens"),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", PICTURES.values(), ids=PICTURES)
def test_what_is_no_picture_or_too_much_is_refused(asked, case, streamed):
    urls, words = case
    with pytest.raises(openai.BadRequestError, match=words) as caught:
        asked(*urls, text="Why? " * 150, stream=streamed)
    assert caught.value.type in ("ImageError", "ConfigError", "DataError")
    assert "\n" not in str(caught.value.body["message"])


@pytest.mark.parametrize("content", ["\ud83d", "\0", "", "<|image_pad|>", [], [{"type": "text"}]])
def test_whatever_a_message_holds_the_server_does_not_fail(client, content):
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}], "max_tokens": 2}
    answer = httpx.post(
        f"{client.base_url}chat/completions", content=json.dumps(body), headers=JSON
    )
    assert answer.status_code in (200, 400), answer.text
    address = [{"type": "image_url", "image_url": {"url": f"http://[{content}"}}]
    body["messages"] = [{"role": "user", "content": address}]
    answer = httpx.post(
        f"{client.base_url}chat/completions", content=json.dumps(body), headers=JSON
    )
    assert answer.status_code == 400, answer.text


def test_a_picture_of_an_allowed_host_is_fetched_and_a_redirect_is_not_followed(asked):
    content = io.BytesIO()
    FIRST.save(content, "PNG")
    moved = Reply(b"", 302, {"Location": "http://127.0.0.1/"})
    with chat_server(Reply(content.getvalue()), moved) as host:
        expected = asked(as_url(FIRST)).choices[0].message.content
        assert asked(f"{host.url}/a.png").choices[0].message.content == expected
        with pytest.raises(openai.BadRequestError, match="was not fetched"):
            asked(f"{host.url}/a.png")


def test_without_an_assistant_it_says_how_to_have_one(library):
    with serving(library) as client, pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="x", messages=question("Why?"))
    assert "seesay serve --assistant" in str(caught.value)


def test_a_client_that_hangs_up_ends_the_answer_and_searches_are_not_kept_waiting(
    asked, client, monkeypatch
):
    address = str(client.base_url).removesuffix("/v1/")
    steps, began, go_on = [], threading.Event(), threading.Event()
    whole = LocalAssistant._steps

    def endless(self, *given):
        for at, step in enumerate(whole(self, *given)):
            while at and not go_on.is_set():
                steps.append(1)
                began.set()
                local.check_cancelled()
                go_on.wait(0.01)
            yield step

    monkeypatch.setattr(LocalAssistant, "_steps", endless)
    with asked(as_url(FIRST), stream=True) as answer:
        next(iter(answer))
        assert began.wait(60)
        found = httpx.post(f"{address}/v1/search", json={"query": "cat"}, timeout=30)
        assert found.status_code == 200
    until(lambda: 'working{work="answers"} 0.0' in httpx.get(f"{address}/metrics").text)
    count = len(steps)
    go_on.set()
    assert asked(as_url(FIRST)).choices[0].message.content
    assert len(steps) == count


REMOTE = {
    "silence": (Reply(end="stall"), "silent"),
    "nonsense": (Reply(b"<html>", headers={"Content-Type": "text/html"}), "no valid answer"),
    "cut": (stream(piece("a"), done=False, end="cut"), "cut off"),
}


@pytest.mark.parametrize("case", REMOTE.values(), ids=REMOTE)
def test_an_endpoint_that_fails_is_an_error_of_the_openai_form(library, case, monkeypatch):
    reply, words = case
    impatient = partial(RemoteConfig, timeout_s=0.3, retries=0)
    monkeypatch.setattr(remote, "RemoteConfig", impatient)
    with chat_server(reply) as endpoint:
        assistant = ServedAssistant("cats-7b", endpoint=endpoint.url)
        with serving(library, assistant) as client, pytest.raises(openai.APIError) as caught:
            client.chat.completions.create(model="cats-7b", messages=question("Why?"))
    assert words in str(caught.value)
    assert caught.value.type == "EndpointError"


def test_an_endpoint_behind_the_server_gets_what_was_asked(library):
    reply = stream(piece("a c"), piece("at", "stop"))
    with chat_server(reply) as endpoint:
        assistant = ServedAssistant("cats-7b", endpoint=endpoint.url)
        with serving(library, assistant) as client:
            found = client.chat.completions.create(
                model="cats-7b",
                messages=question("Why?", as_url(FIRST)),
                top_p=0.5,
                seed=7,
                stop=["."],
            )
    assert found.choices[0].message.content == "a cat" and found.usage is None
    body = endpoint.requests[0].body
    assert (body["top_p"], body["seed"], body["stop"]) == (0.5, 7, ["."])
    assert "temperature" not in body
    assert body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg")

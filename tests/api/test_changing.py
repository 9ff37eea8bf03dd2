"""What changes a collection through the API: who may, what is allowed, how it is called off."""

import threading
from pathlib import Path

import httpx
import pytest

from live_server import live, serving, until
from made_files import write_photo
from seesay.api.config import ServerConfig
from seesay.cli.serve import compose
from seesay.errors import ConfigError
from seesay.search.collection import Collection
from seesay.search.library import Library

INDEX, TOKEN, READ = "/v1/collections/own/index", "token-to-write", "token-to-read"


@pytest.fixture
def photos(tmp_path) -> Path:
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.jpg", number)
    write_photo(tmp_path / "secret" / "9.jpg", 9)
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "secret")
    return tmp_path / "photos"


def ended(client: httpx.Client, where: str) -> dict:
    until(lambda: client.get(where).json()["state"] != "running")
    return client.get(where).json()


def test_only_folders_that_the_server_was_told_of_can_be_indexed(own, photos):
    with (
        serving(own, index_folders=(str(photos),)) as up,
        httpx.Client(base_url=up.url, timeout=60) as client,
    ):
        secret = photos.parent / "secret"
        outside = (secret, photos / ".." / "secret", photos / "linked", photos.parent, "/etc/none")
        for path in (*map(str, outside), "photos", "https://example.org/a.jpg", "a\0b", "~"):
            answer = client.post(INDEX, json={"paths": [path]})
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (403, "FolderNotAllowed"), path
        assert client.post(INDEX, json={"paths": [str(photos)]}).status_code == 202
        assert ended(client, INDEX)["report"]["added"] == 3  # and not what the link leads to


def test_without_an_option_no_new_folder_can_be_indexed(own, photos, pictures):
    with serving(own) as up, httpx.Client(base_url=up.url, timeout=60) as client:
        assert client.post(INDEX, json={"paths": [str(photos)]}).status_code == 403
        assert client.post(INDEX, json={"paths": [str(pictures / "notes")]}).status_code == 202
        assert ended(client, INDEX)["report"]["unchanged"] == 2


def test_a_run_can_be_cancelled_and_does_not_block_others(own, monkeypatch):
    began = threading.Event()
    whole = Collection.index

    def slow(collection, *arguments, stop, **options):
        began.set()
        stop.wait(60)
        return whole(collection, *arguments, stop=stop, **options)

    monkeypatch.setattr(Collection, "index", slow)
    with serving(own) as up, httpx.Client(base_url=up.url, timeout=60) as client:
        assert client.post(INDEX).json()["state"] == "running"
        assert began.wait(60)
        for where in (INDEX, "/v1/tags"):
            answer = client.post(where, json={})
            assert (answer.status_code, answer.json()["error"]["type"]) == (409, "IndexingRuns")
        assert client.post("/v1/search", json={"query": "a cat"}).status_code == 200
        assert client.delete(INDEX).status_code == 202
        assert ended(client, INDEX)["state"] == "interrupted"


def test_pictures_are_tagged_and_found_by_their_tags(own):
    with serving(own) as up, httpx.Client(base_url=up.url, timeout=60) as client:
        assert client.get("/v1/tags").json()["state"] == "idle"
        assert client.post("/v1/tags", json={"labels": ["cat", " "]}).status_code == 400
        assert client.post("/v1/tags", json={"labels": ["cat", "rocket"]}).status_code == 202
        told = ended(client, "/v1/tags")
        assert (told["state"], told["report"]["pictures"]) == ("done", 7)
        assert told["progress"] == {"done": 7, "total": 7}
        assert client.delete("/v1/tags").json()["state"] == "done"


def test_what_is_removed_is_not_found_and_stays_on_the_disk(own, pictures):
    with serving(own) as up, httpx.Client(base_url=up.url, timeout=60) as client:
        (cat,) = client.post("/v1/search", json={"query": "a cat", "count": 1}).json()["hits"]
        assert client.post("/v1/remove", json={"units": [cat["unit"]]}).json() == {"files": 1}
        assert client.post("/v1/remove", json={"units": [cat["unit"]]}).status_code == 404
        notes = str(pictures / "notes")
        assert client.post("/v1/remove", json={"folders": [notes]}).json() == {"files": 2}
        for nothing in ({}, {"folders": ["notes"]}):
            assert client.post("/v1/remove", json=nothing).status_code == 400
        assert client.post(INDEX).status_code == 202
        assert ended(client, INDEX)["report"]["added"] == 0
    assert Path(cat["path"]).is_file()


WRITES = [
    *(("POST", INDEX), ("DELETE", INDEX), ("POST", "/v1/tags"), ("DELETE", "/v1/tags")),
    ("POST", "/v1/remove"),
]


def test_a_token_to_read_changes_nothing_and_does_not_open_the_page(own):
    config = ServerConfig(token=TOKEN, read_token=READ)
    with (
        Library.open([own]) as library,
        live(compose(library, config), config) as up,
        httpx.Client(base_url=up.url, timeout=60) as client,
    ):
        client.headers["authorization"] = f"Bearer {READ}"
        assert client.post("/v1/search", json={"query": "a cat"}).status_code == 200
        for method, where in WRITES:
            answer = client.request(method, where, json={"units": [1]} if "rem" in where else {})
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ReadToken")
        assert client.get("/").status_code == 401
        assert client.post("/gradio_api/queue/join", json={}).status_code == 401
        client.headers["authorization"] = f"Bearer {TOKEN}"
        assert client.post("/v1/remove", json={"units": [1]}).status_code == 200
        check_methods(client)


def check_methods(client: httpx.Client) -> None:
    """With the page below the routes, too."""
    for method, where, allow in (
        *(("PUT", INDEX, "DELETE, GET, POST"), ("DELETE", "/v1/search", "POST")),
        *(("POST", "/health", "GET"), ("PATCH", "/openapi.json", "GET, HEAD")),
        *(("PUT", "/mcp", "DELETE, GET, POST"), ("DELETE", "/", "GET, HEAD")),
        *(("POST", "/docs", "GET"), ("PUT", "/gradio_api/queue/join", "POST")),
    ):
        answer = client.request(method, where)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow), where
        assert set(answer.json()["error"]) == {"type", "message"}
    for where in ("/nothing", "/v1/nothing", "/assets/nothing.js", "/static/nothing", "/docs/x"):
        answer = client.get(where)
        assert answer.status_code == 404, where
        assert set(answer.json()["error"]) == {"type", "message"}, where


def test_two_tokens_have_to_differ():
    for settings in ({"read_token": READ}, {"token": READ, "read_token": READ}):
        with pytest.raises(ConfigError, match="expected two different ones") as refused:
            ServerConfig(**settings)
        assert "应设两个不同的令牌" in refused.value.text.zh


def test_a_server_that_only_reads_changes_nothing(album):
    with serving(album, read_only=True) as up:
        for method, where in WRITES:
            where = where.replace("own", "album")
            body = {"units": [1]} if "remove" in where else {}
            answer = httpx.request(method, f"{up.url}{where}", json=body)
            assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ReadOnly")

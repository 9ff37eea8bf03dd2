"""Clients that are slow, broken or many never keep another one waiting."""

import base64
import io
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from live_server import live, serving, until
from seesay.api.app import create_app
from seesay.api.config import ServerConfig
from seesay.search.collection import Collection
from seesay.search.library import Library

CAT = {"query": "a cat", "count": 1}
HEAD = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def finds_the_cat(url):
    began = time.monotonic()
    answer = httpx.post(f"{url}/v1/search", json=CAT, timeout=30)
    assert answer.json()["hits"][0]["path"].endswith("chelsea.png")
    return time.monotonic() - began


@pytest.fixture
def held(monkeypatch):
    """Searches for "wait" wait until the event is set; the second one says how many do."""
    free, inside = threading.Event(), []
    search = Collection.search

    def waiting(self, query="", **options):
        if not isinstance(query, str) and query.parts[0].text == "wait":
            inside.append(1)
            free.wait(30)
        return search(self, query, **options)

    monkeypatch.setattr(Collection, "search", waiting)
    yield free, inside
    free.set()


def test_bodies_that_come_byte_by_byte_keep_nobody_waiting(server):
    body = b'{"query": "a cat", "count": 1}'
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(20)]
    for one in slow:
        one.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body[:1])
    assert finds_the_cat(server.url) < 5
    for byte in body[1:]:
        for one in slow:
            one.sendall(bytes([byte]))
    for one in slow:
        assert b" 200 " in one.recv(100)
        one.close()


def test_answers_that_nobody_reads_keep_nobody_waiting(server):
    body = b'{"query": "a cat", "count": 100}'
    deaf = []
    for _ in range(20):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        one.connect(("127.0.0.1", server.port))
        one.sendall((f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body) * 50)
        deaf.append(one)
    assert finds_the_cat(server.url) < 10
    for one in deaf:
        one.close()
    assert finds_the_cat(server.url) < 10


def test_a_client_that_hangs_up_in_the_middle_does_no_harm(server):
    body = b'{"query": "a cat"}'
    whole = f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body
    for cut in (10, len(whole) - 5, len(whole)):
        for _ in range(5):
            one = socket.create_connection(("127.0.0.1", server.port))
            one.sendall(whole[:cut])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()  # with a reset
    assert finds_the_cat(server.url) < 5
    until(lambda: 'seesay_waiting{work="search"} 0.0' in httpx.get(f"{server.url}/metrics").text)


def test_more_requests_than_may_wait_are_told_to_come_again(album, held):
    free, inside = held
    with (
        serving(album, threads=1, max_waiting=2) as up,
        ThreadPoolExecutor(3) as pool,
        httpx.Client(base_url=up.url, timeout=30) as client,
    ):
        asked = [
            pool.submit(httpx.post, f"{up.url}/v1/search", json={"query": "wait"}, timeout=30)
            for _ in range(3)
        ]
        until(lambda: 'seesay_waiting{work="search"} 2.0' in client.get("/metrics").text)
        answer = client.post("/v1/search", json=CAT)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/health").status_code == 200
        free.set()
        assert [one.result().status_code for one in asked] == [200] * 3
        assert len(inside) == 3
        assert finds_the_cat(up.url) < 10


def test_what_takes_too_long_is_given_up_and_the_next_one_is_answered(album, held):
    free, _ = held
    with serving(album, threads=1, timeout_s=0.5) as up:
        answer = httpx.post(f"{up.url}/v1/search", json={"query": "wait"}, timeout=30)
        assert (answer.status_code, answer.json()["error"]["type"]) == (504, "TooSlow")
        free.set()
        assert finds_the_cat(up.url) < 10


def test_requests_in_flight_are_answered_when_the_server_ends(album, held):
    free, inside = held
    with Library.open([album]) as library, ThreadPoolExecutor(1) as pool:
        with live(create_app(library, ServerConfig())) as up:
            asked = pool.submit(
                httpx.post, f"{up.url}/v1/search", json={"query": "wait"}, timeout=30
            )
            until(lambda: inside)
            up.server.should_exit = True
            threading.Timer(0.5, free.set).start()
        assert asked.result().status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{up.url}/health")


def png(width, height):
    """A picture of one colour that is small as a file, whatever its size."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    squeeze = zlib.compressobj(9)
    rows = io.BytesIO()
    for _ in range(height):
        rows.write(squeeze.compress(bytes(1 + (width + 7) // 8)))
    rows.write(squeeze.flush())
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", rows.getvalue())
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("route", ["/v1/search", "/v1/similar", "/v1/embeddings"])
def test_a_picture_that_would_fill_the_memory_is_refused_at_once(client, route):
    bomb = f"data:image/png;base64,{base64.b64encode(png(30_000, 10_000)).decode()}"
    assert len(bomb) < 200_000
    body = {"input": [bomb], "model": "seesay-mini"} if "emb" in route else {"images": [bomb]}
    began = time.monotonic()
    answer = client.post(route, json=body)
    assert answer.status_code == 400
    assert "300,000,000 pixels" in answer.json()["error"]["message"]
    assert time.monotonic() - began < 2

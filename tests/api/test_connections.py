"""Connections that say nothing, or never finish the head of a request, lock nobody out."""

import asyncio
import select
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from live_server import live, until
from seesay.api.config import ServerConfig

HEAD = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope, receive, send):
    """Answers /quick at once and /slow once it is told to."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while scope["path"] == "/slow" and not scope["app_state"].is_set():
        await asyncio.sleep(0.02)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def running(**settings):
    """A server on that application; what is yielded with it lets /slow answer."""
    go_on = threading.Event()

    async def app(scope, receive, send):
        await application({**scope, "app_state": go_on}, receive, send)

    with live(app, ServerConfig(**settings)) as up:
        try:
            yield up, go_on
        finally:
            go_on.set()


@contextmanager
def connections(up, count):
    with ExitStack() as opened:
        yield [
            opened.enter_context(socket.create_connection(("127.0.0.1", up.port), timeout=60))
            for _ in range(count)
        ]


def ended(sockets):
    """Those that the server has closed."""
    readable, _, _ = select.select(sockets, [], [], 0)
    return [one for one in readable if one.recv(1, socket.MSG_PEEK) == b""]


def drip(one):
    """Send a byte every now and then, for as long as somebody takes it."""
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - began < 60:
            one.sendall(b"x")
            time.sleep(0.05)


def received(one):
    answer = b""
    while part := one.recv(65536):
        answer += part
    return answer


def test_hundreds_of_silent_connections_lock_nobody_out_and_are_closed():
    with running(timeout_s=2.0, max_idle=100) as (up, _), connections(up, 400) as silent:
        assert httpx.get(f"{up.url}/quick", timeout=30).text == "ok"
        until(lambda: len(ended(silent)) == 400)
        assert httpx.get(f"{up.url}/quick", timeout=30).text == "ok"
        until(lambda: not up.server.server_state.connections)


def test_of_too_many_silent_connections_the_oldest_make_room_at_once():
    with running(timeout_s=600.0, max_idle=100) as (up, _), connections(up, 400) as silent:
        until(lambda: len(ended(silent)) >= 300)
        assert httpx.get(f"{up.url}/quick", timeout=30).text == "ok"
        assert set(ended(silent)) <= set(silent[:301])


@pytest.mark.parametrize(
    "begun",
    [b"G", HEAD[:-2], HEAD + b"GET /quick", HEAD + HEAD + b"G", b"POST /quick HTTP/1.1\r\nA: "],
)
def test_a_head_that_never_ends_is_refused_in_time_however_it_trickles(begun):
    with running(timeout_s=1.0) as (up, _), connections(up, 1) as (slow,):
        slow.sendall(begun)
        drip(slow)


def test_whoever_began_a_request_is_told_why_it_is_closed():
    with running(timeout_s=1.0) as (up, _), connections(up, 2) as (half, silent):
        half.sendall(HEAD[:-2])
        answer = received(half)
        assert answer.startswith(b"HTTP/1.1 408 ") and b'{"error": {"type": "TooLate"' in answer
        assert b"expected it within 1 s" in answer
        assert received(silent) == b""  # it had asked nothing


def test_a_connection_that_has_a_request_is_never_closed_for_being_silent():
    with running(timeout_s=2.0, max_idle=4) as (up, go_on), ExitStack() as opened:
        asking = []
        for count in range(1, 11):  # one by one: until its head is read, each is silent too
            (one,) = opened.enter_context(connections(up, 1))
            one.sendall(HEAD.replace(b"quick", b"slow"))
            until(lambda count=count: len(up.server.server_state.tasks) == count)
            asking.append(one)
        with connections(up, 20) as silent:
            until(lambda: len(ended(silent)) == 20)
        assert ended(asking) == []
        go_on.set()
        for one in asking:
            assert one.recv(65536).endswith(b"ok")


def test_an_answered_connection_may_be_used_again_until_it_is_idle_for_too_long():
    with running(timeout_s=2.0) as (up, _), connections(up, 1) as (kept,):
        for _ in range(3):
            kept.sendall(HEAD)
            assert kept.recv(65536).endswith(b"ok")
        kept.sendall(HEAD[:5])  # after which uvicorn alone would wait for ever
        assert received(kept).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_goes_on_after_the_answer_does_not_keep_the_connection():
    with running(timeout_s=1.0) as (up, _), connections(up, 1) as (deaf,):
        deaf.sendall(HEAD.replace(b"GET", b"POST")[:-2] + b"Content-Length: 99999999\r\n\r\n")
        assert deaf.recv(65536).endswith(b"ok")
        drip(deaf)

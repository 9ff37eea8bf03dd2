"""Work that nobody waits for ends: its thread is free again, and the server stops in time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
import torch

from live_server import live, serving, until
from seesay.api.app import create_app
from seesay.api.config import ServerConfig
from seesay.inference import devices
from seesay.inference.cancelling import Cancelled, cancelled_by, check_cancelled, never_cancelled
from seesay.inference.devices import map_in_order
from seesay.search.library import Library

SHORT = {"model": "seesay-mini", "input": "a cat"}
LONG = {"model": "seesay-mini", "input": ["a long text about a cat " * 100] * 2}


@pytest.fixture
def endless(monkeypatch):
    """A text of many windows takes until the end of the test, batch after batch. Yields the batches
    that were begun."""
    begun: list[int] = []
    usual, over = devices.by_length, threading.Event()

    def batches(ids, rows):
        while len(ids) > 20 and not over.is_set():
            begun.append(len(ids))
            yield torch.arange(1)
        yield from usual(ids, rows)

    monkeypatch.setattr(devices, "by_length", batches)
    yield begun
    over.set()


@contextmanager
def embedding(url, count):
    """So many long requests in flight."""
    with ThreadPoolExecutor(count) as pool:
        yield [
            pool.submit(httpx.post, f"{url}/v1/embeddings", json=LONG, timeout=60)
            for _ in range(count)
        ]


def figures(url):
    return httpx.get(f"{url}/metrics").text


def test_what_takes_too_long_gives_its_thread_back(album, endless):
    with serving(album, threads=1, timeout_s=1.0) as up, embedding(up.url, 3) as asked:
        answers = [one.result() for one in asked]
        assert [one.status_code for one in answers] == [504] * 3
        assert answers[0].json()["error"]["type"] == "TooSlow"
        until(lambda: httpx.post(f"{up.url}/v1/embeddings", json=SHORT).status_code == 200)
        done = len(endless)
        httpx.post(f"{up.url}/v1/embeddings", json=SHORT)
        assert len(endless) == done


def test_what_a_client_hung_up_on_gives_its_thread_back(album, endless):
    with serving(album, threads=1, timeout_s=600.0) as up:
        with httpx.Client(timeout=0.5) as impatient, pytest.raises(httpx.ReadTimeout):
            impatient.post(f"{up.url}/v1/embeddings", json=LONG)
        gone = 'seesay_requests_total{method="POST",route="/v1/embeddings",status="499"} 1.0'
        until(lambda: gone in figures(up.url))
        answer = httpx.post(f"{up.url}/v1/embeddings", json=SHORT, timeout=60)
        assert answer.status_code == 200


def test_while_every_thread_embeds_pictures_are_shown_and_searches_answered(album, endless):
    with serving(album, threads=1, timeout_s=20.0) as up, embedding(up.url, 4) as asked:
        until(lambda: 'seesay_waiting{work="embeddings"} 3.0' in figures(up.url))
        until(lambda: endless)
        with httpx.Client(base_url=up.url, timeout=20) as client:
            assert client.get("/v1/thumbnails/1").status_code == 200
            assert client.get("/health").status_code == 200
            assert client.post("/v1/search", json={"query": "a cat"}).json()["hits"]
            assert client.get("/v1/collections").status_code == 200
        assert not any(one.done() for one in asked)
        up.stop_working()
        assert {one.result().status_code for one in asked} == {503}


def test_a_server_that_stops_does_not_wait_for_what_takes_for_ever(album, endless):
    before = set(threading.enumerate())
    with Library.open([album]) as library, ThreadPoolExecutor(2) as pool:
        app = create_app(library, ServerConfig(threads=1, timeout_s=600.0))
        with live(app) as up:
            asked = [
                pool.submit(httpx.post, f"{up.url}/v1/embeddings", json=LONG, timeout=60)
                for _ in range(2)
            ]
            until(lambda: endless)
            began = time.monotonic()
            up.stop_working()
            answers = [one.result() for one in asked]
        assert [one.status_code for one in answers] == [503, 503]  # one was at work, one waited
        assert answers[0].json()["error"]["type"] == "Stopping"
        assert time.monotonic() - began < 30
    until(lambda: not set(threading.enumerate()) - before)


def test_loops_below_see_what_was_given_up_and_shared_work_is_finished():
    given_up = threading.Event()
    check_cancelled()  # outside of any such block nothing is ever given up
    with cancelled_by(given_up):
        check_cancelled()
        given_up.set()
        with never_cancelled():
            check_cancelled()
        with pytest.raises(Cancelled):
            check_cancelled()
        with pytest.raises(Cancelled):  # in other threads too
            list(map_in_order(lambda _: check_cancelled(), range(8), workers=2))
    check_cancelled()


def test_pictures_are_given_up_one_by_one(album, pictures):
    """Between two pictures of a batch, though each of them is an input of its own."""
    given_up = threading.Event()

    class Reading(list):
        def __iter__(self):
            for number, path in enumerate(super().__iter__()):
                if number == 1:
                    given_up.set()
                yield path

    with Library.open([album]) as library, cancelled_by(given_up), pytest.raises(Cancelled):
        library.get().model.get().embed_images(Reading([pictures / "moon.png"] * 3))

"""Servers that are killed, share a collection, or run out of room: nothing is lost."""

import os
import subprocess
import threading
import time

import httpx
import pytest

from live_server import process, serving, until
from made_files import write_photo
from seesay.search.collection import Collection

INDEX = "/v1/collections/mine/index"


@pytest.fixture
def mine(tmp_path):
    """A collection of six photographs, and thirty more that it does not know yet."""
    with Collection.open(tmp_path / "mine", create=True) as collection:
        for number in range(6):
            write_photo(tmp_path / "photos" / f"{number}.png", number)
        collection.index([tmp_path / "photos"])
    for number in range(6, 36):
        write_photo(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "mine"


def searches(url):
    return httpx.post(f"{url}/v1/search", json={"query": "a photograph"}, timeout=30)


def test_a_server_killed_in_the_middle_of_requests_loses_nothing(mine):
    with process(mine) as (child, url):
        failed = threading.Event()

        def ask():
            with httpx.Client(base_url=url) as client:
                try:
                    while True:
                        client.post("/v1/search", json={"query": "a photograph"})
                except httpx.TransportError:
                    failed.set()

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: float(_searched(url)) > 20)
        child.kill()
        assert failed.wait(10)
        for thread in threads:
            thread.join()
    with Collection.open(mine) as collection:
        assert collection.verify(deep=True) == []
        assert collection.stats().units == {"image": 6}


def _searched(url):
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next((x.split()[-1] for x in lines if x.startswith("seesay_searches_total")), "0")


def test_a_server_killed_while_it_indexes_loses_nothing_and_the_next_one_goes_on(mine):
    with process(mine) as (child, url):
        assert httpx.post(f"{url}{INDEX}").status_code == 202
        until(lambda: httpx.get(f"{url}{INDEX}").json()["state"] == "running")
        child.kill()
    with Collection.open(mine) as collection:
        assert collection.verify(deep=True) == []
        assert collection.stats().units["image"] >= 6
        assert collection.search("a photograph").hits
    with serving(mine) as up:
        assert httpx.post(f"{up.url}{INDEX}").status_code == 202
        until(lambda: httpx.get(f"{up.url}{INDEX}").json()["state"] == "done")
    with Collection.open(mine) as collection:
        assert collection.stats().units == {"image": 36}


def test_of_two_servers_on_one_collection_one_may_index_while_both_answer(mine):
    with process(mine) as (_, one), process(mine) as (_, other):
        assert httpx.post(f"{one}{INDEX}").status_code == 202
        statuses = []
        while httpx.get(f"{one}{INDEX}").json()["state"] == "running":
            statuses += [searches(url).status_code for url in (one, other)]
            time.sleep(0.2)  # or the searches would take the processor from the run
        assert set(statuses) == {200}
        assert httpx.get(f"{one}{INDEX}").json()["report"]["added"] == 30
        for url in (one, other):  # what one has taken in, the other finds
            hits = httpx.post(f"{url}/v1/search", json={"query": "x", "count": 200}).json()["hits"]
            assert len(hits) == 36


def test_a_second_run_is_refused_while_one_is_running(mine):
    with serving(mine) as up:
        assert httpx.post(f"{up.url}{INDEX}").status_code == 202
        answer = httpx.post(f"{up.url}{INDEX}")
        assert (answer.status_code, answer.json()["error"]["type"]) == (409, "IndexingRuns")
    with Collection.open(mine) as collection:  # it ended in good order in the middle
        assert collection.verify(deep=True) == []
        assert collection.stats().last_run.state in ("interrupted", "done")


def test_a_full_disk_is_told_and_searches_go_on(tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    monkeypatch.setattr("seesay.search.indexing.commit.PASSAGES", 50)
    try:
        folder = tmp_path / "p"
        write_photo(folder / "0.png", 0)
        with Collection.open(small / "mine", create=True) as collection:
            collection.index([folder])
        for number in range(60):
            (folder / f"{number}.txt").write_text(f"number{number} some words " * 200)
        with serving(small / "mine") as up:
            assert httpx.post(f"{up.url}{INDEX}").status_code in (202, 507)
            until(lambda: httpx.get(f"{up.url}{INDEX}").json()["state"] != "running")
            assert httpx.get(f"{up.url}{INDEX}").json()["state"] == "failed"
            assert "disk is full" in httpx.get(f"{up.url}{INDEX}").json()["error"]["en"]
            assert searches(up.url).status_code == 200
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        with Collection.open(small / "mine") as collection:
            assert collection.verify(deep=True) == []
            collection.index()
            assert sum(collection.stats().items.values()) == 61
    finally:
        subprocess.run(["umount", str(small)], check=True)

"""Searches that wait are embedded together, and none is answered otherwise because of it."""

import httpx
import pytest

from live_server import serving
from seesay.api.bodies import SearchBody
from seesay.api.config import ServerConfig
from seesay.api.failures import RefusedError
from seesay.api.routes import searching
from seesay.api.routes.searching import SearchQueue
from seesay.api.work import Work
from seesay.errors import ConfigError
from seesay.inference.embedder import Embedder
from seesay.search.collection import Collection
from seesay.text import Text

WORDS = ["a cat", "一只猫", "a rocket at night", "月球表面", "a cat"]


@pytest.fixture
def queue():
    return SearchQueue(lambda body: body.to_query(ServerConfig()))


@pytest.fixture
def batches(monkeypatch):
    """The texts of each time that the model is asked."""
    asked = []
    original = Embedder.embed_texts

    def counted(self, texts, **options):
        asked.append(list(texts))
        return original(self, texts, **options)

    monkeypatch.setattr(Embedder, "embed_texts", counted)
    return asked


def test_searches_that_wait_are_embedded_together_and_answered_as_alone(album, queue, batches):
    with Collection.open(album) as collection:
        alone = [collection.search(words).hits for words in WORDS]
    with Collection.open(album) as collection:
        collection.model.get()  # as a server does: all of the model, not its text half alone
        for words in ("warm", "暖和"):  # loads what everyday words score, in both languages
            collection.search(words)
        batches.clear()
        waiting = [queue.add(SearchBody(query=words)) for words in WORDS]
        found = [collection.search(queue.query(one, collection)).hits for one in waiting]
        assert batches == [["a cat", "一只猫", "a rocket at night", "月球表面"]]
    for one, other in zip(alone, found, strict=True):
        assert [hit.unit for hit in one] == [hit.unit for hit in other]
        assert [hit.confidence for hit in one] == pytest.approx(
            [hit.confidence for hit in other], abs=0.2
        )


def test_a_search_that_cannot_be_is_told_to_whom_it_concerns_alone(album, queue):
    with Collection.open(album) as collection:
        good, bad = queue.add(SearchBody(query="a cat")), queue.add(SearchBody(since="soon"))
        assert collection.search(queue.query(good, collection)).hits
        with pytest.raises(ConfigError, match="is not a date"):
            queue.query(bad, collection)


def test_one_that_nobody_waits_behind_is_not_prepared_for(album, queue, monkeypatch):
    with Collection.open(album) as collection:
        monkeypatch.setattr(collection, "expect", lambda _: pytest.fail("was asked"))
        assert queue.query(queue.add(SearchBody(query="a cat")), collection).parts


def test_a_long_text_is_for_its_own_thread_alone(album, queue, batches):
    with Collection.open(album) as collection:
        short, long = queue.add(SearchBody(query="a cat")), SearchBody(query="a dog " * 100)
        queue.add(long), queue.add(SearchBody(query="a hat", without=["a bird " * 100]))
        queue.query(short, collection)
        assert batches == []
        queue.query(queue.add(long), collection)
        assert batches == []


def test_one_that_was_refused_is_not_prepared_for(album, queue, monkeypatch):
    with Collection.open(album) as collection:
        own, refused = queue.add(SearchBody(query="a cat")), queue.add(SearchBody(query="a dog"))
        queue.leave(refused)
        monkeypatch.setattr(collection, "expect", lambda _: pytest.fail("was asked"))
        assert queue.query(own, collection).parts
        queue.leave(own)


def test_the_server_keeps_nothing_of_searches_that_nobody_waits_for(album, monkeypatch):
    kept = []

    class Kept(SearchQueue):
        def add(self, body):
            kept.append(self._waiting)
            return super().add(body)

    async def refuse(*_):
        raise RefusedError(503, "Busy", Text("come again", "请稍后再试"))

    monkeypatch.setattr(searching, "SearchQueue", Kept)
    monkeypatch.setattr(Work, "__call__", refuse)
    with serving(album) as up:
        for words in WORDS:
            answer = httpx.post(f"{up.url}/v1/search", json={"query": words})
            assert answer.status_code == 503
    assert len(kept) == len(WORDS) and not any(kept)

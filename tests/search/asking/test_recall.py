"""Typed captions find what the model finds: recall through the search is the model's own."""

import io
import json
import tarfile

import numpy as np
import pytest

import made_collections as made
from seesay.inference.embedder import load
from seesay.search.asking.query import Query
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.store import Store

PHOTOGRAPHS, EACH, FIRST = 100, 2, 10


@pytest.fixture(scope="module")
def dev(shared):
    """Photographs of Flickr8k and two captions of each in two languages."""
    pictures, captions = {}, {}
    with tarfile.open(shared / "flickr8k-bilingual" / "dev-000000.tar") as archive:
        for member in archive:
            name, kind = member.name.rsplit(".", 1)
            stream = archive.extractfile(member) or io.BytesIO()
            if kind == "jpg":
                pictures[name] = stream.read()
            else:
                captions[name] = json.load(stream)
            if len(pictures) == len(captions) == PHOTOGRAPHS:
                break
    names = sorted(pictures)
    texts = {
        language: [text for name in names for text in captions[name][language][:EACH]]
        for language in ("en", "zh")
    }
    return [pictures[name] for name in names], texts


@pytest.fixture(scope="module")
def found(dev, tmp_path_factory):
    """For each language, the places at which search and model have each caption's photograph, and
    the share of the captions for which all of the first ten are the same."""
    pictures, texts = dev
    embedder = load("seesay-mini", device="cpu")
    vectors = embedder.embed_images(pictures).vectors
    halves = vectors.astype(np.float16).astype(np.float32)
    with Store(tmp_path_factory.mktemp("recall") / "c", create=True) as store:
        space = made.add_space(store, dim=embedder.dim)
        with store.writing("activate"):
            store.spaces.activate(space.id)
        units = np.array(made.add_photos(store, space, vectors))
        searcher = Searcher(store, embedder)
        answers = {
            language: compare(searcher, embedder, halves, units, said)
            for language, said in texts.items()
        }
        searcher.close()
    return answers


def compare(searcher, embedder, vectors, units, texts):
    own, ours, same = [], [], 0
    for start in range(0, len(texts), 100):
        some = texts[start : start + 100]
        queries = [Query.of(text) for text in some]
        searcher.expect(queries)
        scores = embedder.embed_texts(some).vectors @ vectors.T
        for number, (query, row) in enumerate(zip(queries, scores, strict=True), start):
            first = units[np.argsort(-row, kind="stable")[:FIRST]].tolist()
            asked = Query(parts=query.parts, period=query.period, count=FIRST)
            hits = [hit.unit for hit in searcher.search(asked).hits]
            right = int(units[number // EACH])
            own.append(first.index(right) if right in first else FIRST)
            ours.append(hits.index(right) if right in hits else FIRST)
            same += hits == first
    return np.array(ours), np.array(own), same / len(texts)


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "zh"])
def test_recall_through_the_search_is_that_of_the_model(found, language):
    """But for captions of a word or two, which are searched without what all words share."""
    ours, own, _ = found[language]
    for depth in (1, 5, FIRST):
        assert abs((ours < depth).mean() - (own < depth).mean()) <= 0.0025


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nearly_every_caption_is_answered_as_the_model_does_and_the_rest_deny_something(
    found, language
):
    assert found[language][2] > 0.99

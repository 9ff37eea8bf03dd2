"""/docs shows every route and loads nothing from anywhere."""

import re
from dataclasses import replace

import numpy as np
import pytest

from seesay.api.bodies import PICTURE
from seesay.api.routes import embeddings
from seesay.weights.catalog import find


def test_the_page_of_the_api_shows_every_route_and_loads_nothing(client):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    paths = client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page.text
    assert not re.search(r"<(script|link|img|iframe)|src=|https?://|@import|url\(", page.text)


def test_every_body_has_an_example(client):
    known = client.get("/openapi.json").json()["components"]["schemas"]
    bodies = [name for name in known if name.endswith("Body")]
    assert len(bodies) == 9 and all(known[name]["examples"] for name in bodies)


def test_pictures_are_classified(client):
    body = {"images": [PICTURE], "labels": ["a red square", "a cat"], "none_above": None, "top": 1}
    answer = client.post("/v1/classify", json=body).json()
    assert answer["model"] == "seesay-mini" and len(answer["predictions"]) == 1
    assert answer["predictions"][0]["label"] == "a red square"
    assert len(answer["predictions"][0]["ranked"]) == 1
    for wrong in ({"labels": []}, {"images": [PICTURE] * 33}, {"labels": ["a", "a"]}):
        assert client.post("/v1/classify", json={**body, **wrong}).status_code in (400, 422)


@pytest.mark.parametrize("smallest", [0, 8])
def test_vectors_are_cut_only_where_the_model_was_trained_for_it(client, monkeypatch, smallest):
    entry = replace(find("seesay-mini"), smallest_dim=smallest)
    monkeypatch.setattr(embeddings, "find", lambda _: entry)
    body = {"input": "a cat", "model": "seesay-mini"}

    def asked(**more):
        return client.post("/v1/embeddings", json={**body, **more})

    whole = np.array(asked().json()["data"][0]["embedding"])
    same = asked(dimensions=len(whole)).json()["data"][0]["embedding"]
    assert same == whole.tolist()
    part = asked(dimensions=16)
    if not smallest:
        assert part.status_code == 400
        assert "was not trained" in part.json()["error"]["message"]
        return
    cut = np.array(part.json()["data"][0]["embedding"])
    np.testing.assert_allclose(cut, whole[:16] / np.linalg.norm(whole[:16]), atol=1e-6)
    assert asked(dimensions=7).status_code == asked(dimensions=100_000).status_code == 400

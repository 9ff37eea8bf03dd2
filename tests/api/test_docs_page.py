"""/docs shows every route and loads nothing from anywhere."""

import re

from seesay.api.pictures import PICTURE


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
    assert len(bodies) == 7 and all(known[name]["examples"] for name in bodies)


def test_pictures_are_classified(client):
    body = {"images": [PICTURE], "labels": ["a red square", "a cat"], "none_above": None, "top": 1}
    answer = client.post("/v1/classify", json=body).json()
    assert answer["model"] == "seesay-mini" and len(answer["predictions"]) == 1
    assert answer["predictions"][0]["label"] == "a red square"
    assert len(answer["predictions"][0]["ranked"]) == 1
    for wrong in ({"labels": []}, {"images": [PICTURE] * 33}, {"labels": ["a", "a"]}):
        assert client.post("/v1/classify", json={**body, **wrong}).status_code in (400, 422)

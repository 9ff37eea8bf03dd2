"""The routes against a live server: what they answer is what Python returns and `--json` prints."""

import base64
import io
import json
from pathlib import Path

import httpx
import pytest
from PIL import Image

from live_server import serving, until
from made_files import write_photo
from photographs import folder
from seesay.cli.main import run
from seesay.search.collection import Collection


def names(answer):
    assert answer.status_code == 200, answer.text
    return [Path(hit["path"]).name for hit in answer.json()["hits"]]


def data_url(name):
    return f"data:image/png;base64,{base64.b64encode((folder() / name).read_bytes()).decode()}"


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value


@pytest.mark.parametrize("words", ["a cat", "一只猫"])
def test_a_search_answers_what_the_command_line_prints(client, album, words, capsys):
    assert run(["search", words, "--collection", str(album), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    answered = client.post("/v1/search", json={"query": words}).json()
    assert answered.pop("seconds") > 0
    assert printed.pop("seconds") > 0
    assert rounded(answered) == rounded(printed)  # one embeds with torch, the other with numpy
    assert answered["hits"][0]["path"].endswith("chelsea.png")


def test_words_pictures_and_filters_work_together(client, pictures):
    def ask(**body):
        return names(client.post("/v1/search", json=body))

    assert ask(images=[data_url("rocket.jpg")], count=1) == ["rocket.jpg"]
    assert ask(query="长江大桥", type="text")[0] == "桥.txt"
    assert ask(query="长江大桥", type="sheet") == []
    assert ask(query="rocket", folders=[str(pictures / "notes")])[0] == "rocket.md"
    square = set(ask(where=["width=512"], count=50))
    moon = square & {"moon.png", "the moon again.png"}  # equal: either stands for both
    assert len(moon) == 1 and square - moon == {"astronaut.png", "camera.png"}
    assert ask(query="a cat", until="1990") == []
    for name in ("retrievers", "lanes"):  # the second is the former name
        assert ask(query="rocket", **{name: ["keyword"]}) == ["rocket.md"]
    first, second = ask(query="rocket", count=2), ask(query="rocket", count=1, offset=1)
    assert first[1:] == second
    assert "chelsea.png" not in ask(query="a cat", without=["a cat"], min_confidence=50)


def test_nothing_that_fits_is_said_to_be_so(client):
    answer = client.post("/v1/search", json={"query": "an excavator on a building site"}).json()
    assert answer["no_good_match"] is True


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "expected words or a picture"),
        ({"query": "x", "count": 201}, 400, "at most 200"),
        ({"query": "x", "count": 0}, 422, "body.count"),
        ({"query": "x", "where": ["nothing=1"]}, 400, "nothing in the collection has"),
        ({"query": "x", "since": "soon"}, 400, "is not a date"),
        ({"query": "x", "path": "/etc"}, 422, "body.path"),
        ({"query": "x", "collection": "nowhere"}, 404, "expected one of album"),
        ({"query": "x" * 10_001}, 422, "body.query"),
    ],
)
def test_what_cannot_be_asked_is_told(client, body, status, said):
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "is not JSON ("),
        ({"data": {"query": "x"}}, "was not sent as Content-Type: application/json"),
        ({"json": [1]}, "the body is not a JSON object"),
    ],
)
def test_a_body_that_cannot_be_read_is_named_as_such(client, sent, said):
    answer = client.post("/v1/search", **sent)
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]


def test_errors_have_one_form_wherever_they_come_from(client):
    for answer in (
        client.get("/nothing"),
        client.delete("/v1/search"),
        client.post("/v1/search", content=b"{", headers={"content-type": "application/json"}),
        client.post("/v1/search", content=b'{"query": "\\ud800"}'),
        client.get("/v1/units/0"),
    ):
        assert answer.status_code in (404, 405, 422)
        assert set(answer.json()["error"]) == {"type", "message"}


def test_what_is_like_a_unit_or_a_picture_leaves_it_out(client):
    (cat,) = client.post("/v1/search", json={"query": "a cat", "count": 1}).json()["hits"]
    similar = client.post("/v1/similar", json={"units": [cat["unit"]]})
    assert "chelsea.png" not in names(similar)
    by_picture = client.post("/v1/similar", json={"images": [data_url("moon.png")], "count": 1})
    assert names(by_picture)[0] in ("moon.png", "the moon again.png")
    assert client.post("/v1/similar", json={}).status_code == 400
    assert client.post("/v1/similar", json={"units": [999]}).status_code == 400


def test_a_unit_is_described_and_shown(client):
    (cat,) = client.post("/v1/search", json={"query": "a cat", "count": 1}).json()["hits"]
    told = client.get(f"/v1/units/{cat['unit']}").json()
    day = "2009-02-09T09:11:30+00:00"  # its XMP says so
    about = {"date": day, "height": 300.0, "width": 451.0}
    assert (told["path"], told["metadata"]) == (cat["path"], about)
    shown = client.get(f"/v1/thumbnails/{cat['unit']}", params={"size": 100})
    assert shown.headers["content-type"] == "image/webp"
    assert shown.headers["cache-control"].startswith("private")
    assert max(Image.open(io.BytesIO(shown.content)).size) == 128
    again = client.get(
        f"/v1/thumbnails/{cat['unit']}",
        params={"size": 100},
        headers={"if-none-match": shown.headers["etag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/v1/units/999", "/v1/thumbnails/999"):
        assert client.get(path).status_code == 404


def test_duplicates_come_in_pages_with_what_to_keep_and_why(client):
    found = client.get("/v1/duplicates").json()
    assert (found["total"], found["changed"], found["uncompared"]) == (1, 0, 0)
    first, second = found["groups"][0]["files"]
    assert [Path(file["path"]).name for file in (first, second)] == [
        *("moon.png", "the moon again.png")
    ]
    assert (first["keep"], second["keep"], second["copy_of"]) == (True, False, first["path"])
    assert first["reason"].keys() == {"en", "zh"}
    assert client.get("/v1/duplicates", params={"exact": True}).json() == found
    assert client.get("/v1/duplicates", params={"offset": 1}).json() == {**found, "groups": []}


def test_collections_are_listed_and_told_of(client):
    (album,) = client.get("/v1/collections").json()["collections"]
    assert (album["name"], album["model"], album["is_default"]) == ("album", "seesay-mini", True)
    told = client.get("/v1/collections/album").json()
    assert told["statistics"]["units"] == {"image": 7, "text": 2}
    assert [kind["value"] for kind in told["facets"]["kinds"]] == ["image", "text"]


def test_indexing_through_the_api_takes_in_what_is_new(tmp_path):
    write_photo(tmp_path / "photos" / "0.jpg", 0)
    with Collection.open(tmp_path / "mine", create=True) as collection:
        collection.index([tmp_path / "photos"])
    write_photo(tmp_path / "photos" / "1.jpg", 1)
    with serving(tmp_path / "mine") as up, httpx.Client(base_url=up.url) as client:
        where = "/v1/collections/mine/index"
        assert client.get(where).json()["state"] == "idle"
        assert client.post(where).status_code == 202
        until(lambda: client.get(where).json()["state"] == "done")
        assert client.get(where).json()["report"]["added"] == 1
        units = client.get("/v1/collections/mine").json()["statistics"]["units"]
        assert units == {"image": 2}
        text = client.get("/metrics").text
        assert 'seesay_indexing{collection="mine"} 0.0' in text


def test_a_server_that_only_reads_refuses_to_index(album):
    with serving(album, read_only=True) as up:
        answer = httpx.post(f"{up.url}/v1/collections/album/index")
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "ReadOnly")
        assert httpx.post(f"{up.url}/v1/search", json={"query": "cat"}).status_code == 200


def test_figures_count_requests_by_route_and_searches_by_collection(client):
    client.post("/v1/search", json={"query": "a cat"})
    client.get("/v1/units/999")
    text = client.get("/metrics").text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    asked = 'seesay_requests_total{method="POST",route="/v1/search",status="200"}'
    assert float(lines[asked]) >= 1
    missed = 'seesay_requests_total{method="GET",route="/v1/units/{unit}",status="404"}'
    assert float(lines[missed]) >= 1
    assert float(lines['seesay_searches_total{collection="album"}']) >= 1
    assert lines['seesay_waiting{work="search"}'] == "0.0"
    assert float(lines['seesay_request_seconds_count{route="/v1/search"}']) >= 1
    assert lines["seesay_ready"] == "1.0"

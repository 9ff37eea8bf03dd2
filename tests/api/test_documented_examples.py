"""What the pages and the schema show of the API does what they say, against a real server."""

import base64
import shutil
import subprocess

import pytest
from PIL import Image

from live_server import serving
from markdown_pages import ROOT, Page
from photographs import folder
from seesay.api.bodies import PICTURE

TOKEN = "token-of-the-examples"
ADDRESS = "http://127.0.0.1:8484"
PAGES = [Page(ROOT / "docs" / language / "serving.md") for language in ("en", "zh")]
BLOCKS = [  # JSON says to an assistant where the server is: tests/api/test_mcp.py connects one
    block
    for page in PAGES
    for block in page.blocks
    if ADDRESS in block.text and block.language != "json"
]


@pytest.fixture(scope="module")
def locked(album):
    with serving(album, token=TOKEN) as up:
        yield up


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the examples run: they take a photo.jpg for granted."""
    place = tmp_path_factory.mktemp("examples")
    with Image.open(folder() / "chelsea.png") as cat:
        cat.convert("RGB").save(place / "photo.jpg")
    return place


def test_the_pages_have_such_examples():
    kinds = [block.language for block in BLOCKS]
    assert kinds.count("bash") == 6 and kinds.count("python") == 2


@pytest.mark.parametrize(
    "block", BLOCKS, ids=[f"{block.page.name}:{block.line}" for block in BLOCKS]
)
def test_an_example_of_a_page_runs(block, locked, place, monkeypatch):
    monkeypatch.chdir(place)
    text = block.text.replace(ADDRESS, locked.url)
    if block.language == "python":
        names: dict[str, object] = {}
        exec(compile(text.replace('"TOKEN"', repr(TOKEN)), block.page.name, "exec"), names)
        names["client"].close()
        assert len(names["answer"].data) == 3
        return
    if shutil.which("curl") is None:
        pytest.skip("needs the program curl, which is not installed")
    strict = f'set -e -o pipefail; curl() {{ command curl --fail-with-body "$@"; }}\n{text}'
    done = subprocess.run(
        ["bash", "-c", strict], env={"SEESAY_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    if "/v1/classify" in text:
        assert '"label":"cat"' in done.stdout or '"label":"猫"' in done.stdout
        return
    assert '"hits":[{' in done.stdout
    if "found.webp" in text:
        assert (place / "found.webp").read_bytes().startswith(b"RIFF")
    if "photo.jpg" in text:
        assert "chelsea.png" in done.stdout.partition("}")[0]


# What a request needs beside the field that is tried, by a field that only its kind has.
BASES = {
    "model": {"model": "seesay-mini", "input": "a cat"},
    "labels": {"images": [PICTURE], "labels": ["cat", "dog"]},
    "units": {"units": [1]},
    "query": {"query": "a cat"},
    "question": {"question": "a cat"},
}
CHANGES = {"/v1/collections/{name}/index", "/v1/tags", "/v1/remove"}  # see test_changing


def test_every_example_of_the_schema_is_accepted(client):
    described = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    asked = 0
    for route, methods in described["paths"].items():
        if "requestBody" not in methods.get("post", {}):
            continue
        schema = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
        (reference,) = [one["$ref"] for one in schema.get("anyOf", [schema]) if "$ref" in one]
        fields = schemas[reference.rpartition("/")[2]]["properties"]
        examples = {name: one["examples"] for name, one in fields.items() if "examples" in one}
        examples |= {
            name: [[one] for one in field["items"]["examples"]]
            for name, field in fields.items()
            if "examples" in field.get("items", {})
        }
        if route in CHANGES:
            continue
        base = next(base for wanted, base in BASES.items() if wanted in fields)
        for name, values in examples.items():
            for value in values:
                answer = client.post(route, json={**base, name: value})
                assert answer.status_code == 200, (route, name, answer.text)
                asked += 1
    assert asked >= 6


@pytest.mark.parametrize("wrap", [0, 76])
def test_base64_may_be_wrapped_as_programs_wrap_it(client, pictures, wrap):
    data = (pictures / "moon.png").read_bytes()
    text = (base64.encodebytes if wrap else base64.b64encode)(data).decode()
    body = {"images": [f"data:image/png;base64,{text}"], "count": 1}
    hits = client.post("/v1/search", json=body).json()["hits"]
    assert hits[0]["path"].endswith(("moon.png", "the moon again.png"))

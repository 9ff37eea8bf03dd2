"""File names that are no UTF-8, that begin lines or drive terminals, and captions with half a
character: through every door a collection has."""

import asyncio
import csv
import json
import os
from contextlib import closing
from typing import Any

import httpx
import numpy as np
import pydantic_core
import pytest
from mcp import Client

from live_server import serving
from made_files import write_photo
from seesay.api.mcp import build_mcp
from seesay.cli.main import run
from seesay.search.collection import Collection
from seesay.search.library import Library
from seesay.text import printable, to_unicode
from seesay.web.handlers import Handlers

FOLDER = os.fsdecode(b"photos \xff\n2024")
LATIN = os.fsdecode(b"caf\xe9.png")
EITHER = ("caf\\xe9.png", "c\\xf6py.png")  # equal files, of which a search shows one
PICTURES = (
    LATIN,
    "two\nlines.png",
    "red\x1b[31m.png",
    "right\u202eleft.png",
    'tab\t".png',
    "=1+1.png",
)
NOTE, BROKEN = os.fsdecode(b"n\xf6te.txt"), os.fsdecode(b"br\xf6ken\n.png")
JSON = {"content-type": "application/json"}
ODD_FILTERS = (
    b'{"query": "a square", "where": ["file.name~\\udce9"]}',
    b'{"query": "a square", "where": ["name\\udce9~a"]}',
    b'{"query": "a square", "folders": ["/photos/\\udce9", "/\\ud83d"]}',
)
CAPTION = "a red square \udce9 half \ud83d"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A collection of them; two have the same content, one cannot be read, one has a caption."""
    place = tmp_path_factory.mktemp("names")
    photos = place / FOLDER
    for number, name in enumerate(PICTURES):
        write_photo(photos / name, number, **({"format": "PNG"} if "." in name else {}))
    (photos / os.fsdecode(b"c\xf6py.png")).write_bytes((photos / LATIN).read_bytes())
    (photos / NOTE).write_text("words about a cat on a mat", encoding="utf-8")
    (photos / BROKEN).write_bytes(b"\x89PNG no picture")
    row = {"path": "=1+1.png", "caption": CAPTION, "note \udce9": "half \udcff"}
    (photos / "captions.jsonl").write_text(json.dumps(row), encoding="utf-8")
    with Collection.open(place / "mine", create=True) as collection:
        report = collection.index([photos])
        assert (report.added, report.failed) == (len(PICTURES) + 2, 1)
    return place


@pytest.fixture(scope="module")
def library(place):
    with Library.open([place / "mine"], read_only=True) as library:
        yield library


def check_sendable(value: Any) -> None:
    """Every text of it can be encoded, as whatever sends it will."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for one in value.items():
            check_sendable(one)
    elif isinstance(value, list | tuple):
        for one in value:
            check_sendable(one)


COMMANDS = [
    ["search", "a square", "-n", "20", "--explain"],
    ["search", "half a red square", "--only", "text"],
    ["search", "-w", "note \ufffd~half"],
    ["search", "-f", "{folder}"],
    ["search", "-w", "file.name~caf"],
    ["similar", "{folder}/" + LATIN],
    ["similar", "{folder}/" + NOTE],
    ["duplicates", "--threshold", "0.9"],
    ["stats"],
    ["errors"],
    ["verify", "--deep", "--files"],
    ["search", "a square", "--sheet", "{place}/sheet.png"],
    ["search", "a square", "--sheet", "{place}/sheet.html"],
    *(["export", "{place}/out" + ending] for ending in (".npz", ".parquet", ".jsonl", ".csv")),
]


def filled(command: list[str], place: Any) -> list[str]:
    values = {"{folder}": str(place / FOLDER), "{place}": str(place)}
    for mark, value in values.items():
        command = [word.replace(mark, value) for word in command]
    return [*command, "--collection", str(place / "mine")]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: printable(" ".join(command)))
def test_a_command_prints_lines_that_are_its_own(place, command, language, capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", language)
    assert run(filled(command, place)) in (0, 1)
    told = capsys.readouterr()
    for line in (told.out + told.err).split("\n"):
        assert line == printable(line)
    assert "Traceback" not in told.err


@pytest.mark.parametrize("command", COMMANDS[:11], ids=lambda one: printable(" ".join(one)))
def test_json_gives_every_name_back(place, command, capsys):
    words = [word for word in filled(command, place) if word != "--explain"]
    assert run([*words, "--json"]) in (0, 1)
    printed = capsys.readouterr().out
    printed.encode()
    paths = [one.get("path") for one in _objects(json.loads(printed))]
    assert [path for path in paths if path and path[0] == "/" and not os.path.lexists(path)] == []


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [one for entry in value for one in _objects(entry)]
    if isinstance(value, dict):
        return [value, *(one for entry in value.values() for one in _objects(entry))]
    return []


@pytest.mark.parametrize(
    "command", [["search", "a square", "-n", "20"], ["duplicates"], ["errors"]]
)
def test_bare_paths_are_those_of_the_system_byte_for_byte(place, command, capfdbinary):
    assert run([*filled(command, place), "--print0"]) == 0
    paths = capfdbinary.readouterr().out.removesuffix(b"\0").split(b"\0")
    assert paths and all(os.path.lexists(path) for path in paths)


def test_files_that_are_written_hold_the_names_as_valid_text(place):
    for ending in (".npz", ".parquet", ".jsonl", ".csv"):
        assert run(filled(["export", "{place}/out" + ending], place)) == 0
    shown = to_unicode(str(place / FOLDER / LATIN))
    assert shown.endswith("caf\\xe9.png")
    with (place / "out.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert shown in [row["source"] for row in rows] and len(rows) == len(PICTURES) + 2
    lines = (place / "out.jsonl").read_text("utf-8").splitlines()
    assert shown in [pydantic_core.from_json(line)["source"] for line in lines]
    with np.load(place / "out.npz") as data:
        assert shown in data["sources"]
    assert run(filled(["search", "a square", "--sheet", "{place}/sheet.html"], place)) == 0
    page = (place / "sheet.html").read_text("utf-8")
    assert any(name in page for name in EITHER)
    assert "caf%E9.png" in page or "c%F6py.png" in page  # the link to the file


@pytest.fixture(scope="module")
def answers(place):
    """What the server says to every question about every unit."""
    with (
        serving(place / "mine", read_only=True) as up,
        httpx.Client(base_url=up.url, timeout=60) as client,
    ):
        found = client.post("/v1/search", json={"query": "a square", "count": 50})
        units = [hit["unit"] for hit in json.loads(found.content)["hits"]]
        routes = ["/v1/duplicates?threshold=0.9", "/v1/collections", "/v1/collections/mine"]
        routes += ["/v1/models", "/v1/units/999", *(f"/v1/units/{unit}" for unit in units)]
        return [
            found,
            *(client.post("/v1/search", content=body, headers=JSON) for body in ODD_FILTERS),
            client.post("/v1/similar", json={"units": units[:1], "count": 50}),
            *(client.get(route) for route in routes),
            client.get(f"/v1/thumbnails/{units[0]}?collection=caf%E9"),
        ]


def test_answers_of_the_server_are_json_for_strict_readers_too(answers):
    assert {answer.status_code for answer in answers} == {200, 404, 422}
    for answer in answers:
        pydantic_core.from_json(answer.content)  # refuses lone surrogates, as many readers do
    told = answers[0].json()["hits"]
    assert any(hit["path"].endswith(EITHER) for hit in told)
    assert any(hit["path"].endswith("two\nlines.png") for hit in told)


def test_assistants_find_show_and_describe_them(library):
    async def talk() -> list[Any]:
        async with Client(build_mcp(library)) as client:
            found = await client.call_tool("search", {"words": "a red square half", "count": 50})
            calls = [
                client.call_tool(tool, {"unit": hit["unit"]})
                for hit in found.structured_content["hits"]
                for tool in ("show", "describe")
            ]
            return [found, *[await call for call in calls]]

    found, *told = asyncio.run(talk())
    assert len(told) == 2 * (len(PICTURES) + 1)  # copies are one find
    assert not any(one.is_error for one in told)
    paths = [hit["path"] for hit in found.structured_content["hits"]]
    assert any(path.endswith(EITHER) for path in paths)
    for one in (found, *told):
        check_sendable(one.model_dump(mode="json"))


def test_the_page_shows_them_everywhere(library, place):
    handlers = Handlers(library, read_only=True)
    opened = handlers.open(None)
    ((label, value),) = opened[0]["choices"]
    assert label == to_unicode(str(place / FOLDER))
    units = [hit.unit for hit in library.get().newest(50)]
    empty = (None, "", "", "", 0, "", [], "", "", "")
    within = (None, "a square", "", "", 0, "", [value], "", "", "")
    shown, asked = handlers.search(*within)
    assert "caf\\xe9.png" in shown
    made = [handlers.draw(None, shown, None) for shown in ("image", "text")]
    acted = [handlers.act({"do": "similar", "unit": unit}, asked, *empty) for unit in units]
    page = [opened, shown, made, *[[one[0], one[2]] for one in acted]]
    page += [
        handlers.duplicates(None, ""),
        handlers.pick(None, {"units": units}),
        handlers.find("a red square half"),
    ]
    for one in page:
        check_sendable(one)
    assert all('class="plane"' in plane for _, plane, *_ in made)
    dropped = handlers.act({"do": "drop", "filter": "folder", "value": value}, asked, *within)
    assert "data-filter" in shown and "data-filter" not in dropped[0]
    check_sendable([dropped[0], dropped[-1]])
    assert "caf\\xe9.png" in handlers.duplicates(None, "")


def test_a_collection_in_such_a_folder_has_a_name_that_can_be_asked_for(tmp_path, place):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write_photo(tmp_path / "photos" / "one.png", 1)
    with Collection.open(folder, create=True) as collection:
        collection.index([tmp_path / "photos"])
    with closing(Library.open([folder])) as library:
        assert library.names == ("caf\\xe9",)
        assert library.get("caf\\xe9").stats().items == {"image": 1}
        check_sendable(Handlers(library, read_only=True).open(None))

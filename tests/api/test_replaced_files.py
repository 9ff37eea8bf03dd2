"""Files that became something else after they were indexed: every door says so, and none waits."""

import shutil

import httpx
import pytest

from live_server import serving
from made_files import write_photo
from odd_places import REPLACED
from seesay.cli.main import run
from seesay.search.checking.verify import check_files
from seesay.search.collection import Collection

pytestmark = pytest.mark.timeout(120)


def folder_of(place, what):
    return place / "photos" / what.replace(" ", "-")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A collection with a picture for each way of replacing it, all replaced but one."""
    place = tmp_path_factory.mktemp("replaced")
    for number, what in enumerate([*REPLACED, "another picture", "a longer file"]):
        write_photo(folder_of(place, what) / "picture.png", number)
    write_photo(place / "photos" / "kept.png", 99)
    with Collection.open(place / "mine", create=True) as collection:
        assert collection.index([place / "photos"]).added == len(REPLACED) + 3
    for what, replace in REPLACED.items():
        replace(folder_of(place, what) / "picture.png")
    write_photo(folder_of(place, "another picture") / "picture.png", 1000)
    with (folder_of(place, "a longer file") / "picture.png").open("ab") as stream:
        stream.truncate(1 << 26)
    return place


def test_thumbnails_of_what_is_no_picture_any_more_are_not_found(place):
    with (
        serving(place / "mine", read_only=True) as up,
        httpx.Client(base_url=up.url, timeout=60) as client,
    ):
        found = client.post("/v1/search", json={"query": "noise", "count": 50}).json()["hits"]
        answers = {one["path"]: client.get(f"/v1/thumbnails/{one['unit']}") for one in found}
        details = {client.get(f"/v1/units/{one['unit']}").status_code for one in found}
    kept = answers.pop(str(place / "photos" / "kept.png"))
    assert kept.status_code == 200 and kept.content.startswith(b"RIFF")
    assert len(answers) == len(REPLACED) + 2 and details == {200}
    for path, answer in answers.items():
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NotFound"), path
        assert path in answer.json()["error"]["message"]


def test_a_thumbnail_that_was_replaced_is_made_again(place, tmp_path):
    with Collection.open(shutil.copytree(place / "mine", tmp_path / "mine")) as collection:
        (unit,) = collection.passages_of(place / "photos" / "kept.png")
        made = collection.thumbnail(unit)
        (kept,) = (file for file in (tmp_path / "mine" / "thumbnails").rglob("*.webp"))
        for what in ("a pipe", "a device", "a folder"):
            REPLACED[what](kept)
            assert collection.thumbnail(unit) == made


def test_verify_names_what_cannot_be_read_and_waits_for_nothing(place, monkeypatch):
    """Even where size and time are those of the file that was indexed."""
    with Collection.open(place / "mine") as collection:
        collection.verify(deep=True, files=True)
        monkeypatch.setattr("seesay.search.checking.verify.is_as_stored", lambda _: True)
        changed, unreadable = check_files(collection.store)
    assert (changed.kind, changed.count) == ("silent changes", 2)
    assert (unreadable.kind, unreadable.count) == ("unreadable files", len(REPLACED))


def test_the_command_line_goes_on_with_the_others(place, capsys):
    mine, sheet = str(place / "mine"), str(place / "sheet.png")
    asked = ["search", "noise", "-n", "50", "--collection", mine]
    assert run([*asked, "--sheet", sheet]) == 0
    told = capsys.readouterr().err
    assert told.count("seesay: ") >= len(REPLACED) + 2 and "Traceback" not in told
    assert run([*asked, "--sheet", str(place / "sheet.html")]) == 0
    assert (place / "sheet.html").read_text("utf-8").count("<img") == 1
    capsys.readouterr()
    for what in REPLACED:  # those of the collection are known by their vectors, others are read
        path = folder_of(place, what) / "picture.png"
        assert run(["similar", str(path), "--collection", mine, "--paths"]) in (0, 2)
        assert run(["search", "--image", str(path), "--collection", mine]) == 2
        told = capsys.readouterr().err
        assert "Traceback" not in told and "picture.png" in told

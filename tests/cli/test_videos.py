"""`seesay index` and `search` on videos: a text or a picture finds the moment."""

import json
import shutil

import pytest

from made_videos import SUBTITLES, write_film
from photographs import folder
from seesay.cli.main import run


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A collection of the built-in model with a film, its subtitles, and two that are broken."""
    place = tmp_path_factory.mktemp("films")
    (place / "videos").mkdir()
    write_film(place / "videos" / "film.mp4", seconds=14.0)
    (place / "videos" / "film.srt").write_text(SUBTITLES, encoding="utf-8")
    (place / "videos" / "list.mp4").write_text("#EXTM3U\nhttp://127.0.0.1/a.ts\n")
    film = (place / "videos" / "film.mp4").read_bytes()
    (place / "videos" / "cut off.mp4").write_bytes(film[: len(film) // 2])
    with pytest.MonkeyPatch.context() as patch:
        settle(place, patch)
        assert run(["index", "videos"]) == 1
    return place


def settle(place, patch):
    patch.chdir(place)
    patch.setenv("SEESAY_HOME", str(place / "home"))
    patch.setenv("COLUMNS", "150")


@pytest.fixture(params=["en", "zh"])
def language(request, films, monkeypatch):
    settle(films, monkeypatch)
    monkeypatch.setenv("SEESAY_LANG", request.param)
    return request.param


def test_words_and_pictures_find_the_moment_and_say_when(language, capsys):
    asked = {
        "rocket": ["a rocket" if language == "en" else "火箭"],
        "coffee": ["--image", str(folder() / "coffee.png")],
    }
    for what, question in asked.items():
        assert run(["search", *question, "--type", "moment", "--json"]) == 0
        best = json.loads(capsys.readouterr().out)["hits"][0]
        start, end = {"rocket": (14, 28), "coffee": (28, 42)}[what]
        place = best["locator"]
        assert best["kind"] == "moment" and start <= place["start_s"] < place["end_s"] <= end
    assert run(["search", *asked["rocket"], "--type", "moment"]) == 0
    shown = {"en": "videos/film.mp4 · at 0:", "zh": "videos/film.mp4 · 0:"}[language]
    out = capsys.readouterr().out
    assert shown in out and ("处" in out) == (language == "zh")


def test_subtitles_are_found_with_their_time(language, capsys):
    words = {"en": "harbour", "zh": "航行"}[language]
    assert run(["search", words, "--only", "keyword", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)["hits"]
    assert (hit["kind"], hit["locator"]["start_s"], hit["locator"]["end_s"]) == ("text", 0.5, 5.5)
    assert hit["path"].endswith("film.mp4")


def test_broken_videos_are_named_with_the_reason(language, capsys):
    assert run(["errors"]) == 0
    out = capsys.readouterr().out
    assert "list.mp4" in out and "cut off.mp4" in out
    assert {"en": "cannot be read as a video", "zh": "无法作为视频读取"}[language] in out


def test_a_sheet_shows_the_frame_and_its_time(language, films, tmp_path):
    sheet = tmp_path / "sheet.html"
    assert run(["search", "coffee", "--type", "moment", "--sheet", str(sheet)]) == 0
    shown = {"en": "film.mp4 · at 0:", "zh": "film.mp4 · 0:"}[language]
    assert shown in sheet.read_text("utf-8") and "data:image/webp" in sheet.read_text("utf-8")


def test_a_second_run_reads_nothing_and_a_moved_video_keeps_its_moments(language, films, capsys):
    assert run(["index", "videos", "--json"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    assert (report["unchanged"], report["added"]) == (1, 0)
    moved = films / "videos" / "moved.mp4"
    shutil.move(films / "videos" / "film.mp4", moved)
    try:
        run(["index", "videos", "--json"])
        report = json.loads(capsys.readouterr().out)
        assert (report["moved"], report["added"], report["images"]) == (1, 0, 0)
    finally:
        shutil.move(moved, films / "videos" / "film.mp4")
        run(["index", "videos"])

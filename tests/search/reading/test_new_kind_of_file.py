"""A new kind of file takes one new file in `reading/` and one line in the table of readers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import seesay
from seesay.search.reading.registry import READERS, media_type_of, reader_of

READER = '''
"""SubRip: each subtitle is a passage with its time span."""

import re

from seesay.data.encodings import decode_text
from seesay.search.catalog.drafts import Place
from seesay.search.reading.messages import FileContent, FileReader, Passage

_TIME = r"(\\d+):(\\d\\d):(\\d\\d),(\\d{3})"
_SUBTITLE = re.compile(rf"{_TIME} --> {_TIME}\\n(.+?)(?:\\n\\n|$)", re.S)


def read_subtitles(data: bytes) -> FileContent:
    found = _SUBTITLE.finditer(decode_text(data).strip())
    return FileContent(passages=tuple(_passage(one.groups()) for one in found))


def _passage(parts: tuple[str, ...]) -> Passage:
    *times, text = parts
    start, end = (
        int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000
        for h, m, s, ms in (times[:4], times[4:])
    )
    place = Place(start_s=start, end_s=end)
    return Passage(media_type="subtitle", modality="text", text=text, place=place)


READER = FileReader(
    media_type="subtitles",
    endings=frozenset((".srt",)),
    read=lambda file, settings, needed: read_subtitles(file.data),
    recognises=lambda data: b" --> " in data,
)
'''
SUBTITLES = """1
00:00:01,500 --> 00:00:04,000
A red kite flies over the harbour

2
01:02:03,250 --> 01:02:05,000
船在海上航行
"""
RUN = """
import json, sys
from seesay.search.collection import Collection
with Collection.open(sys.argv[1], create=True, model=sys.argv[2]) as collection:
    first = collection.index(sys.argv[3:])
    again = collection.index(sys.argv[3:])
    hit = collection.search("harbour").hits[0]
    report = [first.added, first.texts, first.failed, again.unchanged]
    kinds = sorted(item.media_type for item in collection.store.files.all())
    facts = [hit.path, hit.kind, hit.text, hit.locator.start_s, hit.locator.end_s]
    print(json.dumps([report, kinds, facts]))
"""


@pytest.fixture
def changed_package(tmp_path):
    """The folder of a copy of the package that reads subtitles, too."""
    source = Path(seesay.__file__).parent
    shutil.copytree(source, tmp_path / "src" / "seesay", copy_function=os.symlink)
    reading = tmp_path / "src" / "seesay" / "search" / "reading"
    (reading / "subtitles.py").write_text(READER)
    table = (reading / "registry.py").read_text()
    table = table.replace("    sheets,\n", "    sheets,\n    subtitles,\n")
    table = table.replace("    texts.READER,", "    subtitles.READER,\n    texts.READER,")
    (reading / "registry.py").unlink()
    (reading / "registry.py").write_text(table)
    return tmp_path / "src"


def test_subtitles_are_indexed_and_found_with_their_time(changed_package, model_folder, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "film.srt").write_text(SUBTITLES, encoding="utf-8")
    (files / "by its bytes").write_text(SUBTITLES.replace("red", "blue"), encoding="utf-8")
    (files / "note.txt").write_text("A note about a harbour town", encoding="utf-8")
    arguments = [tmp_path / "collection", model_folder, files, files / "by its bytes"]
    run = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(changed_package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report, kinds, (path, kind, text, start, end) = json.loads(run.stdout)
    assert report == [3, 5, 0, 3]
    assert kinds == ["subtitles", "subtitles", "text"]
    assert Path(path).name in ("film.srt", "by its bytes") and "kite" in text
    assert (kind, start, end) == ("subtitle", 1.5, 4.0)


def test_every_reader_has_endings_and_a_type_of_its_own():
    assert len({reader.media_type for reader in READERS}) == len(READERS)
    endings = [ending for reader in READERS for ending in reader.endings]
    assert len(endings) == len(set(endings))
    assert all(ending.startswith(".") and ending == ending.lower() for ending in endings)


def test_a_file_of_an_unknown_ending_is_judged_by_its_bytes():
    assert media_type_of("a.JPG") == "image" and media_type_of("a.exe") is None
    assert reader_of("any", b"\x89PNG\r\n\x1a\n").media_type == "text"  # no more than a signature
    assert reader_of("any", b"some words").media_type == "text"
    assert reader_of("table", b"some words").media_type == "table"

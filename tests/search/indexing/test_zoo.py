import io
import os
import socket
import threading
from pathlib import Path

import psutil
import pytest
from PIL import Image

from hostile_documents import zoo
from made_documents import write_documents
from made_files import write_oddities, write_photo, write_zoo
from reader_processes import peak_memory, reader_processes
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.reading.files import ReadLimits
from seesay.text import HAN

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes, devices and links in the zoo")
MEGABYTE = 2**20


class PeakMemory:
    """The most resident memory of the reading processes together, and the growth of this one."""

    def __enter__(self):
        self.readers = self.own = 0
        self._before = psutil.Process().memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _look(self):
        me = psutil.Process()
        while not self._done.wait(0.02):
            taken = 0
            for child in reader_processes():
                try:
                    taken += peak_memory(child)
                except (psutil.NoSuchProcess, OSError, ValueError):  # it has just ended
                    continue
            self.readers = max(self.readers, taken)
            self.own = max(self.own, me.memory_info().rss - self._before)


def test_everything_bad_is_recorded_nothing_is_fatal_and_memory_is_bounded(
    store, embedder, tmp_path, capfd
):
    bad = write_zoo(tmp_path / "zoo")
    sound = write_oddities(tmp_path / "zoo" / "odd")
    limits = ReadLimits(max_pixels=16 * MEGABYTE, memory_bytes=512 * MEGABYTE, seconds=10.0)
    with PeakMemory() as peak:
        report = index(store, embedder, [tmp_path / "zoo"], IndexOptions(workers=2, limits=limits))
    listed = {entry.path: entry for entry in store.quarantine.all()}
    assert set(listed) == {str(path) for path in bad.values()}
    assert all(HAN.search(entry.error.zh) and entry.stage for entry in listed.values())
    text = listed[str(bad["text"])]
    assert text.stage == "kind" and "end the name in .txt" in text.error.en
    items = [item for item in store.files.all() if item.media_type != "table"]
    assert len(items) == sound == report.added
    assert not report.interrupted
    assert capfd.readouterr() == ("", "")
    assert peak.readers < 700 * MEGABYTE
    assert peak.own < 400 * MEGABYTE


def test_documents_and_videos_without_anything_to_read_are_told(store, embedder, photos):
    files = write_documents(photos)
    pdf_named_text = photos / "page.txt"
    pdf_named_text.write_bytes(files[0].read_bytes())
    with PeakMemory() as peak:
        report = index(store, embedder, [photos], IndexOptions(workers=1))
        assert (report.left_out, report.added, report.failed) == ({}, 6, 4)
        named = index(store, embedder, files, IndexOptions(workers=1))
    assert (named.added, named.failed, named.skipped) == (0, 0, 3)
    listed = {entry.path: entry.error.en for entry in store.quarantine.all()}
    assert set(listed) == {str(path) for path in (*files, pdf_named_text)}
    assert "locked with a password" in listed[str(pdf_named_text)]
    assert "nothing on its pages" in listed[str(files[1])]
    assert peak.readers < 400 * MEGABYTE and peak.own < 200 * MEGABYTE


def test_hostile_documents_and_videos_are_read_or_named_within_memory(
    store, embedder, tmp_path, capfd
):
    (folder := tmp_path / "zoo").mkdir()
    limits = ReadLimits(max_pages=20, memory_bytes=512 * MEGABYTE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        beasts = zoo(server.getsockname()[1])
        for name, beast in beasts.items():
            beast.write(folder / name)
        with PeakMemory() as peak:
            report = index(store, embedder, [folder], IndexOptions(workers=1, limits=limits))
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()  # no link was followed
    errors = {Path(entry.path).name: entry.error for entry in store.quarantine.all()}
    texts = {
        Path(file.path).name: [one.text or "" for one in store.passages.of_files([file.id])]
        for file in store.files.all()
    }
    for name, beast in beasts.items():
        assert (name in errors) == (beast.error is not None), (name, errors.get(name))
        assert beast.error is None or beast.error in errors[name].en, errors[name].en
        assert name not in errors or HAN.search(errors[name].zh)
        assert (name in texts) == (beast.text is not None), name
        assert beast.text is None or any(beast.text in one for one in texts[name]), name
    assert not report.interrupted and capfd.readouterr() == ("", "")
    assert peak.readers < limits.memory_bytes + 150 * MEGABYTE  # what it takes from the start


def test_a_picture_of_many_frames_costs_no_more_than_its_first(store, embedder, tmp_path):
    one = io.BytesIO()
    Image.effect_noise((1000, 800), 5).save(one, "GIF")
    data = one.getvalue()
    head = 13 + 3 * 2 ** ((data[10] & 7) + 1)  # up to where the frame begins
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "moving.gif").write_bytes(data[:head] + data[head:-1] * 250 + data[-1:])
    with PeakMemory() as peak:
        report = index(store, embedder, [tmp_path / "p"], IndexOptions(workers=1))
    assert (report.added, report.failed) == (1, 0)
    assert peak.readers < 300 * MEGABYTE  # all frames in RGB would be 600 MB


def test_the_zoo_is_left_alone_until_it_changes(store, embedder, tmp_path):
    bad = write_zoo(tmp_path / "zoo")
    write_photo(tmp_path / "zoo" / "odd" / "0.jpg", 0)
    index(store, embedder, [tmp_path / "zoo"], IndexOptions(workers=1))
    before = {entry.path: entry.tries for entry in store.quarantine.all()}
    again = index(store, embedder, [tmp_path / "zoo"], IndexOptions(workers=1))
    assert again.failed == 0
    assert {entry.path: entry.tries for entry in store.quarantine.all()} == before
    bad["zero-byte"].unlink()
    write_photo(bad["zero-byte"], 5)
    mended = index(store, embedder, [tmp_path / "zoo"], IndexOptions(workers=1))
    assert (mended.added, mended.failed) == (1, 0)


def test_a_folder_that_cannot_be_listed_is_recorded_and_keeps_what_is_known_below_it(
    store, embedder, photos, monkeypatch
):
    index(store, embedder, [photos], IndexOptions(workers=1))
    real = os.scandir

    def refusing(folder):
        if str(folder).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    (photos / "a" / "0.jpg").unlink()
    report = index(store, embedder, [photos], IndexOptions(workers=1))
    assert report.removed == 0
    assert [entry.path for entry in store.quarantine.all()] == [str(photos / "a")]
    monkeypatch.setattr(os, "scandir", real)
    assert index(store, embedder, [photos], IndexOptions(workers=1)).removed == 1


def test_a_path_too_long_to_open_is_recorded(store, embedder, tmp_path):
    top = tmp_path / "p"
    write_photo(top / "0.jpg", 0)
    here = os.getcwd()
    os.chdir(top)
    try:
        for _ in range(25):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        with open("deep.jpg", "wb") as stream:
            stream.write((top / "0.jpg").read_bytes())
    finally:
        os.chdir(here)
    report = index(store, embedder, [top], IndexOptions(workers=1))
    assert (report.added, report.failed) == (1, 1)
    assert "too long" in store.quarantine.all()[0].error.en

"""Indexing that is killed, or has no room: what was reported stays, and nothing is half there."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import made_collections as made
from made_files import write_photo
from seesay.errors import CollectionError
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.verify import check_truth
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions

DRIVER = Path(__file__).with_name("crash_driver.py")
ONE = IndexOptions(workers=1)


def drive(tmp_path, model_folder, rounds):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "tests"])}
    command = [sys.executable, str(DRIVER), str(tmp_path), str(model_folder), str(rounds), "1"]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks what it kills")
def test_what_is_killed_again_and_again_loses_nothing(tmp_path, model_folder):
    report = drive(tmp_path, model_folder, 3)
    assert (report["index kills"], report["build kills"], report["fill kills"]) == (3, 4, 1)
    assert report["index acknowledged"] > 1 and report["index unfinished"] > 0
    assert report["pair kills"] == 2 * 3 and report["rows of tables"] > report["rows lost"] == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks what it kills")
def test_indexing_and_building_killed_200_times_and_filling_60_times_loses_nothing(
    tmp_path, model_folder
):
    report = drive(tmp_path, model_folder, 200)
    sys.stderr.write(f"{report}\n")
    assert (report["index kills"], report["build kills"], report["fill kills"]) == (200, 264, 66)
    assert report["pair kills"] == 2 * 200 and report["pair unfinished"] > 100
    assert report["rows of tables"] > 100 and report["rows lost"] == 0
    assert report["index acknowledged"] > 100 and report["index unfinished"] > 40
    assert report["index inside"] > 20  # in the middle of a write
    assert report["build inside"] > 50 and report["fill inside"] > 5
    assert report["fill unfinished"] > 5 and report["switched"] > 5


def test_a_torn_last_page_loses_the_last_batch_whole_and_the_same_call_brings_it_back(
    store, embedder, photos, tmp_path
):
    index(store, embedder, [photos], ONE)
    first = (store.folder / f"{FILE}-wal").stat().st_size
    write_photo(photos / "late.jpg", 77)
    index(store, embedder, [photos], ONE)
    shutil.copytree(store.folder, tmp_path / "cut")
    log = tmp_path / "cut" / f"{FILE}-wal"
    raw = log.read_bytes()
    at = random.Random(0).randrange(first, first + (len(raw) - first) // 3)
    log.write_bytes(raw[:at] + bytes(len(raw) - at))
    (tmp_path / "cut" / f"{FILE}-shm").unlink()
    with Store(tmp_path / "cut") as cut:
        assert check_truth(cut, deep=True) == []
        assert len(list(cut.files.all())) == 6
        assert index(cut, embedder, [photos], ONE).added == 1


def test_a_folder_that_may_only_be_read_is_refused_before_anything_is_read(store, embedder, photos):
    index(store, embedder, [photos], ONE)
    store.close()
    with made.read_only(store.folder) as works:
        if not works:
            pytest.skip("cannot make a folder read-only here")
        with Store(store.folder) as locked:
            with pytest.raises(CollectionError, match="reading alone"):
                index(locked, embedder, [photos], ONE)
            assert len(list(locked.files.all())) == 6


def test_a_full_disk_ends_the_run_keeps_what_was_stored_and_the_rest_comes_later(
    embedder, tmp_path, monkeypatch
):
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    monkeypatch.setattr("seesay.search.indexing.commit.PASSAGES", 50)
    try:
        folder = tmp_path / "p"
        for number in range(100):
            write_photo(folder / f"{number}.bmp", number)
        for number in range(400):
            (folder / f"{number}.txt").write_text(f"number{number} some words " * 200)
        with Store(small / "c", create=True) as store:
            with pytest.raises(CollectionError, match="full"):
                index(store, embedder, [folder], ONE)
            there = len(list(store.files.all()))
            assert 0 < there < 500
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        with Store(small / "c") as store:
            assert check_truth(store, deep=True) == []
            assert len(list(store.files.all())) == there
            report = index(store, embedder, [folder], ONE)
            assert report.added == 500 - there
            assert "left" in report.index_problem.en  # 64 MB to spare is what an index asks for
    finally:
        subprocess.run(["umount", str(small)], check=True)

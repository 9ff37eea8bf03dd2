import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.verify import check_truth

DRIVER = Path(__file__).with_name("crash_driver.py")
TEN_CHANGES = """
import sys, pathlib, made_collections as made
from seesay.search.catalog.store import Store
with Store(pathlib.Path(sys.argv[1]), create=True) as store:
    space = made.add_space(store)
    for n in range(10):
        made.add_photos(store, space, made.unit_vectors(2), 2 * n)
        print("stored", n)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the driver forks the writers it kills")
@pytest.mark.parametrize("kills", [25, pytest.param(200, marks=pytest.mark.slow)])
def test_a_writer_that_is_killed_loses_nothing_acknowledged_and_leaves_nothing_half(
    tmp_path, kills
):
    command = [sys.executable, str(DRIVER), str(tmp_path / "c"), str(kills), "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["acknowledged"] > kills / 2
    assert report["kills inside of a write"] > kills / 4


def folder_with_two_changes(tmp_path):
    """A collection as a power cut would leave it, and the length of its log after each change."""
    folder = tmp_path / "c"
    store = Store(folder, create=True)
    space = made.add_space(store)
    log = folder / f"{FILE}-wal"
    ends = []
    for first in (0, 5):
        made.add_photos(store, space, made.unit_vectors(5), first)
        ends.append(log.stat().st_size)
    shutil.copytree(folder, tmp_path / "cut")
    store.close()
    return tmp_path / "cut", ends


def items_in(folder):
    with Store(folder) as store:
        assert check_truth(store, deep=True) == []
        assert len(store.database.rows("SELECT 1 FROM vectors")) == len(list(store.files.all()))
        return len(list(store.files.all()))


@pytest.mark.parametrize("damage", ["cut off", "zeros", "noise"])
@pytest.mark.parametrize("seed", range(4))
def test_a_torn_end_of_the_log_loses_the_last_change_whole_or_not_at_all(tmp_path, damage, seed):
    folder, (first, second) = folder_with_two_changes(tmp_path)
    rng = random.Random(seed)
    at = rng.randrange(first, second - 1)
    log = folder / f"{FILE}-wal"
    raw = log.read_bytes()[:second]
    tail = {"cut off": b"", "zeros": bytes(second - at), "noise": rng.randbytes(second - at)}
    log.write_bytes(raw[:at] + tail[damage])
    (folder / f"{FILE}-shm").unlink()  # a power cut takes it along
    assert items_in(folder) == 5  # the first change had been reported as stored, the second not


def test_a_log_that_lost_even_stored_changes_opens_at_the_last_good_one(tmp_path):
    folder, (first, _) = folder_with_two_changes(tmp_path)
    log = folder / f"{FILE}-wal"
    log.write_bytes(log.read_bytes()[: first - 100])
    (folder / f"{FILE}-shm").unlink()
    assert items_in(folder) == 0


def test_a_file_whose_middle_is_damaged_is_reported_and_never_read_as_sound(tmp_path):
    with Store(tmp_path / "c", create=True) as store:
        made.add_photos(store, made.add_space(store), made.unit_vectors(200))
    file = tmp_path / "c" / FILE
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3 : 2 * len(raw) // 3] = bytes(2 * len(raw) // 3 - len(raw) // 3)
    file.write_bytes(raw)
    try:
        with Store(tmp_path / "c") as store:
            assert check_truth(store, deep=True) != []
    except CollectionError as error:
        assert "damaged" in str(error)


def test_every_change_is_forced_to_the_disk(tmp_path):
    """What a kill cannot show, since the kernel survives it, the system calls do."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", str(trace)]
    paths = os.pathsep.join(["src", "tests"])
    run = subprocess.run(
        [*command, sys.executable, "-u", "-c", TEN_CHANGES, str(tmp_path / "c")],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in run.stderr.lower():
        pytest.skip("strace may not trace here")
    assert run.returncode == 0, run.stderr
    calls = re.findall(r"(fsync|fdatasync|write)\((\d+)(, \"stored)?", trace.read_text())
    story = "".join("a" if said else "s" for name, _, said in calls if said or "sync" in name)
    assert story.count("a") == 10
    assert re.search("^s+(s+a){9}s+a", story), story  # each answer comes after a sync of its own

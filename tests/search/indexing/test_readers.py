import os
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from made_files import write_photo
from reader_processes import reader_processes
from seesay.data.squares import ImageTransformConfig
from seesay.errors import CollectionError
from seesay.search.indexing.options import ReadLimits
from seesay.search.indexing.readers import Readers
from seesay.search.reading.messages import Setup, Task
from seesay.search.reading.process import _widen


def setup(**limits):
    config = ImageTransformConfig(size=16)
    return Setup(transform=config, reduce_large=True, limits=ReadLimits(**limits))


def tasks(folder, count):
    return [
        Task(path=str(write_photo(folder / f"{number}.png", number)), expected="image")
        for number in range(count)
    ]


@pytest.mark.skipif(os.name == "nt", reason="stops a process")
def test_a_file_that_takes_too_long_costs_only_itself(tmp_path):
    with Readers(setup(seconds=1.0), 1) as readers:
        outcomes = readers.read(tasks(tmp_path, 20))
        done = [next(outcomes)]
        (child,) = reader_processes()
        child.suspend()  # as a decoder that never ends
        done += outcomes
    failed = [outcome for outcome in done if outcome.stage is not None]
    assert [outcome.stage for outcome in failed] == ["time"]
    assert len({outcome.path for outcome in done}) == 20


@pytest.mark.skipif(os.name == "nt", reason="stops a process")
def test_a_process_that_always_dies_of_a_file_gives_it_up(tmp_path):
    with Readers(setup(), 1) as readers:
        outcomes = readers.read(tasks(tmp_path, 20))
        done = [next(outcomes)]
        (child,) = reader_processes()
        child.suspend()  # with a file in hand
        killer = threading.Thread(target=kill_late, args=(readers, child))
        killer.start()
        done += outcomes
        killer.join()
    failed = [outcome for outcome in done if outcome.stage is not None]
    assert [outcome.stage for outcome in failed] == ["crash"]
    assert "ended twice (code -9). Expected" in failed[0].error
    assert len({outcome.path for outcome in done}) == 20


def kill_late(readers, child):
    """Once it has nothing more to give away, and for the second time as it were."""
    time.sleep(0.5)
    readers._processes[0]._deaths = 1
    child.kill()


def test_no_process_is_left_behind_however_it_ends(tmp_path):
    with Readers(setup(), 2) as readers:
        outcomes = readers.read(tasks(tmp_path, 50))
        next(outcomes)
        assert len(reader_processes()) == 2
        outcomes.close()
    assert reader_processes() == []


def test_an_error_of_the_tasks_reaches_the_caller(tmp_path):
    def some():
        yield from tasks(tmp_path, 3)
        raise CollectionError("the disk is gone")

    with Readers(setup(), 2) as readers, pytest.raises(CollectionError, match="disk"):
        list(readers.read(some()))


def test_a_process_that_cannot_start_is_an_error_and_not_a_thousand_bad_files(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("seesay.search.indexing.readers._START", "raise SystemExit(3)")
    with Readers(setup(), 2) as readers, pytest.raises(CollectionError, match="code 3"):
        list(readers.read(tasks(tmp_path, 3)))


def test_memory_is_held_to_its_limit(tmp_path):
    Image.new("RGB", (8000, 8000)).save(tmp_path / "large.png")
    large = Task(path=str(tmp_path / "large.png"), expected="image")
    with Readers(setup(memory_bytes=64 * 2**20), 1) as readers:
        done = list(readers.read([*tasks(tmp_path, 1), large, *tasks(tmp_path, 3)]))
    assert [outcome.stage for outcome in done if outcome.stage] == ["decode"]
    assert "memory" in next(outcome.error for outcome in done if outcome.stage)


def test_a_reading_process_starts_without_what_takes_longer_than_a_picture():
    code = (
        "import sys, seesay.search.reading.process as _;"
        " sys.exit(' '.join({'numpy', 'torch', 'jaxtyping'} & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.strip() == ""


def test_pictures_of_the_usual_modes_are_read_within_a_small_allowance(tmp_path):
    for mode in ("L", "P", "1", "RGBA"):
        Image.new(mode, (40, 30)).save(tmp_path / f"{mode}.png")
    some = [Task(path=str(file), expected="image") for file in tmp_path.iterdir()]
    with Readers(setup(memory_bytes=64 * 2**20), 1) as readers:
        assert [len(outcome.square) for outcome in readers.read(some)] == [16 * 16 * 3] * 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone has such pipes")
def test_a_square_fits_into_the_pipe_before_anybody_reads(tmp_path):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(read, "rb"), open(write, "wb") as pipe:
        _widen(pipe)
        pipe.write(bytes(224 * 224 * 3))
        pipe.flush()  # would raise BlockingIOError
    with open(tmp_path / "file", "wb") as file:
        _widen(file)  # no pipe: nothing happens

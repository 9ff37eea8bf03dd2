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
from seesay.search.indexing.read import reading_processes
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, ReadSettings
from seesay.search.reading.process import _widen


def setup(**limits):
    config = ImageTransformConfig(size=16)
    return ReadSettings(transform=config, reduce_large=True, limits=ReadLimits(**limits))


def tasks(folder, count):
    return [
        ListedFile(path=str(write_photo(folder / f"{number}.png", number)), expected="image")
        for number in range(count)
    ]


@pytest.mark.skipif(os.name == "nt", reason="stops a process")
def test_a_file_that_takes_too_long_costs_only_itself(tmp_path):
    with reading_processes(setup(seconds=1.0), 1) as processes:
        results = processes.read(tasks(tmp_path, 20))
        done = [next(results)]
        (child,) = reader_processes()
        child.suspend()  # as a decoder that never ends
        done += results
    failed = [result for result in done if result.stage is not None]
    assert [result.stage for result in failed] == ["time"]
    assert len({result.path for result in done}) == 20


@pytest.mark.skipif(os.name == "nt", reason="stops a process")
def test_a_process_that_always_dies_of_a_file_gives_it_up(tmp_path):
    with reading_processes(setup(), 1) as processes:
        results = processes.read(tasks(tmp_path, 20))
        done = [next(results)]
        (child,) = reader_processes()
        child.suspend()  # with a file in hand
        killer = threading.Thread(target=kill_late, args=(processes, child))
        killer.start()
        done += results
        killer.join()
    failed = [result for result in done if result.stage is not None]
    assert [result.stage for result in failed] == ["crash"]
    assert "ended twice (code -9). Expected" in failed[0].error.en
    assert "两次中途结束（代码 -9）；" in failed[0].error.zh
    assert len({result.path for result in done}) == 20


def kill_late(processes, child):
    """Once it has nothing more to give away, and for the second time as it were."""
    time.sleep(0.5)
    processes._processes[0]._deaths = 1
    child.kill()


def test_no_process_is_left_behind_however_it_ends(tmp_path):
    with reading_processes(setup(), 2) as processes:
        results = processes.read(tasks(tmp_path, 50))
        next(results)
        assert len(reader_processes()) == 2
        results.close()
    assert reader_processes() == []


def test_an_error_of_the_tasks_reaches_the_caller(tmp_path):
    def some():
        yield from tasks(tmp_path, 3)
        raise CollectionError("the disk is gone")

    with reading_processes(setup(), 2) as processes, pytest.raises(CollectionError, match="disk"):
        list(processes.read(some()))


def test_a_process_that_cannot_start_is_an_error_and_not_a_thousand_bad_files(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("seesay.search.indexing.read._START", "raise SystemExit(3)")
    with reading_processes(setup(), 2) as processes, pytest.raises(CollectionError, match="code 3"):
        list(processes.read(tasks(tmp_path, 3)))


def test_memory_is_held_to_its_limit(tmp_path):
    Image.new("RGB", (8000, 8000)).save(tmp_path / "large.png")
    large = ListedFile(path=str(tmp_path / "large.png"), expected="image")
    with reading_processes(setup(memory_bytes=64 * 2**20), 1) as processes:
        done = list(processes.read([*tasks(tmp_path, 1), large, *tasks(tmp_path, 3)]))
    assert [result.stage for result in done if result.stage] == ["decode"]
    assert "memory" in next(result.error.en for result in done if result.stage)


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
    some = [ListedFile(path=str(file), expected="image") for file in tmp_path.iterdir()]
    with reading_processes(setup(memory_bytes=64 * 2**20), 1) as processes:
        assert [len(result.passages[0].payload) for result in processes.read(some)] == [
            16 * 16 * 3
        ] * 4


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

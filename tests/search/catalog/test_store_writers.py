import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import made_collections as made
from seesay.errors import CollectionBusyError, CollectionError
from seesay.search.catalog.store import LOCK, Store
from seesay.search.checking.verify import check_truth

ROOT = Path(__file__).parents[3]
BEGIN = "import sys, time, pathlib, made_collections as made\n"
BEGIN += "from seesay.search.catalog.store import Store\n"
WRITE = """
with Store(pathlib.Path(sys.argv[1]), create=True, wait_s=60.0) as store:
    space = made.add_space(store)
    for n in range(30):
        made.add_photos(store, space, made.unit_vectors(4), 1000 * int(sys.argv[2]) + 4 * n)
"""
HOLD = """
with Store(pathlib.Path(sys.argv[1])) as store, store.lock.held("index", 30.0):
    print("holding", flush=True)
    time.sleep(60)
"""


def start(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "tests"])}
    command = [sys.executable, "-c", BEGIN + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **options)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "c", create=True, wait_s=0.2) as store:
        yield store


@pytest.fixture
def holder(store):
    process = start(HOLD, store.folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "holding\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_three_writers_at_once_lose_nothing(tmp_path):
    folder = tmp_path / "c"  # they also race to make it
    writers = [start(WRITE, folder, n, stderr=subprocess.PIPE) for n in range(3)]
    errors = [writer.communicate()[1] for writer in writers]
    assert errors == [""] * 3
    with Store(folder) as store:
        assert len(list(store.files.all())) == 3 * 30 * 4
        assert store.vectors.count(1, "image") == 3 * 30 * 4
        assert [entry.seq for entry in store.ledger.since(0)] == list(range(1, 3 * 30 + 2))
        assert check_truth(store, deep=True) == []


def test_a_second_writer_is_told_who_writes_and_readers_are_not_kept_waiting(store, holder):
    with pytest.raises(CollectionBusyError) as caught:
        made.add_space(store)
    assert f"process {holder.pid} on " in str(caught.value)
    assert "(index, since " in str(caught.value)
    assert store.ledger.head() == 0
    with Store(store.folder) as reader:
        assert list(reader.files.all()) == []


def test_a_second_writer_waits_as_long_as_it_is_told(store, holder):
    threading.Timer(0.5, holder.kill).start()
    began = time.monotonic()
    with store.writing("index", wait_s=30.0):
        assert 0.3 < time.monotonic() - began < 20


def test_a_killed_writer_leaves_no_lock(store, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert "pid" in (store.folder / LOCK).read_text()  # it could not say good-bye
    made.add_space(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_outlives_a_killed_writer_does_not_keep_the_lock(store):
    code = """
import os
with Store(pathlib.Path(sys.argv[1])) as store, store.lock.held("index", 30.0):
    child = os.fork()
    if child:
        print(child, flush=True)
        os.kill(os.getpid(), 9)
    os.close(1)
    time.sleep(60)
"""
    process = start(code, store.folder, stdout=subprocess.PIPE)
    child = int(process.stdout.readline())
    process.wait()
    process.stdout.close()
    try:
        with store.writing("index", wait_s=5.0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_threads_write_one_after_the_other(store):
    space = made.add_space(store)
    store = Store(store.folder, wait_s=60.0)
    threads = [
        threading.Thread(
            target=made.add_photos, args=(store, space, made.unit_vectors(5), 5 * number)
        )
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.files.all())) == 30
    store.close()


def test_another_thread_of_the_same_process_gets_the_same_answer(store):
    caught = []

    def try_it():
        try:
            with store.writing("second"):
                pass
        except CollectionBusyError as error:
            caught.append(str(error))

    with store.lock.held("first", 30.0):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert f"process {os.getpid()}" in caught[0]


def test_several_changes_can_be_kept_together(store, tmp_path):
    with store.lock.held("index", 30.0), store.writing("one"):
        pass
    with store.lock.held("index", 30.0):
        made.add_space(store)
        made.add_space(store, model="other")
    assert (store.folder / LOCK).read_text() == ""


def test_a_lock_file_of_another_program_is_not_written_over(tmp_path):
    (tmp_path / "writer.lock").write_text("theirs")
    with pytest.raises(CollectionError, match=r"writer\.lock belongs to another program"):
        Store(tmp_path, create=True)
    assert (tmp_path / "writer.lock").read_text() == "theirs"

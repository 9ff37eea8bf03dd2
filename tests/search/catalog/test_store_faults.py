import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.verify import check_truth

ROOT = Path(__file__).parents[3]
FILL = """
import sys, pathlib, resource, made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog.store import Store
with Store(pathlib.Path(sys.argv[1]), create=True) as store:
    space = made.add_space(store, dim=512)
    if len(sys.argv) > 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    for n in range(1000):
        try:
            made.add_photos(store, space, made.unit_vectors(50, dim=512), 50 * n)
        except CollectionError as error:
            print(error)
            break
        print("stored", flush=True)
"""


def fill(*arguments):
    """Writes until it cannot; returns how many batches were acknowledged, and the error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "tests"])}
    command = [sys.executable, "-c", FILL, *map(str, arguments)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    return lines.count("stored"), lines[-1]


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def assert_holds(folder, batches):
    with Store(folder) as store:
        assert len(list(store.files.all())) == store.vectors.count(1, "image") == 50 * batches
        assert check_truth(store, deep=True) == []


def test_a_full_disk_stops_the_batch_with_advice_and_loses_nothing_acknowledged(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, "2m"):
        batches, error = fill(disk / "c")
        assert batches > 2
        assert "full" in error and "everything that was reported as stored" in error
        assert "run the same command again" in error
        assert_holds(disk / "c", batches)  # also while the disk is full
        shutil.copytree(disk / "c", tmp_path / "copy")
    assert_holds(tmp_path / "copy", batches)
    with Store(tmp_path / "copy") as store:
        made.add_photos(store, store.spaces.get(1), made.unit_vectors(50, dim=512), 50 * batches)
    assert_holds(tmp_path / "copy", batches + 1)


def test_a_limit_on_the_size_of_files_is_as_good_as_a_full_disk(tmp_path):
    batches, error = fill(tmp_path / "c", 1_500_000)
    assert batches > 2
    assert "everything that was reported as stored is still there" in error
    assert_holds(tmp_path / "c", batches)


def test_a_read_only_folder_can_be_read_and_says_why_it_cannot_be_written(tmp_path):
    folder = tmp_path / "c"
    with Store(folder, create=True) as store:
        made.add_photos(store, made.add_space(store), made.unit_vectors(5))
    with made.read_only(folder) as possible:
        if not possible:
            pytest.skip("cannot make a folder read-only here")
        with Store(folder) as store:
            assert store.read_only
            assert len(list(store.files.all())) == 5
            assert store.vectors.count(1, "image") == 5
            with pytest.raises(CollectionError, match=r"for reading alone.*change the rights"):
                made.add_space(store)
    with Store(folder) as store:
        made.add_photos(store, store.spaces.get(1), made.unit_vectors(5), 5)
        assert len(list(store.files.all())) == 10


def test_a_place_that_is_read_only_is_no_collection_of_an_old_format(tmp_path):
    (tmp_path / "home").mkdir()
    with made.read_only(tmp_path / "home") as possible:
        if not possible:
            pytest.skip("cannot make a folder read-only here")
        with pytest.raises(CollectionError, match=r"new cannot be made \(.*choose another one"):
            Store(tmp_path / "home" / "new", create=True)


def test_a_read_only_folder_whose_writer_was_killed_shows_all_it_had_stored(tmp_path):
    folder = tmp_path / "c"
    store = Store(folder, create=True)
    made.add_photos(store, made.add_space(store), made.unit_vectors(5))
    shutil.copytree(folder, tmp_path / "killed")  # with its log, as a kill leaves it
    store.close()
    assert (tmp_path / "killed" / f"{FILE}-wal").stat().st_size
    with made.read_only(tmp_path / "killed") as possible:
        if not possible:
            pytest.skip("cannot make a folder read-only here")
        with Store(tmp_path / "killed") as store:
            assert len(list(store.files.all())) == 5


def test_a_read_only_folder_with_a_log_but_without_its_memory_file_says_what_to_do(tmp_path):
    folder = tmp_path / "c"
    store = Store(folder, create=True)
    made.add_photos(store, made.add_space(store), made.unit_vectors(5))
    shutil.copytree(folder, tmp_path / "killed")
    store.close()
    (tmp_path / "killed" / f"{FILE}-shm").unlink()
    with made.read_only(tmp_path / "killed") as possible:
        if not possible:
            pytest.skip("cannot make a folder read-only here")
        with pytest.raises(CollectionError, match="stopped in the middle"):
            Store(tmp_path / "killed")


def test_a_place_where_no_folder_can_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectionError, match="cannot be made"):
        Store(tmp_path / "file" / "c", create=True)


def put_another_in_its_place(folder):
    """The collection is moved away, and one with a single picture gets its name."""
    folder.rename(folder.with_name("former"))
    with Store(folder, create=True) as other:
        made.add_photos(other, made.add_space(other), made.unit_vectors(1))


def remove_the_database(folder):
    (folder / FILE).unlink()


@pytest.fixture
def opened(tmp_path):
    with Store(tmp_path / "c", create=True) as store:
        made.add_photos(store, made.add_space(store), made.unit_vectors(3))
        yield store


INSTEAD = r"was replaced or removed while it was open.*start this program again"


@pytest.mark.parametrize("become", [put_another_in_its_place, remove_the_database])
def test_a_database_that_became_another_while_it_was_open_is_not_written_to(opened, become):
    become(opened.folder)
    with pytest.raises(CollectionError, match=INSTEAD), opened.writing("change"):
        opened.settings.set("a", "lost")
    opened.close()
    if become is put_another_in_its_place:
        with Store(opened.folder) as store:
            assert store.settings.get("a") is None and store.vectors.count(1, "image") == 1
            assert check_truth(store, deep=True) == []


@pytest.mark.parametrize("become", [put_another_in_its_place, remove_the_database])
def test_nor_do_two_threads_read_one_the_former_and_one_what_came_instead(opened, become):
    with opened.database.snapshot(), ThreadPoolExecutor(1) as other_thread:
        become(opened.folder)
        with pytest.raises(CollectionError, match=INSTEAD):
            other_thread.submit(opened.vectors.count, 1, "image").result()
        assert opened.vectors.count(1, "image") == 3

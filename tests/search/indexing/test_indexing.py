import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from made_files import write_photo
from reader_processes import reader_processes
from seesay.errors import CollectionError
from seesay.search.catalog.store import FILE, Store
from seesay.search.checking.verify import check_truth
from seesay.search.indexing.embed import IndexingModels
from seesay.search.indexing.fill import fill
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.walk import count_files

ONE = IndexOptions(workers=1)


def paths(store):
    return sorted(item.path for item in store.files.all())


def vectors_by_path(store, embedder):
    space = IndexingModels(store, embedder).space.id
    found = {}
    for item in store.files.all():
        units = [unit.id for unit in store.passages.of_files([item.id])]
        found[item.path] = store.vectors.get(space, units)[1]
    return found


@pytest.fixture
def counted(embedder, monkeypatch):
    """How many pictures were embedded."""
    rows = []
    embed = embedder.encoder.images

    def counting(_, pixels):
        rows.append(len(pixels))
        return embed(pixels)

    monkeypatch.setattr(type(embedder.encoder), "images", counting)
    return rows


def test_vectors_are_those_of_the_embedder(store, embedder, photos):
    report = index(store, embedder, [photos], ONE)
    assert (report.added, report.images, report.failed) == (6, 6, 0)
    for path, vectors in vectors_by_path(store, embedder).items():
        expected = embedder.embed_images([path]).vectors
        np.testing.assert_allclose(vectors, expected, atol=1e-3)


def test_what_is_known_is_not_read_again(store, embedder, photos, counted):
    index(store, embedder, [photos], ONE)
    again = index(store, embedder, [photos], ONE)
    assert (again.unchanged, again.added, sum(counted)) == (6, 0, 6)


def test_a_touched_file_is_unchanged_and_is_not_read_a_third_time(store, embedder, photos, counted):
    index(store, embedder, [photos], ONE)
    os.utime(photos / "a" / "0.jpg", ns=(1, 1))
    assert index(store, embedder, [photos], ONE).unchanged == 6
    assert store.files.by_path([str(photos / "a" / "0.jpg")]).popitem()[1].mtime_ns == 1
    assert sum(counted) == 6


def test_a_changed_file_gets_a_new_vector(store, embedder, photos):
    index(store, embedder, [photos], ONE)
    changed = write_photo(photos / "a" / "0.jpg", 99)
    assert index(store, embedder, [photos], ONE).updated == 1
    found = vectors_by_path(store, embedder)[str(changed)]
    np.testing.assert_allclose(found, embedder.embed_images([changed]).vectors, atol=1e-3)
    assert len(paths(store)) == 6


def test_a_renamed_folder_keeps_items_and_vectors(store, embedder, photos, counted):
    index(store, embedder, [photos], ONE)
    before = {item.id for item in store.files.all()}
    (photos / "a").rename(photos / "z")
    report = index(store, embedder, [photos], ONE)
    assert (report.moved, report.removed, report.added) == (2, 0, 0)
    assert {item.id for item in store.files.all()} == before
    assert str(photos / "z" / "0.jpg") in paths(store)
    assert sum(counted) == 6


def test_two_files_that_change_names_with_each_other_are_not_embedded_again(
    store, embedder, photos, counted
):
    index(store, embedder, [photos], ONE)
    before = vectors_by_path(store, embedder)
    one, other = photos / "a" / "0.jpg", photos / "b" / "1.jpg"
    one.rename(photos / "x")
    other.rename(one)
    (photos / "x").rename(other)
    os.utime(one, ns=(1, 1))
    os.utime(other, ns=(2, 2))
    index(store, embedder, [photos], ONE)
    after = vectors_by_path(store, embedder)
    np.testing.assert_array_equal(after[str(one)], before[str(other)])
    np.testing.assert_array_equal(after[str(other)], before[str(one)])
    assert sum(counted) == 6


def test_copies_share_one_embedding_in_one_run_and_later(store, embedder, tmp_path, counted):
    content = write_photo(tmp_path / "p" / "0.jpg", 0).read_bytes()
    for number in range(1, 40):
        (tmp_path / "p" / f"{number}.jpg").write_bytes(content)
    report = index(store, embedder, [tmp_path / "p"], IndexOptions(workers=2))
    assert (report.added, report.images, report.reused) == (40, 1, 39)
    (tmp_path / "p" / "late.jpg").write_bytes(content)
    assert index(store, embedder, [tmp_path / "p"], ONE).reused == 1
    assert sum(counted) == 1


def test_deleted_files_are_removed_below_the_given_folder_only(store, embedder, photos):
    index(store, embedder, [photos], ONE)
    (photos / "a" / "0.jpg").unlink()
    (photos / "b" / "1.jpg").unlink()
    assert index(store, embedder, [photos / "a"], ONE).removed == 1
    assert index(store, embedder, [photos], IndexOptions(delete_missing=False)).removed == 0
    assert len(paths(store)) == 5
    assert index(store, embedder, [photos], ONE).removed == 1


@pytest.mark.parametrize("left", ["nothing", "an empty folder"])
def test_an_unmounted_disk_deletes_nothing_and_is_reported(store, embedder, photos, left):
    index(store, embedder, [photos], ONE)
    photos.rename(photos.with_name("away"))
    if left == "an empty folder":
        photos.mkdir()
    report = index(store, embedder, [photos], ONE)
    assert report.removed == 0
    assert (report.missing_roots or report.empty_roots) == (str(photos),)
    assert len(paths(store)) == 6
    assert index(store, embedder, [photos], IndexOptions(prune=True)).removed == 6


def test_a_file_that_turns_bad_is_quarantined_and_its_old_picture_no_longer_found(
    store, embedder, photos
):
    index(store, embedder, [photos], ONE)
    bad = photos / "a" / "0.jpg"
    bad.write_bytes(b"no picture")
    assert index(store, embedder, [photos], ONE).failed == 1
    assert str(bad) not in paths(store)
    assert index(store, embedder, [photos], ONE).skipped == 1
    write_photo(bad, 0)
    assert index(store, embedder, [photos], ONE).added == 1
    assert store.quarantine.all() == []


def test_bad_files_are_tried_again_when_asked_to_and_forgotten_when_gone(store, embedder, photos):
    (photos / "bad.jpg").write_bytes(b"no picture")
    index(store, embedder, [photos], ONE)
    again = IndexOptions(retry_failed=True, workers=1)
    index(store, embedder, [photos], again)
    assert len(store.quarantine.all()) == 1
    (photos / "bad.jpg").unlink()
    index(store, embedder, [photos], ONE)
    assert store.quarantine.all() == []


def test_stopping_keeps_what_is_stored_and_the_same_call_goes_on(
    store, embedder, tmp_path, monkeypatch
):
    for number in range(600):
        write_photo(tmp_path / "p" / f"{number}.bmp", number)
    stop = threading.Event()
    embed = embedder.encoder.images

    def stopping(_, pixels):
        stop.set()
        return embed(pixels)

    with monkeypatch.context() as patched:
        patched.setattr(type(embedder.encoder), "images", stopping)
        report = index(store, embedder, [tmp_path / "p"], ONE, stop=stop)
    assert report.interrupted
    assert 0 < report.added < 600
    assert store.runs.newest(1)[0].state == "interrupted"
    rest = index(store, embedder, [tmp_path / "p"], ONE)
    assert (rest.unchanged, rest.added) == (report.added, 600 - report.added)


RUN = """
import sys
from pathlib import Path
from seesay.inference.embedder import load
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.indexing.walk import count_files
from seesay.search.catalog.store import FILE, Store
embedder = load(sys.argv[2], device="cpu", dtype="float32")
with Store(Path(sys.argv[1]), create=True) as store:
    report = index(store, embedder, [sys.argv[3]], IndexOptions(workers=1),
                    on_progress=lambda p: print(p.done, flush=True))
    print("interrupted" if report.interrupted else "done")
"""


def program(collection, model_folder, folder, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "tests"])}
    command = [sys.executable, "-c", RUN, str(collection), str(model_folder), str(folder)]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[3], env=environment, text=True, **options
    )


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_ctrl_c_ends_in_good_order(tmp_path, model_folder):
    folder = tmp_path / "p"
    for number in range(1500):
        write_photo(folder / f"{number}.jpg", number)
    child = program(tmp_path / "c", model_folder, folder, stdout=subprocess.PIPE)
    assert int(child.stdout.readline()) > 0
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert said.split()[-1] == "interrupted"
    with Store(tmp_path / "c") as store:
        assert 0 < len(paths(store)) < 1500
        assert store.runs.newest(1)[0].state == "interrupted"


def test_three_writers_at_once_store_everything_once(tmp_path, model_folder, embedder):
    folder = tmp_path / "p"
    for number in range(60):
        write_photo(folder / f"{number}.jpg", number)
    children = [
        program(tmp_path / "c", model_folder, folder, stdout=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    with Store(tmp_path / "c") as store:
        assert len(paths(store)) == 60
        assert check_truth(store, deep=True) == []
        assert all(len(rows) == 1 for rows in vectors_by_path(store, embedder).values())


def test_what_is_stored_can_be_searched_while_the_rest_is_read(store, embedder, tmp_path):
    for number in range(1000):
        write_photo(tmp_path / "p" / f"{number}.bmp", number)
    seen = []
    space = IndexingModels(store, embedder).space.id
    index(
        store,
        embedder,
        [tmp_path / "p"],
        on_progress=lambda _: seen.append(store.vectors.count(space, "image")),
    )
    assert 0 < seen[0] < seen[-1] == 1000


def test_a_second_model_is_filled_and_then_used(store, embedder, other_embedder, photos):
    (photos / "note.txt").write_text("A dog runs over the grass.")
    index(store, embedder, [photos], ONE)
    with pytest.raises(CollectionError, match="searched with"):
        index(store, other_embedder, [photos], ONE)
    first, second = (
        IndexingModels(store, embedder).space,
        IndexingModels(store, other_embedder).space,
    )
    assert (store.spaces.active().id, second.state) == (first.id, "filling")
    (photos / "b" / "1.jpg").unlink()
    report = fill(store, other_embedder)
    assert (report.embedded, report.failed, report.complete) == (6, 1, True)
    assert store.spaces.active().id == second.id
    found = vectors_by_path(store, other_embedder)
    path = str(photos / "a" / "0.jpg")
    np.testing.assert_allclose(found[path], other_embedder.embed_images([path]).vectors, atol=1e-3)
    note = other_embedder.embed_texts(["A dog runs over the grass."]).vectors
    np.testing.assert_allclose(found[str(photos / "note.txt")], note, atol=1e-3)


def test_filling_goes_on_where_it_was_stopped(store, embedder, other_embedder, photos):
    index(store, embedder, [photos], ONE)
    stop = threading.Event()
    stop.set()
    assert not fill(store, other_embedder, stop=stop).complete
    assert store.spaces.active().model == embedder.name
    assert fill(store, other_embedder).embedded == 6
    assert fill(store, other_embedder).embedded == 0


def test_an_address_is_refused_unless_it_was_asked_for(store, embedder):
    with pytest.raises(CollectionError, match="address"):
        index(store, embedder, ["http://127.0.0.1/a.jpg"], ONE)
    report = index(store, embedder, ["http://127.0.0.1/a.jpg"], IndexOptions(urls=True))
    assert report.failed == 1
    assert store.quarantine.all()[0].stage == "address"


def test_a_reading_process_that_is_killed_costs_nothing(store, embedder, tmp_path, monkeypatch):
    for number in range(200):
        write_photo(tmp_path / "p" / f"{number}.bmp", number)
    killed = []

    def kill(_):
        if not killed:
            killed.extend(reader_processes())
            for child in killed:
                child.kill()

    monkeypatch.setattr("seesay.search.indexing.commit.PASSAGES", 16)
    report = index(store, embedder, [tmp_path / "p"], ONE, on_progress=kill)
    assert killed
    assert (report.added, report.failed) == (200, 0)


def test_a_run_that_fails_leaves_no_thread_and_no_reading_process_behind(
    store, embedder, tmp_path, monkeypatch
):
    for number in range(200):
        write_photo(tmp_path / "p" / f"{number}.bmp", number)

    def fail(_):
        raise CollectionError("the disk is full")

    monkeypatch.setattr("seesay.search.indexing.commit.PASSAGES", 16)
    monkeypatch.setattr(store.files, "put", fail)
    with pytest.raises(CollectionError, match="full") as failure:
        index(store, embedder, [tmp_path / "p"], ONE)
    assert failure.tb is not None  # which holds all that the run held
    assert [one for one in threading.enumerate() if one.name == "seesay-reader"] == []
    assert reader_processes() == []


def test_a_collection_among_the_files_is_not_taken_for_pictures(store, embedder, photos):
    for inner in ("made", "made/thumbnails"):
        write_photo(photos / inner / "of it.webp", 70)
    (photos / "made" / FILE).touch()
    write_photo(photos / "thumbnails" / "mine.jpg", 71)
    report = index(store, embedder, [photos], ONE)
    assert report.added == 7  # a folder that is only called so is the user's own
    assert count_files([str(photos)], True, lambda: False) == 7
    (photos / FILE).touch()
    assert index(store, embedder, [photos], ONE).unchanged == 6
    assert count_files([str(photos)], True, lambda: False) == 6


def test_vectors_that_were_lost_come_back_with_the_next_run_and_nothing_else_is_done(
    store, embedder, photos
):
    (photos / "note.txt").write_text("a dog on the grass")
    index(store, embedder, [photos], ONE)
    space = store.spaces.active().id
    units = [unit.id for unit in store.passages.of_files(item.id for item in store.files.all())]
    _, before = store.vectors.get(space, units)
    with store.writing("lose"):
        store.vectors.remove(space, units[2:])
    assert check_truth(store)[0].remedy == "index"
    report = index(store, embedder, [photos], ONE)
    assert (report.refilled, report.unchanged, report.updated) == (len(units) - 2, 7, 0)
    assert check_truth(store, deep=True) == []
    numbers, after = store.vectors.get(space, units)
    assert list(numbers) == units
    np.testing.assert_allclose(after, before, atol=2e-3)
    assert index(store, embedder, [photos], ONE).refilled == 0

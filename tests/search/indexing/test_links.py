"""A file is indexed once, however many names it has."""

import os
import shutil

import pytest

from made_collections import add_files
from made_files import write_photo
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions

ONE = IndexOptions(workers=1)


def names(store, folder):
    return {os.path.relpath(item.path, folder) for item in store.files.all()}


def caption(store, path):
    item = store.files.by_path([str(path)])[str(path)]
    return store.passages.of_files([item.id])[0].text


@pytest.fixture
def linked(tmp_path):
    """Two photographs: one with a link before it and a hard link after it, one linked from
    elsewhere, twice."""
    folder = tmp_path / "linked"
    real = write_photo(folder / "b" / "real.jpg", 1)
    (folder / "a").mkdir()
    (folder / "a" / "link.jpg").symlink_to(real)
    os.link(real, folder / "c.jpg")
    outside = write_photo(tmp_path / "outside" / "far.jpg", 2)
    (folder / "far.jpg").symlink_to(outside)
    (folder / "farther.jpg").symlink_to(outside)
    return folder


def test_links_and_hard_links_are_indexed_once_under_the_name_that_is_no_link(
    store, embedder, linked
):
    report = index(store, embedder, [linked], ONE)
    assert (report.added, report.links, report.failed) == (2, 3, 0)
    assert names(store, linked) == {"c.jpg", "far.jpg"}
    again = index(store, embedder, [linked], ONE)
    assert (again.added, again.unchanged, again.removed, again.links) == (0, 2, 0, 3)


def test_a_link_that_is_named_first_does_not_take_the_place_of_the_file(store, embedder, linked):
    report = index(store, embedder, [linked / "a" / "link.jpg", linked / "b" / "real.jpg"], ONE)
    assert (report.added, report.links) == (1, 1)
    assert names(store, linked) == {"b/real.jpg"}


def test_another_name_that_a_later_run_meets_is_not_indexed_again(store, embedder, linked):
    index(store, embedder, [linked / "b"], ONE)
    for place in (linked / "a", linked / "c.jpg"):
        report = index(store, embedder, [place], ONE)
        assert (report.added, report.links, report.images) == (0, 1, 0)
    assert names(store, linked) == {"b/real.jpg"}


def test_a_file_known_by_a_link_gets_its_own_name_and_keeps_its_number(store, embedder, linked):
    index(store, embedder, [linked / "a"], ONE)
    before = {item.id for item in store.files.all()}
    assert index(store, embedder, [linked / "b"], ONE).moved == 1
    assert names(store, linked) == {"b/real.jpg"}
    assert {item.id for item in store.files.all()} == before


def test_a_collection_that_has_every_name_keeps_one_and_what_was_said_of_the_others(
    store, embedder, linked
):
    (linked / "a" / "table.csv").write_text("path,caption\nlink.jpg,a harbour\n")
    (linked / "table.csv").write_text("path,caption\nb/real.jpg,by the sea\n")
    index(store, embedder, [linked], ONE)
    add_files(store, [linked / "a" / "link.jpg", linked / "b" / "real.jpg"])
    report = index(store, embedder, [linked], ONE)
    assert report.removed == 2
    assert names(store, linked) == {"c.jpg", "far.jpg", "a/table.csv", "table.csv"}
    assert caption(store, linked / "c.jpg").splitlines() == ["a harbour", "by the sea"]
    again = index(store, embedder, [linked], ONE)
    assert (again.removed, again.updated) == (0, 0)
    assert caption(store, linked / "c.jpg").splitlines() == ["a harbour", "by the sea"]


def test_copies_that_became_one_file_are_one_and_copies_that_are_two_stay_two(
    store, embedder, tmp_path
):
    folder = tmp_path / "copies"
    write_photo(folder / "1.jpg", 1)
    for number in "23":
        shutil.copy2(folder / "1.jpg", folder / f"{number}.jpg")
    assert index(store, embedder, [folder], ONE).added == 3
    (folder / "2.jpg").unlink()
    os.link(folder / "1.jpg", folder / "2.jpg")
    report = index(store, embedder, [folder], ONE)
    assert (report.removed, report.links) == (1, 1)
    assert names(store, folder) == {"1.jpg", "3.jpg"}


def test_a_name_is_taken_up_when_the_one_that_was_indexed_goes(store, embedder, linked):
    index(store, embedder, [linked], ONE)
    before = {item.id for item in store.files.all()}
    (linked / "c.jpg").unlink()
    report = index(store, embedder, [linked], ONE)
    assert (report.moved, report.removed) == (1, 0)
    assert names(store, linked) == {"b/real.jpg", "far.jpg"}
    assert {item.id for item in store.files.all()} == before


def test_a_table_that_is_linked_into_two_folders_describes_the_pictures_of_both(
    store, embedder, tmp_path
):
    for number, place in enumerate("ab"):
        write_photo(tmp_path / "photos" / place / "1.jpg", number)
    (tmp_path / "photos" / "a" / "table.csv").write_text("path,caption\n1.jpg,a bridge\n")
    (tmp_path / "photos" / "b" / "table.csv").symlink_to(tmp_path / "photos" / "a" / "table.csv")
    index(store, embedder, [tmp_path / "photos"], ONE)
    for place in "ab":
        assert caption(store, tmp_path / "photos" / place / "1.jpg") == "a bridge"


def test_pictures_of_an_older_collection_get_their_fingerprint_without_being_embedded(
    store, embedder, photos, monkeypatch
):
    index(store, embedder, [photos], ONE)
    before = store.fingerprints.of_contents()
    assert len(before.contents) == 6 and store.fingerprints.missing() == []
    with store.writing("as older versions did"):
        store.database.run("DELETE FROM fingerprints WHERE unit > 2")
    assert len(store.fingerprints.missing()) == 4
    monkeypatch.setattr(type(embedder.encoder), "images", None)
    index(store, embedder, [photos], ONE)
    after = store.fingerprints.of_contents()
    assert after.pixels.tolist() == before.pixels.tolist() and store.fingerprints.missing() == []

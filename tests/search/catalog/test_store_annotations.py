"""Rows of tables and the pictures that they describe: attached whichever comes first."""

from datetime import UTC, datetime

import pytest

import made_collections as made
from seesay.search.catalog.annotations import Annotation, OwnDescription
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.store import Store
from seesay.search.checking.verify import check_truth

FACTS = {"content_hash": "table", "size": 1, "mtime_ns": 1}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "c", create=True) as store:
        yield store


def put_photos(store, *numbers, **changes):
    with store.writing("index"):
        return [one.file for one in store.files.put([made.photo(n, **changes) for n in numbers])]


def put_table(store, rows, name="t.csv"):
    """Texts by the number of the photograph."""
    with store.writing("table"):
        (stored,) = store.files.put(
            [FileDraft(path=f"/photos/{name}", media_type="table", **FACTS)]
        )
        named = {made.photo(n).path: Annotation(text=text) for n, text in rows.items()}
        store.annotations.replace(stored.file, named)
    return stored.file


def texts(store, item):
    return [row.text for row in store.annotations.of_files([item])[item]]


def changed(store):
    """The pictures to describe, which are taken as described then."""
    items = store.annotations.undescribed(99)
    with store.writing("describe"):
        store.annotations.set_described(items)
    return items


def test_a_row_finds_its_picture_whichever_comes_first(store):
    (early,) = put_photos(store, 1)
    table = put_table(store, {1: "a dog", 2: "a cat"})
    assert store.annotations.absent(table) == [made.photo(2).path]
    (late,) = put_photos(store, 2)
    assert (texts(store, early), texts(store, late)) == (["a dog"], ["a cat"])
    assert changed(store) == [early, late]
    assert store.annotations.absent(table) == []


def test_only_pictures_whose_rows_changed_are_described_again(store):
    items = put_photos(store, 1, 2, 3, 4)
    put_table(store, {1: "a dog", 2: "a cat", 3: "a hen"})
    changed(store)
    put_table(store, {1: "a dog", 2: "a cat", 3: "a hen"})
    assert changed(store) == []
    for _ in range(2):  # again while it still waits
        put_table(store, {1: "a dog", 2: "a red cat", 4: "a bus"})
    assert changed(store) == items[1:]
    put_photos(store, 1, text="other pixels, say")
    assert changed(store) == items[:1]


def test_the_rows_of_a_table_go_with_it_whoever_removes_it(store):
    items = put_photos(store, 1, 2)
    table = put_table(store, {1: "a dog", 2: "a cat"})
    other = put_table(store, {1: "a pet"}, "u.csv")
    changed(store)
    with store.writing("remove"):
        store.files.remove([table, items[1]])
    assert changed(store) == items[:1]
    assert texts(store, items[0]) == ["a pet"]
    assert [one.file for one in store.annotations.tables()] == [other]
    assert check_truth(store) == []


def test_a_picture_that_moves_keeps_its_row_until_its_path_has_another_one(store):
    first, second = put_photos(store, 1, 2)
    put_table(store, {1: "a dog", 2: "a cat", 3: "a hen"})
    changed(store)
    with store.writing("move"):
        store.files.move({first: "/photos/new.jpg"})
    assert (texts(store, first), changed(store)) == (["a dog"], [first])
    with store.writing("move"):
        store.files.move({first: made.photo(3).path, second: "/photos/new.jpg"})
    assert (texts(store, first), texts(store, second)) == (["a hen"], ["a cat"])
    (third,) = put_photos(store, 1)
    assert (texts(store, third), texts(store, first)) == (["a dog"], ["a hen"])
    assert changed(store) == [first, second, third]


def test_a_copy_takes_over_the_rows_of_what_is_removed_unless_it_has_its_own(store):
    copies = [FileDraft(**{**vars(made.photo(1)), "path": f"/photos/{n}.jpg"}) for n in "ab"]
    (first,) = put_photos(store, 1)
    put_table(store, {1: "a dog"})
    with store.writing("index"):
        _, kept = (stored.file for stored in store.files.put(copies))
        gone = store.files.by_path(["/photos/a.jpg"])["/photos/a.jpg"].id
        store.annotations.hand_over([first, gone])
        store.files.remove([first, gone])
    assert (texts(store, kept), changed(store)) == (["a dog"], [kept])


def test_rows_of_several_tables_come_in_the_order_of_the_tables(store):
    (item,) = put_photos(store, 1)
    put_table(store, {1: "second"}, "t.csv")
    put_table(store, {1: "first"}, "a.csv")
    assert texts(store, item) == ["first", "second"]


def test_a_table_is_whole_when_all_its_rows_are_there_and_with_their_pictures(store):
    put_photos(store, 1)
    put_table(store, {1: "a dog", 2: "a cat"})
    assert store.annotations.tables()[0].is_whole
    with store.writing("damage"):
        store.database.run("UPDATE annotations SET item = NULL")
    assert store.annotations.tables()[0].detached == 1
    put_table(store, {1: "a dog", 2: "a cat"})
    assert store.annotations.tables()[0].is_whole
    with store.writing("damage"):
        store.database.run("DELETE FROM annotations WHERE item IS NULL")
    (table,) = store.annotations.tables()
    assert (table.rows, table.stored, table.is_whole) == (2, 1, False)


def test_what_was_known_apart_from_annotations_comes_back_as_it_was(store):
    put_photos(store, 1)
    own = OwnDescription(
        text="书 \udcff",
        metadata={"tag": ("a", "b"), "taken": datetime(2020, 1, 2, tzinfo=UTC), "year": 2020.0},
        keys=["tag", "taken", "half of a pair \ud83d"],
    )
    with store.writing("describe"):
        store.annotations.set_own({1: own})
    assert store.annotations.own([1, 2]) == {1: own}
    with store.writing("describe"):
        store.annotations.set_own({1: None})
    assert store.annotations.own([1]) == {}

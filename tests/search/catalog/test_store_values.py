"""Metadata that no table, camera or damaged disk can make a collection fail by."""

import json
import math
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

import made_collections as made
from seesay.errors import CollectionDamagedError, CollectionError
from seesay.search.catalog import filter_masks
from seesay.search.catalog import metadata as metadata_module
from seesay.search.catalog.database import path_to_text, text_to_path
from seesay.search.catalog.export import export
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import Compare, matching_passages
from seesay.search.catalog.metadata import MOST_KEY, MOST_TEXT, sound
from seesay.search.catalog.store import Store
from seesay.search.checking.repair import mend
from seesay.search.checking.verify import check_metadata
from seesay.search.filtering import make_filter
from seesay.search.plain import to_json
from seesay.search.statistics import facets

TAKEN = datetime(2021, 5, 4, 10, 11, 12, tzinfo=UTC)
ANYTHING = some.text(alphabet=some.characters(codec=None, exclude_categories=()), max_size=20)
ZONES = some.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
VALUES = (
    ANYTHING
    | some.floats()
    | some.integers(-(10**400), 10**400)
    | some.booleans()
    | some.dates()
    | some.datetimes(timezones=some.none() | ZONES)
    | some.none()
    | some.binary(max_size=3)
)


@given(some.dictionaries(ANYTHING, VALUES | some.lists(VALUES, max_size=3), max_size=4))
def test_what_is_left_of_any_metadata_comes_back_from_the_store_as_it_is(metadata):
    kept = {key: value for key, value in sound(metadata).items() if key[:5] not in RESERVED}
    assert sound(kept) == kept
    with STORE.writing("describe"):
        STORE.passages.describe(1, metadata=kept)
    assert STORE.metadata.get([1])[1] == kept
    json.loads(to_json(kept))


RESERVED = ("file.", "unit.")


@pytest.fixture(autouse=True, scope="module")
def _store(tmp_path_factory):
    global STORE  # hypothesis and fixtures of a function do not go together
    with Store(tmp_path_factory.mktemp("values") / "c", create=True) as STORE:
        made.add_photos(STORE, made.add_space(STORE), made.unit_vectors(1))
        yield


@pytest.mark.parametrize(
    "value",
    [
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=8))),
        math.inf,
        10**400,
        "x" * (MOST_TEXT + 1),
    ],
)
def test_what_cannot_be_read_again_is_left_out_and_refused_by_the_store(value):
    assert sound({"key": value, "other": 1}) == {"other": 1.0}
    with STORE.writing("describe"), pytest.raises(CollectionError, match="expected a"):
        STORE.metadata.put([1], [{"key": value}])


def test_keys_and_texts_are_clean():
    assert sound({"a\0b ": " x\ud83d\x1b ", "cafe\u0301": 1, "k" * (MOST_KEY + 1): 2, " ": 3}) == {
        "ab": "x\ufffd",
        "caf\u00e9": 1.0,
    }
    assert sound({"tag": ["b", "a", "a", ""], "one": ["x"], "none": []}) == {
        "tag": ("a", "b"),
        "one": "x",
    }


def test_the_day_of_a_picture_is_a_date_and_nothing_else():
    assert sound({"date": "summer"}) == sound({"date": 2021}) == {}
    assert sound({"date": date(2021, 5, 4)}) == {"date": datetime(2021, 5, 4, tzinfo=UTC)}


def test_a_text_with_half_an_emoji_is_stored_whatever_it_is():
    assert path_to_text("a\ud83d\udcff").encode()


# What version 0.1.0 stored, and what a flipped byte makes of a value.
BAD = {
    ("taken", "date"): 253402300800.0,
    ("before", "date"): -62135596801.0,
    ("far", "date"): 1e300,
    ("rating", "number"): math.inf,
    ("width", "number"): "four hundred",
    ("date", "text"): "2021/5/4",
    ("note", "text"): 7.5,
    ("long", "text"): "x" * (MOST_TEXT + 1),
}


@pytest.fixture
def damaged(tmp_path):
    """A unit with a value of each kind, one with a damaged text, and one that is sound."""
    with Store(tmp_path / "c", create=True) as store:
        space = made.add_space(store)
        made.add_photos(store, space, made.unit_vectors(3))
        with store.writing("damage"):
            store.spaces.activate(space.id)
            store.passages.describe(3, metadata={"date": TAKEN, "rating": 3, "note": "ok"})
            for number, ((key, kind), value) in enumerate(BAD.items(), start=100):
                store.database.run(
                    "INSERT OR IGNORE INTO metadata_keys VALUES (?, ?, ?)", (number, key, kind)
                )
                store.database.run(
                    "INSERT INTO metadata VALUES"
                    " ((SELECT id FROM metadata_keys WHERE name = ? AND type = ?), ?, 1)",
                    (key, kind, value),
                )
            store.database.run(
                "INSERT INTO metadata SELECT id, CAST(x'61ff' AS TEXT), 2 FROM metadata_keys"
                " WHERE name = 'note'"
            )
        yield store


def test_a_bad_value_is_shown_as_text_everywhere_and_nothing_fails(damaged, tmp_path, monkeypatch):
    shown = damaged.metadata.get([1, 2])
    assert shown[1]["taken"] == "253402300800.0" and shown[1]["rating"] == "inf"
    assert (shown[1]["width"], shown[1]["note"]) == ("four hundred", "7.5")
    assert shown[2]["note"] == "a\ufffd"
    json.loads(to_json(facets(damaged)))
    assert facets(damaged).first is not None
    for ending in ("npz", "csv", "jsonl"):
        assert export(damaged, damaged.spaces.all()[0], tmp_path / f"e.{ending}") == 3
    for broad in (False, True):
        if broad:
            monkeypatch.setattr(filter_masks, "NARROW", 0)
        masks = FilterMasks(damaged.database)
        for key, _ in BAD:
            masks.mask(Compare(key))
        assert masks.mask(Compare("rating", ">", 2.0))[[1, 3]].tolist() == [True, True]
        assert masks.mask(Compare("width", ">", 2.0))[[1, 3]].tolist() == [False, False]
        assert masks.mask(Compare("note", "contains", "ok"))[[1, 2, 3]].tolist() == [0, 0, 1]
    since = matching_passages(make_filter(since="1960", until="2100"), damaged.database)
    assert sorted(since) == [1, 2, 3]  # a text in the place of a date is no date


def test_bad_values_are_named_with_count_and_remedy_and_taken_out(damaged):
    with damaged.writing("own"):
        damaged.database.run(
            "INSERT INTO own_descriptions VALUES (2, NULL, ?, '[\"date\"]')",
            (json.dumps({"date": {"time": TAKEN.isoformat()}}),),
        )
        damaged.database.run(
            "INSERT INTO metadata SELECT id, 'one summer', 2 FROM metadata_keys"
            " WHERE name = 'date' AND type = 'text'"
        )
    found = {finding.where: finding.count for finding in check_metadata(damaged)}
    assert found == {key: 1 for key, _ in BAD} | {"date": 2}
    (note,) = [f for f in check_metadata(damaged, deep=True) if f.where == "note"]
    assert (note.count, note.remedy) == (2, "rebuild")
    assert "2 values of note are none of their type" in str(note) and "seesay rebuild" in str(note)
    assert "键 note 有 2 个值与其类型不符" in note.message.zh
    mend(damaged)
    assert check_metadata(damaged, deep=True) == []
    shown = damaged.metadata.get([1, 2, 3])
    assert shown[1] == {"number": 0.0, "date": datetime(2021, 5, 4, tzinfo=UTC)}
    assert shown[2]["date"] == TAKEN  # its own again
    assert shown[3] == {"date": TAKEN, "rating": 3.0, "note": "ok"}
    assert set(damaged.metadata.types()) == {"number", "date", "rating", "note"}
    assert mend(damaged) == 0


def test_a_collection_takes_no_more_keys_than_it_has_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata_module, "MOST_KEYS", 4)
    with Store(tmp_path / "c", create=True) as store:
        made.add_photos(store, made.add_space(store), made.unit_vectors(2))  # key "number"
        with store.writing("describe"):
            store.passages.describe(1, metadata={"a": 1, "b": 2})
            store.passages.describe(1, metadata={"b": 2})
            assert store.metadata.room(["b", "c", "d", "e"]) == {"b", "c", "d"}  # "a" is gone
        assert set(store.metadata.types()) == {"number", "b"}


def test_a_number_beyond_64_bits_is_an_error_that_says_so(tmp_path):
    with closing(Store(tmp_path / "c", create=True)) as store:
        with store.writing("x"), pytest.raises(CollectionError, match="a value cannot be stored"):
            store.database.run("INSERT INTO ledger (time_ns, action) VALUES (?, ?)", (2**63, "x"))
        with pytest.raises(CollectionError, match="expected a number that can be compared"):
            matching_passages(Compare("number", ">", 10**400), store.database)


@pytest.mark.parametrize("stored", [None, 7, b"a.jpg"])
def test_a_stored_name_that_is_no_text_is_damage(stored):
    with pytest.raises(CollectionDamagedError, match="no text"):
        text_to_path(stored)

import os
import threading
from datetime import UTC, date, datetime

import numpy as np
import pytest

import made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog.drafts import PassageDraft, Place
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.filters import Compare, matching_passages
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import EmbeddingSpaceDraft
from seesay.search.checking.verify import check_truth
from seesay.text import Text


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "c", create=True) as store:
        yield store


@pytest.fixture
def space(store):
    return made.add_space(store)


def document(**changes):
    units = (
        PassageDraft(
            modality="image", media_type="page", place=Place(page=2, box=(0.0, 0.5, 1.0, 0.75))
        ),
        PassageDraft(modality="text", place=Place(page=2, offsets=(0, 9)), text="南京市长江大桥"),
        PassageDraft(modality="image", media_type="moment", place=Place(start_s=1.5, end_s=2.5)),
    )
    draft = {
        "path": "/docs/报告.pdf",
        "media_type": "document",
        "content_hash": "ab",
        "size": 7,
        "mtime_ns": 5,
    }
    return FileDraft(**{**draft, "passages": units, **changes})


def counts(store):
    tables = ("items", "units", "vectors", "metadata", "keywords")
    return {table: store.database.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def test_units_of_any_kind_and_modality_are_kept_and_have_vectors(store, space):
    sheet = Place(sheet="Sales", cells="A1:D20")
    units = (
        PassageDraft(media_type="table", modality="text", place=sheet, text="a, b"),
        PassageDraft(media_type="audio", modality="audio", place=Place(start_s=0.0), text="spoken"),
    )
    with store.writing("index"):
        (stored,) = store.files.put([document(passages=units)])
        table, sound = stored.passages
        assert store.vectors.missing(space.id, 9) == [table, sound]
        store.vectors.put(space.id, stored.passages, made.unit_vectors(2))
        assert store.vectors.without_caption(space.id, 9) == [sound]
    found = [(unit.media_type, unit.modality) for unit in store.passages.get(stored.passages)]
    assert found == [("table", "text"), ("audio", "audio")]
    assert store.passages.get([table])[0].place == sheet
    assert list(store.vectors.modalities(space.id)) == ["image", "text", "audio"]
    assert [store.vectors.count(space.id, one) for one in ("audio", "text", "image")] == [1, 1, 0]
    ((numbers, _),) = store.vectors.written_since(space.id, "audio", 0)
    assert numbers.tolist() == [sound]
    assert matching_passages(Compare("unit.modality", "=", "audio"), store.database).tolist() == [
        sound
    ]
    with store.writing("captions"):
        store.vectors.put(space.id, [sound], made.unit_vectors(1), modality="text")
    assert check_truth(store, deep=True) == []


def test_an_item_and_its_units_come_back_as_they_went_in(store):
    with store.writing("index"):
        (stored,) = store.files.put([document()])
    item = store.files.by_path(["/docs/报告.pdf"])["/docs/报告.pdf"]
    assert (item.id, item.media_type, item.content_hash, item.size) == (
        stored.file,
        "document",
        "ab",
        7,
    )
    units = store.passages.get(stored.passages)
    assert [(u.media_type, u.place, u.text) for u in units] == [
        (u.media_type or u.modality, u.place, u.text) for u in document().passages
    ]
    assert [unit.modality for unit in units] == ["image", "text", "image"]
    assert store.passages.of_files([stored.file]) == units


def test_names_that_are_not_utf8_survive_and_stay_apart(store):
    names = [b"caf\xe9.jpg", "caf\u00e9.jpg".encode(), b"\xff\xfe", "\U0010fee9".encode()]
    names += [b"caf\xf4\x8f\xbb\xa9.jpg", b"\xe9\xf4\x8f\xbb\xa9\xe9", "图片.jpg".encode()]
    paths = [os.fsdecode(b"/photos/" + name) for name in dict.fromkeys(names)]
    with store.writing("index"):
        store.files.put([document(path=path) for path in paths])
    assert sorted(store.files.by_path(paths)) == sorted(paths)
    assert {item.path for item in store.files.under("/photos")} == set(paths)


def test_a_block_that_fails_leaves_no_trace(store, space):
    made.add_photos(store, space, made.unit_vectors(3))
    before, head = counts(store), store.ledger.head()
    with pytest.raises(RuntimeError), store.writing("index"):
        stored = store.files.put([document(), made.photo(0, text="new")])
        store.vectors.put(space.id, stored[0].passages, made.unit_vectors(3))
        assert store.files.by_path(["/docs/报告.pdf"])  # the block sees its own writes
        raise RuntimeError
    assert counts(store) == before
    assert store.ledger.head() == head


def test_others_see_a_change_when_it_is_whole_and_not_before(store, space):
    seen = []

    def look():
        seen.append(counts(store))

    with store.writing("index"):
        stored = store.files.put([document()])
        store.vectors.put(space.id, stored[0].passages, made.unit_vectors(3))
        reader = threading.Thread(target=look)
        reader.start()
        reader.join()
    look()
    assert seen[0] == {"items": 0, "units": 0, "vectors": 0, "metadata": 0, "keywords": 0}
    assert seen[1] == {"items": 1, "units": 3, "vectors": 3, "metadata": 0, "keywords": 1}


def test_a_snapshot_shows_one_state_while_others_write(store, space):
    made.add_photos(store, space, made.unit_vectors(3))
    with store.database.snapshot():
        before = counts(store)
        writer = threading.Thread(
            target=made.add_photos, args=(store, space, made.unit_vectors(2), 10)
        )
        writer.start()
        writer.join()
        assert counts(store) == before
    assert counts(store)["items"] == before["items"] + 2


def test_an_item_stored_again_keeps_its_number_and_its_old_units_go(store, space):
    with store.writing("index"):
        (old,) = store.files.put([document()])
        store.vectors.put(space.id, old.passages, made.unit_vectors(3))
    with store.writing("index"):
        (new,) = store.files.put([document(content_hash="cd", passages=document().passages[1:2])])
    assert new.file == old.file
    assert not set(new.passages) & set(old.passages)
    assert counts(store) == {"items": 1, "units": 1, "vectors": 0, "metadata": 0, "keywords": 1}
    assert sorted(store.vectors.removed_since(space.id, "image", 0)) == [
        old.passages[0],
        old.passages[2],
    ]
    assert list(store.vectors.removed_since(space.id, "text", 0)) == [old.passages[1]]


def test_removing_an_item_takes_everything_of_it_along(store, space):
    with store.writing("index"):
        (stored,) = store.files.put([document()])
        store.vectors.put(space.id, stored.passages, made.unit_vectors(3))
        store.passages.describe(stored.passages[0], metadata={"a": 1})
    with store.writing("remove"):
        assert store.files.remove([stored.file]) == 1
    assert set(counts(store).values()) == {0}
    assert check_truth(store, deep=True) == []


def test_numbers_are_never_used_twice(store, space):
    with store.writing("index"):
        (first,) = store.files.put([document()])
    with store.writing("remove"):
        store.files.remove([first.file])
    with store.writing("index"):
        (second,) = store.files.put([document()])
    assert second.file > first.file
    assert min(second.passages) > max(first.passages)


def test_files_may_exchange_their_names(store):
    with store.writing("index"):
        a, b = store.files.put([made.photo(1), made.photo(2)])
    with store.writing("move"):
        store.files.move({a.file: "/photos/2/2.jpg", b.file: "/else/1.jpg"})
    assert store.files.by_path(["/photos/2/2.jpg"])["/photos/2/2.jpg"].id == a.file
    assert [item.id for item in store.files.under("/else")] == [b.file]
    assert store.passages.of_files([a.file])[0].id == a.passages[0]


def test_a_folder_holds_what_is_in_it_and_not_what_begins_alike(store):
    paths = ["/a/b/1", "/a/b/c/2", "/a/b.jpg", "/a/bc/3", "/a/b0"]
    with store.writing("index"):
        store.files.put([document(path=path) for path in paths])
    assert [item.path for item in store.files.under("/a/b")] == paths[:2]
    assert [item.path for item in store.files.under("/a/b/")] == paths[:2]
    assert len(list(store.files.under("/"))) == 5
    assert len(list(store.files.all())) == 5


def test_metadata_comes_back_by_type_with_several_values_and_dates(store):
    taken = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    metadata = {"tags": ["b", "a"], "iso": 100, "taken": taken, "day": date(2024, 5, 1), "n": "1"}
    with store.writing("index"):
        (stored,) = store.files.put([made.photo(1, metadata=metadata)])
    assert store.metadata.get(stored.passages)[stored.passages[0]] == {
        "tags": ("a", "b"),
        "iso": 100.0,
        "taken": taken,
        "day": datetime(2024, 5, 1, tzinfo=UTC),
        "n": "1",
    }


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"file.size": 1}, {"": "x"}])
def test_metadata_that_cannot_be_filtered_by_is_refused(store, metadata):
    with pytest.raises(CollectionError, match=r"expected"), store.writing("index"):
        store.files.put([made.photo(1, metadata=metadata)])


def test_describing_a_unit_replaces_what_was_known(store):
    with store.writing("index"):
        (stored,) = store.files.put([made.photo(1, text="a cat", metadata={"a": 1})])
    (unit,) = stored.passages
    with store.writing("describe"):
        store.passages.describe(unit, text="两只鹦鹉", metadata={"b": 2})
    assert store.passages.get([unit])[0].text == "两只鹦鹉"
    assert store.metadata.get([unit])[unit] == {"b": 2.0}
    assert list(store.keywords.search("cat", 5)[0]) == []
    assert list(store.keywords.search("鹦鹉", 5)[0]) == [unit]


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (made.unit_vectors(2, dim=8), "2 x 8"),
        (made.unit_vectors(1), "1 x 16"),
        (2 * made.unit_vectors(2), "length 1"),
        (np.full((2, made.DIM), np.nan, np.float32), "NaN"),
    ],
    ids=["dimension", "number", "length", "nan"],
)
def test_vectors_that_do_not_fit_are_refused_with_both_values(store, space, vectors, words):
    units = made.add_photos(store, space, made.unit_vectors(2))
    with pytest.raises(CollectionError, match=words), store.writing("index"):
        store.vectors.put(space.id, units, vectors)


def test_vectors_of_units_that_are_gone_are_refused(store, space):
    with pytest.raises(CollectionError, match="not in the collection"), store.writing("index"):
        store.vectors.put(space.id, [77], made.unit_vectors(1))


def test_vectors_come_back_in_half_precision_and_a_new_one_replaces_the_old(store, space):
    vectors = made.unit_vectors(4)
    units = made.add_photos(store, space, vectors)
    seq = store.ledger.head()
    with store.writing("again"):
        store.vectors.put(space.id, units[1:2], vectors[3:4])
    numbers, found = store.vectors.get(space.id, units)
    assert list(numbers) == units
    expected = vectors[[0, 3, 2, 3]].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    assert list(store.vectors.removed_since(space.id, "image", seq)) == units[1:2]
    ((changed, _),) = store.vectors.written_since(space.id, "image", seq)
    assert list(changed) == units[1:2]


def test_removals_are_forgotten_for_old_indexes_only(store, space):
    units = made.add_photos(store, space, made.unit_vectors(4))
    with store.writing("remove"):
        store.files.remove([1])
    seq = store.ledger.head()
    with store.writing("forget"):
        store.vectors.forget_removals(space.id, "image", seq)
    with store.writing("remove"):
        store.files.remove([2])
    assert store.vectors.removed_since(space.id, "image", seq - 1) is None
    assert list(store.vectors.removed_since(space.id, "image", seq)) == [units[1]]


def test_a_second_model_fills_its_own_space_and_then_takes_over(store, space):
    units = made.add_photos(store, space, made.unit_vectors(3))
    other = made.add_space(store, dim=8, model="large")
    assert made.add_space(store, dim=8, model="large") == other
    assert store.vectors.missing(other.id, 2) == units[:2]
    assert store.vectors.missing(other.id, 9, after=units[1]) == units[2:]
    with store.writing("switch"):
        store.vectors.put(other.id, units, made.unit_vectors(3, dim=8))
        store.spaces.activate(other.id)
        store.spaces.drop(space.id)
    assert store.spaces.active().model == "large"
    assert store.vectors.count(other.id, "image") == 3
    assert store.database.rows("SELECT count(*) FROM removed_vectors") == [(0,)]
    with pytest.raises(CollectionError, match="the one that searches use"), store.writing("drop"):
        store.spaces.drop(other.id)
    with pytest.raises(CollectionError, match="there is no space"):
        store.spaces.get(space.id)


def test_spaces_differ_when_anything_of_the_model_differs(store):
    first = {"model": "m", "revision": "1", "preprocessing": "p", "dim": 4}
    with store.writing("space"):
        keys = {store.spaces.add(EmbeddingSpaceDraft(**first)).key}
        for change in ({"model": "n"}, {"revision": "2"}, {"preprocessing": "q"}, {"dim": 5}):
            keys.add(store.spaces.add(EmbeddingSpaceDraft(**{**first, **change})).key)
    assert len(keys) == 5


def test_a_bad_file_is_listed_with_its_tries_until_it_is_stored(store):
    facts = {"size": 3, "mtime_ns": 1}
    for error in (Text("truncated", "不完整"), Text("still /a\udce9.jpg", "仍不完整")):
        with store.writing("quarantine"):
            store.quarantine.add("/bad.jpg", stage="decode", error=error, **facts)
    (bad,) = store.quarantine.all()
    assert (bad.tries, bad.error, bad.stage) == (2, error, "decode")
    with store.writing("index"):
        store.files.put([document(path="/bad.jpg")])
    assert store.quarantine.all() == []


def test_the_ledger_has_one_number_for_every_change_and_none_for_nothing(store, space):
    head = store.ledger.head()
    with store.writing("index") as change:
        store.files.put([document()])
    with store.writing("nothing"):
        pass
    (entry,) = store.ledger.since(head)
    assert (entry.seq, entry.action) == (change.seq, "index")
    assert store.ledger.head() == change.seq == head + 1


def test_a_run_that_was_killed_is_known_as_interrupted_when_the_next_begins(store):
    with store.writing("begin"):
        first = store.runs.start("index", {"folder": "图片"})
        store.runs.note(first, {"done": 3})
    with store.writing("begin"):
        second = store.runs.start("index", {})
        store.runs.note(second, {}, "done")
    newest, oldest = store.runs.newest()
    assert (oldest.state, oldest.counts, oldest.arguments) == (
        "interrupted",
        {"done": 3},
        {"folder": "图片"},
    )
    assert (newest.state, newest.ended_ns is not None) == ("done", True)


def test_a_batch_with_a_path_twice_is_refused(store):
    with pytest.raises(CollectionError, match="more than once"), store.writing("index"):
        store.files.put([document(), document()])


def test_writing_outside_of_a_transaction_or_in_two_at_once_is_refused(store):
    with pytest.raises(CollectionError, match="outside of a transaction"):
        store.files.put([document()])
    with (
        pytest.raises(CollectionError, match="inside of another"),
        store.writing("one"),
        store.writing("two"),
    ):
        pass


def test_settings_and_the_key_are_kept(store, tmp_path):
    with store.writing("settings"):
        store.settings.set("folders", ["/photos", "图片"])
    key = store.key
    store.close()
    with Store(tmp_path / "c") as again:
        assert again.settings.get("folders") == ["/photos", "图片"]
        assert again.key == key


def test_a_loop_over_all_items_may_change_them(store):
    with store.writing("index"):
        store.files.put([made.photo(number) for number in range(30)])
    for item in store.files.all():
        with store.writing("remove"):
            store.files.remove([item.id])
    assert counts(store)["items"] == 0


def test_a_folder_without_a_collection_is_named_with_what_to_do(tmp_path):
    with pytest.raises(CollectionError, match=r"no collection in .*index some files"):
        Store(tmp_path / "none")
    assert not (tmp_path / "none").exists()

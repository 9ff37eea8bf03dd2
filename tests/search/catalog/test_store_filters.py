from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_collections as made
from seesay.errors import CollectionError
from seesay.search.catalog import filter_masks
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import All, AnyOf, Compare, Not, matching_passages
from seesay.search.catalog.store import Store

COLOURS = ("red", "Red", "紅", "red wine", "")
FOLDERS = ("/photos/0", "/photos/1", "/photos", "/photo", "/")


def metadata_of(number):
    """Some values of every type; some units have none, some several."""
    made_of = {"even": number % 2, "colour": COLOURS[number % 5]}
    if number % 3:
        made_of["taken"] = datetime(2020, 1, 1 + number % 20, tzinfo=UTC)
        made_of["tags"] = [f"t{number % 4}", f"t{number % 7}"]
    if number % 11 == 0:
        made_of["even"] = "mixed"  # the same key with another type
    return made_of


def matches(number, where):
    """The oracle: what one condition says of photograph `number`."""
    folder = f"/photos/{number % 3}"
    facts = {"file.folder": folder, "file.size": 1000 + number, "unit.kind": "image"}
    values = {**metadata_of(number), **facts}.get(where.field, ())
    values = values if isinstance(values, list | tuple) else [values]
    return any(compares(value, where) for value in values)


def compares(value, where):
    wanted = where.value
    if where.operator == "exists":
        return True
    if where.operator == "in":
        return value in wanted
    if isinstance(value, str) is not isinstance(wanted, str):
        return False
    return {
        "=": lambda: value == wanted,
        "<": lambda: value < wanted,
        "<=": lambda: value <= wanted,
        ">": lambda: value > wanted,
        ">=": lambda: value >= wanted,
        "starts": lambda: value.startswith(wanted),
        "contains": lambda: wanted.lower() in value.lower(),
        "under": lambda: f"{value}/".startswith(wanted.rstrip("/") + "/"),
    }[where.operator]()


# Plain tuples: the type checks of the classes draw random numbers, which strategies must not.
COMPARE = st.sampled_from(["=", "<", "<=", ">", ">="])
DAYS = st.integers(1, 28).map(lambda day: datetime(2020, 1, day, tzinfo=UTC))
TEXT = st.tuples(
    st.just("colour"),
    COMPARE | st.sampled_from(["starts", "contains"]),
    st.sampled_from([*COLOURS, "re"]),
)
WHERE = st.one_of(
    st.tuples(st.just("even"), COMPARE, st.integers(-1, 2)),
    st.tuples(st.just("even"), COMPARE, st.sampled_from(["mixed", "zzz"])),
    st.tuples(st.just("file.size"), COMPARE, st.integers(995, 1060)),
    st.tuples(st.just("taken"), COMPARE, DAYS),
    st.tuples(st.just("tags"), st.just("in"), st.tuples(st.sampled_from(["t0", "t5"]))),
    st.tuples(st.just("file.folder"), st.just("under"), st.sampled_from(FOLDERS)),
    st.tuples(st.sampled_from(["taken", "tags", "no such key"])),
    TEXT,
)
FILTER = st.recursive(
    WHERE.map(lambda arguments: (Compare, *arguments)),
    lambda inner: st.one_of(
        inner.map(lambda part: (Not, part)),
        st.lists(inner, max_size=3).map(lambda parts: (All, tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: (AnyOf, tuple(parts))),
    ),
    max_leaves=5,
)


def build(drawn):
    kind, *rest = drawn
    if kind is Not:
        return Not(build(rest[0]))
    if kind in (All, AnyOf):
        return kind(tuple(build(part) for part in rest[0]))
    return Compare(*rest)


def oracle(number, condition):
    match condition:
        case Compare():
            return matches(number, condition)
        case Not(part):
            return not oracle(number, part)
        case All(parts):
            return all(oracle(number, part) for part in parts)
        case AnyOf(parts):
            return any(oracle(number, part) for part in parts)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("filters") / "c", create=True) as store:
        with store.writing("index"):
            store.files.put([made.photo(n, metadata=metadata_of(n)) for n in range(60)])
        yield store


def columns_of(store):
    answers = FilterMasks(store.database)
    with store.database.snapshot():
        answers.follow(store.ledger.position())
    return answers


@pytest.fixture(scope="module", params=[0, 10_000], ids=["arrays", "sqlite"])
def answers(request, store):
    """Both ways of answering: 0 lets no filter be narrow enough for SQLite."""
    narrow, filter_masks.NARROW = filter_masks.NARROW, request.param
    yield columns_of(store)
    filter_masks.NARROW = narrow


@given(drawn=FILTER)
@settings(max_examples=150)
def test_sqlite_and_the_arrays_answer_every_filter_as_python_would(store, answers, drawn):
    condition = build(drawn)
    expected = {number + 1 for number in range(60) if oracle(number, condition)}
    units = matching_passages(condition, store.database)
    assert len(units) == len(set(units))
    assert set(units) == expected
    mask = answers.mask(condition)
    assert set(np.flatnonzero(mask)) - {0} == expected


def test_what_changes_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(filter_masks, "NARROW", 0)
    with Store(tmp_path / "c", create=True) as store:
        made.add_photos(store, made.add_space(store), made.unit_vectors(6))
        with store.writing("index"):
            store.files.put([made.photo(7, metadata={"tags": ["a2", "b"]})])
        answers = columns_of(store)
        small, tagged = Compare("number", "<", 3), Compare("tags", "in", ("a", "b"))
        below = Compare("file.folder", "under", "/photos/1")
        conditions = (small, tagged, below, Compare("tags"), Not(small))

        def follow():
            with store.database.snapshot():
                answers.follow(store.ledger.position())
            for condition in conditions:
                units = set(matching_passages(condition, store.database))
                assert set(np.flatnonzero(answers.mask(condition))) - {0} == units, condition

        follow()
        with store.writing("change"):
            store.passages.describe(1, metadata={"number": 9, "tags": ["a", "b"]})
            store.passages.describe(5, metadata={"number": 0})
            store.files.put([made.photo(8, metadata={"tags": "b", "number": 2})])
            store.files.move({3: "/photos/1/moved.jpg"})
        follow()
        assert set(matching_passages(tagged, store.database)) == {1, 7, 8}
        with store.writing("change"):
            store.passages.describe(1, metadata={"tags": "z"})
        follow()
        assert set(matching_passages(tagged, store.database)) == {7, 8}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "="), "one value"),
        (("a", "in", "x"), "a tuple"),
        (("a", "=", ("x",)), "one value"),
        (("a", "in", ("x", 1)), "one type"),
        (("a", "under", 3), "a folder"),
        (("a", "exists", 3), "no value"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_when_it_is_written(arguments, words):
    with pytest.raises(CollectionError, match=words):
        Compare(*arguments)


def test_facts_are_named_and_typed(store):
    for wrong in (Compare("file.colour", "=", "x"), Compare("file.size", "=", "x")):
        with pytest.raises(CollectionError, match=r"file\.size \(number\)"):
            matching_passages(wrong, store.database)


def test_a_narrow_filter_over_many_units_reads_the_index_alone(store):
    sql = "SELECT unit FROM metadata WHERE key = 1 AND value >= 5 AND value < 7"
    plan = " ".join(str(row) for row in store.database.rows(f"EXPLAIN QUERY PLAN {sql}"))
    assert "USING PRIMARY KEY (key=? AND value>? AND value<?)" in plan


def test_the_first_filter_does_not_list_every_passage(store, monkeypatch):
    asked, rows = [], store.database.rows
    monkeypatch.setattr(store.database, "rows", lambda *one: asked.append(one[0]) or rows(*one))
    FilterMasks(store.database).mask(Compare("file.size", "<", 0))
    assert asked and not any("FROM units WHERE seq" in sql for sql in asked)

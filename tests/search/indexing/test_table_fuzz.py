"""A thousand hostile tables go into collections and into training, and nothing fails by them."""

import json
from dataclasses import replace

import pytest

from hostile_tables import hostile_table
from made_files import write_photo
from seesay.data.sources import RecordsConfig, open_records
from seesay.errors import SeesayError
from seesay.search.asking.query import Query
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import Compare, matching_passages
from seesay.search.catalog.metadata import MOST_KEY, MOST_TEXT
from seesay.search.catalog.store import Store
from seesay.search.checking.verify import check_metadata, check_truth
from seesay.search.collection import Collection
from seesay.search.filtering import make_filter
from seesay.search.indexing.options import IndexOptions
from seesay.search.plain import to_json

TABLES, COLLECTIONS, PICTURES = 1000, 4, 60
COLUMNS = ({}, {"image": "path", "label": "rating"}, {"image": "file", "caption": "text"})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    return [str(write_photo(folder / f"{number}.png", number)) for number in range(PICTURES)]


@pytest.mark.parametrize("part", range(COLLECTIONS))
def test_hostile_tables_cost_themselves_and_nothing_else(part, pictures, embedder, tmp_path):
    tables = [hostile_table(n, pictures) for n in range(part, TABLES, COLLECTIONS)]
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, content in tables:
        (folder / name).write_bytes(content)
    with Collection(Store(tmp_path / "c", create=True), embedder) as collection:
        report = collection.index([folder], IndexOptions(workers=2))
        assert report.added > PICTURES / 2
        bad = collection.errors()
        assert not [one for one in bad if one.error.en.startswith("reading it failed")]
        assert all(one.stage and one.error.zh != one.error.en for one in bad)
        _check_everything(collection, tmp_path)
        head = collection.store.ledger.head()
        collection.index([folder], IndexOptions(workers=2))
        since = {entry.action for entry in collection.store.ledger.since(head)}
        assert since <= {"begin", "end", "index"}  # what failed is tried again


def _check_everything(collection, folder):
    store = collection.store
    assert check_metadata(store, deep=True) == check_truth(store, deep=True) == []
    json.loads(to_json([collection.stats(), collection.facets(), collection.errors()]))
    collection.tag(["dog", "狗\ud83d", "=1"])
    for ending in ("csv", "jsonl", "npz", "parquet"):
        assert collection.export(folder / f"e.{ending}") > 0
    for words in ("a dog", "一只狗 -猫", "last summer"):
        results = collection.search(replace(Query.of(words), count=100))
        json.loads(to_json(results))
        for hit in results.hits[:20]:
            json.loads(to_json(collection.describe(hit.unit)))
    _check_filters(store)


def _check_filters(store):
    columns, types = FilterMasks(store.database), store.metadata.types()
    for key in list(types)[:: max(len(types) // 60, 1)]:
        assert len(key) <= MOST_KEY and key.encode().decode().isprintable()
        for where in (Compare(key), Compare(key, ">", 0.0), Compare(key, "contains", "a")):
            units = sorted(matching_passages(where, store.database).tolist())
            assert columns.mask(where).nonzero()[0].tolist() == units
    for asked in ({"since": "0001"}, {"until": "9999-12-30"}, {"where": ["date=2021-05-04"]}):
        matching_passages(make_filter(**asked), store.database)
    units = [unit for (unit,) in store.database.rows("SELECT id FROM units")]
    for values in store.metadata.get(units).values():
        assert all(len(str(value)) <= MOST_TEXT * 9 for value in values.values())


def test_hostile_tables_are_read_by_training_or_refused(pictures, tmp_path):
    records = refused = 0
    for number in range(TABLES):
        name, content = hostile_table(number, pictures)
        (tmp_path / name).write_bytes(content)
        columns = COLUMNS[number % len(COLUMNS)]
        config = RecordsConfig(path=str(tmp_path / name), format="table", columns=columns)
        try:
            source = open_records(config)
        except SeesayError as error:
            assert "expected" in str(error).lower()
            refused += 1
            continue
        for index in range(len(source)):
            record = source[index]
            json.dumps([record.key, record.captions], ensure_ascii=False).encode()
            records += 1
        json.dumps([vars(d) for d in source.damaged], ensure_ascii=False).encode()
    assert records > TABLES / 10 and refused > TABLES / 10

"""What is exported is what is stored, in every format, whatever the names are."""

import csv
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from made_collections import DIM, add_photos, add_space, unit_vectors
from seesay.errors import ConfigError, DataError
from seesay.search.catalog.drafts import PassageDraft, Place
from seesay.search.catalog.export import export
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.metadata import sound
from seesay.search.catalog.store import Store
from seesay.search.filtering import make_filter
from seesay.search.reading.tables import read_table

DAY = datetime(2024, 5, 31, tzinfo=UTC)
NOTE = PassageDraft(modality="text", text="a note")
VECTORS = unit_vectors(4)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("export") / "c", create=True) as store:
        space = add_space(store)
        add_photos(store, space, VECTORS[:3])
        note = FileDraft(
            path="/笔记/\udcff.md",
            media_type="text",
            content_hash="f" * 32,
            size=10,
            mtime_ns=0,
            passages=(
                PassageDraft(
                    modality="text",
                    text="第一行\nline, two",
                    place=Place(offsets=(0, 12)),
                    metadata={"date": datetime(2024, 5, 31, tzinfo=UTC), "tag": ["a", "猫"]},
                ),
            ),
        )
        with store.writing("index"):
            (stored,) = store.files.put([note])
            store.vectors.put(space.id, stored.passages, VECTORS[3:])
        yield store


def write(store: Store, file, **asked):
    space = store.spaces.all()[0]
    assert export(store, space, file, make_filter(**asked)) == (1 if asked else 4)
    return file


def test_npz_holds_the_vectors_as_stored_and_everything_about_them(store, tmp_path):
    with np.load(write(store, tmp_path / "c.npz"), allow_pickle=False) as data:
        np.testing.assert_array_equal(data["vectors"], VECTORS.astype(np.float16))
        assert data["units"].tolist() == [1, 2, 3, 4]
        assert data["kinds"].tolist() == ["image"] * 3 + ["text"]
        assert data["sources"].tolist()[3] == "/笔记/\\xff.md"
        assert json.loads(data["metadata"][3]) == {
            "date": "2024-05-31T00:00:00+00:00",
            "tag": ["a", "猫"],
        }
        assert json.loads(data["locators"][3]) == {"offsets": [0, 12]}
        assert str(data["model"]) == "small"


def test_jsonl_has_a_line_for_each_unit(store, tmp_path):
    lines = write(store, tmp_path / "c.jsonl").read_text("utf-8").splitlines()
    last = json.loads(lines[3])
    assert (last["text"], last["unit"], last["model"]) == ("第一行\nline, two", 4, "small")
    np.testing.assert_allclose(last["vector"], VECTORS[3], atol=1e-3)
    assert json.loads(lines[0])["metadata"] == {"number": 0.0}


def test_parquet_has_the_same_rows(store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(write(store, tmp_path / "c.parquet"))
    assert table.schema.metadata[b"model"] == b"small"
    np.testing.assert_allclose(np.array(table["vector"].to_pylist()), VECTORS, atol=1e-3)
    assert table["text"].to_pylist()[3] == "第一行\nline, two"


def test_csv_is_for_spreadsheets(store, tmp_path):
    raw = write(store, tmp_path / "c.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(raw.decode("utf-8-sig").splitlines(keepends=True)))
    assert rows[3]["text"] == "第一行\nline, two"
    assert (rows[3]["tag"], rows[0]["tag"], rows[0]["number"]) == ("a; 猫", "", "0.0")


def test_a_filter_exports_a_part(store, tmp_path):
    file = write(store, tmp_path / "c.jsonl", media="text")
    assert [json.loads(line)["unit"] for line in file.read_text("utf-8").splitlines()] == [4]


def test_an_empty_part_is_an_empty_file_of_the_right_shape(store, tmp_path):
    space = store.spaces.all()[0]
    for ending in ("npz", "csv", "jsonl", "parquet"):
        nothing = make_filter(where=["number>99"])
        assert export(store, space, tmp_path / f"c.{ending}", nothing) == 0
    with np.load(tmp_path / "c.npz", allow_pickle=False) as data:
        assert data["vectors"].shape == (0, DIM)


def test_another_ending_and_a_missing_folder_are_told(store, tmp_path):
    space = store.spaces.all()[0]
    with pytest.raises(ConfigError, match=r"c\.xlsx ends in '\.xlsx'; expected one of \.npz"):
        export(store, space, tmp_path / "c.xlsx")
    with pytest.raises(DataError, match="cannot be written"):
        export(store, space, tmp_path / "missing" / "c.npz")


def test_no_cell_is_a_formula_and_a_table_of_it_restores_every_text(tmp_path, store):
    """Into another collection, of the same pictures."""
    texts = [
        "=1+1",
        "+86 138",
        "-5",
        "@home",
        "'=x",
        "a=b",
        "\uff1dx",
        'say "hi", twice\nand again',
    ]
    pictures = [f"{n}.jpg" for n in range(len(texts))]
    with Store(tmp_path / "c", create=True) as other:
        space = add_space(other)
        drafts = [
            FileDraft(
                path=str(tmp_path / name),
                media_type="image",
                content_hash=name,
                size=1,
                mtime_ns=1,
                passages=(
                    PassageDraft(
                        modality="image",
                        text=text,
                        metadata={"said": text, "=key": 1.5, "low": -2.5, "date": DAY},
                    ),
                ),
            )
            for name, text in zip(pictures, texts, strict=True)
        ]
        with other.writing("index"):
            units = [stored.passages[0] for stored in other.files.put(drafts)]
            other.vectors.put(space.id, units, unit_vectors(len(units)))
            (stored,) = other.files.put(
                [replace(drafts[0], path="/n.md", media_type="text", passages=(NOTE,))]
            )
            other.vectors.put(space.id, stored.passages, VECTORS[:1])
        raw = tmp_path / "c.csv"
        assert export(other, space, raw) == len(texts) + 1
        known = other.metadata.get(units)
    for row in list(csv.reader(raw.read_text("utf-8-sig").splitlines(keepends=True)))[1:]:
        assert not any(re.match("[=+@\t\r]|-(?![0-9.]+$)", cell) for cell in row)
        assert row[5:8] in (["1.5", DAY.isoformat(), "-2.5"], ["", "", ""])
    table = read_table(raw.read_bytes(), "c.csv")
    assert table.complaint is None
    assert [row.path for row in table.rows] == [str(tmp_path / name) for name in pictures]
    assert [row.caption for row in table.rows] == texts
    assert [sound(row.metadata) for row in table.rows] == list(known.values())

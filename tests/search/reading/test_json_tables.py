"""JSON Lines say of pictures what a CSV says, with the same names and the same refusals."""

import json
from datetime import datetime

import pytest

from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.reading import tables
from seesay.search.reading.files import RefusedError


def read_table(text, *, tabs):
    return tables.read_table(text.encode(), "t.tsv" if tabs else "t.csv")


def read_json_lines(text):
    return tables.read_table(text.encode(), "t.jsonl")


def lines(*objects):
    return "\n".join(json.dumps(one, ensure_ascii=False) for one in objects)


def test_a_line_says_what_a_row_of_a_csv_says():
    csv = "file,caption,year,taken,place\na.jpg,一只狗,2019,2019-07-06,杭州\nb.jpg,A cat,,,\n"
    same = lines(
        {
            "file": "a.jpg",
            "caption": "一只狗",
            "year": 2019,
            "taken": "2019-07-06",
            "place": "杭州",
        },
        {"caption": "A cat", "file": " b.jpg "},
    )
    assert read_json_lines(same) == read_table(csv, tabs=False)
    first = read_json_lines(same).rows[0]
    assert first.metadata == {"year": 2019.0, "taken": datetime(2019, 7, 6), "place": "杭州"}


def test_captions_may_be_a_list_and_metadata_an_object_and_the_rest_is_left_out():
    text = lines(
        {
            "image": "a.jpg",
            "captions": ["A dog", " 一只狗 ", ""],
            "metadata": {"camera": "X100", "image": "no.jpg", "metadata": {"deep": 1}},
            "sharp": True,
            "rating": None,
            "vector": [0.1, 0.2],
            "box": {"left": 1},
        },
        {"image": "a.jpg", "captions": "Another", "metadata": {"camera": "X200"}},
    )
    table = read_json_lines(text)
    (row,) = table.rows
    assert (row.path, row.caption, table.complaint) == ("a.jpg", "A dog\n一只狗\nAnother", None)
    assert row.metadata == {"camera": "X100", "sharp": "true"}


def test_what_is_no_object_or_names_no_picture_is_named_and_the_rest_is_used():
    text = (
        '{"path": "a.jpg", "caption": "A\\u2028dog"}\r\n\n[1]\n{"path": ""}\n{"caption": "x"}\n{"pa'
    )
    table = read_json_lines(text + "\n" + "[" * 100_000)
    assert [row.path for row in table.rows] == ["a.jpg"]
    assert table.complaint.en.startswith(
        "line 3, 4, 5, 6, 7 cannot be used. Expected a JSON object with"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it holds no JSON object"),
        ('[{"path": "a.jpg"}]', "it holds no JSON object"),
        ('{"role": "user", "content": "hello"}', "its names are 'role, content'. Expected one"),
    ],
)
def test_what_is_no_table_is_refused(text, told):
    with pytest.raises(RefusedError, match=told):
        read_json_lines(text)


def test_a_collection_takes_it_in_as_a_table(store, embedder, photos):
    (photos / "captions.jsonl").write_text(lines({"path": "a/0.jpg", "caption": "一只狗在草地上"}))
    (photos / "log.JSONL").write_text(lines({"level": "info"}))
    report = index(store, embedder, [photos], IndexOptions(workers=1))
    assert (report.added, report.failed, report.left_out) == (6, 1, {})
    units = store.keywords.search("草地", 9)[0]
    assert [unit.text for unit in store.passages.get(units)] == ["一只狗在草地上"]
    (bad,) = store.quarantine.all()
    assert bad.stage == "table" and bad.path.endswith("log.JSONL")

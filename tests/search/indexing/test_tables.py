from datetime import UTC, datetime

import pytest
from PIL import Image

from made_files import write_photo
from seesay.data.tables import MOST_COLUMNS
from seesay.search.catalog import metadata
from seesay.search.catalog.filter_masks import FilterMasks
from seesay.search.catalog.filters import matching_passages
from seesay.search.filtering import make_filter
from seesay.search.indexing import tables
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions

ONE = IndexOptions(workers=1)


def described(store):
    """Text and metadata of every picture, by the name of its file."""
    found = {}
    for item in store.files.all():
        for unit in store.passages.of_files([item.id]):
            metadata = store.metadata.get([unit.id])[unit.id]
            extra = {k: v for k, v in metadata.items() if k not in ("width", "height")}
            found[item.path.rpartition("/")[2]] = (unit.text, extra)
    return found


def table(photos, text, name="captions.csv"):
    (photos / name).write_text(text, encoding="utf-8")


def test_captions_and_columns_stay_with_their_pictures(store, embedder, photos):
    table(
        photos,
        "file,caption,year,taken,place\n"
        "a/0.jpg,一只狗在草地上,2019,2019-07-06,杭州\n"
        'b/1.jpg,"A cat, asleep",,2020-01-02,\n'
        "a/0.jpg,A dog,,,\n",
    )
    report = index(store, embedder, [photos], ONE)
    assert (report.added, report.failed) == (6, 0)
    found = described(store)
    assert found["0.jpg"] == (
        "一只狗在草地上\nA dog",
        {"year": 2019.0, "taken": datetime(2019, 7, 6, tzinfo=UTC), "place": "杭州"},
    )
    assert found["1.jpg"] == ("A cat, asleep", {"taken": datetime(2020, 1, 2, tzinfo=UTC)})
    assert found["2.jpg"] == (None, {})
    units = store.keywords.search("草地", 9)[0]
    assert store.passages.get(units)[0].text.startswith("一只狗")


def test_nothing_is_written_again_while_nothing_changes(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    before = store.ledger.head()
    again = index(store, embedder, [photos], ONE)
    assert again.unchanged == 7
    actions = {entry.action for entry in store.ledger.since(before)}
    assert actions <= {"begin", "end"}


def test_a_changed_caption_and_a_changed_picture_both_end_up_described(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    table(photos, "file,caption\na/0.jpg,A large dog\n")
    index(store, embedder, [photos], ONE)
    assert described(store)["0.jpg"][0] == "A large dog"
    write_photo(photos / "a" / "0.jpg", 50)
    index(store, embedder, [photos], ONE)
    assert described(store)["0.jpg"][0] == "A large dog"


def test_a_table_brings_in_pictures_from_elsewhere_and_lists_those_that_are_missing(
    store, embedder, photos, tmp_path
):
    elsewhere = write_photo(tmp_path / "elsewhere" / "x.png", 9)
    table(tmp_path, f"image\ttext\n{elsewhere}\tA ship\nnot there.jpg\tnothing\n", "list.tsv")
    report = index(store, embedder, [tmp_path / "list.tsv"], ONE)
    assert (report.added, report.failed) == (1, 1)
    assert described(store)["x.png"][0] == "A ship"
    (missing,) = store.quarantine.all()
    assert missing.path == str(tmp_path / "not there.jpg")
    assert missing.error.en.startswith(
        "it is not there, though list.tsv names it. Expected a picture"
    )


def test_broken_rows_are_named_and_the_others_used(store, embedder, photos):
    table(photos, 'path,caption\na/0.jpg,A dog\nonly one\na,b,c\n"b/1.jpg","A cat"\n')
    index(store, embedder, [photos], ONE)
    assert described(store)["1.jpg"][0] == "A cat"
    (bad,) = store.quarantine.all()
    assert bad.stage == "table"
    assert "line 3, 4" in bad.error.en


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_tables_as_excel_saves_them_are_read(store, embedder, photos, encoding):
    text = "文件;描述\r\na/0.jpg;一只狗在草地上\r\n"
    (photos / "t.csv").write_bytes(text.encode(encoding))
    index(store, embedder, [photos], ONE)
    assert described(store)["0.jpg"][0] == "一只狗在草地上"


def test_addresses_in_a_table_are_not_fetched_unless_asked_for(store, embedder, photos):
    table(photos, "url,caption\nhttp://127.0.0.1/a.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    (bad,) = store.quarantine.all()
    assert "it names 1 addresses that were not fetched" in bad.error.en


def test_a_picture_that_tables_name_is_counted_once(store, embedder, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"no picture")
    elsewhere = write_photo(tmp_path / "elsewhere" / "x.png", 9)
    text = f"file,caption\na/0.jpg,A dog\nbad.jpg,none\n{elsewhere},A ship\n"
    table(photos, text)
    table(photos, text, "again.csv")
    report = index(store, embedder, [photos], ONE)
    assert (report.added, report.unchanged, report.failed, report.skipped) == (7, 0, 1, 0)
    table(photos, text + "a/3.jpg,A cat\n")
    report = index(store, embedder, [photos], ONE)
    assert (report.added, report.failed, report.skipped) == (0, 0, 1)
    assert report.unchanged == 6 + 1 + 1  # photographs, the other table, the one elsewhere


def test_a_picture_that_is_missing_stays_listed_until_it_comes_or_its_table_goes(
    store, embedder, photos, tmp_path
):
    elsewhere = tmp_path / "elsewhere" / "x.png"
    table(photos, f"file,caption\nlost.jpg,A dog\n{elsewhere},A ship\nnever.jpg,\n")
    lost, never = str(photos / "lost.jpg"), str(photos / "never.jpg")
    assert index(store, embedder, [photos], ONE).failed == 3
    assert index(store, embedder, [photos], ONE).skipped == 3
    assert [bad.path for bad in store.quarantine.all()] == [str(elsewhere), lost, never]
    write_photo(photos / "lost.jpg", 80)
    write_photo(elsewhere, 81)
    report = index(store, embedder, [photos], ONE)
    assert (report.added, report.failed, report.skipped) == (2, 0, 1)
    assert (described(store)["x.png"][0], described(store)["lost.jpg"][0]) == ("A ship", "A dog")
    assert [bad.path for bad in store.quarantine.all()] == [never]
    table(photos, "file,caption\nlost.jpg,A dog\n")
    assert index(store, embedder, [photos], ONE).skipped == 0
    assert store.quarantine.all() == []


def test_a_missing_picture_elsewhere_is_forgotten_once_no_table_names_it(
    store, embedder, photos, tmp_path
):
    table(photos, f"file,caption\n{tmp_path / 'gone.jpg'},A ship\n")
    index(store, embedder, [photos], ONE)
    assert [bad.path for bad in store.quarantine.all()] == [str(tmp_path / "gone.jpg")]
    table(photos, "file,caption\na/0.jpg,A ship\n")
    index(store, embedder, [photos], ONE)
    assert store.quarantine.all() == []


def test_the_missing_pictures_of_a_table_that_is_gone_are_forgotten(
    store, embedder, photos, tmp_path
):
    table(photos, f"file,caption\nlost.jpg,A dog\n{tmp_path / 'gone.jpg'},A ship\n")
    index(store, embedder, [photos], ONE)
    (photos / "captions.csv").unlink()
    index(store, embedder, [photos], ONE)
    assert store.quarantine.all() == []


def test_a_table_that_cannot_be_used_is_counted_each_time(store, embedder, photos):
    table(photos, "", "empty.csv")
    table(photos, '"', "no rows.csv")
    assert index(store, embedder, [photos], ONE).failed == 2
    report = index(store, embedder, [photos], ONE)
    assert (report.unchanged, report.failed, report.skipped) == (6, 0, 2)
    again = index(store, embedder, [photos], IndexOptions(retry_failed=True, workers=1))
    assert (again.failed, again.skipped) == (0, 2)


def complaint(store):
    (bad,) = store.quarantine.all()
    assert bad.stage == "table"
    return bad.error.en


def test_a_cell_that_no_calendar_has_breaks_nothing_and_is_counted(store, embedder, photos):
    table(
        photos,
        "file,taken,rating,note\n"
        "a/0.jpg,9999-12-31 23:59:59.999999,1e999,ok\n"
        "b/1.jpg,2021/5/4,NaN,\n"
        f"c/2.jpg,0001-01-01T00:00+14:00,5,{'x' * 40_000}\n",
    )
    report = index(store, embedder, [photos], ONE)
    assert (report.added, report.failed) == (6, 1)
    found = described(store)
    assert found["0.jpg"] == (None, {"note": "ok"})
    assert found["1.jpg"] == (None, {"taken": datetime(2021, 5, 4, tzinfo=UTC)})
    assert found["2.jpg"] == (None, {"taken": datetime(1, 1, 1, tzinfo=UTC), "rating": 5.0})
    assert "3 cells of 'taken', 'rating', 'note' (line 2) cannot be used" in complaint(store)
    before = store.ledger.head()
    assert index(store, embedder, [photos], ONE).unchanged == 7
    assert {entry.action for entry in store.ledger.since(before)} <= {"begin", "end"}


def test_a_known_date_is_replaced_by_a_date_and_by_nothing_else(store, embedder, photos):
    taken = datetime(2019, 7, 6, 21, 33, 10, tzinfo=UTC)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = "2019:07:06 21:33:10"
    for number, name in enumerate(["x", "y", "z"]):
        write_photo(photos / f"{name}.jpg", 70 + number, exif=exif)
    table(photos, "file,date\nx.jpg,one summer\ny.jpg,2021/5/4\nz.jpg,NaN\na/0.jpg,5/4/2021\n")
    index(store, embedder, [photos], ONE)
    found = {name: about[1].get("date") for name, about in described(store).items()}
    assert found["x.jpg"] == found["z.jpg"] == taken
    assert (found["y.jpg"], found["0.jpg"]) == (datetime(2021, 5, 4, tzinfo=UTC), None)
    assert "2 cells of 'date' (line 2, 5) cannot be used. Expected dates such" in complaint(store)


def test_numbers_too_long_to_be_exact_stay_names(store, embedder, photos):
    table(photos, "file,id,size\na/0.jpg,1234567890123456789,12\nb/1.jpg,1234567890123456788,-\n")
    index(store, embedder, [photos], ONE)
    assert described(store)["0.jpg"][1] == {"id": "1234567890123456789", "size": 12.0}
    assert described(store)["1.jpg"][1] == {"id": "1234567890123456788"}


def test_several_texts_of_json_are_several_values(store, embedder, photos):
    table(photos, '{"file": "a/0.jpg", "tag": ["b", "a", "b"], "n": [1]}\n', "t.jsonl")
    index(store, embedder, [photos], ONE)
    assert described(store)["0.jpg"][1] == {"tag": ("a", "b")}


def test_half_an_emoji_in_a_table_breaks_nothing(store, embedder, photos):
    line = '{"file": "a/0.jpg", "caption": "A dog \\ud83d", "n\\ud83d": "\\ud83d\\ude00"}\n'
    table(photos, line + '{"file": "b/\\ud83d.jpg"}\n', "t.jsonl")
    index(store, embedder, [photos], ONE)
    assert described(store)["0.jpg"] == ("A dog \ufffd", {"n\ufffd": "😀"})
    assert [bad.path for bad in store.quarantine.all()] == [str(photos / "b" / "\ufffd.jpg")]


def test_a_name_is_the_same_in_either_spelling(store, embedder, photos):
    composed, apart = "caf\u00e9", "cafe\u0301"
    write_photo(photos / apart / f"{composed}.jpg", 90)
    write_photo(photos / composed / f"{apart}.jpg", 91)
    write_photo(photos / f"{apart}.jpg", 92)
    table(
        photos,
        f"file,caption,kind\n{composed}/{composed}.jpg,one,1\n{composed}.jpg,three,3\n"
        f"./{apart}.jpg,Three,4\n{composed}-gone.jpg,none,5\n",
    )
    assert index(store, embedder, [photos], ONE).failed == 1
    text = {item.path: store.passages.of_files([item.id]) for item in store.files.all()}
    assert [unit.text for unit in text[str(photos / f"{apart}.jpg")]] == ["three\nThree"]
    assert [bad.path for bad in store.quarantine.all()] == [str(photos / f"{composed}-gone.jpg")]
    for name in (composed, apart):
        for asked in (f"file.name~{name}", f"file.name={name}.jpg"):
            condition = make_filter(where=[asked])
            mask = FilterMasks(store.database).mask(condition)
            assert len(matching_passages(condition, store.database)) == mask.sum() == 3
        assert len(matching_passages(make_filter(folders=[photos / name]), store.database)) == 2


def test_columns_beyond_the_room_of_a_collection_are_left_out_and_told(
    store, embedder, photos, monkeypatch
):
    monkeypatch.setattr(tables, "MOST_KEYS", 5)
    monkeypatch.setattr(metadata, "MOST_KEYS", 5)
    table(photos, "file,a,b,c,d,e\na/0.jpg,1,2,3,4,5\n")
    index(store, embedder, [photos], ONE)  # width and height are two keys already
    assert described(store)["0.jpg"][1] == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert "2 of its columns were left out: a collection can have 5 " in complaint(store)


def test_a_table_of_very_many_columns_leaves_few_keys(store, embedder, photos):
    head = ",".join(f"c{n}" for n in range(20_000))
    table(photos, f"{head},file\n{'1,' * 20_000}a/0.jpg\n")
    index(store, embedder, [photos], ONE)
    assert len(set(store.metadata.types())) == MOST_COLUMNS + 2
    assert "19,000 of its columns were left out. Expected at most 1,000" in complaint(store)

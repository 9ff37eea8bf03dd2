"""Captions of tables as vectors of their pictures: they come, change and go with the tables."""

import http.server
import shutil
import threading

import numpy as np
import pytest

from made_files import write_photo
from seesay.search.asking.query import Query
from seesay.search.asking.searcher import Searcher
from seesay.search.checking.verify import check_truth
from seesay.search.indexing import fill, read
from seesay.search.indexing.captions import caption_vectors
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions

ONE = IndexOptions(workers=1)


def table(photos, text, name="captions.csv"):
    (photos / name).write_text(text, encoding="utf-8")


def picture(store, name):
    (item,) = [item for item in store.files.all() if item.path.endswith(f"/{name}")]
    (unit,) = store.passages.of_files([item.id])
    return unit


def said_of(store, name):
    """Vectors of what is said of a picture."""
    return store.vectors.get(store.spaces.active().id, [picture(store, name).id], modality="text")[
        1
    ]


def columns(store, name):
    return store.metadata.get([picture(store, name).id])[picture(store, name).id]


def test_a_caption_finds_its_picture_as_one_hit_of_two_lanes(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog on the grass\na/0.jpg,草地上的狗\nb/1.jpg,A cat\n")
    index(store, embedder, [photos], ONE)
    expected = embedder.embed_texts(["A dog on the grass", "草地上的狗"]).vectors.sum(axis=0)
    expected /= np.linalg.norm(expected)
    assert np.allclose(said_of(store, "0.jpg"), expected, atol=1e-3)
    searcher = Searcher(store, embedder)
    hits = searcher.search(Query.of("A dog on the grass")).hits
    searcher.close()
    assert len({hit.item for hit in hits}) == len(hits) == 6
    (hit,) = [hit for hit in hits if hit.path.endswith("0.jpg")]
    assert {one.retriever: one.rank for one in hit.retrievers}["text"] == 1
    assert {one.retriever for one in hit.retrievers} == {"image", "text", "keyword"}
    (other,) = [hit for hit in hits if hit.path.endswith("2.jpg")]
    assert {one.retriever for one in other.retrievers} == {"image"}


def test_a_changed_caption_has_its_new_vector_in_the_change_that_brings_the_words(
    store, embedder, photos
):
    table(photos, "file,caption\na/0.jpg,A dog\nb/1.jpg,A cat\n")
    index(store, embedder, [photos], ONE)
    head, kept = store.ledger.head(), said_of(store, "1.jpg")
    table(photos, "file,caption\na/0.jpg,A red bus in the rain\nb/1.jpg,A cat\n")
    index(store, embedder, [photos], ONE)
    assert np.allclose(
        said_of(store, "0.jpg"), caption_vectors(embedder, ["A red bus in the rain"]), atol=1e-3
    )
    assert np.array_equal(said_of(store, "1.jpg"), kept)
    (change,) = [one.seq for one in store.ledger.since(head) if one.action == "describe"]
    rows = store.database.rows(
        "SELECT u.id, u.seq, v.seq FROM units u JOIN vectors v ON v.unit = u.id"
        " WHERE v.modality = 'text' AND v.seq > ?",
        (head,),
    )
    assert rows == [(picture(store, "0.jpg").id, change, change)]


def test_what_a_removed_row_said_is_taken_back(store, embedder, photos):
    table(photos, "file,caption,year,width\na/0.jpg,A dog,2019,7\nb/1.jpg,A cat,2020,7\n")
    index(store, embedder, [photos], ONE)
    assert (columns(store, "0.jpg")["year"], columns(store, "0.jpg")["width"]) == (2019, 7)
    table(photos, "file,caption,year,width\nb/1.jpg,A cat,2020,7\n")
    index(store, embedder, [photos], ONE)
    assert columns(store, "0.jpg") == columns(store, "2.jpg")  # width is the file's own again
    assert picture(store, "0.jpg").text is None and len(said_of(store, "0.jpg")) == 0
    assert picture(store, "1.jpg").text == "A cat" and len(said_of(store, "1.jpg")) == 1
    assert not len(store.keywords.search("dog", 9)[0])


def test_a_table_that_is_gone_takes_its_words_along_and_leaves_those_of_others(
    store, embedder, photos
):
    table(photos, "file,caption,year\na/0.jpg,A dog,2019\nb/1.jpg,A cat,2020\n")
    table(photos, "file,caption,place\na/0.jpg,Runs,杭州\n", "more.csv")
    index(store, embedder, [photos], ONE)
    assert picture(store, "0.jpg").text == "A dog\nRuns"
    (photos / "captions.csv").unlink()
    report = index(store, embedder, [photos], ONE)
    assert report.removed == 1
    assert picture(store, "0.jpg").text == "Runs"
    assert np.allclose(said_of(store, "0.jpg"), caption_vectors(embedder, ["Runs"]), atol=1e-3)
    assert columns(store, "0.jpg")["place"] == "杭州" and "year" not in columns(store, "0.jpg")
    assert picture(store, "1.jpg").text is None and len(said_of(store, "1.jpg")) == 0
    assert columns(store, "1.jpg") == columns(store, "2.jpg")
    assert [one.path for one in store.annotations.tables()] == [str(photos / "more.csv")]


def test_a_table_that_has_another_name_still_counts_and_its_old_name_does_not(
    store, embedder, photos
):
    table(photos, "file,caption,width\na/0.jpg,A dog,7\n")
    index(store, embedder, [photos], ONE)
    (photos / "captions.csv").rename(photos / "a" / "zz.csv")  # meant from another folder now
    index(store, embedder, [photos], ONE)
    assert picture(store, "0.jpg").text is None
    assert columns(store, "0.jpg") == columns(store, "2.jpg")
    (photos / "a" / "zz.csv").rename(photos / "aa.csv")
    index(store, embedder, [photos], ONE)
    assert picture(store, "0.jpg").text == "A dog" and columns(store, "0.jpg")["width"] == 7
    assert [one.path for one in store.annotations.tables()] == [str(photos / "aa.csv")]


def test_a_picture_that_has_another_name_keeps_its_caption_as_long_as_the_row_is_there(
    store, embedder, photos
):
    rows = "file,caption,place\na/0.jpg,A dog,Rome\nb/1.jpg,A dog,Rome\nc/2.jpg,A cat,\n"
    table(photos, rows)
    index(store, embedder, [photos], ONE)
    (photos / "a" / "0.jpg").rename(photos / "a" / "new.jpg")
    index(store, embedder, [photos], ONE)
    for number in (7, 8):  # tables are applied again wherever a picture comes
        write_photo(photos / f"{number}.jpg", number)
        index(store, embedder, [photos], ONE)
        assert [picture(store, name).text for name in ("new.jpg", "1.jpg", "2.jpg")] == [
            *("A dog", "A dog", "A cat"),
        ]
        (bad,) = store.quarantine.all()
        assert bad.path.endswith("0.jpg") and "correct its path in the table" in bad.error.en
    write_photo(photos / "a" / "0.jpg", 9)  # whose row it is now
    index(store, embedder, [photos], ONE)
    assert (picture(store, "0.jpg").text, picture(store, "new.jpg").text) == ("A dog", None)
    (photos / "c" / "2.jpg").rename(photos / "c" / "other.jpg")
    table(photos, rows.replace("c/2.jpg,A cat,\n", "c/none.jpg,A hen,\n"))
    index(store, embedder, [photos], ONE)
    assert picture(store, "other.jpg").text is None
    assert [bad.path for bad in store.quarantine.all()] == [str(photos / "c" / "none.jpg")]


def test_a_picture_that_is_renamed_to_what_a_table_names_gets_its_caption(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog\nlost.jpg,A cat\n")
    index(store, embedder, [photos], ONE)
    (photos / "b" / "1.jpg").rename(photos / "lost.jpg")
    report = index(store, embedder, [photos], ONE)
    assert (report.moved, report.images) == (1, 0)
    assert picture(store, "lost.jpg").text == "A cat" and len(said_of(store, "lost.jpg")) == 1
    assert store.quarantine.all() == []
    (photos / "a" / "0.jpg").rename(photos / "lost.jpg")  # in place of the other
    index(store, embedder, [photos], ONE)
    assert picture(store, "lost.jpg").text == "A cat"  # the row of its present name counts


def test_a_copy_takes_the_caption_over_when_its_original_goes_in_a_later_run(
    store, embedder, photos
):
    table(photos, "file,caption\na/0.jpg,A dog\nb/1.jpg,A cat\nc/2.jpg,A hen\n")
    table(photos, "file,place\na/0.jpg,Rome\n", "places.csv")
    index(store, embedder, [photos], ONE)
    shutil.copy(photos / "a" / "0.jpg", photos / "copy.jpg")
    shutil.copy(photos / "b" / "1.jpg", photos / "c" / "2.jpg")  # has a row of its own
    index(store, embedder, [photos], ONE)
    assert picture(store, "copy.jpg").text is None
    (photos / "a" / "0.jpg").unlink()
    (photos / "b" / "1.jpg").unlink()
    index(store, embedder, [photos], ONE)
    assert picture(store, "copy.jpg").text == "A dog" and len(said_of(store, "copy.jpg")) == 1
    assert columns(store, "copy.jpg")["place"] == "Rome"
    assert picture(store, "2.jpg").text == "A hen"
    write_photo(photos / "a" / "0.jpg", 60)  # whose row it is
    index(store, embedder, [photos], ONE)
    assert (picture(store, "0.jpg").text, picture(store, "copy.jpg").text) == ("A dog", None)


def test_a_renamed_picture_that_is_changed_keeps_its_caption(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    (photos / "a" / "0.jpg").rename(photos / "a" / "new.jpg")
    index(store, embedder, [photos], ONE)
    write_photo(photos / "a" / "new.jpg", 61)
    index(store, embedder, [photos], ONE)
    assert picture(store, "new.jpg").text == "A dog" and len(said_of(store, "new.jpg")) == 1


def test_a_picture_that_a_table_spells_in_two_ways_keeps_both_captions(store, embedder, photos):
    table(photos, "file,caption,year\na/0.jpg,A dog,2019\n./a/0.jpg,Runs,2020\n")
    index(store, embedder, [photos], ONE)
    assert picture(store, "0.jpg").text == "A dog\nRuns" and columns(store, "0.jpg")["year"] == 2019


def test_a_tag_under_the_name_of_a_column_is_back_when_the_table_goes(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    with store.writing("tag"):
        unit = picture(store, "0.jpg").id
        store.passages.describe(unit, metadata={**columns(store, "0.jpg"), "tag": ("a", "b")})
    table(photos, "file,tag\na/0.jpg,mine\n", "tags.csv")
    index(store, embedder, [photos], ONE)
    assert columns(store, "0.jpg")["tag"] == "mine"
    (photos / "tags.csv").unlink()
    index(store, embedder, [photos], ONE)
    assert columns(store, "0.jpg")["tag"] == ("a", "b")


def test_what_is_gone_is_kept_where_that_is_asked_for(store, embedder, photos):
    table(photos, "file,caption\na/0.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    (photos / "captions.csv").unlink()
    index(store, embedder, [photos], IndexOptions(workers=1, delete_missing=False))
    assert picture(store, "0.jpg").text == "A dog" and len(said_of(store, "0.jpg")) == 1


def test_captions_from_before_they_had_vectors_get_them_and_can_be_taken_back(
    store, embedder, photos
):
    table(photos, "file,caption,width\na/0.jpg,A dog,7\n")
    index(store, embedder, [photos], ONE)
    with store.writing("as it was before"):
        for name in ("tables", "annotations", "own_descriptions", "undescribed"):
            store.database.run(f"DELETE FROM {name}")
        store.database.run("DELETE FROM vectors WHERE modality = 'text'")
        store.settings.set("captions_adopted", True)
    report = index(store, embedder, [photos], ONE)
    assert (report.images, report.added, report.updated) == (0, 0, 0)
    assert len(said_of(store, "0.jpg")) == 1
    assert store.settings.get("captions_adopted") is False
    (photos / "captions.csv").unlink()
    index(store, embedder, [photos], ONE)
    assert picture(store, "0.jpg").text is None and "width" not in columns(store, "0.jpg")


def test_vectors_of_captions_that_were_lost_are_found_to_be_missing_and_filled_again(
    store, embedder, photos
):
    table(photos, "file,caption\na/0.jpg,A dog\nb/1.jpg,一只猫\n")
    index(store, embedder, [photos], ONE)
    before = said_of(store, "1.jpg")
    assert check_truth(store, deep=True) == []
    with store.writing("damage"):
        store.database.run("DELETE FROM vectors WHERE modality = 'text'")
    (finding,) = check_truth(store, deep=True)
    assert (finding.kind, finding.count, finding.remedy) == ("missing captions", 2, "index")
    index(store, embedder, [photos], ONE)
    assert check_truth(store, deep=True) == []
    assert np.array_equal(said_of(store, "1.jpg"), before)


def test_captions_have_a_vector_in_the_space_of_another_model_too(
    store, embedder, other_embedder, photos
):
    table(photos, "file,caption\na/0.jpg,A dog\n")
    index(store, embedder, [photos], ONE)
    assert fill.fill(store, other_embedder).complete
    assert store.spaces.active().model == "other"
    expected = caption_vectors(other_embedder, ["A dog"])
    assert np.allclose(said_of(store, "0.jpg"), expected, atol=1e-3)


def test_a_caption_that_comes_just_before_the_switch_gets_its_vector_first(
    store, embedder, other_embedder, photos, monkeypatch
):
    index(store, embedder, [photos], ONE)
    late, kept_up = [picture(store, "0.jpg").id], fill.keep_up

    def describe_too(*of):
        while late:
            with store.writing("describe"):
                store.passages.describe(late.pop(), text="A dog")
        return kept_up(*of)

    monkeypatch.setattr(fill, "keep_up", describe_too)
    assert fill.fill(store, other_embedder).complete
    assert store.spaces.active().model == "other" and len(said_of(store, "0.jpg")) == 1


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.picture)))
        self.end_headers()
        self.wfile.write(self.server.picture)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path, monkeypatch):
    """A picture on a server of this machine, which the reading processes are told to let in."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.picture = write_photo(tmp_path / "served.png", 77).read_bytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    let_in = "import seesay.search.reading.addresses as guard;"
    let_in += " guard.fetch.__kwdefaults__['allowed'] = lambda address: True;"
    changed = read._START.replace(" from seesay", f" {let_in} from seesay")
    monkeypatch.setattr(read, "_START", changed)
    yield f"http://127.0.0.1:{server.server_port}/picture.png"
    server.shutdown()
    server.server_close()


def test_addresses_of_a_table_are_fetched_once_that_is_asked_for_though_it_did_not_change(
    store, embedder, photos, address
):
    table(photos, f"url,caption\n{address},A ship\n")
    assert index(store, embedder, [photos], ONE).added == 6
    asked = IndexOptions(workers=1, urls=True)
    elsewhere = photos.parent / "elsewhere"
    write_photo(elsewhere / "x.png", 99)
    assert index(store, embedder, [elsewhere], asked).added == 1  # not below this folder
    report = index(store, embedder, [photos], asked)
    assert store.quarantine.all() == []
    assert (report.added, report.failed) == (1, 0)
    assert picture(store, "picture.png").text == "A ship"
    assert len(said_of(store, "picture.png")) == 1
    assert store.quarantine.all() == []
    head = store.ledger.head()
    index(store, embedder, [photos], asked)
    assert {one.action for one in store.ledger.since(head)} <= {"begin", "end"}


def test_a_row_that_names_a_link_describes_the_picture_that_the_link_leads_to(
    store, embedder, tmp_path
):
    photos = tmp_path / "photos"
    photos.mkdir()
    write_photo(photos / "0.jpg", 0)
    (photos / "link.jpg").symlink_to("0.jpg")
    table(photos, "path,caption\nlink.jpg,a red kite\n")
    for _ in range(2):
        report = index(store, embedder, [photos], ONE)
        assert picture(store, "0.jpg").text == "a red kite"
        assert (report.links, report.failed) == (1, 0)

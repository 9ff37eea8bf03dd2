"""Workbooks and documents on their way from a folder to a result with its sheet and cells."""

import json

import pytest

from made_office import paragraph, saved, word_package, zipped
from seesay.cli.main import run
from seesay.search.asking.likeness import FoldedHit
from seesay.search.catalog.drafts import Place
from seesay.search.checking.verify import check_rows
from seesay.search.collection import Collection
from seesay.web.cards import tile

openpyxl = pytest.importorskip("openpyxl")
ROWS = [["地区", "收入"], ["华东", 1200], ["华北", 800]]


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    book = openpyxl.Workbook()
    book.active.title = "销售"
    for row in ROWS:
        book.active.append(row)
    (folder / "sales.xlsx").write_bytes(saved(book))
    (folder / "visits.csv").write_text("place,visits\nharbour,3\nmuseum,5\n")
    (folder / "letter.docx").write_bytes(word_package(paragraph("The lighthouse is closed.")))
    (folder / "bomb.docx").write_bytes(zipped({"a.xml": b" " * 30_000_000}))
    return folder


@pytest.fixture
def collection(files, tmp_path, model_folder):
    with Collection.open(tmp_path / "c", create=True, model=str(model_folder)) as opened:
        opened.index([files])
        yield opened


def hit_of(collection, words):
    return collection.search(words, retrievers=["keyword"]).hits[0]


def test_a_table_is_found_with_its_sheet_and_cells_in_terminal_json_and_page(
    collection, capsys, monkeypatch
):
    hit = hit_of(collection, "华东")
    assert (hit.kind, hit.locator) == ("table", Place(sheet="销售", cells="A1:B3"))
    assert "销售!A1:B3" in (card := tile(FoldedHit(hit=hit), "c")) and "<img" not in card
    folder = str(collection.store.folder)
    asked = ["search", "华东", "--collection", folder, "--only", "keyword"]
    assert run(asked) == 0 and "销售!A1:B3" in capsys.readouterr().out
    assert run([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["hits"][0]
    assert found["locator"]["sheet"] == "销售" and found["locator"]["cells"] == "A1:B3"


def test_cells_are_stored_belong_to_their_file_and_are_checked(collection, files):
    store = collection.store
    hit = hit_of(collection, "华东")
    first, table = store.cells.of_passages([hit.unit])[hit.unit]
    assert first == hit.unit and table.rows == (("华东", 1200.0), ("华北", 800.0))
    assert len(store.cells.all()) == 2 and not [*check_rows(store)]
    (files / "sales.xlsx").unlink()
    collection.index([files])
    assert len(store.cells.all()) == 1 and not [*check_rows(store)]


def test_a_file_that_is_refused_is_listed_and_the_others_are_found(collection):
    assert hit_of(collection, "lighthouse").path.endswith("letter.docx")
    assert hit_of(collection, "museum").kind == "table"
    (bad,) = collection.store.quarantine.all()
    assert bad.path.endswith("bomb.docx") and "fill the memory" in bad.error.en


def test_a_csv_that_stops_describing_pictures_becomes_a_table_and_back(collection, files):
    table = files / "visits.csv"
    table.write_text("path,caption\nx.png,a harbour\n")
    collection.index([files])
    store = collection.store
    assert [one.path for one in store.annotations.tables()] == [str(table)]
    assert len(store.cells.all()) == 1
    table.write_text("place,visits\nharbour,31\nmuseum,5\n")
    collection.index([files])
    assert not store.annotations.tables() and len(store.cells.all()) == 2
    assert not [*check_rows(store)]

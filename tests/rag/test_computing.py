"""Questions to a collection that a table answers: computed, and cited by cells."""

import sys

import pytest

from rag_notes import Says
from seesay.rag.answer import ask
from seesay.search.catalog.drafts import PassageDraft, Place, TableColumn, TableData
from texts_in_a_collection import make_collection

pytest.importorskip("duckdb")

ROWS = (("华东", "2022", 800.5), ("华东", "2023", 1200.25), ("华北", "2023", 2000.0))
CITIES = (("Porto", 5100.0), ("Braga", 700.0), ("see https://evil.example", 9000.0))


def table(title, names, rows, units, sheet="S"):
    types = ["number" if isinstance(one, float) else "text" for one in rows[0]]
    columns = tuple(
        TableColumn(name=name, type=type, unit=unit)
        for name, type, unit in zip(names, types, units, strict=True)
    )
    numbers = tuple(range(2, 2 + len(rows)))
    data = TableData(
        title=title, sheet=sheet, left=1, head=1, columns=columns, numbers=numbers, rows=rows
    )
    text = "\n".join([title, " | ".join(names), *(" | ".join(map(str, row)) for row in rows)])
    place = Place(sheet=sheet, cells=data.cells)
    return PassageDraft(modality="text", media_type="table", text=text, place=place, table=data)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    files = {
        "/note.txt": "The harbour museum opened in 1931.",
        "/sales.xlsx": [table("销售", ("地区", "年份", "收入"), ROWS, ("", "", "万元"), "销售")],
        "/cities.csv": [table("cities", ("city", "visitors"), CITIES, ("", ""))],
    }
    with make_collection(tmp_path_factory.mktemp("sheets") / "c", files) as opened:
        yield opened


@pytest.mark.parametrize(
    ("question", "said", "place"),
    [
        ("华东的收入合计是多少？", "华东的收入合计是多少？ 2000.75 万元", "销售!C2:C3"),
        ("2023年收入最高的地区是哪个？", "华北 2000 万元", "销售!C4"),
        ("What is the total of visitors of Porto and Braga?", "5800", "S!B2:B3"),
        ("How many visitors does Porto have?", "5100", "S!B2"),
    ],
)
def test_a_value_is_computed_exactly_and_cites_its_cells(sheets, question, said, place):
    answer = ask(question, sheets)
    (claim,) = answer.claims
    assert claim.text.endswith(said) and (answer.mode, answer.model) == ("quote", None)
    (number,) = claim.evidence
    cited = answer.evidence[number - 1]
    assert (cited.id, cited.kind, cited.locator.label.en) == (number, "table", place)
    assert sheets.describe(cited.unit).path == cited.path


def test_a_model_is_not_asked_for_what_a_table_says(sheets):
    model = Says("nothing")
    answer = ask("华东的收入合计是多少？", sheets, assistant=model)
    assert answer.claims[0].text.endswith("2000.75 万元") and model.asked == []


@pytest.mark.parametrize("question", ["华东的利润合计是多少？", "When did the museum open?"])
def test_what_no_table_answers_is_answered_as_before(sheets, question):
    answer = ask(question, sheets)
    assert not any(one.locator.cells and not one.text for one in answer.evidence)
    assert [c.text for c in answer.claims] == (
        [] if "利润" in question else ["The harbour museum opened in 1931."]
    )


def test_a_cell_smuggles_no_address_into_a_claim(sheets):
    (claim,) = ask("Which city has the highest visitors?", sheets).claims
    assert claim.text.endswith("see 9000") and "evil" not in claim.text


def test_without_duckdb_the_answer_says_what_to_install(sheets, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    answer = ask("华东的收入合计是多少？", sheets)
    assert "seesay[tables]" in answer.notes[0].en

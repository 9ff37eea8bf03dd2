"""A small collection of notes in two languages, with a page, a table and a moment of a video."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seesay.search.catalog.drafts import PassageDraft, Place
from seesay.search.collection import Collection
from texts_in_a_collection import make_collection

LIBRARY = (
    "Harwick Library stands on Lantern Street. It was designed by Tobias Finch and opened in 1931. "
    "The library employs 42 people and holds 18,500 books. Dogs are not allowed in the reading "
    "room.\n\n"
    "A man in a red shirt sits on a bench beside the river. Two children are playing with a ball."
)
TUSHUGUAN = (
    "城南图书馆位于灯笼街，由王思远设计，于1987年开放。图书馆有36名员工，去年接待读者12万人次。"
    "阅览室里不允许带狗。\n\n一个穿红衣服的人坐在河边的长椅上。两个孩子在玩球。"
)
REPORT = "Acme income grew by 12% in the third quarter. The office in Lisbon has 30 people."
FILES = {
    "/notes/library.txt": LIBRARY,
    "/notes/图书馆.txt": TUSHUGUAN,
    "/report.pdf": [
        PassageDraft(
            modality="text",
            media_type="text",
            text=REPORT,
            place=Place(page=3, box=(0.1, 0.2, 0.9, 0.4)),
        )
    ],
    "/sales.xlsx": [
        PassageDraft(
            modality="text",
            media_type="table",
            text="city | visitors\nPorto | 5100\nBraga | 700",
            place=Place(sheet="Cities", cells="A1:B3"),
        )
    ],
    "/talk.mp4": [
        PassageDraft(
            modality="text",
            media_type="moment",
            text="The speaker says that the comet returns in 2061.",
            place=Place(start_s=83.0, end_s=90.0),
        )
    ],
}


@pytest.fixture(scope="session")
def notes_folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("notes") / "collection"
    make_collection(place, FILES).close()
    return place


@pytest.fixture(scope="session")
def notes(notes_folder) -> Iterator[Collection]:
    with Collection.open(notes_folder) as collection:
        yield collection

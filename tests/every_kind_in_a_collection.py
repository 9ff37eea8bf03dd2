"""A collection of every kind of passage, with vectors of pictures, of texts and of pages, and what
people see of it. Made without torch."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import seesay
from made_collections import clustered, unit_vectors
from rag_notes import FILES, LIBRARY
from seesay.search.asking.results import Hit
from seesay.search.catalog.drafts import PassageDraft, Place, TableColumn, TableData
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.passages import Passage
from seesay.search.collection import Collection
from seesay.search.indexing.fill import keep_up
from seesay.search.model import draft_of
from texts_in_a_collection import text_drafts

MANY = 300  # notes that are only there to make the vectors many
TABLE = TableData(
    title="cities",
    sheet="Cities",
    left=1,
    head=1,
    columns=(
        TableColumn(name="city", type="text", unit=""),
        TableColumn(name="visitors", type="number", unit=""),
    ),
    numbers=(2, 3),
    rows=(("Porto", 5100.0), ("Braga", 700.0)),
)
KINDS = {
    **FILES,
    "/sales.xlsx": [
        PassageDraft(
            modality="text",
            media_type="table",
            text="cities\ncity | visitors\nPorto | 5100\nBraga | 700",
            place=Place(sheet="Cities", cells="A1:B3"),
            table=TABLE,
        )
    ],
    "/letter.pdf": [
        draft
        for page in range(1, 7)
        for draft in (
            PassageDraft(modality="image", media_type="page", place=Place(page=page)),
            PassageDraft(
                modality="text", text=f"Page {page} lists the keys.", place=Place(page=page)
            ),
        )
    ],
    "/film.mp4": [
        PassageDraft(modality="image", media_type="moment", place=Place(start_s=s, end_s=s + 2))
        for s in (0.0, 2.0, 4.0)
    ],
    **{f"/photos/{n}.jpg": [PassageDraft(modality="image")] for n in range(4)},
}
QUESTIONS = {
    "When did the library open?": ("1931", "/notes/library.txt"),
    "城南图书馆是哪一年开放的？": ("1987", "/notes/图书馆.txt"),
    "How much did the income of Acme grow?": ("12%", "/report.pdf"),
    "When does the comet return?": ("2061", "/talk.mp4"),
    "What is the total of visitors of Porto and Braga?": ("5800", "/sales.xlsx"),
    "Who gave Harwick Library its piano?": None,
}
"""What the answer holds, and the file that it cites; None if there is no answer."""
SEARCHES = ("the keys on a page", "河边的长椅")
FOLDERS = ((), "/photos")


def make(place: Path) -> None:
    """Writes the collection, without an index."""
    with Collection.open(place, create=True, text_model="seesay-text") as made:
        main, texts = made.model.for_queries(), made.text_model.for_queries()
        store = made.store
        with store.writing("index"):
            spaces = store.spaces.add(draft_of(main)), store.spaces.add(draft_of(texts), "text")
            store.spaces.activate(spaces[1].id)
            notes = [f"Note {n} of lantern {n % 7} and kettle {n % 11}." for n in range(MANY)]
            many = {f"/many/{n}.txt": note for n, note in enumerate(notes)}
            stored = store.files.put([_draft(*one) for one in {**KINDS, **many}.items()])
            units = [unit for one in stored for unit in one.passages]
            known = store.passages.get(units)
            pictures = [one.id for one in known if one.modality == "image"]
            store.vectors.put(spaces[0].id, pictures, unit_vectors(len(pictures), main.dim))
            for unit in pictures:
                store.page_vectors.put(unit, "late", unit_vectors(3, 8, seed=unit).astype("<f2"))
            some = [one for one in known if one.modality == "text"]
            own, others = some[:-MANY], some[-MANY:]
            _embed(made, own)
            numbers = [one.id for one in others]
            store.vectors.put(spaces[1].id, numbers, clustered(MANY, texts.dim))


def change(collection: Collection) -> None:
    """Indexes one document anew and removes another, and brings the indexes up to date as
    `seesay index` does."""
    store = collection.store
    with store.writing("index"):
        (stored,) = store.files.put([_draft("/notes/library.txt", LIBRARY.replace("1931", "1954"))])
        _embed(collection, store.passages.get(stored.passages))
    assert collection.remove("/report.pdf") == 1
    assert [keep_up(store, space) for space in store.spaces.in_use()] == [None, None]


def seen(collection: Collection) -> dict[object, object]:
    """Answers with their citations, and what searches find, with scores and confidences."""
    answers = {one: seesay.ask(one, collection) for one in QUESTIONS}
    found = {
        (words, folder): collection.search(words, count=12, folders=folder)
        for words in SEARCHES
        for folder in FOLDERS
    }
    pages = [one.id for one in collection.store.passages.of_files(range(1, 20))]
    return {
        "answers": {one: (answer.claims, answer.evidence) for one, answer in answers.items()},
        "hits": {asked: [_rounded(hit) for hit in one.hits] for asked, one in found.items()},
        "pages": {unit: own.tobytes() for unit, own in collection.store.page_vectors.stream(pages)},
    }


def _rounded(hit: Hit) -> tuple[object, ...]:
    """Without FAISS, numpy computes the same scores, up to the last bits."""
    ranks = [(one.retriever, one.rank, round(one.score, 5)) for one in hit.retrievers]
    return hit.unit, hit.path, hit.locator, hit.text, round(hit.confidence, 2), ranks


def _draft(path: str, content: str | Sequence[PassageDraft]) -> FileDraft:
    return FileDraft(
        path=path,
        media_type="text",
        content_hash=sha256(f"{path} {content}".encode()).hexdigest(),
        size=1,
        mtime_ns=1,
        passages=text_drafts(content) if isinstance(content, str) else tuple(content),
    )


def _embed(collection: Collection, passages: Sequence[Passage]) -> None:
    """Gives texts their vectors in the space of the text embedder."""
    embedder, space = collection.text_model.for_queries(), collection.store.spaces.active("text")
    vectors = embedder.embed_texts([one.text for one in passages], role="passage").vectors
    collection.store.vectors.put(space.id, [one.id for one in passages], vectors)

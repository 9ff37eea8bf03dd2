"""Documents in a collection: indexed in parts and stored whole, found, and shown with a mark."""

import io

import pytest
from PIL import Image

from made_pdfs import paint, pdf, scan, write
from seesay.errors import CollectionError
from seesay.search.catalog.filters import matching_passages
from seesay.search.collection import Collection
from seesay.search.filtering import parse_filter
from seesay.search.indexing.fill import fill
from seesay.search.indexing.index import index
from seesay.search.indexing.options import IndexOptions
from seesay.search.reading.files import ReadLimits
from seesay.search.thumbnails import Thumbnails

ONE = IndexOptions(workers=1)
PAGES = 5


def page(number):
    return lambda canvas: write(canvas, [f"What page {number} of the letter says."])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "letter.pdf").write_bytes(pdf(*map(page, range(1, PAGES + 1))))
    return folder


def passages(store):
    return [one for file in store.files.all() for one in store.passages.of_files([file.id])]


def test_a_document_is_stored_whole_and_a_copy_needs_no_embedding(store, embedder, folder):
    report = index(store, embedder, [folder], ONE)
    assert (report.added, report.images, report.texts, report.partial) == (1, PAGES, PAGES, 0)
    kinds = [(one.media_type, one.place.page) for one in passages(store)]
    assert kinds == [(kind, n) for n in range(1, PAGES + 1) for kind in ("page", "text")]
    (folder / "copy.pdf").write_bytes((folder / "letter.pdf").read_bytes())
    again = index(store, embedder, [folder], ONE)
    assert (again.added, again.reused, again.images) == (1, 2 * PAGES, 0)


def test_another_model_embeds_every_page(store, embedder, other_embedder, folder):
    index(store, embedder, [folder], ONE)
    report = fill(store, other_embedder)
    assert report.complete and (report.embedded, report.failed) == (2 * PAGES, 0)


def test_what_a_limit_left_out_is_told_and_read_once_the_limit_is_raised(store, embedder, folder):
    few = IndexOptions(workers=1, limits=ReadLimits(max_pages=2))
    report = index(store, embedder, [folder], few)
    assert (report.added, report.partial, report.failed, len(passages(store))) == (1, 1, 0, 4)
    (entry,) = store.quarantine.all()
    assert entry.stage == "part" and "it has 5 pages" in entry.error.en
    assert index(store, embedder, [folder], ONE).unchanged == 1
    more = IndexOptions(workers=1, limits=ReadLimits(max_pages=10))
    assert index(store, embedder, [folder], more).updated == 1
    assert len(passages(store)) == 2 * PAGES and store.quarantine.all() == []


def test_a_file_told_to_be_retried_is_read_again(store, embedder, folder):
    (folder / "letter.pdf").rename(folder / "letter.jpg")
    assert index(store, embedder, [folder], ONE).partial == 1
    with store.writing("retry"):
        assert store.quarantine.retry() == 1
    report = index(store, embedder, [folder], ONE)
    assert (report.updated, report.partial) == (1, 1)
    assert index(store, embedder, [folder], ONE).unchanged == 1


def test_a_page_is_shown_and_a_passage_is_marked_on_it(store, embedder, folder):
    index(store, embedder, [folder], ONE)
    plain, text = passages(store)[2:4]
    thumbnails, shown = Thumbnails(store), {}
    for one in (plain, text):
        with Image.open(io.BytesIO(thumbnails.get(one.id, 512))) as picture:
            shown[one.media_type] = picture.convert("RGB")
    assert shown["page"].size == shown["text"].size and max(shown["page"].size) == 512
    left, top, _, bottom = text.place.box
    at = int(left * shown["page"].width) - 1, int((top + bottom) / 2 * 512)
    assert shown["page"].getpixel(at)[2] > 240  # white
    assert shown["text"].getpixel(at)[2] < 240  # marked
    assert text.place.label.zh == "第 2 页"
    (folder / "letter.pdf").write_bytes(pdf(page(9)))
    with pytest.raises(CollectionError, match="was changed since it was indexed"):
        thumbnails.get(plain.id, 1024)
    thumbnails.close()


def test_scanned_pages_and_text_in_pictures_are_read_by_ocr(store, embedder, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "scan.pdf").write_bytes(pdf(scan(["The harbour opens at seven", "in the morning."])))
    paint(["ICE CREAM 250"], height=200).save(folder / "sign.png")
    report = index(store, embedder, [folder], ONE)
    assert (report.added, report.images, report.texts, report.ocr) == (2, 2, 1, 0)
    (scanned,) = [one for one in passages(store) if one.modality == "text"]
    assert "harbour opens at seven in the morning" in scanned.text
    assert scanned.place.page == 1 and scanned.place.box[0] == pytest.approx(80 / 1240, abs=0.02)
    assert index(store, embedder, [folder], IndexOptions(workers=1, ocr=True)).ocr == 1
    (sign,) = [one for one in passages(store) if one.media_type == "image"]
    assert sign.text == "ICE CREAM 250"
    assert index(store, embedder, [folder], IndexOptions(workers=1, ocr=True)).ocr == 0
    with Collection(store, embedder) as collection:
        hit = collection.search("cream").hits[0]
        assert hit.unit == sign.id and "keyword" in {one.retriever for one in hit.retrievers}
    filtered = matching_passages(parse_filter("ocr=PP-OCRv6"), store.database)
    assert set(filtered.tolist()) == {scanned.id, sign.id}

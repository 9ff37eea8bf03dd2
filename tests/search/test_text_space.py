"""Text passages have vectors of a text embedder, beside the vectors of the model for pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from made_files import write_photo
from made_pdfs import pdf, write
from seesay.errors import CollectionError, ConfigError
from seesay.inference.embedder import load
from seesay.search.collection import Collection
from seesay.search.indexing import fill
from seesay.search.indexing.options import IndexOptions
from tiny_checkpoint import write_checkpoint

NOTES = ("a dog runs over the grass", "雪地里的狗", "the fox jumps over the lazy dog", "草地")


@pytest.fixture(scope="module")
def main(tmp_path_factory):
    return load(write_checkpoint(tmp_path_factory.mktemp("main")), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = write_checkpoint(tmp_path_factory.mktemp("texts"), image=False, dim=6)
    return load(folder, device="cpu", dtype="float32")


@pytest.fixture
def files(tmp_path):
    """Two pictures, of which one has a caption, and four notes."""
    folder = tmp_path / "files"
    for number in range(2):
        write_photo(folder / f"{number}.jpg", number)
    for number, note in enumerate(NOTES):
        (folder / f"{number}.txt").write_text(note, encoding="utf-8")
    (folder / "captions.csv").write_text("path,text\n0.jpg,a brown dog\n", encoding="utf-8")
    return folder


@pytest.fixture
def collection(tmp_path, main, texts, files):
    folder = tmp_path / "c"
    with Collection.open(folder, create=True, model=main, text_model=texts) as collection:
        assert collection.index(files).failed == 0
        yield collection


@pytest.fixture
def old(tmp_path, main, files, monkeypatch):
    """A collection whose main model embeds everything, as all did before."""
    folder = tmp_path / "old"
    monkeypatch.setenv("SEESAY_TEXT_MODEL", "seesay-text")
    with Collection.open(folder, create=True, model=main, text_model="none") as collection:
        collection.index(files)
        yield collection


def counts(collection):
    """Pictures, texts and captions with a vector, by role, of the spaces in use."""
    spaces = [space for space in collection.stats().spaces if space.active]
    return {space.role: (space.images, space.texts, space.captions) for space in spaces}


def text_reports(results):
    return {one.model: one.found for one in results.explain.retrievers if one.retriever == "text"}


def test_every_passage_has_one_vector_in_the_space_of_its_model(collection, main, texts):
    assert counts(collection) == {"main": (2, 0, 1), "text": (0, 4, 0)}
    assert collection.verify(deep=True) == []
    results = collection.search("a dog")
    assert text_reports(results) == {main.name: 1, texts.name: 4}
    assert {hit.text for hit in results.hits} == {*NOTES, "a brown dog", None}
    ranks = [one.rank for hit in results.hits for one in hit.retrievers if one.retriever == "text"]
    assert sorted(ranks) == [1, 1, 2, 3, 4]
    first = collection.search(NOTES[2], retrievers=["text"], count=2).hits
    assert NOTES[2] in {hit.text for hit in first}  # and the first of the captions


def test_text_vectors_are_those_of_the_text_embedder_for_passages(collection, texts):
    space = collection.store.spaces.active("text")
    (number,) = collection.passages_of(Path(collection.known_roots()[0]) / "1.txt")
    _, vectors = collection.store.vectors.get(space.id, [number])
    wanted = texts.embed_texts([NOTES[1]], role="passage").vectors
    np.testing.assert_allclose(vectors, wanted, atol=2e-3)


def test_nothing_is_embedded_again(collection, files, monkeypatch):
    (files / "copy.txt").write_text(NOTES[0], encoding="utf-8")
    report = collection.index(files)
    assert (report.reused, report.texts, report.refilled) == (1, 0, 0)
    assert counts(collection)["text"] == (0, 5, 0)


def test_a_lost_vector_of_a_text_is_restored_and_named_until_then(collection, files):
    space = collection.store.spaces.active("text")
    (number,) = collection.passages_of(files / "3.txt")
    with collection.store.writing("lose"):
        collection.store.vectors.remove(space.id, [number])
    assert [finding.kind for finding in collection.verify()] == ["missing vectors"]
    assert collection.index(files).refilled == 1
    assert collection.verify(deep=True) == []


def test_words_first_leaves_the_vectors_of_documents_to_the_next_run(tmp_path, main, texts, files):
    (files / "letter.pdf").write_bytes(pdf(lambda canvas: write(canvas, ["A harbour at dawn."])))
    first = IndexOptions(workers=1, words_first=True)
    with Collection.open(tmp_path / "w", create=True, model=main, text_model=texts) as collection:
        assert collection.index(files, first).postponed == 6  # notes, and the page with its text
        assert counts(collection) == {"main": (2, 0, 1), "text": (0, 0, 0)}
        hits = collection.search("harbour", retrievers=["keyword"]).hits
        assert ["harbour" in (hit.text or "") for hit in hits] == [True]
        report = collection.index(files)
        assert (report.refilled, report.postponed, report.unchanged) == (6, 0, 8)
        assert counts(collection) == {"main": (3, 0, 1), "text": (0, 5, 0)}
        assert collection.verify(deep=True) == []


@pytest.mark.parametrize("engine", ["faiss", "chroma"])
def test_both_spaces_are_in_the_index_of_an_engine(collection, engine):
    if engine == "chroma":
        pytest.importorskip("chromadb")
    before = [hit.unit for hit in collection.search("a dog").hits]
    built = collection.rebuild(engine)
    assert [(one.modality, one.status.vectors) for one in built] == [
        *(("image", 2), ("text", 1), ("text", 4)),
    ]
    assert [hit.unit for hit in collection.search("a dog").hits] == before
    assert collection.verify(deep=True) == []


def test_more_like_a_text_and_less_like_a_picture(collection, files):
    more = collection.search(like=files / "2.txt")
    assert {hit.text for hit in more.hits} == {*NOTES, "a brown dog"} - {NOTES[2]}
    both = collection.search("dog", unlike=[files / "1.jpg", files / "0.txt"])
    assert NOTES[0] not in {hit.text for hit in both.hits} and len(both.hits) == 4


def test_a_picture_finds_no_texts_by_their_vectors(collection, files):
    hits = collection.search(images=files / "1.jpg").hits
    assert {hit.kind for hit in hits} == {"image"}


def test_an_export_has_the_vectors_of_both(collection, tmp_path, main, texts):
    assert collection.export(tmp_path / "e.npz") == 6
    with np.load(tmp_path / "e.npz") as saved:
        assert saved["vectors"].shape == (2, 8) and saved["text_vectors"].shape == (4, 6)
        assert saved["kinds"].tolist() == ["image"] * 2 + ["text"] * 4
        assert (str(saved["model"]), str(saved["text_model"])) == (main.name, texts.name)
    collection.export(tmp_path / "e.jsonl")
    lines = (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()
    assert {(row["model"], len(row["vector"])) for row in map(json.loads, lines)} == {
        (main.name, 8),
        (texts.name, 6),
    }
    pytest.importorskip("pyarrow")
    assert collection.export(tmp_path / "e.parquet") == 6


def test_without_texts_no_text_embedder_is_loaded(tmp_path, main, monkeypatch):
    write_photo(tmp_path / "files" / "a.jpg", 1)
    for name in ("load", "load_texts"):
        monkeypatch.setattr(f"seesay.search.model.{name}", lambda *_, **__: pytest.fail("loaded"))
    monkeypatch.delenv("SEESAY_TEXT_MODEL", raising=False)
    with Collection.open(tmp_path / "c", create=True, model=main) as collection:
        collection.index(tmp_path / "files")
        assert len(collection.search("a dog").hits) == 1
        assert collection.text_model.name == "seesay-text"


def test_the_text_embedder_is_remembered_and_another_refused(collection, main, texts):
    folder = collection.store.folder
    with Collection.open(folder, model=main) as again:
        assert again.text_model.name == texts.name
    with pytest.raises(CollectionError, match=r"seesay index --text-model none"):
        Collection.open(folder, model=main, text_model="none")
    with pytest.raises(ConfigError, match="embeds pictures too"):
        Collection.open(folder, model=main, text_model="seesay-mini")


def test_a_switch_that_is_killed_goes_on_and_searches_use_the_old_vectors_until_then(
    old, main, texts, monkeypatch
):
    monkeypatch.setattr(fill, "_AT_ONCE", 2)
    assert counts(old) == {"main": (2, 4, 1)}
    before = [hit.unit for hit in old.search("a dog").hits]

    def die(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        old.switch_text_model(texts, on_progress=die)
    assert counts(old) == {"main": (2, 4, 1)} and old.verify(deep=True) == []
    assert [hit.unit for hit in old.search("a dog").hits] == before
    report = old.switch_text_model(texts)
    assert (report.embedded, report.failed, report.complete) == (2, 0, True)
    assert counts(old) == {"main": (2, 0, 1), "text": (0, 4, 0)}
    assert text_reports(old.search("a dog")) == {main.name: 1, texts.name: 4}
    assert old.verify(deep=True) == []
    with Collection.open(old.store.folder, model=main) as again:
        assert again.text_model.name == texts.name


def test_and_back_to_one_model(collection, main, texts):
    report = collection.switch_text_model("none")
    assert (report.embedded, report.complete) == (4, True)
    assert counts(collection) == {"main": (2, 4, 1)} and collection.text_model.name is None
    assert text_reports(collection.search("a dog")) == {main.name: 5}
    assert collection.switch_text_model(texts).embedded == 0  # its vectors were kept
    assert counts(collection) == {"main": (2, 0, 1), "text": (0, 4, 0)}
    collection.switch_text_model("none")
    assert [space.model for space in collection.forget_unused()] == [texts.name]
    assert collection.verify(deep=True) == []


def test_another_model_for_pictures_leaves_the_texts_alone(collection, main, texts, tmp_path):
    (tmp_path / "o").mkdir()
    other = load(write_checkpoint(tmp_path / "o", dim=10), device="cpu", dtype="float32")
    assert collection.switch_model(other).embedded == 2
    assert counts(collection) == {"main": (2, 0, 1), "text": (0, 4, 0)}
    assert text_reports(collection.search("a dog")) == {other.name: 1, texts.name: 4}


def test_a_chinese_question_finds_the_paragraph_that_answers_it_in_other_words(tmp_path, main):
    folder = tmp_path / "texts"
    folder.mkdir()
    paragraphs = {
        "lease": "承租人须提前三个月以书面形式告知房东终止租约。",
        "bread": "把面粉、水和酵母揉成面团，静置一晚，再放进烤箱。",
        "moon": "The Moon keeps the same face turned towards the Earth.",
        "tax": "本公司第三季度营业收入同比增长百分之十二。",
    }
    for name, paragraph in paragraphs.items():
        (folder / f"{name}.txt").write_text(paragraph, encoding="utf-8")
    with Collection.open(
        tmp_path / "c", create=True, model=main, text_model="seesay-text"
    ) as collection:
        collection.index(folder)
        for question, answer in (
            ("退租要多久之前通知？", "lease"),
            ("怎样做吐司？", "bread"),
            ("为什么我们看不到月球背面？", "moon"),
            ("How much did sales rise?", "tax"),
        ):
            results = collection.search(question, retrievers=["text"])
            assert Path(results.hits[0].path).stem == answer, question
            assert results.hits[0].confidence > results.hits[1].confidence
        assert collection.search("麻疹疫苗什么时候接种？", retrievers=["text"]).no_good_match

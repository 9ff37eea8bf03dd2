"""A reading process finds the vectors of contents that the collection has."""

from dataclasses import replace

import made_collections as made
from seesay.data.squares import ImageTransformConfig
from seesay.search.reading import process
from seesay.search.reading.files import ReadLimits, content_hash
from seesay.search.reading.messages import ListedFile, ReadSettings
from seesay.search.reading.process import read, stored_vectors

TEXT = b"A dog runs over the grass."


def add(store, space, *texts, vectors):
    """A text file with these passages, the first of which have vectors."""
    note = made.note("a", "")
    units = tuple(made.note("a", text).passages[0] for text in texts)
    note = replace(note, passages=units, content_hash=content_hash(TEXT))
    with store.writing("index"):
        (stored,) = store.files.put([note])
        store.vectors.put(space.id, stored.passages[:vectors], made.unit_vectors(vectors))


def read_text(store, space, tmp_path, **options):
    (tmp_path / "b.txt").write_bytes(TEXT)
    file = ListedFile(path=str(tmp_path / "b.txt"), expected="text", **options)
    settings = ReadSettings(
        transform=ImageTransformConfig(),
        reduce_large=True,
        limits=ReadLimits(),
        spaces=2 * (space.id,),
    )
    (result,) = read(file, settings, store.database)
    return result


def test_vectors_come_along_for_each_passage_unless_the_file_is_to_be_decoded(store, tmp_path):
    space = made.add_space(store)
    add(store, space, "A dog runs over the grass.", vectors=1)
    result = read_text(store, space, tmp_path)
    assert len(result.passages) == 1 and len(result.vectors) == 2 * made.DIM
    assert read_text(store, space, tmp_path, decode=True).vectors == b""


def test_vectors_are_left_where_one_is_lost_or_the_text_was_cut_in_another_way(store, tmp_path):
    space = made.add_space(store)
    add(store, space, "A dog", "runs", vectors=1)
    assert stored_vectors(store.database, 2 * (space.id,), content_hash(TEXT), "text") == ()
    add(store, space, "A dog", "runs", vectors=2)
    assert len(stored_vectors(store.database, 2 * (space.id,), content_hash(TEXT), "text")) == 2
    result = read_text(store, space, tmp_path)
    assert len(result.passages) == 1 and result.vectors == b""


def test_looking_for_a_content_does_not_look_through_all_vectors(store):
    names = {"space": 1, "texts": 1, "content": "x", "media_type": "image"}
    plan = store.database.rows(f"EXPLAIN QUERY PLAN {process._STORED}", names)
    steps = " ".join(str(row[-1]) for row in plan)
    assert "items_by_hash (content_hash=?)" in steps and "vectors_by_change" not in steps

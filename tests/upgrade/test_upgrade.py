"""What a released version left on disk works with today's, and nothing is computed again.

`make.py` made it with the commands of that version.
"""

import csv
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from raw_rows import raw_rows
from seesay.cli.main import run
from seesay.errors import ConfigError
from seesay.inference.embedder import load
from seesay.search.collection import Collection
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from tiny_checkpoint import write_checkpoint
from tiny_runs import same, weights

HERE = Path(__file__).parent
VERSIONS = sorted(path.name for path in HERE.iterdir() if (path / "answers.json").is_file())
MADE_AT = "/srv/seesay"
STORED_PATHS = ("settings.value", "runs.arguments", "items.path", "items.folder", "said.source")


@pytest.fixture(scope="module", params=VERSIONS)
def original(request):
    return HERE / request.param


@pytest.fixture(scope="module")
def answers(original):
    return json.loads((original / "answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model():
    return load("seesay-mini")


def moved(original, place):
    """A copy as it would be had it been made at `place`, its files as old as the collection says.
    Only what the version itself wrote into its tables is touched."""
    shutil.copytree(original, place, dirs_exist_ok=True)
    file = place / "collection" / "collection.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        for table, column in (name.split(".") for name in (*STORED_PATHS, "quarantine.path")):
            new = f"replace({column}, '{MADE_AT}', '{place}')"
            connection.execute(f"UPDATE {table} SET {column} = {new}")
        known = "SELECT path, mtime_ns FROM items UNION SELECT path, mtime_ns FROM quarantine"
        for path, mtime_ns in connection.execute(known):
            os.utime(path, ns=(mtime_ns, mtime_ns))
    return place


@pytest.fixture(scope="module")
def _library(original, tmp_path_factory):
    return moved(original, tmp_path_factory.mktemp("library"))


@pytest.fixture
def library(_library, monkeypatch):
    """A place that is shared by tests that change nothing."""
    return settle(_library, monkeypatch)


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    return settle(moved(original, tmp_path), monkeypatch)


def settle(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("SEESAY_HOME", str(place / "home"))
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "200")
    return place


def vectors_of(collection):
    """Every vector of a file, read without seesay."""
    with closing(sqlite3.connect(collection / "collection.sqlite")) as connection:
        sql = "SELECT unit, space, modality, vector FROM vectors ORDER BY 1, 2, 3"
        return connection.execute(sql).fetchall()


def metadata_of(collection, name):
    (unit,) = collection.passages_of(Path("pictures") / name)
    return collection.store.metadata.get([unit])[unit]


def caption_of(collection, name):
    (unit,) = collection.passages_of(Path("pictures") / name)
    return collection.store.passages.get([unit])[0].text


def counts(report):
    names = ("added", "updated", "moved", "removed", "unchanged", "skipped", "images", "texts")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def test_a_collection_opens_without_its_model_and_keeps_every_vector(original, place, monkeypatch):
    monkeypatch.setattr("seesay.search.model.load", lambda *_, **__: pytest.fail("was loaded"))
    with Collection.open(place / "collection") as collection:
        assert collection.verify(deep=True, files=True) == []
    assert vectors_of(place / "collection") == vectors_of(original / "collection") != []


def test_searches_find_first_what_they_found_first(library, answers, capsys):
    for search in answers["searches"]:
        arguments = ["search", *search["arguments"], "--collection", "./collection", "--paths"]
        assert run(arguments) == 0
        found = capsys.readouterr().out.replace(f"{library}/", "").splitlines()
        assert found[0] == search["found"][0], search


def test_captions_tags_numbers_and_dates_are_there(library):
    with Collection.open("./collection") as collection:
        assert caption_of(collection, "cat.jpg") == "the face of a cat\n一只猫的脸"
        cat = metadata_of(collection, "cat.jpg")
        assert (cat["stars"], cat["tag"], cat["地点"]) == (2.0, "cat", "北京")
        assert cat["date"].isoformat() == "2019-05-02T00:00:00+00:00"
        assert metadata_of(collection, "the cat again.jpg")["tag"] == "cat"


def test_statistics_duplicates_and_export_know_all_of_it(library, answers, capsys):
    assert run(["stats", "--collection", "./collection", "--json"]) == 0
    stats = json.loads(capsys.readouterr().out.replace(f"{library}/", ""))
    for name in ("items", "units", "missing", "failed", "metadata", "roots", "engine"):
        assert stats[name] == answers["stats"][name]
    with Collection.open("./collection") as collection:
        (group,) = collection.duplicates(exact=True).groups
        assert {Path(file.path).name for file in group.files} == {"cat.jpg", "the cat again.jpg"}
        assert [Path(one.path).name for one in collection.errors()] == ["damaged.jpg"]
        assert collection.export("export.jsonl") == 11


def test_indexing_again_changes_only_what_has_changed(place, model):
    before = vectors_of(place / "collection")
    with Collection.open("./collection", loader=lambda name: model) as collection:
        assert counts(collection.index()) == {"unchanged": 12, "skipped": 1}
        assert vectors_of(place / "collection") == before
        pictures = place / "pictures"
        shutil.copy(pictures / "bricks.jpg", pictures / "moon.jpg")
        (pictures / "camera.jpg").rename(pictures / "photographer.jpg")
        (pictures / "coffee.jpg").unlink()
        (pictures / "tea.txt").write_text("Green tea from Hangzhou.", encoding="utf-8")
        report = collection.index()
        expected = {"added": 1, "updated": 1, "moved": 1, "removed": 1, "unchanged": 9}
        assert counts(report) == {**expected, "skipped": 1, "texts": 1}
        assert report.reused == 1  # the bricks
        (first, *_) = collection.search("green tea").hits
        assert first.path == str(pictures / "tea.txt")
        assert collection.verify(deep=True, files=True) == []


def test_a_table_that_has_changed_describes_its_pictures_anew(place, model):
    table = place / "pictures" / "captions.csv"
    with table.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row[0] != "bricks.jpg"]
    rows[1][1:4] = ["an American astronaut", "2030-01-01", "9"]
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    with Collection.open("./collection", loader=lambda name: model) as collection:
        collection.index()
        assert caption_of(collection, "astronaut.jpg").startswith("an American astronaut")
        assert metadata_of(collection, "astronaut.jpg")["stars"] == 9.0
        assert metadata_of(collection, "bricks.jpg").keys() == {"width", "height"}
        assert caption_of(collection, "bricks.jpg") is None
        assert metadata_of(collection, "cat.jpg")["tag"] == "cat"
        assert collection.verify(deep=True) == []


def test_its_index_is_built_anew_by_the_next_run(place, model):
    with Collection.open("./collection", loader=lambda name: model) as collection:
        collection.index()
        for modality in ("image", "text"):
            (folder,) = (place / "collection" / "indexes").glob(f"*-{modality}")
            assert [path.name for path in folder.iterdir() if path.is_dir()] == ["00000002"]
        assert collection.verify(deep=True) == []


def test_an_index_that_is_built_before_anything_has_changed_is_used(place):
    with Collection.open("./collection") as collection:
        file = place / "collection" / "collection.sqlite"
        with raw_rows(file) as connection:  # one of two is negative
            connection.execute("UPDATE ledger SET token = -abs(token)")
        assert [lane.status.problem for lane in collection.rebuild()] == [None, None]
        assert collection.verify(deep=True) == []


def test_a_picture_collection_on_a_disk_that_is_away_is_searched_all_the_same(place, model):
    shutil.move("pictures", "elsewhere")
    with Collection.open("./collection", loader=lambda name: model) as collection:
        assert collection.search("a cat").hits[0].path == str(place / "pictures" / "cat.jpg")
        assert collection.index().missing_roots == (str(place / "pictures"),)
        assert sum(collection.stats().items.values()) == 12
        report = collection.index(["elsewhere"])
        # Markdown was read as plain text: its one passage now begins with its heading.
        assert (report.moved, report.images, report.texts) == (0, 0, 1), counts(report)


def test_a_trained_model_gives_the_same_vectors(library, answers):
    embedder = load("./finished/model", dtype="float32")
    items = answers["vectors"]["items"]
    pictures = [item["source"] for item in items if item["kind"] == "image"]
    texts = [item["source"] for item in items if item["kind"] == "text"]
    now = [*embedder.embed_images(pictures).vectors, *embedder.embed_texts(texts).vectors]
    # They were computed in bfloat16, which each kind of processor rounds in its own way.
    np.testing.assert_allclose(now, [item["vector"] for item in items], rtol=0, atol=4e-3)


def test_a_killed_run_is_resumed_and_ends_as_the_one_that_was_not(place):
    recipe = read_recipe(Path("recipe.toml"), ("run.folder=unfinished",))
    with pytest.raises(ConfigError, match=r"already holds a run of \d+ steps.*--resume"):
        train(recipe)
    assert train(recipe, resume=True).step == 60
    finished, resumed = (
        [(row["step"], row["loss"]) for row in read_log(Path(name) / "log.jsonl")]
        for name in ("finished", "unfinished")
    )
    assert [step for step, _ in resumed] == [step for step, _ in finished]
    # Later ones drift apart where another processor rounds otherwise.
    np.testing.assert_allclose(resumed[:13], finished[:13], rtol=1e-3)
    assert weights(Path("unfinished/model")).keys() == weights(Path("finished/model")).keys()


def test_a_finished_run_says_so_and_keeps_its_model(place, capsys):
    before = weights(Path("finished/model"))
    assert run(["train", "recipe.toml", "--resume"]) == 0
    told = capsys.readouterr().out
    assert told == "nothing was left to train; the model of step 60 is in finished/model\n"
    assert same(weights(Path("finished/model")), before)


def test_a_finished_run_goes_on_to_more_steps_and_replaces_its_model(place):
    before = weights(Path("finished/model"))
    recipe = read_recipe(Path("recipe.toml"), ("run.steps=62",))
    assert train(recipe, resume=True).step == 62
    assert not same(weights(Path("finished/model")), before)


def test_a_model_that_no_checkpoint_of_the_run_has_the_weights_of_is_not_replaced(place):
    shutil.copytree("finished/model", "unfinished/model")
    recipe = read_recipe(Path("recipe.toml"), ("run.folder=unfinished",))
    before = (place / "unfinished" / "log.jsonl").read_bytes()
    words = r"unfinished/model holds the model of an unknown run; .* move it away"
    with pytest.raises(ConfigError, match=words):
        train(recipe, resume=True)
    assert (place / "unfinished" / "log.jsonl").read_bytes() == before
    shutil.move("unfinished/model", "theirs")
    assert train(recipe, resume=True).step == 60


def test_a_recipe_trains_from_its_beginning(place):
    recipe = read_recipe(Path("recipe.toml"), ("run.folder=again", "run.steps=3"))
    assert train(recipe).folder == Path("again/model")
    old, new = (read_log(Path(name) / "log.jsonl") for name in ("finished", "again"))
    np.testing.assert_allclose(new[0]["loss"], old[0]["loss"], rtol=1e-3)


def test_texts_keep_their_vectors_until_a_text_embedder_is_chosen(place, model, tmp_path):
    folder = write_checkpoint(tmp_path, image=False, dim=6)
    texts = load(folder, device="cpu", dtype="float32")
    with Collection.open(place / "collection", model=model) as collection:
        known = collection.stats().units["text"]
        (space,) = (one for one in collection.stats().spaces if one.active)
        assert collection.text_model.name is None and space.texts == known > 0
        report = collection.switch_text_model(texts)
        assert (report.embedded, report.complete) == (known, True)
        assert collection.text_model.name == texts.name
        assert {one.model for one in collection.search("a dog").explain.retrievers} >= {texts.name}
        assert not [f for f in collection.verify(deep=True) if "vector" in f.kind]

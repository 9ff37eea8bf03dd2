"""A run removes and replaces only what a run has written."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from seesay.errors import ConfigError
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.sweep import cells_of, claim_sweep_folder, read_sweep
from tiny_runs import measured_by, write_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two steps, and its recipe."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = read_recipe(write_run(folder), ("run.steps=2", "checkpoint.every=1"))
    train(recipe)
    return folder


@pytest.fixture
def place(finished, tmp_path):
    """A copy of it in which all may be changed."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def recipe_of(place, *assignments):
    return read_recipe(
        place / "recipe.toml",
        ("run.steps=2", "checkpoint.every=1", f"run.folder={place / 'run'}", *assignments),
    )


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "model/thesis.txt",
        "model/seesay.json",
        "checkpoints/step-5/weights.bin",
        "log.jsonl",
        "damaged-0.jsonl",
        "not-finite-step-1-process-0.json",
        "tensorboard/events",
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_something_else_is_refused_before_the_run(tmp_path, name, resume):
    write_run(tmp_path)
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text('{"step": 5}\n')
    before = content(tmp_path)
    message = rf"run holds {name.split('/')[0]}, which seesay did not put there .* move it away"
    with pytest.raises(ConfigError, match=message):
        train(recipe_of(tmp_path), resume=resume)
    assert content(tmp_path) == before


def test_a_folder_with_other_things_is_trained_in_and_these_stay(tmp_path):
    write_run(tmp_path)
    (tmp_path / "notes.md").write_text("mine")
    train(recipe_of(tmp_path, f"run.folder={tmp_path}"))
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_a_finished_run_writes_its_own_model_again(place):
    before = json.loads((place / "run" / "model" / "seesay.json").read_text())
    train(recipe_of(place, "run.export=float16"), resume=True)
    after = json.loads((place / "run" / "model" / "seesay.json").read_text())
    mark = json.loads((place / "run" / "seesay-run.json").read_text())
    assert before["run"] == after["run"] == mark["id"]
    assert sorted(path.name for path in (place / "run").iterdir()) == [
        "checkpoints",
        "log.jsonl",
        "model",
        "seesay-run.json",
    ]


def put_another_runs_model(model):
    described = json.loads((model / "seesay.json").read_text())
    (model / "seesay.json").write_text(json.dumps(described | {"run": "another"}))


def remove_the_id(model):
    described = json.loads((model / "seesay.json").read_text())
    del described["run"]
    (model / "seesay.json").write_text(json.dumps(described))


def put_other_weights_without_a_run(model):
    remove_the_id(model)
    other = {name: value + 1 for name, value in load_file(model / "model.safetensors").items()}
    save_file(other, model / "model.safetensors")


def put_notes_beside_a_model_without_a_run(model):
    remove_the_id(model)
    put_notes(model)


def put_damaged_weights_without_a_run(model):
    remove_the_id(model)
    (model / "model.safetensors").write_bytes(b"years of work")


def put_notes(model):
    (model / "notes.md").write_text("mine")


def put_a_file(model):
    shutil.rmtree(model)
    model.write_text("mine")


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (put_another_runs_model, "holds the model of the run another"),
        (put_other_weights_without_a_run, "holds the model of an unknown run"),
        (put_damaged_weights_without_a_run, "holds the model of an unknown run"),
        (put_notes_beside_a_model_without_a_run, r"holds 'notes\.md', which no saved model has"),
        (put_notes, r"holds 'notes\.md', which no saved model has"),
        (put_a_file, "is not a folder"),
    ],
)
def test_a_model_that_is_not_the_runs_is_refused_before_it_resumes(place, put, words):
    put(place / "run" / "model")
    before = content(place)
    with pytest.raises(ConfigError, match=rf"model {words}; .* move it away"):
        train(recipe_of(place), resume=True)
    assert content(place) == before


@pytest.mark.parametrize("export", ["float32", "float16"])
@pytest.mark.parametrize("mark", [True, False])
def test_a_model_without_an_id_is_the_runs_if_it_has_the_weights_of_a_checkpoint(
    place, export, mark
):
    train(recipe_of(place, f"run.export={export}"), resume=True)
    remove_the_id(place / "run" / "model")
    if not mark:
        (place / "run" / "seesay-run.json").unlink()
    assert train(recipe_of(place, "run.steps=3"), resume=True).step == 3
    described = json.loads((place / "run" / "model" / "seesay.json").read_text())
    mark = json.loads((place / "run" / "seesay-run.json").read_text())
    assert described["run"] == mark["id"]


def test_a_model_that_comes_during_the_training_stays_and_the_run_can_be_finished(tmp_path):
    write_run(tmp_path)
    theirs = tmp_path / "run" / "model" / "thesis.txt"

    def arrive(embedder):
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_text("years of work")
        return {}

    with pytest.raises(ConfigError, match=r"holds 'thesis\.txt'"):
        train(measured_by(recipe_of(tmp_path), arrive))
    assert theirs.read_text() == "years of work"
    shutil.move(theirs.parent, tmp_path / "theirs")
    assert train(recipe_of(tmp_path), resume=True).step == 2


def test_a_run_of_a_version_without_marks_goes_on(place):
    (place / "run" / "seesay-run.json").unlink()
    shutil.rmtree(place / "run" / "model")
    shutil.rmtree(place / "run" / "checkpoints" / "step-00000002")
    assert train(recipe_of(place), resume=True).step == 2
    assert (place / "run" / "seesay-run.json").is_file()


@pytest.mark.parametrize("text", ["[1]", '{"id": "1"}', "not JSON", "[" * 100_000])
def test_a_file_that_has_the_marks_name_is_no_mark(tmp_path, text):
    write_run(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "seesay-run.json").write_text(text)
    with pytest.raises(ConfigError, match=r"seesay-run\.json is not a mark that seesay wrote"):
        train(recipe_of(tmp_path))


def test_a_sweep_replaces_only_its_own_reports(tmp_path):
    write_run(tmp_path)
    file = tmp_path / "sweep.toml"
    file.write_text(
        f'recipe = "recipe.toml"\nfolder = "{tmp_path}"\n'
        '[axes.steps]\none = { "run.steps" = 1 }\ntwo = { "run.steps" = 2 }\n'
    )
    config = read_sweep(file)
    cells = cells_of(config, file)
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"holds report\.html, which seesay did not put there"):
        claim_sweep_folder(config, cells)
    (tmp_path / "report.html").rename(tmp_path / "mine.html")
    claim_sweep_folder(config, cells)
    (tmp_path / "report.html").write_text("of the sweep")
    claim_sweep_folder(config, cells)


def test_a_foreign_model_folder_does_not_count_as_a_finished_run_of_a_sweep(tmp_path):
    write_run(tmp_path)
    file = tmp_path / "sweep.toml"
    file.write_text(
        f'recipe = "recipe.toml"\nfolder = "{tmp_path}/sweep"\n'
        '[axes.steps]\none = { "run.steps" = 1 }\n'
    )
    (cell,) = cells_of(read_sweep(file), file)
    (tmp_path / "sweep" / "one" / "model").mkdir(parents=True)
    assert not cell.finished

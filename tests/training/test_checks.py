"""A recipe that could learn nothing is refused before the first step, with what to change."""

import json

import pytest
import torch

from seesay.cli.main import run
from seesay.errors import ConfigError, DataError
from seesay.models.dual_encoder import DualEncoder
from seesay.models.vit import Vit
from seesay.training import run as module
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from tiny_runs import losses, measured_by, same, weights, write_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checks")
    write_run(folder)
    return folder


@pytest.fixture
def recipe(place, tmp_path):
    """The tiny recipe with changes; a run of it writes into a folder of its own."""

    def change(*assignments):
        return read_recipe(place / "recipe.toml", (f"run.folder={tmp_path / 'run'}", *assignments))

    return change


def with_own_words(place, tmp_path):
    """The same recipe with a vocabulary of the texts in place of a folder's."""
    lines = (place / "recipe.toml").read_text(encoding="utf-8")
    folder = f'tokenizer_folder = "{place}"'
    vocabulary = "vocabulary = { size = 320, min_frequency = 1 }"
    assert folder in lines
    file = tmp_path / "own-words.toml"
    file.write_text(lines.replace(folder, vocabulary), encoding="utf-8")
    return file


# What the settings show


def test_a_vocabulary_without_an_end_is_refused_where_the_text_is_read_at_its_end(place, tmp_path):
    file = with_own_words(place, tmp_path)
    settings = ("model.architecture.text.vocab_size=320", f"run.folder={tmp_path / 'run'}")
    with pytest.raises(ConfigError, match=r"eos_id=2 does not mark the end.*written=true"):
        train(read_recipe(file, settings))
    assert not (tmp_path / "run" / "log.jsonl").exists()
    written = (*settings, "model.vocabulary.written=true", "run.steps=1")
    assert train(read_recipe(file, written)).step == 1  # as the message says, in the same folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.architecture.text.eos_id=1"], r"\[1\] before .* \[2\] behind .*set .*eos_id=2"),
        (["model.architecture.text.eos_id=7"], r"eos_id=7 does not mark the end"),
        (["model.architecture.text.vocab_size=40"], r"vocab_size=40 is not the 31 tokens.*=31"),
        (["data.squares.batch=33"], r"batch=33 is larger than the 32 records.*batch=32 or lower"),
        (["data.squares.stop=6"], r"batch=8 is larger than the 6 records"),
        (["data.squares.batch=1"], r"no gradient reaches .* at least 2 with different texts"),
    ],
)
def test_settings_that_teach_nothing_are_refused_before_the_first_step(
    recipe, tmp_path, settings, message
):
    with pytest.raises(ConfigError, match=message):
        train(recipe(*settings))
    assert not (tmp_path / "run" / "log.jsonl").exists()
    assert train(recipe("run.steps=1")).step == 1  # nothing is in the way of the next try


def test_a_padding_token_that_stands_in_texts_is_refused(recipe):
    tower = "{ kind = 'meantext', vocab_size = 31, context = 12, dim = 16, heads = 2, pad_id = 5 }"
    with pytest.raises(ConfigError, match="padding token 5 stands inside the texts"):
        train(recipe(f"model.architecture.text={tower}", "model.tokenizer.pad_id=5"))


# What the first batch shows


def blind(monkeypatch, method):
    """Let the vectors of models not depend on what they are shown."""
    project = getattr(DualEncoder, method)
    monkeypatch.setattr(
        DualEncoder, method, lambda model, rows: project(model, torch.zeros_like(rows))
    )


@pytest.mark.parametrize(
    ("method", "what"), [("project_texts", "texts"), ("project_images", "pictures")]
)
def test_a_model_that_gives_all_the_same_vector_is_refused(recipe, monkeypatch, method, what):
    blind(monkeypatch, method)
    with pytest.raises(
        ConfigError, match=rf"different {what} of the first batch \(squares\) only 1"
    ):
        train(recipe())


def test_a_part_without_a_gradient_is_refused_unless_it_is_locked(recipe, monkeypatch):
    forward = Vit.forward
    monkeypatch.setattr(Vit, "forward", lambda vit, images: forward(vit, images).detach())
    with pytest.raises(ConfigError, match=r"no gradient reaches image\..*freeze=\['image\."):
        train(recipe())
    assert train(recipe("optimizer.freeze=['image']", "run.steps=1")).step == 1


def test_the_check_changes_nothing_of_the_run(recipe, tmp_path, monkeypatch):
    dropout = "optimizer.ema=0.9"
    train(recipe(dropout))
    monkeypatch.setattr(module, "check_gradients", lambda *given: None)
    monkeypatch.setattr(module, "check_vectors", lambda *given: None)
    train(recipe(dropout, f"run.folder={tmp_path / 'unchecked'}"))
    assert losses(tmp_path / "run") == losses(tmp_path / "unchecked")
    assert same(weights(tmp_path / "run" / "model"), weights(tmp_path / "unchecked" / "model"))


# Data


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_whose_pictures_are_all_missing_is_one_line(place, tmp_path, capsys, workers):
    rows = [{"image": f"gone-{n}.png", "en": f"number {n}"} for n in range(20)]
    table = tmp_path / "gone.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    changes = [f"data.squares.path={table}", f"loading.workers={workers}"]
    changes += [f"run.folder={tmp_path / 'run'}"]
    sets = [part for change in changes for part in ("--set", change)]
    assert run(["train", str(place / "recipe.toml"), *sets]) == 2
    error = capsys.readouterr().err
    assert "records of 'squares' in a row cannot be read" in error and "gone-" in error
    assert error.count("\n") == 1 and "Traceback" not in error and "worker" not in error
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_worker_that_can_read_nothing_any_more_hands_its_reason_on(recipe, place, monkeypatch):
    for check in ("first_batch", "check_vectors", "check_gradients"):
        monkeypatch.setattr(module, check, lambda *given: None)
    lines = (place / "squares.jsonl").read_text(encoding="utf-8")
    (place / "gone.jsonl").write_text(lines.replace(".png", "-gone.png"), encoding="utf-8")
    settings = recipe("loading.workers=1", f"data.squares.path={place}/gone.jsonl")
    with pytest.raises(DataError, match=r"^20 records of 'squares' in a row cannot be read"):
        train(settings)


def test_words_in_the_label_column_are_named_as_the_reason(recipe, tmp_path):
    table = tmp_path / "words.csv"
    table.write_text("image,label\na.png,cat\nb.png,dog\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"2 were left out, the first, words.csv line 2, because the label 'cat'"
    ) as error:
        train(recipe(f"data.squares.path={table}"))
    assert 'columns = { caption = "label" }' in str(error.value)
    settings = recipe(f"data.squares.path={table}", "data.squares.columns={ caption = 'label' }")
    with pytest.raises(ConfigError, match="larger than the 2 records"):  # which now count
        train(settings)


# Evaluation


def test_languages_without_captions_are_refused_before_the_run(place, tmp_path, capsys):
    rows = [json.loads(line) for line in (place / "squares.jsonl").read_text().splitlines()]
    english = "\n".join(json.dumps({"image": row["image"], "en": row["en"]}) for row in rows)
    (place / "english.jsonl").write_text(english, encoding="utf-8")
    dev = f"evaluation.retrieval={{ path = '{place}/english.jsonl', format = 'table' }}"
    settings = [dev, f"data.squares.path={place}/english.jsonl", f"run.folder={tmp_path / 'run'}"]
    sets = [part for change in settings for part in ("--set", change)]
    assert run(["train", str(place / "recipe.toml"), *sets]) == 2
    error = capsys.readouterr().err
    assert "[evaluation.retrieval]" in error and "no captions in zh among its 32 records" in error
    assert "set languages = ['en']" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    only = ["--set", "evaluation.retrieval.languages=['en']", "--set", "run.steps=2"]
    assert run(["train", str(place / "recipe.toml"), *sets, *only]) == 0
    told = capsys.readouterr().out
    assert "before" in told and "en_text_to_image_r10" in told and "gain" in told


def test_what_was_learned_is_kept_where_the_evaluation_fails(recipe, tmp_path):
    given = iter([{"score": 0.1}])

    def evaluate(embedder):
        if (found := next(given, None)) is None:
            raise DataError("the disk with the dev set is gone")
        return found

    settings = recipe("checkpoint.every=1000", "run.steps=4", "evaluation.every=4")
    settings = measured_by(settings, evaluate, "score")
    with pytest.raises(DataError, match="is gone"):
        train(settings)
    trained = train(settings, resume=True)
    assert trained.step == 4 and trained.before == {"score": 0.1}


def test_the_gain_survives_a_break(recipe, tmp_path, monkeypatch):
    scores = iter([0.1, 0.7])
    settings = recipe("checkpoint.every=2", "run.steps=4", "evaluation.every=4")
    settings = measured_by(settings, lambda embedder: {"score": next(scores)}, "score")

    after = module._Run._after_step

    def stop(of_run, done):
        after(of_run, done)
        if done.number == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module._Run, "_after_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings)
    trained = train(settings, resume=True)
    assert (trained.before, trained.measured) == ({"score": 0.1}, {"score": 0.7})
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    scored = [(row["step"], row["score"]) for row in map(json.loads, lines) if "score" in row]
    assert scored == [(0, 0.1), (4, 0.7)]

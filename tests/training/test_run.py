"""Whole runs, from a recipe to a model that loads."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import references
import seesay
from seesay.errors import ConfigError, DataError, TrainingError
from seesay.inference.embedder import Embedder
from seesay.models.mobilenet import MobileNet
from seesay.training import run as module
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from seesay.weights.bundle import load_bundle
from seesay.weights.hub import IMAGE_HALF
from seesay.weights.saving import save_bundle
from tiny_runs import RECIPE, losses, measured_by, same, weights, write_run, write_squares


@pytest.fixture
def recipe(tmp_path):
    file = write_run(tmp_path)
    return lambda *assignments: read_recipe(file, assignments)


# From beginning to end


def test_a_run_learns_and_its_model_loads(recipe, tmp_path):
    easy = ("data.squares.augmentation.crop_scale=[1.0, 1.0]", "checkpoint.every=60")
    trained = train(recipe("run.steps=60", "optimizer.lr=0.003", "optimizer.warmup=0.1", *easy))
    of_run = losses(tmp_path / "run")
    assert sum(of_run[step] for step in range(56, 61)) / 5 < of_run[1] - 0.3
    embedder = Embedder(load_bundle(trained.folder))
    rows = [json.loads(line) for line in (tmp_path / "squares.jsonl").read_text().splitlines()]
    images = embedder.embed_images([tmp_path / row["image"] for row in rows]).vectors
    texts = embedder.embed_texts([row["zh"][0] for row in rows]).vectors
    cosines = images @ texts.T
    assert np.diag(cosines).mean() > cosines.mean() + 0.3
    assert trained.step == 60


def test_another_seed_makes_another_model(recipe, tmp_path):
    one = weights(train(recipe()).folder)
    two = weights(train(recipe("run.seed=1", f"run.folder={tmp_path / 'two'}")).folder)
    assert not same(one, two)


def test_a_run_that_is_there_already_is_not_overwritten(recipe):
    train(recipe())
    with pytest.raises(ConfigError, match=r"already holds a run of 12 steps.*--resume"):
        train(recipe())


def test_epochs_decide_the_steps(recipe, tmp_path):
    train(recipe("run.epochs=2.5", "run.steps=1"))
    assert list(losses(tmp_path / "run")) == [1]
    table = (tmp_path / "recipe.toml").read_text().replace("steps = 12", "epochs = 2.5")
    (tmp_path / "epochs.toml").write_text(table)
    epochs = read_recipe(tmp_path / "epochs.toml", (f"run.folder={tmp_path / 'epochs'}",))
    assert train(epochs).step == 10  # 32 records in batches of 8


# Going on from a model


def test_a_finished_model_can_be_trained_further(recipe, tmp_path):
    first = train(recipe())
    lines = (tmp_path / "recipe.toml").read_text()
    begin, end = lines.index("[model]"), lines.index("[data.squares]")
    further = f'{lines[:begin]}[model]\nstart = "{first.folder}"\n\n{lines[end:]}'
    (tmp_path / "further.toml").write_text(further)
    second = read_recipe(
        tmp_path / "further.toml", (f"run.folder={tmp_path / 'two'}", "run.steps=1")
    )
    before, after = weights(first.folder), weights(train(second).folder)
    moved = max((before[n] - after[n]).abs().max().item() for n in before)
    assert 0 < moved < 0.03  # one step of at most lr, from where the first run ended


def test_a_model_published_in_two_halves_can_be_begun_from(tmp_path):
    halves = references.taiyi(tmp_path)
    halves.image_folder.rename(halves.folder / IMAGE_HALF)  # as `seesay models pull` lays it out
    write_squares(tmp_path)
    beginning, ending = RECIPE.split("[model]")[0], RECIPE[RECIPE.index("[data.squares]") :]
    model = f'[model]\nstart = "{halves.folder}"\n\n'
    (tmp_path / "recipe.toml").write_text((beginning + model + ending).format(folder=tmp_path))
    trained = train(read_recipe(tmp_path / "recipe.toml", ("run.steps=1", "optimizer.lr=1e-9")))
    before = load_bundle(halves.folder, image_folder=halves.folder / IMAGE_HALF).model
    after = weights(trained.folder)
    for name, value in before.state_dict().items():
        if name != "log_scale":  # drawn outside the range that training holds it in
            torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-6)


def test_a_locked_tower_stays_as_it_was(recipe, tmp_path, monkeypatch):
    start, before = module.make_model, {}

    def remember(*arguments):
        made = start(*arguments)
        before.update({n: p.detach().clone() for n, p in made.model.named_parameters()})
        return made

    monkeypatch.setattr(module, "make_model", remember)
    after = weights(train(recipe("optimizer.freeze=['image', 'image_proj']")).folder)
    for name, parameter in before.items():
        assert torch.equal(parameter, after[name]) == name.startswith(("image.", "image_proj"))


# Measuring


def measure_by(scores):
    """A measure that gives these scores one after the other."""
    given = iter(scores)
    return lambda embedder: {"score": next(given), "other": 1.0}


BEST = ("evaluation.every=4", "checkpoint.every=100")


def test_a_run_need_not_be_measured_before_its_first_step(recipe, tmp_path):
    by = measure_by([0.1, 0.8, 0.3])
    trained = train(measured_by(recipe(*BEST, "evaluation.before=false"), by, "score", "other"))
    assert trained.before == {} and trained.measured == {"score": 0.3, "other": 1.0}
    rows = [row for row in read_log(tmp_path / "run" / "log.jsonl") if "score" in row]
    assert [(row["step"], row["score"]) for row in rows] == [(4, 0.1), (8, 0.8), (12, 0.3)]


def test_the_best_model_is_kept_and_exported(recipe, tmp_path, monkeypatch):
    saved = {}
    snapshot = module.TrainingState.snapshot

    def remember(state, step, notes):
        found = snapshot(state, step, notes)
        saved[step] = {name: tensor.clone() for name, tensor in found.model.items()}
        return found

    monkeypatch.setattr(module.TrainingState, "snapshot", remember)
    by = measure_by([0.9, 0.1, 0.8, 0.3])
    trained = train(measured_by(recipe(*BEST), by, "score", "other", best=("score",)))
    assert trained.step == 8 and trained.measured == {"score": 0.8, "other": 1.0}
    assert trained.before == {"score": 0.9, "other": 1.0}
    assert same(weights(trained.folder), saved[8])
    rows = [row for row in read_log(tmp_path / "run" / "log.jsonl") if "score" in row]
    assert [(row["step"], row["score"]) for row in rows] == [
        (0, 0.9),
        (4, 0.1),
        (8, 0.8),
        (12, 0.3),
    ]


def test_measuring_does_not_change_the_training(recipe, tmp_path):
    def disturbing(embedder):
        torch.rand(5)
        for parameter in embedder.model.parameters():
            parameter.data.zero_()
        assert not embedder.model.training
        return {"score": 0.0}

    measured = train(measured_by(recipe(BEST[0]), disturbing, "score", best=("score",)))
    plain = train(recipe(f"run.folder={tmp_path / 'plain'}"))
    assert losses(tmp_path / "run") == losses(tmp_path / "plain")
    assert measured.step == 4  # the earliest of equals
    assert plain.step == 12


def test_the_running_average_is_what_is_measured_and_exported(recipe, tmp_path):
    seen = []

    def watch(embedder):
        seen.append({n: p.detach().clone() for n, p in embedder.model.named_parameters()})
        return {}

    trained = train(measured_by(recipe("optimizer.ema=0.99", "evaluation.every=12"), watch))
    plain = train(recipe(f"run.folder={tmp_path / 'plain'}"))
    assert same(weights(trained.folder), seen[-1])
    assert not same(weights(trained.folder), weights(plain.folder))


def test_a_measure_that_is_not_given_is_refused(recipe):
    with pytest.raises(ConfigError, match="best names score, which is not measured"):
        measured_by(recipe(), lambda embedder: {"other": 1.0}, "other", best=("score",))


def test_python_measures_what_the_recipe_asks_for(recipe, tmp_path):
    dev = f"evaluation.retrieval={{ path = '{tmp_path / 'squares.jsonl'}', format = 'table' }}"
    settings = recipe(dev, "run.steps=2")
    trained = seesay.train(settings)
    assert list(trained.measured) == list(trained.before) == settings.evaluation.names
    assert 0 < trained.measured["zh_text_to_image_r10"] <= 1


# When things go wrong


def test_a_loss_that_is_not_finite_names_the_batch_and_keeps_the_last_checkpoint(
    recipe, tmp_path, monkeypatch
):
    call = module.TrainingStep.__call__

    def spoilt(step, batch):
        return call(step, batch) * (math.nan if batch.step == 7 else 1)

    with monkeypatch.context() as patched:
        patched.setattr(module.TrainingStep, "__call__", spoilt)
        with pytest.raises(TrainingError, match=r"step 8 has a loss of nan") as error:
            train(recipe())
    about = json.loads((tmp_path / "run" / "not-finite-step-8-process-0.json").read_text())
    assert len(about["samples"]) == 8
    assert about["samples"][0] in str(error.value)
    assert module.Checkpoints(tmp_path / "run" / "checkpoints", recipe().checkpoint).steps() == [
        3,
        6,
    ]
    assert train(recipe(), resume=True).step == 12


def test_damaged_samples_are_counted_named_once_and_not_fatal(recipe, tmp_path):
    (tmp_path / "red-left-0.png").write_bytes(b"no image")
    (tmp_path / "blue-top-1.png").unlink()
    lines = (tmp_path / "squares.jsonl").read_text(encoding="utf-8")
    (tmp_path / "squares.jsonl").write_text(lines + "{broken\n", encoding="utf-8")
    train(recipe())
    rows = read_log(tmp_path / "run" / "damaged-0.jsonl")
    assert len(rows) == 3
    reasons = " ".join(" ".join(map(str, row.values())) for row in rows)
    for name in ("red-left-0.png", "blue-top-1.png", "squares.jsonl line 33"):
        assert name in reasons
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["damaged"] == 3


@pytest.mark.parametrize(
    "setting, message",
    [
        ("model.architecture.text.vocab_size=10", "vocab_size=10 is less than the 31 tokens"),
        ("model.image_weights=x.safetensors", "is for a MobileNetV2 tower"),
        ("data.squares.size=8", r"data.squares.size=8 is for towers that .* Vit takes one: remove"),
        ("hardware.device=tpu9", "device='tpu9' cannot be used"),
    ],
)
def test_parts_that_do_not_fit_are_refused(recipe, setting, message):
    changes = (setting, "model.architecture.text.eos_id=2")
    with pytest.raises(ConfigError, match=message):
        train(recipe(*changes))


def test_missing_data_is_refused(recipe, tmp_path):
    (tmp_path / "squares.jsonl").unlink()
    with pytest.raises(DataError, match="names nothing, expected"):
        train(recipe())


# Settings of the run


def test_the_finished_model_can_be_stored_in_half_the_size(recipe):
    folder = train(recipe("run.export=float16")).folder
    from safetensors.torch import load_file

    assert load_file(folder / "model.safetensors")["image_proj.weight"].dtype == torch.float16


def test_the_sigmoid_loss_begins_with_the_bias_of_its_batch(recipe, tmp_path):
    train(recipe("objective.pairs.loss=sigmoid", "run.steps=1", "optimizer.lr=1e-9"))
    row = read_log(tmp_path / "run" / "log.jsonl")[0]
    assert row["bias"] == pytest.approx(-math.log(7), abs=1e-4)
    assert row["scale"] == pytest.approx(10, abs=1e-4)
    given = recipe(
        "objective.pairs.loss=sigmoid",
        "model.architecture.bias_init=-3.0",
        "run.steps=1",
        "optimizer.lr=1e-9",
        f"run.folder={tmp_path / 'given'}",
    )
    train(given)
    row = read_log(tmp_path / "given" / "log.jsonl")[0]
    assert (row["bias"], row["scale"]) == (
        pytest.approx(-3, abs=1e-4),
        pytest.approx(1 / 0.07, abs=1e-3),
    )


def test_a_step_far_out_leaves_the_scale_in_its_range(recipe, tmp_path):
    train(recipe("run.steps=1", "optimizer.lr=10.0"))
    row = read_log(tmp_path / "run" / "log.jsonl")[0]
    assert row["scale"] in (pytest.approx(1), pytest.approx(100))


def test_computing_twice_and_in_small_parts_gives_the_same_model(recipe, tmp_path):
    plain = weights(train(recipe("hardware.precision=float64", "run.steps=4")).folder)
    for name, setting in (("twice", "recompute=true"), ("parts", "micro_batch=3")):
        other = recipe(
            "hardware.precision=float64",
            "run.steps=4",
            f"hardware.{setting}",
            f"run.folder={tmp_path / name}",
        )
        found = weights(train(other).folder)
        for key, value in plain.items():
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-7)


def test_a_tower_for_any_size_is_trained_on_smaller_images_than_it_is_used_on(
    tmp_path, monkeypatch
):
    lines = write_run(tmp_path).read_text()
    begin, end = lines.index("[model.architecture.image]"), lines.index("[model.architecture.text]")
    # Few layers: random ones without batch norm let nothing through from the twentieth on.
    mobilenet = (
        '[model.architecture.image]\nkind = "mobilenet"\nstem = 8\ndim = 16\n'
        "stages = [[1, 8, 1, 1], [2, 8, 1, 2]]\n\n"
    )
    (tmp_path / "any.toml").write_text(lines[:begin] + mobilenet + lines[end:])
    forward, seen = MobileNet.forward, []
    monkeypatch.setattr(
        MobileNet, "forward", lambda m, images: seen.append(images.shape[-1]) or forward(m, images)
    )
    small = ("model.transform.size=40", "data.squares.size=32", "run.steps=1")
    trained = train(read_recipe(tmp_path / "any.toml", small))
    assert set(seen) == {32}
    assert load_bundle(trained.folder).transform.size == 40


def test_a_batch_of_several_sources_and_objectives_trains(recipe, tmp_path):
    settings = recipe(
        f"data.more.path={tmp_path / 'squares.jsonl'}",
        "data.more.format=table",
        "data.more.batch=4",
        "data.more.languages=['zh']",
        "objective.more.kind=contrastive",
        "objective.more.source=more",
        "objective.more.loss=sigmoid",
        "objective.more.weight=0.5",
    )
    train(settings)
    row = read_log(tmp_path / "run" / "log.jsonl")[0]
    assert row["loss"] == pytest.approx(row["pairs"] + row["more"], rel=1e-5)


# What is written down


def test_logs_go_to_tensorboard_where_asked(recipe, tmp_path):
    pytest.importorskip("tensorboard")
    train(recipe("log.also=['tensorboard']", "run.steps=3"))
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.*"))


def test_wandb_is_named_with_its_command_where_it_is_missing(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Exception, match=r"pip install 'seesay\[wandb\]'"):
        train(recipe("log.also=['wandb']"))


def test_both_towers_and_nothing_else_are_compiled_where_asked(recipe, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda m: compiled.append(type(m).__name__))
    train(recipe("hardware.compile=true", "run.steps=1"))
    assert compiled == ["Vit", "TextEncoder"]


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(recipe, tmp_path):
    plain = weights(train(recipe("run.steps=3")).folder)
    # In a process of its own: the checks of shapes in tests and the compiler disturb each other.
    code = (
        "import sys; from pathlib import Path\n"
        "from seesay.training.recipe import read_recipe\n"
        "from seesay.training.run import train\n"
        "train(read_recipe(Path(sys.argv[1]), tuple(sys.argv[2:])))"
    )
    settings = ["hardware.compile=true", "run.steps=3", f"run.folder={tmp_path / 'compiled'}"]
    command = [sys.executable, "-c", code, str(tmp_path / "recipe.toml"), *settings]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": "src"})
    for name, value in weights(tmp_path / "compiled" / "model").items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-4)


def test_the_exported_folder_is_the_one_of_own_layout(recipe, tmp_path):
    trained = train(recipe())
    made = load_bundle(trained.folder)
    save_bundle(tmp_path / "again", made)
    assert sorted(path.name for path in trained.folder.iterdir()) == sorted(
        path.name for path in (tmp_path / "again").iterdir()
    )

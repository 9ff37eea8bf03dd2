"""Whole runs of classifiers that choose answers to questions about coloured squares."""

import json

import pytest
import torch
import torch.nn.functional as F

import seesay
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, DataError, WeightsError
from seesay.evaluation.answers import Answers
from seesay.inference.answer_classifier import load_answer_classifier
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.checks import first_batch
from seesay.training.distributed import Processes
from seesay.training.loop import TrainingStep
from seesay.training.recipe import read_recipe
from seesay.training.run import _Run, train
from tiny_runs import COLOURS, weights

RECIPE = """
[run]
folder = "{folder}/fusion"
steps = 160

[model.fusion]
tower = "{folder}/tower"
strategy = "cross-attention"
context = 12
dim = 32
depth = 1
hidden = 64

[data.squares]
path = "{folder}/questions.jsonl"
format = "table"
batch = 16
captions = 0
questions = 2

[objective.answers]
kind = "answer-classification"
source = "squares"

[optimizer]
lr = 0.005

[hardware]
device = "cpu"
precision = "float32"
reuse = true

[loading]
workers = 0

[data.squares.augmentation]
crop_scale = [1.0, 1.0]
variants = 1

[checkpoint]
every = 1000

[evaluation]
every = 1000

[evaluation.answers]
path = "{folder}/held-out.jsonl"
format = "table"
questions = 2
"""
CPU = Processes(0, 1, torch.device("cpu"))
ANSWERS = (
    "yes",
    *sorted([f"{one.capitalize()}." for one in COLOURS] + [zh for zh, _ in COLOURS.values()]),
)


@pytest.fixture(scope="module")
def folder(squares):
    (squares / "fusion.toml").write_text(RECIPE.format(folder=squares), encoding="utf-8")
    return squares


@pytest.fixture
def recipe(folder, tmp_path):
    settings = (f"run.folder={tmp_path / 'fusion'}",)
    return lambda *more: read_recipe(folder / "fusion.toml", (*settings, *more))


@pytest.fixture(scope="module")
def trained(folder):
    return train(read_recipe(folder / "fusion.toml"))


def test_it_answers_about_pictures_that_it_has_not_seen(trained):
    for language in ("en", "zh"):
        assert trained.measured[f"{language}_answers"] > 0.9
        assert trained.before[f"{language}_answers"] < 0.6


def test_the_finished_model_answers_from_its_folder(trained, folder):
    classifier = load_answer_classifier(trained.folder)
    assert classifier.answers == ANSWERS
    blue, red = folder / "blue-top-2.png", folder / "red-left-2.png"
    asked = [(blue, "What colour is it?"), (blue, "它是什么颜色？"), (red, "Is it a square?")]
    chosen = classifier.choose(asked)
    assert [one.text for one in chosen] == ["Blue.", "蓝色", "yes"]
    assert all(0.3 < one.probability <= 1 for one in chosen)
    assert classifier.choose([]) == []
    for number, one in enumerate(asked):  # neighbours change nothing
        assert classifier.choose([one])[0].probability == pytest.approx(chosen[number].probability)
    held_out = Answers(path=str(folder / "held-out.jsonl"), format="table", questions=2)
    assert seesay.evaluate(classifier, [held_out]) == trained.measured


def test_the_towers_keep_their_bytes_and_the_fusion_learns(trained, folder, recipe):
    before, after = weights(folder / "tower"), weights(trained.folder)
    begun = make_model(recipe(), "begun").model.state_dict()
    frozen = {name for name in after if name.split(".")[0] in ("image", "text")}
    assert all(torch.equal(after[name], before[name]) for name in frozen)
    learned = after.keys() - frozen
    assert learned and not any(torch.equal(after[name], begun[name]) for name in learned)


def test_a_finished_model_is_trained_further(trained, recipe):
    again = recipe("run.steps=1", f"model={{ start = '{trained.folder}' }}")
    assert train(again).before == trained.measured


def parts_of(recipe):
    """A run's model, its objective, its first batch and its step."""
    bundle = make_model(recipe, "tiny")
    objectives = make_objectives(recipe, bundle, CPU.device)
    batch = first_batch(_Run(recipe, CPU)._batches)
    trained, shared = make_trained(bundle, recipe.hardware, CPU)
    return bundle, batch, TrainingStep(trained, shared, objectives, recipe.hardware.micro_batch)


@pytest.mark.parametrize("strategy", ["early", "late", "cross-attention"])
@pytest.mark.parametrize("reuse", ["true", "false"])
def test_the_loss_is_that_of_each_question_by_itself(recipe, strategy, reuse):
    fixed = ("hardware.precision=float64", f"hardware.reuse={reuse}")
    # Of the nine answers, five are listed; questions with others do not count.
    of_model = (f"model.fusion.strategy={strategy}", "model.fusion.answers=5")
    settings = recipe("data.squares.batch=5", *fixed, *of_model)
    bundle, batch, step = parts_of(settings)
    model, own = make_model(settings, "the same").model.double().eval(), batch.sources["squares"]
    for one in (model, bundle.model):
        if strategy == "cross-attention":
            torch.nn.init.ones_(one.fusion.gates)
    loss = float(step(batch).detach())
    pixels = ImageTransform(bundle.transform).normalise(own.images).double()
    by_hand = []
    for owner, question, answer in zip(own.owners, own.requests, own.texts, strict=True):
        if answer in bundle.config.answers:
            ids = torch.from_numpy(bundle.tokenizer.encode([question]).first)
            logits = model(model.patches(pixels[owner : owner + 1]), ids)
            number = torch.tensor([bundle.config.answers.index(answer)])
            by_hand.append(F.cross_entropy(logits, number).item())
    assert 0 < len(by_hand) < len(own.texts)
    tolerance = 1e-2 if reuse == "true" else 1e-9  # kept in float16
    assert loss == pytest.approx(sum(by_hand) / len(by_hand), rel=tolerance)


def test_small_parts_give_the_gradient_of_the_whole(recipe):
    gradients = []
    for part in ((), ("hardware.micro_batch=2",)):
        fixed = ("hardware.precision=float64", "model.fusion.strategy=early")
        bundle, batch, step = parts_of(recipe(*fixed, *part))
        loss = step(batch)
        if loss.requires_grad:
            loss.backward()
        gradients.append({n: p.grad for n, p in bundle.model.named_parameters() if p.requires_grad})
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, msg=name)


def test_the_most_frequent_answers_are_listed(recipe):
    assert make_model(recipe(), "tiny").config.answers == ANSWERS
    assert make_model(recipe("model.fusion.answers=3"), "tiny").config.answers == ANSWERS[:3]


def test_what_cannot_be_built_is_refused(recipe, folder, trained, tmp_path):
    with pytest.raises(ConfigError, match="fusion brings its own tokenizer") as refused:
        recipe("model.tokenizer={ context = 12, pad_id = 0 }")
    assert "自带 tokenizer" in refused.value.text.zh
    with pytest.raises(ConfigError, match=r"assistant brings its own fusion"):
        recipe("model.assistant={ tower = 'seesay-base' }")
    with pytest.raises(ConfigError, match="answers=1000 cannot be built"):
        recipe("model.fusion.answers=1000")
    with pytest.raises(
        ConfigError, match=r"objective.answers .*list of them: add \[model.fusion\]"
    ):
        read_recipe(
            folder / "pairs.toml",
            ("objective.answers.kind=answer-classification", "objective.answers.source=squares"),
        )
    row = {"image": str(folder / "red-top-0.png"), "question": "Is it?", "answer": "yes"}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="have 1 different answers; expected at least 2"):
        make_model(recipe(f"data.squares.path={tmp_path / 'one.jsonl'}"), "tiny")
    with pytest.raises(ConfigError, match="is a DualEncoder, expected a classifier of answers"):
        load_answer_classifier(folder / "tower")
    for load, wrong in ((seesay.load, ConfigError), (seesay.chat, WeightsError)):
        with pytest.raises(wrong, match="FusionClassifier"):
            load(trained.folder)

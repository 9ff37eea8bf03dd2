"""A vision-language model learns to prefer answers: DPO, mDPO and MPO against formulas written out,
with a reference that stays what it was."""

from dataclasses import replace
from math import exp, log

import pytest
import torch
import torch.nn.functional as F

from gguf_files import write_smollm
from seesay.data.chat import Media, Message, encode, render
from seesay.data.chat_templates import chat_template
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, DataError
from seesay.models.lora import adapter_off, is_adapter
from seesay.objectives.objective import View
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.checks import first_batch
from seesay.training.distributed import Processes
from seesay.training.loop import TrainingStep
from seesay.training.preference import (
    PreferenceConfig,
    Rewards,
    cropped,
    preference_losses,
)
from seesay.training.recipe import read_recipe
from seesay.training.run import _Run, train
from seesay.training.run_log import read_log
from seesay.weights.vlm_step import rows_per_picture
from tiny_runs import same, weights, write_questions, write_run
from training.several_processes import cut_back

RECIPE = """
[run]
folder = "{folder}/preferences"
steps = 3

[model.assistant]
tower = "{folder}/run/model"
decoder = "{folder}/smollm.gguf"
context = 96

[model.lora]
rank = 2
alpha = 4

[data.squares]
path = "{folder}/questions.jsonl"
format = "table"
batch = 8
captions = 0
questions = 2

[objective.pairs]
kind = "preference"
source = "squares"

[optimizer]
lr = 0.01
warmup = 0.0
weight_decay = 0.0

[hardware]
device = "cpu"
precision = "float64"

[loading]
workers = 0

[log]
every = 1
"""
CPU = torch.device("cpu")
MDPO = "objective.pairs.picture=1", "objective.pairs.anchor=1"
MPO = (
    "objective.pairs.preference=0.8",
    "objective.pairs.quality=0.2",
    "objective.pairs.generation=1",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferences")
    train(read_recipe(write_run(folder), ("run.steps=2",)))
    write_questions(folder, "questions.jsonl", (0, 1), rejected=True)
    write_smollm(folder / "smollm.gguf")
    (folder / "preferences.toml").write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return folder


@pytest.fixture
def recipe(folder, tmp_path):
    place = f"run.folder={tmp_path / 'preferences'}"
    return lambda *settings: read_recipe(folder / "preferences.toml", (place, *settings))


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_the_losses_of_a_pair_are_the_formulas_of_the_papers():
    chosen, rejected, cropped_, per_token = 0.7, -0.4, 0.2, 1.3
    rewards = Rewards(*(torch.tensor([one]).double() for one in (chosen, rejected, cropped_)))
    for settings, expected in (
        ({}, -log(sigmoid(chosen - rejected))),
        ({"preference": 0.0, "quality": 1.0}, -log(sigmoid(chosen)) - log(sigmoid(-rejected))),
        ({"preference": 0.0, "generation": 2.0}, 2 * per_token),
        ({"preference": 0.0, "picture": 1.0}, -log(sigmoid(chosen - cropped_))),
        ({"preference": 0.0, "anchor": 1.0}, -log(sigmoid(chosen))),
        (
            {"preference": 0.8, "quality": 0.2, "generation": 1.0},
            0.8 * -log(sigmoid(chosen - rejected))
            + 0.2 * (-log(sigmoid(chosen)) - log(sigmoid(-rejected)))
            + per_token,
        ),
    ):
        config = PreferenceConfig(source="s", **settings)
        loss = preference_losses(config, rewards, torch.tensor([per_token]).double())
        assert float(loss) == pytest.approx(expected)


def prepared(settings):
    """The bundle with adapters that change its answers, its step and a batch."""
    bundle = make_model(settings, "made")
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in bundle.model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.3)
    objectives = make_objectives(settings, bundle, CPU)
    batch = first_batch(_Run(settings, Processes(0, 1, CPU))._batches)
    trained, shared = make_trained(bundle, settings.hardware, Processes(0, 1, CPU))
    return bundle, TrainingStep(trained, shared, objectives, settings.hardware.micro_batch), batch


def log_probability(bundle, image, request, answer):
    """Of one answer alone, token after token."""
    media = Media("image", (rows_per_picture(bundle),))
    messages = [Message("user", (media, request)), Message("assistant", answer)]
    prompt = render(chat_template(bundle.template), messages, opening=False)
    encoded = encode(prompt, bundle.tokenizer.for_prompts())
    ids, model = torch.tensor([encoded.ids]), bundle.model
    pixels = ImageTransform(bundle.transform).normalise(image[None]).double()
    logits = model.logits(model(ids, model.see(pixels).flatten(0, 1)))[0]
    at = [place for place, learned in enumerate(encoded.answer) if learned]
    assert at
    return sum(F.log_softmax(logits[place - 1], 0)[ids[0, place]] for place in at), len(at)


def written_out(bundle, batch, config, seed):
    """The mean loss of all pairs, a conversation at a time."""
    own, losses = batch.sources["squares"], []
    crops = cropped(own.images, own.groups.tolist(), seed)
    for text, rejected, request, owner in zip(
        own.texts, own.rejected, own.requests, own.owners.tolist(), strict=True
    ):
        if not rejected:
            continue
        gained = []
        for image, answer in ((own.images, text), (own.images, rejected), (crops, text)):
            policy, count = log_probability(bundle, image[owner], request, answer)
            with torch.no_grad(), adapter_off(bundle.model):
                reference, _ = log_probability(bundle, image[owner], request, answer)
            gained.append(config.beta * (policy - reference))
            if answer == text and len(gained) == 1:
                per_token = -policy / count
        losses.append(
            -config.preference * torch.log(torch.sigmoid(gained[0] - gained[1]))
            - config.quality
            * (torch.log(torch.sigmoid(gained[0])) + torch.log(torch.sigmoid(-gained[1])))
            + config.generation * per_token
            - config.picture * torch.log(torch.sigmoid(gained[0] - gained[2]))
            - config.anchor * torch.log(torch.sigmoid(gained[0]))
        )
    return sum(losses) / len(losses)


def gradients(model):
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize(
    ("terms", "micro_batch"),
    [((), None), ((*MDPO, *MPO), 3)],
    ids=["dpo", "all terms, in parts"],
)
def test_loss_and_gradient_are_those_of_one_conversation_at_a_time(recipe, terms, micro_batch):
    more = () if micro_batch is None else (f"hardware.micro_batch={micro_batch}",)
    settings = recipe(*terms, *more)
    bundle, step, batch = prepared(settings)
    loss = step(batch)
    if loss.requires_grad:
        loss.backward()
    mine = gradients(bundle.model)
    expected = written_out(bundle, batch, settings.objective["pairs"], settings.run.seed)
    expected.backward()
    torch.testing.assert_close(loss.detach(), expected.detach())
    assert mine and all(map(is_adapter, mine))
    for name, gradient in gradients(bundle.model).items():
        torch.testing.assert_close(mine[name], gradient, msg=name)


def test_a_new_adapter_neither_prefers_nor_is_preferred(recipe):
    settings = recipe()
    bundle = make_model(settings, "made")
    objectives = make_objectives(settings, bundle, CPU)
    batch = first_batch(_Run(settings, Processes(0, 1, CPU))._batches)
    trained, shared = make_trained(bundle, settings.hardware, Processes(0, 1, CPU))
    step = TrainingStep(trained, shared, objectives)
    assert float(step(batch).detach()) == pytest.approx(log(2))
    figures = step.figures()
    assert figures["pairs_margin"] == figures["pairs_reward_chosen"] == 0.0
    own = batch.sources["squares"]
    assert 0 < sum(map(bool, own.rejected)) < len(own.texts)  # others are left alone


def test_training_raises_the_margin_and_logs_it(recipe, tmp_path):
    train(recipe("run.steps=8", "optimizer.lr=0.03", "data.squares.batch=4"))
    first, *_, last = [row for row in read_log(tmp_path / "preferences" / "log.jsonl")]
    assert first["pairs_margin"] == 0.0 and last["pairs_margin"] > 0.2
    assert last["pairs_accuracy"] > 0.7 and last["loss"] < first["loss"]
    assert last["pairs_reward_chosen"] > last["pairs_reward_rejected"]
    assert last["pairs_tokens_chosen"] > 1 and last["pairs_tokens_rejected"] > 1


def test_a_stopped_run_goes_on_to_the_same_weights(recipe, tmp_path):
    settings = (*MDPO, "checkpoint.every=2", "hardware.precision=float32")
    whole = train(recipe(*settings))
    cut_back(tmp_path / "preferences", 2, tmp_path / "cut")
    resumed = train(recipe(*settings, f"run.folder={tmp_path / 'cut'}"), resume=True)
    assert same(weights(whole.folder), weights(resumed.folder))


def test_a_crop_is_a_small_part_and_always_the_same():
    ramp = torch.arange(20, dtype=torch.uint8)[None, :, None, None].expand(3, 20, 20, 3)
    images = ramp.contiguous()
    crops = cropped(images, [1, 2, 3], seed=0)
    assert crops.shape == images.shape and crops.dtype == torch.uint8
    assert torch.equal(crops, cropped(images, [1, 2, 3], seed=0))
    assert not torch.equal(crops, cropped(images, [1, 2, 3], seed=1))
    for crop in crops:
        rows = len(crop[:, 0, 0].unique())
        assert rows <= 0.2**0.5 * 20


def test_what_is_trained_must_be_adapters_alone(recipe, folder):
    with pytest.raises(ConfigError, match="would be trained; expected only adapters"):
        full = replace(recipe().model, lora=None)
        settings = replace(recipe(), model=full)
        make_objectives(settings, make_model(settings, "made"), CPU)
    with pytest.raises(ConfigError, match="are not valid weights"):
        PreferenceConfig(source="s", preference=0.0)


def test_texts_without_a_rejected_answer_are_refused(recipe):
    settings = recipe()
    objective = make_objectives(settings, make_model(settings, "made"), CPU)["pairs"][1]
    batch = first_batch(_Run(settings, Processes(0, 1, CPU))._batches)
    own = batch.sources["squares"]
    none = own._replace(rejected=[""] * len(own.texts))
    with pytest.raises(DataError, match="none of the 24 texts of data"):
        objective.inputs(batch._replace(sources={"squares": none}))
    assert View("images", "squares") in objective.inputs(batch)

"""Whole runs of a vision-language model that learns to answer questions about coloured squares."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import seesay
from reference_parts import randomise
from seesay.data.batches import Place, Samples
from seesay.data.chat import Media, Message, encode, render
from seesay.data.chat_templates import chat_template
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.sources import RecordsConfig, SourceConfig
from seesay.data.squares import square
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, DataError
from seesay.evaluation.answers import Answers, normalized
from seesay.inference.assistant import LocalAssistant
from seesay.inference.assistant_files import files_of
from seesay.inference.decoding import ContrastConfig, DecodingConfig, text_of
from seesay.models.token_reduction import FastVConfig, PruMergeConfig
from seesay.training import run as run_module
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.checks import first_batch
from seesay.training.distributed import Processes
from seesay.training.loop import TrainingStep
from seesay.training.recipe import read_recipe
from seesay.training.run import _Run, train
from seesay.training.sweep import Cell, SweepConfig
from seesay.training.sweep_report import answers_by_question, sweep_csv, sweep_page
from seesay.weights.saving import save_bundle
from seesay.weights.vlm_step import rows_per_picture
from tiny_runs import COLOURS, PLACES, same, weights, write_squares

RECIPE = """
[run]
folder = "{folder}/answers"
steps = 200

[model]
vocabulary = {{ size = 400, chat = true }}
tokenizer = {{ context = 40, pad_id = 0 }}

[model.assistant]
tower = "{folder}/tower"
connector = "mlp"
decoder = {{ dim = 48, depth = 2, heads = 4, hidden = 96 }}

[data.squares]
path = "{folder}/questions.jsonl"
format = "table"
batch = 16
captions = 0
questions = 2

[objective.answers]
kind = "answering"
source = "squares"

[optimizer]
lr = 0.005
freeze = ["tower"]

[hardware]
device = "cpu"
precision = "float32"
reuse = true

[loading]
workers = 0

[checkpoint]
every = 1000

[evaluation]
every = 1000
best = ["en_answers"]

[evaluation.answers]
path = "{folder}/held-out.jsonl"
format = "table"
questions = 2

[log]
every = 1
"""


# What has not learned anything writes long answers, which are of no interest here.
ONE_MEASURED = ("evaluation.answers.stop=1",)


@pytest.fixture(scope="module")
def folder(squares):
    (squares / "answers.toml").write_text(RECIPE.format(folder=squares), encoding="utf-8")
    return squares


@pytest.fixture
def recipe(folder, tmp_path):
    settings = (f"run.folder={tmp_path / 'answers'}",)
    return lambda *more: read_recipe(folder / "answers.toml", (*settings, *more))


@pytest.fixture(scope="module")
def trained(folder):
    return train(read_recipe(folder / "answers.toml"))


def test_it_answers_about_pictures_that_it_has_not_seen(trained):
    assert trained.measured["en_answers"] > 0.9 and trained.measured["zh_answers"] > 0.9
    assert trained.before["en_answers"] == trained.before["zh_answers"] == 0.0


def test_the_finished_model_answers_from_its_folder(trained, folder):
    assistant = seesay.chat(trained.folder)
    blue = folder / "blue-top-2.png"
    assert assistant.ask(blue, "What colour is it?").text == "Blue."
    assert assistant.ask(blue, "它是什么颜色？").text == "蓝色"
    several = assistant.ask_several(blue, ["Is it a square?", "它是什么颜色？"])
    assert [answer.text for answer in several] == ["yes", "蓝色"]


def test_a_frozen_tower_keeps_its_bytes(trained, folder):
    before, after = weights(folder / "tower"), weights(trained.folder)
    tower = {name: one for name, one in after.items() if name.startswith("tower.")}
    assert tower
    for name, one in tower.items():
        assert torch.equal(one, before[name.replace("tower.", "image.", 1)]), name


def test_the_first_stage_trains_the_connector_alone(recipe, tmp_path):
    trains_it = ("optimizer.freeze=['tower', 'decoder']", "optimizer.warmup=0")
    stage = recipe("run.steps=2", *trains_it, *ONE_MEASURED)
    begun = make_model(stage, "begun").model.state_dict()
    ended = weights(train(stage).folder)
    changed = {name.split(".")[0] for name in begun if not torch.equal(begun[name], ended[name])}
    assert changed == {"connector"}


def test_the_second_stage_begins_from_the_first(trained, recipe):
    again = recipe("run.steps=1", f"model={{ start = '{trained.folder}' }}")
    assert train(again).before["en_answers"] == trained.measured["en_answers"]


ROWS = {"linear": 16, "mlp": 16, "pixel-shuffle": 4, "perceiver": 5, "q-former": 5}
ROWS["gated-cross-attention"] = 5
CONNECTORS = {
    name: (f"model.assistant.connector={name}",)
    + (("model.assistant.queries=5",) if rows == 5 else ())
    for name, rows in ROWS.items()
}


@pytest.mark.parametrize("connector", ROWS)
def test_every_connector_joins_the_two(recipe, connector):
    made = make_model(recipe(*CONNECTORS[connector]), "made")
    gated = connector == "gated-cross-attention"
    seen = made.model.see(torch.zeros(1, 3, 16, 16))
    assert seen.shape == (1, ROWS[connector], 16 if gated else 48)
    assert rows_per_picture(made) == (1 if gated else ROWS[connector])


@pytest.mark.parametrize("connector", ["perceiver", "q-former", "gated-cross-attention"])
def test_a_saved_model_answers_as_the_one_in_memory(recipe, folder, tmp_path, connector):
    made = make_model(recipe(*CONNECTORS[connector]), "made")
    randomise(made.model, norms=1.0)
    save_bundle(tmp_path / "model", made)
    assistant = seesay.chat(tmp_path / "model", dtype="float32")
    pictures = [folder / f"{colour}-{at}-2.png" for colour in COLOURS for at in ("top", "left")]
    answers = [written_by_hand(made, picture, "What colour is it?") for picture in pictures]
    assert len(set(answers)) > 1
    asked = [(picture, "What colour is it?") for picture in pictures]
    assert [a.text for a in assistant.ask_batch(asked, max_tokens=6)] == answers
    several = assistant.ask_several(pictures[0], ["Is it a square?", asked[0][1]], max_tokens=6)
    assert several[1].text == answers[0]
    noised = replace(assistant.decoding, contrast=ContrastConfig(alpha=0.0))
    assert assistant.configured(noised).ask(*asked[1], max_tokens=6).text == answers[1]


def written_by_hand(bundle, picture, question, most=6):
    """What the model writes, each token by a pass over all before it."""
    tokenizer, template = bundle.tokenizer.for_prompts(), chat_template("seesay")
    media = Media("image", (rows_per_picture(bundle),))
    prompt = encode(render(template, [Message("user", (media, question))]), tokenizer)
    transform = ImageTransform(bundle.transform)
    with Image.open(picture) as image, torch.no_grad():
        squared = torch.from_numpy(np.array(square(image.convert("RGB"), bundle.transform)))
        seen, ids = bundle.model.see(transform.normalise(squared[None])), list(prompt.ids)
        for _ in range(most):
            hidden = bundle.model.eval()(torch.tensor([ids]), seen)
            ids.append(int(bundle.model.logits(hidden)[0, -1].argmax()))
            if ids[-1] == tokenizer.token_to_id("</s>"):
                ids.pop()
                break
    return text_of(ids[len(prompt.ids) :], tokenizer)


def test_a_picture_of_one_token_is_not_reduced(recipe):
    made = make_model(recipe(*CONNECTORS["gated-cross-attention"]), "made")
    files = files_of(made, torch.device("cpu"))
    for reduction in (FastVConfig(layer=1), PruMergeConfig()):
        with pytest.raises(ConfigError, match="and gated cross-attention") as refused:
            LocalAssistant(files, DecodingConfig(reduction=reduction))
        assert "请去掉 reduction" in refused.value.text.zh


def parts_of(recipe):
    """A run's model, its objective, its first batch and its step."""
    bundle = make_model(recipe, "made")
    [(_, objective)] = make_objectives(recipe, bundle, torch.device("cpu")).values()
    run = _Run(recipe, Processes(0, 1, torch.device("cpu")))
    return bundle, objective, first_batch(run._batches)


@pytest.mark.parametrize(
    ("connector", "averaging"),
    [
        ("mlp", "token"),
        ("mlp", "square"),
        ("mlp", "sample"),
        ("perceiver", "token"),
        ("q-former", "token"),
        ("gated-cross-attention", "square"),
    ],
)
def test_the_loss_is_that_of_the_answers_alone(recipe, connector, averaging):
    settings = (
        "data.squares.batch=5",
        "hardware.reuse=false",
        f"objective.answers.averaging={averaging}",
        *CONNECTORS[connector],
    )
    bundle, objective, batch = parts_of(recipe(*settings))
    own, template = batch.sources["squares"], chat_template("seesay")
    tokenizer, model = bundle.tokenizer.for_prompts(), bundle.model.double()
    by_hand, weights = 0.0, 0.0
    transform = ImageTransform(bundle.transform)
    for request, answer, owner in zip(own.requests, own.texts, own.owners.tolist(), strict=True):
        turns = [
            Message("user", (Media("image", (rows_per_picture(bundle),)), request)),
            Message("assistant", answer),
        ]
        text = encode(render(template, turns, opening=False), tokenizer)
        seen = model.see(transform.normalise(own.images[owner : owner + 1]).double())
        hidden = model(torch.tensor([text.ids]), seen)
        logs = model.logits(hidden)[0].log_softmax(-1).detach()
        learned = [at for at, answered in enumerate(text.answer) if answered]
        assert tokenizer.decode([text.ids[at] for at in learned[:-1]]).strip() == answer
        assert text.ids[learned[-1]] == tokenizer.token_to_id("</s>")
        weight = {"token": 1, "square": len(learned) ** -0.5, "sample": 1 / len(learned)}[averaging]
        by_hand -= weight * sum(float(logs[at - 1, text.ids[at]]) for at in learned)
        weights += weight * len(learned)
    trained, shared = make_trained(
        bundle, recipe("hardware.precision=float64").hardware, Processes(0, 1, torch.device("cpu"))
    )
    loss = TrainingStep(trained, shared, {"answers": (1.0, objective)})(batch)
    torch.testing.assert_close(loss.item(), by_hand / weights)


@pytest.mark.parametrize("connector", ["mlp", "q-former", "gated-cross-attention"])
def test_small_parts_give_the_gradient_of_the_whole(recipe, connector):
    fixed = ("data.squares.batch=6", "hardware.precision=float64")
    settings = recipe(*fixed, *CONNECTORS[connector])
    gradients = []
    for micro_batch in (None, 2):
        bundle, objective, batch = parts_of(settings)
        trained, shared = make_trained(
            bundle, settings.hardware, Processes(0, 1, torch.device("cpu"))
        )
        step = TrainingStep(trained, shared, {"answers": (1.0, objective)}, micro_batch)
        loss = step(batch)
        if loss.requires_grad:
            loss.backward()
        gradients.append({n: p.grad for n, p in bundle.model.named_parameters() if p.requires_grad})
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, msg=name)


def test_a_resumed_run_ends_as_an_uninterrupted_one(recipe, tmp_path, monkeypatch):
    settings = ("run.steps=4", "checkpoint.every=2", "data.squares.batch=5", *ONE_MEASURED)
    whole = train(recipe(*settings))

    class KilledError(BaseException):
        pass

    after = run_module._Run._after_step

    def dying(run, done):
        after(run, done)
        if done.number == 3:
            raise KilledError

    elsewhere = (*settings, f"run.folder={tmp_path / 'killed'}")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(run_module._Run, "_after_step", dying)
        train(recipe(*elsewhere))
    resumed = train(recipe(*elsewhere), resume=True)
    assert same(weights(whole.folder), weights(resumed.folder))


def test_other_texts_do_not_change_the_vocabulary_of_a_run(recipe, folder, tmp_path):
    questions = tmp_path / "questions.jsonl"
    text = (folder / "questions.jsonl").read_text(encoding="utf-8")
    text = text.replace('"image": "', f'"image": "{folder}/')
    questions.write_text(text, encoding="utf-8")
    settings = (f"data.squares.path={questions}", "run.steps=1", *ONE_MEASURED)
    train(recipe(*settings))
    questions.write_text(text.replace('"Red', '"Crimson'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"was begun with other texts.*begin a new run"):
        train(recipe(*settings, "run.steps=2"), resume=True)


def test_captions_answer_a_request_or_nothing(folder, tmp_path):
    write_squares(tmp_path, copies=1)
    source = SourceConfig(
        path=str(tmp_path / "squares.jsonl"), format="table", requests={"en": ("Describe it.",)}
    )
    made = make_model(read_recipe(folder / "answers.toml"), "made")
    samples = Samples(source, ImageTransform(made.transform), made.tokenizer)
    sample = samples[Place("squares", 0, 0)]
    asked = dict(zip(sample.languages, sample.requests, strict=True))
    assert asked == {"en": "Describe it.", "zh": ""}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.vocabulary.chat=false"], "set model.vocabulary.chat = true"),
        (["model.assistant.connector=qformer"], "is not one of 'linear', 'mlp', 'pixel-shuffle'"),
        (["model.assistant.queries=5"], "connector='mlp' has no queries"),
        ([*CONNECTORS["perceiver"], "model.assistant.queries=0"], "queries=0"),
        (["model.assistant.decoder.dim=50"], "a multiple of twice the heads"),
        (["model.assistant.size=32"], "its tower is a VitConfig"),
        (["model.transform={ size = 16 }"], "assistant brings its own transform"),
        (["objective.answers.kind=contrastive"], "trains image, image_proj, .* and this model has"),
    ],
)
def test_a_recipe_that_fits_no_model_is_refused(recipe, settings, expected):
    with pytest.raises(ConfigError, match=expected):
        make_model(recipe(*settings), "made")


def test_an_answer_beyond_the_context_is_named(recipe):
    with pytest.raises(DataError, match=r"data\.squares, .*expected at most 22"):
        train(recipe("model.tokenizer.context=22"))


def test_answers_need_a_model_that_answers(folder, tmp_path):
    measure = f"evaluation.answers={{ path = '{folder}/held-out.jsonl', format = 'table' }}"
    pairs = read_recipe(folder / "pairs.toml", (measure, f"run.folder={tmp_path}"))
    with pytest.raises(ConfigError, match="cannot be measured with Embedder"):
        train(pairs)


CAPTIONS = """
[evaluation.captions]
path = "{folder}/colours.jsonl"
format = "table"
scorers = ["bleu1/coco@1", "cider/coco@1"]
beams = {beams}
max_tokens = 16
requests = {{ en = "What colour is it?", zh = "它是什么颜色？" }}
"""


@pytest.mark.parametrize("beams", [1, 2])
def test_captions_are_measured_and_choose_the_best_weights(trained, folder, tmp_path, beams):
    rows = [
        {"image": f"{colour}-{place}-2.png", "en": [f"{colour}!", "a square"], "zh": [zh]}
        for colour, (zh, _) in COLOURS.items()
        for place in PLACES
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "colours.jsonl").write_text(lines, encoding="utf-8")
    text = RECIPE.replace("en_answers", "zh_cider_words") + CAPTIONS
    (tmp_path / "recipe.toml").write_text(text.format(folder=folder, beams=beams))
    settings = ("run.steps=1", "optimizer.lr=1e-9", f"run.folder={tmp_path / 'run'}")
    start = f"model={{ start = '{trained.folder}' }}"
    run = train(read_recipe(tmp_path / "recipe.toml", (*settings, start)))
    names = ["en_bleu1", "en_cider", "zh_bleu1_chars", "zh_cider_chars"]
    names += ["zh_bleu1_words", "zh_cider_words"]
    assert [name for name in run.measured if "answers" not in name] == names
    # It names the colours rightly, as the measure of its answers says.
    assert run.measured["en_answers"] > 0.9
    assert run.measured["en_bleu1"] > 0.9 and run.measured["zh_bleu1_chars"] > 0.9
    assert run.measured["zh_cider_chars"] > 1


def test_questions_made_from_captions_are_learned(recipe, folder, tmp_path):
    rows = [
        {"image": f"{colour}-{place}-0.png", "en": [f"A {colour} ball ."], "zh": [f"{zh}的球。"]}
        for colour, (zh, _) in COLOURS.items()
        for place in PLACES
    ]
    captions = folder / "captions.jsonl"
    captions.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    added = tmp_path / "vqa.jsonl"
    make_questions(RecordsConfig(path=str(captions), format="table"), QuestionsConfig(), out=added)
    result = train(
        recipe(
            f"data.squares.path={captions}",
            f"data.squares.added={added}",
            f"evaluation.answers.path={captions}",
            f"evaluation.answers.added={added}",
            "run.steps=60",
        )
    )
    # "Which colour is the ball?" is the only question of these captions, and has four answers.
    assert result.measured["en_answers"] > 0.4 and result.measured["zh_answers"] > 0.4


def test_a_sweep_shows_some_answers_side_by_side_with_their_pictures(trained, folder):
    recipe = read_recipe(folder / "answers.toml")
    cells = [Cell({"a": "small"}, (), recipe)]
    answers = answers_by_question(cells)
    assert list(answers) == ["before 训练前", "small"]
    before, after = answers.values()
    assert list(before) == list(after) and {one.language for one in after} == {"en", "zh"}
    assert len({one.record for one in after}) > 3 and len({one.question for one in after}) > 2
    right = [normalized(answer) == normalized(one.truth) for one, answer in after.items()]
    assert sum(right) > 0.8 * len(right) and before != after
    one, answer = next(iter(after.items()))
    recorded = Answers(path=str(folder / "held-out.jsonl"), format="table", questions=2)
    picture = recorded.records[one.record].image
    assert seesay.chat(trained.folder).ask(picture, one.question).text == answer
    page = sweep_page(SweepConfig(recipe="", folder="", axes={"a": {"b": {}}}), cells)
    assert page.count('src="data:image/jpeg') == len(after) == page.count("<figure>")
    assert all(part in page for part in (one.question, "<dt>small</dt>", "训练前", "回答对比"))
    assert "examples" not in sweep_csv(cells)

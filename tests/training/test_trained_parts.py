"""Vision-language models from trained parts: BLIP-2's second stage from its first, and LLaVA's two
stages with a language model in a GGUF file, frozen, trained or with low-rank adapters."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import quick_bitsandbytes  # noqa: F401
import seesay
from gguf_files import write_smollm
from reference_parts import randomise
from seesay.data.chat_templates import chat_template
from seesay.data.settings import read_toml
from seesay.errors import ConfigError, WeightsError
from seesay.models.lora import LoraConfig, is_adapter, merge_lora
from seesay.training.build import make_model, make_objectives, make_trained
from seesay.training.checks import first_batch
from seesay.training.distributed import Processes
from seesay.training.loop import TrainingStep
from seesay.training.recipe import read_recipe
from seesay.training.run import _Run, train
from seesay.weights.bundle import load_bundle
from seesay.weights.lora import load_adapter
from seesay.weights.saving import save_bundle
from tiny_qformer import write_qformer_run
from tiny_runs import losses, same, weights, write_questions
from training.several_processes import cut_back

RECIPE = """
[run]
folder = "{folder}/answers"
steps = 3

[model.assistant]
tower = "{folder}/tower"
decoder = "{folder}/smollm.gguf"
context = 96

[data.squares]
path = "{folder}/questions.jsonl"
format = "table"
batch = 8
captions = 0
questions = 2

[objective.answers]
kind = "answering"
source = "squares"

[optimizer]
lr = 0.01
warmup = 0.0
freeze = ["tower", "decoder"]

[hardware]
device = "cpu"
precision = "float32"

[loading]
workers = 0

[log]
every = 1
"""
NEW = (
    "model.assistant.decoder={ dim = 32, depth = 1, heads = 2, hidden = 64 }",
    "model.vocabulary={ size = 400, chat = true }",
    "model.tokenizer={ context = 40, pad_id = 0 }",
    "optimizer.freeze=['tower']",
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Squares with questions, a tower, a first stage over it, and a language model."""
    folder = tmp_path_factory.mktemp("parts")
    first = write_qformer_run(folder)
    train(read_recipe(first, ("run.steps=2",)))
    write_questions(folder, "questions.jsonl", (0,))
    write_smollm(folder / "smollm.gguf")
    text = RECIPE.format(folder=folder).replace("context = 96\n", "")
    (folder / "answers.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def recipe(folder, tmp_path):
    place = f"run.folder={tmp_path / 'answers'}"

    def read(*settings):
        trained = () if NEW[0] in settings else ("model.assistant.context=96",)
        return read_recipe(folder / "answers.toml", (place, *trained, *settings))

    return read


def parts(bundle):
    return {n: p.clone() for n, p in bundle.model.state_dict().items()}


def changed(before, after):
    """The names that the second has with other bytes."""
    return {n for n in before if not torch.equal(before[n], after[n])}


# BLIP-2's second stage


def stage2(folder):
    return (
        *NEW,
        "model.assistant.connector=q-former",
        f"model.assistant.qformer={folder}/queries/model",
    )


def test_the_second_stage_of_blip2_starts_from_the_first(recipe, folder):
    first = load_bundle(folder / "queries" / "model")
    second = make_model(recipe(*stage2(folder)), "second").model
    assert second.config.class_token and second.config.connector.qformer.vocab_size is None
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        patches = first.model.eval().patches(pixels)
        torch.testing.assert_close(second.eval().patches(pixels), patches)
        expected = second.connector.project(first.model.qformer(patches))
        torch.testing.assert_close(second.see(pixels), expected)
        blind = first.model.qformer(torch.zeros_like(patches))
    assert not torch.allclose(first.model.qformer(patches), blind, atol=1e-3)


def test_the_second_stage_trains_queries_and_decoder_and_not_the_tower(recipe, folder):
    settings = recipe(*stage2(folder))
    begun = parts(make_model(settings, "begun"))
    result = train(settings)
    ended = weights(result.folder)
    moved = changed(begun, ended)
    assert {n.split(".")[0] for n in moved} == {"connector", "decoder"}
    assert {"connector.qformer.queries", "connector.project.weight"} <= moved
    assert not any(n.startswith("tower.") for n in moved)
    answer = seesay.chat(result.folder).ask(folder / "red-top-0.png", "What colour is it?")
    assert isinstance(answer.text, str)


def test_without_a_first_stage_its_queries_are_random(recipe, tmp_path, folder):
    settings = (*NEW, "model.assistant.connector=q-former")
    made = make_model(recipe(*settings, "model.assistant.queries=5"), "made")
    randomise(made.model, norms=1.0)
    save_bundle(tmp_path / "model", made)
    again = load_bundle(tmp_path / "model")
    assert again.config == made.config
    pixels = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        seen = made.model.eval().see(pixels)
        assert seen.shape == (1, 5, 32) and torch.equal(again.model.see(pixels), seen)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.assistant.queries=5"], "brings a Q-Former with its queries"),
        (["model.assistant.connector=mlp"], "connector='mlp', queries=None; expected"),
        (["model.assistant.qformer={folder}/tower"], "is a DualEncoder; expected a model of BLIP"),
        (["model.assistant.tower={folder}/other"], "trained over the same tower"),
        (["model.assistant.context=9"], "context=9 is set, which model.tokenizer brings"),
    ],
)
def test_what_does_not_continue_a_first_stage_is_refused(recipe, folder, settings, expected):
    other = load_bundle(folder / "tower")
    with torch.no_grad():
        other.model.image.patch_embed.weight.mul_(-1)
    save_bundle(folder / "other", other)
    with pytest.raises(ConfigError, match=expected):
        given = [one.format(folder=folder) for one in settings]
        make_model(recipe(*stage2(folder), *given), "made")


# A trained decoder, and LLaVA's stages


def test_a_language_model_brings_weights_vocabulary_and_template(recipe, folder):
    made = make_model(recipe(), "made")
    trained, own = write_smollm(folder / "again.gguf").state_dict(), made.model.state_dict()
    assert all(torch.equal(own[f"decoder.{n}"], one) for n, one in trained.items())
    assert made.template == "chatml" and made.tokenizer.config.context == 96
    (image_id,) = made.config.image_ids
    assert image_id == made.config.decoder.vocab_size == made.tokenizer.vocab_size - 1


@pytest.mark.parametrize("connector", ["mlp", "q-former", "gated-cross-attention"])
def test_it_saves_and_loads_with_every_way_of_seeing(recipe, folder, tmp_path, connector):
    made = make_model(recipe(f"model.assistant.connector={connector}"), "made")
    save_bundle(tmp_path / "model", made)
    again = load_bundle(tmp_path / "model")
    assert same(again.model.state_dict(), made.model.state_dict())
    picture, question = folder / "red-top-0.png", "What colour is it?"
    asked = seesay.chat(tmp_path / "model", dtype="float32")
    first = asked.ask(picture, question, max_tokens=5)
    assert asked.ask(folder / "blue-left-0.png", question, max_tokens=5) is not None
    assert first.text == asked.ask_batch([(picture, question)] * 2, max_tokens=5)[1].text


@torch.no_grad()
def test_nearly_closed_gates_leave_the_language_model_as_it_is(recipe, folder):
    made = make_model(
        recipe("model.assistant.connector=gated-cross-attention"), "made"
    ).model.eval()
    plain = write_smollm(folder / "again.gguf").eval()
    ids = torch.tensor([[made.config.image_ids[0], 40, 41, 42]])
    seen = made.see(torch.randn(1, 3, 16, 16))
    expected = plain(plain.embed(ids.masked_fill(ids == made.config.image_ids[0], 0)))
    found = made(ids, seen)
    assert 0 < (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_the_first_stage_of_llava_trains_the_connector_alone(recipe, folder):
    settings = recipe()
    begun = parts(make_model(settings, "begun"))
    ended = weights(train(settings).folder)
    assert {n.split(".")[0] for n in changed(begun, ended)} == {"connector"}


def test_the_second_stage_of_llava_starts_from_the_first(recipe, folder, tmp_path):
    first = train(recipe())
    begun = weights(first.folder)
    again = (f"model={{ start = '{first.folder}' }}", "optimizer.freeze=['tower']")
    place = f"run.folder={tmp_path / 'second'}"
    settings = read_recipe(folder / "answers.toml", (*again, place, "run.steps=6"))
    ended = weights(train(settings).folder)
    assert {n.split(".")[0] for n in changed(begun, ended)} == {"connector", "decoder"}
    of_run = losses(tmp_path / "second")
    assert of_run[6] < of_run[1]


def test_only_answers_are_learned_in_a_conversation_of_chatml(recipe):
    settings = recipe("data.squares.batch=4")
    bundle = make_model(settings, "made")
    objective = make_objectives(settings, bundle, CPU)["answers"][1]
    batch = first_batch(_Run(settings, Processes(0, 1, CPU))._batches)
    (_, images), (_, rows) = objective.inputs(batch).items()
    tokenizer, own = bundle.tokenizer.for_prompts(), batch.sources["squares"]
    assert len(images) == len(rows) == 4 and chat_template("chatml").stops == ("<|im_end|>",)
    learned = [
        tokenizer.decode(ids[on.bool()].tolist(), skip_special_tokens=False)
        for image in rows
        for ids, on in image
        if on.any()
    ]
    assert learned == [f"{answer}<|im_end|>" for answer in own.texts]


# Low-rank adapters

LORA = "model.lora={ rank = 2, alpha = 4, targets = ['query', 'value', 'down'] }"


def test_adapters_and_connector_are_trained_and_the_decoder_keeps_its_bytes(recipe, tmp_path):
    settings = recipe(LORA, "optimizer.freeze=['tower']", "checkpoint.every=1")
    bundle = make_model(settings, "begun")
    begun = parts(bundle)
    result = train(settings)
    last = tmp_path / "answers" / "checkpoints" / "step-00000003" / "model.safetensors"
    moved = changed(begun, load_file(last))
    assert {n.split(".")[0] for n in moved if not is_adapter(n)} == {"connector"}
    adapters = {n for n in begun if is_adapter(n)}
    assert len(adapters) == 2 * 2 * 3 and adapters <= moved
    merged = weights(result.folder)
    assert not any(map(is_adapter, merged))
    assert "decoder.blocks.0.attention.query.weight" in changed(
        {n: one for n, one in begun.items() if not is_adapter(n)}, merged
    )


def test_the_adapter_of_a_run_makes_its_model_of_the_language_model(recipe, folder, tmp_path):
    result = train(recipe(LORA, "optimizer.freeze=['tower']"))
    adapter = tmp_path / "answers" / "adapter"
    base = write_smollm(folder / "again.gguf").eval()
    assert load_adapter(base, adapter) == LoraConfig(
        rank=2, alpha=4.0, targets=("query", "value", "down")
    )
    trained = load_bundle(result.folder).model.decoder
    ids = torch.arange(9)[None]
    with torch.no_grad():
        expected = trained(trained.embed(ids))
        torch.testing.assert_close(base(base.embed(ids)), expected)
    assert f"{folder}/smollm.gguf" in (adapter / "adapter_config.json").read_text()


def test_a_run_with_adapters_resumes_to_the_same_weights(recipe, tmp_path):
    settings = (LORA, "optimizer.freeze=['tower']", "checkpoint.every=2")
    whole = train(recipe(*settings))
    cut_back(tmp_path / "answers", 2, tmp_path / "cut")
    resumed = train(recipe(*settings, f"run.folder={tmp_path / 'cut'}"), resume=True)
    assert same(weights(whole.folder), weights(resumed.folder))


def test_adapters_on_4_bits_train_resume_and_are_exported_as_they_were_trained(
    recipe, folder, tmp_path
):
    settings = (
        "model.lora={ rank = 2, alpha = 4, targets = ['query', 'down'], base = 'nf4' }",
        "optimizer.freeze=['tower']",
        "optimizer.ema=0.9",
        "checkpoint.every=2",
    )
    result = train(recipe(*settings))
    cut_back(tmp_path / "answers", 2, tmp_path / "cut")
    measure = (
        f"evaluation.answers={{ path = '{folder}/questions.jsonl', format = 'table', stop = 1 }}"
    )
    again = recipe(*settings, measure, f"run.folder={tmp_path / 'cut'}")
    resumed = train(again, resume=True)
    assert resumed.measured
    last = "checkpoints/step-00000003"
    for name in ("model.safetensors", "average.safetensors"):
        one, two = (load_file(tmp_path / run / last / name) for run in ("answers", "cut"))
        assert same(one, two), name
    assert same(weights(result.folder), weights(resumed.folder))

    begun = make_model(again, "begun")
    average = load_file(tmp_path / "answers" / last / "average.safetensors")
    moved = changed(parts(begun), average)
    assert {n.split(".")[0] for n in moved if not is_adapter(n)} == {"connector"}
    assert {n for n in average if is_adapter(n)} <= moved
    assert average["decoder.blocks.0.mlp.down.nf4.packed"].dtype == torch.uint8
    trained = begun.with_weights(average).model.decoder
    exported = load_bundle(result.folder).model.decoder
    ids = torch.arange(9)[None]
    with torch.no_grad():
        expected = trained(trained.embed(ids))
        torch.testing.assert_close(exported(exported.embed(ids)), expected, rtol=0, atol=1e-5)


def test_adapters_on_4_bits_are_not_exported_alone(recipe):
    with pytest.raises(ConfigError, match=r"model\.lora\.base='nf4'"):
        recipe("model.lora={ base = 'nf4' }", "optimizer.freeze=['tower']", "run.export=adapter")


def test_small_parts_give_the_gradient_of_the_whole(recipe):
    settings = recipe(LORA, "hardware.precision=float64", "optimizer.freeze=['tower']")
    gradients = []
    for micro_batch in (None, 3):
        bundle = make_model(settings, "made")
        objectives = make_objectives(settings, bundle, CPU)
        batch = first_batch(_Run(settings, Processes(0, 1, CPU))._batches)
        trained, shared = make_trained(bundle, settings.hardware, Processes(0, 1, CPU))
        loss = TrainingStep(trained, shared, objectives, micro_batch)(batch)
        if loss.requires_grad:
            loss.backward()
        gradients.append({n: p.grad for n, p in bundle.model.named_parameters() if p.requires_grad})
    assert gradients[0].keys() == gradients[1].keys()
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, msg=name)


def test_adapters_are_not_frozen(recipe):
    with pytest.raises(ConfigError, match="also freezes the adapters"):
        recipe(LORA)


def test_a_dual_encoder_learns_adapters_in_both_towers_and_nothing_else(folder, tmp_path):
    place = f"run.folder={tmp_path / 'run'}"
    settings = read_recipe(
        folder / "recipe.toml", ("model.lora={ rank = 2 }", "run.steps=3", place)
    )
    begun = parts(make_model(settings, "begun"))
    train(settings)
    last = tmp_path / "run" / "checkpoints" / "step-00000003" / "model.safetensors"
    moved = changed(begun, load_file(last))
    assert {n.split(".")[0] for n in moved if is_adapter(n)} == {"image", "text"}
    assert {n for n in moved if not is_adapter(n)} == {"log_scale"}
    again = make_model(settings, "again").model
    merge_lora(again)
    load_adapter(again, tmp_path / "run" / "adapter")
    trained = load_bundle(tmp_path / "run" / "model").model
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(again.embed_images(images), trained.embed_images(images))


# What is exported without its tower and its decoder

LIGHT = (LORA, "optimizer.freeze=['tower']", "run.export=adapter")


def test_a_light_export_loads_as_the_whole_model(recipe, folder, tmp_path):
    light = train(recipe(*LIGHT))
    whole = train(recipe(LORA, "optimizer.freeze=['tower']", f"run.folder={tmp_path / 'whole'}"))
    names = set(load_file(light.folder / "model.safetensors"))
    assert names == {"connector.mlp.0.weight", "connector.mlp.0.bias"} | {
        "connector.mlp.2.weight",
        "connector.mlp.2.bias",
    }
    expected = weights(whole.folder)
    for name, one in weights(light.folder).items():
        torch.testing.assert_close(one, expected[name], msg=name)
    answer = seesay.chat(light.folder).ask(folder / "red-top-0.png", "What colour is it?")
    assert isinstance(answer.text, str)
    again = train(recipe(*LIGHT), resume=True)  # replaces what it exported before
    assert again.already_finished


def test_a_light_export_with_cross_attention_keeps_its_blocks(recipe, tmp_path):
    light = train(recipe(*LIGHT, "model.assistant.connector=gated-cross-attention"))
    names = {n for n in load_file(light.folder / "model.safetensors") if "decoder." in n}
    assert names and all(".cross." in name for name in names)
    weights(light.folder)


def test_a_light_export_refuses_other_parts(recipe, tmp_path):
    light = train(recipe(*LIGHT)).folder / "seesay.json"
    described = json.loads(light.read_text())
    for part, changes, expected in (
        ("tower", {"crc32": 1}, "whose weights are others than in training"),
        ("decoder", {"crc32": 1}, "whose weights are others than in training"),
        ("decoder", {"model": "owner/name"}, "which is not on this machine"),
        ("tower", {"model": 7}, "takes its tower from"),
    ):
        wrong = json.loads(json.dumps(described))
        wrong["parts"][part] |= changes
        light.write_text(json.dumps(wrong))
        with pytest.raises(WeightsError, match=expected):
            load_bundle(light.parent)


def test_only_a_model_with_adapters_on_a_named_decoder_is_exported_lightly(recipe):
    for settings in (LIGHT[1:], (*LIGHT, "optimizer.freeze=[]"), (*LIGHT, *NEW)):
        with pytest.raises(ConfigError, match="leaves out tower and decoder, expected"):
            recipe(*settings)


# The recipes, in a size for a test

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = "run.steps=2", "hardware.device=cpu", "hardware.precision=float32", "loading.workers=0"


def small(name, folder, run, *settings):
    """A recipe of two steps on questions about squares, without its measure."""
    lines = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("added =")]
    file = run.with_suffix(".toml")
    file.write_text("\n".join(kept[: kept.index(first_measure(kept))]), encoding="utf-8")
    source = next(iter(read_toml(file)["data"]))
    table = "squares" if source == "captions" else "questions"
    data = f"data.{source}.path={folder}/{table}.jsonl", f"data.{source}.format=table"
    return read_recipe(file, (*SMALL, *data, f"run.folder={run}", *settings))


def first_measure(lines):
    return next(line for line in lines if line.startswith("[evaluation"))


def of_squares(folder, **settings):
    """[model.assistant] with the tiny parts."""
    own = {"tower": f"{folder}/tower", "decoder": f"{folder}/smollm.gguf", **settings}
    inner = ", ".join(f'{key} = "{value}"' for key, value in own.items())
    return f"model.assistant={{ {inner} }}"


def test_the_recipes_of_llava_follow_each_other(folder, tmp_path):
    parts = of_squares(folder, connector="mlp")
    first = train(small("llava-stage1", folder, tmp_path / "one", parts)).folder
    start = f"model.start={first}"
    second = train(small("llava-stage2", folder, tmp_path / "two", start, "run.export=float32"))
    moved = changed(weights(first), weights(second.folder))
    assert {n.split(".")[0] for n in moved} == {"connector", "decoder"}


def test_the_recipe_of_the_smol_assistant_exports_what_it_trained(folder, tmp_path):
    parts = of_squares(folder, connector="pixel-shuffle")
    light = train(small("seesay-assistant-smol", folder, tmp_path / "run", parts)).folder
    names = {path.name for path in light.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "model.safetensors"} < names
    assert load_bundle(light).template == "chatml"


def test_the_recipes_of_blip2_follow_each_other(folder, tmp_path):
    parts = of_squares(folder, connector="q-former", qformer=f"{folder}/queries/model")
    words = "model={ }", parts
    recipe = small("blip2-stage2", folder, tmp_path / "run", *words, "data.captions.batch=8")
    assert set(weights(train(recipe).folder)) > {"connector.project.bias"}

"""Two processes train what one does: whole copies (DDP), shards (FSDP2), large batches in parts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import quick_bitsandbytes  # noqa: F401
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from seesay.weights.bundle import load_bundle
from tiny_qformer import write_qformer_run
from tiny_runs import CAPTIONS, write_questions
from training.several_processes import cut_back

CLIP = 0.05
EXACT = (
    "hardware.precision=float64",
    "run.steps=4",
    f"run.clip_norm={CLIP}",
    "checkpoint.every=2",
    "optimizer.ema=0.9",
)
# Repeated captions, two languages, a weight that only the loss knows, crops: all at once.
SIGMOID = (*EXACT, "objective.pairs.loss=sigmoid", "objective.pairs.route=gather")
PREFERRED = (
    "objective.answers.kind=preference",
    "objective.answers.picture=1",
    "objective.answers.generation=1",
    "optimizer.freeze=['tower', 'connector']",
    "model.lora={ rank = 2, dora = true, base = 'nf4' }",
)
RUNS = {
    "copies": EXACT,
    "shards": (*EXACT, "hardware.sharing=shards"),
    "copies-parts": (*EXACT, "hardware.micro_batch=3"),
    "shards-parts": (*EXACT, "hardware.sharing=shards", "hardware.micro_batch=3"),
    "copies-sigmoid": SIGMOID,
    "shards-sigmoid": (*SIGMOID, "hardware.sharing=shards", "hardware.recompute=true"),
    "copies-captions": (
        *EXACT,
        *CAPTIONS,
        "objective.more={ kind = 'contrastive', source = 'squares' }",
        "data.squares.captions=2",
        "hardware.micro_batch=3",
    ),
    "shards-captions": (*EXACT, *CAPTIONS, "hardware.sharing=shards", "hardware.recompute=true"),
    "copies-queries": (*EXACT, "data.squares.captions=2", "hardware.micro_batch=3"),
    "shards-queries": (*EXACT, "hardware.sharing=shards", "hardware.recompute=true"),
    "copies-answers": (*EXACT, "hardware.micro_batch=3"),
    "shards-answers": (*EXACT, "hardware.sharing=shards", "hardware.recompute=true"),
    "copies-preferred-answers": (*EXACT, *PREFERRED, "hardware.micro_batch=3"),
    "shards-preferred-answers": (*EXACT, *PREFERRED, "hardware.sharing=shards"),
    "shards-locked": (*EXACT, "hardware.sharing=shards", "optimizer.freeze=['image']"),
}


ANSWERS = """
[run]
folder = "{folder}/answers"

[model]
vocabulary = {{ size = 400, chat = true }}
tokenizer = {{ context = 40, pad_id = 0 }}

[model.assistant]
tower = "{folder}/tower"
connector = "q-former"
queries = 3
decoder = {{ dim = 16, depth = 1, heads = 2, hidden = 32 }}

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
freeze = ["tower"]
warmup = 0.0

[hardware]
device = "cpu"

[loading]
workers = 0

[log]
every = 1
"""


def recipe_of(folder, name):
    """Q-Formers have a recipe of their own, and so has a model that answers through one."""
    own = name.rpartition("-")[2]
    return folder / (f"{own}.toml" if own in ("queries", "answers") else "recipe.toml")


def weights(run):
    return load_bundle(run / "model").model.state_dict()


def losses(run, name="loss"):
    return [row[name] for row in read_log(run / "log.jsonl")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All runs of two processes, in one start of them, because a start takes longest."""
    folder = tmp_path_factory.mktemp("processes")
    write_qformer_run(folder, copies=2)
    write_questions(folder, "questions.jsonl", (0, 1), rejected=True)
    (folder / "answers.toml").write_text(ANSWERS.format(folder=folder))
    recipe = folder / "recipe.toml"
    jobs = [
        {
            "recipe": str(recipe_of(folder, name)),
            "settings": [*settings, f"run.folder={folder / 'two' / name}"],
        }
        for name, settings in RUNS.items()
    ]
    settings = [*EXACT, f"run.folder={folder / 'unmeasurable'}"]
    jobs.append({"recipe": str(recipe), "settings": settings, "unmeasurable": True})
    for name in ("copies", "shards"):
        place = f"run.folder={folder / 'resumed' / name}"
        cut = {"run": str(folder / "two" / name), "step": 2}
        jobs.append({"recipe": str(recipe), "settings": [*RUNS[name], place], "cut": cut})
    (folder / "jobs.json").write_text(json.dumps(jobs))
    start(folder / "jobs.json")
    return folder


def start(jobs):
    script = Path(__file__).with_name("several_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--master-port=0", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    environment = {**os.environ, "PYTHONPATH": f"src{os.pathsep}tests", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(jobs)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    errors = jobs.with_suffix(".errors")
    assert done.returncode == 0 and not errors.exists(), (
        errors.read_text() if errors.exists() else done.stderr
    )


def alone(folder, name):
    """The same run in this process; its place must not be known to torch as one of several."""
    run = folder / "one" / name
    if not run.exists():
        settings = [s for s in RUNS[name] if not s.startswith("hardware.sharing")]
        train(read_recipe(recipe_of(folder, name), (*settings, f"run.folder={run}")))
    return run


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_make_the_model_that_one_makes(folder, name):
    one, two = alone(folder, name), folder / "two" / name
    torch.testing.assert_close(losses(two), losses(one), rtol=1e-9, atol=1e-9)
    norms = losses(one, "gradient_norm")
    assert max(norms) > CLIP  # so that what is let through depends on the norm of the whole
    torch.testing.assert_close(losses(two, "gradient_norm"), norms, rtol=1e-6, atol=0)
    expected = weights(one)
    for key, value in weights(two).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)


def test_an_error_in_one_process_is_told_by_all_and_none_waits(folder):
    assert [(folder / f"told-{rank}").read_text() for rank in (0, 1)] == ["the dev set is gone"] * 2


@pytest.mark.parametrize("name", ["copies", "shards"])
def test_two_processes_resume_to_the_model_of_an_unbroken_run(folder, name):
    resumed, whole = folder / "resumed" / name, folder / "two" / name
    assert losses(resumed) == losses(whole)
    expected = weights(whole)
    assert all(torch.equal(value, expected[key]) for key, value in weights(resumed).items())


@pytest.mark.parametrize("name", ["copies", "shards"])
def test_one_process_goes_on_with_what_two_began(folder, name):
    one = alone(folder, name)
    begun = folder / "begun-by-two" / name
    cut_back(folder / "two" / name, 2, begun)
    settings = [s for s in RUNS[name] if not s.startswith("hardware.sharing")]
    recipe = read_recipe(folder / "recipe.toml", (*settings, f"run.folder={begun}"))
    train(recipe, resume=True)
    expected = weights(one)
    for key, value in weights(begun).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)


def test_shards_are_not_whole_while_training(folder):
    # Each process wrote its own generators' state, and one file holds the whole tensors.
    state = torch.load(
        folder / "two" / "shards" / "checkpoints" / "step-00000004" / "state.pt", weights_only=True
    )
    assert len(state["random"]) == 2
    assert state["optimizer"]["image.patch_embed.weight"]["exp_avg"].shape == (16, 3, 8, 8)

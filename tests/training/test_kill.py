"""kill -9 at any moment, also within the writing of a checkpoint, costs time and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seesay.training.run_log import read_log
from tiny_qformer import write_qformer_run
from tiny_runs import write_run


@pytest.mark.parametrize(
    ("kills", "steps"), [(6, 12), pytest.param(20, 40, marks=pytest.mark.slow)]
)
def test_a_run_killed_again_and_again_ends_as_one_that_was_never_killed(tmp_path, kills, steps):
    recipe = write_run(tmp_path)
    text = recipe.read_text().replace("steps = 12", f"steps = {steps}")
    text = text.replace("every = 3", "every = 2")
    recipe.write_text(text.replace("lr = 0.01", "lr = 0.01\nema = 0.9"))
    assert kill(recipe, kills, steps=steps) >= kills // 6


def test_a_first_stage_of_blip2_killed_twice_ends_as_one_that_was_never_killed(tmp_path):
    recipe = write_qformer_run(tmp_path)
    recipe.write_text(recipe.read_text().replace("steps = 3", "steps = 5"))
    kill(recipe, 2, steps=5)


def kill(recipe, kills, steps):
    """Kills a run so often and compares what it becomes with the run that was left alone; returns
    how many kills left a half-written checkpoint behind."""
    script = Path(__file__).with_name("killed_process.py")
    done = subprocess.run(
        [sys.executable, str(script), str(recipe), str(kills)],
        env={**os.environ, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(recipe.with_name("told.json").read_text())
    whole = recipe.parent / "runs" / "whole"
    weights = (whole / "model" / "model.safetensors").read_bytes()
    rows = [(row["step"], row["loss"], row["lr"]) for row in read_log(whole / "log.jsonl")]
    assert len(rows) == steps
    for name in told["finished"]:
        run = recipe.parent / "runs" / name
        assert (run / "model" / "model.safetensors").read_bytes() == weights
        log = read_log(run / "log.jsonl")
        assert [(row["step"], row["loss"], row["lr"]) for row in log] == rows
        assert not list((run / "checkpoints").glob(".unfinished-*"))
    return told["writing"]

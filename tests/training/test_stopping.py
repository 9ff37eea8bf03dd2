"""A training that is stopped keeps what it learned, and goes on to the same result."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from tiny_runs import losses, same, weights, write_run

# Says when the third step is done, and is then held until a line comes in: by then the signal has.
HELD = """
import sys
from seesay.cli.main import main
from seesay.training import run
after = run._Run._after_step
def held(self, done):
    if done.number == 3:
        print("step 3", flush=True)
        sys.stdin.readline()
    after(self, done)
run._Run._after_step = held
sys.argv = ["seesay", *sys.argv[1:]]
main()
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    file = write_run(tmp_path)
    file.write_text(file.read_text().replace("every = 3", "every = 1000"))
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The same run, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    return train(read_recipe(write_run(folder))).folder.parent


def lines(stream) -> Iterator[str]:
    return iter(stream.readline, "")


@pytest.mark.parametrize(
    ("number", "code", "workers"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 0)]
)
def test_a_run_that_is_told_to_stop_keeps_its_last_step(
    recipe, whole, tmp_path, number, code, workers
):
    words = ["train", str(recipe), "--set", f"loading.workers={workers}"]
    environment = {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1", "SEESAY_LANG": "en"}
    child = subprocess.Popen(
        [sys.executable, "-c", HELD, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    assert "step 3\n" in lines(child.stdout)
    if number == signal.SIGINT:
        os.killpg(child.pid, number)  # as a terminal does: to its workers as well
    else:
        child.send_signal(number)
    _, told = child.communicate("go on\n")
    assert child.returncode == code, told
    assert "its state after step 3 is kept: go on with the same command and --resume" in told
    run = tmp_path / "run"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000003"]
    assert [row["step"] for row in read_log(run / "log.jsonl")] == [1, 2, 3]
    train(read_recipe(recipe), resume=True)
    assert losses(run) == losses(whole)
    assert same(weights(run / "model"), weights(whole / "model"))


def test_what_was_learned_before_a_log_could_not_be_written_is_kept(
    recipe, whole, tmp_path, monkeypatch
):
    from seesay.training.run_log import RunLog

    written = RunLog.step

    def full(log, number, *arguments):
        if number == 5:
            raise OSError(28, "No space left on device")
        written(log, number, *arguments)

    monkeypatch.setattr(RunLog, "step", full)
    with pytest.raises(OSError, match="No space left"):
        train(read_recipe(recipe))
    monkeypatch.undo()
    train(read_recipe(recipe), resume=True)
    assert same(weights(tmp_path / "run" / "model"), weights(whole / "model"))


def test_a_step_that_fails_halfway_is_not_kept(recipe, tmp_path, monkeypatch):
    from seesay.training.loop import TrainingStep

    calls = []
    whole_step = TrainingStep.__call__

    def failing(step, batch):
        calls.append(step)
        if len(calls) == 4:
            raise MemoryError
        return whole_step(step, batch)

    monkeypatch.setattr(TrainingStep, "__call__", failing)
    with pytest.raises(MemoryError):
        train(read_recipe(recipe))
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from seesay.errors import ConfigError, TrainingError
from seesay.training import checkpoints as module
from seesay.training.checkpoints import (
    CheckpointConfig,
    Checkpoints,
    Snapshot,
    TrainingState,
    random_state,
    restore_random_state,
)
from seesay.training.distributed import Processes


def snapshot(step, score=None):
    return Snapshot(
        step=step,
        model={"w": torch.full((2, 3), float(step))},
        average={"w": torch.full((2, 3), step / 2)},
        optimizer={"w": {"step": torch.tensor(float(step)), "exp_avg": torch.ones(2, 3)}},
        random=[random_state()],
        notes={"score": score, "recipe": {"名": "值"}},
    )


def test_what_is_saved_comes_back_to_the_last_bit(tmp_path):
    kept = Checkpoints(tmp_path, CheckpointConfig())
    before = snapshot(7, 0.5)
    kept.save(before)
    after = kept.load(7)
    assert torch.equal(after.model["w"], before.model["w"])
    assert torch.equal(after.average["w"], before.average["w"])
    assert torch.equal(after.optimizer["w"]["exp_avg"], before.optimizer["w"]["exp_avg"])
    assert after.notes == {**before.notes, "step": 7}
    assert after.score == 0.5
    assert torch.equal(after.random[0]["torch"], before.random[0]["torch"])


def test_every_generator_goes_on_where_it_was():
    def draw():
        return (
            torch.rand(3).tolist(),
            np.random.rand(3).tolist(),
            random.random(),
            random.gauss(0, 1),
        )

    np.random.standard_normal()
    random.gauss(0, 1)  # both keep a second number for later
    state = random_state()
    first = draw()
    restore_random_state(state)
    assert draw() == first


def test_every_process_goes_on_with_its_own_random_numbers():
    model = torch.nn.Linear(2, 2)
    state = TrainingState(model, torch.optim.AdamW(model.parameters()), None)
    draws, kept = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        kept.append(random_state())
        draws.append(torch.rand(3))
    taken = replace(state.snapshot(1, {}), random=kept)
    for rank in (0, 1):
        state.load(taken, Processes(rank, 2, torch.device("cpu")))
        assert torch.equal(torch.rand(3), draws[rank])


def test_the_newest_and_the_best_are_kept(tmp_path):
    kept = Checkpoints(tmp_path, CheckpointConfig(keep=2))
    for step, score in enumerate([0.1, 0.9, None, 0.9, 0.2, None], start=1):
        kept.save(snapshot(step, score))
    assert kept.steps() == [2, 5, 6]
    assert kept.best() == 2  # the earliest of equals
    assert kept.chosen() == 2


def test_without_a_score_the_last_is_chosen(tmp_path):
    kept = Checkpoints(tmp_path, CheckpointConfig(keep=1))
    for step in (1, 2):
        kept.save(snapshot(step))
    assert kept.steps() == [2] and kept.best() is None and kept.chosen() == 2


@pytest.mark.parametrize(
    "cut_at", ["save_file", "torch_save", "publish", "rename", "prune", "half_pruned"]
)
def test_a_write_that_is_cut_off_anywhere_leaves_the_last_whole_one(tmp_path, monkeypatch, cut_at):
    class KilledError(BaseException):
        pass

    def killed(*arguments, **settings):
        raise KilledError

    kept = Checkpoints(tmp_path, CheckpointConfig(keep=1))
    kept.save(snapshot(1))
    with monkeypatch.context() as patched:
        if cut_at == "save_file":
            patched.setattr(module, "save_file", killed)
        elif cut_at == "torch_save":
            patched.setattr(torch, "save", killed)
        elif cut_at == "publish":
            patched.setattr(module, "publish", killed)
        elif cut_at == "rename":
            patched.setattr(module.Path, "rename", killed)
        elif cut_at == "prune":
            patched.setattr(shutil, "rmtree", killed)
        else:
            patched.setattr(shutil, "rmtree", lambda p: (p / "state.pt").unlink() or killed())
        with pytest.raises(KilledError):
            kept.save(snapshot(2))
    last = kept.steps()[-1]
    assert last == (2 if "prune" in cut_at else 1)
    for step in kept.steps():  # every one that has its name is whole
        assert torch.equal(kept.load(step).model["w"], torch.full((2, 3), float(step)))
    kept.save(snapshot(3))
    assert kept.steps() == [3]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_a_file_reaches_the_disk_before_its_folder_gets_its_name(tmp_path, monkeypatch):
    order = []
    to_disk, rename = module._to_disk, module.Path.rename
    monkeypatch.setattr(module, "_to_disk", lambda p: (order.append(p.name), to_disk(p)))
    monkeypatch.setattr(
        module.Path, "rename", lambda p, to: (order.append(f"-> {to.name}"), rename(p, to))[1]
    )
    Checkpoints(tmp_path / "kept", CheckpointConfig()).save(snapshot(1))
    files = {"model.safetensors", "average.safetensors", "state.pt", "notes.json"}
    named = order.index("-> step-00000001")
    assert set(order[:named]) == files | {".unfinished-step-00000001"}
    assert order[named + 1 :] == ["kept"]


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    kept = Checkpoints(tmp_path, CheckpointConfig())
    kept.save(snapshot(1))
    (kept.path(1) / "state.pt").write_bytes(b"x")
    with pytest.raises(TrainingError, match=r"step-00000001 is damaged .* delete this folder"):
        kept.load(1)
    (kept.path(1) / "notes.json").write_text("{")
    with pytest.raises(TrainingError, match="step-00000001 is damaged"):
        kept.notes(1)


def test_a_checkpoint_holds_no_pickled_code(tmp_path):
    kept = Checkpoints(tmp_path, CheckpointConfig())
    kept.save(snapshot(1))
    torch.load(kept.path(1) / "state.pt", weights_only=True)
    assert json.loads((kept.path(1) / "notes.json").read_text(encoding="utf-8"))["step"] == 1


def test_keeping_nothing_is_refused():
    with pytest.raises(ConfigError, match="keep=0"):
        CheckpointConfig(keep=0)

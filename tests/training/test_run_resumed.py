"""A run that was stopped ends as if it had not been. (test_kill.py does it by kill -9.)"""

import pytest
import torch

from seesay.data.batches import Samples
from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoder
from seesay.training import run as module
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from seesay.training.run_log import read_log
from tiny_runs import losses, same, weights, write_run


@pytest.fixture
def recipe(tmp_path):
    file = write_run(tmp_path)
    return lambda *assignments: read_recipe(file, assignments)


def stop_after(step, monkeypatch):
    """Let a run die after a step, as a kill would, with nothing written later."""

    class KilledError(BaseException):
        pass

    after = module._Run._after_step

    def dying(run, done):
        after(run, done)
        if done.number == step:
            raise KilledError

    monkeypatch.setattr(module._Run, "_after_step", dying)
    return pytest.raises(KilledError)


@pytest.mark.parametrize(
    "settings",
    [
        ("objective.pairs.loss=sigmoid", "optimizer.ema=0.9"),
        ("hardware.micro_batch=3",),
        ("hardware.recompute=true", "run.accumulate=2"),
        ("optimizer.freeze=['image']", "hardware.precision=bfloat16"),
        ("data.squares.augmentation.crop_scale=[0.3, 1.0]", "loading.workers=1"),
    ],
    ids=lambda settings: settings[0],
)
def test_a_run_that_was_stopped_ends_exactly_as_one_that_was_not(
    recipe, tmp_path, monkeypatch, settings
):
    whole = train(recipe(*settings, f"run.folder={tmp_path / 'whole'}"))
    with monkeypatch.context() as patched, stop_after(7, patched):
        train(recipe(*settings))
    assert not (tmp_path / "run" / "model").exists()
    resumed = train(recipe(*settings), resume=True)
    assert same(weights(resumed.folder), weights(whole.folder))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert list(losses(tmp_path / "run")) == list(range(1, 13))
    seconds = [row["seconds"] for row in read_log(tmp_path / "run" / "log.jsonl")]
    assert seconds == sorted(seconds)  # those before the break count


def test_dropout_goes_on_with_the_masks_it_would_have_drawn(recipe, tmp_path, monkeypatch):
    embed = DualEncoder.embed_texts

    def with_dropout(model, ids):
        return torch.nn.functional.dropout(embed(model, ids), 0.5, model.training)

    monkeypatch.setattr(DualEncoder, "embed_texts", with_dropout)
    whole = train(recipe(f"run.folder={tmp_path / 'whole'}"))
    with monkeypatch.context() as patched, stop_after(7, patched):
        train(recipe())
    assert same(weights(train(recipe(), resume=True).folder), weights(whole.folder))


def test_resuming_before_the_first_checkpoint_begins_anew(recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, stop_after(2, patched):
        train(recipe())
    train(recipe(), resume=True)
    assert list(losses(tmp_path / "run")) == list(range(1, 13))


def test_resuming_a_finished_run_changes_nothing(recipe, tmp_path):
    before = weights(train(recipe()).folder)
    log = (tmp_path / "run" / "log.jsonl").read_text()
    again = train(recipe(), resume=True)
    assert same(weights(again.folder), before)
    assert (tmp_path / "run" / "log.jsonl").read_text() == log


def test_resuming_with_another_recipe_is_refused_by_the_setting(recipe):
    train(recipe())
    with pytest.raises(ConfigError, match=r"optimizer.lr was 0.01, now 0.02"):
        train(recipe("optimizer.lr=0.02"), resume=True)
    with pytest.raises(ConfigError, match=r"run.seed was 0, now 1"):
        train(recipe("run.seed=1"), resume=True)
    with pytest.raises(ConfigError, match=r"run.accumulate was 1, now 2"):
        train(recipe("run.accumulate=2"), resume=True)
    train(recipe("checkpoint.keep=1", "log.every=5"), resume=True)  # these may change


def test_the_same_sample_is_read_by_the_same_draw_after_resuming(recipe, monkeypatch):
    read = []
    get = Samples.__getitem__
    monkeypatch.setattr(Samples, "__getitem__", lambda s, p: (read.append(p), get(s, p))[1])
    with monkeypatch.context() as patched, stop_after(7, patched):
        train(recipe())
    checked, first, read[:] = read[:8], read[8:], []
    train(recipe(), resume=True)
    assert checked == first[:8]  # the check before the first step looks at the first batch
    assert len(read) == 6 * 8  # from step 7 on, nothing before is read again
    assert first[6 * 8 : 7 * 8] == read[:8]

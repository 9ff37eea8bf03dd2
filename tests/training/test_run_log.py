import json
import sys
from types import SimpleNamespace

import pytest

from seesay.errors import ConfigError
from seesay.training.run_log import LogConfig, RunLog, _Speed, read_log, truncate_log


def log(folder, after=0, steps=10, **settings):
    return RunLog(folder, LogConfig(**settings), after=after, steps=steps)


def values(loss, seconds):
    return {"loss": loss, "seconds": seconds}


def test_lines_stand_in_the_log_as_often_as_asked(tmp_path):
    one = log(tmp_path, every=3)
    for number in range(1, 8):
        one.step(number, 8, values(1 / number, float(number)))
    one.write(7, {"zh_r10": 0.5})
    one.close()
    rows = read_log(tmp_path / "log.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 7]
    assert rows[1]["loss"] == 1 / 6 and rows[1]["samples_per_s"] == 8.0
    assert rows[2] == {"step": 7, "zh_r10": 0.5}


def test_going_on_drops_what_will_be_written_again(tmp_path):
    file = tmp_path / "log.jsonl"
    lines = [{"step": step, "loss": 0.1 * step, "名": "值"} for step in range(1, 6)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    file.write_text(text + '{"step": 6, "lo', encoding="utf-8")
    one = log(tmp_path, after=3, every=1)
    one.step(4, 8, values(0.5, 1.0))
    one.close()
    assert read_log(file)[:3] == lines[:3]
    assert [row["step"] for row in read_log(file)] == [1, 2, 3, 4]


def test_a_log_that_is_not_there_yet_is_fine(tmp_path):
    truncate_log(tmp_path / "log.jsonl", 3)
    assert not (tmp_path / "log.jsonl").exists()


def test_speed_is_that_of_the_last_steps_without_the_start():
    speed = _Speed()
    assert speed.after(10, 100.0) == 0.0
    assert speed.after(10, 102.0) == 5.0
    assert speed.after(10, 103.0) == pytest.approx(20 / 3)
    for second in range(104, 200):
        speed.after(10, float(second))
    assert speed.after(10, 200.0) == 10.0


def test_whoever_watches_without_a_terminal_gets_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("seesay.training.run_log.QUIET_S", -1.0)
    one = log(tmp_path, steps=4)
    for number in (1, 2):
        one.step(number, 8, values(0.25, 2.0 * number))
    one.say("[step 2]: 名 0.5")
    one.close()
    said = capsys.readouterr().err
    assert "step 2/4  loss 0.2500  4.0 samples/s  0:00:04 left" in said
    assert "[step 2]: 名 0.5" in said


def test_logging_never_is_refused():
    with pytest.raises(ConfigError, match="every=0"):
        LogConfig(every=0)


class FakeWandb:
    """What is asked of the package, in order."""

    def __init__(self):
        self.begun, self.logged, self.finished = [], [], 0

    def init(self, **settings):
        self.begun.append(settings)
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


def test_weights_and_biases_gets_every_number_at_its_step_and_the_same_run_again(
    tmp_path, monkeypatch
):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    folder = tmp_path / "my-run"
    one = log(folder, every=2, also=("wandb",))
    for number in (1, 2, 3):
        one.step(number, 8, values(0.5, 2.0 * number))
    one.write(3, {"zh_r10": 0.25, "note": "text"})
    assert wandb.finished == 0
    one.close()
    begun = {"dir": folder, "name": "my-run", "id": "my-run", "resume": "allow"}
    assert (wandb.begun, wandb.finished) == ([begun], 1)
    assert (2, {"loss": 0.5}) in wandb.logged and (3, {"zh_r10": 0.25}) in wandb.logged
    assert {step for step, _ in wandb.logged} == {2, 3}
    assert "note" not in {name for _, told in wandb.logged for name in told}
    again = log(folder, after=3, every=2, also=("wandb",))
    again.step(4, 8, values(0.4, 8.0))
    again.close()
    assert wandb.begun == [begun, begun] and wandb.finished == 2
    assert (4, {"loss": 0.4}) in wandb.logged

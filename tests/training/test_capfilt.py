"""CapFilt on coloured squares, a fifth of whose captions stand beside the wrong picture."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chat_server import chat_server, completion
from seesay.cli.main import run
from seesay.data.sources import RecordsConfig, open_records, used_records
from seesay.errors import ConfigError, DataError
from seesay.inference.embedder import load
from seesay.inference.matcher import load_matcher
from seesay.inference.remote import RemoteAssistant, RemoteConfig
from seesay.training.capfilt import CapfiltConfig, run_capfilt
from seesay.training.pair_scores import cut_from_random, draw_others
from seesay.training.recipe import read_recipe
from seesay.training.run import train
from tiny_qformer import write_qformer_run
from tiny_runs import write_run

pytest.importorskip("pyarrow")

FILES = ("audit.csv", "kept.parquet", "summary.json")
KILLS = 6


def shuffle_fifth(rows):
    """Moves a caption of every fifth picture to the next such one, of another colour and place;
    returns the moved ones by picture."""
    moved = {}
    chosen = [row for at, row in enumerate(rows) if at % 5 == 0]
    texts = [row["en"][0] for row in chosen]
    for row, text in zip(chosen, texts[1:] + texts[:1], strict=True):
        row["en"] = [text, *row["en"][1:]]
        moved[row["image"]] = text
    return moved


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that has learned the squares, and their captions with some moved."""
    folder = tmp_path_factory.mktemp("capfilt")
    recipe = write_run(folder)
    settings = ("run.steps=150", "model.architecture.image.patch_size=4", "checkpoint.every=1000")
    train(read_recipe(recipe, settings))
    rows = [json.loads(line) for line in (folder / "squares.jsonl").read_text("utf-8").splitlines()]
    moved = shuffle_fifth(rows)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "shuffled.jsonl").write_text(lines, encoding="utf-8")
    (folder / "moved.json").write_text(json.dumps(moved), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load(folder / "run" / "model")


def records_in(folder, **changes):
    return RecordsConfig(path=str(folder / "shuffled.jsonl"), format="table", **changes)


def audit(out: Path):
    with (out / "audit.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def captions_with(records, **changes):
    """What a source with the lists gives, by key."""
    config = RecordsConfig(path=records.path, format=records.format, **changes)
    source = open_records(config)
    return {source[n].key: source[n].captions for n in used_records(config, source)}


def test_captions_of_other_pictures_are_dropped(folder, model, tmp_path):
    moved = json.loads((folder / "moved.json").read_text("utf-8"))
    result = run_capfilt(records_in(folder), CapfiltConfig(), tmp_path / "out", model)
    rows = audit(tmp_path / "out")
    wrong = [row for row in rows if moved.get(row["key"]) == row["caption"]]
    true = [row for row in rows if moved.get(row["key"]) != row["caption"]]
    assert len(wrong) == len(moved) == 7 and len(rows) == 96
    assert sum(row["kept"] == "no" for row in wrong) >= 6
    assert sum(row["kept"] == "yes" for row in true) >= 0.9 * len(true)
    for one in result.languages:
        of = [row for row in rows if row["language"] == one.language]
        kept = [row for row in of if row["kept"] == "yes"]
        assert (one.captions, one.kept) == (len(of), len(kept))
        assert min(float(row["score"]) for row in kept) == pytest.approx(one.threshold)
        random = [float(row["random"]) >= one.threshold for row in of]
        assert one.random_kept == pytest.approx(np.mean(random)) and np.mean(random) < 0.5
    kept = captions_with(records_in(folder), kept=str(tmp_path / "out" / "kept.parquet"))
    listed = {(key, text) for key, of in kept.items() for texts in of.values() for text in texts}
    assert listed == {(row["key"], row["caption"]) for row in rows if row["kept"] == "yes"}
    assert len(kept) == result.kept_records


def test_what_is_kept_follows_from_the_scores_without_the_models(folder, model, tmp_path):
    def go(**config):
        blocks = []
        report = lambda done, total, failed: blocks.append(done)  # noqa: E731
        out = tmp_path / "out"
        result = run_capfilt(records_in(folder), CapfiltConfig(**config), out, model, report=report)
        return {one.language: one for one in result.languages}, blocks

    _, blocks = go()
    assert blocks == [0]
    half, blocks = go(keep=0.5)
    assert blocks == [] and (half["en"].kept, half["zh"].kept) == (32, 16)
    high, _ = go(threshold=half["en"].threshold)
    assert high["en"].kept == 32 and high["zh"].threshold == high["en"].threshold
    with pytest.raises(DataError, match="no caption reaches the threshold"):
        go(threshold=1e6)


def test_a_matching_head_drops_what_it_calls_unmatched(tmp_path):
    recipe = write_qformer_run(tmp_path)
    trained = train(read_recipe(recipe, ("run.steps=2",)))
    matcher = load_matcher(trained.folder)
    records = RecordsConfig(path=str(tmp_path / "squares.jsonl"), format="table")
    result = run_capfilt(records, CapfiltConfig(threshold=0.0), tmp_path / "out", matcher)
    assert [one.random_kept for one in result.languages] == [None, None]
    source, rows = open_records(records), audit(tmp_path / "out")
    record = source[5]
    image, texts = matcher.look([record.image]), matcher.read(record.captions["en"])
    expected = matcher.match_probabilities(image, texts, [0, 0], [0, 1])
    mine = [float(row["score"]) for row in rows if row["key"] == record.key][:2]
    assert mine == pytest.approx(expected.tolist(), abs=1e-5)
    assert {row["random"] for row in rows} == {""}
    scores = [float(row["score"]) for row in rows]
    threshold = float(np.median(scores))
    config = CapfiltConfig(threshold=threshold)
    again = run_capfilt(records, config, tmp_path / "out", matcher)
    assert sum(one.kept for one in again.languages) == sum(s >= threshold for s in scores)
    if max(scores) >= 0.5:
        default = run_capfilt(records, CapfiltConfig(), tmp_path / "out", matcher)
        assert {one.threshold for one in default.languages} == {0.5}


def test_written_captions_are_filtered_and_read_beside_the_records(folder, model, tmp_path):
    """An endpoint writes the same for every picture, right for one of eight."""
    text, config = "a red square at the left", CapfiltConfig(top_p=0.0, threshold=0.8)
    records, out = records_in(folder, stop=8), tmp_path / "out"
    with chat_server(completion(text)) as server:
        captioner = RemoteAssistant(RemoteConfig(base_url=server.url, model="cats-7b"))
        result = run_capfilt(records, config, out, model, captioner)
        run_capfilt(records, config, out, model, captioner)
        assert len(server.requests) == 16  # 8 pictures, 2 languages, once each
    by_language = {one.language: one for one in result.languages}
    assert (by_language["en"].written, by_language["zh"].written) == (8, 0)
    assert result.unwritten == 8  # English where Chinese was asked for
    rows = audit(out)
    written = {row["key"]: row for row in rows if row["source"] == "written"}
    assert len(written) == 8 and {row["caption"] for row in written.values()} == {text}
    kept = {key for key, row in written.items() if row["kept"] == "yes"}
    assert by_language["en"].written_kept == len(kept)
    assert "red-left-0.png" in kept and "green-right-0.png" not in kept
    lists = str(out / "kept.parquet"), str(out / "written.jsonl")
    given = captions_with(records, kept=lists[0], added=lists[1])
    listed = {(k, text) for k, of in given.items() for texts in of.values() for text in texts}
    assert listed == {(row["key"], row["caption"]) for row in rows if row["kept"] == "yes"}
    assert given["red-left-0.png"]["en"][-1] == text


def test_a_run_killed_again_and_again_gives_the_same_files(folder):
    script = Path(__file__).with_name("killed_capfilt.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(KILLS)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name in FILES:
        expected = (folder / "whole" / name).read_bytes()
        assert (folder / "killed" / name).read_bytes() == expected, name
    blocks = [line.split() for line in (folder / "blocks.txt").read_text().splitlines()]
    whole, killed = ([int(n) for of, n in blocks if of == name] for name in ("whole", "killed"))
    assert whole == list(range(0, 32, 2))
    assert sorted(set(killed)) == whole and killed == sorted(killed)
    assert len(whole) < len(killed) <= len(whole) + KILLS  # a kill costs one block at most


def test_other_data_or_models_are_refused_by_name(folder, model, tmp_path):
    records, out = records_in(folder), tmp_path / "out"
    run_capfilt(records, CapfiltConfig(), out, model)
    before = {name: (out / name).read_bytes() for name in FILES}

    def refused(named, records=records, model=model, captioner=None, **config):
        with pytest.raises(ConfigError) as raised:
            run_capfilt(records, CapfiltConfig(**config), out, model, captioner)
        assert f"was begun with {named}" in raised.value.text.en
        assert f"开始时的 {named.partition(' =')[0]} 是" in raised.value.text.zh

    refused('filter = "', model=load("seesay-mini"))
    refused("seed = 0, not 1", seed=1)
    refused("languages =", records_in(folder, languages=("en",)))
    refused("stop = null, not 8", records_in(folder, stop=8))
    captioner = RemoteAssistant(RemoteConfig(base_url="http://localhost:1", model="cats-7b"))
    refused('captioner = null, not "cats-7b', captioner=captioner)
    file = Path(records.path)
    lines = file.read_text("utf-8")
    file.write_text(lines.replace("something red", "something new"), encoding="utf-8")
    refused("contents of the records =")
    file.write_text(lines, encoding="utf-8")
    assert {name: (out / name).read_bytes() for name in FILES} == before


def test_one_process_at_a_time_writes(folder, model, tmp_path):
    from seesay.training.score_store import ScoreStore

    run_capfilt(records_in(folder), CapfiltConfig(), tmp_path / "out", model)
    settings = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    store = ScoreStore(tmp_path / "out" / "scores.sqlite", {"seed": settings["seed"]})
    with pytest.raises(ConfigError, match="written by another process"):
        run_capfilt(records_in(folder), CapfiltConfig(), tmp_path / "out", model)
    store.close()


def test_damaged_pictures_are_counted_and_left_out(folder, model, tmp_path):
    for file in folder.glob("*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "shuffled.jsonl").write_bytes((folder / "shuffled.jsonl").read_bytes())
    (tmp_path / "red-left-0.png").write_bytes(b"broken")
    (tmp_path / "red-right-0.png").unlink()
    result = run_capfilt(records_in(tmp_path), CapfiltConfig(), tmp_path / "out", model)
    assert (result.records, result.damaged) == (30, 2)
    assert not {"red-left-0.png", "red-right-0.png"} & {
        row["key"] for row in audit(tmp_path / "out")
    }


def test_a_filter_that_sees_no_difference_is_refused(folder, model, tmp_path):
    """Every caption stands beside a random picture."""
    rows = [json.loads(line) for line in (folder / "squares.jsonl").read_text("utf-8").splitlines()]
    texts = [row["en"] for row in rows]
    order = np.random.default_rng(0).permutation(len(rows))
    for row, at in zip(rows, order, strict=True):
        row["en"], row["image"] = texts[at], str(folder / row["image"])
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "random.jsonl").write_text(lines, encoding="utf-8")
    path = str(tmp_path / "random.jsonl")
    records = RecordsConfig(path=path, format="table", languages=("en",))
    with pytest.raises(ConfigError, match="expected a filter that tells them apart"):
        run_capfilt(records, CapfiltConfig(), tmp_path / "out", model)


# Scores


def test_an_other_picture_is_never_the_same_one():
    differs = np.array([[True, True, False], [False, True, False], [False, False, False]])
    draws = np.linspace(0, 0.999, 50)
    drawn = np.array([draw_others(differs, np.full(3, draw)) for draw in draws])
    assert [set(column) for column in drawn.T] == [{0, 1}, {1}, {0, 1, 2}]


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.5])
def test_the_threshold_is_where_true_and_random_pairs_are_as_likely(wrong):
    """Of normal distributions with the same deviation: in the middle, whatever the share of pairs
    that do not belong together."""
    rng = np.random.default_rng(0)
    count = 100_000
    belongs = rng.random(count) >= wrong
    scores, random = rng.normal(3 * belongs), rng.normal(size=count)
    cut = cut_from_random(scores, random)
    assert cut.threshold == pytest.approx(1.5, abs=0.15) and cut.significant
    assert cut.distance == pytest.approx((1 - wrong) * 0.866, abs=0.02)


def test_chance_is_not_significant():
    rng = np.random.default_rng(0)
    distances = [cut_from_random(*rng.normal(size=(2, 200))).significant for _ in range(200)]
    assert np.mean(distances) < 0.03


# The command


@pytest.fixture
def place(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SEESAY_LANG", "en")
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path


COMMAND = ["capfilt", "shuffled.jsonl", "--filter", "run/model"]


def test_the_command_prints_what_it_kept_in_both_languages(place, capsys, monkeypatch):
    out = place / "out"
    assert run([*COMMAND, "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "random kept" in text and "of 32 pictures have a caption that is kept" in text
    assert f'kept = "{out / "kept.parquet"}"' in text and "written.jsonl" not in text
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run([*COMMAND, "-o", str(out)]) == 0
    assert "随机配对保留" in capsys.readouterr().out
    assert run([*COMMAND, "-o", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["language"] for one in report["languages"]] == ["en", "zh"]
    settings = ("run.steps=1", f"run.folder={place / 'run'}", "data.squares.path=shuffled.jsonl")
    settings += (f"data.squares.kept={out / 'kept.parquet'}",)
    given = [part for setting in settings for part in ("--set", setting)]
    assert run(["train", "recipe.toml", *given]) == 0


@pytest.mark.parametrize(
    "arguments, en, zh",
    [
        (["--filter", "nothing"], "nothing", "nothing"),
        (["--filter", "seesay-text"], "embeds texts alone", "只能计算文字的向量"),
        (["--captioner", "seesay-mini"], "seesay-mini", "seesay-mini"),
        (["--threshold", "1", "--keep", "0.5"], "are both set", "不能同时用"),
        (["--keep", "0"], "expected a share above 0", "keep 应大于 0"),
        (["--column", "image"], "names no column", "没有指明列"),
        (["--format", "parquet"], "shuffled.jsonl", "shuffled.jsonl"),
        (["-o", "."], "holds something else", "里有别的内容"),
    ],
)
def test_wrong_input_is_one_clear_line(place, capsys, monkeypatch, arguments, en, zh):
    out = [] if "-o" in arguments else ["-o", str(place / "out")]
    for language, expected in (("en", en), ("zh", zh)):
        monkeypatch.setenv("SEESAY_LANG", language)
        assert run([*COMMAND, *out, *arguments]) in (1, 2)
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1
    assert not (place / "out").exists()


def test_a_path_that_names_nothing_leaves_no_folder(place, capsys):
    assert run(["capfilt", "nothing.jsonl", "--filter", "run/model", "-o", str(place / "o")]) == 2
    assert "names nothing" in capsys.readouterr().err
    assert not (place / "o").exists()

"""Runs side by side: which figure of each task, and when there is an average."""

import json

import pytest

from seesay.errors import ConfigError, DataError
from seesay.evaluation.leaderboard import (
    Column,
    board_html,
    board_json,
    board_markdown,
    leaderboard,
    read_report,
)
from seesay.evaluation.suite_report import suite_json
from seesay.evaluation.suites import Scores, SuiteReport

POPE, HALLUSION, CIDER = (
    "pope/official@1",
    "hallusionbench/vlmevalkit@2026-08-18",
    "cider/coco@1+ptb@1",
)


def run(model, *scores, suite="s", **changes):
    return SuiteReport(suite=suite, model=model, seesay="1", scores=scores, **changes)


def scores(task, scorer, values, **changes):
    given = {"prompt": "plain/seesay@1", "answers": 10, "left_out": 1}
    return Scores(task=task, scorer=scorer, values=values, **given | changes)


def whole(model, f1, mean, points, **changes):
    return run(
        model,
        scores("pope", POPE, {"accuracy": 0.1, "f1": f1}),
        scores("pope", "pope/lmms@2026-08-06", {"accuracy": 0.2, "f1": 0.3}),
        scores("hallusion", HALLUSION, {"aAcc": 0.9, "mean": mean}),
        scores("mme", "mme/official@1", {"total": points, "perception": 1.0}),
        scores("captions", CIDER, {"cider": 1.23}),
        **changes,
    )


def test_an_average_is_that_of_one_normalised_figure_of_each_task():
    board = leaderboard(
        {"a": whole("low", 0.5, 0.25, 1400.0), "b": whole("high", 0.8, 0.5, 2100.0)}
    )
    assert [one.task for one in board.columns] == ["pope", "hallusion", "mme", "captions"]
    assert [one.scorer for one in board.columns] == [POPE, HALLUSION, "mme/official@1", CIDER]
    high, low = board.rows
    assert high.model == "high" and high.figures == pytest.approx((80, 50, 75, 1.23))
    assert high.average == pytest.approx((80 + 50 + 75) / 3)  # CIDEr has no upper bound
    assert low.average == pytest.approx((50 + 25 + 50) / 3)
    assert any("captions (cider)" in note.en for note in board.notes)


def test_a_model_that_lacks_a_task_has_no_average_and_the_board_says_so():
    other = run("new", scores("pope", POPE, {"f1": 0.99}))
    failed = run("broken", scores("pope", POPE, {}), *whole("x", 0.5, 0.5, 100.0).scores[2:])
    board = leaderboard({"a": whole("old", 0.5, 0.25, 1400.0), "b": other, "c": failed})
    assert [(row.model, row.average is None) for row in board.rows] == [
        ("old", False),
        ("broken", True),
        ("new", True),
    ]
    notes = " ".join(note.en for note in board.notes)
    assert "new has no average: no figure for hallusion, mme." in notes
    assert "broken has no average: no figure for pope." in notes
    for language, words in (("en", "has no average"), ("zh", "没有平均分")):
        for page in (board_html(board, language), board_markdown(board, language)):
            assert words in page and POPE in page and HALLUSION in page


def test_what_was_not_done_in_the_same_way_is_named():
    other = whole("other", 0.5, 0.5, 1.0, data={"/b/POPE.tsv": "2"})
    changed = scores("pope", POPE, {"f1": 0.5}, prompt="{question}?", answers=3)
    other = run("other", changed, *other.scores[1:], data={"/b/POPE.tsv": "2"})
    first = whole("first", 0.5, 0.5, 1.0, data={"/a/POPE.tsv": "1"})
    notes = " ".join(note.en for note in leaderboard({"a": first, "b": other}).notes)
    assert "pope: the runs used different prompts." in notes
    assert "between 4 and 11 samples" in notes and "The data differs: POPE.tsv." in notes
    with pytest.raises(ConfigError, match="runs are of 2 suites"):
        leaderboard({"a": first, "b": run("x", suite="t")})


def test_there_is_no_column_without_a_known_scorer():
    with pytest.raises(TypeError):
        Column(task="pope")
    with pytest.raises(ConfigError, match="there is no scorer 'pope/best@1'"):
        Column(task="pope", scorer="pope/best@1")


def test_models_of_vectors_stand_apart_and_runs_of_one_model_by_their_folder():
    vectors = run("base", scores("flickr", "retrieval/seesay@1", {"en_text_to_image_r1": 0.25}))
    twice = whole("same", 0.5, 0.5, 1.0)
    board = leaderboard({"one": twice, "two": twice, "three": vectors})
    assert [row.model for row in board.rows] == ["same (one)", "same (two)"]
    key = "flickr: en_text_to_image_r1 (retrieval/seesay@1)"
    assert board.measures == {key: {"base": 0.25}}
    assert "0.250" in board_html(board) and board_json(board)["measures"][key]["base"] == 0.25


def test_a_run_is_read_from_its_folder_and_a_broken_one_is_refused(tmp_path):
    report = whole("<b>|a", 0.5, 0.25, 1400.0, skipped=("x",))
    (tmp_path / "report.json").write_text(json.dumps(suite_json(report)), encoding="utf-8")
    assert read_report(tmp_path) == report
    board = leaderboard({"a": report})
    assert "&lt;b&gt;|a" in board_html(board) and "<b>\\|a" in board_markdown(board)
    with pytest.raises(ConfigError, match="holds no finished run"):
        read_report(tmp_path / "none")
    for text in ("{", "[]", '{"scores": [{"task": "a"}]}'):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(DataError, match="cannot be read"):
            read_report(tmp_path)

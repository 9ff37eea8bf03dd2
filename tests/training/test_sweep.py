import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seesay.errors import ConfigError, TrainingError
from seesay.evaluation.report import format_value
from seesay.training.recipe import ModelConfig, read_recipe
from seesay.training.run import train
from seesay.training.sweep import cells_of, read_sweep, run_sweep
from seesay.training.sweep_report import (
    BEFORE,
    answers_markdown,
    answers_table,
    first_rows,
    last_rows,
    legend,
    line_chart,
    measurements,
    style,
    sweep_csv,
    sweep_markdown,
    sweep_page,
    ticks,
)
from tiny_runs import measured_by, write_run

SWEEP = """
recipe = "recipe.toml"
folder = "{folder}/sweep"
title = "Softmax < sigmoid 对比"

[settings]
"run.steps" = 4
"evaluation.every" = 2
"log.every" = 1

[axes.loss]
softmax = {{ "objective.pairs.loss" = "softmax" }}
sigmoid = {{ "objective.pairs.loss" = "sigmoid" }}

[axes.batch]
small = {{ "data.squares.batch" = 4 }}
large = {{ "data.squares.batch" = 8, "optimizer.lr" = 2e-2 }}
"""


def make_sweep(folder):
    write_run(folder)
    file = folder / "sweep.toml"
    file.write_text(SWEEP.format(folder=folder), encoding="utf-8")
    config = read_sweep(file)
    return config, cells_of(config, file), file


@pytest.fixture
def sweep(tmp_path):
    return make_sweep(tmp_path)


def measure(embedder):
    return {"zh_r10": float(embedder.model.log_scale.detach()) / 10, "en_top5": 0.5}


def run_here(recipe, assignments):
    settings = measured_by(read_recipe(recipe, tuple(assignments)), measure, "zh_r10", "en_top5")
    train(settings, resume=True)


def test_every_combination_is_a_run_of_its_own(sweep, tmp_path):
    _, cells, _ = sweep
    names = ["softmax-small", "softmax-large", "sigmoid-small", "sigmoid-large"]
    assert [cell.name for cell in cells] == names
    last = cells[-1].recipe
    assert last.objective["pairs"].loss == "sigmoid"
    assert (last.data["squares"].batch, last.optimizer.lr) == (8, 0.02)
    assert last.run.steps == 4
    assert last.run.folder == str(tmp_path / "sweep" / "sigmoid-large")
    assert cells[0].choices == {"loss": "softmax", "batch": "small"}


def test_a_sweep_runs_every_combination_once_and_goes_on_where_it_was(sweep, tmp_path):
    _, cells, _ = sweep
    ran = []

    def run(recipe, assignments):
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(assignments[-1])
        run_here(recipe, assignments)

    with pytest.raises(KeyboardInterrupt):
        run_sweep(cells, tmp_path / "recipe.toml", run)
    assert [cell.finished for cell in cells] == [True, True, False, False]
    told = []
    run_sweep(
        cells,
        tmp_path / "recipe.toml",
        lambda recipe, assignments: ran.append(assignments[-1]) or run_here(recipe, assignments),
        on_cell=lambda cell, number: told.append((cell.name, number)),
    )
    assert len(ran) == len(set(ran)) == 4
    assert told == [(cell.name, number) for number, cell in enumerate(cells, start=1)]


def test_a_run_that_fails_is_named(sweep, tmp_path):
    _, cells, _ = sweep
    with pytest.raises(TrainingError, match="softmax-small of the sweep did not come to its end"):
        run_sweep(cells, tmp_path / "recipe.toml", lambda recipe, assignments: None)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"optimizer.lr"', '"optimizer.lrr"', "did you mean optimizer.lr"),
        ("[axes.loss]", "[axis.loss]", "axis is no setting: did you mean axes?"),
        ('recipe = "recipe.toml"', 'recipe = "recpie.toml"', "did you mean"),
        ("= 2e-2", "= []", "must be"),
    ],
)
def test_a_wrong_sweep_is_refused_before_the_first_run(sweep, old, new, message):
    _, _, file = sweep
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        cells_of(read_sweep(file), file)


def test_a_sweep_that_varies_nothing_is_refused(tmp_path):
    (tmp_path / "sweep.toml").write_text('recipe = "r"\nfolder = "f"\n[axes.loss]\n')
    with pytest.raises(ConfigError, match="vary nothing"):
        read_sweep(tmp_path / "sweep.toml")


# The report


def test_a_run_killed_at_its_start_is_part_of_the_report(sweep):
    config, cells, _ = sweep
    folder = Path(cells[0].recipe.run.folder)
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text('{"step": 0, "zh_r10": 0.1}\n')
    assert measurements(cells)[0]["epoch"] == 0
    assert "0.1" in sweep_page(config, cells)


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half-done")
    config, cells, file = make_sweep(folder)
    for cell in cells[:3]:
        run_here(file.with_name("recipe.toml"), cell.assignments)
    return config, cells


def test_every_measurement_is_a_row_of_the_csv(half_done):
    _, cells = half_done
    rows = list(csv.DictReader(io.StringIO(sweep_csv(cells))))
    assert [(row["run"], row["step"]) for row in rows[:4]] == [
        ("softmax-small", "0"),
        ("softmax-small", "2"),
        ("softmax-small", "4"),
        ("softmax-large", "0"),
    ]
    assert (rows[0]["epoch"], rows[0]["scale"]) == ("0.0", "") and float(rows[0]["zh_r10"]) > 0
    rows = [row for row in rows if row["step"] != "0"]
    log = {line["step"]: line for line in cells[0].log if "loss" in line}
    assert float(rows[0]["loss"]) == log[2]["loss"]
    assert float(rows[0]["scale"]) == log[2]["scale"]
    assert float(rows[0]["zh_r10"]) > 0 and float(rows[0]["seconds"]) > 0
    assert float(rows[0]["memory_mib"]) > 50
    assert rows[0]["bias"] == "" and float(rows[-1]["bias"]) < 0
    assert rows[0]["batch"] == "small"
    assert [float(row["epoch"]) for row in rows[:2]] == [0.5, 1.0]


def test_the_page_stands_alone_and_shows_every_curve(half_done):
    config, cells = half_done
    page = sweep_page(config, cells)
    assert "Softmax &lt; sigmoid 对比" in page
    assert "未完成: sigmoid-large" in page
    for title in ("zh_r10", "en_top5", "training loss", "temperature", "bias"):
        assert f'class="title">{title}' in page
    assert page.count("<svg xmlns") == 5
    for outside in ("http://", "https://", "src=", "<script", "@import", "url("):
        assert outside not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_table_holds_the_end_of_each_run(half_done):
    config, cells = half_done
    rows = last_rows(config, cells)
    assert [row["run"] for row in rows] == ["softmax-small", "softmax-large", "sigmoid-small"]
    assert list(rows[0]) == ["run", "zh_r10", "en_top5", "seconds", "memory_mib"]
    assert rows[0]["zh_r10"] == measurements(cells)[2]["zh_r10"]


def test_what_was_measured_before_the_first_step_stands_beside_it(half_done):
    config, cells = half_done
    begun = first_rows(config, cells)
    assert [row["run"] for row in begun] == [row["run"] for row in last_rows(config, cells)]
    assert list(begun[0]) == ["run", "zh_r10", "en_top5"]
    assert begun[0]["zh_r10"] == measurements(cells)[0]["zh_r10"]
    assert "训练开始之前" in sweep_page(config, cells)


def test_the_table_begins_with_the_model_that_all_runs_started_from(half_done):
    config, cells = half_done
    model = ModelConfig(start="seesay-mini")
    tuned = [replace(one, recipe=replace(one.recipe, model=model)) for one in cells]
    head, _, first, *_ = sweep_markdown(config, tuned).splitlines()
    assert head.startswith(f"| run | {BEFORE} | softmax-small |")
    assert first.split(" | ")[1] == f"{first_rows(config, cells)[0]['zh_r10']:.3f}"
    other = replace(tuned[0], recipe=replace(tuned[0].recipe, model=ModelConfig(start="clip")))
    assert BEFORE not in sweep_markdown(config, [other, *tuned[1:]])


def test_pages_of_documentation_get_the_ends_as_a_table(half_done):
    config, cells = half_done
    lines = sweep_markdown(config, cells).splitlines()
    assert lines[0] == "| run | softmax-small | softmax-large | sigmoid-small |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    ends = last_rows(config, cells)
    assert lines[2] == f"| zh_r10 | {' | '.join(format_value(end['zh_r10']) for end in ends)} |"
    assert [line.split()[1] for line in lines[3:]] == ["en_top5", "seconds", "memory_mib"]


def logged(cell, *lines):
    folder = Path(cell.recipe.run.folder)
    folder.mkdir(parents=True)
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "log.jsonl").write_text(text + "\n", encoding="utf-8")


def asked(answer, question="猫在哪里？"):
    return dict(record=3, language="zh", question=question, truth="垫子上", answer=answer)


def test_answers_of_runs_stand_side_by_side(sweep):
    config, cells, _ = sweep
    one, two = cells[:2]
    begun = {"step": 0, "zh_answers": 0.0, "examples": [asked("<b>")]}
    ended = {"step": 4, "zh_answers": 1.0, "examples": [asked("垫子上"), asked("a |\nb", "狗呢？")]}
    logged(one, begun, {"step": 4, "loss": 1.0}, ended)
    logged(two, begun)
    table = answers_table(cells)
    assert table.head == ("question 问题", "truth 正确答案", "before 训练前", one.name)
    assert table.rows == [
        ["猫在哪里？", "垫子上", "<b>", "垫子上"],
        ["狗呢？", "垫子上", "", "a |\nb"],
    ]
    assert answers_markdown(cells).splitlines()[4] == r"| 狗呢？ | 垫子上 |  | a \| b |"
    page = sweep_page(config, cells)
    assert "&lt;b&gt;" in page and "图片已不可用" in page  # its recipe measures no answers
    assert "training loss" in page and "temperature" not in page  # there is no scale to show
    assert list(last_rows(config, cells)[0])[:2] == ["run", "zh_answers"]
    other = {"step": 0, "zh_answers": 0.0, "examples": [asked("other")]}
    logged(cells[2], other)
    assert answers_table(cells).head[2:5] == (
        f"before 训练前 ({one.name})",
        f"before 训练前 ({two.name})",
        f"before 训练前 ({cells[2].name})",
    )


def test_a_report_without_any_result_says_so(sweep):
    config, cells, _ = sweep
    assert "还没有结果" in sweep_page(config, cells)
    assert "还没有结果" in sweep_markdown(config, cells)


def test_numbers_are_shown_as_people_read_them():
    assert [format_value(v) for v in (None, 0.12345, 1234.5, 7, "a")] == [
        "–",
        "0.123",
        "1234",
        "7",
        "a",
    ]


# Charts


def test_a_chart_is_svg_with_a_line_for_each_name():
    lines = {"one": [(0.0, 0.0), (1.0, 2.0)], "two": [(0.0, 1.0), (1.0, nan), (2.0, 1.0)]}
    chart = line_chart("a < b", "x", lines)
    root = ElementTree.fromstring(chart)
    paths = [e.get("d") for e in root if e.tag.endswith("path")]
    assert len(paths) == 2
    assert paths[0].count("L") == 1
    assert paths[1].count("M") == 2  # a gap where there is no number


def test_higher_values_stand_higher_and_inside_the_frame():
    chart = line_chart("t", "x", {"one": [(0.0, 0.0), (10.0, 5.0)]})
    path = next(e.get("d") for e in ElementTree.fromstring(chart) if e.tag.endswith("path"))
    (x0, y0), (x1, y1) = (map(float, part.split()) for part in path[1:].split("L"))
    assert 58 <= x0 < x1 <= 508 and 30 <= y1 < y0 <= 260


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_a_few_round_numbers_inside_the_range(low, width):
    found = ticks(low, low + width)
    assert 1 <= len(found) <= 12
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)
    assert found == sorted(set(found))


def test_constant_and_missing_lines_still_make_a_chart():
    for lines in ({}, {"one": []}, {"one": [(1.0, 3.0), (2.0, 3.0)]}, {"one": [(0.0, 0.0)]}):
        ElementTree.fromstring(line_chart("t", "x", lines))


def test_many_lines_can_be_told_apart():
    assert len({style(number) for number in range(24)}) == 24
    assert legend(["a", "b<"]).count("<span>") == 2 and "b&lt;" in legend(["b<"])


def test_what_the_report_prints_as_json_is_json(half_done):
    config, cells = half_done
    json.dumps(last_rows(config, cells), allow_nan=False)

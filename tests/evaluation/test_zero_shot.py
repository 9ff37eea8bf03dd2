"""Counting over a labelled folder: every number by hand, nothing silently counted wrong."""

import csv
import io
import json
from dataclasses import asdict

import pytest

from fakes import FakeEmbedder
from seesay.cli.output import print_table
from seesay.errors import ConfigError, DataError
from seesay.evaluation.report import tables, to_csv, to_html, worst_errors
from seesay.evaluation.zero_shot import NONE, evaluate_zero_shot, find_classes
from seesay.inference.classifier import ZeroShotClassifier

# What a file is called is what the fake sees in it; its folder is what it is counted as.
FILES = {
    "dog": ["dog-1.jpg", "dog-2.JPG", "deep/dog-3.png", "cat-9.jpg"],
    "cat": ["cat-1.jpg", "cat-2.jpg", "broken-1.jpg", "lamp-1.jpg"],
    "horse": [],
    "other": ["zeppelin-1.jpg", "violin-1.jpg", "dog-8.jpg", "dog-9.jpg"],
}


@pytest.fixture
def folder(tmp_path):
    for name, files in FILES.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).parent.mkdir(exist_ok=True)
            (tmp_path / name / file).touch()
    (tmp_path / "notes.txt").touch()
    return tmp_path


@pytest.fixture
def report(folder):
    return evaluate_zero_shot(ZeroShotClassifier(FakeEmbedder(), ["dog", "cat", "horse"]), folder)


def test_the_confusion_matrix_is_what_one_counts_by_hand(report):
    assert report.answers == ("dog", "cat", "horse", NONE)
    assert report.confusion == (
        (3, 1, 0, 0),  # dog: one of its four pictures shows a cat
        (0, 2, 0, 1),  # cat: one shows a lamp, one is broken and counts nowhere
        (0, 0, 0, 0),
        (2, 0, 0, 2),  # other: two show dogs after all
    )
    assert report.images == 11
    assert report.accuracy == 7 / 11
    assert report.top1 in (5 / 7, 6 / 7)  # the best label of the lamp may be any
    assert report.top5 is None  # among three labels every answer would be right
    assert report.mean_recall == pytest.approx((3 / 4 + 2 / 3 + 2 / 4) / 3)


def test_the_table_of_classes_is_what_one_counts_by_hand(report):
    rows = {row.label: row for row in report.classes}
    dog = rows["dog"]
    assert (dog.support, dog.predicted, dog.correct) == (4, 5, 3)
    assert (dog.precision, dog.recall, dog.f1) == (3 / 5, 3 / 4, 2 * 3 / (4 + 5))
    cat = rows["cat"]
    assert (cat.precision, cat.recall, cat.f1) == (2 / 3, 2 / 3, 2 * 2 / (3 + 3))
    horse = rows["horse"]
    assert (horse.support, horse.precision, horse.recall, horse.f1) == (0, None, None, None)
    assert (rows[NONE].support, rows[NONE].predicted) == (4, 3)


def test_a_picture_that_cannot_be_read_is_named_and_counts_neither_way(report, folder):
    assert [source for source, _ in report.failures] == [str(folder / "cat" / "broken-1.jpg")]
    assert sum(map(sum, report.confusion)) == report.images == 11


def test_scores_agree_with_scikit_learn(report):
    metrics = pytest.importorskip("sklearn.metrics")
    pairs = [
        (truth, answer)
        for truth, row in zip(report.answers, report.confusion, strict=True)
        for answer, count in zip(report.answers, row, strict=True)
        for _ in range(count)
    ]
    theirs = metrics.precision_recall_fscore_support(
        *zip(*pairs, strict=True), labels=report.answers, zero_division=0
    )
    ours = [(c.precision or 0, c.recall or 0, c.f1 or 0, c.support) for c in report.classes]
    assert [pytest.approx(row) for row in zip(*theirs, strict=True)] == ours


def test_top_5_counts_the_right_label_among_the_five_best(tmp_path):
    labels = [f"thing{i}" for i in range(8)]
    for label in labels:
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{label}-1.jpg").touch()
    # thing0's pictures are called as something unheard of: their place is left to chance
    (tmp_path / "thing0" / "thing0-1.jpg").rename(tmp_path / "thing0" / "x-1.jpg")
    classifier = ZeroShotClassifier(FakeEmbedder(), labels)
    report = evaluate_zero_shot(classifier, tmp_path)
    ranked = classifier.classify([tmp_path / "thing0" / "x-1.jpg"]).predictions[0].ranked
    place = [score.label for score in ranked].index("thing0")
    assert report.top5 == (7 + (place < 5)) / 8
    assert report.top1 == (7 + (place < 1)) / 8


def test_two_runs_give_the_same_report(report, folder):
    classifier = ZeroShotClassifier(FakeEmbedder(), ["dog", "cat", "horse"])
    assert evaluate_zero_shot(classifier, folder) == report


def test_the_report_is_json(report):
    again = json.loads(json.dumps(asdict(report)))
    assert again["confusion"][0] == [3, 1, 0, 0]
    assert again["classes"][0]["label"] == "dog"


def test_the_csv_has_a_row_per_class_with_its_answers(report):
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [row["label"] for row in rows] == list(report.answers)
    assert (rows[0]["support"], rows[0]["recall"], rows[0]["answer: cat"]) == ("4", "0.75", "1")
    assert rows[2]["precision"] == ""


@pytest.fixture
def shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def show(report, language):
        for table in tables(report, language):
            print_table(table.head, table.rows, table.title)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["accuracy", "63.6%", "none of these", "Confusion", "could not be read"]),
        ("zh", ["准确率", "63.6%", "都不是", "混淆矩阵：行为真实类别，列为回答", "无法读取"]),
    ],
)
def test_the_tables_fit_80_columns_in_both_languages(report, shown, language, words):
    text = shown(report, language)
    for word in words:
        assert word in text
    assert "…" not in text


def test_many_labels_show_their_worst_errors_instead_of_a_matrix(folder, shown):
    labels = ["dog", "cat", "horse", *(f"thing{i}" for i in range(20))]
    report = evaluate_zero_shot(ZeroShotClassifier(FakeEmbedder(), labels), folder)
    assert ("dog", "cat", 1) in worst_errors(report)
    text = shown(report, "en")
    assert "Most frequent errors" in text and "Confusion" not in text


def test_the_page_shows_names_as_text_never_as_markup(tmp_path):
    (tmp_path / "<b>dog").mkdir()
    (tmp_path / "<b>dog" / "<i>dog-1.jpg").touch()
    (tmp_path / "<b>dog" / "broken<script>.jpg").touch()
    report = evaluate_zero_shot(ZeroShotClassifier(FakeEmbedder(), {"<b>dog": "dog"}), tmp_path)
    for language in ("en", "zh"):
        page = to_html(report, language)
        assert "&lt;b&gt;dog" in page
        assert not any(tag in page for tag in ("<b>", "<i>", "<script>"))


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "dog-1.jpg").touch()
    with pytest.raises(DataError, match="has no sub-folder with pictures"):
        find_classes(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        find_classes(tmp_path / "dog-1.jpg")


def test_labels_that_no_folder_is_called_by_are_refused(folder):
    with pytest.raises(ConfigError, match="no sub-folder is called as a label"):
        evaluate_zero_shot(ZeroShotClassifier(FakeEmbedder(), ["狗", "猫"]), folder)


def test_a_strange_folder_needs_none_of_these(folder):
    classifier = ZeroShotClassifier(FakeEmbedder(), ["dog", "cat"], none_above=None)
    with pytest.raises(ConfigError, match="the sub-folders other are no label"):
        evaluate_zero_shot(classifier, folder)


def test_a_folder_of_broken_pictures_is_an_error_that_names_the_first(tmp_path):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "broken-1.jpg").touch()
    with pytest.raises(DataError, match=r"none of the 1 pictures.*broken-1.jpg"):
        evaluate_zero_shot(ZeroShotClassifier(FakeEmbedder(), ["dog"]), tmp_path)

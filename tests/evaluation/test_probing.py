"""A linear probe: what it minimises, how its strength is chosen, and what it is compared with."""

import numpy as np
import pytest

from seesay.errors import ConfigError, DataError
from seesay.evaluation.data_sets import read_labelled
from seesay.evaluation.probing import DECADES, _Part, choose_l2, score, split
from seesay.inference.probe import LinearProbe, fit_probe

CLASSES = 3


@pytest.fixture(scope="module")
def cloud():
    """Unit vectors around three directions, far enough apart to be told and to be mistaken."""
    rng = np.random.default_rng(0)
    targets = np.arange(120) % CLASSES
    vectors = rng.standard_normal((120, 10)) + 2 * np.eye(CLASSES, 10)[targets]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), targets


@pytest.mark.parametrize("l2", [1e-3, 2.0, 100.0])
def test_the_fit_ends_where_the_gradient_vanishes(cloud, l2):
    vectors, targets = cloud
    weight, bias = fit_probe(vectors, targets, CLASSES, l2)
    logits = vectors @ weight.T + bias
    powers = np.exp(logits - logits.max(1, keepdims=True))
    error = powers / powers.sum(1, keepdims=True) - np.eye(CLASSES)[targets]
    assert np.abs(error.T @ vectors + l2 * weight).max() / len(vectors) < 1e-4
    assert np.abs(error.sum(0)).max() / len(vectors) < 1e-4


def test_the_strength_is_looked_for_in_ever_smaller_steps_around_the_best(cloud):
    whole = _Part(*cloud)
    best, tried = choose_l2(whole.take(np.arange(60)), whole.take(np.arange(60, 120)), CLASSES)
    strengths = [strength for strength, _ in tried]
    assert {10.0**decade for decade in DECADES} < set(strengths) and len(tried) <= 7 + 2 * 4
    accuracy = dict(tried)
    assert accuracy[best] == max(accuracy.values())
    near = min(abs(np.log10(s / best)) for s in strengths if s != best)
    assert near == pytest.approx(0.125)


def test_every_class_is_held_out_alike_and_the_same_way_each_time():
    targets = np.array([0] * 10 + [1] * 3 + [2] * 50)
    rest, held = split(targets, ("a", "b", "c"), 7, least=3)
    assert sorted([*rest, *held]) == list(range(63))
    assert np.bincount(targets[held]).tolist() == [2, 1, 10]
    again = split(targets, ("a", "b", "c"), 7, least=3)
    assert all(np.array_equal(*pair) for pair in zip((rest, held), again, strict=True))
    with pytest.raises(DataError, match="the class b has 3 pictures"):
        split(targets, ("a", "b", "c"), 7, least=4)


def test_scores_count_first_answers_first_five_and_classes_alike():
    order = np.array([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    scores = score(order, np.array([0, 0, 0]))
    assert (scores.top1, scores.top5, scores.mean_per_class) == (2 / 3, 2 / 3, 2 / 3)
    scores = score(order, np.array([0, 0, 1]))
    assert (scores.top1, scores.top5, scores.mean_per_class) == (2 / 3, 1.0, 0.5)
    assert score(order[:, :3], np.array([0, 0, 1])).top5 is None


def test_labels_come_from_folders_or_from_a_table(tmp_path):
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "cat" / "a.png").touch()
    assert read_labelled(tmp_path / "set").labels == ("cat",)
    (tmp_path / "t.tsv").write_text("image\tlabel\na.png\t猫\na.png\t猫\nb.png\t7\n", "utf-8")
    labelled = read_labelled(tmp_path / "t.tsv")
    assert labelled.images == (tmp_path / "a.png", tmp_path / "b.png")
    assert labelled.counts == {"7": 1, "猫": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,label\na.png,\n", "line 2 has image, label, expected a path"),
        ("image,label\n", "has no line"),
        ("image,label\na.png,cat,dog\n", "1 lines that cannot be used, the first line 2"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path / "t.csv")


def test_a_probe_comes_back_from_its_folder_and_replaces_only_a_probe(cloud, tmp_path):
    vectors, targets = cloud
    weight, bias = fit_probe(vectors, targets, CLASSES, 1.0)
    probe = LinearProbe(
        labels=("猫", "dog", "car"),
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        l2=1.0,
        model="m",
        fingerprint="f",
    )
    probe.save(tmp_path / "probe", {"fitted": 120})
    probe.save(tmp_path / "probe")
    loaded = LinearProbe.load(tmp_path / "probe")
    assert (loaded.labels, loaded.l2, loaded.model) == (probe.labels, 1.0, "m")
    assert loaded.predict(vectors) == probe.predict(vectors)
    (tmp_path / "probe" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match=r"holds 'thesis.txt', which no probe has"):
        probe.save(tmp_path / "probe")

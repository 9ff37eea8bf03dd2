"""A probe: what it minimises, how its settings are chosen, and what it is compared with."""

import json
from dataclasses import replace

import numpy as np
import pytest

from seesay.errors import ConfigError, DataError, WeightsError
from seesay.evaluation.data_sets import read_labelled
from seesay.evaluation.probing import (
    ALPHAS,
    BETAS,
    DECADES,
    LabelledVectors,
    choose_l2,
    choose_tip,
    draw,
    judge,
    score,
    split,
)
from seesay.inference.probe import EPOCHS, LinearProbe, Probe, TipAdapter, fit_probe, train_keys

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
    whole = LabelledVectors(*cloud)
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
    assert isinstance(loaded, LinearProbe)
    assert (loaded.labels, loaded.l2, loaded.model) == (probe.labels, 1.0, "m")
    assert loaded.predict(vectors) == probe.predict(vectors)
    file = tmp_path / "probe" / "probe.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    assert described.pop("method") == "linear"  # which older ones lack
    file.write_text(json.dumps(described), encoding="utf-8")
    assert isinstance(Probe.load(tmp_path / "probe"), LinearProbe)
    (tmp_path / "probe" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match=r"holds 'thesis.txt', which no probe has"):
        probe.save(tmp_path / "probe")


# Few pictures


def one_of(cloud, **settings):
    vectors, targets = cloud
    given = dict(
        labels=("猫", "dog", "car"),
        texts=np.eye(CLASSES, 10, dtype=np.float32)[[1, 0, 2]],  # words that are wrong for two
        keys=vectors[:9],
        values=targets[:9],
        scale=100.0,
        alpha=2.0,
        beta=5.5,
        model="m",
        fingerprint="f",
    )
    return TipAdapter(**given | settings)


def test_a_tip_adapter_is_the_formula_of_its_paper(cloud):
    vectors, _ = cloud
    adapter = one_of(cloud)
    expected = 100 * vectors @ adapter.texts.T
    for row, vector in enumerate(vectors):
        for key, value in zip(adapter.keys, adapter.values, strict=True):
            expected[row, value] += 2.0 * np.exp(-5.5 * (1 - vector @ key))
    np.testing.assert_allclose(adapter.logits(vectors), expected, rtol=1e-5, atol=1e-4)
    many = np.concatenate([vectors] * 20)
    np.testing.assert_allclose(adapter.logits(many)[-120:], expected, rtol=1e-5, atol=1e-4)
    shares = adapter.probabilities(vectors)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [one.label for one in adapter.predict(vectors)] == [
        adapter.labels[at] for at in expected.argmax(axis=1)
    ]


def test_it_comes_back_from_its_folder(cloud, tmp_path):
    adapter = one_of(cloud)
    adapter.save(tmp_path / "probe")
    loaded = Probe.load(tmp_path / "probe")
    assert isinstance(loaded, TipAdapter) and loaded.beta == 5.5
    assert loaded.predict(cloud[0]) == adapter.predict(cloud[0])
    for wrong in ({"values": adapter.values + 1}, {"labels": adapter.labels[:2]}):
        replace(adapter, **wrong).save(tmp_path / "probe")
        with pytest.raises(WeightsError, match="holds no whole probe"):
            Probe.load(tmp_path / "probe")


def test_alpha_and_beta_are_those_that_are_best_on_others(cloud):
    whole = LabelledVectors(*cloud)
    held = whole.take(np.arange(60, 120))
    chosen = choose_tip(one_of(cloud, keys=cloud[0][:60], values=cloud[1][:60]), held)
    spread = np.median(1 - held.vectors @ chosen.keys.T)
    best = max(
        judge(replace(chosen, alpha=alpha, beta=beta).logits(held.vectors), held.targets)
        for alpha in ALPHAS
        for beta in np.array(BETAS) / spread
    )
    assert judge(chosen.logits(held.vectors), held.targets) == pytest.approx(best, abs=1e-4)
    words = replace(chosen, alpha=0.0)
    assert judge(words.logits(held.vectors), held.targets)[0] < best[0] - 0.3
    # Votes that are all wrong do not harm words that are right.
    words = np.eye(CLASSES, 10, dtype=np.float32)
    right = one_of(cloud, texts=words, values=(cloud[1][:9] + 1) % CLASSES)
    alone = judge(replace(right, alpha=0.0).logits(held.vectors), held.targets)
    assert judge(choose_tip(right, held).logits(held.vectors), held.targets) >= alone


def test_only_the_keys_are_trained_and_they_learn(cloud):
    vectors, targets = cloud
    begun = one_of(cloud, keys=vectors[:30], values=targets[:30])
    before = begun.keys.copy()
    epochs = list(train_keys(begun, 0))
    assert len(epochs) == EPOCHS and np.array_equal(begun.keys, before)
    last = epochs[-1]
    for name in ("texts", "values", "alpha", "beta", "scale", "labels"):
        assert getattr(last, name) is getattr(begun, name)
    assert (
        judge(last.logits(vectors[30:]), targets[30:])[1]
        > (judge(begun.logits(vectors[30:]), targets[30:])[1])
    )
    again = list(train_keys(begun, 0))
    assert np.array_equal(again[-1].keys, last.keys)


def test_shots_are_drawn_by_seed_and_a_class_with_too_few_is_named(cloud):
    whole = LabelledVectors(*cloud)
    names = ("a", "b", "c")
    for shots, others in ((1, 1), (4, 4), (16, 4), (39, 1)):
        drawn, held = draw(whole, names, shots, 3)
        assert np.bincount(drawn.targets).tolist() == [shots] * 3
        assert np.bincount(held.targets).tolist() == [others] * 3
        assert not {*map(bytes, drawn.vectors)} & {*map(bytes, held.vectors)}
        again, other = (draw(whole, names, shots, seed)[0].vectors for seed in (3, 4))
        assert np.array_equal(again, drawn.vectors) and not np.array_equal(other, drawn.vectors)
    with pytest.raises(DataError, match=r"the class a has 40 pictures .* at least 41: 40 shots"):
        draw(whole, names, 40, 3)

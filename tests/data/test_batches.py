import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seesay.data.augmentation import AugmentationConfig
from seesay.data.batches import Batches, LoadingConfig, Order, Place, Samples, number_of, share
from seesay.data.images import open_image
from seesay.data.sources import SourceConfig
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError, DataError
from tiny_runs import write_squares, write_tokenizer

TRANSFORM = ImageTransform(ImageTransformConfig(size=16))
HERE = LoadingConfig(workers=0)


@pytest.fixture
def folder(tmp_path):
    write_squares(tmp_path)
    write_tokenizer(tmp_path)
    return tmp_path


def samples(folder, seed=0, **settings):
    tokenizer = load_tokenizer(folder, TokenizerConfig(context=12, pad_id=0))
    settings = {"path": str(folder / "squares.jsonl"), "format": "table", "batch": 8, **settings}
    return Samples(SourceConfig(**settings), TRANSFORM, tokenizer, seed)


def drawn(batches, first, stop):
    return [batch.sources["squares"] for batch in batches.from_step(first, stop)]


def same(one, two):
    tensors = ("images", "ids", "owners", "groups", "labels", "text_numbers")
    return one.keys == two.keys and all(
        torch.equal(getattr(one, t), getattr(two, t)) for t in tensors
    )


# Order


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 5))
def test_every_record_is_drawn_once_in_every_epoch(length, batch, seed):
    order = Order("a", length, seed=seed)
    walk = [
        place
        for step in range(4 * length // batch + 4)
        for place in order.places(step * batch, (step + 1) * batch)
    ]
    for epoch in range(3):
        records = walk[epoch * length : (epoch + 1) * length]
        assert sorted(place.record for place in records) == list(range(length))
        assert {place.epoch for place in records} == {epoch}


def test_epochs_and_seeds_differ_in_order_and_agree_with_themselves():
    orders = [Order("a", 100, seed=seed).places(0, 200) for seed in (0, 0, 1)]
    assert orders[0] == orders[1]
    numbers = [[place.record for place in order] for order in orders]
    assert numbers[0] != numbers[2]
    assert numbers[0][:100] != numbers[0][100:]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(0, 5))
def test_blocks_are_mixed_a_few_at_a_time_and_drawn_whole(blocks, seed):
    order = Order("a", sum(blocks), blocks=blocks, seed=seed).places(0, sum(blocks))
    records = [place.record for place in order]
    assert sorted(records) == list(range(sum(blocks)))
    owner = np.repeat(np.arange(len(blocks)), blocks)[records]
    for at in range(len(owner)):  # once 8 further blocks were begun, a block does not come back
        assert len(set(owner[owner.tolist().index(owner[at]) : at + 1])) <= 8


@given(st.integers(1, 6), st.integers(1, 8))
def test_the_shares_of_all_processes_make_the_batch(processes, each):
    rows = list(range(processes * each))
    assert [
        row for rank in range(processes) for row in rows[share(len(rows), rank, processes)]
    ] == rows


def test_a_batch_that_does_not_split_is_refused_with_one_that_does():
    with pytest.raises(
        ConfigError, match=r"10 does not split evenly over 4 processes, expected .*: use 8 or 12"
    ):
        share(10, 0, 4)


# Batches


def test_a_batch_of_several_processes_is_that_of_one(folder):
    of = {"squares": samples(folder)}
    whole = drawn(Batches(of, HERE), 0, 5)
    parts = [drawn(Batches(of, HERE, rank=rank, processes=2), 0, 5) for rank in range(2)]
    for step in range(5):
        keys = parts[0][step].keys + parts[1][step].keys
        images = torch.cat([parts[0][step].images, parts[1][step].images])
        assert keys == whole[step].keys
        assert torch.equal(images, whole[step].images)


def test_workers_change_nothing(folder):
    of = {"squares": samples(folder)}
    alone = drawn(Batches(of, HERE), 0, 6)
    helped = drawn(Batches(of, LoadingConfig(workers=2)), 0, 6)
    assert all(same(one, two) for one, two in zip(alone, helped, strict=True))


def test_going_on_in_the_middle_of_an_epoch_gives_the_same_batches(folder):
    of = {"squares": samples(folder)}
    assert len(of["squares"]) == 32
    whole = drawn(Batches(of, HERE), 0, 9)
    rest = list(Batches(of, HERE).from_step(6, 9))
    assert [batch.step for batch in rest] == [6, 7, 8]
    assert all(same(a.sources["squares"], b) for a, b in zip(rest, whole[6:], strict=True))


def test_drawing_batches_leaves_the_generators_of_the_run_alone(folder):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    drawn(Batches({"squares": samples(folder)}, HERE), 0, 2)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


def test_a_record_changes_from_epoch_to_epoch_and_not_otherwise(folder):
    of = samples(folder, augmentation=AugmentationConfig(crop_scale=(0.3, 1.0)))
    first, again, later = (of[Place("squares", epoch, 5)] for epoch in (0, 0, 1))
    assert torch.equal(first.image, again.image) and first.texts == again.texts
    assert not torch.equal(first.image, later.image)
    other = samples(folder, seed=1, augmentation=of.config.augmentation)[Place("squares", 0, 5)]
    assert not torch.equal(first.image, other.image)


def test_variants_of_an_image_take_turns(folder):
    augmentation = AugmentationConfig(crop_scale=(0.3, 0.9), variants=2)
    of = samples(folder, augmentation=augmentation)
    images = [of[Place("squares", epoch, 1)].image for epoch in range(4)]
    assert torch.equal(images[0], images[2]) and torch.equal(images[1], images[3])
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[0], of[Place("squares", 0, 2)].image)
    with pytest.raises(ConfigError, match="variants=0 leaves no image"):
        AugmentationConfig(variants=0)


def test_sources_are_drawn_side_by_side(folder):
    of = {"one": samples(folder, batch=4), "two": samples(folder, batch=6, captions=2)}
    batch = next(Batches(of, HERE).from_step(0, 1)).sources
    assert len(batch["one"].images) == 4 and len(batch["two"].images) == 6
    assert len(batch["one"].ids) == 8  # a text in each language
    assert len(batch["two"].ids) == 18  # two in English, one in Chinese: there is only one
    assert batch["two"].owners.tolist() == [i for i in range(6) for _ in range(3)]


def test_texts_of_one_language_alone_can_be_asked_for(folder):
    batch = drawn(Batches({"squares": samples(folder, languages=("zh",))}, HERE), 0, 1)[0]
    assert set(batch.languages) == {"zh"} and len(batch.ids) == 8


def test_classes_become_texts_and_share_a_group(folder):
    (folder / "classes.json").write_text(
        json.dumps([{"en": e, "zh": z} for e, z in zip("abcd", "甲乙丙丁", strict=True)])
    )
    of = samples(
        folder,
        classes=str(folder / "classes.json"),
        templates={"en": ("a {}",), "zh": ("一个{}",)},
        captions=3,
    )
    one, two = of[Place("squares", 0, 0)], of[Place("squares", 0, 1)]
    assert one.label == two.label == 0
    assert one.group == two.group
    assert {"a a", "一个甲"} < set(one.texts)
    assert of[Place("squares", 0, 4)].group != one.group


def test_equal_names_get_equal_numbers_in_every_process():
    assert number_of("a dog") == 46425939779880957


def test_a_long_text_is_represented_by_one_of_its_windows(folder):
    long = " ".join(["a red square at the left"] * 5)
    row = {"image": "red-left-0.png", "en": long}
    (folder / "squares.jsonl").write_text(json.dumps(row))
    of = samples(folder)
    seen = {tuple(of[Place("squares", epoch, 0)].ids[0].tolist()) for epoch in range(20)}
    assert len(seen) > 1
    assert all(len(row) == 12 for row in seen)


def test_large_photographs_are_decoded_no_larger_than_their_crops_need(folder, monkeypatch):
    asked = []

    def watched(source, *, target):
        asked.append(target)
        return open_image(source, target=target)

    monkeypatch.setattr("seesay.data.batches.open_image", watched)
    for scale in ((0.25, 1.0), (1.0, 1.0)):
        samples(folder, augmentation=AugmentationConfig(crop_scale=scale))[Place("squares", 0, 0)]
    assert asked == [32, 16]


@pytest.mark.parametrize("scale", [(0.25, 1.0), (1.0, 1.0)])
def test_images_have_the_side_that_their_source_asks_for(folder, scale):
    crops = AugmentationConfig(crop_scale=scale)
    of = {
        "small": samples(folder, size=8, augmentation=crops),
        "squares": samples(folder, augmentation=crops),
    }
    batch = next(Batches(of, HERE).from_step(0, 1)).sources
    assert batch["small"].images.shape == (8, 8, 8, 3)
    assert batch["squares"].images.shape == (8, 16, 16, 3)  # the model's own


# Damage


def spoil(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"no image")


def test_a_damaged_sample_is_replaced_and_named(folder):
    spoil(folder, "red-left-0.png")
    of = samples(folder)
    replaced = of[Place("squares", 0, 0)]
    assert replaced.key != "red-left-0.png"
    assert replaced.damaged[0].key == "squares[0]"
    assert "red-left-0.png" in replaced.damaged[0].reason
    again = of[Place("squares", 0, 0)]
    assert again.key == replaced.key and torch.equal(again.image, replaced.image)
    batches = drawn(Batches({"squares": of}, HERE), 0, 4)
    assert [d.key for batch in batches for d in batch.damaged] == ["squares[0]"]
    assert all(len(batch.images) == 8 for batch in batches)


def test_a_source_without_any_readable_sample_is_refused(folder):
    spoil(folder, *(path.name for path in folder.glob("*.png")))
    with pytest.raises(DataError, match="20 records of 'squares' in a row"):
        samples(folder)[Place("squares", 0, 0)]


def test_an_image_without_a_text_counts_as_damaged(folder):
    rows = [{"image": "red-left-0.png"}, {"image": "red-left-1.png", "en": "a red square"}]
    (folder / "squares.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    sample = samples(folder)[Place("squares", 0, 0)]
    assert sample.key == "red-left-1.png"
    assert "no language, expected one in en or zh" in sample.damaged[0].reason


def test_blocks_are_cut_to_the_records_in_use(folder):
    of = samples(folder, start=3, stop=11)
    of.source.blocks = [4, 4, 4, 20]
    assert of.blocks == [1, 4, 3] and len(of) == 8


def test_an_empty_order_is_refused():
    with pytest.raises(DataError, match="'squares' holds 0 records"):
        Order("squares", 0)


def test_impossible_sources_are_refused():
    config = SourceConfig(path="x")
    for wrong in ({"batch": 0}, {"captions": 0}, {"size": 0}, {"languages": ()}, {"classes": "x"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            replace(config, **wrong)
    with pytest.raises(ConfigError, match="workers=-1"):
        LoadingConfig(workers=-1)

"""Balancing by concepts: exact counts, independence of order and shards, and what is kept."""

import csv
import json
from dataclasses import asdict, replace

import pytest

from seesay.data.balancing import BalanceConfig, balance
from seesay.data.concepts import Concept, read_concepts
from seesay.data.sources import RecordsConfig, format_of, open_records, used_records
from seesay.data.words import singulars
from seesay.errors import ConfigError, DataError

pytest.importorskip("pyarrow")
pytest.importorskip("jieba")

CAPTIONS = {
    "0.jpg": ["a dog runs", "two dogs and a golden retriever"],
    "1.jpg": ["a black dog"],
    "2.jpg": ["the Golden Retrievers", "three jeans"],
    "3.jpg": ["jeans", "一只企鹅", "两只鹅"],
    "4.jpg": ["of the", "jean"],
}


def write_captions(folder, captions=CAPTIONS, name="captions.jsonl"):
    lines = [json.dumps({"image": k, "caption": texts}) for k, texts in captions.items()]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return RecordsConfig(path=str(folder / name), format="table")


def audit(folder):
    with (folder / "audit.csv").open(encoding="utf-8-sig") as file:
        return {row["concept"]: row for row in csv.DictReader(file)}


def kept_captions(records, folder):
    """What a source with the list gives, by key."""
    source = open_records(replace(records, kept=str(folder / "kept.parquet")))
    used = used_records(records, source)
    return {source[number].key: source[number].captions for number in used}


def many(count, word="dog"):
    return {f"{i}.jpg": [f"a {word} number {i}"] for i in range(count)}


def test_each_concept_is_counted_once_for_a_caption(tmp_path):
    listed = (Concept("golden retriever", "en"), Concept("鹅", "zh"), Concept("企鹅", "zh"))
    config = BalanceConfig(cap=100, min_count=1, concepts=(*listed, Concept("tench", "en")))
    result = balance(write_captions(tmp_path), config, tmp_path / "out")
    counts = {one.concept: one.before for one in result.concepts}
    expected = {
        "dog": 3,  # one of them as dogs
        "golden retriever": 2,  # one in the plural, one with capitals
        "jeans": 2,  # more frequent than jean, so a word of its own
        "jean": 1,
        "golden": 2,
        "retriever": 2,
        "鹅": 1,  # 企鹅 is none
        "企鹅": 1,
        "tench": 0,
    }
    assert {name: counts[name] for name in expected} == expected
    assert not {"a", "the", "of", "dogs"} & counts.keys()
    assert (result.captions, result.kept, result.unmatched, result.records) == (10, 9, 1, 5)
    assert all(one.after == one.before for one in result.concepts)  # the cap is above all


def test_a_frequent_concept_comes_to_its_cap_and_a_rare_one_stays(tmp_path):
    captions = many(2000) | {f"r{i}.jpg": ["a dog and a lynx"] for i in range(50)}
    records = write_captions(tmp_path, captions)
    result = balance(records, BalanceConfig(cap=200, min_count=10), tmp_path / "out")
    dog, lynx = ({c.concept: c for c in result.concepts}[name] for name in ("dog", "lynx"))
    assert dog.probability == pytest.approx(200 / 2050)
    assert (lynx.before, lynx.after, lynx.probability) == (50, 50, 1.0)
    # "number" has 2,000 captions, and each of the two concepts draws for itself
    chance = 1 - (1 - 200 / 2050) * (1 - 200 / 2000)
    assert dog.after - 50 == pytest.approx(2000 * chance, abs=5 * (2000 * chance) ** 0.5)


def test_the_audit_and_the_summary_add_up(tmp_path):
    records = write_captions(tmp_path, many(300) | many(40, "lynx") | CAPTIONS)
    result = balance(records, BalanceConfig(cap=20, min_count=5), tmp_path / "out")
    assert result.captions == result.kept + result.dropped
    kept = kept_captions(records, tmp_path / "out")
    texts = [text for of in kept.values() for texts in of.values() for text in texts]
    assert (len(texts), len(kept)) == (result.kept, result.kept_records)
    rows = audit(tmp_path / "out")
    assert int(rows["dog"]["after"]) == sum("dog" in text for text in texts)
    assert float(rows["dog"]["probability"]) == pytest.approx(20 / int(rows["dog"]["before"]))
    totals = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert totals == totals | {**asdict(result), "concepts": len(rows)}


def test_what_is_kept_depends_on_neither_order_nor_files(tmp_path):
    captions = many(400)
    one, parts = tmp_path / "one", tmp_path / "parts"
    one.mkdir()
    parts.mkdir()
    backwards = list(reversed(captions.items()))
    write_captions(parts, dict(backwards[:150]), "a.jsonl")
    write_captions(parts, dict(backwards[150:]), "b.jsonl")
    whole = write_captions(one, captions)
    split = RecordsConfig(path=str(parts / "*.jsonl"), format="table")
    config = BalanceConfig(cap=50)
    first = balance(whole, config, one / "out")
    second = balance(split, config, parts / "out")
    assert first == second and 50 <= first.kept < 200
    kept = kept_captions(whole, one / "out")
    assert kept == kept_captions(split, parts / "out")
    balance(whole, replace(config, seed=1), one / "other")
    assert kept.keys() != kept_captions(whole, one / "other").keys()


def test_captions_of_a_language_that_is_not_balanced_stay(tmp_path):
    records = write_captions(tmp_path)
    english = replace(records, languages=("en",))
    config = BalanceConfig(cap=9, min_count=0, concepts=(Concept("jeans", "en"),))
    result = balance(english, config, tmp_path / "out")
    assert (result.captions, result.kept, result.unmatched) == (8, 2, 6)
    assert kept_captions(records, tmp_path / "out") == {
        "2.jpg": {"en": ("three jeans",)},
        "3.jpg": {"en": ("jeans",), "zh": ("一只企鹅", "两只鹅")},
    }


def test_captions_without_a_concept_are_kept_on_demand(tmp_path):
    records = write_captions(tmp_path)
    config = BalanceConfig(cap=9, min_count=0, concepts=(Concept("jeans", "en"),), unmatched=True)
    assert balance(records, config, tmp_path / "out").kept == 10


def test_start_and_stop_hold_for_the_kept_too(tmp_path):
    records = write_captions(tmp_path)
    balance(records, BalanceConfig(cap=9, min_count=1), tmp_path / "out")
    kept = replace(records, kept=str(tmp_path / "out" / "kept.parquet"), start=1, stop=3)
    assert list(used_records(kept, open_records(kept))) == [1, 2]


def test_a_list_for_other_records_is_refused(tmp_path):
    records = write_captions(tmp_path)
    balance(records, BalanceConfig(cap=9, min_count=1), tmp_path / "out")
    kept = replace(records, kept=str(tmp_path / "out" / "kept.parquet"))
    write_captions(tmp_path, {**CAPTIONS, "5.jpg": ["a cat"]})
    with pytest.raises(DataError, match="written for 5 records, and there are 6"):
        open_records(kept)
    write_captions(tmp_path, dict(reversed(CAPTIONS.items())))
    with pytest.raises(DataError, match=r"record 0 '0.jpg', and now that is '4.jpg'"):
        open_records(kept)


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_what_is_no_list_is_refused(tmp_path, content):
    if content:
        (tmp_path / "kept.parquet").write_bytes(content)
    kept = replace(write_captions(tmp_path), kept=str(tmp_path / "kept.parquet"))
    with pytest.raises(DataError, match="is no list of kept captions"):
        open_records(kept)


def test_a_folder_is_replaced_only_if_balancing_wrote_it(tmp_path):
    records, config = write_captions(tmp_path), BalanceConfig(cap=9, min_count=1)
    out = tmp_path / "out"
    balance(records, config, out)
    with pytest.raises(ConfigError, match="exists, expected a new folder"):
        balance(records, config, out)
    balance(records, config, out, replace=True)
    (out / "mine.txt").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        balance(records, config, out, replace=True)
    assert (out / "mine.txt").exists()


def test_nothing_is_written_where_nothing_is_kept(tmp_path):
    config = BalanceConfig(cap=9, min_count=0, concepts=(Concept("tench", "en"),))
    with pytest.raises(DataError, match="none of the 10 captions"):
        balance(write_captions(tmp_path), config, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["captions.jsonl"]


def test_records_without_captions_are_refused(tmp_path):
    records = replace(write_captions(tmp_path, many(2)), languages=("zh",))
    with pytest.raises(DataError, match=r"none of the 2 records .* has a caption in zh"):
        balance(records, BalanceConfig(cap=9), tmp_path / "out")


def test_settings_that_cannot_be_used_are_refused():
    with pytest.raises(ConfigError, match="cap=0"):
        BalanceConfig(cap=0)
    with pytest.raises(ConfigError, match="leave nothing to balance by"):
        BalanceConfig(cap=1, min_count=0)


def test_concepts_come_from_lines_and_from_lists_of_classes(tmp_path):
    lines = tmp_path / "mine.txt"
    lines.write_text("# mine\nT-Shirt\n龍井\n", encoding="utf-8")
    assert read_concepts(lines) == [Concept("t shirt", "en"), Concept("龙井", "zh")]
    classes = tmp_path / "classes.json"
    row = {"en": "kite (bird of prey) / red kite", "zh": "沙球（乐器）"}
    classes.write_text(json.dumps([row]), encoding="utf-8")
    names = [(one.name, one.language) for one in read_concepts(classes)]
    assert names == [("kite", "en"), ("red kite", "en"), ("沙球", "zh")]
    lines.write_text("...\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no concept"):
        read_concepts(lines)


def test_regular_plurals_have_a_singular():
    assert "dog" in singulars("dogs") and "box" in singulars("boxes")
    assert "puppy" in singulars("puppies")
    assert singulars("grass") == singulars("is") == singulars("dog") == ()


@pytest.mark.parametrize(
    "path, form",
    [
        ("a/*.tar", "webdataset"),
        ("a.CSV", "table"),
        ("a.tsv", "table"),
        ("a_imgs.tsv", "chinese-clip"),
        ("a.parquet", "parquet"),
    ],
)
def test_the_layout_follows_from_the_ending(path, form):
    assert format_of(path) == form

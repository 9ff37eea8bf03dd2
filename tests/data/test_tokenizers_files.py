"""Vocabulary files: every kind is found, and a wrong or damaged one is one clear error."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.errors import WeightsError
from tokenizer_texts import HARD

CONFIG = TokenizerConfig(context=32, pad_id=0)
MERGES = "#version: 0.2\nd o\ndo g</w>\n"
WORDS = "[PAD]\n[UNK]\n[CLS]\n[SEP]\ndog\nÉté\nete\n狗\n"


def clip_folder(folder: Path) -> Path:
    (folder / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(MERGES.encode()))
    return folder


def spiece_folder(folder: Path, **settings: object) -> Path:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(HARD[2:14] * 5),
        model_prefix=str(folder / "spiece"),
        vocab_size=400,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
        **settings,
    )
    return folder


def test_a_saved_tokenizer_gives_the_same_ids_when_it_is_read_again(tmp_path):
    first = load_tokenizer(
        clip_folder(tmp_path), TokenizerConfig(context=32, pad_id=0, clean="lower")
    )
    first.save(tmp_path)
    saved = (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    again = load_tokenizer(tmp_path, first.config)
    assert np.array_equal(again.encode(HARD).ids, first.encode(HARD).ids)
    again.save(tmp_path)
    assert (tmp_path / "tokenizer.json").read_text(encoding="utf-8") == saved


def test_cleaning_twice_is_cleaning_once(tmp_path):
    clip_folder(tmp_path)
    plain = load_tokenizer(tmp_path, CONFIG)  # whose vocabulary brings CLIP's cleaning
    twice = load_tokenizer(tmp_path, TokenizerConfig(context=32, pad_id=0, clean="clip"))
    assert np.array_equal(twice.encode(HARD).ids, plain.encode(HARD).ids)


def test_cleaning_is_done_where_the_file_does_none(tmp_path):
    load_tokenizer(clip_folder(tmp_path), CONFIG).save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": None}))
    with_cleaning = TokenizerConfig(context=32, pad_id=0, clean="clip")
    ours = load_tokenizer(tmp_path, with_cleaning).encode(["DOG"]).ids
    assert np.array_equal(ours, load_tokenizer(tmp_path, CONFIG).encode(["dog"]).ids)
    assert not np.array_equal(ours, load_tokenizer(tmp_path, CONFIG).encode(["DOG"]).ids)


def test_merges_are_applied_and_framed(tmp_path):
    tokenizer = load_tokenizer(clip_folder(tmp_path), CONFIG)
    assert tokenizer.vocab_size == 512 + 2 + 2
    assert tokenizer.encode(["dog"]).ids[0, :4].tolist() == [514, 513, 515, 0]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, [2, 6, 3]), ({"do_lower_case": False}, [2, 5, 3]), ({"strip_accents": False}, [2, 1, 3])],
)
def test_word_pieces_are_cleaned_as_the_checkpoint_says(tmp_path, settings, expected):
    (tmp_path / "vocab.txt").write_text(WORDS, encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(tmp_path, CONFIG).encode(["Été"]).ids[0, :3].tolist() == expected


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"add_dummy_prefix": False},
        {"byte_fallback": True},
        {"normalization_rule_name": "nfkc"},
        {"normalization_rule_name": "identity"},
        {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    ],
)
def test_a_sentencepiece_file_gives_the_ids_of_the_sentencepiece_package(tmp_path, settings):
    folder = spiece_folder(tmp_path, **settings)
    reference = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    tokenizer = load_tokenizer(folder, TokenizerConfig(context=2000, pad_id=0))
    spelt_out = ("</s>", "▁")  # the library takes these for what they stand for
    for text in (text for text in HARD if not any(mark in text for mark in spelt_out)):
        (ours,) = tokenizer.encode([text]).ids.tolist()
        assert ours[: ours.index(1)] == reference.encode(text)


def test_a_sentencepiece_file_of_another_kind_asks_for_tokenizer_json(tmp_path):
    folder = spiece_folder(tmp_path, model_type="bpe")
    with pytest.raises(WeightsError, match=r"spiece.model .* of type 2.*Put .*tokenizer.json"):
        load_tokenizer(folder, CONFIG)


def test_an_empty_folder_lists_what_it_could_have_held(tmp_path):
    with pytest.raises(WeightsError, match=r"no tokenizer; expected one of: tokenizer.json, vocab"):
        load_tokenizer(tmp_path, CONFIG)


def test_vocab_json_without_its_merges_is_not_enough(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"vocab\.json with merges\.txt"):
        load_tokenizer(tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("tokenizer.json", b'{"version": "1.0", "model'),
        ("tokenizer.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9"),
        ("tokenizer.json", b"\xff\xfe\x00"),
        ("vocab.txt", b"\xff\xfe\x00"),
        ("bpe_simple_vocab_16e6.txt.gz", b"\x1f\x8b\x08\x00truncated"),
        ("bpe_simple_vocab_16e6.txt.gz", gzip.compress(b"#version\nonly-one-word\n", mtime=0)),
        ("spiece.model", b"\x0a\xff\x01"),
        ("spiece.model", b""),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, damaged):
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(WeightsError, match=rf"{name} cannot be read .*Download it again"):
        load_tokenizer(tmp_path, CONFIG)


def test_a_vocabulary_of_another_kind_of_model_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("the\nof\n[UNK]\n")
    with pytest.raises(WeightsError, match=r"no \[CLS\] and no \[SEP\]; expected both"):
        load_tokenizer(tmp_path, CONFIG)

"""Vocabulary files: every kind is found, and a wrong or damaged one is one clear error."""

import base64
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from tokenizers import pre_tokenizers

from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.data.vocabularies import read_vocabulary
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


# Vocabularies of language models


LINES = ["a cat  sat", " 看图说话，很好。", "naïve café\n\nEND", "x" * 30, "🙂 ok", "", " "]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """A SentencePiece model like Llama's."""
    folder = tmp_path_factory.mktemp("llama")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(HARD[2:14] * 5),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<mine>"],
        minloglevel=2,
    )
    return folder


def test_sentencepiece_pairs_give_the_ids_and_texts_of_the_package(pairs):
    theirs = sentencepiece.SentencePieceProcessor(str(pairs / "tokenizer.model"))
    ours = read_vocabulary(pairs)
    for text in [*HARD, *LINES]:
        if "</s>" not in text:  # which our library takes for the token
            ids = ours.encode(text).ids
            assert ids == [theirs.bos_id(), *theirs.encode(text)]
            assert ours.decode(ids) == theirs.decode(theirs.encode(text))


def test_tokens_beside_a_vocabulary_are_added_at_their_numbers(pairs, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes((pairs / "tokenizer.model").read_bytes())
    size = read_vocabulary(pairs).get_vocab_size()
    (tmp_path / "added_tokens.json").write_text(json.dumps({"</img>": size + 1, "<img>": size}))
    ours = read_vocabulary(tmp_path)
    assert ours.encode("<img></img>").ids == [1, size, size + 1]
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            dict(
                add_bos_token=False,
                added_tokens_decoder={str(size): dict(content="<box>", special=False)},
            )
        )
    )
    ours = read_vocabulary(tmp_path)
    assert ours.encode("<box>").ids == [size]
    assert ours.decode([size], skip_special_tokens=True) == "<box>"
    # InternLM2's marks are pieces that its vocabulary calls unused.
    marks = {"410": dict(content="<|im_start|>"), str(size): dict(content="<img>")}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(dict(added_tokens_decoder=marks)))
    ours = read_vocabulary(tmp_path)
    assert ours.encode("<|im_start|><img>").ids == [1, 410, size]
    assert ours.decode([410, size], skip_special_tokens=True) == ""
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(dict(added_tokens_decoder={str(size + 5): dict(content="<box>")}))
    )
    with pytest.raises(WeightsError, match=rf"<box> is {size + 5} beside"):
        read_vocabulary(tmp_path)


def byte_pairs(folder: Path, **settings: object) -> dict[str, int]:
    """A byte-level vocabulary with a few merges, as Qwen2 and OPT publish theirs."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = ["c a", "ca t", "Ġ cat", "çľ ĭ", "Ġ Ġ", "1 2"]
    vocab = {letter: number for number, letter in enumerate(alphabet)}
    for merge in merges:
        vocab.setdefault(merge.replace(" ", ""), len(vocab))
    vocab.setdefault("çľ", len(vocab))
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return vocab


@pytest.mark.parametrize("name", ["Qwen2Tokenizer", "GPT2Tokenizer"])
def test_byte_pairs_give_the_ids_of_transformers(name, tmp_path):
    import transformers

    vocab = byte_pairs(tmp_path, tokenizer_class=name)
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs_of = [tuple(line.split()) for line in merges]
    theirs = getattr(transformers, name)(vocab=vocab, merges=pairs_of)
    ours = read_vocabulary(tmp_path)
    for text in [*HARD, *LINES, "it's 1234  cat"]:
        if "<|endoftext|>" not in text:
            assert ours.encode(text).ids == theirs.encode(text, add_special_tokens=False)
    words = ours.pre_tokenizer.pre_tokenize_str("12")
    assert len(words) == (2 if name == "Qwen2Tokenizer" else 1)


def test_the_first_qwens_list_is_read_with_the_marks_behind_it(tmp_path):
    ranked = [bytes([byte]) for byte in range(256)] + [b"ca", b"cat", b" cat", "看".encode()[:2]]
    ranked += ["看".encode()]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(ranked)]
    (tmp_path / "qwen.tiktoken").write_text("\n".join(lines))
    ours = read_vocabulary(tmp_path)
    assert ours.encode("cat cat看ct").ids == [257, 258, 260, ord("c"), ord("t")]
    assert ours.decode([258, 260]) == " cat看"
    first = len(ranked)
    named = {"<|endoftext|>": 0, "<|im_end|>": 2, "<ref>": 208, "<img>": 214, "<imgpad>": 216}
    for text, place in named.items():  # 151643 + these, as published
        assert ours.encode(text).ids == [first + place]
    assert ours.decode([first, first + 208], skip_special_tokens=True) == "<ref>"

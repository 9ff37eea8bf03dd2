"""A vocabulary made from captions: what it knows, what it does with what it does not know."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from seesay.data.tokenizers import Tokenizer as Words
from seesay.data.tokenizers import TokenizerConfig, load_tokenizer
from seesay.errors import ConfigError, DataError
from seesay.training.tokenizer import PAD, PAD_ID, VocabularyConfig, train_tokenizer

TEXTS = [
    "A dog runs through the snow .",
    "the dog is running after a dog",
    "two children on a slide",
    "雪地里的狗。",
    "两个孩子在玩滑梯",
    "一只狗在雪地里跑",
]
SMALL = VocabularyConfig(size=360, min_frequency=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, SMALL)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def test_a_frequent_english_word_is_one_token(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "the dog") == ["the", "dog"]


def test_each_chinese_character_is_a_token(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "雪地里的狗") == ["雪", "地", "里", "的", "狗"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Dog.", "the dog"),
        ("\uff44\uff4f\uff47，狗！", "dog 狗"),
        ("“dog” — 雪地？", "dog 雪地"),
    ],
)
def test_case_width_and_punctuation_make_no_difference(
    tokenizer: Tokenizer, one: str, other: str
) -> None:
    assert tokenizer.encode(one).ids == tokenizer.encode(other).ids


def test_a_character_never_seen_is_spelt_in_bytes(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "鰐") == [f"<0x{byte:02X}>" for byte in "鰐".encode()]


@given(st.text(min_size=1))
def test_no_text_makes_padding_out_of_words(text: str) -> None:
    assert PAD_ID not in train_once().encode(text).ids


def train_once(made: list[Tokenizer] = []) -> Tokenizer:  # noqa: B006
    if not made:
        made.append(train_tokenizer(TEXTS, SMALL))
        made[0].encode_special_tokens = True  # as `Tokenizer` does: "<pad>" in a text is text
    return made[0]


def test_only_padding_is_special(tokenizer: Tokenizer) -> None:
    added = json.loads(tokenizer.to_str())["added_tokens"]
    assert [(token["content"], token["id"]) for token in added] == [(PAD, PAD_ID)]


def test_another_process_makes_the_same_file(tokenizer: Tokenizer) -> None:
    code = (
        "import sys; from seesay.training.tokenizer import *; "
        f"print(train_tokenizer({TEXTS!r}, {SMALL!r}).to_str())"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert json.loads(made.stdout) == json.loads(tokenizer.to_str())


def test_the_saved_vocabulary_reads_as_any_other(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path, TokenizerConfig(context=8, pad_id=PAD_ID))
    rows = loaded.encode(["the dog", "雪地里的狗", "?"]).ids
    expected = [tokenizer.encode(text).ids for text in ("the dog", "雪地里的狗")]
    assert rows.tolist() == [row + [PAD_ID] * (8 - len(row)) for row in [*expected, []]]


def test_no_text_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="0 texts"):
        train_tokenizer([" ", "?"], SMALL)


def test_too_small_a_vocabulary_names_the_size_it_needs() -> None:
    with pytest.raises(DataError, match="set it to 289 or more"):
        train_tokenizer(TEXTS, VocabularyConfig(size=288))
    assert train_tokenizer(TEXTS, VocabularyConfig(size=289)).get_vocab_size() == 289


@pytest.mark.parametrize("settings", [{"size": 257}, {"min_frequency": 0}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="make no vocabulary"):
        VocabularyConfig(**settings)


def test_a_vocabulary_to_write_in_gives_texts_back() -> None:
    written = VocabularyConfig(size=360, written=True)
    config = TokenizerConfig(context=40, pad_id=PAD_ID)
    tokenizer = Words(train_tokenizer(TEXTS, written), config)
    assert (tokenizer.prefix, tokenizer.suffix) == ([1], [2])
    for text, back in {
        "A dog runs through the snow .": "a dog runs through the snow",
        "two  children, 12 dogs": "two children 12 dogs",
        "一只狗 在雪地里跑。": "一只狗 在雪地里跑",
        "鰐 dog": "鰐 dog",
    }.items():
        ids = tokenizer.encode([text]).ids[0].tolist()
        assert tokenizer.decode(ids) == back
        assert tokenizer.decode([*ids[: ids.index(2)], 2, 70, 71]) == back  # nothing after its end

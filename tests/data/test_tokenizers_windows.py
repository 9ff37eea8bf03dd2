"""A text longer than the context becomes windows; nothing is lost and no word is cut in two."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from seesay.data.tokenizer import Tokenizer, TokenizerConfig, windows
from seesay.errors import ConfigError, DataError
from tokenizer_texts import HARD, anything

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def byte_level(context: int) -> Tokenizer:
    """Every byte is a token and there are no merges: the hardest vocabulary to divide well."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*SPECIALS, *letters])}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(backend, TokenizerConfig(context=context, pad_id=0))


def words_only(context: int) -> Tokenizer:
    """Word pieces of one letter, as BERT writes them: "dog" is d ##o ##g."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters), "狗", "雪", ","]
    vocab = {token: index for index, token in enumerate(names)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = tokenizers.normalizers.BertNormalizer()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(backend, TokenizerConfig(context=context, pad_id=0))


def contents(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    """The tokens of each window, after a check of everything around them."""
    tokens = tokenizer.encode([text])
    assert set(tokens.owners.tolist()) == {0}
    assert tokens.ids.shape == (len(tokens.owners), tokenizer.config.context)
    rows = []
    for row in tokens.ids.tolist():
        stop = row.index(3)
        assert row[0] == 2
        assert set(row[stop + 1 :]) <= {0}
        rows.append(row[1:stop])
    return rows


TOKENIZERS = pytest.mark.parametrize("build", [byte_level, words_only])


@TOKENIZERS
@given(text=anything, context=st.integers(3, 20))
def test_the_contents_of_the_windows_joined_are_the_tokens_of_the_whole_text(build, text, context):
    rows = contents(build(context), text)
    (whole,) = contents(build(400), text)
    assert [token for row in rows for token in row] == whole
    assert all(len(row) <= context - 2 for row in rows)
    assert all(rows) or not whole


@TOKENIZERS
@pytest.mark.parametrize("text", HARD)
def test_hard_texts_lose_nothing(build, text):
    (whole,) = contents(build(4096), text)
    assert [token for row in contents(build(9), text) for token in row] == whole


@given(words=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=30))
def test_no_word_that_fits_is_cut(words):
    text = " ".join(words)
    spans = windows(text, letter_offsets(text), 5)
    assert [word for span in spans for word in cut(text, span).split()] == words


@given(
    words=st.lists(st.sampled_from(["狗", "雪地", "dog", "，", "don't", "cafe\u0301"]), max_size=30)
)
def test_chinese_is_divided_between_characters_and_english_between_words(words):
    text = " ".join(words)
    pieces = [cut(text, span) for span in windows(text, letter_offsets(text), 5)]
    english = re.findall(r"[a-z'\u0301]+", text)
    assert [word for piece in pieces for word in re.findall(r"[a-z'\u0301]+", piece)] == english


def test_a_character_of_several_tokens_stays_in_one_window():
    (first, second) = contents(byte_level(2 + 4), "狗雪")
    assert (len(first), len(second)) == (3, 3)


def test_a_family_of_emoji_joined_into_one_stays_in_one_window():
    text = "👍👍👨\u200d👩"  # the middle lies before the joiner
    spans = windows(text, letter_offsets(text), 4)
    assert [cut(text, span) for span in spans] == ["👍👍", "👨\u200d👩"]


def test_a_word_longer_than_the_context_is_cut_between_letters():
    assert [len(row) for row in contents(words_only(7), "supercalifragilistic")] == [5, 5, 5, 5]


def test_the_windows_are_of_about_equal_length():
    lengths = [len(row) for row in contents(words_only(77), "a " * 80)]
    assert lengths == [40, 40]


@given(st.integers(1, 400), st.integers(1, 40))
def test_there_are_no_more_windows_than_needed_where_every_cut_is_allowed(total, capacity):
    text = "狗" * total
    assert len(windows(text, letter_offsets(text), capacity)) == math.ceil(total / capacity)


def test_owners_say_which_text_each_window_belongs_to():
    tokens = words_only(7).encode(["a dog", "", "a " * 8, "狗"])
    assert tokens.owners.tolist() == [0, 1, 2, 2, 3]


def test_no_texts_are_no_windows():
    tokens = words_only(7).encode([])
    assert tokens.ids.shape == (0, 7)
    assert tokens.owners.shape == (0,)
    assert tokens.ids.dtype == tokens.owners.dtype == np.int64


def test_a_row_does_not_depend_on_its_neighbours():
    tokenizer = words_only(7)
    together = tokenizer.encode(HARD)
    for index, text in enumerate(HARD):
        alone = tokenizer.encode([text]).ids
        assert np.array_equal(together.ids[together.owners == index], alone)


def test_padding_and_truncation_written_into_a_published_file_are_not_used():
    tokenizer = words_only(7)
    backend = tokenizers.Tokenizer.from_str(tokenizer._backend.to_str())
    backend.enable_padding(length=5, pad_id=9)
    backend.enable_truncation(2)
    again = Tokenizer(backend, tokenizer.config)
    assert np.array_equal(again.encode(["a dog", "a"]).ids, tokenizer.encode(["a dog", "a"]).ids)


def test_half_of_a_surrogate_pair_becomes_the_replacement_character():
    tokenizer = byte_level(20)
    assert np.array_equal(tokenizer.encode(["a\ud800b"]).ids, tokenizer.encode(["a\ufffdb"]).ids)


def test_one_text_instead_of_a_list_is_refused():
    with pytest.raises(DataError, match=r"the one text 'a dog'; expected a list.*\[text\]"):
        words_only(7).encode("a dog")


def test_a_context_without_room_for_text_is_refused():
    with pytest.raises(ConfigError, match="context of 2 has no room for text beside 2 special"):
        words_only(2)


@pytest.mark.parametrize("settings", [{"context": 0, "pad_id": 0}, {"context": 5, "pad_id": -1}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="cannot describe a row"):
        TokenizerConfig(**settings)


def letter_offsets(text: str) -> list[tuple[int, int]]:
    """Offsets of a tokenizer that makes a token of every character but white space."""
    return [(i, i + 1) for i, letter in enumerate(text) if not letter.isspace()]


def cut(text: str, span: range) -> str:
    """The part of a text that a window covers."""
    offsets = letter_offsets(text)[span.start : span.stop]
    return text[offsets[0][0] : offsets[-1][1]] if offsets else ""


@pytest.mark.shared
class TestOnTheRealVocabularies:
    @pytest.mark.parametrize(
        ("source", "name", "specials"),
        [
            ("clip_bpe_16e6.txt.gz", "bpe_simple_vocab_16e6.txt.gz", (49406, 49407)),
            ("chinese_bert_vocab.txt", "vocab.txt", (101, 102)),
        ],
    )
    @pytest.mark.parametrize("text", HARD)
    def test_windows_hold_every_token_of_the_whole_text(
        self, text, source, name, specials, shared: Path, cache
    ):
        tokenizer = cache(shared / "vocab" / source, name)
        rows = [row[1 : row.index(specials[1])] for row in tokenizer.encode([text]).ids.tolist()]
        whole = tokenizer._backend.encode(text, add_special_tokens=False).ids
        assert [token for row in rows for token in row] == whole


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory):
    from functools import cache as once
    from shutil import copy

    from seesay.data.tokenizer import load_tokenizer

    @once
    def load(source: Path, name: str) -> Tokenizer:
        folder = tmp_path_factory.mktemp("vocabulary")
        copy(source, folder / name)
        return load_tokenizer(folder, TokenizerConfig(context=20, pad_id=0))

    return load

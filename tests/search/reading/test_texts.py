import codecs
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from seesay.search.reading.files import RefusedError
from seesay.search.reading.texts import PIECE, pieces, read_text, text_passages

CHINESE = "一只狗在草地上奔跑，长江大桥的夜景很美。"


@pytest.mark.parametrize(
    "data",
    [
        "Das schöne Mädchen fährt über die Brücke. Äpfel, Öl.".encode("cp1252"),
        bytes(range(256)),
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" * 9,
        "日本語のテキスト、ひらがな。".encode("shift_jis"),
        codecs.BOM_UTF8 + b"\xff\xff",
    ],
)
def test_what_is_in_no_such_encoding_is_refused_and_not_guessed(data):
    with pytest.raises(RefusedError) as refused:
        read_text(data)
    assert refused.value.stage == "text"


def test_pieces_break_at_paragraphs_then_sentences_then_words():
    paragraphs = ["word " * 60 + "end.", "other " * 80 + "end.", "short."]
    text = "\n\n".join(paragraphs)
    found = [text[a:b] for a, b in pieces(text)]
    assert found == [paragraphs[0], paragraphs[1] + "\n\n" + paragraphs[2]]
    long = "One sentence of some words stands here. " * 40
    assert all(passage.text.endswith("here.") for passage in text_passages(long))


def test_a_chinese_piece_is_shorter_than_a_latin_one():
    (passage, *_) = text_passages(CHINESE * 100)
    assert PIECE / 6 < len(passage.text) <= PIECE / 3
    assert passage.text.endswith("。")


@given(some.text(alphabet="ab。. \n#中文é", max_size=3000))
def test_pieces_hold_all_that_is_not_space_in_order_and_know_where_it_lies(text):
    found = list(pieces(text))
    assert "".join("".join(text[a:b].split()) for a, b in found) == "".join(text.split())
    assert all(a < b for a, b in found)
    assert all(one[1] <= next_one[0] for one, next_one in pairwise(found))
    assert all(len(text[a:b]) <= PIECE for a, b in found)


def test_a_text_of_spaces_is_refused():
    with pytest.raises(RefusedError, match="no text"):
        text_passages(" \n\t ")

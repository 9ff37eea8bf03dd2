"""Which encoding bytes are in, and what is left of a text that anybody may have written."""

import codecs
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from seesay.data.encodings import clean_text, decode_text, find_encoding
from seesay.errors import DataError

SIMPLIFIED = "path,caption\na.jpg,一只狗在草地上奔跑，长江大桥的夜景很美。\n"
TRADITIONAL = "path,caption\na.jpg,一隻狗在草地上奔跑，這個孩子的貓很可愛。\n"
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")
WIDE = ("utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((SIMPLIFIED, name) for name in (*UNICODE, *WIDE, "gb18030", "gbk", "gb2312")),
        *((TRADITIONAL, name) for name in (*UNICODE, *WIDE, "gb18030", "gbk", "big5")),
        ("path,caption\na.jpg,黑猫\n", "gbk"),
        ("篮球比赛。", "gbk"),  # its bytes are valid Korean, too
        *(("path,caption\na.jpg,A dog\n", name) for name in (*UNICODE, *WIDE)),
    ],
)
def test_text_is_read_in_every_encoding_in_use(text, name):
    assert decode_text(text.encode(name)) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Das schöne Mädchen fährt über die Brücke. Äpfel, Öl.", "cp1252"),
        ("Привет, это записка.", "cp1251"),
        ("한국어로 쓴 메모입니다. 강아지가 잔디 위에서 뛰어놀고 있다.", "euc_kr"),
        ("日本語のテキスト、ひらがな。犬が走る。", "euc_jp"),
        ("日本語のテキスト、ひらがな。犬が走る。", "shift_jis"),
        ("日本語のテキスト、ひらがな。犬が走る。", "iso2022_jp"),
    ],
)
def test_other_encodings_are_refused_and_not_guessed(text, name):
    with pytest.raises(DataError, match=r"no text in UTF-8.*Expected one.*Save it as UTF-8"):
        decode_text(text.encode(name))


@pytest.mark.parametrize(
    "data", [bytes(range(256)), b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" * 9, bytes(4096), b"\1" * 9]
)
def test_what_is_no_text_is_refused(data):
    with pytest.raises(DataError, match="Expected"):
        decode_text(data)


def test_gbk_far_down_in_a_file_that_begins_in_ascii_is_found():
    text = "a.jpg,A dog on the grass\n" * 60_000 + "b.jpg,一只狗在草地上\n" * 9
    assert find_encoding(io.BytesIO(text.encode("gbk"))) == "gb18030"


def test_a_damaged_byte_costs_its_character():
    whole = "一只狗在草地上奔跑".encode() * 9
    assert decode_text(whole + b"\xff") == "一只狗在草地上奔跑" * 9 + "\ufffd"
    assert decode_text(whole[:-1]).endswith("奔\ufffd\ufffd")
    assert decode_text(b"A dog\n" * 9999 + b"caf\xe9").endswith("caf\ufffd")


def test_emoji_in_halves_of_three_bytes_are_read_as_java_means_them():
    halves = "狗\ud83d\ude00".encode("utf-8", "surrogatepass")
    assert decode_text(halves) == "狗😀"
    assert decode_text(halves[:-3]) == "狗\ufffd"


def test_control_characters_and_halves_go_and_the_rest_stays():
    assert clean_text("a\0b\x1b[1m\x9b\ufeffc\td\ne") == "ab[1mc\td\ne"
    assert clean_text("x\ud83dy\ude00\ud83d\ude00") == "x\ufffdy\ufffd😀"
    assert clean_text("क्‍ष 👩‍🚀 Ä") == "क्‍ष 👩‍🚀 Ä"


@given(some.text(alphabet=some.characters(codec=None, exclude_categories=())))
@example("\ud83d\ude00\udcff\0")
def test_clean_text_can_be_stored_and_is_not_changed_again(text):
    clean = clean_text(text)
    assert clean.encode().decode() == clean == clean_text(clean)


@given(some.binary(max_size=400))
@example(codecs.BOM_UTF8 + b"\xff\xff")
@example(codecs.BOM_UTF16_LE + b"\x00\xd8\x41")
@example(b"\x810\x81")
def test_any_bytes_are_read_or_refused(data):
    try:
        text = decode_text(data)
    except DataError:
        return
    assert text == clean_text(text)

"""Text that every encoder takes, and lines that no file name can break."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seesay.text import printable, to_unicode

ANY = st.text(st.characters(exclude_categories=()))  # lone surrogates among them


@given(ANY)
def test_whatever_comes_is_valid_unicode_and_valid_unicode_stays(text):
    encoded = to_unicode(text).encode()
    assert to_unicode(encoded.decode()).encode() == encoded
    assert to_unicode(printable(text)) == printable(text)


@given(ANY)
def test_a_printable_text_is_one_line_without_control_characters(text):
    shown = printable(text)
    assert shown.isprintable() and len(shown.splitlines()) <= 1
    shown.encode()


@pytest.mark.parametrize(
    ("text", "valid", "line"),
    [
        (os.fsdecode(b"caf\xe9.jpg"), "caf\\xe9.jpg", "caf\\xe9.jpg"),
        ("half \ud83d of one", "half \\ud83d of one", "half \\ud83d of one"),
        ("猫 🐱.jpg", "猫 🐱.jpg", "猫 🐱.jpg"),
        ("猫 \udcff\udc80\n🌕.png", "猫 \\xff\\x80\n🌕.png", "猫 \\xff\\x80\\n🌕.png"),
        ("two\nlines\x1b[31m", "two\nlines\x1b[31m", "two\\nlines\\x1b[31m"),
        ("right\u202eleft", "right\u202eleft", "right\\u202eleft"),
    ],
)
def test_a_byte_of_a_name_half_a_character_and_controls_are_escaped(text, valid, line):
    assert (to_unicode(text), printable(text)) == (valid, line)

"""Text that every encoder takes, and lines that no file name can break."""

import ast
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import seesay
from seesay import errors
from seesay.errors import DataError
from seesay.text import Text, printable, to_unicode

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


def test_a_message_is_in_both_languages_and_errors_carry_it_through_processes():
    error = DataError(Text("a.csv is empty", "a.csv 是空的"))
    assert str(error) == "a.csv is empty" and error.text.in_language("zh") == "a.csv 是空的"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is DataError and copy.text == error.text
    quoted = Text.of(error)
    assert (
        Text(f"data: {quoted.en}", f"数据：{quoted.zh}").in_language("fr") == "data: a.csv is empty"
    )
    assert Text.of(OSError("disk full")) == Text("disk full", "disk full")


@pytest.mark.parametrize("room", ["api", "web"])
def test_every_error_of_a_door_is_raised_in_both_languages(room):
    """A message is a Text, or comes from one, and never a string of one language."""
    ours = {name for name in dir(errors) if name.endswith("Error")} - {"MissingExtraError"}
    one_language = []
    for file in (Path(seesay.__file__).parent / room).rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ours | {
                "RefusedError"
            }:
                message = call.args[2 if call.func.id == "RefusedError" else 0]
                if isinstance(message, ast.Constant | ast.JoinedStr | ast.BinOp) or (
                    isinstance(message, ast.Call) and getattr(message.func, "id", "") == "str"
                ):
                    one_language.append(f"{file.name}:{call.lineno}")
    assert one_language == []

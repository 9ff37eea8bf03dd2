"""What an assistant is asked, and what is refused as no question or no picture."""

import pytest
from PIL import Image

from seesay.data.chat import Media
from seesay.errors import DataError, ImageError
from seesay.inference.answer import StopTexts, conversation

PICTURE = Image.new("RGB", (40, 20), (200, 30, 30))
PLACE = Media("image", (1,))

NO_QUESTIONS = {
    "a number": (PICTURE, 7, "question is a int"),
    "bytes": (PICTURE, b"What?", "question is a bytes"),
    "a list of texts": (PICTURE, ["What?"], "question is a list of str"),
}


@pytest.mark.parametrize("case", NO_QUESTIONS.values(), ids=NO_QUESTIONS)
def test_a_question_of_another_type_is_refused(case):
    images, question, message = case
    with pytest.raises(DataError, match=message) as caught:
        conversation(images, question)
    assert "问题的类型是" in caught.value.text.zh


@pytest.mark.parametrize(
    "images", [7, [PICTURE, 7], [None]], ids=["a number", "among others", "None"]
)
def test_what_is_no_picture_is_refused(images):
    with pytest.raises(ImageError):
        conversation(images, "What?")


def test_a_folder_stands_for_its_pictures(tmp_path):
    for name in "ab":
        PICTURE.save(tmp_path / f"{name}.png")
    pictures, (message,) = conversation(tmp_path, "What?")
    assert pictures == [tmp_path / "a.png", tmp_path / "b.png"]
    assert message.parts == (PLACE, PLACE, "What?")


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("stops", "before", "is_reached"),
    [
        (("END",), "abENc", True),
        (("cEN", "END"), "abEN", True),
        (("x", "ND!"), "abENcENDx"[:8], True),
        (("DxEN!",), "abENcENDxEN", False),
        (("none",), "abENcENDxEN", False),
        ((), "abENcENDxEN", False),
    ],
)
def test_an_answer_ends_before_a_stop_however_it_is_cut_into_pieces(
    size, stops, before, is_reached
):
    text, stop = "abENcENDxEN", StopTexts(stops)
    pieces = [stop.add(text[at : at + size]) for at in range(0, len(text), size)]
    assert "".join(pieces) + stop.end() == before
    assert stop.reached is is_reached
    assert not any(one in "".join(pieces) for one in stops)

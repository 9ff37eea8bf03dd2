"""easy-VQA's questions in Chinese (`tools/easy_vqa_zh.py`)."""

import re

import pytest

from easy_vqa_zh import in_chinese
from seesay.data.sources import RecordsConfig, open_records


@pytest.mark.parametrize(
    ("asked", "answer", "wanted"),
    [
        ("is there not a red shape in the image?", "yes", ("图中没有红色的图形，对不对？", "对")),
        ("does the image not contain a circle?", "no", ("图里没有圆形，是吗？", "不是")),
        ("does the image contain a triangle?", "no", ("图里有三角形吗？", "没有")),
        ("what color is the shape?", "teal", ("图形是什么颜色？", "青色")),
        ("what is the gray shape?", "rectangle", ("灰色的图形是什么形状？", "矩形")),
        ("what shape is present?", "circle", ("这是什么形状？", "圆形")),
    ],
)
def test_a_question_and_its_answer_are_put_in_chinese(asked, answer, wanted):
    assert in_chinese(asked, answer) == wanted


def test_another_question_is_refused():
    with pytest.raises(KeyError):
        in_chinese("is there a dog in the circle?", "no")


@pytest.mark.shared
def test_all_questions_of_easy_vqa_have_a_form_in_chinese(shared):
    source = open_records(RecordsConfig(path=str(shared / "easy-vqa" / "train-*.tar"), stop=500))
    pairs = [one for at in range(500) for one in source[at].questions["en"]]
    assert len({one.question for one in pairs}) > 100
    for one in pairs:
        assert not re.search("[A-Za-z{]", "".join(in_chinese(one.question, one.answer)))

"""Translate easy-VQA's questions and answers into Chinese, for `recipes/lora-vqa-zh.toml`.

    python tools/easy_vqa_zh.py "../shared/data/easy-vqa/train-*.tar" build/tune/shapes-zh.jsonl

easy-VQA has 24 forms of questions about a shape and its colour (Zhou 2019). Each gets one
Chinese form, answered the way that form is answered in Chinese: "is there a circle?" becomes
有没有圆形？, with 有 or 没有.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from seesay.data.added import write_added
from seesay.data.formats.records import Record
from seesay.data.sources import RecordsConfig, open_records

SHAPES = {"circle": "圆形", "rectangle": "矩形", "triangle": "三角形"}
COLOURS = {
    "black": "黑色",
    "blue": "蓝色",
    "brown": "棕色",
    "gray": "灰色",
    "green": "绿色",
    "red": "红色",
    "teal": "青色",
    "yellow": "黄色",
}
THERE, RIGHT, SO = ("有", "没有"), ("对", "不对"), ("是", "不是")
FORMS = {
    "is a {} present": ("有{}吗？", THERE),
    "is there a {}": ("有没有{}？", THERE),
    "is there a {} in the image": ("图中有没有{}？", THERE),
    "does the image contain a {}": ("图里有{}吗？", THERE),
    "is there not a {}": ("没有{}，对吗？", RIGHT),
    "is there not a {} in the image": ("图中没有{}，对不对？", RIGHT),
    "does the image not contain a {}": ("图里没有{}，是吗？", SO),
    "is no {} present": ("没有{}，是不是？", SO),
    "what color is the {}": ("{}是什么颜色？", None),
    "what is the color of the {}": ("{}的颜色是什么？", None),
    "what is the {}": ("{}是什么形状？", None),
    "what shape is in the image": ("图里是什么形状？", None),
    "what shape does the image contain": ("图中有什么形状？", None),
    "what shape is present": ("这是什么形状？", None),
}
THINGS = {
    "shape": "图形",
    **SHAPES,
    **{f"{one} shape": f"{other}的图形" for one, other in COLOURS.items()},
}
NAMED = re.compile("|".join(sorted(THINGS, key=len, reverse=True)))


def in_chinese(question: str, answer: str) -> tuple[str, str]:
    """Returns a question and its answer in Chinese. Raises KeyError if it is none of easy-VQA's."""
    asked = question.strip().rstrip("?")
    if asked in FORMS:
        form, thing = asked, ""
    else:
        (thing,) = NAMED.findall(asked)
        form = asked.replace(thing, "{}")
    told, answers = FORMS[form]
    if answers is not None:
        return told.format(THINGS[thing]), answers[answer != "yes"]
    return told.format(THINGS.get(thing)), {**SHAPES, **COLOURS}[answer]


def translated(records: Iterator[Record]) -> Iterator[tuple[str, dict[str, list[dict[str, str]]]]]:
    for record in records:
        pairs = [in_chinese(one.question, one.answer) for one in record.questions["en"]]
        yield record.key, {"qa": [{"question": one, "answer": other} for one, other in pairs]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("path", help="shards of easy-VQA")
    parser.add_argument("out", type=Path, help="the file to write")
    options = parser.parse_args()
    source = open_records(RecordsConfig(path=options.path))
    write_added(options.out, translated(source[at] for at in range(len(source))))
    print(f"questions about {len(source):,} pictures in {options.out}")


if __name__ == "__main__":
    main()

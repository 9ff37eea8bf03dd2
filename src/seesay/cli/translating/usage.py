"""What the command line says about a wrong use, in the user's language.

Typer has it in English only. Its errors are told apart by their words, because their classes are
not part of what it promises; one that is not known here stays as it is.
"""

import re

from seesay.cli.messages import language

# What Typer says -> the same in Chinese; a name in quotation marks stays.
CHINESE = (
    (r"No such option: (\S+) \(Possible options: (.*)\)", r"没有选项 \1；是不是想用 \2"),
    (r"No such option: (\S+)", r"没有选项 \1"),
    (r"Missing \w+ (.+?)(?:\. .*)?", r"缺少 \1，必须给出"),
    (r"Option '?(\S+?)'? requires an argument", r"选项 \1 后面要有一个值"),
    (r"Got unexpected extra arguments? \((.*)\)", r"多余的参数：\1"),
    (r"Got unexpected extra argument\(s\) \((.*)\)", r"多余的参数：\1"),
    (r"Invalid value for (.+?): (.*)", r"\1 的值不对：\2"),
    (r"Invalid value: (.*)", r"值不对：\1"),
)
REASONS = (
    (r"Input should be greater than or equal to (\S+)", r"应不小于 \1"),
    (r"Input should be less than or equal to (\S+)", r"应不大于 \1"),
    (r"Input should be a valid integer.*", r"应为整数"),
    (r"Input should be a valid number.*", r"应为数"),
    (r"(.+) is not one of (.+)", r"\1 不是以下之一：\2"),
)


def wrong_use(told: str) -> str:
    """What Typer told, in the language of the command line, without the full stop."""
    told = told.rstrip(".").replace("Value error, ", "")
    if language() != "zh":
        return told
    for english, chinese in CHINESE:
        if match := re.fullmatch(english, told, re.DOTALL):
            found = match.expand(chinese).replace(", ", "、")
            for reason, translated in REASONS:
                found = re.sub(f"(?<=：){reason}$", translated, found)
            return found
    return told

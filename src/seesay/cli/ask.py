"""`seesay ask`: a question about pictures or a video, answered as it is written."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from seesay.cli.options import Answering, Json, with_answering
from seesay.cli.output import say
from seesay.text import Text, to_unicode

Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURES",
        help=say(
            "Pictures, folders with pictures in them, or a video; - reads a picture from stdin.",
            "图片、含有图片的文件夹或视频；- 表示从标准输入读取一张图片。",
        ),
    ),
]
Question = Annotated[
    str | None,
    typer.Argument(
        metavar="QUESTION",
        help=say("The question, in quotes, in Chinese or English.", "加引号的问题，中英文均可。"),
    ),
]
Questions = Annotated[
    list[str] | None,
    typer.Option(
        "--question",
        "-q",
        help=say(
            "A question in place of the last argument; repeatable, and the pictures are read once.",
            "代替末尾参数的问题；可重复使用，图片只读取一次。",
        ),
    ),
]


@with_answering()
def ask(
    pictures: Pictures = None,
    question: Question = None,
    questions: Questions = None,
    *,
    answering: Answering,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import read_pictures
    from seesay.cli.output import print_json, print_pieces, warn_of_limits
    from seesay.inference.answering import answer_several, stream_answer, whole

    given = [*(pictures or ()), *(() if question is None else (question,))]
    paths, wanted = _split(given, questions or [])
    config = answering.config()
    assistant = answering.load(len(paths))
    images = read_pictures(paths)
    if len(wanted) == 1:
        stream = stream_answer(assistant, images, wanted[0], config)
        answers = [whole(stream) if json else print_pieces(stream)]
    else:
        answers = answer_several(assistant, images, wanted, config)
    if json:
        shown = [
            {"question": one, **{k: v for k, v in asdict(answer).items() if k != "tokens"}}
            for one, answer in zip(wanted, answers, strict=True)
        ]
        print_json({"model": assistant.name, "images": paths, "answers": shown})
        return
    for one, answer in zip(wanted, answers, strict=True):
        if len(wanted) > 1:
            print(f"{one}\n{answer.text}\n")
        warn_of_limits(answer, config.max_tokens)


def _split(given: Sequence[str], questions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Pictures and questions. Raises ConfigError where one of them is missing."""
    from seesay.errors import ConfigError

    if questions:
        paths, wanted = list(given), list(questions)
    else:
        paths, wanted = list(given[:-1]), list(given[-1:])
        if wanted and _is_file(wanted[0]):
            paths, wanted = list(given), []
    wanted = [to_unicode(one) for one in wanted]  # of a terminal in another encoding
    if not wanted or not all(map(str.strip, wanted)):
        raise ConfigError(
            Text(
                "there is no question; expected one after the pictures; write it in quotes, as "
                'in seesay ask cat.jpg "What is on the mat?"',
                "没有问题；图片之后应有一个问题；请加引号写上，如 seesay ask 猫.jpg "
                '"垫子上有什么？"',
            )
        )
    if not paths:
        raise ConfigError(
            Text(
                f"there is no picture to ask {wanted[0][:60]!r} about; expected pictures or a "
                'video before the question, as in seesay ask cat.jpg "What is on the mat?"; to '
                "talk without pictures use seesay chat",
                f"问题 {wanted[0][:60]!r} 没有对应的图片；问题之前应有图片或视频，如 seesay ask "
                '猫.jpg "垫子上有什么？"；不带图片的对话请用 seesay chat',
            )
        )
    _check_paths(paths)
    return paths, wanted


def _check_paths(paths: Sequence[str]) -> None:
    """Raises ConfigError for a path that is none, before a model is loaded: a word of a question
    without quotes, or a question beside --question."""
    from seesay.cli.inputs import STDIN
    from seesay.errors import ConfigError

    for path in paths:
        if path == STDIN or "://" in path or Path(path).suffix or _is_file(path):
            continue
        raise ConfigError(
            Text(
                f"there is no file {path[:60]!r}; expected pictures or a video before the "
                "question. Put the question in quotes, or give each question with -q",
                f"没有文件 {path[:60]!r}；问题之前应为图片或视频；问题请加引号，或逐个用 -q 给出",
            )
        )


def _is_file(text: str) -> bool:
    """Whether the last argument is a picture, and the question was forgotten."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a path
        return False

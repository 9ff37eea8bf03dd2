"""`seesay ask`: a question about pictures or a video, answered as it is written; without pictures,
a question to a collection, answered with citations."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seesay.cli.options import (
    Answering,
    Collection,
    Json,
    RerankEvidence,
    Verifier,
    Where,
    with_answering,
)
from seesay.cli.output import say
from seesay.text import Text, printable, to_unicode

if TYPE_CHECKING:
    from seesay.inference.answer import Assistant as AnyAssistant
    from seesay.rag.claims import CitedAnswer
    from seesay.search.collection import Collection as OpenCollection

_SNIPPET = 200  # characters of what comes nearest

Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURES",
        help=say(
            "Pictures, folders with pictures in them, or a video; - reads a picture from stdin. "
            "Without any, the collection is asked.",
            "图片、含有图片的文件夹或视频；- 表示从标准输入读取一张图片。不给图片则向资料库提问。",
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
            "A question in place of the last argument; repeatable. Pictures are read once; to a "
            "collection, a later question may refer to an earlier one.",
            "代替末尾参数的问题；可重复使用。图片只读取一次；向资料库提问时，后面的问题可承接前面的。",
        ),
    ),
]
Mode = Annotated[
    Literal["quote", "assistant", "endpoint"] | None,
    typer.Option(
        "--mode",
        help=say(
            "How a collection answers: with its own sentences (quote, the default), by a model on "
            "this machine (assistant), or by one at --endpoint (endpoint).",
            "资料库的回答方式：引用原句（quote，默认）、由本机模型作答（assistant），或由 "
            "--endpoint 指定的模型作答（endpoint）。",
        ),
    ),
]


@with_answering()
def ask(
    pictures: Pictures = None,
    question: Question = None,
    questions: Questions = None,
    *,
    mode: Mode = None,
    collection: Collection = None,
    where: Where = None,
    rerank: RerankEvidence = None,
    verifier: Verifier = None,
    answering: Answering,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import read_pictures
    from seesay.cli.output import print_json, print_pieces, warn_of_limits
    from seesay.inference.answering import answer_several, stream_answer, whole

    given = [*(pictures or ()), *(() if question is None else (question,))]
    paths, wanted = _split(given, questions or [])
    if not paths:
        again = inquiry(mode, collection, where or [], answering, rerank=rerank, verifier=verifier)
        _ask_collection(wanted, again, as_json=json)
        return
    only = {"rerank": rerank, "verifier": verifier}
    refuse_with_pictures(mode=mode, collection=collection, where=where, **only)
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
    """Pictures, if any, and questions. Raises ConfigError where there is no question."""
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
                "there is no question; expected one, after any pictures; write it in quotes, as "
                'in seesay ask cat.jpg "What is on the mat?"',
                "没有问题；应有一个问题，有图片时写在图片之后；请加引号写上，如 seesay ask 猫.jpg "
                '"垫子上有什么？"',
            )
        )
    _check_paths(paths)
    return paths, wanted


def refuse_with_pictures(**given: object) -> None:
    """Raises ConfigError for options that only apply to questions about a collection."""
    from seesay.errors import ConfigError

    if names := ", ".join(f"--{name}" for name, value in given.items() if value):
        raise ConfigError(
            Text(
                f"{names} is for questions to a collection, and pictures were given; expected one "
                f"or the other; leave out {names}, or the pictures",
                f"{names} 用于向资料库提问，却又给了图片；两者只应有其一；请去掉 {names} 或图片",
            )
        )


def _ask_collection(
    questions: Sequence[str], opened: "AbstractContextManager[Inquiry]", *, as_json: bool
) -> None:
    from seesay.cli.output import print_json
    from seesay.search.plain import to_plain

    with opened as inquiring:
        for question in questions:
            answer = inquiring.ask(question)
            if as_json:
                print_json(to_plain(answer))
                continue
            if len(questions) > 1:
                print(printable(answer.understood))
            print_cited(answer)


@dataclass(kw_only=True)
class Inquiry:
    """Questions to a collection, where a later one may refer to an earlier one."""

    collection: "OpenCollection"
    mode: Literal["quote", "assistant", "endpoint"]
    endpoint: str | None
    assistant: "AnyAssistant | None"
    where: Sequence[str]
    rerank: str | None = None
    verifier: str | None = None
    history: list[str] = field(default_factory=list)
    """The questions so far, as they were understood."""

    def ask(self, question: str) -> "CitedAnswer":
        """Answers a question. Raises what `rag.answer.ask` does."""
        from seesay.cli.output import working
        from seesay.rag.answer import ask

        with working(say("looking for the answer", "正在查找答案")):
            answer = ask(
                question,
                self.collection,
                mode=self.mode,
                assistant=self.assistant,
                endpoint=self.endpoint,
                where=self.where,
                history=self.history,
                rerank=self.rerank,
                verifier=self.verifier,
            )
        self.history.append(answer.understood)
        return answer


@contextmanager
def inquiry(
    mode: Literal["quote", "assistant", "endpoint"] | None,
    collection: str | None,
    where: Sequence[str],
    answering: Answering,
    *,
    rerank: str | None = None,
    verifier: str | None = None,
) -> Iterator[Inquiry]:
    """Opens a collection and the model that answers, if any, to ask questions."""
    from seesay.cli.inputs import load_model, opened
    from seesay.rag.answer import AskConfig

    if mode is None:
        named = answering.model or answering.adapter
        mode = "endpoint" if answering.endpoint else "assistant" if named else "quote"
    # Before anything is loaded.
    config = AskConfig(mode=mode, endpoint=answering.endpoint, rerank=rerank, verifier=verifier)
    with opened(collection, device=answering.device) as here:
        load_model(here, for_words=True)
        yield Inquiry(
            collection=here,
            mode=mode,
            endpoint=answering.endpoint,
            assistant=None if mode == "quote" else answering.load(config.limits.pictures),
            where=where,
            rerank=rerank,
            verifier=verifier,
        )


def print_cited(answer: "CitedAnswer") -> None:
    """Prints claims with numbers, then where each of these stands. Text from files and models is
    printed without control characters."""
    from seesay.cli.output import localized, warn
    from seesay.cli.results import short_path
    from seesay.rag.claims import place_of

    quotes = [quote for claim in answer.claims for quote in claim.quotes] + [*answer.nearest]
    for note in answer.notes:
        warn(localized(note))
    if answer.status == "answered":
        for claim in answer.claims:
            numbers = "".join(f"[{number}]" for number in claim.evidence)
            print(printable(f"{claim.text} {numbers}"))
    else:
        print(say("not found in the collection", "资料库里没有找到答案"))
        if answer.cited:
            print(say("nearest:", "最接近的："))
    for one in answer.cited:
        place = f" · {localized(at)}" if (at := place_of(one, quotes).label) else ""
        print(printable(f"[{one.id}] {short_path(one.path)}{place}"))
        near = [quote.text for quote in answer.nearest if quote.evidence == one.id] or [one.text]
        for text in near if answer.status != "answered" else ():
            short = " ".join(text.split())
            if short:
                print(printable(f"    {short[:_SNIPPET]}{' …' if len(short) > _SNIPPET else ''}"))


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

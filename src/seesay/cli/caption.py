"""`seesay caption`: one line for each picture, several pictures at a time."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seesay.cli.options import Answering, Json, with_answering
from seesay.cli.output import language as spoken_language
from seesay.cli.output import say

if TYPE_CHECKING:
    from seesay.errors import SeesayError
    from seesay.inference.answer import Answer

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATHS",
        help=say(
            "Pictures, or folders with pictures in them; - reads one from stdin.",
            "图片，或者含有图片的文件夹；- 表示从标准输入读取一张图片。",
        ),
    ),
]
Language = Annotated[
    Literal["en", "zh"] | None,
    typer.Option(
        help=say(
            "Language of the captions; by default that of this help.",
            "图片说明的语言；默认与本帮助的语言相同。",
        )
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        help=say(
            "What the model is told, in place of a request for one sentence.",
            "给模型的指令，代替“用一句话描述”。",
        )
    ),
]
Csv = Annotated[
    Path | None, typer.Option("--csv", help=say("Write a CSV file too.", "另存为 CSV 文件。"))
]


@with_answering(max_tokens=100)
def caption(
    paths: Paths,
    language: Language = None,
    prompt: Prompt = None,
    csv: Csv = None,
    *,
    answering: Answering,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import collect_images, read_pictures
    from seesay.cli.output import (
        fail_unless_whole,
        localized,
        print_json,
        warn_of_limits,
    )
    from seesay.data.files import check_folder, write_text
    from seesay.inference.answer import Answer
    from seesay.inference.answering import write_captions
    from seesay.text import printable, to_unicode

    if csv is not None:
        check_folder(csv)
    _check_prompt(prompt)
    config = answering.config()
    files, failures = collect_images(paths)
    sources = [str(file) for file in files]
    assistant = answering.load(len(files))
    written = write_captions(
        assistant,
        read_pictures(sources),
        prompt=prompt,
        language=language or spoken_language(),
        config=config,
    )
    captions: list[tuple[str, str]] = []
    unfamiliar: list[bool] = []
    with _counted(written, len(files), shown=json or not sys.stdout.isatty()) as counted:
        for source, one in zip(sources, counted, strict=True):
            if not isinstance(one, Answer):
                failures.append((source, localized(one.text)))
                continue
            captions.append((source, " ".join(to_unicode(one.text).split())))
            unfamiliar.append(one.unfamiliar)
            if not json:
                print(f"{printable(source)}: {printable(captions[-1][1])}", flush=True)
                warn_of_limits(one, config.max_tokens)
    if csv is not None:
        write_text(csv, _to_csv(captions, failures))
    if json:
        images = [
            {"source": source, "caption": text, "unfamiliar": unlike}
            for (source, text), unlike in zip(captions, unfamiliar, strict=True)
        ]
        failed = [{"source": source, "error": error} for source, error in failures]
        print_json({"model": assistant.name, "images": images, "failures": failed})
    fail_unless_whole(failures, len(captions) + len(failures), listed=json)


def _check_prompt(prompt: str | None) -> None:
    from seesay.errors import ConfigError
    from seesay.text import Text

    if prompt is not None and not prompt.strip():
        raise ConfigError(
            Text(
                "--prompt is empty; expected what to tell the model. Write it in quotes, or leave "
                "it out to ask for one sentence",
                "--prompt 是空的；应为给模型的指令；请加引号写上，或去掉它，默认要求用一句话描述",
            )
        )


@contextmanager
def _counted(
    written: "Iterator[Answer | SeesayError]", total: int, *, shown: bool
) -> "Iterator[Iterator[Answer | SeesayError]]":
    """The same, with a bar on stderr where no lines on the same screen say how far it is."""
    from contextlib import nullcontext

    from seesay.cli.output import progress
    from seesay.errors import SeesayError

    bar: Any = progress(say("pictures", "图片")) if shown else nullcontext(lambda *_: None)
    with bar as report:

        def counted() -> "Iterator[Answer | SeesayError]":
            failed = 0
            for done, one in enumerate(written, 1):
                failed += isinstance(one, SeesayError)
                report(done, total, failed)
                yield one

        yield counted()


def _to_csv(captions: Sequence[tuple[str, str]], failures: Sequence[tuple[str, str]]) -> str:
    import io

    from seesay.data.tables import write_csv

    stream = io.StringIO()
    rows = [[source, text, ""] for source, text in captions]
    rows += [[source, "", error] for source, error in failures]
    write_csv(stream, [["source", "caption", "error"], *rows])
    return stream.getvalue()

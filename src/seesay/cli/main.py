"""The `seesay` command. Each command imports what it needs when it runs, so --help is instant."""

import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from seesay import __version__
from seesay.cli.classify import classify
from seesay.cli.collections.verbs import add_verbs
from seesay.cli.embed import embed
from seesay.cli.help import Command, Commands
from seesay.cli.interpolate import interpolate
from seesay.cli.messages import language, say
from seesay.cli.models import app as models
from seesay.cli.output import one_line, warn
from seesay.cli.probe import probe
from seesay.cli.serve.command import serve
from seesay.cli.serve.mcp import mcp
from seesay.cli.sweep import sweep
from seesay.cli.train import train
from seesay.cli.translating.chinese import in_chinese
from seesay.cli.translating.usage import wrong_use
from seesay.errors import SeesayError, UnknownModelError

NOT_ALL_DONE, WRONG_USE, STOPPED = 1, 2, 130


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=say(
        "Chinese and English vision-language models on your own machine.",
        "在自己的机器上运行的中英双语视觉语言模型。",
    ),
    epilog=say("中文说明：SEESAY_LANG=zh seesay --help", "English: SEESAY_LANG=en seesay --help"),
)
add_verbs(app)
app.command(
    "serve",
    cls=Command,
    help=say(
        "Serve collections: a page for people, an API for programs, MCP for assistants.",
        "提供资料库服务：给人用的网页、给程序用的 API、给智能助手用的 MCP。",
    ),
)(serve)
app.command(
    "mcp",
    cls=Command,
    help=say(
        "Give an assistant tools to search, show and describe, over stdin and stdout.",
        "通过标准输入输出，让智能助手调用查找、查看、说明等工具。",
    ),
)(mcp)
app.command(
    "embed",
    cls=Command,
    help=say("Turn pictures and texts into vectors.", "把图片和文字变成向量。"),
)(embed)
app.command(
    "classify",
    cls=Command,
    help=say(
        "Say which of your labels fits each picture, or that none does.",
        "说出每张图片最符合你给的哪个类别，或者都不符合。",
    ),
)(classify)
app.add_typer(models, name="models")
app.command(
    "train",
    cls=Command,
    help=say("Train a model from a recipe.", "按照配方训练模型。"),
)(train)
app.command(
    "sweep",
    cls=Command,
    help=say(
        "Train with some settings varied, and compare the runs in one report.",
        "改变若干设置分别训练，并在一份报告中对比结果。",
    ),
)(sweep)

app.command(
    "interpolate",
    cls=Command,
    help=say(
        "Find the model between one and what it became by training further.",
        "在微调前后的两个模型之间插值，得到一个新模型。",
    ),
)(interpolate)
app.command(
    "probe",
    cls=Command,
    help=say(
        "Fit a linear classifier to a model's frozen vectors, measure it, and use it.",
        "在冻结的图片向量上训练线性分类器，测量并使用它。",
    ),
)(probe)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"seesay {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help=say("Print the version.", "显示版本。"),
        ),
    ] = False,
) -> None:
    """Holds what stands before the command."""


def main() -> None:
    """Run the command line and leave with 0 (fine), 1 (some inputs failed), 2 (wrong use or an
    error, in one line on stderr) or 130 (stopped by Ctrl-C)."""
    code = run(sys.argv[1:])
    if code == STOPPED:
        # Everything is tidied up by now; a usual exit would still wait for pictures being read.
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command in this process and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid UTF-8
    arguments = list(arguments) or ["--help"]
    try:
        code = app(arguments, prog_name="seesay", standalone_mode=False)
    except (SeesayError, typer.TyperException) as error:
        _report(error, as_json="--json" in arguments)
        # A model that is not there is an input that is not there, like a missing picture.
        return NOT_ALL_DONE if isinstance(error, UnknownModelError) else WRONG_USE
    if code == STOPPED:  # what Typer makes of Ctrl-C
        warn(say("stopped", "已停止"))
    return code if isinstance(code, int) else 0


def _report(error: SeesayError | typer.TyperException, *, as_json: bool) -> None:
    """One line on stderr, or one JSON object there."""
    text, kind = str(error), type(error).__name__
    if isinstance(error, SeesayError):
        text = in_chinese(error.text.in_language(language()))
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        see = f"{context.command_path} --help" if context else "seesay --help"
        text = f"{wrong_use(error.format_message())}{say('; see', '；参见')} {see}"
        kind = "UsageError"
    if as_json:
        message = {"error": {"type": kind, "message": text}}
        print(json.dumps(message, ensure_ascii=False), file=sys.stderr)
    else:
        warn(one_line(text))

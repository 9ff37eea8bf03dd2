"""The `seesay` command. Each command imports what it needs when it runs, so --help is instant."""

import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from seesay import __version__
from seesay.cli.ask import ask
from seesay.cli.capfilt import capfilt
from seesay.cli.caption import caption
from seesay.cli.chat import chat
from seesay.cli.classify import classify
from seesay.cli.compare import compare
from seesay.cli.convert import convert_data
from seesay.cli.data import app as data
from seesay.cli.duplicates import duplicates
from seesay.cli.embed import embed
from seesay.cli.errors import errors
from seesay.cli.evaluate import evaluate
from seesay.cli.export import export
from seesay.cli.help import Command, Commands, wrong_use
from seesay.cli.index import index, watch
from seesay.cli.interpolate import interpolate
from seesay.cli.leaderboard import leaderboard
from seesay.cli.models import app as models
from seesay.cli.output import localized, one_line, say, warn
from seesay.cli.probe import probe
from seesay.cli.rebuild import rebuild
from seesay.cli.search import search, similar
from seesay.cli.serve import mcp, serve
from seesay.cli.stats import stats
from seesay.cli.sweep import sweep
from seesay.cli.tags import tags
from seesay.cli.tokens import tokens
from seesay.cli.train import train
from seesay.cli.verify import verify
from seesay.errors import SeesayError, UnknownModelError

NOT_ALL_DONE, WRONG_USE, STOPPED = 1, 2, 130


# In the order in which users need them.
COLLECTION_COMMANDS: tuple[tuple[Callable[..., Any], str], ...] = (
    (
        index,
        say(
            "Take pictures and texts into a collection, or bring it up to date.",
            "把图片和文字收进资料库，或更新资料库。",
        ),
    ),
    (search, say("Find by words, by pictures, or by both.", "用文字、图片或二者一起查找。")),
    (similar, say("Find what looks or reads like a file.", "查找与某个文件相似的内容。")),
    (duplicates, say("Find files that show the same.", "查找重复或几乎相同的图片。")),
    (
        tags,
        say(
            "Tag pictures with your words, without training.", "用你给的词给图片加标签，无需训练。"
        ),
    ),
    (watch, say("Keep a collection up to date while files change.", "文件一有变化就更新资料库。")),
    (errors, say("List files that could not be read, and why.", "列出无法读取的文件及原因。")),
    (stats, say("Say what a collection holds.", "显示资料库里有什么。")),
    (export, say("Write vectors and metadata to a file.", "把向量和元数据导出到文件。")),
    (verify, say("Check a collection for damage.", "检查资料库是否损坏。")),
    (
        rebuild,
        say("Build the indexes again; nothing is embedded again.", "重建索引，无需重新计算向量。"),
    ),
    (
        serve,
        say(
            "Serve collections: a page for people, an API for programs, MCP for assistants.",
            "提供资料库服务：给人用的网页、给程序用的 API、给智能助手用的 MCP。",
        ),
    ),
    (
        mcp,
        say(
            "Give an assistant tools to search, show and describe, over stdin and stdout.",
            "通过标准输入输出，让智能助手调用查找、查看、说明等工具。",
        ),
    ),
    (embed, say("Turn pictures and texts into vectors.", "把图片和文字变成向量。")),
    (
        classify,
        say(
            "Say which of your labels fits each picture, or that none does.",
            "说出每张图片最符合你给的哪个类别，或者都不符合。",
        ),
    ),
)
ASSISTANT_COMMANDS: tuple[tuple[Callable[..., Any], str], ...] = (
    (
        ask,
        say(
            "Ask a vision-language model about pictures or a video.",
            "就图片或视频向视觉语言模型提问。",
        ),
    ),
    (caption, say("Describe each picture in a line.", "给每张图片写一行说明。")),
    (
        chat,
        say(
            "Talk about pictures, or question a collection, turn by turn.",
            "围绕图片多轮对话，或连续向资料库提问。",
        ),
    ),
    (
        tokens,
        say(
            "Say how many tokens pictures, documents and videos cost, before anything runs.",
            "事先算出图片、文档和视频要用多少词元。",
        ),
    ),
)
MODEL_COMMANDS: tuple[tuple[Callable[..., Any], str], ...] = (
    (
        capfilt,
        say(
            "Keep the captions that fit their pictures, and have others written.",
            "保留与图片相符的描述，也可让模型另写一些。",
        ),
    ),
    (train, say("Train a model from a recipe.", "按照配方训练模型。")),
    (
        sweep,
        say(
            "Train with some settings varied, and compare the runs in one report.",
            "改变若干设置分别训练，并在一份报告中对比结果。",
        ),
    ),
    (
        compare,
        say(
            "Compare the choices of a part by the same small training, over several seeds.",
            "用相同的小规模训练和多个随机种子，对比一个部件的各种选项。",
        ),
    ),
    (
        interpolate,
        say(
            "Find the model between one and what it became by training further.",
            "在微调前后的两个模型之间插值，得到一个新模型。",
        ),
    ),
    (
        evaluate,
        say(
            "Measure a model by a suite of tasks, with named scorers.",
            "用一套任务和具名评分器评测模型。",
        ),
    ),
    (
        leaderboard,
        say(
            "Compare finished runs of a suite in a table: models by tasks.",
            "把同一套件的多次评测汇总成表：模型 × 任务。",
        ),
    ),
    (
        probe,
        say(
            "Fit a linear classifier to a model's frozen vectors, measure it, and use it.",
            "在冻结的图片向量上训练线性分类器，测量并使用它。",
        ),
    ),
)

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


def _add(commands: tuple[tuple[Callable[..., Any], str], ...]) -> None:
    for function, meaning in commands:
        app.command(function.__name__, cls=Command, help=meaning)(function)


_add(COLLECTION_COMMANDS)
_add(ASSISTANT_COMMANDS)
app.add_typer(models, name="models")
data.command(
    "convert",
    cls=Command,
    help=say(
        "Convert samples between the formats of seesay, LLaVA, ms-swift and LLaMA-Factory, and "
        "check them.",
        "在 seesay、LLaVA、ms-swift 和 LLaMA-Factory 的格式之间转换样本，并检查。",
    ),
)(convert_data)
app.add_typer(data, name="data")
_add(MODEL_COMMANDS)


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
    """Holds the options before the command."""


def main() -> None:
    """Run the command line and leave with 0 (fine), 1 (some inputs failed), 2 (wrong use or an
    error, in one line on stderr) or 130 (stopped by Ctrl-C)."""
    brief = sys.argv[1:2] in (["search"], ["ask"])
    if brief:
        gc.disable()  # it would scan everything imported and free nothing: 0.05 s
    code = run(sys.argv[1:])
    # All cleanup is done. A normal exit would still wait for pictures being read, and unload the
    # modules one by one, which takes a sixth of the time of a search.
    if code == STOPPED or brief:
        with suppress(OSError):  # a usual exit reports it
            sys.stdout.flush()
            sys.stderr.flush()
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
        # A missing model is a missing input, like a missing picture.
        return NOT_ALL_DONE if isinstance(error, UnknownModelError) else WRONG_USE
    if code == STOPPED:  # what Typer makes of Ctrl-C
        warn(say("stopped", "已停止"))
    return code if isinstance(code, int) else 0


def _report(error: SeesayError | typer.TyperException, *, as_json: bool) -> None:
    """One line on stderr, or one JSON object there."""
    text, kind = str(error), type(error).__name__
    if isinstance(error, SeesayError):
        text = localized(error.text)
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

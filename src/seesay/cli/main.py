"""The `seesay` command. Each command imports what it needs when it runs, so --help is instant."""

import difflib
import json
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seesay import __version__
from seesay.cli.classify import classify
from seesay.cli.embed import embed
from seesay.cli.messages import language, say
from seesay.cli.output import one_line, warn
from seesay.errors import ConfigError, SeesayError

WRONG_USE, STOPPED = 2, 130


class Commands(TyperGroup):
    """Answers an unknown command with the nearest name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise ConfigError(_unknown(args[0], list(self.commands)))
        return super().resolve_command(ctx, args)


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
app.command(
    "embed",
    help=say("Turn pictures and texts into vectors.", "把图片和文字变成向量。"),
)(embed)
app.command(
    "classify",
    help=say(
        "Say which of your labels fits each picture, or that none does.",
        "说出每张图片最符合你给的哪个类别，或者都不符合。",
    ),
)(classify)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help=say("Print the version.", "显示版本。"))
    ] = False,
) -> None:
    if version:
        print(f"seesay {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line and leave with 0 (fine), 1 (some inputs failed), 2 (wrong use or an
    error, in one line on stderr) or 130 (stopped by Ctrl-C)."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid UTF-8
    if language() == "zh" and (not arguments or {"-h", "--help"} & set(arguments)):
        _chinese_headings()
    try:
        code = app(list(arguments), prog_name="seesay", standalone_mode=False)
    except (SeesayError, typer.TyperException) as error:
        _report(error, as_json="--json" in arguments)
        return WRONG_USE
    except KeyboardInterrupt:
        code = STOPPED
    if code == STOPPED:
        warn(say("stopped", "已停止"))
    return code if isinstance(code, int) else 0


def _report(error: SeesayError | typer.TyperException, *, as_json: bool) -> None:
    """One line on stderr, or one JSON object there."""
    text, kind = str(error), type(error).__name__
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        see = f"{context.command_path} --help" if context else "seesay --help"
        text = f"{error.format_message().rstrip('.')}; {say('see', '参见')} {see}"
        kind = "UsageError"
    if as_json:
        message = {"error": {"type": kind, "message": text}}
        print(json.dumps(message, ensure_ascii=False), file=sys.stderr)
    else:
        warn(one_line(text))


def _unknown(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    known = ", ".join(names)
    if near:
        return say(
            f"there is no command {name!r}; did you mean {near[0]!r}? The commands are: {known}",
            f"没有命令 {name!r}；是不是想用 {near[0]!r}？可用的命令：{known}",
        )
    return say(
        f"there is no command {name!r}; expected one of: {known}; see seesay --help",
        f"没有命令 {name!r}；可用的命令：{known}；参见 seesay --help",
    )


def _chinese_headings() -> None:
    """Typer's own words in the help pages."""
    from typer import rich_utils

    rich_utils.ARGUMENTS_PANEL_TITLE = "参数"
    rich_utils.OPTIONS_PANEL_TITLE = "选项"
    rich_utils.COMMANDS_PANEL_TITLE = "命令"
    rich_utils.DEFAULT_STRING = "[默认：{}]"
    rich_utils.REQUIRED_LONG_STRING = "[必填]"

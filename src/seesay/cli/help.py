"""Help pages and unknown commands, in the user's language.

The pages are laid out here because Typer's own need rich, which doubles the time of --help, and
break lines at spaces only, of which Chinese has none.
"""

import difflib
import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand, TyperGroup

from seesay.cli.output import language, say, wrap
from seesay.errors import ConfigError
from seesay.text import Text

WIDEST = 100  # columns; longer lines are hard to read
NAMES = 30  # columns for names; a longer one has its explanation below
_MINUS_WORD = re.compile(r"-(?:[^\W\d_]{3,}|[^\W\d_a-zA-Z]+)")

Row = tuple[str, str]


class _Page:
    """Show the help of a command; Typer calls this."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.help = say("Show this page.", "显示本页。")
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        width = min(shutil.get_terminal_size().columns, WIDEST)
        formatter.write("\n".join(_page(self, ctx, width)))


class Command(_Page, TyperCommand):
    """Base class of every command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(parameter.name == "query" for parameter in self.params):
            _refuse_bare_minus(args)
        return super().parse_args(ctx, args)


class Commands(_Page, TyperGroup):
    """A group of them; answers an unknown one with the nearest name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise ConfigError(_unknown(args[0], list(self.commands)))
        return super().resolve_command(ctx, args)


def _refuse_bare_minus(args: Sequence[str]) -> None:
    """`search beach -people` without quotes would be read as the options -p, -e, -o ..."""
    end = args.index("--") if "--" in args else len(args)
    for before, word in pairwise(["", *args[:end]]):
        if _MINUS_WORD.fullmatch(word) and word != "-help" and not before.startswith("-"):
            raise ConfigError(
                Text(
                    f"{word} reads as an option; expected a query in quotes; write "
                    f"'beach {word}', or beach --not {word[1:]}",
                    f"{word} 会被当作选项；带减号的查询要加引号：写成 '海滩 {word}'，"
                    f"或者用 --not {word[1:]}",
                )
            )


def _page(command: Any, ctx: Any, width: int) -> Iterator[str]:
    parameters = [p for p in command.get_params(ctx) if not getattr(p, "hidden", False)]
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    options = [p for p in parameters if p.param_type_name == "option"]
    commands = [c for c in getattr(command, "commands", {}).values() if not c.hidden]
    usage = [ctx.command_path, *map(_argument_name, arguments)]
    if commands:
        usage.append(say("COMMAND", "命令"))
    yield f"{say('Usage: ', '用法：')}{' '.join(usage)} [{say('OPTIONS', '选项')}]"
    yield ""
    yield from wrap(command.help or "", width)
    sections = (
        (say("Commands", "命令"), [(c.name, c.help or "") for c in commands]),
        (say("Arguments", "参数"), [(_argument_name(a), a.help or "") for a in arguments]),
        (say("Options", "选项"), [(_option_name(o, ctx), _meaning(o)) for o in options]),
    )
    names = min(NAMES, max(len(name) for _, rows in sections for name, _ in rows))
    for title, rows in sections:
        if rows:
            yield from ("", f"{title}{say(':', '：')}")
            for row in rows:
                yield from _columns(row, names, width)
    if command.epilog:
        yield from ("", command.epilog)


def _argument_name(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option_name(option: Any, ctx: Any) -> str:
    """-m, --model <str>; the type of one value, where several may be given."""
    record: Row = option.get_help_record(ctx)
    return re.sub(r"<list\[(.*)\]>", r"<\1>", record[0]).replace(" range>", ">")


def _meaning(option: Any) -> str:
    default = option.default
    if default is None or default is False or default == "" or callable(default):
        return option.help or ""
    shown = say("yes", "是") if default is True else default
    return f"{option.help or ''} {say(f'[default: {shown}]', f'[默认：{shown}]')}"


def _columns(row: Row, names: int, width: int) -> Iterator[str]:
    name, meaning = row
    lines = wrap(meaning, width - names - 4) or [""]
    if len(name) > names:
        yield f"  {name}"
        name = ""
    yield f"  {name.ljust(names)}  {lines[0]}".rstrip()
    yield from (" " * (names + 4) + line for line in lines[1:])


def _unknown(name: str, names: Sequence[str]) -> Text:
    near = difflib.get_close_matches(name, names, n=1)
    known = ", ".join(names)
    if near:
        return Text(
            f"there is no command {name!r}; did you mean {near[0]!r}? The commands are: {known}",
            f"没有命令 {name!r}；是不是想用 {near[0]!r}？可用的命令：{known}",
        )
    return Text(
        f"there is no command {name!r}; expected one of: {known}; see seesay --help",
        f"没有命令 {name!r}；可用的命令：{known}；参见 seesay --help",
    )


# Typer's messages -> the same in Chinese; a name in quotation marks stays.
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
    """Typer's message in the language of the command line, without the full stop."""
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

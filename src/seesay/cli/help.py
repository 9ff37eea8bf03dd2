"""Help pages and unknown commands, in the user's language."""

import difflib
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from seesay.cli.messages import language, say
from seesay.errors import ConfigError


class _HelpOption:
    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.help = say("Show this page.", "显示本页。")
        return option


class Command(_HelpOption, TyperCommand):
    """What every command is made of."""


class Commands(_HelpOption, TyperGroup):
    """A group of them; answers an unknown one with the nearest name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise ConfigError(_unknown(args[0], list(self.commands)))
        return super().resolve_command(ctx, args)


def prepare_help() -> None:
    """Make Typer's help pages fit for Chinese. Costs an import of rich: only before showing one."""
    from rich.text import Text
    from typer import rich_utils

    class Folding(rich_utils.OptionHighlighter):
        """Chinese has no spaces to break at: without folding rich cuts a line off with an …"""

        def __call__(self, text: str | Text) -> Text:
            highlighted = super().__call__(text)
            highlighted.overflow = "fold"
            return highlighted

    rich_utils.highlighter = Folding()
    if language() == "zh":
        rich_utils.ARGUMENTS_PANEL_TITLE = "参数"
        rich_utils.OPTIONS_PANEL_TITLE = "选项"
        rich_utils.COMMANDS_PANEL_TITLE = "命令"
        rich_utils.DEFAULT_STRING = "[默认：{}]"
        rich_utils.REQUIRED_LONG_STRING = "[必填]"


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

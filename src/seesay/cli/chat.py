"""`seesay chat`: a conversation about pictures or with a collection, typed or from a pipe."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import typer

from seesay.cli.ask import Inquiry, Mode, inquiry, print_cited, refuse_with_pictures
from seesay.cli.options import Answering, Collection, Where, with_answering
from seesay.cli.output import localized, print_pieces, say, warn, warn_of_limits
from seesay.errors import ConfigError, DataError, ImageError, SeesayError
from seesay.text import Text, printable

if TYPE_CHECKING:
    from seesay.inference.answer import Assistant as AnyAssistant
    from seesay.inference.answering import AnswerConfig

Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURES",
        help=say(
            "Pictures, folders with pictures in them, or a video, for the first question. Give "
            "none with --collection, which asks the collection instead.",
            "第一个问题要用的图片、含有图片的文件夹或视频。配合 --collection 时不给图片，"
            "改为向资料库提问。",
        ),
    ),
]
System = Annotated[
    str,
    typer.Option(help=say("System message for the model.", "给模型的系统消息。")),
]


_CLEARED = Text("started a new conversation", "已开始新对话")
_ADDED = Text("added; ask about it now", "已添加；现在可以提问")


@with_answering()
def chat(
    pictures: Pictures = None,
    system: System = "",
    mode: Mode = None,
    collection: Collection = None,
    where: Where = None,
    *,
    answering: Answering,
) -> None:
    if collection is not None or mode is not None or where:
        if pictures:
            refuse_with_pictures(mode=mode, collection=collection, where=where)
        _refuse_system(system)
        with inquiry(mode, collection, where or [], answering) as inquiring:
            _converse(_Questions(inquiring))
        return
    config = answering.config()
    talk = _Session(answering.load(len(pictures or ())), config, system)
    for picture in pictures or ():
        talk.add(picture)
    _converse(talk)


@dataclass(frozen=True)
class _Command:
    """What a line that begins with / does."""

    run: Callable[[str], None]
    """Takes the rest of the line."""
    done: Text
    """What is said afterwards to somebody who types."""
    takes_path: bool = False


@runtime_checkable
class _Talk(Protocol):
    """A conversation, and its commands beside /help and /quit."""

    help: Text
    commands: Mapping[str, _Command]

    def ask(self, question: str) -> None:
        """Prints the answer. Raises SeesayError."""


def _converse(talk: _Talk) -> None:
    """Takes lines until the end of input or /quit."""
    typed = sys.stdin.isatty()
    if typed:
        print(localized(talk.help), file=sys.stderr)
    failed = False
    for line in _lines(typed=typed):
        if line == "/quit":
            break
        try:
            _take(talk, line, typed=typed)
        except SeesayError as error:
            warn(localized(error.text))
            failed = True
    if failed and not typed:
        raise typer.Exit(1)


def _take(talk: _Talk, line: str, *, typed: bool) -> None:
    """Answers a question, or does what a command says. Raises SeesayError."""
    name, _, rest = line.partition(" ")
    command = talk.commands.get(name)
    if not line:
        return
    if not line.startswith("/"):
        try:
            talk.ask(line)
        except KeyboardInterrupt:  # stops this answer and drops it
            if not typed:
                raise
            warn(say("stopped; ask again, or type /quit", "已停止；可重新提问，或用 /quit 退出"))
    elif name == "/help" or (command and command.takes_path and not rest.strip()):
        warn(localized(talk.help))
    elif command is None:
        raise _unknown(name, talk.help)
    else:
        command.run(rest)
        if typed:
            warn(localized(command.done))


def _refuse_system(system: str) -> None:
    if system:
        raise ConfigError(
            Text(
                "--system is for a conversation about pictures, but this one is with a collection; "
                "expected one or the other; leave one out",
                "--system 用于围绕图片的对话，而这里是向资料库提问；两者只应有其一；请去掉一个",
            )
        )


def _unknown(command: str, commands: Text) -> ConfigError:
    return ConfigError(
        Text(
            f"there is no command {command[:40]}; expected one of these: {commands.en}",
            f"没有命令 {command[:40]}；应为以下之一：{commands.zh}",
        )
    )


class _Questions:
    """The conversation with a collection."""

    help = Text("/clear starts over, /quit exits", "/clear 重新开始，/quit 退出")

    def __init__(self, inquiring: Inquiry) -> None:
        self._inquiring = inquiring
        self.commands: Mapping[str, _Command] = {
            "/clear": _Command(lambda _: inquiring.history.clear(), _CLEARED)
        }

    def ask(self, question: str) -> None:
        answer = self._inquiring.ask(question)
        if answer.understood != question:
            print(printable(answer.understood))
        print_cited(answer)


class _Session:
    """The conversation about pictures, and those to send with the next question."""

    help = Text(
        "/image PATH adds a picture or video to the next question, /clear starts over, /quit exits",
        "/image 路径 为下一个问题添加图片或视频，/clear 重新开始，/quit 退出",
    )

    def __init__(self, assistant: "AnyAssistant", config: "AnswerConfig", system: str) -> None:
        from seesay.inference.answering import configured

        self._assistant = configured(assistant, config)
        self._config, self._system = config, system
        self.commands: Mapping[str, _Command] = {
            "/image": _Command(lambda path: self.add(_path(path)), _ADDED, takes_path=True),
            "/clear": _Command(lambda _: self.clear(), _CLEARED),
        }
        self.clear()

    def clear(self) -> None:
        from seesay.inference.answer import Conversation

        self._conversation = Conversation(self._assistant, system=self._system)
        self._waiting: list[str] = []

    def add(self, path: str) -> None:
        """Adds a picture, the pictures of a folder, or a video to the next question. Raises
        ImageError or DataError if it cannot be read."""
        from seesay.data.images import list_images, open_image
        from seesay.data.video import Video, is_video

        inside = [str(file) for file in list_images(Path(path))] if Path(path).is_dir() else []
        for one in inside or [path]:
            if is_video(one):
                with Video(one):
                    pass
            else:
                open_image(one)
        self._waiting += inside or [path]

    def ask(self, question: str) -> None:
        max_tokens, temperature = self._config.max_tokens, self._config.temperature
        stream = self._conversation.stream(
            question, self._waiting or None, max_tokens=max_tokens, temperature=temperature
        )
        try:
            answer = print_pieces(stream)
        except (DataError, ImageError):  # with the same pictures the next one would fail too
            self._drop_pictures()
            raise
        self._waiting = []
        warn_of_limits(answer, max_tokens)

    def _drop_pictures(self) -> None:
        names = ", ".join(self._waiting)
        self._waiting = []
        if names:
            warn(
                say(
                    f"left out of the conversation: {names}; /image PATH adds them again",
                    f"以下图片没有加入对话：{names}；可用 /image 路径 重新添加",
                )
            )


def _path(typed: str) -> str:
    """A path as it is typed, or dragged into a terminal, which may put it in quotes."""
    path = typed.strip()
    quoted = len(path) > 2 and path[0] == path[-1] and path[0] in "'\""
    return os.path.expanduser(path[1:-1] if quoted else path)


def _lines(*, typed: bool) -> Iterator[str]:
    """Yields lines typed with line editing, or piped, until the end of input."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if not typed:
        yield from map(str.strip, sys.stdin)
        return
    with suppress(ImportError):  # some Pythons lack it
        import readline  # noqa: F401  # for arrow keys and history
    with suppress(EOFError):
        while True:
            try:
                line = input("> ")
            except KeyboardInterrupt:
                print()  # what ends the talk does not stand behind the prompt
                raise
            yield line.strip()
    print()

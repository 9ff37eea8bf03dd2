"""`seesay chat`: a conversation about pictures or with a collection, typed or from a pipe."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


_COMMANDS = Text(
    "/image PATH adds a picture or video to the next question, /clear starts over, /quit ends",
    "/image 路径 为下一个问题添加图片或视频，/clear 重新开始，/quit 退出",
)
_FEW_COMMANDS = Text("/clear starts over, /quit ends", "/clear 重新开始，/quit 退出")


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
            _converse(_Questions(inquiring).take, _FEW_COMMANDS)
        return
    config = answering.config()
    talk = _Session(answering.load(len(pictures or ())), config, system)
    for picture in pictures or ():
        talk.add(picture)
    _converse(talk.take, _COMMANDS)


def _converse(take: Callable[..., None], commands: Text) -> None:
    """Hands each line to `take`, until the end of input or /quit."""
    typed = sys.stdin.isatty()
    if typed:
        print(localized(commands), file=sys.stderr)
    failed = False
    for line in _lines(typed=typed):
        if line == "/quit":
            break
        try:
            take(line, typed=typed)
        except SeesayError as error:
            warn(localized(error.text))
            failed = True
    if failed and not typed:
        raise typer.Exit(1)


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

    def __init__(self, inquiring: Inquiry) -> None:
        self._inquiring = inquiring

    def take(self, line: str, *, typed: bool) -> None:
        """Handles a line of input. Raises SeesayError."""
        command = line.partition(" ")[0]
        if command == "/clear":
            self._inquiring.history.clear()
            if typed:
                warn(say("a new conversation begins", "已开始新对话"))
        elif command == "/help":
            warn(localized(_FEW_COMMANDS))
        elif command.startswith("/"):
            raise _unknown(command, _FEW_COMMANDS)
        elif line:
            self._ask(line, typed=typed)

    def _ask(self, question: str, *, typed: bool) -> None:
        try:
            answer = self._inquiring.ask(question)
        except KeyboardInterrupt:  # stops this answer and drops it
            if not typed:
                raise
            warn(_stopped())
            return
        if answer.understood != question:
            print(printable(answer.understood))
        print_cited(answer)


class _Session:
    """The conversation, and pictures to send with the next question."""

    def __init__(self, assistant: "AnyAssistant", config: "AnswerConfig", system: str) -> None:
        from seesay.inference.answering import configured

        self._assistant = configured(assistant, config)
        self._config, self._system = config, system
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

    def take(self, line: str, *, typed: bool) -> None:
        """Handles a line of input. Raises SeesayError."""
        command, _, rest = line.partition(" ")
        if command == "/image" and rest.strip():
            self.add(_path(rest))
            if typed:
                warn(say("added; now ask about it", "已添加；现在可以提问"))
        elif command == "/clear":
            self.clear()
            if typed:
                warn(say("a new conversation begins", "已开始新对话"))
        elif command in ("/help", "/image"):
            warn(localized(_COMMANDS))
        elif command.startswith("/"):
            raise _unknown(command, _COMMANDS)
        elif line:
            self._ask(line, typed=typed)

    def _ask(self, question: str, *, typed: bool) -> None:
        max_tokens, temperature = self._config.max_tokens, self._config.temperature
        stream = self._conversation.stream(
            question, self._waiting or None, max_tokens=max_tokens, temperature=temperature
        )
        try:
            answer = print_pieces(stream)
        except (DataError, ImageError):  # with the same pictures the next one would fail too
            self._drop_pictures()
            raise
        except KeyboardInterrupt:  # stops this answer and drops it
            if not typed:
                raise
            warn(_stopped())
            return
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


def _stopped() -> str:
    return say("stopped; ask again, or /quit", "已停止；可重新提问，或用 /quit 退出")


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

"""`seesay chat`: a conversation, typed or from a pipe."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Answering, with_answering
from seesay.cli.output import localized, print_pieces, say, warn, warn_if_cut
from seesay.errors import SeesayError

if TYPE_CHECKING:
    from seesay.inference.answer import Assistant as AnyAssistant
    from seesay.inference.answering import AnswerConfig

Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURES",
        help=say("Pictures or a video for the first question.", "第一个问题要用的图片或视频。"),
    ),
]
System = Annotated[
    str,
    typer.Option(help=say("System message for the model.", "给模型的系统消息。")),
]


@with_answering()
def chat(
    pictures: Pictures = None,
    system: System = "",
    *,
    answering: Answering,
) -> None:
    config = answering.config()
    talk = _Session(answering.load(), config, system)
    for picture in pictures or ():
        talk.add(picture)
    typed = sys.stdin.isatty()
    if typed:
        print(_commands(), file=sys.stderr)
    failed = False
    for line in _lines(typed=typed):
        if line == "/quit":
            break
        try:
            talk.take(line, typed=typed)
        except SeesayError as error:
            warn(localized(error.text))
            failed = True
    if failed and not typed:
        raise typer.Exit(1)


class _Session:
    """The conversation, and pictures to send with the next question."""

    def __init__(self, assistant: "AnyAssistant", config: "AnswerConfig", system: str) -> None:
        from seesay.inference.answering import configured

        self._assistant = configured(assistant, config)
        self._config, self._system = config, system
        self.clear()

    def clear(self) -> None:
        from seesay.inference.assistant import Conversation

        self._conversation = Conversation(self._assistant, system=self._system)
        self._waiting: list[str] = []

    def add(self, path: str) -> None:
        """Adds a picture or video to the next question. Raises ImageError or DataError if it cannot
        be read."""
        from seesay.data.images import open_image
        from seesay.data.video import Video, is_video

        if is_video(path):
            with Video(path):
                pass
        else:
            open_image(path)
        self._waiting.append(path)

    def take(self, line: str, *, typed: bool) -> None:
        """Handles a line of input. Raises SeesayError."""
        command, _, rest = line.partition(" ")
        if command == "/image" and rest.strip():
            self.add(rest.strip())
        elif command == "/clear":
            self.clear()
        elif command.startswith("/"):
            warn(_commands())
        elif line:
            self._ask(line, typed=typed)

    def _ask(self, question: str, *, typed: bool) -> None:
        max_tokens, temperature = self._config.max_tokens, self._config.temperature
        stream = self._conversation.stream(
            question, self._waiting or None, max_tokens=max_tokens, temperature=temperature
        )
        try:
            answer = print_pieces(stream)
        except KeyboardInterrupt:  # stops this answer and drops it
            if not typed:
                raise
            warn(say("stopped; ask again, or /quit", "已停止；可重新提问，或用 /quit 退出"))
            return
        self._waiting = []
        warn_if_cut(answer, max_tokens)


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
            yield input("> ").strip()
    print()


def _commands() -> str:
    return say(
        "/image PATH adds a picture or video to the next question, /clear starts over, /quit ends",
        "/image 路径 为下一个问题添加图片或视频，/clear 重新开始，/quit 退出",
    )

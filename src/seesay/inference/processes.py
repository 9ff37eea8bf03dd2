"""Further processes that answer questions beside the calling one.

with OtherProcesses(3, partial(open_assistant, "seesay-assistant")) as others:
    future = others.answer([("cat.jpg", "What is it?")], AnswerConfig())
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from threading import Thread

from seesay.errors import SeesayError
from seesay.inference.answer import Answer, Assistant, Images, Question
from seesay.inference.answering import AnswerConfig, answer_each

_AHEAD = 2  # batches that each process has, one of which waits


class OtherProcesses:
    """Further processes that answer, each with a model of its own. At an endpoint, where waiting is
    all that there is to do, there are none, but more requests at a time."""

    def __init__(self, processes: int, open_assistant: Callable[[], Assistant] | None) -> None:
        """`processes` counts the calling one too. `open_assistant` is called in each of the others;
        None: the model is at an endpoint."""
        self.requests = processes
        """At an endpoint, at a time."""
        self.broken = False
        """Whether a process ended that should not have; the calling one then does all."""
        self._most = 0 if open_assistant is None else _AHEAD * (processes - 1)
        self._given: set[Future[list[Answer | SeesayError]]] = set()
        self._pool: ProcessPoolExecutor | None = None
        if open_assistant is not None and processes > 1:
            self._pool = ProcessPoolExecutor(
                processes - 1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=partial(_begin, open_assistant, processes),
            )

    def answer(
        self, pairs: Sequence[tuple[Images, Question]], config: AnswerConfig
    ) -> Future[list[Answer | SeesayError]] | None:
        """Has a batch answered by another process; None if all of them are busy."""
        waiting = {future for future in self._given if not future.done()}
        if self._pool is None or len(waiting) >= self._most:
            return None
        try:
            future = self._pool.submit(_answer_batch, list(pairs), config)
        except BrokenProcessPool:
            return None
        future.add_done_callback(self._notice)
        self._given = waiting | {future}
        return future

    def _notice(self, future: Future[list[Answer | SeesayError]]) -> None:
        if not future.cancelled() and isinstance(future.exception(), BrokenProcessPool):
            self.broken = True

    def __enter__(self) -> "OtherProcesses":
        if self._pool is not None:
            _share_processor(self.requests)
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error[0] is None, cancel_futures=True)


_open: Callable[[], Assistant]
_processes: int
_assistant: Assistant | None = None


def _begin(open_assistant: Callable[[], Assistant], processes: int) -> None:
    """Prepares a process that answers."""
    global _open, _processes
    _open, _processes = open_assistant, processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too; the caller ends it
    Thread(target=_end_with_parent, daemon=True).start()


def _share_processor(processes: int) -> None:
    """Divides the threads of torch, if it is there: a model in numpy has one."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def _end_with_parent() -> None:
    """Otherwise a caller that is killed leaves processes behind that wait for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _answer_batch(
    pairs: list[tuple[Images, Question]], config: AnswerConfig
) -> list[Answer | SeesayError]:
    global _assistant
    if _assistant is None:
        _assistant = _open()
        _share_processor(_processes)
    return list(answer_each(_assistant, pairs, config))

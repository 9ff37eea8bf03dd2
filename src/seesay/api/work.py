"""Work off the event loop: a few threads, a queue with an end, and an end to waiting.

The event loop only takes requests and hands out answers, so that a client that sends or reads
slowly keeps nobody waiting; what computes does so in here.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from seesay.api.failures import RefusedError

Answer = TypeVar("Answer")


class Work:
    """Threads for one kind of work."""

    def __init__(self, name: str, *, threads: int, max_waiting: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, name, use_torch_threads, initargs=(1,))
        self._most = threads + max_waiting
        self._timeout_s = timeout_s
        self._threads = threads
        self._mutex = threading.Lock()
        self._inside = 0

    @property
    def waiting(self) -> int:
        """How many wait for a thread now."""
        return max(0, self._inside - self._threads)

    async def __call__(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        """Call a function in one of the threads. Raises RefusedError where too many wait, and where
        it takes too long: what has not begun by then never does."""
        if self._inside >= self._most:
            raise RefusedError(
                503,
                "Busy",
                f"{self._most} requests are being worked on or wait already; expected fewer; ask "
                "again in a second",
                {"Retry-After": "1"},
            )
        with self._mutex:
            self._inside += 1
        job = self._pool.submit(function, *arguments)
        job.add_done_callback(self._leave)  # a thread is taken until it is done, asked for or not
        future = asyncio.wrap_future(job)
        done, _ = await asyncio.wait([future], timeout=self._timeout_s)
        if not done:
            future.cancel()
            raise RefusedError(
                504,
                "TooSlow",
                f"the answer was not there within {self._timeout_s:g} s; expected it sooner; ask "
                "for less at once, or again later",
            )
        return future.result()

    def close(self) -> None:
        """End the threads once they have done what they are at; what still waits is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _leave(self, _: object) -> None:
        with self._mutex:
            self._inside -= 1


def use_torch_threads(count: int) -> None:
    """Of torch, in the calling thread alone: where several compute at once, its threads would only
    wait for each other. What is set acts on every thread that has not asked yet, so it is set back
    to what is usual for those to come."""
    usual = torch.get_num_threads()  # asks: else the last line would reach this thread too
    torch.set_num_threads(count)
    others = threading.Thread(target=torch.set_num_threads, args=(usual,))
    others.start()
    others.join()

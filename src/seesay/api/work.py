"""Work off the event loop: a few threads, a bounded queue, and a time limit.

The event loop only takes requests and hands out answers, so that a client that sends or reads
slowly keeps nobody waiting; what computes does so in here. Work that nobody waits for any more,
because it took too long, its client has gone or the server stops, is given up: its thread is free
again after the step that it is at.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import torch
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seesay.api.failures import RefusedError
from seesay.inference.cancelling import Cancelled, cancelled_by, check_cancelled
from seesay.text import Text

Answer = TypeVar("Answer")
ENDING_S = 5.0  # for the step that a thread is at, when the server stops
GONE = 499
"""The status under which such a request is counted (nginx's). Nobody receives it."""
_ROUTES = "/v1/"  # the page and the assistants' routes see for themselves who listens


class Work:
    """Threads for one kind of work."""

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        max_waiting: int,
        timeout_s: float,
        torch_threads: int = 1,
    ) -> None:
        """`torch_threads` are those with which each thread computes."""
        self._pool = ThreadPoolExecutor(threads, name, use_torch_threads, initargs=(torch_threads,))
        self._most = threads + max_waiting
        self._timeout_s = timeout_s
        self._threads = threads
        self._mutex = threading.Lock()
        self._jobs: dict[Future[Any], threading.Event] = {}
        self._stopped = False

    @property
    def waiting(self) -> int:
        """How many requests are waiting for a thread."""
        return max(0, len(self._jobs) - self._threads)

    @property
    def working(self) -> int:
        """How many requests have a thread."""
        return min(len(self._jobs), self._threads)

    async def __call__(self, function: Callable[..., Answer], *arguments: object) -> Answer:
        """Call a function in one of the threads. Raises RefusedError where too many wait, where it
        takes too long, and where the server stops."""
        self._check_room()
        given_up = threading.Event()
        job = self._submit(given_up, function, *arguments)
        future = asyncio.wrap_future(job)
        try:
            done, _ = await asyncio.wait([future], timeout=self._timeout_s)
        finally:  # also where the request itself is cancelled
            if not future.done():
                given_up.set()
                future.cancel()  # and the job, where it has not begun
        if not done:
            raise self._too_slow()
        if future.cancelled() or isinstance(future.exception(), Cancelled):
            raise _stopping()
        return future.result()

    async def stream(
        self, function: Callable[[], Iterator[Answer]]
    ) -> AsyncGenerator[Answer, None]:
        """Yields what a function yields in one of the threads, as it comes. Closing the stream
        gives up the work. Raises as a call does."""
        self._check_room()
        loop, given_up = asyncio.get_running_loop(), threading.Event()
        pieces: asyncio.Queue[Answer] = asyncio.Queue()

        def run() -> None:
            for piece in function():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
                check_cancelled()

        future = asyncio.wrap_future(self._submit(given_up, run))
        deadline = loop.time() + self._timeout_s
        try:
            while not (future.done() and pieces.empty()):
                coming = asyncio.ensure_future(pieces.get())
                waiting: set[asyncio.Future[Any]] = {coming, future}
                left = max(0.0, deadline - loop.time())
                try:
                    done, _ = await asyncio.wait(
                        waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    coming.cancel()
                if not done:
                    raise self._too_slow()
                if coming in done:
                    yield coming.result()
        finally:  # also where nobody listens any more
            given_up.set()
            future.cancel()
        if future.cancelled() or isinstance(future.exception(), Cancelled):
            raise _stopping()
        future.result()

    def _check_room(self) -> None:
        """Raises RefusedError where the server stops, and where too many wait."""
        if self._stopped:
            raise _stopping()
        if len(self._jobs) >= self._most:
            raise RefusedError(
                503,
                "Busy",
                Text(
                    f"{self._most} requests are being worked on or waiting; expected fewer; ask "
                    "again in a second",
                    f"已有 {self._most} 个请求在处理或等待；请一秒后重试",
                ),
                {"Retry-After": "1"},
            )

    def _too_slow(self) -> RefusedError:
        return RefusedError(
            504,
            "TooSlow",
            Text(
                f"the answer was not ready within {self._timeout_s:g} s; expected it sooner; "
                "ask for less at once, or again later",
                f"{self._timeout_s:g} 秒内没有得出结果；请减少一次请求的内容，或稍后重试",
            ),
        )

    def stop(self) -> None:
        """Accept no more work and abandon the current work; waiting requests are told so."""
        self._stopped = True
        with self._mutex:
            jobs = dict(self._jobs)
        for job, given_up in jobs.items():
            given_up.set()
            job.cancel()

    def close(self) -> None:
        """Stop, and wait for the threads, but not forever: one may be inside a library's code."""
        self.stop()
        wait(list(self._jobs), timeout=ENDING_S)
        self._pool.shutdown(wait=False)

    def _submit(
        self, given_up: threading.Event, function: Callable[..., Answer], *arguments: object
    ) -> Future[Answer]:
        def run() -> Answer:
            with cancelled_by(given_up):
                return function(*arguments)

        with self._mutex:
            job = self._pool.submit(run)
            self._jobs[job] = given_up
        job.add_done_callback(
            self._leave
        )  # a thread stays busy until its call returns, even if nobody waits
        return job

    def _leave(self, job: Future[Any]) -> None:
        with self._mutex:
            self._jobs.pop(job, None)


def _stopping() -> RefusedError:
    text = Text(
        "the server is stopping; expected it to run; ask again once it has been started again",
        "服务器正在停止；请等它重新启动后再试",
    )
    return RefusedError(503, "Stopping", text, {"Retry-After": "5", "Connection": "close"})


def use_torch_threads(count: int) -> None:
    """Of torch, in the calling thread alone: where several compute at once, its threads would only
    wait for each other. What is set acts on every thread that has not asked yet, so it is set back
    to what is usual for those to come."""
    usual = torch.get_num_threads()  # asks: else the last line would reach this thread too
    torch.set_num_threads(count)
    others = threading.Thread(target=torch.set_num_threads, args=(usual,))
    others.start()
    others.join()


class CancelWhenGone:
    """ASGI middleware that stops working on a request when its client disconnects.

    Frameworks answer to the end, whoever still listens. Here a client that hangs up, because its
    page was left or it lost patience, cancels what was begun for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_ROUTES):
            await self._app(scope, receive, send)
            return
        # Only one may receive at a time: what arrives is handed on to the application from here.
        arrived: asyncio.Queue[Message] = asyncio.Queue(1)
        answered = False

        async def until_gone() -> None:
            while (message := await receive())["type"] != "http.disconnect":
                await arrived.put(message)

        async def sent(message: Message) -> None:
            nonlocal answered
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, arrived.get, sent))
        listening = asyncio.ensure_future(until_gone())
        try:
            await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done() or answered:
                await answering
                return
        finally:  # also where this request itself is cancelled
            await _end(answering, listening)
        await send({"type": "http.response.start", "status": GONE, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def _end(*tasks: "asyncio.Future[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

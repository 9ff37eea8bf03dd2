"""The processes that read files: a few at once, each with one file at a time in hand."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from seesay.errors import CollectionError
from seesay.search.reading.messages import Outcome, Setup, Task, outcome_of, receive, send

_AHEAD = 2  # tasks a process has at hand, so that it never waits for the next one
_START_S = 120.0
_START = (
    "import sys; sys.path.append({root!r}); from seesay.search.reading.process import main; main()"
)


class Readers:
    """Reads files in other processes. `with Readers(setup, 4) as readers:` ends them after.

    A process that dies or takes too long costs the file it had in hand: that one is reported as
    failed, and another process goes on with the rest.
    """

    def __init__(self, setup: Setup, workers: int) -> None:
        self._processes = [_Process(setup) for _ in range(workers)]
        self._closed = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="seesay-watchdog", daemon=True)
        self._watchdog.start()

    def read(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """What became of each task, in the order in which they are done. Tasks are drawn only as
        outcomes are taken. Raises CollectionError where no reading process can be started."""
        shared = _Shared(iter(tasks), len(self._processes))
        threads = [
            threading.Thread(
                target=shared.serve, args=(process,), name="seesay-reader", daemon=True
            )
            for process in self._processes
        ]
        for thread in threads:
            thread.start()
        try:
            yield from shared.outcomes(len(threads))
        finally:
            if shared.abandon():
                for process in self._processes:
                    process.interrupt()
            for thread in threads:
                thread.join()

    def close(self) -> None:
        """End the processes."""
        self._closed.set()
        self._watchdog.join()
        for process in self._processes:
            process.kill()

    def __enter__(self) -> "Readers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        while not self._closed.wait(0.1):
            for process in self._processes:
                process.end_if_late()


class _Shared:
    """What the threads of one `Readers.read` have in common."""

    def __init__(self, tasks: Iterator[Task], workers: int) -> None:
        self._tasks = tasks
        self._drawing = threading.Lock()
        self._done: queue.Queue[Outcome | BaseException | None] = queue.Queue(2 * workers)
        self._running = workers
        self._abandoned = threading.Event()

    def outcomes(self, running: int) -> Iterator[Outcome]:
        """Until every thread has ended."""
        while running:
            found = self._done.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                running -= 1
            else:
                yield found
        self._running = 0

    def abandon(self) -> bool:
        """Let the threads end; whether any was still at work."""
        self._abandoned.set()
        return self._running > 0

    def serve(self, process: "_Process") -> None:
        """One thread: keeps one process busy until there is no task left."""
        try:
            waiting: deque[Task] = deque()
            while not self._abandoned.is_set():
                while len(waiting) < _AHEAD and (task := self._next()) is not None:
                    waiting.append(task)
                    process.send(task)
                if not waiting:
                    break
                self._put(process.outcome(waiting))
        except BaseException as error:  # also of the iterator of tasks: it must reach the caller
            self._put(error)
        self._put(None)

    def _next(self) -> Task | None:
        with self._drawing:
            return next(self._tasks, None)

    def _put(self, found: Outcome | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._done.put(found, timeout=0.1)
            except queue.Full:
                continue
            return


class _Process:
    """One process at a time; used by one thread at a time, the watchdog aside."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._child: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None
        self._late = False
        self._interrupted = False
        self._deaths = 0
        """Of processes that had the present task in hand."""

    def send(self, task: Task) -> None:
        """Hand over a task."""
        with suppress(OSError):  # it has just died: `outcome` finds out, and hands all over again
            send(_pipe(self._started().stdin), vars(task))

    def outcome(self, waiting: deque[Task]) -> Outcome:
        """What became of the first waiting task, which is taken away."""
        while True:
            found = self._receive(self._setup.limits.seconds)
            if found is None:
                found = self._died(waiting)
            if found is not None:
                waiting.popleft()
                self._deaths = 0
                return found

    def interrupt(self) -> None:
        """End the process, from another thread: nobody waits for its outcomes any more."""
        self._interrupted = True
        if (child := self._child) is not None:
            child.kill()

    def kill(self) -> None:
        """End the process at once."""
        self._interrupted = False
        child = self._child
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):  # what it had not taken yet
                    _pipe(pipe).close()
            self._child = None

    def end_if_late(self) -> None:
        """For the watchdog: a file takes longer than it may."""
        deadline, child = self._deadline, self._child
        if deadline is not None and time.monotonic() > deadline and child is not None:
            self._late = True
            child.kill()

    def _receive(self, seconds: float) -> Outcome | None:
        """None where the process ended instead."""
        self._late = False
        self._deadline = time.monotonic() + seconds
        try:
            message = receive(_pipe(self._started().stdout))
        finally:
            self._deadline = None
        return None if message is None else outcome_of(*message)

    def _died(self, waiting: deque[Task]) -> Outcome | None:
        """The failure of the first task, unless it deserves another try: a process may also be
        ended by someone who was short of memory."""
        late, code = self._late, self._child.wait() if self._child else 0
        interrupted = self._interrupted
        self._deaths += 1
        self.kill()
        failed = None
        if late or self._deaths > 1 or interrupted:
            failed = _failure(waiting[0], late, code, self._setup.limits.seconds)
        if not interrupted:
            for task in list(waiting)[1 if failed else 0 :]:
                self.send(task)
        return failed

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            self._child = _start(self._setup)
            self._deadline, before = time.monotonic() + _START_S, self._deadline
            ready = receive(_pipe(self._child.stdout))
            self._deadline = before
            if ready is None:
                code = self._child.wait()
                raise CollectionError(
                    f"the process that reads files ended with code {code} before it began, "
                    "expected it to run; see whether memory is short, or reinstall the package"
                )
        return self._child


def _start(setup: Setup) -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-P", "-c", _START.format(root=root), setup.to_json()]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **one_thread},
        start_new_session=os.name != "nt",  # Ctrl-C in the terminal is for the parent alone
    )


def _failure(task: Task, late: bool, code: int, seconds: float) -> Outcome:
    stage, remedy = "crash", "or make it smaller"
    what = f"the process that read it was ended twice (code {code})"
    if late:
        stage, remedy = "time", "make it smaller, or allow more with --seconds"
        what = f"reading it took longer than {seconds:g} s"
    return Outcome(
        path=task.path,
        size=task.size,
        mtime_ns=task.mtime_ns,
        stage=stage,
        error=f"{what}. Expected a sound file of usual size. Save it anew, {remedy}.",
    )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream

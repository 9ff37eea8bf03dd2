"""The processes that read files: several at once, each with one file at a time."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from seesay.errors import CollectionError
from seesay.search.reading.messages import (
    ListedFile,
    ReadResult,
    ReadSettings,
    receive,
    result_of,
    send,
)
from seesay.search.reading.registry import seconds_for
from seesay.text import Text

_AHEAD = 2  # tasks queued per process, so that it never waits
_START_S = 120.0
_START = (
    "import sys; sys.path.append({root!r}); from seesay.search.reading.process import main; main()"
)


@contextmanager
def reading_processes(settings: ReadSettings, workers: int) -> "Iterator[ReadingProcesses]":
    """Start processes that read files and end with the block:

    with reading_processes(settings, 4) as processes:
        for result in processes.read(tasks): ...
    """
    processes, closed = [_Process(settings) for _ in range(workers)], threading.Event()

    def watch() -> None:
        while not closed.wait(0.1):
            for process in processes:
                process.end_if_late()

    watchdog = threading.Thread(target=watch, name="seesay-watchdog", daemon=True)
    watchdog.start()
    try:
        yield ReadingProcesses(processes)
    finally:
        closed.set()
        watchdog.join()
        for process in processes:
            process.kill()


@dataclass(eq=False)
class ReadingProcesses:
    """Reads files in other processes. If a process dies or takes too long, its current file is
    reported as failed, and another process continues with the rest."""

    _processes: "Sequence[_Process]"

    def read(self, tasks: Iterable[ListedFile]) -> Generator[ReadResult, None, None]:
        """Yield the result of each task, in order of completion. The parts of a long file come in
        their order, with those of others between; if a part is number 0 again, the process died
        and those before do not count. Takes tasks only as fast as the
        caller takes results. Raises CollectionError if no reading process can be started."""
        shared = _Shared(iter(tasks), queue.Queue(2 * len(self._processes)))
        threads = [
            threading.Thread(target=shared.serve, args=(one,), name="seesay-reader", daemon=True)
            for one in self._processes
        ]
        running = len(threads)
        for thread in threads:
            thread.start()
        try:
            while running:
                result = shared.done.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    running -= 1
                else:
                    yield result
        finally:
            if running:
                self._abandon(shared, running)
            for thread in threads:
                thread.join()

    def _abandon(self, shared: "_Shared", running: int) -> None:
        """Stop the threads that are still reading, since nobody takes their results."""
        shared.abandoned.set()
        for process in self._processes:
            process.interrupt()
        while running:  # a thread may wait for room in the queue
            running -= shared.done.get() is None
        for process in self._processes:
            process.kill()


@dataclass(eq=False)
class _Shared:
    """State shared by the threads of one `read`."""

    tasks: Iterator[ListedFile]
    done: "queue.Queue[ReadResult | BaseException | None]"
    """Results; None from each thread that has ended."""
    abandoned: threading.Event = field(default_factory=threading.Event)
    drawing: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, process: "_Process") -> None:
        """Run in one thread: keep one process busy until no task is left."""
        try:
            waiting: deque[ListedFile] = deque()
            while not self.abandoned.is_set():
                while len(waiting) < _AHEAD:
                    with self.drawing:
                        task = next(self.tasks, None)
                    if task is None:
                        break
                    waiting.append(task)
                    process.send(task)
                if not waiting:
                    break
                self.done.put(process.result(waiting))
        except BaseException as error:  # of the tasks, too: it must reach the caller
            self.done.put(error)
        self.done.put(None)


@dataclass(eq=False)
class _Process:
    """One process at a time; used by one thread at a time, apart from the watchdog."""

    _settings: ReadSettings
    _child: "subprocess.Popen[bytes] | None" = None
    _deadline: float | None = None
    _late: bool = False
    _interrupted: bool = False
    _patience: float = 1.0
    _deaths: int = 0
    """Number of processes that died on the current task."""

    def send(self, task: ListedFile) -> None:
        """Send a task."""
        with suppress(OSError):  # it has just died: `result` notices and sends all again
            send(self._pipes()[0], vars(task))

    def result(self, waiting: deque[ListedFile]) -> ReadResult:
        """Return the next result of the first waiting task; remove the task after its last one."""
        while True:
            _, results = self._pipes()
            self._late = False
            self._deadline = time.monotonic() + self._seconds(waiting[0])
            try:
                message = receive(results)
            finally:
                self._deadline = None
            found = self._died(waiting) if message is None else result_of(*message)
            self._patience = 1.0 if found is None else found.patience
            if found is not None and found.more:
                return found
            if found is not None:
                waiting.popleft()
                self._deaths = 0
                return found

    def interrupt(self) -> None:
        """Stop the process from another thread, when nobody waits for its results."""
        self._interrupted = True
        if (child := self._child) is not None:
            child.kill()

    def kill(self) -> None:
        """Kill the process."""
        self._interrupted = False
        child = self._child
        if child is not None:
            child.kill()
            child.wait()
            for pipe in filter(None, (child.stdin, child.stdout)):
                with suppress(OSError):  # unsent data
                    pipe.close()
            self._child = None

    def end_if_late(self) -> None:
        """Kill the process if its file takes too long; the watchdog calls this."""
        deadline, child = self._deadline, self._child
        if deadline is not None and time.monotonic() > deadline and child is not None:
            self._late = True
            child.kill()

    def _died(self, waiting: deque[ListedFile]) -> ReadResult | None:
        """Return the failure of the first task, unless it deserves a retry: the process may also
        have been killed because the system was short of memory."""
        late, code = self._late, self._child.wait() if self._child else 0
        interrupted = self._interrupted
        self._deaths += 1
        self.kill()
        failed = None
        if late or self._deaths > 1 or interrupted:
            failed = _failure(waiting[0], late, code, self._seconds(waiting[0]))
        if not interrupted:
            for task in list(waiting)[1 if failed else 0 :]:
                self.send(task)
        return failed

    def _seconds(self, task: ListedFile) -> float:
        return seconds_for(task, self._settings.limits) * self._patience

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """Return the pipes to and from the process, starting it if needed. Raises CollectionError
        if it does not start."""
        child = self._child
        if child is None:
            root = str(Path(__file__).parents[3])
            program = _START.format(root=root)
            one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._child = child = subprocess.Popen(
                [sys.executable, "-P", "-c", program, self._settings.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **one_thread},
                start_new_session=os.name != "nt",  # Ctrl-C in the terminal is for the parent alone
            )
            self._deadline = time.monotonic() + _START_S
            ready = receive(child.stdout) if child.stdout else None
            self._deadline = None
            if ready is None:
                raise _start_failed(child.wait())
        assert child.stdin is not None and child.stdout is not None
        return child.stdin, child.stdout


@contextmanager
def stopped_by_ctrl_c(stop: threading.Event) -> Iterator[threading.Event]:
    """In the block, the first Ctrl-C sets `stop`, so that work ends cleanly, and the second raises
    KeyboardInterrupt. Works only in the main thread, which alone may catch signals."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def first(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, first)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _start_failed(code: int) -> CollectionError:
    return CollectionError(
        Text(
            f"the process that reads files ended with code {code} before it began, expected it to "
            "run; see whether memory is short, or reinstall the package",
            f"读取文件的进程还没开始就结束了（代码 {code}）；它应能运行；"
            "请检查内存是否不足，或重新安装本软件包",
        )
    )


def _failure(task: ListedFile, late: bool, code: int, seconds: float) -> ReadResult:
    if late:
        stage, seconds = "time", round(seconds, 1)
        error = Text(
            f"reading it, or one page, took longer than {seconds:g} s. Expected an intact file of "
            "usual size. Save it again, make it smaller, or allow more with --seconds.",
            f"读取它或其中一页超过 {seconds:g} 秒；应为大小正常的完好文件；请重新保存或缩小，"
            "或用 --seconds 放宽",
        )
    else:
        stage = "crash"
        error = Text(
            f"the process that read it was ended twice (code {code}). Expected a sound file of "
            "usual size. Save it anew, or make it smaller.",
            f"读取它的进程两次中途结束（代码 {code}）；应为大小正常的完好文件；请重新保存或缩小",
        )
    return ReadResult(
        path=task.path,
        size=task.size,
        mtime_ns=task.mtime_ns,
        stage=stage,
        error=error,
    )

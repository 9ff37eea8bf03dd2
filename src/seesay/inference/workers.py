"""Run a function over many batches in threads, in order, with a bounded number under way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

WAITING_PER_WORKER = 1  # batches that lie ready beside those being worked on


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Yield work(item) for every item, in their order, from `workers` threads.

    Torch's threads are divided among the workers: on a processor, several batches side by side
    with one thread each finish sooner than one batch with all threads, because nobody waits for
    the slowest at every layer, and while one worker decodes its pictures the others encode theirs.
    Items are drawn only as results are taken, so endless iterables and slow consumers are fine.
    The workers see the context of the caller, and so whether its work was given up.
    """
    if workers == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="seesay-embed")
    try:
        _divide_torch_threads(pool, workers, threads)
        remaining = iter(items)
        first = islice(remaining, workers * (1 + WAITING_PER_WORKER))
        running: deque[Future[Result]] = deque(_submit(pool, work, item) for item in first)
        while running:
            result = running.popleft().result()
            running.extend(_submit(pool, work, item) for item in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ThreadPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    return pool.submit(copy_context().run, work, item)


def _divide_torch_threads(pool: ThreadPoolExecutor, workers: int, threads: int) -> None:
    """Give every thread of the pool its share, and leave the process's setting as it was.

    torch.set_num_threads acts on the calling thread, and on every thread that has not yet asked for
    its number.
    """
    share, all_started = max(1, threads // workers), Barrier(workers)

    def start() -> None:
        torch.get_num_threads()  # asks: else the last line below would reach this thread too
        torch.set_num_threads(share)
        all_started.wait()  # no thread may take two of these tasks

    for started in [pool.submit(start) for _ in range(workers)]:
        started.result()
    torch.set_num_threads(threads)

"""Ctrl-C as a wish to end in good order; twice, as an order to end at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopped_by_ctrl_c(stop: threading.Event) -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C sets `stop`, and the second one raises KeyboardInterrupt. Only the
    main thread may catch signals: elsewhere nothing changes."""
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

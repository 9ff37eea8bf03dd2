"""Cancel work in one thread from another thread.

    given_up = threading.Event()
    with cancelled_by(given_up):
        embedder.embed_texts(texts)  # raises Cancelled soon after given_up.set()

A thread cannot be stopped from outside, so every long loop calls `check_cancelled` between its
steps. The event is part of the context (`contextvars`) rather than an argument: the loops are many
calls below the code that cancels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_given_up: ContextVar[Event | None] = ContextVar("given_up", default=None)


class Cancelled(BaseException):  # so that no `except Exception` catches it
    """The work was cancelled: nobody is waiting for its result any more."""


@contextmanager
def cancelled_by(given_up: Event) -> Iterator[None]:
    """Work inside the block raises Cancelled once the event is set."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


@contextmanager
def never_cancelled() -> Iterator[None]:
    """Never cancel work inside the block: others wait for its result, or it is stored."""
    token = _given_up.set(None)
    try:
        yield
    finally:
        _given_up.reset(token)


def check_cancelled() -> None:
    """Raises Cancelled if the work of this thread was cancelled."""
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise Cancelled

"""Ctrl-C and SIGTERM end a training after the step at hand, so that what it learned is kept."""

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

from seesay.training.distributed import gather_objects, mean_over_processes

KINDS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Within its block the first signal is only noted; a second one acts at once, as usual."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._usual: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # only there Python allows it
            self._usual = {kind: signal.signal(kind, self._note) for kind in KINDS}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._usual.items():
            signal.signal(kind, handler)

    def is_made(self) -> bool:
        """Whether any process of the training was told to stop; all of them ask after each step."""
        return mean_over_processes(float(self._signal is not None)) > 0

    def leave(self) -> NoReturn:
        """Ends the program as the signal would, with everything closed in good order."""
        if signal.SIGTERM in gather_objects(self._signal):
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    def _note(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        self.__exit__()

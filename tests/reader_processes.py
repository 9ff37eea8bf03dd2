"""The processes that read files for an index, among all that a test run has started."""

from contextlib import suppress

import psutil


def reader_processes() -> list[psutil.Process]:
    """Children of this process that read files; servers that other tests keep are none."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "seesay.search.reading.process" in " ".join(child.cmdline()):
                found.append(child)
    return found

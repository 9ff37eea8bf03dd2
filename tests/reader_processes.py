"""The processes that read files for an index, among all that a test run has started."""

from contextlib import suppress
from pathlib import Path

import psutil


def reader_processes() -> list[psutil.Process]:
    """Children of this process that read files; servers that other tests keep are none."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "seesay.search.reading.process" in " ".join(child.cmdline()):
                found.append(child)
    return found


def peak_memory(process: psutil.Process) -> int:
    """The most bytes that a process has held in memory; outside of Linux, what it holds now."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return process.memory_info().rss
    (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

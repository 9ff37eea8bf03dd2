"""Which samples could not be read, each named once however often it was drawn."""

import json
from collections.abc import Iterable
from pathlib import Path

from seesay.data.formats.records import Damaged
from seesay.training.logs.run_log import read_log


class DamageLog:
    """A file with a line per damaged sample: its name and the reason."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = {row["key"] for row in read_log(file)} if file.exists() else set()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, damaged: Iterable[Damaged]) -> None:
        """Write down those that are not known yet."""
        for one in damaged:
            if one.key in self._known:
                continue
            self._known.add(one.key)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8", errors="backslashreplace") as lines:
                row = {"key": one.key, "reason": one.reason}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")

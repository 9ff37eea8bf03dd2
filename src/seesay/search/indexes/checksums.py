"""Is a file still what was written? Answered fully, or fast by looking here and there."""

import zlib
from pathlib import Path
from typing import Any

_BLOCK = 1 << 18  # bytes that one sum stands for
_LOOKS = 64  # blocks that a quick check reads of a large file


def record_of(file: Path) -> dict[str, Any]:
    """What to remember of a file, as JSON."""
    with file.open("rb") as stream:
        sums = [zlib.crc32(block) for block in iter(lambda: stream.read(_BLOCK), b"")]
    return {"bytes": file.stat().st_size, "crc32": sums}


def is_whole(file: Path, record: dict[str, Any], *, every_block: bool) -> bool:
    """Whether a file is as recorded. Without `every_block` a large file is read at its beginning,
    its end and some places between, which finds what was cut off or zeroed."""
    sums = record["crc32"]
    if not file.is_file() or file.stat().st_size != record["bytes"]:
        return False
    step = 1 if every_block else max(1, len(sums) // _LOOKS)
    with file.open("rb") as stream:
        for number in sorted({*range(0, len(sums), step), len(sums) - 1} - {-1}):
            stream.seek(number * _BLOCK)
            if zlib.crc32(stream.read(_BLOCK)) != sums[number]:
                return False
    return True

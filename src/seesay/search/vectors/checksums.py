"""Is a file still what was written? Answered fully, or fast by looking here and there."""

import zlib
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 18  # bytes that one sum stands for
_LOOKS = 64  # blocks that a quick check reads of a large file


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What to remember of a file: its size, and a checksum for each block."""

    bytes: int
    crc32: list[int]

    def __post_init__(self) -> None:
        whole = type(self.bytes) is int and self.bytes >= 0 and isinstance(self.crc32, list)
        if not whole or len(self.crc32) != -(-self.bytes // _BLOCK):
            raise ValueError(f"a record of {self.bytes!r:.40} bytes has other blocks")

    @staticmethod
    def of(file: Path) -> "FileRecord":
        """Reads all of the file."""
        with file.open("rb") as stream:
            sums = [zlib.crc32(block) for block in iter(lambda: stream.read(_BLOCK), b"")]
        return FileRecord(bytes=file.stat().st_size, crc32=sums)

    def fits(self, file: Path, *, every_block: bool) -> bool:
        """Whether a file is as recorded. Without `every_block` a large file is read at its
        beginning, its end and some places between, which finds what was cut off or zeroed."""
        if not file.is_file() or file.stat().st_size != self.bytes:
            return False
        count = len(self.crc32)
        step = 1 if every_block else max(1, count // _LOOKS)
        with file.open("rb") as stream:
            for number in sorted({*range(0, count, step), count - 1} - {-1}):
                stream.seek(number * _BLOCK)
                if zlib.crc32(stream.read(_BLOCK)) != self.crc32[number]:
                    return False
        return True

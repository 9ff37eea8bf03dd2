"""Keeps the output of a frozen image tower in files, so that it may exceed memory, and later runs
with the same tower need not compute it again.

Each run writes one file and reads all of its tower: a first line that tells shape and number
format, then for each image the 16 bytes of its key and its values. Where a run was killed, the end
may be half a record, which is not read. Processes never write to each other's files.
"""

import json
import os
import uuid
from collections.abc import Iterator, MutableMapping
from hashlib import blake2b
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from seesay.errors import DataError
from seesay.text import Text

KEY = 16  # bytes


def digest_of(tower: nn.Module) -> str:
    """Returns what tells a tower from others: a hash of its kind and weights."""
    found = blake2b(repr(tower).encode(), digest_size=12)
    for name, tensor in tower.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


class FeatureFiles(MutableMapping[bytes, Tensor]):
    """A mapping from keys to tensors of one shape and dtype, stored on disk. Entries are never
    changed.

    Raises DataError if the folder cannot be used.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._at: dict[bytes, tuple[int, int]] = {}  # key: open file and offset
        self._shape: tuple[int, ...] = ()
        self._dtype = torch.float16
        self._own: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.glob(f"{digest}-*.features")):
                self._open(file)
        except OSError as error:
            raise _unusable(folder, error) from None
        self._new = folder / f"{digest}-{uuid.uuid4().hex[:12]}.features"

    def _open(self, file: Path) -> None:
        opened = os.open(file, os.O_RDONLY)
        with file.open("rb") as head:
            line = head.readline()
        if not line.endswith(b"\n"):  # killed before the first image
            return
        told = json.loads(line)
        self._shape, self._dtype = tuple(told["shape"]), getattr(torch, told["dtype"])
        for number in range((file.stat().st_size - len(line)) // self._record):
            offset = len(line) + number * self._record
            self._at[os.pread(opened, KEY, offset)] = opened, offset + KEY

    @property
    def _record(self) -> int:
        return KEY + self._dtype.itemsize * prod(self._shape)

    def __getitem__(self, key: bytes) -> Tensor:
        opened, offset = self._at[key]
        values = bytearray(os.pread(opened, self._record - KEY, offset))
        return torch.frombuffer(values, dtype=self._dtype).reshape(self._shape)

    def __setitem__(self, key: bytes, value: Tensor) -> None:
        try:
            if self._own is None:
                self._shape, self._dtype = tuple(value.shape), value.dtype
                self._own = os.open(self._new, os.O_RDWR | os.O_CREAT | os.O_EXCL)
                told = {"shape": self._shape, "dtype": str(self._dtype).removeprefix("torch.")}
                os.write(self._own, json.dumps(told).encode() + b"\n")
            end = os.lseek(self._own, 0, os.SEEK_END)
            values = (
                value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
            if os.write(self._own, key + values) < self._record:
                raise OSError("no space left")
        except OSError as error:
            raise _unusable(self._new, error) from None
        self._at[key] = self._own, end + KEY

    def __delitem__(self, key: bytes) -> None:
        del self._at[key]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)


def _unusable(place: Path, error: OSError) -> DataError:
    return DataError(
        Text(
            f"{place} cannot hold features ({error.strerror or error}); expected a folder to write "
            "to with room: name another one in hardware.features, or leave it out",
            f"{place} 无法存放特征（{error.strerror or error}）；应为可写且有空间的文件夹；"
            "请在 hardware.features 里换一个，或不写",
        )
    )

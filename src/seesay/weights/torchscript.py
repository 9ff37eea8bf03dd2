"""The tensors of a TorchScript archive, as OpenAI published CLIP, without running anything in it.

`torch.jit.load` would run the archive's code, and `torch.load(weights_only=True)` refuses it. Its
`data.pkl` describes a tree of objects whose classes are in that code. Here it is read by an
unpickler in which every class is an empty holder, and the only function is one that makes a tensor
of stored bytes (torch/csrc/jit/serialization/pickler.cpp).
"""

import io
import pickle
import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

STORAGES = {
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
}


def is_torchscript(archive: zipfile.ZipFile) -> bool:
    return _part(archive, "constants.pkl") is not None


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor by its path of attributes, as a state dict has it. Raises whatever a damaged or
    hostile archive leads to, and ValueError for anything beside tensors, objects and plain values.
    """
    with zipfile.ZipFile(path) as archive:
        if (described := _part(archive, "data.pkl")) is None:
            raise ValueError("it has no data.pkl")
        root = _Reader(archive, described).load()
    return dict(_tensors(root, "", set()))


def _part(archive: zipfile.ZipFile, name: str) -> str | None:
    """A file in the archive's one folder, which has any name."""
    parts = (part for part in archive.namelist() if part.partition("/")[2] == name)
    return next(parts, None)


class _Object:
    """Holds the attributes of an object, whatever its class."""

    __slots__ = ("attributes",)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise ValueError("an object in it has other contents than attributes")
        self.attributes = state


class _Storage(NamedTuple):
    dtype: torch.dtype
    name: str
    numbers: int


# The unpickler in Python rather than the one in C: that one takes as much memory as a pickle asks
# for, before it has read any of it. Its type is not declared in full.
_Unpickler: Any = pickle._Unpickler


class _Reader(_Unpickler):  # type: ignore[misc]
    def __init__(self, archive: zipfile.ZipFile, described: str) -> None:
        super().__init__(io.BytesIO(archive.read(described)))
        self._archive = archive
        self._folder = described.removesuffix("data.pkl") + "data/"
        self._contents: dict[str, bytearray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "__torch__":
            return _Object
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return self._no_hooks
        raise ValueError(f"it asks for {module}.{name}, which no tensor needs"[:200])

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, name, _device, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(name, str):
            raise ValueError("a tensor in it is stored in an unknown way")
        return _Storage(dtype, name, count)

    # A tensor has methods of the names that these three call, which could fill all memory.
    def load_build(self) -> None:
        self._only(self.stack[-2], _Object)
        super().load_build()

    def load_setitem(self) -> None:
        self._only(self.stack[-3], dict)
        super().load_setitem()

    def load_setitems(self) -> None:
        self._only(self.metastack[-1][-1], dict)
        super().load_setitems()

    # TorchScript writes version 2 of the format; later ones have more of such instructions.
    dispatch: ClassVar = {
        code: step for code, step in _Unpickler.dispatch.items() if code <= pickle.LONG4[0]
    } | {
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
    }

    def _only(self, target: Any, kind: type) -> None:
        if type(target) is not kind:
            raise ValueError(f"it changes a {type(target).__name__}")

    def _no_hooks(self) -> dict[str, Any]:
        return {}

    def _tensor(
        self,
        storage: _Storage,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        *_: Any,
    ) -> Tensor:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor in it has no storage")
        content = self._content(storage)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = prod(int(n) for n in size)
        inside = min((offset, *size, *stride)) >= 0 and last < storage.numbers
        if count > storage.numbers or (count and not inside):
            raise ValueError("a tensor in it is larger than its storage")
        if not count:
            return torch.empty(0, dtype=storage.dtype)
        return torch.frombuffer(content, dtype=storage.dtype).as_strided(size, stride, offset)

    def _content(self, storage: _Storage) -> bytearray:
        if storage.name not in self._contents:
            self._contents[storage.name] = bytearray(
                self._archive.read(self._folder + storage.name)
            )
        content = self._contents[storage.name]
        if len(content) != storage.numbers * storage.dtype.itemsize:
            raise ValueError("a storage in it has another size than it says")
        return content


def _tensors(value: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, _Object) and id(value) not in seen:
        seen.add(id(value))
        for name, inner in value.attributes.items():
            yield from _tensors(inner, f"{place}.{name}" if place else str(name), seen)

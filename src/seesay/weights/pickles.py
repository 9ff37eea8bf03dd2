"""Named tensors of a pickle, as torch.save and TorchScript write it; nothing in it is executed.

A pickle is a program, and one from a stranger may ask for any amount of memory. So its parts are
measured before they are read. torch reads plain tensors (`weights_only=True`), but not TorchScript,
in which OpenAI published CLIP: `torch.jit.load` would run the code of the archive. Its `data.pkl`
describes a tree of objects whose classes are in that code; here it is read by an unpickler to which
every class is an empty holder, and the only function is one that makes a tensor of stored bytes
(torch/csrc/jit/serialization/pickler.cpp).
"""

import io
import mmap
import pickle
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from seesay.data.model_files import MIB
from seesay.errors import WeightsError
from seesay.text import Text

MOST_DESCRIPTION = 2 * MIB
"""Of a pickle, and of a zip's list of parts. The largest published dual encoders have 2,000
tensors, and 200 bytes about each, three times that beside an optimizer. In memory it takes up to 80
times as much: a mark of one byte becomes a list."""
LONGEST_NAME = 500
"""Characters of a tensor's name."""
MOST_AXES = 8
FILLED = b"bytearray"
"""All that torch's reader of plain pickles calls is harmless, but this one fills as much memory as
the pickle asks for. No tensor needs it."""

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


def read_pickle(path: Path, size: int) -> dict[str, Tensor]:
    """Reads the tensors of a pickle of `size` bytes. Raises WeightsError if it holds anything
    else."""
    try:
        if _is_torchscript(path, size):
            published: Any = _read_torchscript(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickle protocols; what matters is raised
                published = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        reason = _reason(error)
        raise WeightsError(
            Text(
                f"{path} cannot be read as plain tensors ({reason}); a file that is damaged, or "
                "would run code, is never opened: download it again, or convert it to safetensors",
                f"无法从 {path} 读出纯张量（{reason}）；损坏的文件，或者会运行代码的文件，"
                "一概不打开：请重新下载，或转换为 safetensors",
            )
        ) from None
    return _only_tensors(published, path)


def _is_torchscript(path: Path, size: int) -> bool:
    """Whether it is a TorchScript archive. Raises ValueError for a pickle that would take more
    memory than its size. A zip, as torch.save writes it, stores its parts uncompressed; anything
    else may unpack to any size."""
    with path.open("rb") as stream:
        if (
            stream.read(4) != b"PK\x03\x04"
        ):  # by which torch, too, tells a zip from the older format
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                _refuse(whole.find(FILLED) >= 0, FILLED.decode())
            return False
    _check_directory(path, size)
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        _check_parts(parts, size)
        for part in parts:
            if part.filename.casefold().endswith(".pkl"):
                _refuse(part.file_size > MOST_DESCRIPTION, "a description longer than it can be")
                _refuse(FILLED in archive.read(part), FILLED.decode())
        return _part(archive, "constants.pkl") is not None


def _refuse(found: bool, what: str) -> None:
    if found:
        raise ValueError(f"it holds {what}")


def _check_directory(path: Path, size: int) -> None:
    """Raises ValueError for a zip that another reader may interpret differently. Python's reader
    checks the file here, but torch reads it with its own, and the two look for the list of parts in
    different places. torch writes it last, with the end after it and no comment."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - 98))
        tail = stream.read().rjust(98, b"\0")
    end64, locator, end = tail[:56], tail[56:76], tail[76:]
    _refuse(end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0", "something after its list of parts")
    length, start = struct.unpack_from("<LL", end, 12)
    at = size - 22
    if locator.startswith(b"PK\x06\x07"):  # zip64, as for 4 GB and more
        at = size - 98
        (said,) = struct.unpack_from("<Q", locator, 8)
        _refuse(said != at or end64[:4] != b"PK\x06\x06", "two lists of parts")
        length, start = struct.unpack_from("<QQ", end64, 40)
    _refuse(start + length != at, "something before its first part")
    _refuse(length > MOST_DESCRIPTION, "a list of parts longer than it can be")


def _check_parts(parts: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Raises ValueError for parts that unpack to more than the file, or that a reader which ignores
    case could mistake for each other."""
    names = {part.filename.casefold() for part in parts}
    _refuse(len(names) < len(parts), "two parts of one name")
    for part in parts:
        odd = part.orig_filename != part.filename or not part.filename.isascii()
        _refuse(odd, "a part with an odd name")
        # TorchScript compresses its code, which is not read here.
        is_code = part.filename.split("/")[1:2] == ["code"]
        _refuse(part.compress_type != zipfile.ZIP_STORED and not is_code, "compressed parts")
    _refuse(sum(part.file_size for part in parts) > size, "parts that overlap")


def _reason(error: Exception) -> str:
    """Returns torch's complaint, without its advice to let the file run code after all."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if not re.search("weights.only load|weights_only", line, re.I)
    ]
    reason = telling[0].split(" Please ")[0].rstrip(".") if telling else type(error).__name__
    return reason[:200]


def _only_tensors(published: Any, path: Path) -> dict[str, Tensor]:
    """Training scripts wrap the tensors in {"state_dict": ...}; more than that is not ours."""
    if isinstance(published, dict) and isinstance(published.get("state_dict"), dict):
        published = published["state_dict"]
    if not isinstance(published, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in published.items()
    ):
        raise WeightsError(
            Text(
                f"{path} holds something other than named tensors; expected a file of weights. "
                "Give that one, not the file of a whole program or of an optimizer",
                f"{path} 里不全是带名称的张量；应为权重文件。请给出权重文件，而不是整个程序或"
                "优化器的文件",
            )
        )
    _check_storages(published, path)
    return published


def _check_storages(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A view can repeat a few stored numbers any number of times."""
    for name, tensor in tensors.items():
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
        stored = tensor.untyped_storage().nbytes() if plain else 0
        if not plain or tensor.is_quantized or stored < tensor.numel() * tensor.element_size():
            raise WeightsError(
                Text(
                    f"{path} does not store {name!r:.100} as plain numbers; expected one stored "
                    "number for each number of a tensor; convert it to safetensors",
                    f"{path} 里的 {name!r:.100} 不是逐个存放的数；张量的每个数都应存放一份；"
                    "请转换为 safetensors",
                )
            )


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor by its path of attributes, as a state dict has it. Raises whatever a damaged or
    hostile archive leads to, and ValueError for anything beside tensors, objects and plain values.
    """
    with zipfile.ZipFile(path) as archive:
        if (described := _part(archive, "data.pkl")) is None:
            raise ValueError("it has no data.pkl")
        order = described.removesuffix("data.pkl") + "byteorder"
        if order in archive.namelist() and archive.read(order).decode() != sys.byteorder:
            raise ValueError("its numbers are in the byte order of another kind of machine")
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


# The instructions that TorchScript writes (torch/csrc/jit/serialization/pickler.cpp). Others make a
# dict of keys that nobody has looked at, call a class, or ask the whole program for an object.
WRITTEN = b"".join(
    (
        *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.BINPERSID),
        *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1),
        *(pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE),
        *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
        *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
        *(pickle.REDUCE, pickle.NEWOBJ),
    )
)


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
        known = kind == "storage" and isinstance(dtype, torch.dtype) and _is_size(count)
        if not known or not isinstance(name, str) or not (name.isascii() and name.isdigit()):
            raise ValueError("a tensor in it is stored in an unknown way")
        return _Storage(dtype, name, count)

    # A tensor has methods of the names that these three call, which could fill all memory. And a
    # tuple of tuples of tuples takes a few bytes, and forever to hash as the key of a dict.
    def load_build(self) -> None:
        self._only(self.stack[-2], _Object)
        super().load_build()

    def load_setitem(self) -> None:
        self._only(self.stack[-3], dict)
        self._only(self.stack[-2], str)
        super().load_setitem()

    def load_setitems(self) -> None:
        self._only(self.metastack[-1][-1], dict)
        for key in self.stack[::2]:
            self._only(key, str)
        super().load_setitems()

    dispatch: ClassVar = {code: _Unpickler.dispatch[code] for code in WRITTEN} | {
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
        numbers = (offset, *size, *stride)
        if not all(map(_is_size, numbers)) or len(size) > MOST_AXES:
            raise ValueError("a tensor in it has no such shape as tensors have")
        content = self._content(storage)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        count = prod(size)
        if count > storage.numbers or (count and last >= storage.numbers):
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


def _is_size(value: Any) -> bool:
    """Whether it is a whole number that torch can hold; a pickle may hold one of millions of
    digits."""
    return type(value) is int and 0 <= value < 1 << 63


def _tensors(value: Any, place: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if len(place) > LONGEST_NAME:
        raise ValueError("a tensor in it has a longer name than tensors have")
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, _Object) and id(value) not in seen:
        seen.add(id(value))
        for name, inner in value.attributes.items():
            yield from _tensors(inner, f"{place}.{name}" if place else name, seen)

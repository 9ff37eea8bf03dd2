"""Read the tensors of a checkpoint folder: safetensors in one piece or in shards, and pickles of
tensors where nothing better was published (never anything that could run code).

Nothing here takes more memory than the files are large: sizes are read before contents.
"""

import mmap
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from seesay.data.model_files import MIB, is_there, plain_size, read_json
from seesay.errors import WeightsError
from seesay.weights.torchscript import is_torchscript, read_torchscript

# By layout, best first. An index names shards beside it. Both layouts may stand side by side, as
# LAION publishes them and as a shared cache ends up.
NAMES = {
    "hf": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    "open_clip": (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ),
}
SAFE = ".safetensors", ".safetensors.index.json"

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
WRAPPERS = ("module.", "_orig_mod.")
"""What distributed training and torch.compile put before every name."""
# The largest published dual encoders have 2,000 tensors, and 200 bytes about each.
MOST_HEADER = 8 * MIB
MOST_SHARDS = 1000
FILLED = b"bytearray"
"""All that torch's reader of plain pickles calls is harmless, and of that only this one fills as
much memory as it is told to. No tensor needs it."""


def has_weights(folder: Path, layout: Literal["hf", "open_clip"], *, safe: bool = False) -> bool:
    """Whether a folder holds weights of this layout; with `safe`, as safetensors."""
    return any(is_there(folder / name) for name in NAMES[layout] if name.endswith(SAFE) or not safe)


def read_tensors(folder: Path, layout: Literal["hf", "open_clip"] = "hf") -> dict[str, Tensor]:
    """Every tensor of the folder's checkpoint, by its published name. Where the files of `layout`
    are missing, those of the other may be the same under another name."""
    names = (*NAMES[layout], *(name for other in NAMES.values() for name in other))
    for name in names:
        path = folder / name
        if is_there(path):
            return _read_shards(path) if name.endswith(".json") else read_file(path)
    others = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if len(others) == 1:  # a training program's own name, such as epoch_32.pt
        return read_file(others[0])
    if others:
        raise WeightsError(
            f"{folder} has several files of weights ({', '.join(p.name for p in others[:3])}); "
            f"expected one, or one of these names: {', '.join(NAMES[layout])}. Leave one of them"
        )
    raise WeightsError(
        f"{folder} has no weights; expected one of {', '.join(NAMES[layout])}. "
        "Was the download interrupted?"
    )


def read_file(path: Path) -> dict[str, Tensor]:
    """One file of tensors, by the names that they have in the model. Safetensors are mapped into
    memory, not copied."""
    tensors = _read_file(path)
    while tensors and (prefix := next(iter(tensors)).partition(".")[0] + ".") in WRAPPERS:
        if not all(name.startswith(prefix) for name in tensors):
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _read_file(path: Path) -> dict[str, Tensor]:
    size = plain_size(path)
    if path.suffix == ".safetensors":
        try:
            _check_header(path, size)
            return load_file(path)
        except Exception as error:  # of the library, of torch for a type it lacks, of the disk
            raise WeightsError(
                f"{path} is not a whole safetensors file ({error}); it was cut short, renamed from "
                "another format or damaged: delete it and download it again"
            ) from None
    try:
        if _check_pickle(path, size):
            return _only_tensors(read_torchscript(path), path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what matters is raised
            published = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise WeightsError(
            f"{path} cannot be read as plain tensors ({_found(error)}); a file that is "
            "damaged, or would run code, is never opened: download it again, or convert it "
            "to safetensors"
        ) from None
    return _only_tensors(published, path)


def _check_header(path: Path, size: int) -> None:
    """Raises ValueError where the description of the tensors is longer than it can be."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > min(size - 8, MOST_HEADER):
        raise ValueError(f"its header would have {length:,} bytes")


def _check_pickle(path: Path, size: int) -> bool:
    """Whether it is a TorchScript archive. Raises ValueError for a pickle that would take more
    memory than it is large. A zip, as torch.save writes, holds its parts as they are; anything else
    may unpack to any size."""
    if not zipfile.is_zipfile(path):  # the older format
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as m:
            _refuse(m.find(FILLED) >= 0, FILLED.decode())
        return False
    _refuse(_directory_size(path, size) > MOST_HEADER, "a list of parts longer than it can be")
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        _refuse(sum(part.file_size for part in parts) > size, "compressed parts")
        for part in parts:
            if part.filename.endswith(".pkl"):
                _refuse(part.file_size > MOST_HEADER, "a description longer than it can be")
                _refuse(FILLED in archive.read(part), FILLED.decode())
        return is_torchscript(archive)


def _refuse(found: bool, what: str) -> None:
    if found:
        raise ValueError(f"it holds {what}")


def _directory_size(path: Path, size: int) -> int:
    """Length of a zip's list of parts, by what its end says."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - 2**16 - 98))
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if tail[max(0, at - 76) : at].startswith(b"PK\x06\x06"):  # zip64, as for 4 GB and more
        return struct.unpack_from("<Q", tail, at - 36)[0]
    return struct.unpack_from("<L", tail, at + 12)[0]


def _found(error: Exception) -> str:
    """What torch found wrong, without its advice to let the file run code after all."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if not re.search("weights.only load|weights_only", line, re.I)
    ]
    return telling[0].split(" Please ")[0].rstrip(".") if telling else type(error).__name__


def _read_shards(index: Path) -> dict[str, Tensor]:
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise WeightsError(
            f'{index} has no "weight_map" of file names; expected that of an index of shards; '
            "delete it and download it again"
        )
    names = sorted(set(shards.values()))
    if len(names) > MOST_SHARDS:
        raise WeightsError(
            f"{index} names {len(names)} shards; expected at most {MOST_SHARDS}; download it again"
        )
    tensors: dict[str, Tensor] = {}
    for name in names:
        path = index.parent / name
        if Path(name).name != name or name.endswith(".json") or not is_there(path):
            raise WeightsError(
                f"{index} names the shard {name:.200}, which is not beside it; "
                "download the missing shard, or the whole folder again"
            )
        tensors |= read_file(path)
    if missing := sorted(shards.keys() - tensors.keys()):
        raise WeightsError(
            f"{index} promises {len(missing)} tensors that no shard holds, {missing[0]} first; "
            "the shards are of another checkpoint: download the folder again"
        )
    return tensors


def _only_tensors(published: Any, path: Path) -> dict[str, Tensor]:
    """Training scripts wrap the tensors in {"state_dict": ...}; more than that is not ours."""
    if isinstance(published, dict) and isinstance(published.get("state_dict"), dict):
        published = published["state_dict"]
    if not isinstance(published, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in published.items()
    ):
        raise WeightsError(
            f"{path} holds something else than named tensors; expected a checkpoint of weights. "
            "Give the file of weights, not that of a whole program or of an optimizer"
        )
    _check_storages(published, path)
    return published


def _check_storages(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A view can show a few stored numbers as any number of them."""
    for name, tensor in tensors.items():
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
        stored = tensor.untyped_storage().nbytes() if plain else 0
        if not plain or tensor.is_quantized or stored < tensor.numel() * tensor.element_size():
            raise WeightsError(
                f"{path} holds {name!r:.100} in a form other than plain numbers; expected one "
                "stored number for each of a tensor; convert it to safetensors"
            )

"""Pickles of a stranger: nothing in them runs, and none takes much more memory than its file."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from seesay.errors import WeightsError
from seesay.weights.pickles import read_pickle


def read(path: Path) -> dict[str, torch.Tensor]:
    return read_pickle(path, path.stat().st_size)


class Hostile:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


def archive_of(path: Path, pickled: bytes, **parts: bytes) -> None:
    """A TorchScript archive that holds one pickle, and more parts."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data/0", bytes(16))
        archive.writestr("x/data.pkl", pickled)
        for name, content in parts.items():
            archive.writestr(f"x/{name}", content)


def tensor_pickle(
    numel: int, size: tuple[int, ...], stride: tuple[int, ...], name: str = "0"
) -> bytes:
    """A pickle of one tensor over the 16 bytes of the storage 0."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, size, stride, False, {})

    class Writer(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, name, "cpu", numel)

    stream = io.BytesIO()
    Writer(stream, protocol=2).dump(Tensor())
    return stream.getvalue()


TENSOR = tensor_pickle(4, (4,), (1,))[:-1]
TENSOR_OF = TENSOR[: TENSOR.index(b"K\x04\x85")]  # up to the shape
REST = b"\x85\x89}tR."  # the step is a tuple; no gradient, no hooks
NUMBER = b"\x8a\xff" + b"\x7f" * 255
TUPLES = b"N" + b"q\x00h\x00\x86" * 60
OBJECT = b"c__torch__\nX\n)\x81}X\x90\x01\x00\x00" + b"n" * 400
OBJECTS = OBJECT * 2 + TENSOR.removeprefix(b"\x80\x02") + b"sbsb."
NESTED = b")\x81}X\x00\x00\x00\x00c__torch__\nX\n" * 2000 + b")\x81" + b"sb" * 2000 + b"."
ATTACKS = {
    "a call": (
        pickle.dumps(Hostile((print, ("code ran",))), protocol=2),
        r"asks for __builtin__\.print",
    ),
    "an import": (b"cos\nsystem\n(S'echo code ran'\ntR.", r"asks for os\.system"),
    "a library's function": (b"ctorch\nload\n(S'x'\ntR.", r"asks for torch\.load"),
    "too much memory": (b"\x96" + (1 << 60).to_bytes(8, "little") + b".", "150"),
    "more than is stored": (tensor_pickle(1 << 40, (1 << 40,), (1,)), "another size than it says"),
    "a view that repeats": (tensor_pickle(4, (1 << 30,), (0,)), "larger than its storage"),
    "a view beyond its end": (tensor_pickle(4, (2, 2), (3, 2)), "larger than its storage"),
    "a negative step": (tensor_pickle(4, (2,), (-1,)), "no such shape"),
    "a negative size": (tensor_pickle(4, (-2, -2), (1, 1)), "no such shape"),
    "a size of a million digits": (TENSOR_OF + NUMBER + b"\x85" + NUMBER + REST, "no such shape"),
    "sizes without end": (tensor_pickle(4, (1,) * 9, (1,) * 9), "no such shape"),
    "a size that is no number": (TENSOR_OF + b"N\x85K\x01" + REST, "no such shape|_tensor"),
    "a storage of another name": (tensor_pickle(4, (4,), (1,), "../version"), "unknown way"),
    "a storage of -1 numbers": (tensor_pickle(-1, (4,), (1,)), "unknown way"),
    "a tensor's own state": (TENSOR + b"(K\x00K\x00K\x00K\x00tb.", "changes a Tensor"),
    "an item of a tensor": (TENSOR + b"K\x00K\x01s.", "changes a Tensor"),
    "items of a tensor": (TENSOR + b"(K\x00K\x01u.", "changes a Tensor"),
    "a sum with a tensor": (TENSOR + b"(K\x01\x90.", "144"),
    "a key that takes for ever": (b"}" + TUPLES + b"Ns.", "changes a tuple"),
    "keys that take for ever": (b"}(" + TUPLES + b"Nu.", "changes a tuple"),
    "a dict of such keys": (b"(" + TUPLES + b"Nd.", "100"),
    "an object of the program": (b"\x82\x01.", "130"),
    "a class that is called": (b"(c__torch__\nX\no.", "111"),
    "names that add up": (OBJECTS, "a longer name"),
    "objects in each other": (b"c__torch__\nX\n" + NESTED, "recursion"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_an_archive_runs_or_takes_memory(attack, tmp_path, capfd):
    pickled, words = ATTACKS[attack]
    archive_of(tmp_path / "anything.pt", pickled)
    with pytest.raises(WeightsError, match=words):
        read(tmp_path / "anything.pt")
    assert "code ran" not in "".join(capfd.readouterr())


def test_numbers_in_another_byte_order_are_refused(tmp_path):
    for order in ("little", "big"):
        archive_of(tmp_path / f"{order}.pt", module_with(TENSOR), byteorder=order.encode())
    assert torch.equal(read(tmp_path / "little.pt")["n"], torch.zeros(4))
    with pytest.raises(WeightsError, match="byte order of another kind"):
        read(tmp_path / "big.pt")


def module_with(value: bytes) -> bytes:
    """An object whose attribute n is what a pickle makes, without its end."""
    return b"c__torch__\nX\n)\x81}X\x01\x00\x00\x00n" + value.removeprefix(b"\x80\x02") + b"sb."


# What torch's reader of plain pickles would make of them: 10^9 bytes of memory.
FILLS = b"\x80\x02c__builtin__\nbytearray\nJ\x00\xca\x9a;\x85R."


def parts(*given: tuple[str, bytes, int]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content, kind in given:
            archive.writestr(name, content, compress_type=kind)
    return stream.getvalue()


STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
VERSION = ("x/version", b"3\n", STORED)
PLAIN = parts(("x/data.pkl", pickle.dumps({}, protocol=2), STORED), VERSION)


def old_format() -> bytes:
    """A file of torch's older format without its last two pickles, what it holds and its parts."""
    stream = io.BytesIO()
    torch.save({}, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue().removesuffix(b"\x80\x02}q\x00." + b"\x80\x02]q\x00.")


def two_directories() -> bytes:
    """Python reads the list of parts before the end, other programs the one that zip64 names."""
    hidden = parts(("x/data.pkl", FILLS, DEFLATED), ("x/version", b"3\n", STORED))
    length, start = struct.unpack("<LL", hidden[-10:-2])
    end64 = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, length, start)
    front = hidden[: start + length] + end64
    end64_at = start + length
    shown_length, shown_start = struct.unpack("<LL", PLAIN[-10:-2])
    body, directory = PLAIN[:shown_start], PLAIN[shown_start : shown_start + shown_length]
    moved = bytearray(directory)
    at = 0
    for _ in range(2):
        old = struct.unpack_from("<L", moved, at + 42)[0]
        struct.pack_into("<L", moved, at + 42, old + len(front))
        at += 46 + struct.unpack_from("<H", moved, at + 28)[0]
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end64_at, 1)
    # The end counts from here back, past a locator that nothing of zip64 stands before.
    end = struct.pack(
        "<4sHHHHLLH", b"PK\5\6", 0, 0, 2, 2, shown_length + 20, len(front) + shown_start, 0
    )
    return front + body + bytes(moved) + locator + end


def lying() -> bytes:
    """A compressed part that says it has 100 bytes, and has 10^8."""
    whole = bytearray(parts(("x/data.pkl", bytes(10**8), DEFLATED)))
    start = struct.unpack("<L", whole[-6:-2])[0]
    struct.pack_into("<L", whole, start + 24, 100)
    return bytes(whole)


ARCHIVES = {
    "a compressed description": (parts(("x/data.pkl", FILLS, DEFLATED)), "compressed parts"),
    "a size that is a lie": (lying(), "compressed parts"),
    "a description in capitals": (parts(("x/DATA.PKL", FILLS, STORED), VERSION), "bytearray"),
    "two descriptions": (
        parts(("x/data.pkl", FILLS, STORED), ("x/DATA.pkl", b"N.", STORED)),
        "two parts of one name",
    ),
    "a name with an end in it": (
        PLAIN.replace(b"x/version", b"x/ver\0ion"),
        "a part with an odd name",
    ),
    "an end after the end": (PLAIN + b"PK\x05\x06" + bytes(8), "after its list of parts"),
    "a comment": (PLAIN[:-2] + b"\x03\x00abc", "after its list of parts"),
    "something before a zip": (old_format() + FILLS + PLAIN, "bytearray"),
    "a zip before a zip": (PLAIN + PLAIN, "before its first part"),
    "two lists of parts": (two_directories(), "two lists of parts"),
    "the middle of a zip": (PLAIN[:60], "after its list of parts"),
    "four bytes": (b"PK\x03\x04", "after its list of parts"),
}


@pytest.mark.parametrize("attack", ARCHIVES)
def test_a_zip_that_hides_what_it_holds_is_refused(attack, tmp_path):
    """What is checked is what torch reads, and none of it unpacks to more."""
    content, words = ARCHIVES[attack]
    (tmp_path / "anything.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=words):
        read(tmp_path / "anything.pt")


def test_the_archives_without_an_attack_are_read(tmp_path):
    (tmp_path / "plain.pt").write_bytes(PLAIN)
    archive_of(tmp_path / "script.pt", b"N.")
    assert read(tmp_path / "plain.pt") == read(tmp_path / "script.pt") == {}
    torch.save({"a": torch.ones(2)}, tmp_path / "torch.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("torch.pt", "old.pt"):
        assert torch.equal(read(tmp_path / name)["a"], torch.ones(2))

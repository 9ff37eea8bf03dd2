"""Folders to index: small photographs, and a zoo of everything that goes wrong."""

import os
import socket
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from bad_pictures import write_bad_pictures


def write_photo(path: Path, seed: int, **options: object) -> Path:
    """A picture that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).resize((64, 48)).save(path, **options)
    return path


def write_zoo(folder: Path) -> dict[str, Path]:
    """What cannot be indexed and must be recorded, by kind. Beside it lies what looks odd and is
    sound: see `write_oddities`."""
    folder.mkdir()
    bad = write_bad_pictures(folder)
    del bad["missing"]
    bad["directory"].rmdir()  # a folder may have any name: it is no file
    del bad["directory"]
    bad["huge sides"] = folder / "huge.bmp"
    bad["huge sides"].write_bytes(_bmp_header(60_000, 60_000))
    bad["loop"] = folder / "loop.jpg"
    bad["loop"].symlink_to(bad["loop"])
    bad["nowhere"] = folder / "nowhere.jpg"
    bad["nowhere"].symlink_to(folder / "not there.jpg")
    bad["empty text"] = folder / "empty.txt"
    bad["empty text"].touch()
    bad["binary text"] = folder / "binary.md"
    bad["binary text"].write_bytes(bytes(range(256)) * 10)
    bad["huge text"] = folder / "huge.txt"
    with bad["huge text"].open("wb") as stream:
        stream.truncate(1 << 33)
    bad["broken rows"] = folder / "rows.csv"
    bad["broken rows"].write_text('path,caption\nodd/0.jpg,"good"\nx,y,z\n,nothing\n"open')
    bad["pipe"] = folder / "pipe.jpg"
    os.mkfifo(bad["pipe"])
    bad["device"] = folder / "device.jpg"
    bad["device"].symlink_to("/dev/zero")
    bad["socket"] = folder / "socket.png"
    _write_socket(bad["socket"])
    for name, end in (("damaged exif header", 30), ("cut png", 60)):
        bad[name] = folder / f"{name.replace(' ', '-')}.png"
        write_photo(bad[name], 7)
        bad[name].write_bytes(bad[name].read_bytes()[:end])
    return bad


def write_oddities(folder: Path) -> int:
    """Sound pictures and texts of unusual kinds; returns how many."""
    before = 0
    photo = Image.open(write_photo(folder / "0.jpg", 1, exif=_exif(b"\xff\xfe garbage \x00" * 9)))
    photo.convert("CMYK").save(folder / "cmyk.jpg")
    photo.convert("L").save(folder / "grey.JPG")
    photo.convert("P").save(folder / "palette.PNG")
    photo.convert("RGBA").save(folder / "alpha.WebP")
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16).save(folder / "16.png")
    Image.fromarray(np.ones((32, 32), np.float32)).save(folder / "float.tif")
    photo.save(folder / "moving.gif", save_all=True, append_images=[photo.rotate(90)] * 3)
    photo.save(folder / "turned.jpg", exif=_exif_turned())
    photo.crop((0, 0, 1, 40)).save(folder / "thin.png")
    os.makedirs(os.path.join(os.fsencode(folder), b"\xff\xfe"))
    photo.save(os.path.join(os.fsencode(folder), b"\xff\xfe", b"\x80 \xd6\xd0.png"))
    write_photo(folder.joinpath(*["deep"] * 60, "deep.bmp"), 3)
    (folder / "back").symlink_to(folder.parent)  # a loop of folders
    (folder / "gb.txt").write_bytes("一只狗在草地上奔跑。".encode("gb18030"))
    (folder / "wide.txt").write_bytes("A dog runs.".encode("utf-16"))
    (folder / "long.md").write_text("# 标题\n\n" + "长江大桥的夜景。" * 3000)
    return before + sum(
        path.is_file() for path in folder.rglob("*") if "back" not in path.parts[-2:]
    )


def _exif(raw: bytes) -> bytes:
    return b"Exif\0\0" + raw


def _exif_turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _bmp_header(width: int, height: int) -> bytes:
    head = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def _write_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)

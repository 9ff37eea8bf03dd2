"""Archives that tests make: sound ones of each kind, and some that nobody should open blindly."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

TAR_MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def pack(file: Path, members: Mapping[str, bytes]) -> Path:
    """An archive of these files, of the kind that its name says."""
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return file
    mode = next(mode for ending, mode in TAR_MODES.items() if file.name.endswith(ending))
    with tarfile.open(file, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


def encrypt(file: Path, name: str) -> None:
    """Marks a file of a ZIP as encrypted, as it is marked in the list of files."""
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))
    data[at + 8] |= 1
    file.write_bytes(data)


def add_zip_link(file: Path, name: str, target: str) -> None:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(info, target)


def add_gbk_name(file: Path, name: str, data: bytes) -> None:
    """A file named as Windows in China names it: in GB2312, without saying so."""
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("#" * len(name.encode("gb2312")), data)
    written = file.read_bytes()
    file.write_bytes(written.replace(b"#" * len(name.encode("gb2312")), name.encode("gb2312")))


def add_tar_links(file: Path) -> None:
    """Links that lead out of a TAR, and a file behind one of them."""
    with tarfile.open(file, "a") as archive:
        for name, target in (("out.jpg", "/etc/passwd"), ("up", "../..")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)

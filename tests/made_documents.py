"""Documents that cannot be read, one of them encrypted, one of 10,000 empty pages; a video."""

import struct
from pathlib import Path


def write_documents(folder: Path) -> list[Path]:
    """In `folder`, which exists."""
    return [
        _write(folder / "encrypted.pdf", blank_pdf(1, encrypted=True)),
        _write(folder / "10000 pages.PDF", blank_pdf(10_000)),
        _write(folder / "variable rate.mp4", _video([40, 1, 700, 40, 3000])),
    ]


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def blank_pdf(pages: int, *, encrypted: bool = False) -> bytes:
    """A PDF of empty pages, all in ASCII, so that it could be taken for a text."""
    kids = " ".join(f"{number} 0 R" for number in range(4, 4 + pages))
    lock = f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{'5a' * 32}> /U <{'a5' * 32}> >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {pages} /Kids [{kids}] >>",
        lock if encrypted else "null",
        *["<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>"] * pages,
    ]
    written, places = b"%PDF-1.4\n", []
    parts = [written]
    length = len(written)
    for number, text in enumerate(objects, start=1):
        places.append(length)
        parts.append(f"{number} 0 obj\n{text}\nendobj\n".encode())
        length += len(parts[-1])
    parts.append(f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n".encode())
    parts += [f"{place:010d} 00000 n \n".encode() for place in places]
    locked = f" /Encrypt 3 0 R /ID [<{'11' * 16}> <{'11' * 16}>]" if encrypted else ""
    end = f"trailer\n<< /Size {len(places) + 1} /Root 1 0 R{locked} >>\nstartxref\n{length}\n%%EOF"
    return b"".join([*parts, end.encode()])


def _video(durations: list[int]) -> bytes:
    """An MP4 whose frames last as many milliseconds, each of them a few bytes of nothing."""
    frames = [bytes(32)] * len(durations)
    file_type = _box(b"ftyp", b"isom\0\0\0\0isommp41")
    data = _box(b"mdat", b"".join(frames))
    entry = struct.pack(">6xH16xHHII4xH32xHh", 1, 32, 32, 0x480000, 0x480000, 1, 24, -1)
    numbers = b"".join(struct.pack(">II", 1, duration) for duration in durations)
    sizes = struct.pack(">III", 0, 0, len(frames)) + struct.pack(">I", 32) * len(frames)
    table = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1) + _box(b"mp4v", entry)),
        _box(b"stts", struct.pack(">II", 0, len(durations)) + numbers),
        _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, len(frames), 1)),
        _box(b"stsz", sizes),
        _box(b"stco", struct.pack(">III", 0, 1, len(file_type) + 8)),
    )
    clock = struct.pack(">IIIII", 0, 0, 0, 1000, sum(durations)) + bytes(4)
    media = _box(b"mdia", _box(b"mdhd", clock), _box(b"minf", table))
    return file_type + data + _box(b"moov", _box(b"mvhd", clock), _box(b"trak", media))


def _box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + name + content

"""The zoo: PDFs, Office files and videos that are locked, damaged, huge, or made to harm whoever
opens them; each with what must become of it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from made_office import paragraph, saved, word_package, zipped
from made_pdfs import pdf, write
from made_videos import BLUE, GREEN, RED, WHITE, write_scenes

MEGABYTE = 2**20
HEBREW, ARABIC = "שלום עולם", "القط على السجادة"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@dataclass(frozen=True)
class Beast:
    """A file, and what becomes of it: words of its text and of the error; None for none at all."""

    write: Callable[[Path], object]
    text: str | None = None
    error: str | None = None


def zoo(port: int) -> dict[str, Beast]:
    """The files by their names. A request to `port` of this machine would betray that one of their
    links was followed."""
    address = f"http://127.0.0.1:{port}/"
    return {**_pdfs(address), **_office(address), **_bombs(), **VIDEOS}


def of_bytes(make: Callable[[], bytes]) -> Callable[[Path], object]:
    """Writes what `make` returns: a file is made when its turn comes."""
    return lambda file: file.write_bytes(make())


# PDF


def raw_pdf(objects: Sequence[str | bytes], trailer: str = "") -> bytes:
    """A PDF of these objects, numbered from 1; the first is the catalogue."""
    data, places = b"%PDF-1.7\n", []
    parts = [data]
    length = len(data)
    for number, one in enumerate(objects, start=1):
        body = one.encode("latin-1") if isinstance(one, str) else one
        places.append(length)
        parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        length += len(parts[-1])
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n"
    end += f"<< /Size {size} /Root 1 0 R {trailer} >>\nstartxref\n{length}\n%%EOF"
    return b"".join([*parts, end.encode("latin-1")])


def stream(data: bytes, entries: str = "") -> bytes:
    """A stream object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries.encode(), data)


def _drawn(content: bytes, fonts: str = "", entries: str = "", catalog: str = "") -> bytes:
    """A page of 612 x 792 points that draws this."""
    return raw_pdf(
        [
            f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
            "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
            f"/Resources << /Font << {fonts} >> {entries} >> >>",
            stream(content),
        ]
    )


SAID = b"BT /F1 12 Tf 72 700 Td (The lighthouse is closed on Mondays.) Tj ET"
HELVETICA = "/F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def many_pages(count: int) -> bytes:
    """A PDF of pages that all say the same."""
    kids = " ".join(f"{number} 0 R" for number in range(5, 5 + count))
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 3 0 R >> >> >>"
    )
    font = HELVETICA.removeprefix("/F1 ")
    pages = f"<< /Type /Pages /Count {count} /Kids [{kids}] >>"
    return raw_pdf(
        ["<< /Type /Catalog /Pages 2 0 R >>", pages, font, stream(SAID), *[page] * count]
    )


def right_to_left() -> bytes:
    """Hebrew and Arabic as programs write them: the glyphs from left to right as they are seen."""
    file = ImageFont.truetype("DejaVuSans.ttf").path
    pdfmetrics.registerFont(TTFont("DejaVu", file))

    def draw(canvas: Canvas) -> None:
        write(canvas, [HEBREW[::-1], ARABIC[::-1]], font="DejaVu", size=14)

    return pdf(draw)


def _form() -> bytes:
    """A page with nothing but a field of a form."""

    def draw(canvas: Canvas) -> None:
        canvas.acroForm.textfield(name="city", tooltip="City", value="Ningbo", x=72, y=600)

    return pdf(draw)


def _adobe_form() -> bytes:
    """A form in XML beside a page for programs that do not show it."""
    form = "<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'><template/></xdp:xdp>"
    catalog = f"/AcroForm << /Fields [] /XFA [(template) ({form})] >>"
    return _drawn(SAID, HELVETICA, catalog=catalog)


def _cut_in_the_middle(data: bytes) -> bytes:
    """A file with a hole of zeros, as a download leaves it."""
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :]


def _looping() -> bytes:
    kids = "<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] /Parent 2 0 R >>"
    return raw_pdf(["<< /Type /Catalog /Pages 2 0 R >>", kids])


def _packed(times: int) -> bytes:
    """Blanks, packed twice: a few kilobytes become `times` megabytes. Packing the same megabyte
    over and over would take seconds, so its block is repeated."""
    packer = zlib.compressobj(9)
    block = packer.compress(b" " * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return zlib.compress(block + block[2:] * (times - 1) + packer.flush(), 9)


def _stream_bomb() -> bytes:
    packed = stream(_packed(700), "/Filter [/FlateDecode /FlateDecode]")
    return raw_pdf(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>",
            packed,
        ]
    )


def _picture_bomb() -> bytes:
    image = stream(
        zlib.compress(bytes(1000)),
        "/Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceRGB "
        "/BitsPerComponent 8 /Filter /FlateDecode",
    )
    return raw_pdf(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
            f"/Resources << /Font << {HELVETICA} >> /XObject << /I 5 0 R >> >> >>",
            stream(SAID + b" q 500 0 0 500 50 50 cm /I Do Q"),
            image,
        ]
    )


def _acting(address: str) -> bytes:
    """Opens an address, starts a program and sends a form, as far as its reader lets it."""
    actions = (
        f"/OpenAction << /S /URI /URI ({address}open) /Next << /S /JavaScript /JS "
        f"(app.launchURL\\('{address}js'\\); this.submitForm\\('{address}form'\\)) "
        f"/Next << /S /Launch /F (calc.exe) >> >> >>"
    )
    return _drawn(SAID, HELVETICA, catalog=actions)


def _pdfs(address: str) -> dict[str, Beast]:
    said = "lighthouse is closed"
    sound = pdf(lambda canvas: write(canvas, ["The lighthouse is closed on Mondays."]))
    return {
        "encrypted.pdf": Beast(
            of_bytes(lambda: pdf(lambda one: write(one, ["Secret"]), encrypt="x")),
            error="locked with a password",
        ),
        "cut off.pdf": Beast(
            of_bytes(lambda: sound[: len(sound) // 3]), error="not a complete PDF"
        ),
        "hole.pdf": Beast(
            of_bytes(lambda: _cut_in_the_middle(many_pages(18))), said, "could not be opened"
        ),
        "looping.pdf": Beast(of_bytes(_looping), error=""),
        "10,000 pages.pdf": Beast(
            of_bytes(lambda: many_pages(10_000)), said, error="it has 10,000 pages"
        ),
        "no such font.pdf": Beast(
            of_bytes(lambda: _drawn(SAID, HELVETICA.replace("Helvetica", "NoSuchFont"))), said
        ),
        "no font.pdf": Beast(of_bytes(lambda: _drawn(SAID)), said),
        "right to left.pdf": Beast(of_bytes(right_to_left), HEBREW),
        "form.pdf": Beast(of_bytes(_form), "City: Ningbo"),
        "adobe form.pdf": Beast(of_bytes(_adobe_form), said, error="(XFA)"),
        "stream bomb.pdf": Beast(of_bytes(_stream_bomb), error=""),
        "picture bomb.pdf": Beast(of_bytes(_picture_bomb), said),
        "acting.pdf": Beast(of_bytes(lambda: _acting(address)), said),
    }


# Office


def _package(body: str, related: str, parts: dict[str, bytes] | None = None) -> bytes:
    """A Word document with relations of its own and further parts."""
    package = io.BytesIO(word_package(body))
    with zipfile.ZipFile(package) as archive:
        known = {name: archive.read(name) for name in archive.namelist()}
    relations = f'<Relationships xmlns="{_RELATIONS}">{related}</Relationships>'
    return zipped({**known, "word/_rels/document.xml.rels": relations, **(parts or {})})


def _external(address: str) -> bytes:
    """A document whose template, picture and frame are elsewhere, and a field that starts a
    program."""
    related = "".join(
        f'<Relationship Id="r{number}" Type="{_OFFICE}/{kind}" Target="{address}{kind}"'
        ' TargetMode="External"/>'
        for number, kind in enumerate(("attachedTemplate", "image", "frame", "oleObject"))
    )
    field = '<w:p><w:r><w:instrText>DDEAUTO c:\\\\cmd.exe "/k calc"</w:instrText></w:r></w:p>'
    return _package(paragraph("The lighthouse is closed.") + field, related)


def _macro_document() -> bytes:
    related = f'<Relationship Id="r9" Type="{_OFFICE}/vbaProject" Target="vbaProject.bin"/>'
    return _package(
        paragraph("The lighthouse is closed."),
        related,
        {"word/vbaProject.bin": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000)},
    )


def _book(parts: dict[str, bytes | str]) -> bytes:
    """A workbook with further parts."""
    import openpyxl

    made = openpyxl.Workbook()
    for row in (["port", "ships"], ["Ningbo", 120], ["Hull", 35]):
        made.active.append(row)
    with zipfile.ZipFile(io.BytesIO(saved(made))) as archive:
        known = {name: archive.read(name) for name in archive.namelist()}
    return zipped({**known, **parts})


def _linked_book(address: str) -> bytes:
    link = f'<Relationship Id="r1" Type="{_OFFICE}/externalLinkPath" Target="{address}book.xlsx"'
    return _book(
        {
            "xl/externalLinks/externalLink1.xml": "<externalLink/>",
            "xl/externalLinks/_rels/externalLink1.xml.rels": f'<Relationships xmlns="{_RELATIONS}">'
            f'{link} TargetMode="External"/></Relationships>',
        }
    )


def _page(address: str) -> bytes:
    """A web page that loads whatever it can."""
    return f"""<html><head><link rel="stylesheet" href="{address}style"><base href="{address}">
    <meta http-equiv="refresh" content="0; url={address}next"><script src="{address}js"></script>
    </head><body background="{address}ground"><p>The lighthouse is closed.</p>
    <img src="{address}image"><iframe src="{address}frame"></iframe><video src="{address}video">
    </video><object data="{address}object"></object></body></html>""".encode()


def _office(address: str) -> dict[str, Beast]:
    said = "lighthouse is closed"
    macro = {"xl/vbaProject.bin": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000)}
    mail = b"Subject: News\nContent-Type: text/html; charset=utf-8\n\n" + _page(address)
    return {
        "macro.docm": Beast(of_bytes(_macro_document), said),
        "macro.xlsm": Beast(of_bytes(lambda: _book(macro)), "Ningbo"),
        "external.docx": Beast(of_bytes(lambda: _external(address)), said),
        "linked.xlsx": Beast(
            of_bytes(lambda: _linked_book(address)), "Ningbo", "refers to other workbooks"
        ),
        "page.html": Beast(of_bytes(lambda: _page(address)), said),
        "mail.eml": Beast(of_bytes(lambda: mail), said),
    }


# Bombs


def _lying(data: bytes, stated: int) -> bytes:
    """A ZIP whose largest part is said to unpack to `stated` bytes, in both places."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
    true = struct.pack("<I", largest.file_size)
    return data.replace(true, struct.pack("<I", stated))


def _overlapping(count: int) -> bytes:
    """A ZIP whose directory names the same packed bytes many times (D. Fifield, "A better zip
    bomb", WOOT 2019)."""
    name, plain = b"word/document.xml", b" " * (7 * MEGABYTE)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(plain) + packer.flush()
    fields = (20, 0, 8, 0, 0, zlib.crc32(plain), len(packed), len(plain))
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, *fields, len(name), 0) + name + packed
    entries = b""
    for number in range(count):
        called = name if not number else b"word/%d.xml" % number
        head = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, *fields, len(called), *[0] * 6)
        entries += head + called
    size, at = len(entries), len(local)
    return local + entries + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, at, 0)


def _sheet(data: str) -> bytes:
    """A workbook with this XML in its sheet."""
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return _book({"xl/worksheets/sheet1.xml": f'<worksheet xmlns="{space}">{data}</worksheet>'})


def _bombs() -> dict[str, Beast]:
    letters = paragraph("a" * 30 * MEGABYTE)
    deep = "<w:sdt>" * 100_000 + paragraph("deep") + "</w:sdt>" * 100_000
    corner = '<sheetData><row r="1048576"><c r="XFD1048576"><v>7</v></c></row></sheetData>'
    wide = '<sheetData><row r="1"><c r="A1"><v>7</v></c></row></sheetData><mergeCells>'
    wide += '<mergeCell ref="A1:XFD1048576"/>' * 1000 + "</mergeCells>"
    return {
        "bomb.docx": Beast(of_bytes(lambda: word_package(letters)), error="fill the memory"),
        "lying.docx": Beast(of_bytes(lambda: _lying(word_package(letters), 900)), error="damaged"),
        "overlapping.docx": Beast(of_bytes(lambda: _overlapping(100)), error="fill the memory"),
        "deep.docx": Beast(of_bytes(lambda: word_package(deep)), error=""),
        "bomb.xlsx": Beast(
            of_bytes(lambda: _sheet("<sheetData/>" + " " * 30 * MEGABYTE)), error="fill the memory"
        ),
        "lying.xlsx": Beast(
            of_bytes(lambda: _lying(_sheet("<sheetData/>" + " " * 30 * MEGABYTE), 900)),
            error="damaged",
        ),
        "far corner.xlsx": Beast(of_bytes(lambda: _sheet(corner)), "7"),
        "merged.xlsx": Beast(of_bytes(lambda: _sheet(wide)), "7"),
    }


# Videos


def _four_hours(file: Path) -> object:
    """Four hours of a frame every 15 to 25 seconds."""
    hours = 4 * 3600
    times = [step * 20 + (step % 3) * 5 for step in range(hours // 20)]
    scenes = [RED, GREEN, BLUE, WHITE]
    return write_scenes(file, scenes, seconds=hours / 80, fps=1, times=times)


def _broken_video(file: Path) -> object:
    write_scenes(file, [RED, GREEN, BLUE] * 3)
    data = file.read_bytes()
    return file.write_bytes(data[: 2 * len(data) // 3])


def _no_index(file: Path) -> object:
    write_scenes(file, [RED, GREEN])
    return file.write_bytes(file.read_bytes()[:-700])


VIDEOS = {
    "four hours.mkv": Beast(_four_hours, "", "400 moments"),
    "broken.mkv": Beast(_broken_video, "", "missing or damaged"),
    "no index.mp4": Beast(_no_index, error=""),
}

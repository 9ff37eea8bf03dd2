"""Office files, books and mails made for tests; by their libraries or by hand."""

import zipfile
from io import BytesIO

from seesay.search.reading.files import FileData

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def file_of(name: str, data: bytes) -> FileData:
    """A file as a reader gets it."""
    return FileData(path=name, data=data, content_hash="", size=len(data), mtime_ns=0)


def zipped(parts: dict[str, str | bytes]) -> bytes:
    """A ZIP of these parts."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def word_package(body: str, prolog: str = "") -> bytes:
    """A Word document with this XML in its body."""
    relations = (
        f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="r1"'
        f' Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>'
    )
    document = f'{prolog}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    return zipped({"_rels/.rels": relations, "word/document.xml": document})


def paragraph(text: str, properties: str = "") -> str:
    """A paragraph of one run."""
    return f"<w:p><w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r></w:p>"


def saved(document: object) -> bytes:
    """The bytes of a document, workbook or presentation of the libraries."""
    data = BytesIO()
    document.save(data)  # type: ignore[attr-defined]
    return data.getvalue()


def book(*pages: str) -> bytes:
    """An EPUB with these pages of HTML."""
    names = [f"page{number}.xhtml" for number in range(len(pages))]
    items = "".join(
        f'<item id="p{n}" href="{name}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="p{n}"/>' for n in range(len(names)))
    return zipped(
        {
            "META-INF/container.xml": "<container><rootfiles>"
            '<rootfile full-path="text/book.opf"/></rootfiles></container>',
            "text/book.opf": f"<package><metadata><title>Title</title></metadata>"
            f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{f"text/{name}": page for name, page in zip(names, pages, strict=True)},
        }
    )

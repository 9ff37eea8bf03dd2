"""E-books (EPUB 2 and 3): the pages of their spine, in order."""

import posixpath

from seesay.errors import DataError
from seesay.search.reading.files import FileData, RefusedError
from seesay.search.reading.grids import document_content
from seesay.search.reading.markup import Part, decode_page, html_parts
from seesay.search.reading.messages import FileContent, FileReader
from seesay.search.reading.packages import Package, local, part_name, refused
from seesay.text import Text

_CONTAINER = "META-INF/container.xml"
_RIGHTS = "META-INF/rights.xml"
_PAGES = ("application/xhtml+xml", "text/html")


def read_book(file: FileData) -> FileContent:
    """Returns the passages of a book, with the headings of its chapters. Raises RefusedError if it
    is damaged, protected or holds no text."""
    package = Package(file.data)
    if _RIGHTS in package:
        raise refused(
            "it is protected against copying. Expected a book without protection. Leave it out",
            "书籍有防复制保护（DRM）；应为没有保护的书；请去掉这个文件",
        )
    roots = [
        one.get("full-path", "")
        for one in package.xml(_CONTAINER).iter()
        if local(one) == "rootfile"
    ]
    if not roots:
        raise refused(
            "it names no book inside. Expected an EPUB. Download it again",
            "里面没有指明书籍内容；应为 EPUB；请重新下载",
        )
    book = package.xml(roots[0])
    folder = posixpath.dirname(roots[0])
    pages = {
        one.get("id", ""): part_name(folder, one.get("href", ""))
        for one in book.iter()
        if local(one) == "item" and one.get("media-type", "") in _PAGES
    }
    spine = [pages.get(one.get("idref", "")) for one in book.iter() if local(one) == "itemref"]
    parts: list[Part] = []
    lost = []
    for name in filter(None, spine):
        try:
            parts += html_parts(decode_page(package.read(name)))
        except (DataError, RefusedError):
            lost.append(name)
    titles = [one.text or "" for one in book.iter() if local(one) == "title"]
    return document_content(
        parts, title=(titles or [""])[0], complaints=[_lost(lost)] if lost else []
    )


def _lost(names: list[str]) -> Text:
    told = ", ".join(names[:5])
    return Text(
        f"{len(names)} of its pages are missing or not text ({told}). Expected all that it lists. "
        "Download it again.",
        f"有 {len(names)} 页缺失或不是文字（{told}）；应包含它列出的各页；请重新下载。",
    )


READER = FileReader(
    media_type="book",
    endings=frozenset((".epub",)),
    read=lambda file, settings, needed: read_book(file),
    is_text=False,
)

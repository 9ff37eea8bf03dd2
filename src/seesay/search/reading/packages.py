"""ZIP packages of XML: Office files and e-books, unpacked within limits.

Whoever made a file may want to fill the memory of those who open it. So nothing is unpacked before
the sizes that the package states are checked (`zipfile` never unpacks more than is stated), and XML
with a document type is refused: entities that expand to gigabytes (CWE-776) or name other files
(CWE-611) are defined there, and Office never writes one. Links to other places are not followed.
"""

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.parsers import expat

from seesay.data.archives import Readable
from seesay.search.reading.files import RefusedError
from seesay.text import Text

Element = ElementTree.Element

_MOST_ENTRIES = 20_000
_MOST_BYTES = 512 * 2**20  # unpacked
_MOST_PART = 64 * 2**20  # of a part that is read as a whole: its tree takes ten times as much
_RATIO, _SMALL = 400, 8 * 2**20  # a sheet of a million equal rows is packed 150 to 1
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of encrypted files and of Office 97
_PIECE = 1 << 16
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


class _RootError(Exception):
    """The root element was reached."""


class Package:
    """The parts of a package. Raises RefusedError if it is damaged, encrypted or a ZIP bomb."""

    def __init__(self, data: bytes) -> None:
        if data.startswith(_OLE):
            raise refused(
                "it is encrypted, or in an old Office format. Expected a file that opens "
                "without a password. Open it, and save it again without one",
                "文件已加密，或是旧版 Office 格式；应无需密码即可打开；请打开后另存，不设密码",
            )
        try:
            self._zip = zipfile.ZipFile(BytesIO(data))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise _damaged(error) from None
        self._parts = {one.filename.lstrip("/").lower(): one for one in self._zip.infolist()}
        self._check()

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parts

    def read(self, name: str) -> bytes:
        """Returns a part as a whole."""
        info = self._info(name)
        if info.file_size > _MOST_PART:
            raise _bomb(info.file_size, _MOST_PART)
        try:
            return self._zip.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise _damaged(error) from None

    def xml(self, name: str) -> Element:
        """Returns the root element of a part."""
        data = self.read(name)
        check_xml(BytesIO(data))
        try:
            root = ElementTree.fromstring(data)
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise _damaged(error) from None
        return root

    def elements(self, name: str) -> Iterator[tuple[str, Element]]:
        """Yields "start" and "end" of each element of a part that is too large for a tree."""
        info = self._info(name)
        try:
            with self._zip.open(info) as stream:
                check_xml(stream)
            with self._zip.open(info) as stream:
                yield from ElementTree.iterparse(stream, ("start", "end"))
        except (
            *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),
            *(ElementTree.ParseError, ValueError, LookupError),
        ) as error:
            raise _damaged(error) from None

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """Returns the type and the name of each part that a part refers to, by number; those
        outside of the package are left out."""
        folder, base = posixpath.split(name)
        relations = posixpath.join(folder, "_rels", f"{base}.rels")
        if relations not in self:
            return {}
        return {
            one.get("Id", ""): (
                one.get("Type", "").rsplit("/", 1)[-1],
                part_name(folder, one.get("Target", "")),
            )
            for one in self.xml(relations)
            if one.get("TargetMode") != "External"
        }

    def main_part(self) -> str:
        """Returns the name of the part that holds the document."""
        for kind, name in self.related("").values():
            if kind == "officeDocument" and name in self:
                return name
        raise _damaged("no document in it")

    def is_linked(self) -> bool:
        """Whether it refers to data in other files."""
        return any("externallinks/" in name for name in self._parts)

    def _info(self, name: str) -> zipfile.ZipInfo:
        if name.lower() not in self._parts:
            raise _damaged(f"{name[:80]} is missing")
        return self._parts[name.lower()]

    def _check(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > _MOST_ENTRIES:
            raise refused(
                f"it holds {len(infos):,} parts. Expected at most {_MOST_ENTRIES:,}. "
                "Leave it out, or divide it",
                f"其中有 {len(infos):,} 个部分，最多 {_MOST_ENTRIES:,} 个；请去掉或拆分",
            )
        if any(one.flag_bits & 1 for one in infos):
            raise refused(
                "it is encrypted. Expected a file that opens without a password. "
                "Save it again without one",
                "文件已加密；应无需密码即可打开；请另存，不设密码",
            )
        total = sum(one.file_size for one in infos)
        if total > _MOST_BYTES:
            raise _bomb(total, _MOST_BYTES)
        for one in infos:
            if one.file_size > max(_SMALL, one.compress_size * _RATIO):
                raise _bomb(one.file_size, one.compress_size * _RATIO)


def check_xml(stream: Readable) -> None:
    """Raises RefusedError if XML begins with a document type, the only place where entities are
    defined. Reads up to the root element."""
    parser = expat.ParserCreate()

    def on_type(*_: object) -> None:
        raise refused(
            "its XML has a document type, which may define entities without end. Expected none, as "
            "Office writes. Save it again in Office",
            "其 XML 含有文档类型声明，可能定义无限展开的实体；Office 不会写入；"
            "请用 Office 重新保存",
        )

    def on_root(*_: object) -> None:
        raise _RootError

    parser.StartDoctypeDeclHandler = on_type
    parser.StartElementHandler = on_root
    try:
        while piece := stream.read(_PIECE):
            parser.Parse(piece)
        parser.Parse(b"", True)
    except _RootError:
        return
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise _damaged(error) from None


def part_name(folder: str, target: str) -> str:
    """Returns the name of a part from a reference in a folder of the package."""
    path = unquote(target.partition("#")[0])
    joined = path if path.startswith("/") else posixpath.join(folder, path)
    return posixpath.normpath(joined).lstrip("/")


def relation(element: Element) -> str:
    """Returns the number of the relation that an element names; empty if there is none."""
    return element.get(_RELATION, "")


def local(element: Element) -> str:
    """Returns the name of an element without its namespace: strict and transitional files differ
    in that alone."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: Element, name: str) -> str | None:
    """Returns an attribute by its name without the namespace."""
    for key, value in element.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


def refused(en: str, zh: str) -> RefusedError:
    """Why a document is not read."""
    return RefusedError("document", Text(f"{en}.", zh))


def _bomb(size: int, most: int) -> RefusedError:
    return refused(
        f"unpacked it takes {size:,} bytes, and {most:,} is the most for what it holds. Expected "
        "a file that is not made to fill the memory. Divide it if you trust it",
        f"解压后有 {size:,} 字节，上限为 {most:,}；应为不会占满内存的文件；如果信得过，请拆分",
    )


def _damaged(error: object) -> RefusedError:
    return refused(
        f"it is damaged or cut off ({error}). Expected a whole file. Copy, download or save it "
        "again",
        f"文件已损坏或不完整（{error}）；应为完整的文件；请重新复制、下载或保存",
    )

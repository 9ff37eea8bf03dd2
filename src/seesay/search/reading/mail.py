"""E-mails and saved web pages (MIME): the text, with subject, sender, recipients and date as
metadata.

Attachments are named, not read; nothing that a mail refers to is fetched.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from seesay.data.encodings import clean_text, decode_text
from seesay.errors import DataError
from seesay.search.catalog.metadata import Value
from seesay.search.reading.blocks import Block
from seesay.search.reading.files import FileData
from seesay.search.reading.grids import document_content
from seesay.search.reading.markup import Part, decode_page, html_parts
from seesay.search.reading.messages import FileContent, FileReader

_MOST_NAMED = 20
_MOST_PARTS = 1000


def read_mail(file: FileData) -> FileContent:
    """Returns the passages of a mail. Raises RefusedError if it holds no text."""
    mail = BytesParser(policy=policy.default).parsebytes(file.data)
    subject = _header(mail, "subject")
    parts: list[Part] = [Block(text=subject, heading=1)] if subject else []
    parts += _body(mail)
    names = _attachments(mail)
    if names:
        told = ", ".join(names[:_MOST_NAMED])
        parts.append(Block(text=f"Attachments / 附件: {told}"))
    content = document_content(parts)
    metadata = _metadata(mail, subject)
    passages = tuple(replace(one, metadata=metadata) for one in content.passages)
    return replace(content, passages=passages)


def _body(mail: EmailMessage) -> list[Part]:
    """Returns the text of a mail; that of a saved web page is its HTML."""
    try:
        best = mail.get_body(preferencelist=("plain", "html"))
    except (KeyError, ValueError, AttributeError):  # a broken structure
        best = None
    if not isinstance(best, EmailMessage):
        return []
    data = best.get_payload(decode=True)
    if not isinstance(data, bytes):
        return []
    text = _decoded(data, best.get_content_charset(), is_page=best.get_content_subtype() == "html")
    if best.get_content_subtype() == "html":
        return html_parts(text)
    return [Block(text=one) for one in _paragraphs(text)]


def _decoded(data: bytes, charset: str | None, *, is_page: bool) -> str:
    try:
        return data.decode("gb18030" if charset in ("gb2312", "gbk") else charset or "ascii")
    except (LookupError, UnicodeDecodeError, ValueError):
        pass
    try:
        return decode_page(data) if is_page else decode_text(data)
    except DataError:
        return ""


def _paragraphs(text: str) -> Iterator[str]:
    """Yields the paragraphs of a plain mail, without the marks of what is quoted."""
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        yield "\n".join(line.lstrip("> ") for line in paragraph.split("\n"))


def _attachments(mail: EmailMessage) -> list[str]:
    names = []
    for at, part in enumerate(mail.walk()):
        if at >= _MOST_PARTS:
            break
        try:
            name = part.get_filename()
        except (ValueError, LookupError, TypeError):
            continue
        if name and part.get_content_disposition() == "attachment":
            names.append(" ".join(clean_text(str(name)).split())[:200])
    return names


def _metadata(mail: EmailMessage, subject: str) -> dict[str, Value]:
    known: dict[str, Value] = {
        "subject": subject,
        "from": _header(mail, "from"),
        "to": _header(mail, "to"),
    }
    known = {name: value for name, value in known.items() if value}
    if (day := _date(_header(mail, "date"))) is not None:
        known["date"] = day
    return known


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).replace(tzinfo=None)
    except (ValueError, TypeError, IndexError):
        return None


def _header(mail: EmailMessage, name: str) -> str:
    try:
        return " ".join(clean_text(str(mail.get(name, ""))).split())[:1000]
    except (ValueError, LookupError, TypeError, AttributeError, IndexError):  # damaged headers
        return ""


READER = FileReader(
    media_type="mail",
    endings=frozenset((".eml", ".mht", ".mhtml")),
    read=lambda file, settings, needed: read_mail(file),
    is_text=False,
)

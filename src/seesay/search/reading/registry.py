"""The kinds of files that can be indexed. To add one, add a module to this folder and a line
here."""

import os

from seesay.search.reading import pdf, pictures, tables, texts
from seesay.search.reading.messages import FileReader

READERS: tuple[FileReader, ...] = (
    pictures.READER,
    pdf.READER,
    tables.READER,
    texts.READER,  # last, since nearly anything looks like a text
)


def media_type_of(name: str) -> str | None:
    """Returns the media type expected for a file name; None if no reader supports it."""
    ending = os.path.splitext(name)[1].lower()
    return next((one.media_type for one in READERS if ending in one.endings), None)


def shows_places(media_type: str) -> bool:
    """Whether places in files of this media type can be shown as pictures."""
    return any(one.media_type == media_type and one.show is not None for one in READERS)


def reader_of(media_type: str, data: bytes) -> FileReader:
    """Returns the reader of this media type; for "any", the first that recognises the bytes."""
    return next(
        one
        for one in READERS
        if one.media_type == media_type or (media_type == "any" and one.recognises(data))
    )

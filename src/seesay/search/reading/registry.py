"""The kinds of files that can be indexed. A new one is a file in this folder and a line here."""

import os

from seesay.search.reading import pictures, tables, texts
from seesay.search.reading.messages import FileReader

READERS: tuple[FileReader, ...] = (
    pictures.READER,
    tables.READER,
    texts.READER,  # last, since nearly anything may pass for a text
)


def media_type_of(name: str) -> str | None:
    """What a file of this name should hold; None where nothing reads it."""
    ending = os.path.splitext(name)[1].lower()
    return next((one.media_type for one in READERS if ending in one.endings), None)


def reader_of(media_type: str, data: bytes) -> FileReader:
    """The reader of this media type; of "any", the first that recognises the bytes."""
    return next(
        one
        for one in READERS
        if one.media_type == media_type or (media_type == "any" and one.recognises(data))
    )

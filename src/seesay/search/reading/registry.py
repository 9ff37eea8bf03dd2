"""The kinds of files that can be indexed. To add one, add a module to this folder and a line
here."""

import os

from seesay.data.archives import archive_of, is_unpacked_whole
from seesay.search.catalog.drafts import Place
from seesay.search.reading import (
    books,
    documents,
    mail,
    markdown,
    markup,
    pdf,
    pictures,
    sheets,
    tables,
    texts,
    videos,
    workbooks,
)
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import FileReader, ListedFile

READERS: tuple[FileReader, ...] = (
    pictures.READER,
    pdf.READER,
    videos.READER,
    documents.READER,
    documents.SLIDES,
    documents.OLD,
    workbooks.READER,
    books.READER,
    mail.READER,
    markup.READER,
    markdown.READER,
    sheets.READER,
    tables.READER,
    texts.READER,  # last, since nearly anything looks like a text
)


_ARCHIVE_S_PER_MIB, _MOST_ARCHIVE_S = 1.0, 600.0  # to unpack a compressed TAR, or to hash archives


def media_type_of(name: str) -> str | None:
    """Returns the media type expected for a file name; None if no reader supports it."""
    ending = os.path.splitext(name)[1].lower()
    return next((one.media_type for one in READERS if ending in one.endings), None)


def shows(media_type: str, place: Place) -> bool:
    """Whether a place in a file of this media type can be shown as a picture of its own."""
    somewhere = place.page is not None or place.start_s is not None
    readers = (one for one in READERS if one.media_type == media_type)
    return somewhere and any(one.show is not None for one in readers)


def seconds_for(task: ListedFile, limits: ReadLimits) -> float:
    """Returns how long a file, or a part of usual size, may take to read."""
    if task.place is not None:
        return limits.seconds
    rates = (r.seconds_per_mib for r in READERS if task.expected in (r.media_type, "any"))
    unpacked = task.size if task.expected == "archive" else 0
    if (found := archive_of(task.path)) and is_unpacked_whole(found[0]):
        unpacked = os.stat(found[0]).st_size
    in_archive_s = min(_ARCHIVE_S_PER_MIB * unpacked / 2**20, _MOST_ARCHIVE_S)
    return limits.seconds + max(rates, default=0.0) * task.size / 2**20 + in_archive_s


def reader_of(media_type: str, data: bytes) -> FileReader:
    """Returns the reader of this media type; for "any", the first that recognises the bytes."""
    return next(
        one
        for one in READERS
        if one.media_type == media_type or (media_type == "any" and one.recognises(data))
    )

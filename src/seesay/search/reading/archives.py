"""Archives: the pictures and documents in them, each of which is then read like any other file."""

import os
from collections import Counter

from seesay.data.archives import is_archive, list_members
from seesay.errors import DataError
from seesay.search.reading import videos
from seesay.search.reading.files import RefusedError, hash_file
from seesay.search.reading.messages import ReadResult
from seesay.search.reading.registry import media_type_of
from seesay.text import Text

MEDIA_TYPE = "archive"
_MOST_BYTES = 64 * 2**30  # of an archive: it stays on the disk
_VIDEOS = Text("videos", "视频")
_ARCHIVES = Text("archives", "压缩包")
_OUTSIDE = Text("names that lead out of it or are too long", "指向包外或过长的文件名")
_REPEATED = Text("names that occur before", "前面已有的文件名")


def read_archive(path: str) -> ReadResult:
    """Returns the files in an archive that can be read. Raises RefusedError if it is damaged or
    too large."""
    file = hash_file(path, _MOST_BYTES)
    try:
        found = list_members(path)
    except DataError as error:
        raise RefusedError(MEDIA_TYPE, error.text) from None
    except OSError as error:
        raise RefusedError("read", Text.of(error.strerror or error)) from None
    members, left_out, unread = [], Counter[str](), Counter[Text]()
    for one in found.members:
        media_type = media_type_of(one.name)
        if is_archive(one.name):
            unread[_ARCHIVES] += 1
        elif media_type == videos.MEDIA_TYPE:
            unread[_VIDEOS] += 1
        elif media_type is None:
            left_out[os.path.splitext(one.name)[1].lower()] += 1
        else:
            members.append((one.name, one.size))
    unread[_OUTSIDE] += found.outside
    unread[_REPEATED] += found.repeated
    counted = [
        Text(f"{n.en} ({count:,})", f"{n.zh} {count:,} 个") for n, count in unread.items() if count
    ]
    listed = Text(", ", "、").join(counted)
    complaint = Text(
        f"of the files in it, these were not read: {listed.en}. To read them, unpack it and index "
        "the folder.",
        f"其中没有读取的有：{listed.zh}；要读取请解压后收录文件夹",
    )
    return ReadResult(
        path=path,
        size=file.size,
        mtime_ns=file.mtime_ns,
        content_hash=file.content_hash,
        media_type=MEDIA_TYPE,
        members=tuple(members),
        left_out=left_out,
        complaint=complaint if counted else None,
    )

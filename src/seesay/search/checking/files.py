"""Do the files still hold what was indexed?"""

import hashlib
from collections.abc import Iterator

from seesay.data.opening import open_file
from seesay.search.catalog.store import Store
from seesay.search.checking.findings import Finding
from seesay.search.indexing.walk import is_as_stored

_BLOCK = 1 << 20


def check_files(store: Store) -> list[Finding]:
    """Files that are there, of the size and time that they had, and hold something else or cannot
    be read. What was changed in the usual way, or removed, is the business of the next run."""
    changed, unreadable = [], []
    for item in store.items.all():
        try:
            if is_as_stored(item) and _content_hash(item.path) != item.content_hash:
                changed.append(item.path)
        except OSError as error:
            unreadable.append((item.path, error.strerror or str(error)))
    return list(_findings(changed, unreadable))


def _findings(changed: list[str], unreadable: list[tuple[str, str]]) -> Iterator[Finding]:
    if changed:
        yield Finding(kind="silent changes", where=changed[0], count=len(changed))
    if unreadable:
        (path, reason), count = unreadable[0], len(unreadable)
        yield Finding(kind="unreadable files", where=path, count=count, detail=reason)


def _content_hash(path: str) -> str:
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()

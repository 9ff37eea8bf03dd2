"""The results on the page: hits and how to go on, or one clear message."""

from html import escape

from seesay.errors import CollectionError, ImageError, SeesayError
from seesay.search.asking.results import Results
from seesay.search.catalog.drafts import TEXT_TYPES
from seesay.search.collection import Collection
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.asking import PAGE, SearchForm, search
from seesay.web.cards import button, grid, notice, picture
from seesay.web.explaining import explanation
from seesay.web.report import both
from seesay.web.uploads import refusal


def answer(collection: Collection, name: str, asked: SearchForm, *, removable: bool = False) -> str:
    """The results of a query. A visitor's mistakes become messages, never exceptions. `removable`
    adds buttons that remove hits from the collection."""
    try:
        if asked.nothing:
            hint = notice(words.NOTHING_ASKED, kind="hint")
            return hint + newest(collection, name, removable=removable)
        if asked.picture is not None and (why := refusal(asked.picture)):
            return refused(why, asked.picture_name)
        return _found(collection, name, asked, search(collection, asked), removable=removable)
    except ImageError:
        return refused(words.PICTURE_DAMAGED, asked.picture_name)
    except SeesayError as error:
        return failed(error)


def welcome(collection: Collection, name: str, *, removable: bool = False) -> str:
    """The start page: queries to try, and the newest pictures."""
    try:
        tries = "".join(
            f'<button type="button" class="do try" data-do="try" data-words="{escape(one)}">'
            f"{escape(one)}</button>"
            for one in words.EXAMPLES
        )
        shown = newest(collection, name, removable=removable)
        return f'<p class="tries">{both(words.TRY)} {tries}</p>{shown}'
    except CollectionError as error:
        return failed(error)


def failed(error: Exception) -> str:
    """An error as a message on the page."""
    return notice(words.FAILED, detail=Text.of(error), kind="wrong")


def refused(why: Text, name: str) -> str:
    """Which picture cannot be searched with, and why."""
    return notice(words.BAD_PICTURE.format(name=name or words.THIS_FILE), why, kind="wrong")


def newest(collection: Collection, name: str, *, removable: bool = False) -> str:
    """The pictures that were added last."""
    hits = collection.newest(PAGE)
    if not hits:
        return notice(words.EMPTY, kind="hint")
    shown = grid(collection.fold(hits), name, removable=removable)
    return f"<h3>{both(words.NEWEST)}</h3>{shown}"


def _found(
    collection: Collection, name: str, asked: SearchForm, results: Results, *, removable: bool
) -> str:
    more = len(results.hits) > PAGE
    hits = collection.fold(results.hits[:PAGE])
    likely = [one for one in hits if one.hit.confidence >= results.explain.threshold]
    unlikely = hits[len(likely) :]  # hits stand in the order of their confidence
    head = _head(collection, name, asked)
    if not hits:
        return head + _nothing(asked)
    if results.no_good_match and asked.page == 0:
        near = words.ONLY_NEAR if asked.unit is None else words.NOTHING_LIKE
        head += notice(words.NO_GOOD_MATCH, near, kind="far")
    divider = f'<h3 class="divider">{both(words.LESS_LIKELY)}</h3>' if likely and unlikely else ""
    return (
        f"{head}{grid(likely, name, removable=removable)}{divider}"
        f"{grid(unlikely, name, far=True, removable=removable)}"
        f"{_pager(asked.page, more)}{explanation(results)}"
    )


def _nothing(asked: SearchForm) -> str:
    if asked.page:
        return notice(words.END, kind="hint") + _pager(asked.page, False)
    if asked.min_match:
        reaches = words.NONE_REACHES.format(share=f"{asked.min_match:.0f}")
        return notice(words.NO_GOOD_MATCH, reaches, kind="far")
    return notice(words.NO_GOOD_MATCH, words.NONE_LEFT, kind="far")


def _head(collection: Collection, name: str, asked: SearchForm) -> str:
    if asked.unit is None:
        return ""
    (known,) = collection.store.passages.get([asked.unit]) or (None,)
    items = collection.store.files.get([known.file]) if known else []
    if not known or not items:
        return ""
    path = items[0].path
    shown = "" if known.media_type in TEXT_TYPES else picture(known.id, path, name)
    label = escape(to_unicode(path.replace("\\", "/").rsplit("/", 1)[-1]))
    back = button(words.BACK, do="back")
    return (
        f'<div class="like">{shown}<div><span class="kind">{both(words.SIMILAR_TO)}</span>'
        f"<strong>{label}</strong>{back}</div></div>"
    )


def _pager(page: int, more: bool) -> str:
    if not page and not more:
        return ""
    former = button(words.PREVIOUS, do="page", page=page - 1) if page else ""
    later = button(words.NEXT, do="page", page=page + 1) if more else ""
    here = both(words.PAGE.format(page=page + 1))
    return f'<nav class="pager">{former}<span>{here}</span>{later}</nav>'

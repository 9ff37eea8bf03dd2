"""The event handlers of the page: one method for each thing that a visitor can do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from seesay.errors import ConfigError, MissingExtraError, SeesayError

try:
    import gradio as gr
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.search.catalog.database import path_to_text, text_to_path
from seesay.search.collection import Collection
from seesay.search.filtering import days_of
from seesay.search.library import Library
from seesay.search.plain import sendable
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.address import addressed, from_address
from seesay.web.answering import answer, failed, refused, welcome
from seesay.web.asking import SearchForm, search
from seesay.web.cards import notice
from seesay.web.duplicates import duplicates_html
from seesay.web.filters import chips, without
from seesay.web.mapping import Content, draw, picked
from seesay.web.report import both
from seesay.web.uploads import MOST_SENT, decode_picture, name_of, size_of_unsent

_MOST_FOLDERS = 200
_MOST_FOUND = 200  # hits that a program may ask for at once
_UNCHANGED = (gr.skip(),) * 7  # the filters of the form, folders among them


class Handlers:
    """Every method but `remove` only reads."""

    def __init__(
        self, library: Library, *, read_only: bool, searched: Callable[[str], None] | None = None
    ) -> None:
        """`searched` is told the collection of each search."""
        self.library = library
        self._read_only = read_only
        self._searched = searched or (lambda _: None)

    def open(self, name: str | None) -> list[Any]:
        """The start page of a collection: folders to choose from, results and footer, then empty
        values for the duplicates, the map (its caption, the map, what was picked, what is drawn)
        and the last query."""
        shown = self._opened(name)
        shown[1] += self._addressed(SearchForm(collection=name))
        return shown

    def restore(self, address: str | None) -> list[Any]:
        """The page that an address describes: what `open` returns, then the value of each field."""
        asked = from_address(address or "")
        folders, shown, *rest, _ = self._opened(asked.collection)
        if not asked.nothing:
            shown = self._answer(asked)
        known = folders["choices"]
        chosen = [path_to_text(path) for path in asked.folders]
        missing = set(chosen) - {value for _, value in known}
        more = [
            (to_unicode(path), text)
            for path, text in zip(asked.folders, chosen, strict=True)
            if text in missing
        ]
        folders = gr.update(choices=[*known, *more], value=chosen)
        served = asked.collection in self.library.names
        name = asked.collection if served else self.library.names[0]
        fields = [name, asked.words, "", *_filters_of(asked)]
        shown += addressed(asked, restored=True)
        return [folders, shown, *rest, replace(asked, collection=name), *fields]

    def _opened(self, name: str | None) -> list[Any]:
        name = name or self.library.names[0]
        try:
            collection = self.library.get(name)
            named = [one.value for one in collection.facets().folders[:_MOST_FOLDERS]]
            folders = [(to_unicode(path), path_to_text(path)) for path in named]
            shown = welcome(collection, name, removable=self._removable(collection))
            closing = self._closing(collection)
        except SeesayError as error:
            folders, shown, closing = [], failed(error), ""
        choices = gr.update(choices=folders, value=[])
        return [choices, shown, closing, "", "", "", "", None, None]

    def search(self, *form: Any) -> tuple[str, SearchForm | None]:
        """Answers the form."""
        if (size := size_of_unsent(form[2])) is not None:
            return refused(_too_large(size), name_of(form[2])), None
        try:
            asked = _read(*form)
        except SeesayError as error:
            return failed(error), None
        return self._answer(asked) + self._addressed(asked), asked

    def refine(self, *form: Any) -> tuple[str, SearchForm | None]:
        """A filter changed: searches again, or shows the start page where nothing is asked for."""
        shown, asked = self.search(*form)
        if asked is not None and asked.nothing:
            return self.open(asked.collection)[1], asked
        return shown, asked

    def act(self, data: dict[str, Any], asked: SearchForm | None, *form: Any) -> tuple[Any, ...]:
        """A button among the results was pressed. `data["do"]` says which: similar, another page,
        back to the words, an example, or drop a filter."""
        do = data.get("do")
        try:
            now = _read(*form)
            if do == "similar":
                now = replace(now, unit=int(data["unit"]))
            elif do == "page":
                now = replace(asked or now, page=max(0, int(data["page"])))
            elif do == "try":
                now = replace(now, words=str(data["words"])[:200])
            elif do == "drop":
                now = without(asked or now, str(data["filter"]), str(data.get("value", "")))
        except (SeesayError, ValueError, KeyError) as error:
            return failed(error), asked, gr.skip(), *_UNCHANGED
        fields = (now.words if do == "try" else gr.skip(), *_UNCHANGED)
        if do == "drop":
            fields = (now.words, *_filters_of(now), list(map(path_to_text, now.folders)))
        if now.nothing:
            return self.open(now.collection)[1], now, *fields
        return self._answer(now) + self._addressed(now), now, *fields

    def remove(self, data: dict[str, Any], asked: SearchForm | None, *form: Any) -> list[Any]:
        """Removes the file of a hit from the collection, not from the disk. Returns what `open`
        does, with the last query answered again."""
        now = asked or SearchForm(collection=form[0])
        try:
            collection, name = self._get(now.collection)
            if not self._removable(collection):
                raise ConfigError(
                    Text(
                        f"{name} is served to be read only; expected a server without --read-only; "
                        "remove the file on the machine itself with: seesay remove",
                        f"资料库 {name} 以只读方式提供；请在启动服务时不加 --read-only，"
                        "或在本机上运行 seesay remove 移出文件",
                    )
                )
            collection.remove(units=int(data["unit"]))
            told = notice(words.REMOVED, words.STAYS_ON_DISK)
        except (SeesayError, ValueError, KeyError) as error:
            told = failed(error)
        return self.again(now.collection, now, told)

    def again(self, name: str | None, asked: SearchForm | None, told: str = "") -> list[Any]:
        """Returns what `open` does, with the last query answered again and its filters kept."""
        folders, shown, *rest, _ = self._opened(name)
        folders.pop("value")
        if asked is not None and not asked.nothing:
            shown = self._answer(asked)
        mark = self._addressed(asked) if asked is not None else ""
        return [folders, told + shown + mark, *rest, asked]

    def duplicates(self, name: str | None, shown: str) -> str:
        """Groups of duplicates, computed once for each time that a collection is opened."""
        if shown:
            return shown
        try:
            collection, name = self._get(name)
        except SeesayError as error:
            return failed(error)
        return duplicates_html(collection, name)

    def draw(
        self, name: str | None, shown: str, drawn: tuple[str, str] | None
    ) -> tuple[Any, Any, Any, Any]:
        """Draws the map of pictures, texts or places, unless `drawn` says that it is there already.
        Returns its caption, the map, an empty selection, and what is drawn now."""
        now = (name or self.library.names[0], shown)
        if drawn == now:
            return (gr.skip(),) * 4
        try:
            collection, name = self._get(name)
            known: dict[str, Content] = {"text": "text", "place": "place"}
            plane, told = draw(collection, name, known.get(shown, "image"))
        except SeesayError as error:
            plane, told = "", failed(error)
        return told, plane, "", now

    def pick(self, name: str | None, data: dict[str, Any]) -> str:
        """Shows what was picked on the map."""
        try:
            collection, name = self._get(name)
            units = [int(unit) for unit in data.get("units", ())]
            return picked(collection, name, units)
        except SeesayError as error:
            return failed(error)

    def find(  # noqa: PLR0913  # its parameters are what a program sends
        self,
        words: str = "",
        without: str = "",
        picture: str = "",
        min_match: float = 0.0,
        kind: str = "",
        where: str = "",
        count: int = 20,
        page: int = 0,
        collection: str = "",
    ) -> dict[str, Any]:
        """Searches for a program, by words and a picture (a data URL). `kind` is "image" or "text",
        `where` holds conditions such as camera=Canon, `min_match` is a percentage."""
        try:
            found, name = self._get(collection or None)
            form: tuple[Any, ...] = (
                collection,
                words,
                picture,
                without,
                min_match,
                kind,
                [],
                "",
                "",
                where,
            )
            asked = replace(_read(*form), page=max(0, int(page or 0)))
            count = min(max(1, int(20 if count is None else count)), _MOST_FOUND)
            results = search(found, asked, count=count)
            self._searched(name)
        except SeesayError as error:
            raise gr.Error(str(error)) from error
        # No key is called "path": a client would take it for a file to be fetched.
        names = ("unit", "kind", "text", "confidence", "duplicates")
        hits = [
            {"file": hit.path, **{name: getattr(hit, name) for name in names}}
            for hit in results.hits[:count]
        ]
        return sendable(
            {
                "hits": hits,
                "no_good_match": results.no_good_match,
                "seconds": results.seconds,
            }
        )

    def _answer(self, asked: SearchForm) -> str:
        try:
            collection, name = self._get(asked.collection)
        except SeesayError as error:
            return failed(error)
        if not asked.nothing:
            self._searched(name)
        removable = self._removable(collection)
        return chips(asked) + answer(collection, name, asked, removable=removable)

    def _removable(self, collection: Collection) -> bool:
        return not (self._read_only or collection.store.read_only)

    def _addressed(self, asked: SearchForm) -> str:
        """The address of a query, which leaves out the default collection."""
        default = asked.collection == self.library.names[0]
        return addressed(replace(asked, collection=None) if default else asked)

    def _get(self, name: str | None) -> tuple[Collection, str]:
        name = name or self.library.names[0]
        return self.library.get(name), name

    def _closing(self, collection: Collection) -> str:
        counts = collection.stats().units
        texts = counts.get("text", 0)
        told = words.CLOSING.format(pictures=sum(counts.values()) - texts, texts=texts)
        only = f" · {both(words.READ_ONLY)}" if self._read_only else ""
        return f'<p class="closing">{both(told)}{only}</p>'


def _read(*form: Any) -> SearchForm:
    """The query on the form. Raises ImageError for a picture that cannot be read."""
    name, wanted, picture, without, min_match, kind, folders, since, until, where = form
    return SearchForm(
        collection=name or None,
        words=str(wanted or ""),
        without=str(without or ""),
        picture=decode_picture(str(picture or "")),
        picture_name=name_of(str(picture or "")),
        min_match=min(max(float(min_match or 0), 0.0), 100.0),
        kind=kind if kind in ("image", "moment", "text") else None,
        folders=tuple(text_to_path(str(one)) for one in folders or ()),
        since=str(since or ""),
        until=str(until or ""),
        where=str(where or ""),
    )


def _filters_of(asked: SearchForm) -> list[Any]:
    """The values of `Form.filters`."""
    days = _day(asked.since, 0), _day(asked.until, 1)
    return [asked.without, asked.min_match, asked.kind or "", *days, asked.where]


def _day(text: str, edge: int) -> str:
    """The first or last day of a day, month or year, as a date picker holds it."""
    try:
        return days_of(text)[edge].isoformat()
    except ConfigError:
        return ""


def _too_large(size: int) -> Text:
    sizes = {"size": f"{size / 1e6:.0f}", "most": f"{MOST_SENT / 1e6:.0f}"}
    return words.PICTURE_TOO_LARGE.format(**sizes)

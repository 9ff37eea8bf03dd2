"""The collections that one server serves: opened together, with each shared model loaded once."""

import difflib
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from seesay.errors import CollectionError, ConfigError
from seesay.inference.embedder import Embedder, load
from seesay.search.collection import Collection
from seesay.search.places import DEFAULT, find_collection, list_collections
from seesay.search.vectors.rows import load_faiss
from seesay.text import Text, to_unicode

WARMING = ("a dog on the grass", "草地上的一只狗")
"""Searched for while a server warms up, in both languages, since each has its own vocabulary."""


class Library:
    """Several collections by name. Safe to use from several threads.

    with Library.open() as library:
        library.get(None).search("一只狗在草地上奔跑")
    """

    def __init__(self, collections: dict[str, Collection]) -> None:
        """Takes ownership of the collections and closes them in the end. The first is the
        default."""
        self._collections = collections

    @staticmethod
    def open(
        names: Sequence[str | Path] = (),
        *,
        device: str | None = None,
        read_only: bool | None = None,
    ) -> "Library":
        """Open collections by name or folder; a folder goes by the last part of its path. Without
        names, open all of this user's collections, the one called default first.

        Raises CollectionError if a collection does not exist, ConfigError if two have the same
        name."""
        wanted = list(names) or _all()
        models = _Models(device)
        opened: dict[str, Collection] = {}
        with ExitStack() as undo:
            for name in wanted:
                collection = Collection.open(
                    name, device=device, read_only=read_only, loader=models.get
                )
                undo.callback(collection.close)
                folder = collection.store.folder
                known_as = to_unicode(folder.name)  # it appears in addresses and labels
                if known_as in opened:
                    other = opened[known_as].store.folder
                    raise ConfigError(
                        Text(
                            f"{folder} and {other} would both be called {known_as!r}, expected a "
                            "name for each; leave one out, or rename its folder",
                            f"{folder} 和 {other} 的名称都会是 {known_as!r}；名称应各不相同；"
                            "请去掉其中一个，或给它的文件夹改名",
                        )
                    )
                opened[known_as] = collection
            undo.pop_all()
        return Library(opened)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all collections; the first is the default."""
        return tuple(self._collections)

    def get(self, name: str | None = None) -> Collection:
        """Returns the collection of this name. Raises CollectionError for an unknown name,
        suggesting the closest one."""
        known = self._collections.get(self.names[0] if name is None else name)
        if known is not None:
            return known
        near = difflib.get_close_matches(str(name), self.names, n=1)
        raise CollectionError(
            Text(
                f"there is no collection {name!r} here, expected one of {', '.join(self.names)}; "
                "choose one of these." + (f" Did you mean {near[0]!r}?" if near else ""),
                f"这里没有资料库 {name!r}；应为以下之一：{'、'.join(self.names)}；请从中选择。"
                + (f"是不是想用 {near[0]!r}？" if near else ""),
            )
        )

    def warm_up(self, *, only_texts: bool = False) -> None:
        """Load every model and index, so that the first search does not wait. An empty collection
        is fine. `only_texts` loads only the text half of a model where it has one, without torch:
        enough unless somebody searches by picture."""
        load_faiss()
        for collection in self._collections.values():
            if not only_texts:
                collection.model.get()
            if collection.store.spaces.active() is not None:
                for words in WARMING:
                    collection.search(words, count=1)

    def close(self) -> None:
        """Close all collections."""
        for collection in self._collections.values():
            collection.close()

    def __enter__(self) -> "Library":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Models:
    """Loads each model once, when the first collection needs it."""

    def __init__(self, device: str | None) -> None:
        self._device = device
        self._loaded: dict[str, Embedder] = {}
        self._mutex = threading.Lock()

    def get(self, name: str) -> Embedder:
        with self._mutex:
            if name not in self._loaded:
                self._loaded[name] = load(name, device=self._device)
            return self._loaded[name]


def _all() -> list[str]:
    names = list_collections()
    if not names:
        find_collection(None)  # says how to make one
    return sorted(names, key=lambda name: (name != DEFAULT, name))

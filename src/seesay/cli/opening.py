"""What commands do with the collection they are given: open it, load its model, give advice."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seesay.cli.messages import say
from seesay.cli.output import warn, working

if TYPE_CHECKING:
    from seesay.inference.embedder import Embedder
    from seesay.search.collection import Collection
    from seesay.weights.catalog import CatalogEntry

ADVISED = "model_advised"  # the setting of collections whose user was told of a better model


@contextmanager
def opened(
    name: str | None,
    *,
    create: bool = False,
    model: "str | Embedder | None" = None,
    device: str | None = None,
) -> "Iterator[Collection]":
    """The collection of this name, closed in the end."""
    with working(say("opening the collection", "正在打开资料库")):
        from seesay.search.collection import Collection

        collection = Collection.open(name, create=create, model=model, device=device)
    with collection:
        yield collection


@contextmanager
def started(
    name: str | None, paths: Sequence[str], *, model: str | None = None, device: str | None = None
) -> "Iterator[Collection]":
    """The collection to take these paths into, with its model loaded; made where there is none,
    but only for a path that is there and with a model that can be loaded."""
    from seesay.search.places import check_paths, is_there

    chosen: "str | Embedder | None" = model
    if paths and not is_there(name):
        check_paths(paths)
        chosen = _loaded(model, device)
    with opened(name, create=bool(paths), model=chosen, device=device) as collection:
        load_model(collection)
        yield collection


def _loaded(model: str | None, device: str | None) -> "Embedder":
    from seesay.inference.embedder import load
    from seesay.search.model import model_id
    from seesay.weights.catalog import BUILT_IN

    wanted = model_id(model or BUILT_IN)
    with working(say(f"loading {wanted}", f"正在加载 {wanted}")):
        return load(wanted, device=device)


def load_model(collection: "Collection", *, for_words: bool = False) -> None:
    """Load the model now, saying so on a terminal, rather than in the middle of the work; what
    embeds words is enough `for_words`."""
    name = collection.model.name
    with working(say(f"loading {name}", f"正在加载 {name}")):
        if for_words:
            collection.model.for_queries()
        else:
            collection.model.get()


def advise_model(collection: "Collection", name: str | None) -> None:
    """Where the built-in model is used: which one would find far more, and how to get it. Said once
    of each collection."""
    from seesay.weights.catalog import BUILT_IN

    entry = better_model()
    if entry is None or collection.model.name != BUILT_IN:
        return
    settings = collection.store.settings
    if settings.get(ADVISED):
        return
    with collection.store.writing("advise"):
        settings.set(ADVISED, True)
    of = f" --collection {shlex.quote(name)}" if name else ""
    command = f"seesay index --model {entry.alias}{of}"
    size = f"{entry.megabytes / 1000:.1f} GB"
    warn(
        say(
            f"{BUILT_IN} is for trying things out; {entry.alias} ({size}) would find far more: "
            f"{command}",
            f"{BUILT_IN} 只供试用；换成 {entry.alias}（{size}）能找到的多得多：{command}",
        )
    )


def better_model() -> "CatalogEntry | None":
    """The published model that the catalogue recommends first for both languages."""
    from seesay.weights.catalog import published_models

    both = {"en", "zh"}
    recommended = (e for e in published_models().values() if e.repo and e.recommended_en)
    return next((entry for entry in recommended if both <= set(entry.languages)), None)

"""Which engine keeps the indexes of a collection, as people write it and manifests remember it:

faiss | chroma | chroma=HOST:PORT | milvus=http://HOST:PORT

"""

from collections.abc import Callable

from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.ledger import Settings
from seesay.search.vectors.engine import Engine, IndexDamagedError
from seesay.search.vectors.faiss import FaissEngine
from seesay.search.vectors.outside.chroma import ChromaEngine
from seesay.search.vectors.outside.milvus import MilvusEngine
from seesay.search.vectors.outside.servers import choose, place_of, token_for, variable_of

EngineOf = Callable[[str], Engine]
"""Makes an engine from its name."""

_SETTING = "engine"
_LOCAL: dict[str, Callable[[], Engine]] = {"faiss": FaissEngine, "chroma": ChromaEngine}
_SERVERS: dict[str, Callable[[str, str], Engine]] = {
    "chroma": lambda address, token: ChromaEngine(address.removeprefix("http://"), token=token),
    "milvus": lambda address, token: MilvusEngine(address, token=token),
}


def engine_of(name: str, *, chosen: bool = False) -> Engine:
    """The engine of this name; nothing is connected to yet. The same place has the same name,
    however it was written. Raises ConfigError for a name that cannot be one, for a server that this
    user did not choose, now (`chosen`) or before, and where all tokens in the environment are for
    others."""
    if (local := name.strip()) in _LOCAL:
        return _LOCAL[local]()
    if server := _server_of(name):
        kind, place = server
        return _SERVERS[kind](place, token_for(kind, place, chosen=chosen))
    raise ConfigError(
        f"there is no engine {name!r}; expected faiss, chroma, chroma=HOST:PORT or "
        "milvus=http://HOST:PORT (https:// where the server speaks TLS); write it like one of these"
    )


def reached(name: str, *, chosen: bool = False) -> Engine:
    """The engine of this name, which answers; if the user chose it just now, that is remembered.
    Raises ConfigError as `engine_of` does, MissingExtraError where its package is missing,
    CollectionError where nothing answers."""
    engine = engine_of(name, chosen=chosen)
    try:
        engine.reach()
    except IndexDamagedError as error:
        raise CollectionError(
            f"the engine {engine.name} cannot be used: {error}; expected a server that answers "
            "there; start it or correct the address; nothing was changed"
        ) from error
    if chosen and (server := _server_of(name)):
        choose(*server)
    return engine


def engine_in_use(settings: Settings) -> str:
    """The name of the engine that the next index is built with."""
    return str(settings.get(_SETTING) or FaissEngine.name)


def use_engine(settings: Settings, name: str) -> None:
    """Build every later index with the engine of this name. Inside `store.writing` only."""
    settings.set(_SETTING, name)


def _server_of(name: str) -> tuple[str, str] | None:
    """Kind and place."""
    kind, named, address = name.strip().partition("=")
    if not named or kind not in _SERVERS:
        return None
    _check_no_password(kind, address)
    place = place_of(address)
    return None if place is None else (kind, place)


def _check_no_password(kind: str, address: str) -> None:
    if "@" in address:
        raise ConfigError(
            f"the address of {kind} holds a name or a password, expected HOST:PORT alone, since it "
            f"is kept with the collection; put what it lets you in with into {variable_of(kind)}, "
            "as HOST:PORT=TOKEN"
        )

"""The engines by the names that people write and manifests store:

faiss | chroma | chroma=HOST:PORT | milvus=http://HOST:PORT

"""

from collections.abc import Callable

from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.store import Settings
from seesay.search.vectors.chroma import ChromaEngine, ChromaServer
from seesay.search.vectors.engine import Engine, IndexDamagedError
from seesay.search.vectors.faiss import FaissEngine
from seesay.search.vectors.milvus import MilvusEngine
from seesay.search.vectors.servers import choose, place_of, token_for, variable_of
from seesay.text import Text

EngineOf = Callable[[str], Engine]
"""Makes an engine from its name."""

LOCAL: dict[str, Callable[[], Engine]] = {"faiss": FaissEngine, "chroma": ChromaEngine}
"""Engines in this process."""
SERVERS: dict[str, Callable[[str, str], Engine]] = {
    "chroma": lambda address, token: ChromaServer(address.removeprefix("http://"), token=token),
    "milvus": lambda address, token: MilvusEngine(address, token=token),
}
"""Engines on a server, from its address and token."""
_SETTING = "engine"


def engine_of(name: str, *, chosen: bool = False) -> Engine:
    """The engine with this name; nothing is connected yet. The same server has the same name,
    however it was written. Raises ConfigError for a name that is none, for a server that this user
    did not choose, now (`chosen`) or before, and where all tokens in the environment are for
    others."""
    if (local := name.strip()) in LOCAL:
        return LOCAL[local]()
    if server := _server_of(name):
        engine, place = server
        return SERVERS[engine](place, token_for(engine, place, chosen=chosen))
    raise ConfigError(
        Text(
            f"there is no engine {name!r}; expected faiss, chroma, chroma=HOST:PORT or "
            "milvus=http://HOST:PORT (https:// where the server speaks TLS); write it like one of "
            "these",
            f"没有引擎 {name!r}；应为 faiss、chroma、chroma=HOST:PORT 或 milvus=http://HOST:PORT"
            "（服务器用 TLS 时写 https://）；请按这样的格式写",
        )
    )


def reached(name: str, *, chosen: bool = False) -> Engine:
    """The engine with this name, which answers; a server that the user chose just now is
    remembered. Raises ConfigError as `engine_of` does, MissingExtraError where its package is
    missing, CollectionError where nothing answers."""
    engine = engine_of(name, chosen=chosen)
    try:
        engine.reach()
    except IndexDamagedError as error:
        raise CollectionError(
            Text(
                f"the engine {engine.name} cannot be used: {error}; expected a server that answers "
                "there; start it or correct the address; nothing was changed",
                f"引擎 {engine.name} 无法使用：{error.text.zh}；那里应有服务器应答；请启动它，"
                "或改正地址；没有改动任何内容",
            )
        ) from error
    if chosen and (server := _server_of(name)):
        choose(*server)
    return engine


def engine_in_use(settings: Settings) -> str:
    """The name of the engine that builds the next index."""
    return str(settings.get(_SETTING) or FaissEngine.name)


def use_engine(settings: Settings, name: str) -> None:
    """Build later indexes with the engine of this name. Inside `store.writing` only."""
    settings.set(_SETTING, name)


def _server_of(name: str) -> tuple[str, str] | None:
    """The engine and its server."""
    engine, named, address = name.strip().partition("=")
    if not named or engine not in SERVERS:
        return None
    if "@" in address:
        variable = variable_of(engine)
        raise ConfigError(
            Text(
                f"the address of {engine} holds a name or a password, expected HOST:PORT alone, "
                "since it is kept with the collection; put what it lets you in with into "
                f"{variable}, as HOST:PORT=TOKEN",
                f"{engine} 的地址里带有用户名或密码；应只写 HOST:PORT，因为它会和资料库存在一起；"
                f"请把登录用的令牌写进 {variable}，格式为 HOST:PORT=令牌",
            )
        )
    place = place_of(address)
    return None if place is None else (engine, place)

"""The engines by name, as people write it and manifests store it, with the servers that may be
contacted and their tokens.

    faiss | chroma | chroma=HOST:PORT | milvus=http://HOST:PORT
    SEESAY_MILVUS_TOKEN="https://vectors.example:19530=TOKEN 10.0.0.5:19530=ANOTHER"

A collection names its own server, and may come from a stranger, whose server would see every
search. So seesay contacts only servers that this user has chosen for an index (remembered in
<home>/servers.txt) or named with a token. This applies to this machine too, where any user may
listen. A token goes to the server it is written with; a token without a server goes to servers on
this machine. Tokens are never stored.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.store import Settings
from seesay.search.places import home
from seesay.search.vectors.chroma import ChromaEngine, ChromaServer
from seesay.search.vectors.engine import Engine, IndexDamagedError
from seesay.search.vectors.faiss import FaissEngine
from seesay.search.vectors.milvus import MilvusEngine
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
CHOSEN = "servers.txt"
_SETTING = "engine"
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def engine_of(name: str, *, chosen: bool = False) -> Engine:
    """Returns the engine with this name, without connecting. A server has the same name however it
    was written. Raises ConfigError for an unknown name, for a server that this user did not choose,
    now (`chosen`) or before, and if all tokens in the environment are for other servers."""
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
    """Returns the engine with this name after checking that it answers; remembers a server that the
    user has just chosen. Raises ConfigError as `engine_of` does, MissingExtraError if its package
    is missing, CollectionError if nothing answers."""
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
    """Returns the name of the engine that builds the next index."""
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


def variable_of(engine: str) -> str:
    """Returns the environment variable for the tokens of this engine's servers."""
    return f"SEESAY_{engine.upper()}_TOKEN"


def place_of(address: str) -> str | None:
    """Normalise an address to SCHEME://HOST:PORT; None for anything else."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = parts.port
    except ValueError:
        return None
    host, _, _ = parts.netloc.rpartition(":")
    plain = parts.scheme in ("http", "https") and parts.path in ("", "/")
    if not plain or parts.query or parts.fragment or not port or not _HOST.fullmatch(host):
        return None
    return f"{parts.scheme}://{host.lower()}:{port}"


def is_chosen(engine: str, place: str) -> bool:
    """Whether this user chose a server before."""
    try:
        known = (home() / CHOSEN).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return f"{engine}={place}" in known


def choose(engine: str, place: str) -> None:
    """Remember that this user chose a server. Raises ConfigError if that cannot be written."""
    if is_chosen(engine, place):
        return
    file = home() / CHOSEN
    try:
        home().mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{engine}={place}\n")
    except OSError as error:
        raise ConfigError(
            Text(
                f"{file} cannot be written ({error.strerror}), expected to remember there that you "
                f"chose {place}; set SEESAY_HOME to a folder of yours, or name the server in "
                f"{variable_of(engine)}",
                f"无法写入 {file}（{error.strerror}）；应在那里记下你选用了 {place}；"
                f"请把 SEESAY_HOME 设为你自己的文件夹，或在 {variable_of(engine)} 中写明该服务器",
            )
        ) from error


def token_for(engine: str, place: str, *, chosen: bool = False) -> str:
    """Returns the token for this server; empty if it needs none. Raises ConfigError for a server
    that the user neither chose, now (`chosen`) or before, nor named with its token; and if all
    tokens are for other servers."""
    given: dict[str, str] = {}
    alone: list[str] = []
    for entry in os.environ.get(variable_of(engine), "").split():
        address, equals, token = entry.partition("=")
        named = place_of(address) if equals else None
        if named is None:  # a token may contain this sign too
            alone.append(entry)
        else:
            given[named] = token
    if place in given:
        return given[place]
    if (given or alone) and not _is_here(place):
        raise _other_tokens(engine, place)
    if chosen or is_chosen(engine, place):
        return " ".join(alone)
    raise _not_chosen(engine, place)


def _not_chosen(engine: str, place: str) -> ConfigError:
    choose, leave = f"seesay rebuild --engine {engine}={place}", "seesay rebuild --engine faiss"
    variable = variable_of(engine)
    return ConfigError(
        Text(
            f"{place} is the {engine} server that the collection names, expected one that you "
            "chose, since a collection that comes from elsewhere may name a server that is to see "
            f"nothing of yours; if you trust it, run `{choose}`, or set {variable} to {place}= "
            f"with its token behind; else run `{leave}`",
            f"资料库指定的 {engine} 服务器是 {place}，但你没有选用过它；"
            "别人给的资料库可能指向别人的服务器，所以不会去连接；"
            f"信得过的话，请运行 `{choose}`，或把 {variable} 设为 {place}="
            f"（后面接它的令牌，没有就空着）；否则请运行 `{leave}`",
        )
    )


def _other_tokens(engine: str, place: str) -> ConfigError:
    variable, leave = variable_of(engine), "seesay rebuild --engine faiss"
    return ConfigError(
        Text(
            f"{variable} holds no token for {place}, the server that the collection names; "
            f"expected {place}=TOKEN, or {place}= where it needs none, since a collection that "
            "comes from elsewhere may name a server that is to have none of yours; add that if "
            f"you trust the server, or run `{leave}`",
            f"{variable} 里没有给 {place} 的令牌，而资料库指定的正是这个服务器；应有 {place}=令牌，"
            f"不需要令牌就写 {place}=；别人给的资料库可能指向别人的服务器，不应把你的令牌给它；"
            f"信得过的话请加上，否则请运行 `{leave}`",
        )
    )


def _is_here(place: str) -> bool:
    host = urlsplit(place).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a host name: whoever controls it decides where it leads

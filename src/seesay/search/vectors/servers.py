"""Which vector servers may be contacted, and the token that each of them gets.

    SEESAY_MILVUS_TOKEN="https://vectors.example:19530=TOKEN 10.0.0.5:19530=ANOTHER"

A collection names its server itself, and may come from a stranger, whose server would see what is
searched for. So only servers that this user named are contacted: chosen for an index, which is
remembered in <home>/servers.txt, or named with a token. The same holds for this machine, where any
user may listen. A token goes to the server that it is written with, and a token on its own to
servers of this machine. Tokens are never stored.
"""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from seesay.errors import ConfigError
from seesay.search.places import home
from seesay.text import Text

CHOSEN = "servers.txt"
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def variable_of(engine: str) -> str:
    """The environment variable that holds the tokens of this engine's servers."""
    return f"SEESAY_{engine.upper()}_TOKEN"


def place_of(address: str) -> str | None:
    """SCHEME://HOST:PORT, the same however it was written; None for anything else."""
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
    """Remember that this user chose a server. Raises ConfigError where that cannot be written."""
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
    """The token that this server gets; empty where it needs none. Raises ConfigError for a server
    that the user neither chose, now (`chosen`) or before, nor named with its token; and where all
    tokens are for others."""
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
        return False  # a name: whoever controls it decides where it leads

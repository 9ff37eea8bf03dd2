"""Addresses of servers, and the token that each of them gets.

    SEESAY_MILVUS_TOKEN="https://vectors.example:19530=TOKEN 10.0.0.5:19530=ANOTHER"

A collection names its server itself, and may come from a stranger. So a token goes to the server
that it stands with, and one that stands alone to servers of this machine. They are stored nowhere.
"""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from seesay.errors import ConfigError

_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def variable_of(kind: str) -> str:
    """The variable of the environment that holds the tokens of this kind of server."""
    return f"SEESAY_{kind.upper()}_TOKEN"


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


def token_for(kind: str, place: str) -> str:
    """The token that this server gets; empty where there is none at all. Raises ConfigError where
    there are some, and all of them are for others."""
    given: dict[str, str] = {}
    alone: list[str] = []
    for entry in os.environ.get(variable_of(kind), "").split():
        address, equals, token = entry.partition("=")
        named = place_of(address) if equals else None
        if named is None:  # a token may hold this sign too
            alone.append(entry)
        else:
            given[named] = token
    if place in given or _is_here(place) or not (given or alone):
        return given.get(place, " ".join(alone))
    raise ConfigError(
        f"{variable_of(kind)} holds no token for {place}, the server that the collection names; "
        f"expected {place}=TOKEN, or {place}= where it needs none, since a collection that comes "
        "from elsewhere may name a server that is to have none of yours; add that if you trust "
        "the server, or run `seesay rebuild --engine faiss`"
    )


def _is_here(place: str) -> bool:
    host = urlsplit(place).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: whoever gave it decides where it leads

"""Which servers are asked, and the token that each of them gets.

    SEESAY_MILVUS_TOKEN="https://vectors.example:19530=TOKEN 10.0.0.5:19530=ANOTHER"

A collection names its server itself, and may come from a stranger, whose server would see what is
looked for. So only a server is asked that this user named: for an index, which is remembered in
<home>/servers.txt, or with its token. That goes for this machine too, where any user may listen.
A token goes to the server that it stands with, and one that stands alone to servers of this
machine. Tokens are stored nowhere.
"""

import ipaddress
import os
import re
from urllib.parse import urlsplit

from seesay.errors import ConfigError
from seesay.search.places import home

CHOSEN = "servers.txt"
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


def is_chosen(kind: str, place: str) -> bool:
    """Whether this user chose a server before."""
    try:
        known = (home() / CHOSEN).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return f"{kind}={place}" in known


def choose(kind: str, place: str) -> None:
    """Remember that this user chose a server. Raises ConfigError where there is no place to."""
    if is_chosen(kind, place):
        return
    try:
        home().mkdir(parents=True, exist_ok=True)
        with (home() / CHOSEN).open("a", encoding="utf-8") as stream:
            stream.write(f"{kind}={place}\n")
    except OSError as error:
        raise ConfigError(
            f"{home() / CHOSEN} cannot be written ({error.strerror}), expected to remember there "
            f"that you chose {place}; set SEESAY_HOME to a folder of yours, or name the server in "
            f"{variable_of(kind)}"
        ) from error


def token_for(kind: str, place: str, *, chosen: bool = False) -> str:
    """The token that this server gets; empty where it needs none. Raises ConfigError for a server
    that the user did not choose, now (`chosen`) or before, nor named with its token; and where all
    tokens are for others."""
    given: dict[str, str] = {}
    alone: list[str] = []
    for entry in os.environ.get(variable_of(kind), "").split():
        address, equals, token = entry.partition("=")
        named = place_of(address) if equals else None
        if named is None:  # a token may hold this sign too
            alone.append(entry)
        else:
            given[named] = token
    if place in given:
        return given[place]
    if not (given or alone) or _is_here(place):
        if chosen or is_chosen(kind, place):
            return " ".join(alone)
        raise ConfigError(
            f"{place} is the {kind} server that the collection names, expected one that you chose, "
            "since a collection that comes from elsewhere may name a server that is to see nothing "
            f"of yours; if you trust it, run `seesay rebuild --engine {kind}={place}`, or set "
            f"{variable_of(kind)} to {place}= with its token behind; else run `seesay rebuild "
            "--engine faiss`"
        )
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

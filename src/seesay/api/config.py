"""What a server allows, and to whom it answers."""

import ipaddress
import os
from dataclasses import dataclass

from seesay.errors import ConfigError
from seesay.search.asking.query import MOST_HITS

_POSITIVE = (
    *("max_body_bytes", "max_pixels", "max_count", "max_inputs", "max_input_characters"),
    *("max_request_characters", "max_idle", "timeout_s"),
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_HOST = "*"


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How a server is run."""

    token: str | None = None
    """What every request must bring, as `Authorization: Bearer TOKEN`; None for no such thing."""
    read_token: str | None = None
    """Another token, for requests that change nothing; None for no such thing."""
    index_folders: tuple[str, ...] = ()
    """Folders that requests may index, in addition to those the collection already has."""
    read_only: bool = False
    """Refuse whatever changes a collection."""
    hosts: tuple[str, ...] = LOOPBACK
    """Names under which the server may be asked; "*" for any. A page whose name was pointed at this
    machine (DNS rebinding) asks under its own name, and is refused."""
    max_body_bytes: int = 32 * 2**20
    """Largest request."""
    max_pixels: int = 64 * 2**20
    """Most pixels of a picture that is sent; judged by its header, before it is decoded."""
    max_count: int = 200
    """Most hits of one answer."""
    max_inputs: int = 256
    """Most texts and pictures that one request may have embedded."""
    max_input_characters: int = 20_000
    """Longest text that is embedded."""
    max_request_characters: int = 200_000
    """Most characters of all texts that one request may have embedded."""
    max_waiting: int = 256
    """Requests that may wait for a processor; further ones are told to come again."""
    max_idle: int = 512
    """Connections that have no request in hand; beyond, the oldest of them is closed."""
    timeout_s: float = 30.0
    """Longest that the head of a request may take to arrive, then its body, then its answer."""
    threads: int = 0
    """Requests that are computed at once; 0 for one a processor."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"{name}={getattr(self, name)} lets nothing through; expected more than 0; "
                    "leave it out for the usual"
                )
        if self.max_count > MOST_HITS:
            raise ConfigError(
                f"max_count={self.max_count} is more than the {MOST_HITS} that a search can find; "
                "expected no more; choose a smaller one"
            )
        if self.max_waiting < 0 or self.threads < 0:
            raise ConfigError(
                f"max_waiting={self.max_waiting} and threads={self.threads}; expected none below "
                "0; leave them out for the usual"
            )
        if self.read_token is not None and self.token in (None, self.read_token):
            raise ConfigError(
                "there is a token to read and none to write, or both are the same; expected two "
                "different ones; set the token too, or use --read-only"
            )
        for token in (self.token, self.read_token):
            _check_token(token)

    @property
    def workers(self) -> int:
        """How many threads compute."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return self.threads or usable or os.cpu_count() or 1


def _check_token(token: str | None) -> None:
    if token is not None:
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(
                "the token holds characters that a header cannot carry; expected letters, digits "
                "and marks of ASCII; choose another token"
            )
        if len(token) < 8:
            raise ConfigError(
                f"the token has {len(token)} characters; expected at least 8, which nobody "
                "can guess; make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )


def needs_token(host: str) -> bool:
    """Whether a server bound to this address can be reached from beyond the machine."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True  # a name: whatever it points at today, it may point elsewhere tomorrow

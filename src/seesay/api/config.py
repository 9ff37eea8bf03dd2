"""Limits of a server, and who may use it."""

import ipaddress
import os
from dataclasses import dataclass

from seesay.errors import ConfigError
from seesay.search.asking.query import MOST_HITS
from seesay.text import Text

# How much a request may hold, whether of the routes or of an assistant. What these let through is
# read, embedded or compared within seconds; a longer text is a mistake or an attack, and is refused
# before anything is done with it. `ServerConfig` has the limits that whoever runs a server may set.
MAX_WORDS = 4000
"""Characters of a query."""
MAX_UNWANTED = 16
"""Things to exclude."""
MAX_UNWANTED_WORDS = 1000
"""Characters of each."""
MAX_IMAGES = 8
"""Pictures to look for."""
MAX_ASKED = 16
"""Pictures of one conversation with the assistant."""
MAX_MESSAGES = 256
"""Turns of it."""
MAX_ANSWER = 16_384
"""Tokens of an answer."""
MAX_CLASSIFIED = 32
"""Pictures to classify."""
MAX_LABELS = 128
"""Labels to classify them by."""
MAX_PATHS = 32
"""Files and folders to index, or to remove."""
MAX_PATH = 4096
"""Characters of each."""
MAX_UNITS = 64
"""Units to be similar or dissimilar to."""
MAX_CONDITIONS = 32
"""Conditions on metadata, and folders."""
MAX_CONDITION = 1000
"""Characters of each."""
MAX_NAME = 200
"""Characters of the name of a collection or model."""
MAX_DATE = 10
"""Characters of a day, month or year: 2024-05-31."""

_POSITIVE = (
    *("max_body_bytes", "max_pixels", "max_count", "max_inputs", "max_input_characters"),
    *("max_request_characters", "max_idle", "timeout_s"),
    "answer_timeout_s",
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY_HOST = "*"
_MAKE_TOKEN = "python -c 'import secrets; print(secrets.token_urlsafe())'"


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Settings of a server."""

    token: str | None = None
    """The token that every request must send, as `Authorization: Bearer TOKEN`; None for none."""
    read_token: str | None = None
    """Another token, for read-only requests; None for none."""
    index_folders: tuple[str, ...] = ()
    """Folders that requests may index, in addition to those the collection already has."""
    read_only: bool = False
    """Refuse every request that changes a collection."""
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
    """Requests that may wait for a processor; further ones are told to retry later."""
    max_idle: int = 512
    """Connections that have no request in hand; beyond, the oldest of them is closed."""
    timeout_s: float = 30.0
    """Longest that the head of a request may take to arrive, then its body, then its answer."""
    answer_timeout_s: float = 600.0
    """Longest that an answer of the assistant may take, with its wait for others."""
    picture_hosts: tuple[str, ...] = ()
    """Hosts from which a conversation may have pictures fetched; none: all are sent as data."""
    rerank: str | None = None
    """The model that scores the first results again for requests that ask for it; None for none."""
    verifier: str | None = None
    """The model of entailment that checks what the assistant writes of texts; None: it checks
    itself."""
    threads: int = 0
    """Requests that are computed at once; 0 for one a processor."""

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ConfigError(
                    Text(
                        f"{name}={getattr(self, name)} lets nothing through; expected more than "
                        "0; leave it out for the default",
                        f"{name}={getattr(self, name)} 会拒绝一切请求；应大于 0；不写则用默认值",
                    )
                )
        if self.max_count > MOST_HITS:
            raise ConfigError(
                Text(
                    f"max_count={self.max_count} is more than the {MOST_HITS} that a search can "
                    "find; expected no more; choose a smaller one",
                    f"max_count={self.max_count} 超过一次检索最多能找到的 {MOST_HITS} 个；请改小",
                )
            )
        if self.max_waiting < 0 or self.threads < 0:
            raise ConfigError(
                Text(
                    f"max_waiting={self.max_waiting} and threads={self.threads}; expected none "
                    "below 0; leave them out for the default",
                    f"max_waiting={self.max_waiting}，threads={self.threads}；都不应小于 0；"
                    "不写则用默认值",
                )
            )
        if self.read_token is not None and self.token in (None, self.read_token):
            raise ConfigError(
                Text(
                    "there is a read token (--read-token) and no other token, or both are the "
                    "same; expected two different ones; set --token too, or use --read-only",
                    "设了只读令牌（--read-token）却没有设令牌（--token），或两者相同；"
                    "应设两个不同的令牌；请同时设 --token，或改用 --read-only",
                )
            )
        for token in (self.token, self.read_token):
            _check_token(token)

    def second_stage(self, asked: bool) -> str | None:
        """Returns the model that scores the results of a request again, if it asks for that. Raises
        ConfigError where there is none: requests name no models."""
        if asked and self.rerank is None:
            raise ConfigError(
                Text(
                    "rerank is true, and this server has no reranker; expected rerank left out; "
                    "or start the server with seesay serve --rerank NAME",
                    "rerank 为 true，而这台服务器没有重排模型；应省略 rerank；"
                    "或用 seesay serve --rerank 名称 启动服务器",
                )
            )
        return self.rerank if asked else None

    @property
    def workers(self) -> int:
        """How many threads compute."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        return self.threads or usable or os.cpu_count() or 1


def _check_token(token: str | None) -> None:
    if token is not None:
        if not (token.isascii() and token.isprintable()):
            raise ConfigError(
                Text(
                    "the token holds characters that a header cannot carry; expected ASCII "
                    "letters, digits and punctuation; choose another token",
                    "令牌中有 HTTP 头不能传送的字符；应只含 ASCII 字母、数字和标点；请换一个",
                )
            )
        if len(token) < 8:
            raise ConfigError(
                Text(
                    f"the token has {len(token)} characters; expected at least 8, which nobody "
                    f"can guess; make one: {_MAKE_TOKEN}",
                    f"令牌只有 {len(token)} 个字符；至少应有 8 个，且无法猜到；"
                    f"可用命令生成：{_MAKE_TOKEN}",
                )
            )


def needs_token(host: str) -> bool:
    """Whether a server bound to this address can be reached from beyond the machine."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True  # a name: whatever it points at today, it may point elsewhere tomorrow

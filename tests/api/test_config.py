"""What a server allows: nonsense is refused, and who is reached from outside needs a token."""

import pytest

from seesay.api.bodies import SearchBody
from seesay.api.config import ServerConfig, needs_token
from seesay.errors import ConfigError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_token(host):
    assert not needs_token(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "192.168.1.4", "example.org", "localhost.example.org", "2130706433"],
)
def test_whatever_may_be_reached_from_outside_needs_one(host):
    assert needs_token(host)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"max_body_bytes": 0}, "max_body_bytes=0 lets nothing through"),
        ({"timeout_s": -1.0}, "timeout_s=-1"),
        ({"max_count": 10**6}, "more than the 10000"),
        ({"threads": -1}, "expected none below 0"),
        ({"token": "short"}, "at least 8"),
        ({"token": "密码密码密码密码"}, "a header cannot carry"),
        ({"token": "a\nb" * 8}, "a header cannot carry"),
    ],
)
def test_nonsense_is_refused_with_both_values(setting, said):
    with pytest.raises(ConfigError, match=said):
        ServerConfig(**setting)


def test_a_request_asks_for_the_server_s_reranker_and_names_none():
    body = SearchBody(query="boats", rerank=True)
    assert body.to_query(ServerConfig(rerank="colqwen2")).rerank == "colqwen2"
    assert SearchBody(query="boats").to_query(ServerConfig(rerank="colqwen2")).rerank is None
    with pytest.raises(ConfigError, match=r"has no reranker.*seesay serve --rerank NAME"):
        body.to_query(ServerConfig())

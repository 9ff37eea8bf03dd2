"""Fetches pictures from the public web, and from nowhere else.

Anybody may have written the table that an address comes from, so an address must not make this
machine ask its own services or its neighbours. Every name is resolved once, the resulting IP
address is checked, and the connection goes to exactly that address; redirects are checked again
(CVE-2026-24779 is what happens where the check and the connection read an address differently).
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import quote, urljoin, urlsplit

from seesay.search.reading.files import FileData, ReadLimits, RefusedError, content_hash
from seesay.text import Text

_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_PIECE = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # an IPv4 address in disguise, as in 6to4 and Teredo

Allowed = Callable[[str], bool]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet: not to this machine, its network, the
    internal services of a cloud, or a group of machines."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour or ip.teredo or ip in _NAT64:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def fetch(url: str, limits: ReadLimits, *, allowed: Allowed = is_public) -> FileData:
    """Returns the picture at an address. Raises RefusedError if the address is not allowed, does
    not answer in time, or returns too much or nothing."""
    deadline = time.monotonic() + limits.seconds
    try:
        data = _followed(url, limits.max_file_bytes, deadline, allowed)
    except (OSError, HTTPException, ValueError) as error:
        raise _unanswered(Text.of(str(error) or type(error).__name__)) from None
    return FileData(
        path=url, data=data, content_hash=content_hash(data), size=len(data), mtime_ns=0
    )


def _followed(url: str, most: int, deadline: float, allowed: Allowed) -> bytes:
    for _ in range(1 + _MOST_REDIRECTS):
        connection = _Connection(url, deadline, allowed)
        with closing(connection), closing(connection.ask()) as answer:
            if answer.status in _REDIRECTS:
                url = urljoin(url, answer.getheader("Location") or "")
                continue
            if answer.status != 200:
                raise _unanswered(Text(f"status {answer.status}", f"状态码 {answer.status}"))
            return _body(answer, connection, most, deadline)
    raise _unanswered(
        Text(f"more than {_MOST_REDIRECTS} redirects", f"重定向超过 {_MOST_REDIRECTS} 次")
    )


def _body(answer: HTTPResponse, connection: "_Connection", most: int, deadline: float) -> bytes:
    parts, length = [], 0
    while part := answer.read1(_PIECE):
        parts.append(part)
        length += len(part)
        if length > most:
            raise RefusedError(
                "size",
                Text(
                    f"the address answers with more than {most:,} bytes. Expected fewer. "
                    "Let it through with --max-file-size if you trust it.",
                    f"网址返回的内容超过 {most:,} 字节；应更小；信得过可用 --max-file-size 放宽",
                ),
            )
        connection.hurry(deadline)
    return b"".join(parts)


class _Connection(HTTPConnection):
    """A connection to one IP address that was already checked."""

    def __init__(self, url: str, deadline: float, allowed: Allowed) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            why = Text("it is no plain http or https address", "不是普通的 http 或 https 网址")
            raise _forbidden(url, why)
        self._secure = parts.scheme == "https"
        self._ip = _resolved(url, parts.hostname, parts.port or _PORTS[parts.scheme], allowed)
        self._deadline = deadline
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        super().__init__(parts.hostname, parts.port or _PORTS[parts.scheme])

    def connect(self) -> None:
        """Connect to the address that was checked, never to the name."""
        self.sock = socket.create_connection((self._ip, self.port), timeout=self._left())
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)

    def ask(self) -> HTTPResponse:
        """Send the request; returns the head of the answer."""
        headers = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "seesay"}
        self.request("GET", _quoted(self._target), headers=headers)
        return self.getresponse()

    def hurry(self, deadline: float) -> None:
        """Wait no longer than the remaining time."""
        if time.monotonic() > deadline:
            raise _unanswered(Text("it took too long", "耗时太长"))
        if self.sock is not None:
            self.sock.settimeout(self._left())

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0.001)


def _resolved(url: str, host: str, port: int, allowed: Allowed) -> str:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(allowed(address) for address in addresses):
        why = Text(
            "it leads to this machine or its network, not to the open internet",
            "它指向本机或本地网络，不在互联网上",
        )
        raise _forbidden(url, why)
    return addresses[0]


def _forbidden(url: str, why: Text) -> RefusedError:
    return RefusedError(
        "address",
        Text(
            f"{url[:200]!r} is not fetched: {why.en}. Expected a public web address. "
            "Download the picture yourself if you trust it.",
            f"不下载 {url[:200]!r}：{why.zh}；应为公开的网址；信得过请自行下载图片",
        ),
    )


def _unanswered(why: Text) -> RefusedError:
    return RefusedError(
        "fetch",
        Text(
            f"the address did not answer ({why.en}). Expected a picture. Check it in a browser, or "
            "try again later.",
            f"网址没有应答（{why.zh}）；应为图片；请在浏览器里检查，或稍后再试",
        ),
    )


def _quoted(target: str) -> str:
    """Quote spaces and Chinese characters as browsers do."""
    return quote(target, safe="/%:=&?~#+!$,;'@()*[]")

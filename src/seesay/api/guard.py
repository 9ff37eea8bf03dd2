"""Who may come in: around everything that is served, routes, web page and assistants alike.

A browser takes any page's requests to any address, this server's too. So a request must name the
server by one of its own names (DNS rebinding lets a page ask under its own), and one that a page
makes must come from a page of this server. With a token, nothing but /health is told without it.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seesay.api.config import ANY_HOST, ServerConfig
from seesay.api.failures import RefusedError, error_body
from seesay.text import Text

COOKIE = "seesay"
MAY_WRITE = "seesay.may_write"
"""In the scope of a request that may change collections."""
_OPEN = "/health"
_FOR_READ_TOKEN = ("/v1/", "/mcp", "/metrics", "/ready", "/openapi.json", "/docs")  # not the page
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
# The page runs functions that stand in its own HTML, and draws pictures that it was given as data.
_HEADERS_OF_PAGE = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' "
        b"'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' "
        b"blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    ),
    *_HEADERS,
]
_HEADERS_OF_DATA = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    *_HEADERS,
]
_HANG_UP = {"Connection": "close"}  # what is still being sent is not listened to
_NOT_KEPT = (b"cache-control", b"no-store")


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self._app = app
        self._config = config
        self._hosts = frozenset(host.strip("[]").lower() for host in config.hosts)
        token = config.token
        self._bearer = None if token is None else f"Bearer {token}".encode()
        self._cookie = "" if token is None else _derived(token)
        read = config.read_token
        self._read_bearer = None if read is None else f"Bearer {read}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or scope["path"] == _OPEN:
            await self._app(scope, receive, send)
            return
        headers = _first_of_each(scope["headers"])
        if self._is_login(scope):
            await self._log_in(scope, send)
            return
        scope[MAY_WRITE] = self._bearer is None or self._is_known(self._bearer, headers)
        refused = self._refusal(scope, headers)
        if refused is not None:
            await _refuse(kind, refused, receive, send)
        elif kind == "websocket":
            await self._app(scope, receive, send)
        else:
            await self._app(scope, self._limited(receive), _with_headers(scope["path"], send))

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> RefusedError | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if ANY_HOST not in self._hosts and _without_port(host) not in self._hosts:
            return RefusedError(
                403,
                "ForeignHost",
                _foreign_host(host, ", ".join(sorted(self._hosts))),
            )
        if _is_foreign(host, headers):
            origin = headers.get(b"origin", b"another site").decode("latin-1")
            return RefusedError(
                403,
                "ForeignOrigin",
                Text(
                    f"the request comes from a page of {origin!r}, expected one of this server "
                    f"({host}); open this server's own page, or ask it from a program",
                    f"请求来自 {origin!r} 的网页，而不是这台服务器（{host}）的网页；"
                    "请打开这台服务器自己的网页，或由程序请求",
                ),
            )
        if not scope[MAY_WRITE] and not self._may_read(scope["path"], headers):
            return RefusedError(
                401,
                "Unauthorized",
                Text(
                    "the request has no token, or a wrong one; expected the one that the server "
                    "was started with; send `Authorization: Bearer TOKEN`, or open /?token=TOKEN "
                    "once",
                    "请求没有令牌或令牌不对；应为启动服务时设置的令牌；请发送 "
                    "`Authorization: Bearer 令牌`，或先打开一次 /?token=令牌",
                ),
                {"WWW-Authenticate": "Bearer"},
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._config.max_body_bytes:
            return _too_large(self._config.max_body_bytes)
        return None

    def _is_known(self, bearer: bytes, headers: dict[bytes, bytes]) -> bool:
        if hmac.compare_digest(headers.get(b"authorization", b""), bearer):
            return True
        return hmac.compare_digest(_cookie(headers.get(b"cookie", b"")), self._cookie)

    def _may_read(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._read_bearer is None or not path.startswith(_FOR_READ_TOKEN):
            return False
        return hmac.compare_digest(headers.get(b"authorization", b""), self._read_bearer)

    def _is_login(self, scope: Scope) -> bool:
        asked = (scope["type"], scope["path"], scope.get("method"))
        is_home = asked == ("http", "/", "GET")
        return self._bearer is not None and is_home and b"token=" in scope["query_string"]

    async def _log_in(self, scope: Scope, send: Send) -> None:
        """From a link with the token to a cookie that no script can read, and an address without
        it: addresses stay in histories. Lax, so that a link to a search in a message opens; what
        another site's page asks for in the background is refused as foreign."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        right = hmac.compare_digest(given.encode(), str(self._config.token).encode())
        headers = [
            (b"location", _without_token(scope["query_string"])),
            (b"cache-control", b"no-store"),
            *_HEADERS,
        ]
        if right:
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Lax{secure}"
            headers.append((b"set-cookie", cookie.encode()))
        # Where the token is wrong, the page itself says so: it is then asked without any.
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _limited(self, receive: Receive) -> Receive:
        """Counts what arrives, whatever length was announced, and does not wait for ever."""
        most, seen, complete = self._config.max_body_bytes, 0, False

        async def limited() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise _too_late(self._config.timeout_s) from None
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > most:
                raise _too_large(most)
            return message

        deadline = asyncio.get_running_loop().time() + self._config.timeout_s
        return limited


def _too_large(most: int) -> RefusedError:
    text = Text(
        f"the request is too large; expected at most {most:,} bytes; send less at once",
        f"请求过大；最多 {most:,} 字节；请分几次发送",
    )
    return RefusedError(413, "TooLarge", text, _HANG_UP)


def _too_late(timeout_s: float) -> RefusedError:
    text = Text(
        f"the request did not arrive; expected all of it within {timeout_s:g} s; send it again",
        f"请求没有在 {timeout_s:g} 秒内发送完；请重新发送",
    )
    return RefusedError(408, "TooLate", text, _HANG_UP)


def _foreign_host(host: str, known: str) -> Text:
    return Text(
        f"this server was asked as {host!r}, expected one of {known}; use one of these names, or "
        "allow the other one when the server is started",
        f"请求所用的主机名是 {host!r}，应为 {known} 之一；请改用这些名称，或在启动服务时允许它",
    )


def _derived(token: str) -> str:
    """What the cookie holds: it proves that the token was known, and is not the token."""
    return hmac.new(token.encode(), b"seesay cookie", hashlib.sha256).hexdigest()


def _without_token(query: bytes) -> bytes:
    """The address of the page with what else was asked of it: a link to a search stays one."""
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    kept = urlencode([field for field in fields if field[0] != "token"])
    return f"/?{kept}".encode() if kept else b"/"


def _first_of_each(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found.setdefault(name, value)
    return found


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_foreign(host: str, headers: dict[bytes, bytes]) -> bool:
    """Whether a page of another site makes this request, and not to be shown itself."""
    origin = headers.get(b"origin")
    if origin is not None:
        return origin.decode("latin-1").lower().partition("://")[2] != host
    site = headers.get(b"sec-fetch-site", b"none")
    return site in (b"cross-site", b"same-site") and headers.get(b"sec-fetch-mode") != b"navigate"


def _cookie(header: bytes) -> str:
    try:
        found = SimpleCookie(header.decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    value = "" if found is None else found.value
    return value if value.isascii() else ""


async def _refuse(kind: str, error: RefusedError, receive: Receive, send: Send) -> None:
    if kind == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.kind})
        return
    body = error_body(error.kind, error.text.en)
    extra = [(k.lower().encode(), v.encode()) for k, v in (error.headers or {}).items()]
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        _NOT_KEPT,
        *extra,
        *_HEADERS_OF_DATA,
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _with_headers(path: str, send: Send) -> Send:
    is_data = path.startswith(("/v1/", "/metrics", "/ready", "/openapi.json"))

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.setdefault("headers", [])
            if is_data and not any(name == b"cache-control" for name, _ in headers):
                headers = [*headers, _NOT_KEPT]
            message["headers"] = [*headers, *(_HEADERS_OF_DATA if is_data else _HEADERS_OF_PAGE)]
        await send(message)

    return sent

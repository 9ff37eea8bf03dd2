"""Who may come in: foreign pages, names and bodies are refused, and no path leads to a file."""

import asyncio
import http.client
import socket

import httpx
import pytest

from live_server import serving
from seesay.api.config import ServerConfig
from seesay.api.guard import Guard

TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def locked(album):
    with serving(album, token=TOKEN, max_body_bytes=100_000, timeout_s=3.0) as up:
        yield up


def ask(server, path="/v1/models", **headers):
    """A request whose headers are sent as they stand."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode("latin-1")
    connection.close()
    return answer.status, body


def test_a_page_whose_name_was_pointed_here_is_refused(server):
    status, body = ask(server, Host=f"rebound.example.org:{server.port}")
    assert (status, "ForeignHost" in body) == (403, True)
    assert ask(server, Host="localhost.example.org")[0] == 403
    for own in ("localhost", "127.0.0.1", "[::1]"):
        assert ask(server, Host=f"{own}:{server.port}")[0] == 200


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://127.0.0.1:1", "file://"])
def test_a_foreign_page_is_refused_whatever_it_asks_for(server, origin):
    status, body = ask(server, Origin=origin)
    assert (status, "ForeignOrigin" in body) == (403, True)
    answer = httpx.post(
        f"{server.url}/v1/search",
        content=b'{"query": "cat"}',
        headers={"origin": origin, "content-type": "text/plain"},
    )
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_a_picture_tag_in_a_foreign_page_gets_nothing_and_a_link_there_works(server):
    foreign = {"Sec_Fetch_Site": "cross-site"}
    assert ask(server, "/v1/thumbnails/1", **foreign, Sec_Fetch_Mode="no-cors")[0] == 403
    assert ask(server, "/v1/thumbnails/1", **foreign, Sec_Fetch_Mode="navigate")[0] == 200
    assert ask(server, Origin=f"http://127.0.0.1:{server.port}")[0] == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"bearer{TOKEN}", f"Bearer {TOKEN}x", "Bearer \xfc"],
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/ready", "/openapi.json", "/", "/nix"])
def test_without_the_right_token_nothing_is_told(locked, header, path):
    status, body = ask(locked, path, **({} if header is None else {"Authorization": header}))
    assert (status, "Unauthorized" in body, "token" in body) == (401, True, True)


def test_with_the_token_everything_is_told_and_health_without(locked):
    assert ask(locked, Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(locked, "/health")[0] == 200


def test_a_link_with_the_token_becomes_a_cookie_that_is_not_the_token(locked):
    with httpx.Client(base_url=locked.url) as browser:
        answer = browser.get("/", params={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and TOKEN not in cookie
        assert browser.get("/v1/models").status_code == 200
        answer = browser.get("/v1/models", headers={"cookie": "seesay=" + "0" * 64})
        assert answer.status_code == 401
    with httpx.Client(base_url=locked.url) as browser:
        assert "set-cookie" not in browser.get("/", params={"token": "wrong"}).headers
        assert browser.get("/v1/models").status_code == 401
        bearer = httpx.get(
            f"{locked.url}/v1/models",
            headers={"authorization": f"Bearer {cookie.partition('=')[2].partition(';')[0]}"},
        )
        assert bearer.status_code == 401


def test_a_body_that_is_too_large_is_refused_by_what_it_says_of_itself(locked):
    answer = httpx.post(
        f"{locked.url}/v1/search",
        content=b" " * 200_000,
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "TooLarge"


def test_a_body_that_says_nothing_of_its_length_is_refused_once_it_is_too_large(locked):
    sent = 0

    def pieces():
        nonlocal sent
        for _ in range(100_000):
            sent += 10_000
            yield b" " * 10_000

    with httpx.Client(base_url=locked.url) as client:
        try:
            answer = client.post(
                "/v1/search",
                content=pieces(),
                headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
            )
            assert answer.status_code == 413
        except (httpx.WriteError, httpx.ReadError):
            pass  # it was hung up on while it was still sending
    assert sent < 100_000_000


def test_a_request_that_never_ends_is_given_up(locked):
    with socket.create_connection(("127.0.0.1", locked.port), timeout=20) as slow:
        head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n"
        head += f"Content-Type: application/json\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        slow.sendall(head.encode())
        assert b" 408 " in slow.recv(1000)


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({"host": "localhost", "authorization": f"Bearer {TOKEN}"}, "accepted"),
        ({"host": "localhost"}, "Unauthorized"),
        ({"host": "localhost", "authorization": "Bearer guessed"}, "Unauthorized"),
        ({"host": "rebound.example.org", "authorization": f"Bearer {TOKEN}"}, "ForeignHost"),
        (
            {
                "host": "localhost",
                "origin": "https://example.org",
                "authorization": f"Bearer {TOKEN}",
            },
            "ForeignOrigin",
        ),
    ],
)
def test_a_web_socket_is_let_in_like_a_request(headers, answered):
    said = []

    async def behind(scope, receive, send):
        said.append("accepted")

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        assert message["type"] == "websocket.close"
        said.append(message["reason"])

    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "path": "/", "headers": sent, "query_string": b""}
    asyncio.run(Guard(behind, ServerConfig(token=TOKEN))(scope, receive, send))
    assert said == [answered]


PATHS = [
    "/v1/thumbnails/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/thumbnails/../../../etc/passwd",
    "/v1/thumbnails//etc/passwd",
    "/v1/units/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/v1/units/1?collection=../../etc",
    "/v1/thumbnails/1?collection=/etc",
    "/v1/collections/..%2f..%2fetc",
    "/v1/collections/%2fetc%2fpasswd",
    "/v1/collections/..",
    "/../../etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/%00",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(server, path):
    status, body = ask(server, path)
    assert status in (404, 422)
    assert "root:" not in body


@pytest.mark.parametrize("name", ["/etc", "../own", "~", ".", "album/../album", "file:///etc"])
def test_a_collection_in_a_request_is_a_name_and_never_a_path(client, name):
    answer = client.post("/v1/search", json={"query": "cat", "collection": name})
    assert answer.status_code == 404
    assert "expected one of album" in answer.json()["error"]["message"]


def test_answers_forbid_what_a_browser_need_not_do_with_them(client):
    headers = client.get("/v1/models").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_a_link_to_a_search_with_the_token_stays_a_link_to_it(locked):
    asked = {"q": "猫 & 狗", "token": TOKEN, "page": "2"}
    answer = httpx.get(f"{locked.url}/", params=asked)
    assert answer.headers["location"] == "/?q=%E7%8C%AB+%26+%E7%8B%97&page=2"
    answer = httpx.get(f"{locked.url}/?token=wrong&q=a%0d%0ax")
    assert answer.headers["location"] == "/?q=a%0D%0Ax"

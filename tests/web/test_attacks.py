"""What a visitor sends that no page of ours would: file data, paths, addresses, and requests of
Gradio that the page does not make. No file is opened for it and no address fetched."""

import errno
import http.client
import itertools
import json
import os
import re
import secrets
import socket
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gradio as gr
import httpx
import pytest

from seesay.api.jobs import Jobs
from seesay.errors import ConfigError
from seesay.web.allowlist import AllowList
from seesay.web.conversing import PageAnswers
from seesay.web.handlers import Handlers
from seesay.web.page import build_page
from seesay.web.uploads import MOST_PICTURE

SECRET = "the quick brown secret"
JOIN = "/gradio_api/queue/join"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
OPEN = {
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/config"),
    ("GET", "/theme.css"),
    ("GET", "/favicon.ico"),
    ("GET", "/assets/{path:path}"),
    ("GET", "/static/{path:path}"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/heartbeat/{session_hash}"),
    ("GET", "/gradio_api/queue/data"),
    ("POST", JOIN),
}
"""Every request of Gradio's that the page makes. A route is added here only after reading what it
does with what a visitor sends."""


@pytest.fixture(scope="module")
def visitor(served):
    with httpx.Client(base_url=served.address, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def functions(visitor):
    """The number of each function that the server runs, with the components that it reads."""
    config = visitor.get("/config").json()
    types = {one["id"]: one["type"] for one in config["components"]}
    found = {
        one["id"]: [types[number] for number in one["inputs"]]
        for one in config["dependencies"]
        if one["backend_fn"]
    }
    assert len(found) > 10 and {kind for types in found.values() for kind in types} == set(WRONG)
    return found


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    """A file, a pipe and an address, and whether anybody touched the last two."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "secret.txt").write_text(SECRET)
    os.mkfifo(folder / "pipe")
    fetched = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path)
            self.send_error(404)

        do_HEAD = do_POST = do_GET

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Listening) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Trap(folder, f"http://127.0.0.1:{server.server_port}/picture.png")
        server.shutdown()
        thread.join()
    assert fetched == []
    with pytest.raises(OSError) as nobody_reads:
        os.open(folder / "pipe", os.O_WRONLY | os.O_NONBLOCK)
    assert nobody_reads.value.errno == errno.ENXIO


class Trap:
    def __init__(self, folder, address):
        self.secret, self.address = str(folder / "secret.txt"), address
        pipe, passwords = str(folder / "pipe"), "file:///etc/passwd"
        self.targets = (self.secret, pipe, "/dev/zero", address, passwords)
        self.next = itertools.cycle(self.targets)

    def file_data(self):
        """File data in every shape that Gradio looks into, of one target after the other."""
        data = {"path": next(self.next), "meta": {"_type": "gradio.FileData"}}
        yield data
        yield [data]
        yield {**data, "url": data["path"], "is_stream": False, "orig_name": "a.png"}
        yield {"value": data, "__type__": "update"}
        yield [["deeper", {"still": [data]}]]


def call(visitor, number, data, **more):
    body = {"fn_index": number, "data": data, "session_hash": "attacker", **more}
    return visitor.post(JOIN, json=body)


def events(visitor, session):
    """What the server says until the calls of a session have ended."""
    with visitor.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        return "".join(stream.iter_text())


def refused(answer):
    """In the form that every error of the server has."""
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "ConfigError" and "; expected " in error["message"]
    return True


def test_a_file_of_the_server_cannot_be_copied_out_through_a_field(visitor, functions, trap):
    """Gradio copies the file to where it serves files from, and the answer says where that is."""
    number = next(n for n, types in functions.items() if types[2:4] == ["textbox", "html"])
    data = [{"slider": 0, "radio": ""}.get(kind) for kind in functions[number]]
    data[2] = {"path": trap.secret, "meta": {"_type": "gradio.FileData"}}
    answer = call(visitor, number, data)
    if answer.status_code == 200:  # then see what comes of it
        for path in re.findall(r"/[\w./-]+/secret\.txt", events(visitor, "attacker")):
            assert SECRET not in visitor.get(f"/gradio_api/file={path}").text
    assert refused(answer)


def test_no_component_takes_file_data(visitor, functions, trap):
    for number, types in functions.items():
        for place in range(len(types)):
            for attack in trap.file_data():
                data = [None] * len(types)
                data[place] = attack
                answer = call(visitor, number, data)
                assert refused(answer) and f"data[{place}]" in answer.text


WRONG = {
    "api": (True, [], {}, ["a"]),
    "textbox": (1, True, [], {}, ["a"], "x" * 4001),
    "html": (1, True, [], {}, ["a"]),
    "radio": (1, True, [], {}, ["a"]),
    "slider": ("", "1", True, [], {}, 1e300),
    "dropdown": (1, True, {}, [1], [None], [["a"]], ["a"] * 1001),
    "state": (1, True, "a", [], {}),
}


def test_no_component_takes_another_type_than_its_own(visitor, functions):
    for number, types in functions.items():
        for place, kind in enumerate(types):
            for value in WRONG[kind]:
                data = [None] * len(types)
                data[place] = value
                assert refused(call(visitor, number, data)), (number, kind, value)


def test_an_event_brings_no_file_either(visitor, functions, trap):
    config = visitor.get("/config").json()
    taking = {one["id"] for one in config["dependencies"] if one["collects_event_data"]}
    assert len(taking) == 3
    for number in taking:
        for attack in (
            *trap.file_data(),
            {"do": next(trap.file_data())},
            {"units": ["/etc"]},
            {"address": 1},
        ):
            answer = call(visitor, number, [None] * len(functions[number]), event_data=attack)
            assert refused(answer) and "event_data" in answer.text


@pytest.mark.parametrize(
    "change",
    [
        *({"fn_index": number} for number in (-1, 8, 999, 2**70, 1.0, "0", True, None, [0], {})),
        *({"data": data} for data in (None, {}, "text", [], [None], [None] * 10, [None] * 12)),
        *({"session_hash": name} for name in (None, "", "../x", "a b", "x" * 65, 1, ["a"], {})),
        *({"trigger_id": number} for number in (-1, 3, 999, "8", True, [8])),
    ],
)
def test_a_call_that_the_page_does_not_make_is_refused(visitor, functions, change):
    body = {"fn_index": 5, "data": [None] * 11, "session_hash": "attacker", **change}
    assert len(functions[5]) == 11 and 8 not in functions
    assert refused(visitor.post(JOIN, json=body))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"fn_index":' * 5000),
        b'{"fn_index": ' + b"9" * 5000 + b"}",
        b'{"fn_index":4,"session_hash":"a","data":[null,"few"],"data":[null,{"path":"/etc/passwd"}]}',
        b'{"fn_index":10,"session_hash":"a","data":["few",NaN,null]}',
        b'{"fn_index":4,"session_hash":"a","data":[null,"\\udc00"]}',
    ],
)
def test_a_body_that_is_no_call_is_refused(visitor, body):
    for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
        assert refused(visitor.post(JOIN, content=body, headers={"content-type": kind}))


def test_what_gradio_reads_is_what_was_checked_whatever_else_the_body_holds(visitor, trap):
    """Keys that Gradio knows and the page does not send, and those of which there are two."""
    attack = json.dumps(next(trap.file_data()))
    body = (
        f'{{"fn_index":4,"session_hash":"twice","data":[null,{attack}],"data":[null,"few"],"batched":true,'
        f'"event_id":{attack},"oauth_token":"x","simple_format":true,"event_data":{attack}}}'
    )
    assert visitor.post(JOIN, content=body).status_code == 200
    told = events(visitor, "twice")
    assert '"success":true' in told and "moon.png" in told and "secret" not in told


def test_paths_and_addresses_in_a_field_are_words(visitor, functions, trap):
    number = next(n for n, types in functions.items() if set(types) == {"api"})
    for place in (0, 2):  # the words, and the picture
        for target in trap.targets:
            data = [None] * 9
            data[place] = target
            data[6], data[7] = 1, 0
            session = f"words{place}"
            body = {"fn_index": number, "data": data, "session_hash": session}
            assert visitor.post(JOIN, json=body).status_code == 200
            told = events(visitor, session)
            assert "process_completed" in told and SECRET not in told
            assert "root:" not in told


def routes(inner):
    """Every route of Gradio's application, with its methods."""
    for route in inner:
        if hasattr(route, "path"):
            yield from (
                (method, route.path) for method in getattr(route, "methods", None) or METHODS
            )
        else:
            yield from routes(route.original_router.routes)


@pytest.fixture(scope="module")
def gradio_app(served):
    return served.page.app


def test_every_route_of_gradio_is_closed_but_those_that_the_page_needs(visitor, gradio_app, trap):
    known = set(routes(gradio_app.routes))
    assert known >= OPEN
    assert {("POST", "/gradio_api/upload"), ("GET", "/gradio_api/file={path_or_url:path}")} <= known
    paths = {path for _, path in known} - {"/openapi.json"}  # that one is our own
    for method, path in itertools.product(METHODS, paths):
        if (method, path) in OPEN:
            continue
        asked = re.sub(r"\{[^}]*\}", next(trap.next), path)
        answer = visitor.request(method, asked)
        closed = {404: "NotFound"}
        if any((one, path) in OPEN for one in METHODS):
            closed[405] = "MethodNotAllowed"  # open to another method
        assert answer.status_code in closed, (method, asked)
        if method != "HEAD":
            assert answer.json()["error"]["type"] == closed[answer.status_code]


def test_a_route_that_a_later_gradio_adds_is_closed(visitor, gradio_app):
    for path in ("/newly", "/gradio_api/newly", "/gradio_api/queue/newly"):
        gradio_app.add_api_route(path, lambda: "open", methods=["GET", "POST"])
        assert visitor.get(path).status_code == visitor.post(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "//gradio_api/file=/etc/passwd",
        "/gradio_api//file=/etc/passwd",
        "/./gradio_api/file=/etc/passwd",
        "/assets/../gradio_api/file=/etc/passwd",
        "/%67radio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/assets//etc/passwd",
        "/assets/%2fetc/passwd",
        "/assets/..%2f..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/%2e%2e/index.html",
        "/assets/.",
        "/assets/a%00.js",
        "/static/..%5c..%5cetc",
        "/static/%0a",
        "/gradio_api/heartbeat/..",
        "/gradio_api/heartbeat/a/b",
        "/gradio_api/heartbeat/" + "x" * 65,
        "/config\n",
    ],
)
def test_a_path_that_is_spelled_in_another_way_is_closed_too(served, path):
    connection = http.client.HTTPConnection(served.address.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection._validate_path = lambda _: None
        connection.putrequest("GET", path.replace("\n", "%0a"))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 404 and b"root:" not in answer.read()


def test_an_address_is_never_fetched(visitor, trap):
    for route in (
        "/gradio_api/file=",
        "/gradio_api/file/",
        "/gradio_api/proxy=",
        "/file=",
        "/proxy=",
    ):
        for method in METHODS:
            assert visitor.request(method, route + trap.address).status_code == 404


def test_nothing_can_be_uploaded(visitor, gradio_app):
    name = f"{secrets.token_hex(8)}.png"
    files = {"files": (name, b"x" * 1000), "video": (name, b"x")}
    for path in ("upload", "upload/", "process_recording", "component_server"):
        assert visitor.post(f"/gradio_api/{path}", files=files).status_code == 404
    assert list(Path(gradio_app.uploaded_file_dir).rglob(name)) == []


def test_a_picture_has_a_largest_size(visitor, functions):
    number = next(n for n, types in functions.items() if types[2:4] == ["textbox", "html"])
    data = [None] * len(functions[number])
    for size, status in ((MOST_PICTURE + 1, 400), (2 * MOST_PICTURE, 413)):
        data[3] = "x" * size
        answer = call(visitor, number, data)
        assert answer.status_code == status and "at most" in answer.json()["error"]["message"]


def test_what_stands_behind_a_question_mark_is_not_read(visitor):
    told = visitor.get("/config?deep_link=a&page=b").json()
    assert "deep_link_state" not in told and told["components"]
    assert visitor.get("/?page=nowhere&deep_link=..%2f..").status_code == 200
    named = visitor.get("/gradio_api/info?all_endpoints=True").json()
    assert list(named["named_endpoints"]) == ["/search"]
    for query in ("", "?session_hash=", "?session_hash=..", "?session_hash=a&session_hash=b"):
        assert refused(visitor.get(f"/gradio_api/queue/data{query}"))


def test_a_server_that_only_reads_has_nothing_to_change_a_collection_with(visitor, served):
    config = visitor.get("/config").json()
    names = {one["props"].get("elem_id") for one in config["components"]}
    assert "go" in names and not {"update", "add-folder", "tag", "cancel"} & names
    assert 'data-do="remove' not in Handlers(served.library, read_only=True).open(None)[1]
    answers = PageAnswers(None, lambda function: function())
    writing = build_page(served.library, jobs=Jobs(served.library), answers=answers)
    known = {one["id"] for one in config["dependencies"]}
    changing = {number: one for number, one in writing.fns.items() if number not in known}
    assert len(changing) == 7  # remove, update, add, tag, cancel, and two that ask for the state
    for number, function in changing.items():
        answer = call(visitor, number, [None] * len(function.inputs), event_data={"unit": "1"})
        assert refused(answer) and "fn_index" in answer.text


def test_removing_is_refused_by_the_function_itself_where_the_server_only_reads(served):
    before = served.library.get("few").stats().units
    told = Handlers(served.library, read_only=True).remove({"unit": "1"}, None, "few")
    assert "served to be read only" in told[1]
    assert served.library.get("few").stats().units == before


def test_a_collection_that_is_not_there_is_named_in_the_answer(served):
    handlers = Handlers(served.library, read_only=True)
    event = {"units": [1]}
    for told in (
        handlers.duplicates("nowhere", ""),
        handlers.draw("nowhere", "image", None)[0],
        handlers.pick("nowhere", event),
        handlers.open("nowhere")[1],
    ):
        assert "there is no collection" in told


def test_a_component_that_takes_files_cannot_be_put_on_the_page():
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button().click(str, gr.Image())
    with pytest.raises(ConfigError, match=r"the component at data\[0\] takes .*; expected text"):
        AllowList(page, page)


def test_no_web_socket_is_opened(served):
    host, _, port = served.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"GET {JOIN} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b"HTTP/1.1 101" not in connection.recv(100)


def test_the_page_runs_nothing_from_elsewhere_and_in_no_frame(visitor):
    headers = visitor.get("/").headers
    policy = headers["content-security-policy"]
    for rule in ("default-src 'self'", "frame-ancestors 'none'", "object-src 'none'"):
        assert rule in policy
    assert "http:" not in policy and "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"

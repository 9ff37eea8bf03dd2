"""`seesay serve`: who may come in, what is said, and how it stops."""

import errno
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from seesay.cli.listening import address, listen
from seesay.cli.main import run
from seesay.cli.serve import configure
from seesay.errors import ConfigError
from served import Served, command, make_collection, served, surroundings

TOKEN = "a-token-for-tests"
HEARTBEAT = "/gradio_api/heartbeat/one-page"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_collection(folder)
    return folder


@pytest.fixture(scope="module")
def whole(home):
    """Page and all, with a token; nobody may change anything."""
    with served(home, "--read-only", variables={"SEESAY_TOKEN": TOKEN}) as server:
        yield server


def search(server: Served, words: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.address}/v1/search", json={"query": words}, headers=headers)


def in_process(home: Path, *words: str, before: str = "", **variables: str):
    started = command(*words, before=before)
    environment = surroundings(home, **variables)
    return subprocess.run(started, env=environment, capture_output=True, text=True, timeout=60)


def test_page_api_and_assistants_are_on_one_port_behind_one_token(whole):
    with httpx.Client(base_url=whole.address, follow_redirects=True) as person:
        assert person.get("/").status_code == 401
        page = person.get(f"/?token={TOKEN}")
        assert page.status_code == 200 and "gradio" in page.text
        assert "token" not in str(page.url)  # it went into a cookie, and out of the address
        assert person.get("/v1/collections").status_code == 200
    program = {"Authorization": f"Bearer {TOKEN}"}
    hits = search(whole, "a man with a camera on a tripod", **program).json()["hits"]
    assert hits[0]["path"].endswith("camera.png")
    assert search(whole, "cat").status_code == 401
    assert httpx.post(f"{whole.address}/mcp", json={}).status_code == 401
    assert httpx.post(f"{whole.address}/mcp", json={}, headers=program).status_code != 401
    assert httpx.get(f"{whole.address}/health").status_code == 200


def test_nothing_is_changed_when_it_is_to_be_read_only(whole):
    answer = httpx.post(
        f"{whole.address}/v1/collections/default/index",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 403


def test_a_token_of_the_surroundings_does_not_get_into_a_log(whole):
    assert whole.told == f"Open {whole.address}/?token=TOKEN"


def test_a_token_is_made_and_printed_once(home):
    with served(home, "--no-page", "--token", "auto") as server:
        token = server.told.partition("?token=")[2]
        assert len(token) >= 24
        assert search(server, "cat").status_code == 401
        assert search(server, "cat", Authorization=f"Bearer {token}").status_code == 200
        check_it_stops_well(server, signal.SIGINT, token, "seesay: stopped\n")


def test_it_speaks_the_language_of_the_user(home):
    with served(home, "--no-page", variables={"SEESAY_LANG": "zh"}) as server:
        assert server.told == f"请打开 {server.address}/"
        assert httpx.get(f"{server.address}/").status_code == 404
        check_it_stops_well(server, signal.SIGTERM, "", "seesay: 已停止\n")


def test_an_open_page_does_not_keep_it_from_stopping(home):
    before = "import seesay.cli.listening as listening; listening.GRACE_S = 10**6"
    with (
        served(home, before=before) as server,
        httpx.stream("GET", f"{server.address}{HEARTBEAT}", timeout=None) as page,
    ):
        assert "ALIVE" in next(page.iter_lines())
        server.process.send_signal(signal.SIGTERM)
        _, err = server.process.communicate(timeout=300)
    assert (server.process.returncode, err) == (0, "seesay: stopped\n")


ENDLESS = """
import torch
import seesay.cli.listening as listening
from seesay.inference import devices
usual = devices.by_length
def endless(ids, rows):
    while len(ids) > 20:
        STEP
        yield torch.arange(1)
    yield from usual(ids, rows)
devices.by_length = endless
"""


@contextmanager
def embedding_for_ever(home: Path, step: str, settings: str) -> Iterator[tuple[Served, Future]]:
    """A server that embeds a text, at a step that takes for ever or one after the other."""
    before = ENDLESS.replace("STEP", step) + settings
    body = {"model": "seesay-mini", "input": "a text of many windows " * 500}
    with served(home, "--no-page", before=before) as server, ThreadPoolExecutor(1) as pool:
        route = f"{server.address}/v1/embeddings"
        asked = pool.submit(httpx.post, route, json=body, timeout=60)
        inside = 'seesay_working{work="embeddings"} 1.0'
        while inside not in httpx.get(f"{server.address}/metrics").text:
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        yield server, asked


def test_it_stops_while_a_text_is_being_embedded(home):
    with embedding_for_ever(home, "pass", "listening.GRACE_S = 1") as (server, asked):
        answer = asked.result()
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "Stopping")
        out, err = server.process.communicate(timeout=60)
    assert (server.process.returncode, out, err) == (0, "", "seesay: stopped\n")


def test_it_stops_though_a_library_never_comes_back(home):
    settings = "listening.GRACE_S, listening.GIVING_UP_S, listening.LAST_S = 0.5, 0.5, 3"
    step = "import time; time.sleep(10**6)"
    with embedding_for_ever(home, step, settings) as (server, asked):
        _, err = server.process.communicate(timeout=60)
        assert isinstance(asked.exception(), httpx.TransportError) or asked.result().is_error
    assert server.process.returncode == 1
    assert err.endswith("seesay: stopped after 3 s, though something was still being done\n")


def check_it_stops_well(server: Served, how: int, token: str, said: str) -> None:
    """A request in flight is answered, nobody else comes in, and nothing but `said` is printed."""
    body = json.dumps({"query": "一只猫的脸"}).encode()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as half:
        half.sendall(
            f"POST /v1/search HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:5]
        )
        time.sleep(0.3)  # the server has the beginning now
        server.process.send_signal(how)
        time.sleep(0.5)
        with pytest.raises(OSError):
            socket.create_connection((host, int(port)), timeout=5)
        half.sendall(body[5:])
        answer = b""
        while part := half.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200") and b"chelsea.png" in answer
    out, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, out, err) == (0, "", said)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_other_machines_are_not_let_in_without_a_token(host, capsys, monkeypatch):
    monkeypatch.delenv("SEESAY_TOKEN", raising=False)
    assert run(["serve", "--host", host]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert re.search(r"lets other machines in.*; expected .*; add --token auto", told.err)


def test_a_token_that_can_be_guessed_is_refused(capsys):
    assert run(["serve", "--host", "0.0.0.0", "--token", "1234"]) == 2
    assert "expected at least 8" in capsys.readouterr().err


def test_only_with_a_token_may_the_server_be_called_by_any_name():
    assert configure("0.0.0.0", TOKEN, False).hosts == ("*",)
    assert configure("127.0.0.1", TOKEN, False).hosts == ("*",)  # as behind a proxy
    assert "*" not in configure("127.0.0.1", None, False).hosts
    assert "*" not in configure("127.0.0.1", "", False).hosts
    made = {configure("0.0.0.0", "auto", False).token for _ in range(2)}
    assert len(made) == 2 and all(len(token) >= 24 for token in made)


def test_a_port_in_use_is_one_line_that_says_what_to_do(capsys):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert f"port {port} of 127.0.0.1 is in use" in told.err and f"--port {port + 1}" in told.err


def test_a_port_for_the_system_alone_is_not_answered_with_the_next_one(monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", refuse)
    with pytest.raises(ConfigError, match=r"port 80 is for the system alone.*from 1024 on"):
        listen("127.0.0.1", 80)


def test_an_address_of_another_machine_cannot_be_listened_on():
    with pytest.raises(ConfigError, match="cannot be listened on"):
        listen("192.0.2.7", 0)  # of a block that no machine has (RFC 5737)


@pytest.mark.parametrize(
    ("host", "token", "expected"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:80/"),
        ("::1", "a/b c", "http://[::1]:80/?token=a%2Fb%20c"),
        ("0.0.0.0", "T", f"http://{socket.gethostname()}:80/?token=T"),
    ],
)
def test_the_address_is_one_that_a_browser_can_open(host, token, expected):
    assert address(host, 80, token) == expected


def test_without_a_collection_it_says_how_to_make_one(tmp_path):
    done = in_process(tmp_path, "serve", "--port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "seesay index FOLDER" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["uvicorn", "fastapi", "mcp", "gradio"])
@pytest.mark.parametrize("verb", ["serve", "mcp"])
def test_a_missing_package_is_said_with_what_to_install(home, verb, package):
    if verb == "mcp" and package != "mcp":
        pytest.skip("an assistant that talks over stdin needs no server")
    options = ["--port", "0"] if verb == "serve" else []
    gone = f"import sys; sys.modules['{package}'] = None"
    done = in_process(home, verb, *options, before=gone)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        f"seesay: {package} is not installed, expected seesay with its extra 'serve'. "
        "Install it with: pip install 'seesay[serve]'"
    )


def test_help_needs_none_of_what_serving_needs():
    code = (
        "import sys; from seesay.cli.main import run; run(['serve', '--help']);"
        "run(['mcp', '--help']); heavy = {'torch', 'numpy', 'fastapi', 'uvicorn', 'gradio', 'mcp'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

"""A web server on this machine stands for the internet; the guard is told to let it through."""

import http.server
import threading
import time
from contextlib import suppress

import pytest

from seesay.search.reading.addresses import fetch, is_public
from seesay.search.reading.files import ReadLimits, RefusedError


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        place = self.path.partition("?")[0]
        if place == "/picture":
            self.answer(200, b"pixels")
        elif place == "/moved":
            self.answer(302, b"", Location="/picture")
        elif place == "/inwards":
            self.answer(302, b"", Location="http://169.254.169.254/secrets")
        elif place == "/file":
            self.answer(302, b"", Location="file:///etc/passwd")
        elif place == "/round":
            self.answer(302, b"", Location="/round")
        elif place == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b".")
                time.sleep(0.05)
        else:
            self.answer(404, b"")

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # the reader had enough
            super().handle()


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def here(address):
    return address == "127.0.0.1"


def refusal(url, limits=None, allowed=here):
    with pytest.raises(RefusedError) as refused:
        fetch(url, limits or ReadLimits(seconds=5.0), allowed=allowed)
    return refused.value


def test_a_picture_is_fetched_also_by_way_of_a_redirect(site):
    assert fetch(f"{site}/picture", ReadLimits(), allowed=here).data == b"pixels"
    assert fetch(f"{site}/moved?größe=1", ReadLimits(), allowed=here).data == b"pixels"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fe80::1%eth0"),
        *("fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::"),
    ],
)
def test_addresses_of_this_machine_and_its_network_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]"])
def test_no_spelling_of_this_machine_is_connected_to(site, host):
    port = site.rpartition(":")[2]
    assert refusal(f"http://{host}:{port}/picture", allowed=is_public).stage in ("address", "fetch")


def test_a_redirect_to_the_inner_network_is_refused(site):
    assert refusal(f"{site}/inwards").stage == "address"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.org/a.jpg", "http://me:secret@example.org/", "http:"],
)
def test_only_plain_web_addresses_are_fetched(url):
    assert refusal(url).stage == "address"


def test_a_redirect_to_a_file_is_refused(site):
    assert refusal(f"{site}/file").stage == "address"


def test_redirects_that_never_end_are_given_up(site):
    assert "redirects" in str(refusal(f"{site}/round"))


def test_an_answer_that_drips_is_given_up_in_time(site):
    began = time.monotonic()
    assert refusal(f"{site}/slow", ReadLimits(seconds=0.5)).stage == "fetch"
    assert time.monotonic() - began < 3


def test_an_answer_that_is_too_long_is_given_up(site):
    assert refusal(f"{site}/picture", ReadLimits(max_file_bytes=3)).stage == "size"


def test_a_page_that_is_not_there_is_an_error(site):
    assert "404" in str(refusal(f"{site}/nothing"))

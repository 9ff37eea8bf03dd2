"""A live server with the page, on real photographs, and a browser without a window to look at it.

Both are started once for all tests."""

import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from starlette.routing import Mount

from photographs import folder
from seesay.api.config import ServerConfig
from seesay.cli.serve import compose
from seesay.data.images import list_images
from seesay.search.collection import Collection
from seesay.search.library import Library
from seesay.web.allowlist import AllowList

NASTY_NAME = "<img src=x onerror=window.hacked=1> ${window.hacked=2} {{a}} & `b`.png"
NASTY_TEXT = "Parrot manual. <script>window.hacked=3</script> ${window.hacked=4} {{constructor}}"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@dataclass(frozen=True)
class Served:
    address: str
    library: Library
    page: AllowList
    """What stands before Gradio."""


def travel_pictures(trip: Path) -> None:
    """Two photographs of Hangzhou and one of Paris, with what a camera writes and a caption."""
    trip.mkdir()
    places = {
        "rocket.jpg": (("N", (30, 16, 0)), ("E", (120, 9, 0))),
        "chelsea.png": (("N", (30, 15, 0)), ("E", (120, 10, 0))),
        "coffee.png": (("N", (48, 51, 24)), ("E", (2, 21, 0))),
    }
    for name, (latitude, longitude) in places.items():
        exif = Image.Exif()
        exif[271], exif[272] = "Canon", "EOS R5"
        exif[0x8769] = {36867: "2023:07:08 10:11:12"}
        exif[0x8825] = {1: latitude[0], 2: latitude[1], 3: longitude[0], 4: longitude[1]}
        size = (200, 300) if name == "rocket.jpg" else (300, 200)
        with Image.open(folder() / name) as picture:
            picture.convert("RGB").resize(size).save(trip / f"{name[:-4]}.jpg", exif=exif)
    table = "file,caption,tag\ncoffee.jpg,A cup in <b>Paris</b>,breakfast\n"
    (trip / "captions.csv").write_text(table, encoding="utf-8")


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The server on three collections: "photographs", "few" with a single one, and "trip" with
    three that say where they were taken."""
    base = tmp_path_factory.mktemp("served")
    made = base / "made"
    made.mkdir()
    with Image.open(folder() / "coffee.png") as coffee:
        coffee.resize((300, 200)).save(made / NASTY_NAME)
    copies = base / "copies"
    copies.mkdir()
    shutil.copy(folder() / "moon.png", copies / "moon again.png")
    (made / "parrots.txt").write_text(NASTY_TEXT, encoding="utf-8")
    notes = Path(__file__).parents[2] / "examples" / "documents"
    with Collection.open(base / "photographs", create=True) as collection:
        collection.index([*list_images(folder()), notes, made, copies])
    with Collection.open(base / "few", create=True) as collection:
        collection.index([folder() / "moon.png"])
    travel_pictures(base / "travels")
    with Collection.open(base / "trip", create=True) as collection:
        collection.index([base / "travels"])
    names = ("photographs", "few", "trip")
    with Library.open([base / name for name in names]) as library:
        library.warm_up()
        app = compose(library, ServerConfig(read_only=True))
        page = next(route.app.app for route in app.routes if isinstance(route, Mount))
        with _listening(app) as address:
            yield Served(address, library, page)


@pytest.fixture(scope="session")
def listening():
    """Serves an application while a block runs."""
    return _listening


@contextmanager
def _listening(app):
    """The application on a free port, while the block runs; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            log_level="critical",
            timeout_graceful_shutdown=1,  # the page listens as long as it is open
        )
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + 300
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    listener.close()


@pytest.fixture(scope="module")
def browser():
    """Chromium, as Debian has it. Playwright keeps an event loop running while it is open, which
    the tests of other modules must not meet."""
    if CHROMIUM is None:
        pytest.skip("needs the program chromium, which is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=40_000)
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, served):
    """Opens the page in a language, fresh; in the end nothing was asked from elsewhere, nothing
    failed, and no text of a file has run."""
    opened, outside, failed = [], [], []

    def note(request):
        if not request.url.startswith((served.address, "data:", "blob:")):
            outside.append(request.url)

    def note_forbidden(message):
        if "Content Security Policy" in message.text:
            failed.append(message.text)

    def open_page(locale="en-US", width=1280, height=900, query=""):
        context = browser.new_context(locale=locale, viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(40_000)
        page.on("request", note)
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("console", note_forbidden)
        page.goto(served.address + query)
        page.wait_for_selector("#results .card")
        if locale.startswith("zh"):
            page.wait_for_selector("#go:has-text('查找')")
        opened.append((context, page))
        return page

    yield open_page
    hacked = [page.evaluate("window.hacked") for _, page in opened]
    for context, _ in opened:
        context.close()
    assert outside == []
    assert failed == []
    assert not any(hacked)

"""Makes the pictures of the page in docs/images: python docs/screenshots.py

Starts a server of its own on a collection of scikit-image's photographs and the example notes, and
looks at it with Chromium."""

import io
import shutil
import socket
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from photographs import folder
from seesay.api.config import ServerConfig
from seesay.cli.serve import compose
from seesay.data.folders import list_images
from seesay.search.collection import Collection
from seesay.search.library import Library

HERE = Path(__file__).parent
IMAGES = HERE / "images"
DESK, PHONE = (1280, 900), (390, 844)
MOST_BYTES = 300_000


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("chromium was not found, expected Debian's; install it: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as base,
        serving(Path(base)) as address,
        sync_playwright() as started,
    ):
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        search(browser, address, "search_en", "en-US", "a close-up of a cat", DESK)
        search(browser, address, "search_zh", "zh-CN", "一辆摩托车", DESK)
        search(browser, address, "phone_en", "en-US", "stars in the sky", PHONE)
        search(browser, address, "phone_zh", "zh-CN", "一只猫", PHONE)
        search(browser, address, "no_match", "zh-CN", "一群大象在河里洗澡", DESK)
        similar(browser, address)
        drawn(browser, address)
        browser.close()


@contextmanager
def serving(base: Path):
    """The address of a server on a collection that is made for it."""
    photographs = base / "photographs"
    shutil.copytree(folder(), photographs, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    with Collection.open(base / "demo", create=True) as collection:
        notes = HERE.parent / "examples" / "documents"
        collection.index([*list_images(photographs), notes])
    with Library.open([base / "demo"]) as library:
        library.warm_up()
        app = compose(library, ServerConfig(read_only=True))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            while not server.started:
                time.sleep(0.05)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()


def opened(browser: Browser, address: str, locale: str, size: tuple[int, int]) -> Page:
    page = browser.new_page(locale=locale, viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    page.wait_for_selector("#results .card")
    return page


def search(
    browser: Browser, address: str, name: str, locale: str, words: str, size: tuple[int, int]
) -> None:
    page = opened(browser, address, locale, size)
    ask(page, words)
    keep(page, name)


def similar(browser: Browser, address: str) -> None:
    page = opened(browser, address, "en-US", DESK)
    ask(page, "a red motorcycle")
    page.locator("#results .card", has_text="motorcycle_left").locator("[data-do=similar]").click()
    page.wait_for_selector("#results .like")
    keep(page, "similar")


def drawn(browser: Browser, address: str) -> None:
    page = opened(browser, address, "en-US", DESK)
    page.get_by_role("tab").nth(2).click()
    page.wait_for_selector("#map .js-plotly-plot[data-hooked]")
    page.wait_for_selector("#map .point")
    keep(page, "map")


def ask(page: Page, words: str) -> None:
    page.locator("#words input, #words textarea").fill(words)
    page.keyboard.press("Enter")
    page.wait_for_selector("#results .explain")


def keep(page: Page, name: str) -> None:
    """Keep what is seen, with as many colours as fit into the size that is allowed."""
    page.wait_for_timeout(2000)  # thumbnails are made when they are first asked for
    with Image.open(io.BytesIO(page.screenshot())) as taken:
        picture = taken.convert("RGB")
    for colours in (256, 128, 64, 32):
        stream = io.BytesIO()
        picture.quantize(colours).save(stream, "PNG", optimize=True)
        if stream.tell() < MOST_BYTES:
            break
    (IMAGES / f"{name}.png").write_bytes(stream.getvalue())
    print(f"docs/images/{name}.png  {stream.tell() // 1000} kB")
    page.close()


if __name__ == "__main__":
    main()

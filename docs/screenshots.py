"""Makes the pictures of the page in docs/images, its icon and its preview: python
docs/screenshots.py

Starts a server of its own on a collection of scikit-image's photographs and the example notes, and
looks at it with Chromium. `--icon` makes the icon and the preview alone."""

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
from seesay.data.images import list_images
from seesay.search.collection import Collection
from seesay.search.library import Library

HERE = Path(__file__).parent
IMAGES = HERE / "images"
DESK, PHONE = (1280, 900), (390, 844)
MOST_BYTES = 300_000
BROWSER = HERE.parent / "src" / "seesay" / "web" / "browser"
ICON = """<svg viewBox="0 0 128 128" xmlns="http://www.w3.org/2000/svg">
<rect width="128" height="128" rx="30" fill="#2f6fdb"/>
<path d="M36 26h56a14 14 0 0 1 14 14v38a14 14 0 0 1-14 14H66L46 108V92H36a14 14 0 0 1-14-14V40a14 14
 0 0 1 14-14z" fill="#fff"/><circle cx="46" cy="46" r="8" fill="#e08e45"/>
<path d="M28 84l24-25 15 15 14-16 19 22a8 8 0 0 1-8 6H36a8 8 0 0 1-8-2z" fill="#3fa796"/></svg>"""


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("chromium was not found, expected Debian's; install it: apt-get install chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        brand(browser)
        browser.close()
    if "--icon" in sys.argv:
        return
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


def brand(browser: Browser) -> None:
    """The icon, and what a link to the page shows."""
    page = browser.new_page(viewport={"width": 128, "height": 128})
    page.set_content(f"<style>*{{margin:0}}svg{{display:block}}</style>{ICON}")
    save(page.screenshot(omit_background=True), BROWSER / "icon.png")
    page.set_viewport_size({"width": 1200, "height": 630})
    page.set_content(
        "<style>*{margin:0}body{display:flex;align-items:center;gap:70px;padding:0 110px;"
        "height:630px;font-family:'Noto Sans CJK SC','Noto Sans SC','PingFang SC',sans-serif;"
        "background:linear-gradient(120deg,#f4f7fd,#dfe9fb)}svg{width:280px;flex:none}"
        "h1{font-size:120px;color:#16325f}p{font-size:40px;color:#4a5f82;line-height:1.5}</style>"
        f"{ICON}<div><h1>看图说话</h1><p>seesay · 按内容查找图片和文字<br>"
        "Find pictures by what is in them</p></div>"
    )
    save(page.screenshot(), BROWSER / "preview.png")
    page.close()


def save(screenshot: bytes, file: Path) -> None:
    with Image.open(io.BytesIO(screenshot)) as taken:
        taken.quantize(64, method=Image.Quantize.FASTOCTREE).save(file, optimize=True)


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
    page.wait_for_selector("#map .spot")
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

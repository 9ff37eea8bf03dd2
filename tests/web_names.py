"""Which finds the page shows, and how its hidden parts are opened, for tests in a browser."""

DROP = """([name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dropped = new DataTransfer();
  dropped.items.add(new File([bytes], name, {type}));
  document.body.dispatchEvent(
    new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""
"""Drops a file (name, type, base64) on the page."""


def names(page) -> list[str]:
    """File names of all finds that are shown, in their order."""
    return [name.strip() for name in page.locator("#results .card .name").all_inner_texts()]


def first_names(page, count: int) -> list[str]:
    return names(page)[:count]


def settle(page) -> None:
    """Waits until fields that have just been shown for the first time may be filled: Gradio gives
    them their values one frame later, and overwrites what was typed before."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def open_options(page) -> None:
    """Opens the filters below the query."""
    page.locator("#more button.label-wrap").click()
    page.wait_for_selector("#min-match input[type=number]")
    settle(page)

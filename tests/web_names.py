"""Which finds the page shows, for tests in a browser."""


def names(page) -> list[str]:
    """File names of all finds that are shown, in their order."""
    return [name.strip() for name in page.locator("#results .card .name").all_inner_texts()]


def first_names(page, count: int) -> list[str]:
    return names(page)[:count]

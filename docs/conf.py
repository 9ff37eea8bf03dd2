"""One configuration for both languages: `make docs` builds docs/en and docs/zh with it."""

from sphinx.application import Sphinx
from sphinx.search.zh import SearchChinese

from seesay.search.catalog.keywords import Segmenter

project = "seesay"
author = "The seesay authors"
project_copyright = "2026, The seesay authors"

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "seesay 看图说话"
html_show_sphinx = False
templates_path = ["_templates"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}


class Chinese(SearchChinese):
    """Sphinx's index of the words of Chinese pages, which would load jieba's dictionary twice."""

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__({**options, "dict": ""})
        self._segmenter = Segmenter()

    def split(self, input: str) -> list[str]:
        latin = self.latin1_letters.findall(input)
        self.latin_terms.update(latin)
        return [*self._segmenter.cut_for_search(input), *latin]


def setup(app: Sphinx) -> None:
    app.add_search_language(Chinese)

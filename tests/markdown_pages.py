"""What the tests of the pages read out of Markdown: headings, links, blocks of code, commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = re.compile(r"<!-- run(?:: (\d+))? -->\n\Z")
FENCE = re.compile(r"^( *)```(\{?[\w-]*\}?)[^\n`]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: "Page"
    line: int
    language: str
    text: str
    expected: int | None
    """The exit code of its commands: a page marks what the tests run by `<!-- run -->` (0) or
    `<!-- run: 1 -->` on the line before. None: the tests do not run it."""

    @property
    def commands(self) -> list[list[str]]:
        """What stands after each prompt of a console block, split as a shell would."""
        if self.language != "console":
            return []
        lines = re.sub(r"\\\n *", "", self.text).splitlines()
        return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return FENCE.sub("", self.text)

    @property
    def blocks(self) -> list[Block]:
        blocks = []
        for match in FENCE.finditer(self.text):
            before = self.text[: match.start()]
            mark = RUN.search(before)
            blocks.append(
                Block(
                    page=self,
                    line=before.count("\n") + 1,
                    language=match[2],
                    text=match[3],
                    expected=int(mark[1] or 0) if mark else None,
                )
            )
        return blocks

    @property
    def headings(self) -> list[tuple[int, str]]:
        found = re.findall(r"^(#+) +(.+?) *$", self.prose, re.MULTILINE)
        return [(len(marks), text) for marks, text in found]

    @property
    def anchors(self) -> set[str]:
        """The names by which GitHub and Sphinx link to the headings."""
        plain = (re.sub(r"[^\w\- ]", "", text.lower()) for _, text in self.headings)
        return {text.replace(" ", "-") for text in plain}

    @property
    def links(self) -> list[str]:
        """The targets of all links that stay inside the project."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose)
        return [target for target in targets if not re.match(r"[a-z]+:", target)]


def written_pages() -> list[Page]:
    """Every page that a person wrote, both languages."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recipes").rglob("*.md")]
    # The last two hold tables by `seesay sweep` and `seesay compare`.
    generated = {"reference", "_build", "softmax-vs-sigmoid", "comparisons", "lora-ranks"}
    return [Page(path) for path in sorted(paths) if not generated & set(path.parts)]


def chinese_twin(page: Page) -> Path | None:
    """Where the Chinese of an English page has to stand; None for a Chinese page."""
    relative = page.path.relative_to(ROOT)
    if relative.parts[0] == "docs":
        twin = ROOT / "docs" / "zh" / Path(*relative.parts[2:])
        return twin if relative.parts[1] == "en" else None
    if page.path.name.endswith(".zh.md"):
        return None
    return page.path.with_name(page.path.stem + ".zh.md")

"""Walk the pages as a new user would: every command in order, with its time and how it ended.

    python benchmarks/walk.py
    python benchmarks/walk.py --language zh

Clones this repository into an empty folder, gives it a home of its own with scikit-image's
photographs in `~/Pictures`, and types what the README, "Getting started" and "Collections" show
after each prompt into one shell. `make test` is left out (it has its own command), and so is what
has no end (`seesay serve`, `seesay mcp`). A command that needs a model that must be downloaded
fails without a network: the last line of what it said is printed, so that one can see whether it
says what to do.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples")]

from markdown_pages import Page  # noqa: E402
from photographs import photographs  # noqa: E402
from random_model import write_random_model  # noqa: E402

PAGES = {
    "en": ("README.md", "docs/en/getting-started.md", "docs/en/search.md"),
    "zh": ("README.zh.md", "docs/zh/getting-started.md", "docs/zh/search.md"),
}
LEFT_OUT = re.compile(r"make test|seesay (serve|mcp)\b")
END = "__walked__"


class Shell:
    """One bash that keeps its folder and its variables between commands."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=environment, text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> tuple[int, float, list[str]]:
        """Exit code, seconds, and the lines that were printed."""
        assert self._bash.stdin and self._bash.stdout
        start = time.perf_counter()
        self._bash.stdin.write(f"{{ {command}\n}} < /dev/null\necho {END} $?\n")
        self._bash.stdin.flush()
        lines = []
        for line in self._bash.stdout:
            if line.startswith(END):
                return int(line.split()[1]), time.perf_counter() - start, lines
            lines.append(line.rstrip())
        raise SystemExit(f"the shell ended during: {command}")

    def close(self) -> None:
        assert self._bash.stdin
        self._bash.stdin.close()
        self._bash.wait()


def empty_machine(place: Path) -> tuple[Path, dict[str, str]]:
    """A clone of this repository with what the pages take for granted, and a home that is new."""
    clone, home = place / "seesay", place / "home"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    files = photographs()
    for folder, some in ((home / "Pictures", files[:3]), (clone / "photos", files[1:])):
        folder.mkdir(parents=True)
        for file in some:
            shutil.copy(file, folder)
    shutil.copy(clone / "photos" / "chelsea.png", clone / "photo.jpg")
    write_random_model(clone / "my-model")
    kept = ("PATH", "LANG", "LC_ALL", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return clone, environment | {"HOME": str(home), "PYTHONUTF8": "1"}


def typed(page: Page) -> list[str]:
    """The commands of the page's console blocks."""
    text = "\n".join(block.text for block in page.blocks if block.language == "console")
    lines = re.sub(r"\\\n *", "", text).splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")]


def walk(language: str, show: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        clone, environment = empty_machine(Path(temporary))
        shell = Shell(clone, environment | {"SEESAY_LANG": language})
        for name in PAGES[language]:
            print(f"\n{name}")
            for command in typed(Page(ROOT / name)):
                if LEFT_OUT.match(command):
                    print(f"   left out    {command}")
                    continue
                code, seconds, lines = shell.run(command)
                print(f"{seconds:7.2f} s  {code:>3}  {command}", flush=True)
                told = [line for line in lines if line.strip()]
                for line in told[-max(show, 1 if code else 0) :] if show or code else []:
                    print(f"              | {line}")
        shell.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--language", choices=list(PAGES), help="only these pages")
    parser.add_argument("--show", type=int, default=0, help="print so many last lines of each")
    arguments = parser.parse_args()
    for language in [arguments.language] if arguments.language else list(PAGES):
        walk(language, arguments.show)


if __name__ == "__main__":
    main()

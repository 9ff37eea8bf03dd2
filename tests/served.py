"""A small collection, and real servers on it in processes of their own, for tests."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from markdown_pages import ROOT
from photographs import photographs
from seesay.search.collection import Collection

NOTES = {
    "cat.md": "How to photograph a cat: get down to its eyes, and use no flash.",
    "火箭.md": "火箭在夜里升空，很远就能看见尾焰。",
}


def make_collection(home: Path, name: str = "default") -> Path:
    """Six photographs and two notes, embedded by the built-in model; returns the folder of the
    notes. `home` is what SEESAY_HOME has to be."""
    notes = home / "notes"
    notes.mkdir(parents=True, exist_ok=True)
    for file, text in NOTES.items():
        (notes / file).write_text(text, encoding="utf-8")
    with Collection.open(home / "collections" / name, create=True) as collection:
        collection.index([*photographs(), notes])
    return notes


def surroundings(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that knows the collections of `home` alone."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SEESAY_") or key == "SEESAY_MODEL"
    }
    own = {"SEESAY_HOME": str(home), "SEESAY_LANG": "en", "PYTHONPATH": str(ROOT / "src")}
    return {**kept, **own, **variables}


def command(*words: str, before: str = "") -> list[str]:
    """`seesay` with these words, after some other code."""
    return [sys.executable, "-c", f"{before}\nfrom seesay.cli.main import main; main()", *words]


@dataclass(frozen=True)
class Served:
    """A server that has said where it is."""

    process: subprocess.Popen[str]
    address: str
    """http://host:port, without a path."""
    told: str
    """The line in which it said so."""


@contextmanager
def served(
    home: Path, *options: str, variables: Mapping[str, str] | None = None, before: str = ""
) -> Iterator[Served]:
    """`seesay serve` on a free port, ready to answer; killed in the end if it still runs."""
    process = subprocess.Popen(
        command("serve", "--port", "0", *options, before=before),
        env=surroundings(home, **(variables or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        told = process.stdout.readline()
        found = re.search(r"http://\S+?:\d+", told)
        if found is None:
            process.kill()
            raise AssertionError(f"the server did not start: {told}{process.stderr.read()}")
        yield Served(process, found[0], told.strip())
    finally:
        process.kill()
        process.communicate()

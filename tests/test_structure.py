"""What a reader may rely on: no import circle, standard terms, folders and files with a reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "seesay"

# The last column of the vocabulary in CONTRIBUTING.md. Each stands for one idea that has another
# name; a word of several parts is looked for as it stands.
BANNED = {
    "item",  # a file
    "unit",  # a passage
    "card",  # a passage, or what is drawn of it
    "lane",  # a vector index, a retriever or a ranking
    "said",  # an annotation
    "statement",  # an annotation
    "condition",  # a filter
    "within",  # a filter
    "where",  # a filter; an option of that name stays
    "kind",  # a type of something: media_type, index_type
    "sure",  # confidence
    "made",  # a bundle
    "desk",
    "keeper",
    "found",
    "shown",
    "told",
    "asked",
    "answered",
}
FOREIGN = {"connection_made"}  # asyncio's name
SMALLEST_FOLDER = 4
SMALL_FILE = 60  # lines
JUSTIFIED = {
    "search/checking": "verify and repair, which are no part of the catalogue",
    "seesay.cli.export": "one file for each command",
    "seesay.cli.verify": "one file for each command",
}


def modules() -> dict[str, ast.Module]:
    trees = {}
    for file in sorted(SOURCE.rglob("*.py")):
        name = ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts)
        trees[name.removesuffix(".__init__")] = ast.parse(file.read_text(encoding="utf-8"))
    return trees


TREES = modules()


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules of seesay that a file imports, at its top, inside a function or for types."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in TREES else node.module


def circles() -> list[set[str]]:
    """Modules that import each other, directly or through others."""
    graph = {name: {n for n in imported(tree) if n in TREES} for name, tree in TREES.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [*graph[start]]
        while ahead:
            if (name := ahead.pop()) not in seen:
                seen.add(name)
                ahead.extend(graph[name])
        return seen

    reach = {name: reached(name) for name in graph}
    rounds = {frozenset(n for n in reach[name] if name in reach[n]) for name in graph}
    return [set(one) for one in rounds if one]


def test_no_modules_import_each_other():
    assert circles() == []


def public_names() -> Iterator[tuple[str, str]]:
    """Each public class, function and method, and where it stands."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for module, tree in TREES.items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(method for one in classes for method in one.body)]:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                yield node.name, f"{module}:{node.lineno}"


def words(name: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def test_public_names_use_the_vocabulary():
    wrong = []
    for name, place in public_names():
        parts = {word.removesuffix("s") for word in words(name)} | set(words(name))
        space = "space" in parts and "embedding" not in parts
        if (parts & BANNED or space) and name not in FOREIGN:
            wrong.append(f"{place} {name}")
    assert wrong == []


@pytest.mark.parametrize("name", ["find_items", "LaneReport", "embedding_space", "Space", "limit"])
def test_words_of_a_name_are_told_apart(name):
    assert "".join(words(name)) == name.replace("_", "").lower()


def test_a_folder_has_at_least_four_modules():
    small = {
        folder.relative_to(SOURCE).as_posix(): count
        for folder in sorted(SOURCE.rglob("*/"))
        if (count := len([f for f in folder.glob("*.py") if f.name != "__init__.py"]))
        and count < SMALLEST_FOLDER
        and folder.relative_to(SOURCE).as_posix() not in JUSTIFIED
    }
    assert small == {}


def test_a_small_file_has_more_than_one_importer():
    importers: dict[str, set[str]] = {name: set() for name in TREES}
    for name, tree in TREES.items():
        for other in imported(tree):
            if other in TREES:
                importers[other].add(name)
    alone = [
        name
        for name, tree in TREES.items()
        if len(importers[name]) == 1
        and name not in JUSTIFIED
        and len(path_of(name).read_text(encoding="utf-8").splitlines()) < SMALL_FILE
    ]
    assert alone == []


def path_of(name: str) -> Path:
    parts = SOURCE.parent.joinpath(*name.split("."))
    return parts / "__init__.py" if parts.is_dir() else parts.with_suffix(".py")

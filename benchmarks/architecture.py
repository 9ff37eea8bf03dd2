"""How large the code is, and how much of it one action passes through.

    python benchmarks/architecture.py
    python benchmarks/architecture.py --against OTHER_CHECKOUT
    python benchmarks/architecture.py --functions "answer a query"

Counts files, lines, the lengths of files and functions, and small files that only one other file
imports. Then traces four actions, each in a process of its own: indexing one picture, answering a
query, loading a model, and training until the first step of the optimizer. For each it counts the
functions, files and folders of seesay that run. Comprehensions, lambdas, whatever runs on import
and the work of other processes are left out. `--against` measures another checkout beside this one.

Goals: at most 230 files and 33,500 lines, and a median file of at least 120 lines; 170 functions in
40 files and 10 folders to index a picture; 150, 40 and 10 to answer a query.
"""

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = 60  # lines

# What runs first, and what is traced. The photograph lies in `pictures`, an empty folder in `home`.
COLLECTION = """
from seesay.search.collection import Collection
collection = Collection.open(home / "album", create=True)
"""
RECIPE = """
[run]
folder = "run"
steps = 1
[model]
start = "seesay-mini"
[data.captions]
path = "captions.jsonl"
format = "table"
batch = 2
[objective.pairs]
kind = "contrastive"
source = "captions"
[optimizer]
lr = 1e-4
[hardware]
device = "cpu"
[loading]
workers = 0
"""
TRAINING = f"""
import json
from seesay.cli.main import run
(photo,) = pictures.iterdir()
texts = ("a cat", "a dog", "a house")
rows = [json.dumps({{"image": str(photo), "caption": text}}) for text in texts]
(home / "captions.jsonl").write_text("\\n".join(rows) + "\\n")
(home / "recipe.toml").write_text({RECIPE!r})
"""
ACTIONS = {
    "index a picture": (COLLECTION, "collection.index([pictures])"),
    "answer a query": (
        COLLECTION + "collection.index([pictures])\n",
        "collection.search('a cat').hits",
    ),
    "load a model": ("import seesay\n", "seesay.load('seesay-mini')"),
    "train one step": (TRAINING, "run(['train', 'recipe.toml'])"),
}
TRACE = """
import inspect, json, sys, threading
from pathlib import Path
from seesay import __file__ as package
home = Path.cwd()
pictures = home / "pictures"
{before}
inside, passed, trained = str(Path(package).parent) + "/", set(), []
def watch(frame, event, argument):
    code = frame.f_code
    if event != "call" or trained:
        return
    if code.co_name == "step" and "/torch/optim/" in code.co_filename:
        trained.append(True)
    function = code.co_flags & inspect.CO_OPTIMIZED  # a class body, run on import, is none
    if function and code.co_filename.startswith(inside) and not code.co_name.startswith("<"):
        passed.add((code.co_filename[len(inside):], code.co_qualname))
threading.setprofile(watch)
sys.setprofile(watch)
{action}
sys.setprofile(None)
Path("trace.json").write_text(json.dumps(sorted(passed)))
"""


def functions(tree: ast.AST) -> Iterator[int]:
    """The length in lines of each function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def imported(tree: ast.AST) -> set[str]:
    """The modules that a file imports, whether at its top or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def size(checkout: Path) -> dict[str, float]:
    source = checkout / "src"
    trees, lines = {}, {}
    for file in sorted(source.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        name = ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        trees[name], lines[name] = ast.parse(text), len(text.splitlines())
    importers = Counter(name for tree in trees.values() for name in imported(tree) & trees.keys())
    lengths = [length for tree in trees.values() for length in functions(tree)]
    lone = [name for name in trees if importers[name] == 1 and lines[name] < SMALL]
    return {
        "files": len(trees),
        "lines": sum(lines.values()),
        "lines of a file, median": statistics.median(lines.values()),
        "lines of a file, 90 %": statistics.quantiles(lines.values(), n=10)[-1],
        "lines of a function, median": statistics.median(lengths),
        "lines of a function, 90 %": statistics.quantiles(lengths, n=10)[-1],
        f"files under {SMALL} lines with one importer": len(lone),
    }


def passed_through(checkout: Path, name: str) -> list[tuple[str, str]]:
    """The file and name of each function that one action passes through."""
    sys.path.insert(0, str(ROOT / "examples"))
    from photographs import photographs

    before, action = ACTIONS[name]
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        (home / "pictures").mkdir()
        photo = photographs()[1]
        (home / "pictures" / photo.name).write_bytes(photo.read_bytes())
        environment = os.environ | {
            "PYTHONPATH": str(checkout / "src"),
            "SEESAY_HOME": str(home / "home"),
            "HF_HUB_OFFLINE": "1",
        }
        command = [sys.executable, "-c", TRACE.format(before=before, action=action)]
        run = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        if run.returncode or not (home / "trace.json").exists():
            raise SystemExit(f"{name} failed in {checkout}:\n{run.stdout}{run.stderr}")
        return [
            (file, function) for file, function in json.loads((home / "trace.json").read_text())
        ]


def trace(checkout: Path, name: str) -> dict[str, float]:
    passed = passed_through(checkout, name)
    files = {file for file, _ in passed}
    return {
        f"{name}: functions": len(passed),
        f"{name}: files": len(files),
        f"{name}: folders": len({str(Path(file).parent) for file in files}),
    }


def measured(checkout: Path) -> dict[str, float]:
    figures = size(checkout)
    for name in ACTIONS:
        figures |= trace(checkout, name)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout, measured beside this one")
    parser.add_argument("--functions", choices=ACTIONS, help="list what one action passes through")
    arguments = parser.parse_args()
    if arguments.functions:
        for file, function in passed_through(ROOT, arguments.functions):
            print(f"{file:50}{function}")
        return
    here = measured(ROOT)
    other = measured(arguments.against.resolve()) if arguments.against else {}
    print(f"{'':45}{'here':>9}" + (f"{'other':>9}" if other else ""))
    for name, value in here.items():
        print(f"{name:45}{value:>9,.0f}" + (f"{other[name]:>9,.0f}" if other else ""))


if __name__ == "__main__":
    main()

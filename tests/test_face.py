"""`import seesay` offers what users need, lazily, and says so."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import seesay
from photographs import photographs

ORIGINALS = {"Classifier": "ZeroShotClassifier", "save": "save_bundle"}


def declared() -> dict[str, str]:
    """Each name that type checkers see, with the module that it comes from."""
    tree = ast.parse(Path(seesay.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    names = {a.asname or a.name: str(i.module) for i in imports for a in i.names}
    return names | {"open": "seesay.search.collection"}


def test_every_name_is_what_type_checkers_see():
    assert set(seesay.__all__) == declared().keys() == set(dir(seesay)) - {"__version__"}
    for name, module in declared().items():
        original = ORIGINALS.get(name, name)
        expected = getattr(import_module(module), original, seesay.Collection.open)
        assert getattr(seesay, name) is expected


def test_no_name_is_imported_before_it_is_used():
    code = "import seesay, sys; dir(seesay); print([m for m in sys.modules if 'seesay.' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_is_not_there_is_told_by_name():
    with pytest.raises(AttributeError, match="'seesay' has no attribute 'colection'"):
        seesay.colection  # noqa: B018


def test_a_collection_is_opened_searched_and_its_errors_caught_by_the_face_alone(tmp_path):
    with pytest.raises(seesay.CollectionError):
        seesay.open(tmp_path / "none")
    with seesay.open(tmp_path / "album", create=True) as collection:
        report = collection.index(photographs())
        assert isinstance(report, seesay.IndexReport) and report.added == len(photographs())
        hits = collection.search("a cat").hits
        assert hits[0].path.endswith("chelsea.png") and isinstance(hits[0], seesay.Hit)

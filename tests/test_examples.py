"""Every example runs as its first lines say, and the README shows what the demo prints."""

import os
import re
import subprocess
import sys

import pytest

from markdown_pages import ROOT
from photographs import PHOTOGRAPHS, folder, photographs
from random_model import write_random_model

EXAMPLES = ROOT / "examples"
MODULES = {"demo_files.py", "photographs.py"}  # what examples share; nothing to run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("model") / "random")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """By language: the folder of a demo with the built-in models, and what it printed."""
    runs = {}
    for language in ("en", "zh"):
        folder = tmp_path_factory.mktemp(language) / "demo"
        own = {"SEESAY_LANG": language, "SEESAY_MODEL": "", "SEESAY_TEXT_MODEL": ""}
        runs[language] = folder, run_example("demo.py", folder, **own)
    return runs


def run_example(name: str, *arguments: object, **variables: str) -> str:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}
    environment |= variables
    command = [sys.executable, "-W", "error", EXAMPLES / name, *arguments]
    run = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_example_has_a_test():
    tested = set(
        re.findall(r'run_example\("(\w+\.py)"', (ROOT / "tests/test_examples.py").read_text())
    )
    assert {file.name for file in EXAMPLES.glob("*.py")} - MODULES == tested


def test_a_random_model_can_be_written(tmp_path):
    assert "learnt nothing" in run_example("random_model.py", tmp_path / "model")
    assert (tmp_path / "model" / "seesay.json").is_file()


def test_pictures_are_compared_with_texts_in_both_languages(model):
    files = photographs()[:2]
    printed = run_example("compare.py", model, *files, "--", "a cat", "一枚火箭").splitlines()
    assert [line.split(": ")[0] for line in printed] == [str(file) for file in files]


def test_a_folder_is_sorted_by_what_it_shows(model):
    printed = run_example("classify_folder.py", model, folder(), "cat", "火箭")
    assert all(f"{name}" in printed for name in PHOTOGRAPHS)


def test_a_picture_is_most_like_itself(model):
    cat = folder() / "chelsea.png"
    first = run_example("find_similar.py", model, folder(), cat).splitlines()[0]
    assert first == "1.000 chelsea.png"


@pytest.mark.parametrize(
    ("readme", "language"), [("README.md", "en"), ("README.zh.md", "zh")], ids=["en", "zh"]
)
def test_the_readme_shows_what_the_demo_prints(demo, readme, language):
    blocks = re.findall(r"```text\n(.*?)```", (ROOT / readme).read_text("utf-8"), re.DOTALL)
    shown = [lines(block) for block in blocks if "chelsea.png" in block]
    assert len(shown) == 1
    printed = lines(demo[language][1])
    begin = printed.index(shown[0][0])
    for told, real in zip(shown[0], printed[begin : begin + len(shown[0])], strict=True):
        assert PERCENT.sub("%", told) == PERCENT.sub("%", real)
        for one, other in zip(PERCENT.findall(told), PERCENT.findall(real), strict=True):
            assert abs(int(one) - int(other)) <= 3  # processors round differently


PERCENT = re.compile(r"\s*(\d+)%")


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_the_demo_answers_in_both_languages_and_writes_its_report(demo):
    folder, printed = demo["en"]
    assert "indexed 32" in printed and "multipage_rgb.tif: " in printed
    english, chinese = (printed.split(words)[1] for words in ("of a cat\n", "一辆摩托车\n"))
    assert "chelsea.png" in english.splitlines()[3]
    assert "motorcycle_" in chinese.splitlines()[3]
    assert re.search(r"motorcycle_left.png: .*motorcycle.*\nIs there .*\? yes\n", printed)
    assert re.search(r"motorcycle_left.png：?.*摩托车.*\n图里有摩托车吗？ 有\n", demo["zh"][1])
    assert "no good match" in printed.split("一群大象在河里洗澡\n")[1].splitlines()[0]
    assert "seesay index ~/Pictures" in printed.splitlines()[-4]
    served = f"seesay serve --collection {folder}/collection --collection {folder}/answers"
    assert printed.splitlines()[-1].endswith(served)
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("<section>") == 16 and page.count('alt="chelsea.png"') > 1

"""What the pages say is true of the code: commands exist, blocks run, links lead somewhere."""

import re
import subprocess
import sys
import tomllib

import pytest
from typer.main import get_command

import generate
from markdown_pages import ROOT, Block, Page, chinese_twin, written_pages
from seesay.cli.main import app
from seesay.weights.catalog import published_models

PAGES = written_pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
ENGLISH_ONLY = {"CHANGELOG.md"}
TWINS = [
    (page, Page(twin))
    for page in PAGES
    if page.path.name not in ENGLISH_ONLY and (twin := chinese_twin(page))
]
BOTH_READMES = [page for page in PAGES if page.name.startswith("README")]

# A measured quantity: a number with a unit, a share, or a ratio.
FIGURE = re.compile(
    r"\d\s?(%|×|(images|texts|queries|图|张)/s|ms\b|MB/s|[KMG]iB\b|TFLOP|seconds\b|秒)|\dx\b"
)
MODEL_ROW = re.compile(r"\| `([\w.-]+)` \| ([\d,]+) MB \| ([\d.]+)( zh)? \|")
COMMAND = re.compile(r"(`|\$ )(python|make|seesay) ")


def page_id(value: object) -> str:
    return value.name if isinstance(value, Page) else ""


def block_id(value: object) -> str:
    return f"{value.page.name}:{value.line}" if isinstance(value, Block) else ""


def test_the_reference_pages_say_what_the_source_says():
    names = [page.relative_to(ROOT).as_posix() for page in generate.stale()]
    assert names == [], "run `python docs/generate.py`"


def test_chinese_pages_are_indexed_by_words_without_loading_the_dictionary_of_jieba():
    index = (
        "import conf, jieba; print(conf.Chinese({}).split('长江大桥 CLIP'), jieba.dt.initialized)"
    )
    command = [sys.executable, "-W", "ignore", "-c", index]
    told = subprocess.run(command, cwd=ROOT / "docs", check=True, capture_output=True, text=True)
    assert (told.stdout, told.stderr) == (
        "['长江', '大桥', '长江大桥', ' ', 'CLIP', 'CLIP'] False\n",
        "",
    )


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_file_and_heading(page):
    broken = []
    for link in page.links:
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        generated = path.parent.name == "reference" and path.suffix == ".md"
        fits = path.exists() and (not anchor or generated or anchor in Page(path).anchors)
        if not fits:
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_file_that_a_page_names_is_there(page):
    named = re.findall(
        r"`((?:src|tests|docs|examples|benchmarks|training|weights)/[\w./]*)`", page.text
    )
    bases = (ROOT, ROOT / "src" / "seesay")
    assert [name for name in named if not any((base / name).exists() for base in bases)] == []


@pytest.mark.parametrize(("english", "chinese"), TWINS, ids=page_id)
def test_english_and_chinese_pages_say_the_same(english, chinese):
    assert chinese.path.is_file(), f"{english.name} has no Chinese page"
    assert [level for level, _ in english.headings] == [level for level, _ in chinese.headings]
    assert [block.language for block in english.blocks] == [b.language for b in chinese.blocks]
    # The words inside quotation marks may differ: a Chinese reader searches in Chinese.
    assert shapes(english) == shapes(chinese)


def shapes(page: Page) -> list[list[str]]:
    """The commands of a page without their words for people: program, verb, options, paths."""
    commands = [command for block in page.blocks for command in block.commands]
    return [
        [word for word in command if re.fullmatch(r"[\w./=-]+", word, re.A)] for command in commands
    ]


def test_no_chinese_page_is_without_its_english_one():
    wanted = {chinese.path for _, chinese in TWINS}
    alone = [page.name for page in PAGES if chinese_twin(page) is None and page.path not in wanted]
    assert alone == []


@pytest.mark.parametrize("page", [p for p in PAGES if re.search("[一-鿿]", p.prose)], ids=page_id)
def test_chinese_sentences_have_chinese_marks(page):
    prose = re.sub(r"`[^`]*`|\([^)]*\)", "", page.prose)
    assert re.findall(r"[一-鿿][,;:?!](?!/)|[,;?!] ?[一-鿿]", prose) == []


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.commands], ids=block_id)
def test_every_command_on_a_page_exists(block):
    if block.expected != 2:  # those are wrong on purpose, and the tests run them
        for command in block.commands:
            check_command(command)


def check_command(command: list[str]) -> None:
    command = [word for word in command if not re.match(r"[A-Z_]+=", word)]  # settings before it
    if command[0] == "seesay":
        check_seesay(command[1 : command.index("|") if "|" in command else None])
    elif command[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in command[1:] if "=" not in word} <= set(targets), command
    elif command[0] == "python":
        assert (ROOT / command[1]).is_file(), command
    elif command[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = re.findall(r"seesay\[([\w,]+)\]", " ".join(command))
        assert set(",".join(extras).split(",")) - {""} <= set(project["optional-dependencies"])
    else:
        assert command[0] in {"git", "cd", "export", "bash", "source"}, command


def check_seesay(words: list[str]) -> None:
    """The verb and each option are known to the command line."""
    node = get_command(app)
    while words and words[0] in getattr(node, "commands", {}):
        node = node.commands[words.pop(0)]
    known = {name for p in node.params for name in [*p.opts, *p.secondary_opts]} | {"--help"}
    options = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    assert set(options) <= known, f"{node.name} has no {set(options) - known}"
    assert not hasattr(node, "commands") or not words or words[0].startswith("-"), words


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_figure_stands_without_the_command_that_prints_it(page):
    paragraphs = ["", *page.text.split("\n\n"), ""]
    around = zip(paragraphs[:-2], paragraphs[1:-1], paragraphs[2:], strict=True)
    bare = [
        p
        for before, p, after in around
        if FIGURE.search(p) and not COMMAND.search(before + p + after)
    ]
    assert bare == []


@pytest.mark.parametrize("page", BOTH_READMES, ids=page_id)
def test_the_readme_is_short_and_its_tree_is_the_real_one(page):
    assert len(page.text.splitlines()) <= 150
    trees = [block.text for block in page.blocks if "src/seesay/" in block.text]
    assert len(trees) == 1
    missing, above = [], ROOT
    for line in trees[0].splitlines():
        name = line.split()[0]
        path = above / name if line.startswith("  ") else ROOT / name
        above = above if line.startswith("  ") else path
        missing += [] if path.exists() else [name]
    assert missing == []


@pytest.mark.parametrize("page", [p for p in PAGES if MODEL_ROW.search(p.text)], ids=page_id)
def test_a_page_recommends_what_the_catalogue_recommends(page):
    rows = MODEL_ROW.findall(page.text)
    for alias, megabytes, top1, chinese in rows:
        entry = published_models()[alias]
        shown = (int(megabytes.replace(",", "")), float(top1), "zh" if chinese else "en")
        assert shown == (entry.megabytes, entry.top1, entry.prompts), alias
    recommended = {
        e.alias for e in published_models().values() if e.recommended_en and not e.built_in
    }
    assert {alias for alias, *_ in rows} == recommended

"""What people did wrong is told in their language."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import seesay
from seesay import errors
from seesay.cli.main import run
from seesay.errors import CollectionError
from seesay.search.catalog.store import Store
from seesay.search.filtering import check_filter, parse_filter
from seesay.text import HAN


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A home with the collections `work`, which holds nothing, and `two`."""
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEESAY_LANG", "zh")
    monkeypatch.chdir(tmp_path)
    for name in ("work", "two"):
        Store(tmp_path / "home" / "collections" / name, create=True).close()
    return tmp_path


def errors_raised() -> Iterator[tuple[str, ast.expr]]:
    """Where an error of the package is made, and of what."""
    names = {name for name in vars(errors) if name.endswith("Error")} - {"MissingExtraError"}
    for file in Path(seesay.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names and node.args:
                yield f"{file.name}:{node.lineno}", node.args[0]


def test_every_error_is_raised_in_both_languages():
    """A bare string would be English for everyone."""
    bare = (ast.Constant, ast.JoinedStr, ast.BinOp)
    assert [place for place, message in errors_raised() if isinstance(message, bare)] == []


def test_every_chinese_text_is_chinese():
    english = []
    for file in Path(seesay.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Text":
                halves = [*node.args, *(one.value for one in node.keywords)]
                if len(halves) != 2:
                    continue  # rich has a Text of its own
                en, zh = map(ast.unparse, halves)
                if re.search("[a-z] [a-z]", en) and not HAN.search(zh) and "zh" not in zh:
                    english.append(f"{file.name}:{node.lineno}")
    assert english == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "猫"], "还没有默认的资料库"),
        (
            ["search", "猫", "-c", "wrok"],
            "没有资料库 'wrok'（应在 {place}/wrok）；是不是想用 'work'？",
        ),
        (["stats", "-c", "照片"], "已有的资料库：two, work"),
        (["stats", "-c", "a b"], "资料库名称 'a b' 不能用"),
        (["search", "", "-c", "work"], "查询既没有文字也没有图片；应有文字、图片或筛选条件"),
        (["search", "猫", "-c", "work"], "是空的；应为有内容的资料库"),
        (["search", "猫", "-n", "20000"], "取 20000 条结果；至少取 1 条"),
        (["search", "猫", "--since", "昨天"], "'昨天' 不是日期"),
        (["search", "猫", "--since", "2021", "--until", "2020"], "从 2021 到 2020 没有任何一天"),
        (["search", "猫", "--where", ">5"], "条件 '>5' 没有写键名"),
        (
            ["search", "猫", "--where", "width>>400"],
            "条件 'width>>400' 用 '>400' 与 width 比较；应为",
        ),
        (["search", "猫", "--sheet", "a.doc"], "--sheet a.doc 的扩展名是 .doc"),
        (["index", "没有的", "-c", "neu"], "没有的 不存在；应为已有的文件或文件夹"),
        (["index", "-c", "work"], "没有给出文件或文件夹"),
        (["index", "http://a/b.png", "-c", "work"], "http://a/b.png 是网址"),
        (["export", "a.txt"], "a.txt 的扩展名是 '.txt'；应为以下之一：.npz"),
        (["export", "no/a.npz"], "无法写入 no/a.npz：没有文件夹 {place.parent.parent}/no"),
        (["embed", "--text", "a", "--out", "a.doc"], "a.doc 的扩展名是 '.doc'"),
        (["classify", "a.png", "-l", "a", "--templates", "no.txt"], "无法读取 no.txt"),
        (["tags", "，"], "标签 '，' 里没有词"),
        (["train"], "没有给出配方；应为 TOML 文件"),
        (["serve", "--host", "0.0.0.0", "--token", ""], "却没有令牌；应设一个"),
        (["serve", "--host", "8.8.8.8", "--token", "long-enough"], "--host 8.8.8.8 无法监听"),
        (
            ["search", "猫", "--type", "picture"],
            "的值不对：'picture' 不是以下之一：'image'、'page'、'moment'、'text'、'table'",
        ),
    ],
)
def test_a_wrong_value_is_told_in_chinese(place, arguments, said, capsys):
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert said.format(place=place / "home" / "collections") in err and err.count("\n") == 1
    for word in ("expected", "there is", "cannot", "error,"):
        assert word not in err


def test_a_condition_that_can_hold_for_nothing_is_told_in_chinese(monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    types = {"width": {"number"}, "camera": {"text"}, "date": {"date"}}
    for condition, holds in (("width>a", "数字"), ("camera>5", "文字"), ("date>a", "日期")):
        with pytest.raises(CollectionError) as told:
            check_filter(parse_filter(condition), types)
        assert f"的值是{holds}" in told.value.text.zh

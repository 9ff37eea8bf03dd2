"""What the library says of values that were typed, in Chinese; and that it still says it."""

import ast
import re
from pathlib import Path

import pytest

import seesay
from seesay.cli.chinese import CHINESE, in_chinese
from seesay.cli.main import run
from seesay.errors import CollectionError
from seesay.search.catalog.store import Store
from seesay.search.filtering import check_filter, parse_filter

PLACE = re.compile(r"\{\w+\}")
CLAUSE = re.compile(r"\{\w+\}|[;:.?] ")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A home with the collections `work`, which holds nothing, and `two`."""
    monkeypatch.setenv("SEESAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEESAY_LANG", "zh")
    monkeypatch.chdir(tmp_path)
    for name in ("work", "two"):
        Store(tmp_path / "home" / "collections" / name, create=True).close()
    return tmp_path


def said_by_the_library() -> str:
    """Every text of the package but those of the table itself; NUL where a value stands in one."""
    texts = []
    for file in Path(seesay.__file__).parent.rglob("*.py"):
        if file.name != "chinese.py":
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                texts.append("".join(str(getattr(part, "value", "\0")) for part in parts))
    return "\n".join(texts)


def test_the_library_still_says_every_sentence_that_has_a_chinese_one():
    library = said_by_the_library()
    clauses = {clause for english, _ in CHINESE for clause in CLAUSE.split(english)}
    assert {c for c in clauses if len(c) > 20 and c not in library} == set()


def test_every_value_of_a_sentence_is_in_the_english_one_too():
    for english, chinese in CHINESE:
        assert set(PLACE.findall(chinese)) <= set(PLACE.findall(english))


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
        (["search", "", "-c", "work"], "查询内容是 ''；应有文字或图片"),
        (["search", "猫", "-c", "work"], "是空的；应为有内容的资料库"),
        (["search", "猫", "-n", "20000"], "要求显示 20000 条结果"),
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
            "的值不对：'picture' 不是以下之一：'image'、'text'",
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
        assert f"的值是{holds}；应与" in in_chinese(str(told.value))


def test_what_has_no_chinese_sentence_and_all_that_english_readers_see_stays_as_it_is(monkeypatch):
    strange = "the disk is on fire; expected a cold one; pour water"
    known = CHINESE[0][0].format(place="/a", names="b")
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert in_chinese(strange) == strange and in_chinese(known) != known
    monkeypatch.setenv("SEESAY_LANG", "en")
    assert in_chinese(known) == known

"""`seesay search`, `similar` and `tags`: what is found and in which form."""

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from photographs import folder, photographs
from seesay.cli.main import run
from seesay.inference.embedder import load
from seesay.search.asking.tags import TagReport
from seesay.search.collection import Collection


def found(capsys) -> list[str]:
    """The names of the files that the JSON on stdout lists, the best first."""
    return [os.path.basename(hit["path"]) for hit in json.loads(capsys.readouterr().out)["hits"]]


@pytest.mark.parametrize(("words", "name"), [("launch pad", "note.md"), ("长江大桥", "笔记.txt")])
def test_words_find_the_text_that_holds_them(library, capsys, language, words, name):
    assert run(["search", words, "--only", "keyword"]) == 0
    out, err = capsys.readouterr()
    heads = {"en": ["match", "file", "text"], "zh": ["匹配度", "文件", "文字"]}[language]
    assert all(head in out for head in heads)
    assert f"photos/{name}" in out and {"en": "keywords", "zh": "关键词"}[language] in out
    assert err == ""  # nothing to advise: the model is not the built-in one


def test_words_need_no_quotes_in_the_shell(library, capsys):
    assert run(["search", "launch", "pad", "--only", "keyword", "--json"]) == 0
    assert found(capsys) == ["note.md"]


def test_a_picture_finds_itself_and_its_copy_is_left_out(library, capsys):
    assert run(["search", "--image", str(folder() / "moon.png"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    first = printed["hits"][0]
    assert os.path.basename(first["path"]) in ("moon.png", "the moon again.png")
    assert len(first["duplicates"]) == 1
    assert {"unit", "kind", "confidence", "retrievers", "locator", "metadata"} <= first.keys()
    assert printed["explain"]["retrievers"] and printed["no_good_match"] is (
        first["confidence"] < 40
    )


def test_several_pictures_words_and_unwanted_ones_go_into_one_query(library, capsys):
    cat, cup = str(folder() / "chelsea.png"), str(folder() / "coffee.png")
    asked = ["moon", "-i", cat, "-i", cup, "--not", "rocket", "--not", "火箭", "--json"]
    assert run(["search", *asked]) == 0
    parts = json.loads(capsys.readouterr().out)["query"]["parts"]
    assert [part["text"] or os.path.basename(part["image"]) for part in parts] == [
        *("moon", "chelsea.png", "coffee.png", "rocket", "火箭"),
    ]
    assert [part["weight"] < 0 for part in parts] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--type", "text"], {"note.md", "笔记.txt"}),
        (["--where", "file.name~ROCKET"], {"rocket.jpg"}),
        (["--where", "width>=600", "--where", "height<600"], {"coffee.png", "rocket.jpg"}),
        (["--folder", "photos", "--until", "1999"], set()),
        (["--folder", "elsewhere"], set()),
        (["-n", "1", "--where", "file.name=note.md"], {"note.md"}),
    ],
)
def test_filters_keep_what_they_say(library, capsys, options, names):
    assert run(["search", "anything at all", "--json", *options]) == 0
    assert set(found(capsys)) == names


def test_bare_paths_go_into_a_pipe_byte_for_byte(library, capfdbinary):
    asked = ["search", "长江大桥", "--only", "keyword"]
    path = str(library / "photos" / "笔记.txt").encode()
    assert run([*asked, "-0"]) == 0
    assert capfdbinary.readouterr().out == path + b"\0"
    assert run([*asked, "--paths"]) == 0
    assert capfdbinary.readouterr().out == path + b"\n"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The folder of a collection of real photographs and the model that comes with seesay."""
    home = tmp_path_factory.mktemp("real")
    with Collection.open(home / "collection", create=True, model=load("seesay-mini")) as made:
        made.index(photographs())
    return str(home / "collection")


ABSENT = {"en": "a spreadsheet with quarterly sales", "zh": "季度销售额的电子表格"}
THERE = {"en": "the face of a cat", "zh": "一只猫的脸"}


def test_no_good_match_is_said_and_no_error(real, capsys, language):
    asked = ["search", ABSENT[language], "-c", real]
    assert run(asked) == 0
    out = capsys.readouterr().out.splitlines()
    said = {"en": "no good match; these come nearest", "zh": "没有足够相符的结果；下面只是最接近的"}
    assert out[0].startswith(said[language])
    shown = [int(row[1]) for line in out if (row := re.match(r"\s*(\d+)%", line))]
    assert len(shown) == 5 and max(shown) < 40 and shown == sorted(shown, reverse=True)
    assert {"en": "1 more fit still less; --count 6", "zh": "另有 1 条"}[language] in out[-1]
    assert run([*asked, "--paths"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and {"en": "no good match", "zh": "没有足够相符的结果"}[language] in err


def test_what_is_there_is_shown_without_a_warning_and_as_a_path(real, capsys, language):
    asked = ["search", THERE[language], "-c", real]
    assert run(asked) == 0
    out = capsys.readouterr().out
    assert "no good match" not in out and "没有足够相符" not in out
    assert "chelsea.png" in next(line for line in out.splitlines() if "%" in line)
    assert run([*asked, "--paths"]) == 0
    path, *others = capsys.readouterr().out.splitlines()
    assert path.endswith("chelsea.png") and len(others) <= 2  # of five
    assert run([*asked, "--paths", "--min-match", "0"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_a_first_search_imports_nothing_that_words_do_not_need(real, language):
    spared = {"torch", "faiss", "huggingface_hub", "urllib.request", "PIL.TiffImagePlugin"}
    spared |= {"numpy.ma", "numpy.random", "jieba"}
    code = (
        "import sys; from seesay.cli.main import run; run(sys.argv[1:]);"
        f"sys.exit(', '.join({spared} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, "search", THERE[language], "-c", real]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "chelsea.png" in done.stdout


def test_a_search_ends_at_once_when_all_is_written(real):
    code = (
        "import atexit; atexit.register(print, 'a usual exit');"
        "from seesay.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "search", THERE["en"], "-c", real]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "chelsea.png" in done.stdout and "a usual exit" not in done.stdout
    command[-1] += "-not-there"
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and "no collection" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_search_whose_results_cannot_be_written_fails(real):
    code = "from seesay.cli.main import main; main()"
    command = [sys.executable, "-c", code, "search", THERE["en"], "-c", real]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_every_result_is_shown_where_their_number_was_asked_for(real, capsys):
    assert run(["search", THERE["en"], "-c", real, "--count", "20"]) == 0
    out = capsys.readouterr().out
    assert out.count("%") == 6 and "more fit" not in out


def test_words_that_nothing_holds_find_nothing_by_keyword(library, capsys, language):
    assert run(["search", "zzzz qqqq", "--only", "keyword"]) == 0
    told = {"en": "nothing found", "zh": "没有找到任何内容"}[language]
    assert told in capsys.readouterr().out


def test_explain_says_what_each_lane_did(library, capsys, language):
    assert run(["search", "rocket", "--explain"]) == 0
    out = capsys.readouterr().out
    for en, zh in (("retriever", "检索方式"), ("picture #", "画面 #"), ("threshold", "阈值")):
        assert {"en": en, "zh": zh}[language] in out


def test_explain_is_in_one_language_and_keywords_have_no_score(library, capsys, monkeypatch):
    monkeypatch.setenv("SEESAY_LANG", "zh")
    assert run(["search", "长江大桥", "--explain", "--type", "text"]) == 0
    out = capsys.readouterr().out
    assert "关键词 #1" in out and "关键词 #1 (" not in out and "unit.kind=text" in out
    for english in ("scan", "sum over", "words :", "Compare(", " ms", "text  "):
        assert english not in out


def test_a_path_stays_in_one_piece_in_a_narrow_terminal(library, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    assert run(["search", "the moon", "--only", "image"]) == 0
    lines = capsys.readouterr().out.splitlines()
    paths = [line for line in lines if re.fullmatch(r" *\d+%  photos/\w+\.(png|jpg)", line)]
    assert paths, lines


@pytest.mark.parametrize("name", ["sheet.png", "sheet.html"])
def test_a_contact_sheet_is_written(library, tmp_path, capsys, name):
    moon = str(folder() / "moon.png")
    assert run(["search", "月亮", "--image", moon, "--sheet", str(tmp_path / name)]) == 0
    assert str(tmp_path / name) in capsys.readouterr().err
    if name.endswith("png"):
        with Image.open(tmp_path / name) as sheet:
            assert sheet.width > 500
    else:
        text = (tmp_path / name).read_text("utf-8")
        assert "<q>月亮</q>" in text and text.count("data:image/webp;base64,") == 4


def test_similar_takes_files_of_the_collection_and_others(library, tmp_path, capsys):
    assert run(["similar", "photos/moon.png", "--json", "-n", "9"]) == 0
    names = found(capsys)
    assert "moon.png" not in names and {"chelsea.png", "coffee.png", "rocket.jpg"} <= set(names)
    with Image.open(folder() / "moon.png") as picture:
        picture.resize((500, 500)).save(tmp_path / "smaller.png")
    assert run(["similar", str(tmp_path / "smaller.png"), "--json"]) == 0
    assert found(capsys)[0] in ("moon.png", "the moon again.png")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["search"], 2, "expected words or a picture"),
        (["search", "x", "--where", "=3"], 2, "names no key; expected one such as"),
        (["search", "x", "--where", "width>>400"], 2, "compares width with '>400'; expected one"),
        (["search", "x", "--where", "width>abc"], 2, "width holds numbers such as 640; expected"),
        (["search", "x", "--where", "colour=red"], 2, "asks for colour, which nothing"),
        (["search", "x", "--since", "soon"], 2, "'soon' is not a date"),
        (["search", "x", "--sheet", "s.pdf"], 2, "--sheet s.pdf ends in .pdf; expected .png"),
        (["search", "x", "--sheet", "no/s.png"], 2, "s.png cannot be written: there is no folder"),
        (["export", "no/a.npz"], 2, "a.npz cannot be written: there is no folder"),
        (["search", "x", "-c", "a/b"], 2, "a/b); to make it: seesay index FOLDER --collection a/b"),
        (["search", "x", "-c", "defualt"], 2, "did you mean 'default'?"),
        (["search", "x", "-c", "a b"], 2, "the collection name 'a b' cannot be used"),
        (["search", "--image", "missing.png"], 2, "missing.png: cannot be found"),
        (["search", "beach", "-people"], 2, "write 'beach -people', or beach --not people"),
        (["search", "海滩", "-人"], 2, "write 'beach -人', or beach --not 人"),
        (["index", "--model", "siglip2-b16-244"], 1, "Did you mean siglip2-b16-224"),
        (["index", "photos", "--model", "sigl1p2"], 1, "there is no model 'sigl1p2'"),
        (["search", "x", "-c", "./a b"], 2, "seesay index FOLDER --collection './a b'"),
        (["search", "x", "-n", "0"], 2, "Invalid value for '--count'"),
        (["duplicates", "--threshold", "2"], 2, "Invalid value for '--threshold'"),
        (["export", "c.xlsx"], 2, "c.xlsx ends in '.xlsx'; expected one of .npz"),
    ],
)
def test_wrong_use_is_one_line(library, capsys, arguments, code, words):
    assert run(arguments) == code
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


def test_tags_are_counted_and_filters_find_them(indexed, capsys):
    assert run(["tags", "猫,rocket", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert set(counts) <= {"猫", "rocket"}
    for name, count in counts.items():
        assert run(["search", "x", "--where", f"tag={name}", "--type", "image", "--json"]) == 0
        assert len(found(capsys)) == count


def test_a_tag_that_fits_no_picture_is_shown_with_none(indexed, capsys, monkeypatch, language):
    told = TagReport(pictures=4, tagged=1, counts={"猫": 1})
    monkeypatch.setattr("seesay.search.collection.tag", lambda *_, **__: told)
    assert run(["tags", "solar eclipse，猫"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["猫", "1"] in rows and ["solar", "eclipse", "0"] in rows


def test_where_there_is_no_picture_to_tag_it_is_said(indexed, capsys, language):
    assert run(["tags", "猫", "--folder", "elsewhere"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and {"en": "no picture to tag", "zh": "没有可加标签的图片"}[language] in err


@pytest.mark.parametrize("labels", ["", " ", "，, ", "cat,=dog"])
def test_tags_without_a_word_are_refused_before_a_model_is_loaded(
    library, capsys, monkeypatch, labels
):
    monkeypatch.setattr("seesay.search.model.load", lambda *_, **__: pytest.fail("was loaded"))
    assert run(["tags", labels]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"the labels {labels!r} hold " in err and "expected words" in err


def test_where_a_filter_takes_nothing_it_is_shown(library, capsys, language):
    assert run(["search", "cat", "--folder", "phtos"]) == 0
    told = capsys.readouterr()
    assert {"en": "nothing found", "zh": "没有找到"}[language] in told.out
    assert "phtos" in told.err and "seesay stats" in told.err


def test_a_filter_alone_lists_what_it_takes(library, capsys):
    assert run(["search", "--where", "file.name=note.md", "--json"]) == 0
    assert found(capsys) == ["note.md"]
    assert run(["search"]) == 2
    assert "expected words or a picture" in capsys.readouterr().err


def test_a_picture_found_by_its_caption_says_so_and_is_one_hit(place, model, capsys, language):
    (place / "photos" / "said.csv").write_text("file,caption\nmoon.png,a quiet night\n")
    assert run(["index", "photos", "--model", model]) == 1
    capsys.readouterr()
    assert run(["search", "a quiet night", "--explain"]) == 0
    out = capsys.readouterr().out
    word = {"en": "caption", "zh": "图片说明"}[language]
    assert f"{word} #1" in " ".join(out.split())
    assert run(["search", "a quiet night", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    (hit,) = [hit for hit in hits if hit["path"].endswith("moon.png")]
    assert {one["retriever"] for one in hit["retrievers"]} == {"image", "text", "keyword"}

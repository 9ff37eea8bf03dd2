"""`seesay index`: what it takes in, what it says, and how it goes on after anything."""

import json
import os
import shutil
import signal
import time

import pytest
from PIL import Image

from made_collections import read_only
from made_detectors import write_colour_detector
from seesay.cli.main import run
from seesay.search.collection import Collection
from seesay.text import Text

MANY = 2000  # more than are stored between a look at the collection and a kill

FULL = Text("the disk is full", "磁盘已满")


def counts(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_the_last_line_counts_what_was_done_and_a_bad_file_makes_the_exit_code_1(
    place, model, capsys, language
):
    assert run(["index", "photos", "--model", model]) == 1
    out, _ = capsys.readouterr()
    told = {
        "en": "indexed 6 · unchanged 0 · skipped 1 (see `seesay errors`)",
        "zh": "已收录 6 · 未变 0 · 跳过 1（详见 `seesay errors`）",
    }
    assert out.startswith(told[language])


def test_files_of_kinds_that_are_not_read_are_counted(indexed, capsys, language):
    for name in ("a.mp3", "b.MP3", "c.xyz", "Makefile"):
        (indexed / "photos" / name).write_bytes(b"whatever")
    assert run(["index"]) == 0
    told = {
        "en": "· not read 4 (.mp3 2, without ending 1, .xyz 1) ·",
        "zh": "· 不支持 4（.mp3 2、无扩展名 1、.xyz 1） ·",
    }
    assert told[language] in capsys.readouterr().out


def test_a_folder_without_anything_to_read_is_told(place, model, capsys, language):
    (place / "empty").mkdir()
    assert run(["index", "empty", "--model", model]) == 0
    told = {"en": "found nothing to index; expected pictures", "zh": "没有找到可收录的文件"}
    assert told[language] in capsys.readouterr().err


def test_objects_are_looked_for_counted_and_found(indexed, capsys, language):
    file = str(write_colour_detector(indexed / "colours.onnx"))
    for count in (4, 0):
        assert run(["index", "--detect", file, "--json"]) == 0
        assert counts(capsys)["detected"] == count
    Image.new("RGB", (64, 64), (255, 0, 0)).save(indexed / "photos" / "red.png")
    assert run(["index", "photos", "--detect", file]) == 0
    told = {"en": "· searched for objects 1 ·", "zh": "· 已检测物体 1 ·"}
    assert told[language] in capsys.readouterr().out
    assert run(["search", "狗", "--where", "object=dog", "--paths"]) == 0
    assert any(path.endswith("red.png") for path in capsys.readouterr().out.splitlines())


def test_a_file_that_is_no_detector_is_refused_in_both_languages(indexed, capsys, language):
    (indexed / "no.onnx").write_bytes(b"nothing")
    assert run(["index", "photos", "--detect", "no.onnx"]) == 2
    told = {"en": "is damaged, or no ONNX file", "zh": "已损坏，或不是 ONNX 文件"}
    assert told[language] in capsys.readouterr().err


def test_a_better_model_is_named_once_for_each_collection(place, capsys):
    for count in (1, 0, 0):
        run(["index", "photos"])
        assert capsys.readouterr().err.count("would find far more") == count
    assert run(["search", "the moon"]) == 0
    assert "would find" not in capsys.readouterr().err


def test_a_kind_with_a_strange_name_cannot_write_on_the_terminal(indexed, capsys):
    for ending in (b"\x1b[31mred\n", b"\xff", b"a sentence that ends a name"):
        (indexed / "photos" / os.fsdecode(b"a." + ending)).touch()
    assert run(["index"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert r"not read 3 (.\x1b[31mre… 1, .a sentence… 1, .\xff 1)" in line


def test_the_second_time_finds_nothing_new_and_leaves_the_bad_file_alone(indexed, capsys):
    assert run(["index", "photos"]) == 0
    assert "indexed 0 · unchanged 6 · skipped 1" in capsys.readouterr().out


def test_without_paths_the_folders_of_before_are_brought_up_to_date(indexed, capsys):
    (indexed / "photos" / "broken.jpg").unlink()
    shutil.copy(indexed / "photos" / "moon.png", indexed / "photos" / "again.png")
    (indexed / "photos" / "coffee.png").rename(indexed / "photos" / "cup.png")
    assert run(["index", "--json"]) == 0
    done = counts(capsys)
    assert (done["added"], done["moved"], done["failed"], done["skipped"]) == (1, 1, 0, 0)
    assert done["collection"] == str(indexed / "home" / "collections" / "default")


def test_a_file_over_a_limit_names_the_option_that_lets_it_through(place, model, capsys, language):
    (place / "photos" / "broken.jpg").unlink()
    Image.new("1", (2000, 1500)).save(place / "photos" / "large.png")
    (place / "photos" / "long.txt").write_text("a dog on the grass. " * 1000)
    small = ["--max-pixels", "1.5M", "--max-file-size", "19k"]
    assert run(["index", "photos", "--model", model, *small]) == 1
    capsys.readouterr()
    assert run(["errors", "--json"]) == 0
    told = {bad["path"].rpartition("/")[2]: bad for bad in counts(capsys)}
    assert "--max-pixels 3M if" in told["large.png"]["error"]["en"]
    assert "--max-file-size 1M if" in told["long.txt"]["error"]["en"]
    assert {told["large.png"]["stage"], told["long.txt"]["stage"]} == {"size"}
    assert run(["index", "--json", "--max-pixels", "3M", "--max-file-size", "1 MB"]) == 0
    done = counts(capsys)
    assert (done["failed"], done["skipped"]) == (0, 0) and done["added"] >= 2
    for wrong in ("lots", "0", "9" * 400, "1000001G"):
        assert run(["index", "--max-pixels", wrong]) == 2
        told = {"en": f"--max-pixels {wrong} is no amount", "zh": f"--max-pixels {wrong} 不能用"}
        assert told[language] in capsys.readouterr().err
    assert run(["index", "--seconds", "inf"]) == 2


def test_a_file_that_takes_too_long_names_the_option_that_lets_it_through(place, model, capsys):
    noise = Image.effect_noise((5000, 5000), 90)
    noise.save(place / "photos" / "slow.png", compress_level=1)
    assert run(["index", "photos", "--model", model, "--seconds", "0.1", "--workers", "1"]) == 1
    capsys.readouterr()
    assert run(["errors", "--json"]) == 0
    stages = {bad["stage"]: bad["error"]["en"] for bad in counts(capsys)}
    assert "--seconds" in stages["time"]


def test_that_no_index_could_be_built_is_said(place, model, capsys, monkeypatch, language):
    monkeypatch.setattr("seesay.search.indexing.index.keep_up", lambda *_: FULL)
    assert run(["index", "photos", "--model", model]) == 1
    told = {"en": "no index was built, so searches compare", "zh": "没有建成索引，查找时会逐一比较"}
    err = capsys.readouterr().err
    assert told[language] in err and FULL.in_language(language) in err


def test_what_is_gone_is_removed_unless_it_is_to_be_kept(indexed, capsys):
    (indexed / "photos" / "moon.png").unlink()
    assert run(["index", "--keep-missing", "--json"]) == 0
    assert counts(capsys)["removed"] == 0
    assert run(["index", "--json"]) == 0
    assert counts(capsys)["removed"] == 1


def test_a_folder_that_went_away_keeps_what_is_known_and_says_so(indexed, capsys, language):
    (indexed / "photos").rename(indexed / "elsewhere")
    assert run(["index"]) == 1
    err = capsys.readouterr().err
    assert {"en": "photos is not there; what was known", "zh": "photos 不存在"}[language] in err
    assert err.count("\n") == 1
    with Collection.open() as collection:
        assert collection.stats().units == {"image": 4, "text": 2}


def test_a_path_that_is_not_there_is_told_and_the_others_are_done(place, model, capsys):
    assert run(["index", "photos/moon.png", "missing", "--model", model]) == 1
    out, err = capsys.readouterr()
    assert "indexed 1" in out
    assert err.startswith(f"seesay: {place / 'missing'} is not there") and err.count("\n") == 1


@pytest.mark.parametrize(
    "verb", [["index", "nofile"], ["index", "photos", "--model", "nope"], ["watch", "nothere"]]
)
def test_a_start_that_fails_makes_no_collection(place, capsys, verb):
    assert run([*verb, "-c", "new"]) in (1, 2)
    assert "expected" in capsys.readouterr().err
    assert not (place / "home").exists()


def test_with_nothing_ever_named_it_asks_for_a_path(place, capsys):
    assert run(["index"]) == 2
    assert "there is no collection yet" in capsys.readouterr().err
    Collection.open(create=True).close()
    assert run(["index"]) == 2
    assert "expected at least one path: seesay index FOLDER" in capsys.readouterr().err


def test_a_named_collection_is_another_one(indexed, model):
    assert run(["index", "photos/moon.png", "-c", "月亮", "--model", model]) == 0
    with Collection.open("月亮") as moon, Collection.open() as default:
        assert moon.stats().units == {"image": 1}
        assert default.stats().units == {"image": 4, "text": 2}


def test_another_model_is_refused_and_the_switch_explained(indexed, models, capsys):
    other = str(models / "two" / "tiny")
    assert run(["index", "photos", "--model", other]) == 2
    err = capsys.readouterr().err
    assert "vectors of two models cannot be compared" in err
    assert f"seesay index --model {other} (without paths)" in err


def test_the_model_is_switched_when_no_path_is_named(indexed, models, capsys, language):
    other = str(models / "two" / "tiny")
    assert run(["index", "--model", other]) == 0
    out, err = capsys.readouterr()
    told = {"en": f"searches use {other} now: embedded 6", "zh": f"现在使用 {other} 查找：已计算 6"}
    assert out.startswith(told[language])
    assert "seesay rebuild --forget-unused" in err
    with Collection.open() as collection:
        assert collection.model.name == other
        assert [(s.active, s.images, s.texts) for s in collection.stats().spaces] == [
            (False, 4, 2),
            (True, 4, 2),
        ]
    assert run(["index"]) == 0  # goes on with the new model
    assert run(["rebuild", "--forget-unused", "--json"]) == 0
    with Collection.open() as collection:
        assert [space.model for space in collection.stats().spaces] == [other]
        space = collection.store.spaces.active()
        assert sorted(f.name for f in (collection.store.folder / "indexes").glob("*")) == [
            f"{space.key}-{modality}" for modality in ("image", "text")
        ]


def test_a_folder_that_may_only_be_read_is_told_before_the_model_is_loaded(
    indexed, capsys, monkeypatch
):
    monkeypatch.setattr("seesay.search.model.load", lambda *_, **__: pytest.fail("was loaded"))
    with read_only(indexed / "home" / "collections" / "default") as works:
        if not works:
            pytest.skip("needs the right to make a folder read-only")
        assert run(["stats"]) == 0
        capsys.readouterr()
        with Collection.open() as collection, pytest.raises(Exception, match="reading alone"):
            collection.index(["photos"])


def test_ctrl_c_keeps_what_was_done_and_the_same_command_goes_on(place, model, start):
    write_noise(place / "many", 600)
    command = ("index", "many", "--model", model)
    first = start(*command)
    wait_for_units(60)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "resume with the same command" in err and "Traceback" not in err
    second = start(*command)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert "skipped 0" in out and "unchanged 0" not in out
    with Collection.open() as collection:
        assert collection.stats().units == {"image": 600}


def test_after_a_kill_the_same_command_goes_on(place, model, start):
    write_noise(place / "many", MANY)
    command = ("index", "many", "--model", model)
    first = start(*command)
    wait_for_units(60)
    first.kill()
    first.communicate()
    kept = units()
    assert 60 <= kept < MANY
    second = start(*command)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert f"indexed {MANY - kept:,} · unchanged {kept:,}" in out
    with Collection.open() as collection:
        assert collection.stats().units == {"image": MANY}
        assert collection.verify(deep=True) == []


def test_two_processes_may_index_at_once(place, model, start):
    write_noise(place / "left", 120)
    write_noise(place / "right", 120)
    both = [start("index", name, "--model", model) for name in ("left", "right")]
    for one in both:
        _, err = one.communicate(timeout=120)
        assert one.returncode == 0, err
    with Collection.open() as collection:
        assert collection.stats().units == {"image": 240}
        assert collection.verify(deep=True) == []


def units() -> int:
    try:
        with Collection.open() as collection:
            return sum(collection.stats().units.values())
    except Exception:  # not made yet
        return 0


def wait_for_units(count: int) -> None:
    deadline = time.monotonic() + 300
    while units() < count:
        assert time.monotonic() < deadline, "nothing was indexed"
        time.sleep(0.01)


def write_noise(folder, count: int) -> None:
    """Pictures of which no two are alike."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture = Image.effect_noise((48, 32), 10 + number % 90).convert("RGB")
        picture.putpixel((0, 0), (number % 256, number // 256, 0))
        picture.save(folder / f"{number:04d}.png")

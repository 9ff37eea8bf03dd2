"""`seesay duplicates`: what it says, and that `| xargs -0 rm` costs nobody a photograph."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from photographs import folder
from seesay.cli.duplicates import SIMILARITY
from seesay.cli.main import run
from seesay.search.asking.likeness import THRESHOLD
from seesay.search.collection import Collection

PHOTOGRAPHS = ("coffee.png", "chelsea.png", "rocket.jpg")
STRANGE = os.fsdecode(b"\xff\xfe copy.jpg")


@pytest.fixture
def attic(place, model):
    """A folder as people have them: photographs with copies, small ones, and links, indexed."""
    attic = place / "attic"
    for number, name in enumerate(PHOTOGRAPHS):
        fill(attic / str(number), folder() / name)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        assert run(["index", str(attic), "--model", model]) == 0
    return attic


def fill(here: Path, source: Path) -> None:
    """The original is 1.jpg, and nothing else may be left of it but what is no file of its own."""
    (here / "backup").mkdir(parents=True)
    with Image.open(source) as opened:
        image = opened.convert("RGB").resize((400, 300))
    exif = Image.Exif()
    exif[0x0110] = "Kamera 1"
    image.save(here / "1.jpg", quality=92, exif=exif)
    shutil.copy2(here / "1.jpg", here / "backup" / "copy of 1.jpg")
    shutil.copy2(here / "1.jpg", here / STRANGE)
    image.resize((200, 150)).save(here / "0.bmp")
    image.save(here / "0 whatsapp.jpg", quality=60)
    (here / "0 link.jpg").symlink_to(here / "1.jpg")
    os.link(here / "1.jpg", here / "9 hard link.jpg")


def remove(arguments, capfdbinary) -> str:
    assert run(["duplicates", "-0", *arguments]) == 0
    out, err = capfdbinary.readouterr()
    subprocess.run(["xargs", "-0", "-r", "rm", "--"], input=out, check=True)
    return err.decode()


def contents(place: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in place.rglob("*.*"):
        found.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), []).append(file)
    return found


def test_xargs_rm_leaves_every_content_once_and_then_the_best_of_every_photograph(
    attic, capfdbinary
):
    before = contents(attic)
    assert remove(["--exact"], capfdbinary) == ""
    after = contents(attic)
    assert before.keys() == after.keys()
    for number in range(len(PHOTOGRAPHS)):
        here = attic / str(number)
        assert sorted(path.name for path in here.iterdir()) == [
            *("0 link.jpg", "0 whatsapp.jpg", "0.bmp", "1.jpg", "9 hard link.jpg", "backup")
        ]
    remove([], capfdbinary)
    for number in range(len(PHOTOGRAPHS)):
        here = attic / str(number)
        assert sorted(path.name for path in here.iterdir()) == [
            *("0 link.jpg", "1.jpg", "9 hard link.jpg", "backup")
        ]
        with Image.open(here / "0 link.jpg") as left:
            assert left.size == (400, 300) and left.getexif()[0x0110] == "Kamera 1"
    assert remove([], capfdbinary).startswith("seesay: ")  # what went is named, and nothing else
    assert contents(attic).keys() == {
        key for key, files in before.items() if any(file.name == "1.jpg" for file in files)
    }


def test_a_copy_is_found_though_the_file_that_stands_for_its_content_is_gone(attic, model):
    with Collection.open(model=model) as collection:
        standing = collection.store.fingerprints.of_contents().passages.tolist()
        units = collection.store.passages.get(standing)
        items = collection.store.files.get(unit.file for unit in units)
        names = ("1.jpg", "copy of 1.jpg", STRANGE)
        gone = [item.path for item in items if os.path.basename(item.path) in names]
        assert len(gone) == len(PHOTOGRAPHS)
        for path in gone:
            os.unlink(path)
        files = [file for group in collection.duplicates().groups for file in group.files]
    copies = [os.path.basename(file.path) for file in files if file.copy_of is not None]
    assert copies.count("0 whatsapp.jpg") == len(PHOTOGRAPHS)


def test_what_became_a_link_since_it_was_indexed_is_not_printed(attic, capfdbinary):
    for number in range(len(PHOTOGRAPHS)):
        here = attic / str(number)
        (here / "backup" / "copy of 1.jpg").unlink()
        os.link(here / "1.jpg", here / "backup" / "copy of 1.jpg")
        (here / STRANGE).unlink()
        (here / STRANGE).symlink_to(here / "1.jpg")
    assert run(["duplicates", "--exact", "-0"]) == 0
    assert capfdbinary.readouterr().out == b""


def test_damaged_files_are_left_out_with_a_note(attic, capfd):
    kept = attic / "0" / "1.jpg"
    facts, data = kept.stat(), bytearray(kept.read_bytes())
    data[-100] ^= 1
    kept.write_bytes(data)
    os.utime(kept, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert run(["duplicates", "--exact", "--paths"]) == 0
    out, err = capfd.readouterr()
    assert f"{attic}/0/" not in out and f"{attic}/1/" in out
    assert "2 files are not printed" in err and "seesay index" in err


def test_a_path_with_a_line_break_is_printed_with_a_zero_only(place, model, capfd):
    shutil.copy(folder() / "coffee.png", place / "photos" / "coffee\n(1).png")
    run(["index", "photos", "--model", model])
    capfd.readouterr()
    assert run(["duplicates", "--paths"]) == 0
    out, err = capfd.readouterr()
    assert out == "" and "1 paths have a line break" in err
    assert run(["duplicates", "-0"]) == 0
    assert capfd.readouterr().out == f"{place}/photos/coffee\n(1).png\0"


def test_groups_say_what_to_keep_and_why(attic, capfd, language):
    assert run(["duplicates"]) == 0
    out = capfd.readouterr().out
    keep, goes = {
        "en": ("keep: ", "may go; kept: more pixels"),
        "zh": ("保留：", "可删除；保留的那份：像素更多"),
    }[language]
    assert out.count(keep) >= len(PHOTOGRAPHS) and goes in " ".join(out.split())
    assert run(["duplicates", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["total"], len(found["groups"])) == (len(PHOTOGRAPHS), len(PHOTOGRAPHS))
    for group in found["groups"]:
        first, *others = group["files"]
        assert os.path.basename(first["path"]) == "1.jpg" and first["keep"]
        assert {file["copy_of"] for file in others} == {first["path"]}
        assert all(file["reason"]["en"] and file["reason"]["zh"] for file in group["files"])


def test_help_says_the_default_threshold(capsys, monkeypatch, language):
    assert SIMILARITY == THRESHOLD
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["duplicates", "--help"]) == 0
    assert "0.98" in capsys.readouterr().out

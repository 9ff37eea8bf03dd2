"""What is there more than once, which file of it to keep, and that nothing is lost with others."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from made_collections import add_files
from photographs import folder
from seesay.errors import ConfigError
from seesay.search.asking.duplicates import (
    CopyFile,
    duplicates,
    has_copy_mark,
    loss,
    removable,
    sort_key,
    why_before,
)
from seesay.search.asking.likeness import IDENTICAL, Likeness
from seesay.search.catalog.files import File
from seesay.search.catalog.store import Store
from seesay.search.thumbnails import Thumbnails

ALIKE = Likeness(similarity=0.99, same_colours=True)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "c", create=True) as store:
        yield store


@pytest.fixture
def place(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def photograph(name="coffee.png"):
    with Image.open(folder() / name) as image:
        return image.convert("RGB")


def write(file, width, name="coffee.png", brighter=0, mtime=None, **options):
    """A photograph in this width; `mtime` in seconds."""
    image = photograph(name)
    image = image.resize((width, round(width * image.height / image.width)))
    file.parent.mkdir(exist_ok=True)
    image.point(lambda value: min(value + brighter, 255)).save(file, **options)
    if mtime is not None:
        os.utime(file, (mtime, mtime))
    return file


def exif(date="2021:05:04 10:00:00", model="Kamera 1"):
    known = Image.Exif()
    known[0x0110] = model
    known.get_ifd(0x8769)[0x9003] = date
    return known


def grouped(store, place, **options):
    """The groups of a folder's files, by their names."""
    add_files(store, sorted(place.rglob("*.*")))
    found = duplicates(store, Thumbnails(store).get, **options)
    return found, [[Path(file.path).name for file in group.files] for group in found.groups]


def may_go(store, found):
    return sorted(Path(path).name for path in removable(store, found.groups).paths)


def file(path="/a.jpg", size=1000, mtime_ns=5, **facts):
    item = File(
        id=1,
        path=path,
        media_type="image",
        content_hash=path,
        size=size,
        mtime_ns=mtime_ns,
        status="ready",
        added_ns=1,
        seq=1,
    )
    return CopyFile(item=item, **{"width": 100, "height": 100, **facts})


@pytest.mark.parametrize(
    ("better", "worse", "reason"),
    [
        (file(annotated=True, width=50), file(), "a caption or tags"),
        (file(width=101, mtime_ns=9), file("/b.png"), "more pixels (101 x 100)"),
        (file(camera_data=frozenset(("date",))), file("/b.png"), "camera data"),
        (file("/b.png", mtime_ns=9), file(mtime_ns=5), "a lossless format"),
        (file("/b.heic", mtime_ns=9), file(mtime_ns=5), "a format nearer to the original"),
        (file("/b.jpg", mtime_ns=4), file("/a.jpg", size=9999), "older"),
        (file("/z.jpg"), file("/copy of z.jpg"), "a name without a copy mark"),
        (file("/a.jpg"), file("/b.jpg"), "the first path"),
    ],
)
def test_the_order_of_what_to_keep(better, worse, reason):
    assert sorted([worse, better], key=sort_key)[0] is better
    assert why_before(better, worse).en == reason


@pytest.mark.parametrize(
    ("kept", "other", "lost"),
    [
        (file(annotated=True), file(width=200), "more pixels (200 x 100)"),
        (file(width=200), file(camera_data=frozenset(("camera",))), "camera data"),
        (
            file(width=200, camera_data=frozenset(("camera",))),
            file(camera_data=frozenset(("camera", "latitude"))),
            "camera data",
        ),
        (file(annotated=True), file("/b.png"), "a lossless format"),
        (file(mtime_ns=1), file(size=1300), "more bytes for as many pixels"),
        (file(mtime_ns=1), file(size=1100), None),
        (file(width=200), file("/b.bmp", size=10**6), None),
    ],
)
def test_what_has_something_that_the_file_to_keep_lacks_stays(kept, other, lost):
    found = loss(kept, other, ALIKE)
    assert (found and found.en) == lost
    assert loss(kept, other, IDENTICAL) is None
    assert loss(kept, other, replace(ALIKE, same_colours=False)) is not None


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("copy of x.jpg", True),
        ("Copy (2) of x.jpg", True),
        ("x - Copy.jpg", True),
        ("x - Copy (3).jpg", True),
        ("x copy 2.jpg", True),
        ("x_copy.jpg", True),
        ("x (1).jpg", True),
        ("x（2）.jpg", True),
        ("x - 副本.jpg", True),
        ("x 副本 (2).jpg", True),
        ("副本x.jpg", True),
        ("x 拷贝.jpg", True),
        ("x的副本.jpg", True),
        ("Kopie von x.jpg", True),
        ("photocopy.jpg", False),
        ("x (2021).jpg", False),
        ("copyright.jpg", False),
        ("IMG_0001.jpg", False),
    ],
)
def test_names_of_copies_are_known(name, marked):
    assert has_copy_mark(f"/copy of/{name}") is marked


def test_a_photograph_of_a_camera_is_kept_before_a_small_bitmap_of_it(store, place):
    write(place / "a.bmp", 400, mtime=1)
    write(place / "z.jpg", 1536, quality=85, exif=exif(), mtime=2)
    found, names = grouped(store, place)
    assert names == [["z.jpg", "a.bmp"]]
    (group,) = found.groups
    assert group.kind == "near" and group.similarity >= 0.98
    first, second = group.files
    assert (first.keep, first.copy_of, first.similarity) == (True, None, 1)
    assert (second.keep, second.copy_of) == (False, first.path)
    assert first.reason == second.reason
    assert first.reason.en.startswith("more pixels") and first.reason.zh.startswith("像素更多")
    assert (first.width, first.height) == (1536, 1024)
    assert may_go(store, found) == ["a.bmp"]


def test_a_copy_in_a_backup_goes_and_the_original_stays(store, place):
    write(place / "x.jpg", 300, mtime=5)
    (place / "backup").mkdir()
    shutil.copy2(place / "x.jpg", place / "backup" / "copy of x.jpg")
    found, names = grouped(store, place)
    assert names == [["x.jpg", "copy of x.jpg"]]
    assert found.groups[0].files[0].reason.en == "a name without a copy mark"
    assert may_go(store, found) == ["copy of x.jpg"]


def test_copies_of_all_kinds_are_one_group_and_no_file_is_in_two(store, place):
    write(place / "1.png", 600)
    shutil.copy2(place / "1.png", place / "2.png")
    write(place / "3.jpg", 300)
    shutil.copy2(place / "3.jpg", place / "4.jpg")
    write(place / "5.webp", 200)
    write(place / "other.jpg", 600, "rocket.jpg")
    found, names = grouped(store, place)
    assert names == [["1.png", "2.png", "3.jpg", "4.jpg", "5.webp"]]
    assert {Path(file.copy_of or "").name for file in found.groups[0].files} == {"", "1.png"}
    assert may_go(store, found) == ["2.png", "3.jpg", "4.jpg", "5.webp"]
    exact, names = grouped(store, place, exact=True)
    assert names == [["1.png", "2.png"], ["3.jpg", "4.jpg"]]
    assert [group.kind for group in exact.groups] == ["exact", "exact"]
    assert found.page(1, 5).groups == () and found.page(1, 5).total == 1


def test_a_chain_of_likenesses_offers_nothing_that_is_unlike_the_file_to_keep(store, place):
    for number, width in enumerate((600, 400, 200)):
        write(place / f"{number}.png", width, brighter=4 * number)
    found, names = grouped(store, place)
    assert names == [["0.png", "1.png"]]
    assert may_go(store, found) == ["1.png"]


def test_the_better_file_in_the_middle_of_a_chain_keeps_both_ends_company(store, place):
    for number, width in enumerate((200, 600, 400)):
        write(place / f"{number}.png", width, brighter=4 * number)
    found, names = grouped(store, place)
    assert names == [["1.png", "2.png", "0.png"]]
    assert may_go(store, found) == ["0.png", "2.png"]


def test_a_captioned_copy_is_kept_first_and_the_larger_original_all_the_same(store, place):
    write(place / "large.jpg", 600)
    shutil.copy2(place / "large.jpg", place / "large again.jpg")
    write(place / "small.jpg", 300)
    add_files(store, sorted(place.iterdir()))
    item = store.files.by_path([str(place / "small.jpg")])[str(place / "small.jpg")]
    (unit,) = store.passages.of_files([item.id])
    with store.writing("describe"):
        store.passages.describe(unit.id, text="coffee")
    found = duplicates(store, Thumbnails(store).get)
    told = {Path(f.path).name: (f.keep, f.reason.en) for f in found.groups[0].files}
    assert told["small.jpg"] == (True, "a caption or tags")
    assert {keep for name, (keep, _) in told.items() if name != "small.jpg"} == {True, False}
    assert len(may_go(store, found)) == 1 and "small.jpg" not in may_go(store, found)


def test_pictures_taken_at_different_times_are_no_copies_however_alike(store, place):
    write(place / "1.jpg", 400, exif=exif("2021:05:04 10:00:00"))
    write(place / "2.jpg", 400, exif=exif("2021:05:04 10:00:01"))
    write(place / "3.jpg", 200, exif=exif("2021:05:04 10:00:00"))
    _, names = grouped(store, place)
    assert names == [["1.jpg", "3.jpg"]]


def test_a_grey_copy_and_an_animation_are_shown_and_stay(store, place):
    write(place / "1.png", 600)
    photograph().convert("L").resize((300, 200)).save(place / "grey.jpg")
    small = photograph().resize((300, 200))
    small.save(place / "moving.tif", save_all=True, append_images=[small.rotate(90)])
    found, names = grouped(store, place)
    (group,) = names
    assert group[0] == "1.png" and set(group) == {"1.png", "grey.jpg", "moving.tif"}
    reasons = {Path(f.path).name: f.reason.en for f in found.groups[0].files if f.keep}
    assert (reasons["grey.jpg"], reasons["moving.tif"]) == ("other colours", "2 pages or frames")
    assert may_go(store, found) == []


def test_a_copy_that_exif_turns_is_found(store, place):
    write(place / "1.png", 600)
    turned = Image.Exif()
    turned[0x0112] = 6
    photograph().resize((300, 200)).transpose(Image.Transpose.ROTATE_90).save(
        place / "turned.jpg", exif=turned
    )
    found, _ = grouped(store, place)
    assert may_go(store, found) == ["turned.jpg"]


def link(kind, file, name):
    os.link(file, name) if kind == "hard link" else name.symlink_to(file)


@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_names_of_one_file_are_no_copies_in_a_collection_that_holds_them_all(store, place, kind):
    write(place / "real.jpg", 300)
    link(kind, place / "real.jpg", place / "again.jpg")
    found, names = grouped(store, place)
    assert names == [] and may_go(store, found) == []
    assert found.changed == 0


def test_a_folder_that_is_mounted_twice_holds_no_copies(store, place):
    write(place / "a" / "1.jpg", 300)
    (place / "b").mkdir()
    command = ["mount", "--bind", str(place / "a"), str(place / "b")]
    if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        found, names = grouped(store, place)
        assert names == [] and may_go(store, found) == []
    finally:
        subprocess.run(["umount", str(place / "b")], check=True)


@pytest.mark.parametrize("kind", ["link", "hard link"])
@pytest.mark.parametrize("width", [200, 300])
def test_a_file_of_several_names_stays_beside_its_copies(store, place, kind, width):
    write(place / "real.jpg", 300, mtime=1)
    link(kind, place / "real.jpg", place / "again.jpg")
    if width == 300:
        shutil.copy(place / "real.jpg", place / "copy.jpg")
    else:
        write(place / "copy.jpg", width)
    found, _ = grouped(store, place)
    assert may_go(store, found) == ["copy.jpg"]
    first = found.groups[0].files[0]
    assert {Path(name).name for name in (first.path, *first.other_names)} == {
        *("real.jpg", "again.jpg")
    }


@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_the_worse_file_of_several_names_is_not_offered(store, place, kind):
    write(place / "best.png", 600)
    write(place / "real.jpg", 300)
    link(kind, place / "real.jpg", place / "again.jpg")
    found, _ = grouped(store, place)
    assert may_go(store, found) == []
    assert found.groups[0].files[1].reason.en == "other names of the same file"


@pytest.mark.parametrize("kind", ["link", "hard link"])
@pytest.mark.parametrize("replaced", ["1.jpg", "2.jpg"])
def test_a_copy_that_becomes_a_link_later_is_never_offered(store, place, kind, replaced):
    write(place / "1.jpg", 300)
    shutil.copy2(place / "1.jpg", place / "2.jpg")
    before, names = grouped(store, place)
    assert names == [["1.jpg", "2.jpg"]]
    kept = "2.jpg" if replaced == "1.jpg" else "1.jpg"
    (place / replaced).unlink()
    link(kind, place / kept, place / replaced)
    assert may_go(store, before) == []
    assert len(removable(store, before.groups).left_out) == 1
    now = duplicates(store, Thumbnails(store).get)
    assert now.groups == ()


@pytest.mark.parametrize("change", ["gone", "other bytes", "damaged", "a folder", "a pipe"])
@pytest.mark.parametrize("changed", ["1.jpg", "2.jpg"])
def test_nothing_goes_where_a_file_is_not_what_was_indexed(store, place, changed, change):
    write(place / "1.jpg", 300)
    shutil.copy2(place / "1.jpg", place / "2.jpg")
    before, _ = grouped(store, place)
    file = place / changed
    facts, data = file.stat(), bytearray(file.read_bytes())
    file.unlink()
    if change == "other bytes":
        file.write_bytes(b"other")
    elif change == "damaged":
        data[1000] ^= 1
        file.write_bytes(data)
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    elif change == "a folder":
        file.mkdir()
    elif change == "a pipe":
        os.mkfifo(file)
    assert removable(store, before.groups).left_out == (str(place / "2.jpg"),)
    if change != "damaged":  # size and time are those of before
        now = duplicates(store, Thumbnails(store).get)
        assert (now.groups, now.changed) == ((), 1)


def test_tables_and_addresses_are_no_duplicates_and_texts_are(store, place):
    for name in ("a", "b"):
        (place / name).mkdir()
        (place / name / "captions.csv").write_text("path,caption\n1.jpg,coffee\n")
        (place / name / f"{name}.txt").write_text("Two cups of coffee.")
    _, names = grouped(store, place)
    assert names == [["a.txt", "b.txt"]]


def test_pictures_that_were_never_prepared_are_counted(store, place):
    write(place / "1.jpg", 300)
    write(place / "2.jpg", 200)
    add_files(store, sorted(place.iterdir()))
    with store.writing("as older versions did"):
        store.database.run("DELETE FROM fingerprints")
    found = duplicates(store, Thumbnails(store).get)
    assert (found.groups, found.uncompared) == ((), 2)


def test_a_threshold_that_is_none_is_refused(store):
    for threshold in (0.0, 2.0):
        with pytest.raises(ConfigError, match=f"threshold is {threshold:g}"):
            duplicates(store, Thumbnails(store).get, threshold=threshold)

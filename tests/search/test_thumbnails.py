"""Thumbnails come from the files of the collection as they were indexed, and from nothing else."""

import io
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from PIL import Image, ImageCms

from made_collections import read_only
from made_videos import GREEN, RED, write_scenes
from photographs import folder
from seesay.errors import CollectionError
from seesay.search.catalog.drafts import PassageDraft, Place
from seesay.search.catalog.files import FileDraft
from seesay.search.catalog.store import Store
from seesay.search.reading.files import content_hash, hash_file
from seesay.search.thumbnails import Thumbnails, video_of


@pytest.fixture
def place(tmp_path):
    for name in ("chelsea.png", "rocket.jpg"):
        shutil.copy(folder() / name, tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (tmp_path / "note.md").write_text("words", encoding="utf-8")
    return tmp_path


@pytest.fixture
def store(place):
    with Store(place / "collection", create=True) as store:
        yield store


def add(store: Store, file) -> int:
    facts = file.stat()
    kind = "text" if file.suffix == ".md" else "image"
    draft = FileDraft(
        path=str(file),
        media_type=kind,
        content_hash=content_hash(file.read_bytes()),
        size=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        passages=(PassageDraft(modality=kind),),
    )
    with store.writing("index"):
        return store.files.put([draft])[0].passages[0]


def size_of(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as opened:
        assert opened.format == "WEBP"
        return opened.size


def cached(store: Store) -> list:
    return sorted(file for file in (store.folder / "thumbnails").rglob("*") if file.is_file())


@pytest.mark.parametrize(("asked", "longest"), [(1, 128), (200, 256), (256, 256), (5000, 451)])
def test_a_thumbnail_keeps_the_shape_and_is_never_larger_than_its_picture(
    store, place, asked, longest
):
    made = size_of(Thumbnails(store).get(add(store, place / "chelsea.png"), asked))
    assert max(made) == longest  # 451 x 300 is the photograph itself
    assert abs(made[0] / made[1] - 451 / 300) < 0.02


def test_it_is_made_once_and_then_read_even_when_the_file_is_gone(store, place):
    unit = add(store, place / "rocket.jpg")
    first = Thumbnails(store).get(unit)
    (place / "rocket.jpg").unlink()
    assert Thumbnails(store).get(unit) == first
    assert [file.suffix for file in cached(store)] == [".webp"]


def test_a_file_that_was_put_in_the_place_of_an_indexed_one_is_not_shown(store, place):
    unit = add(store, place / "rocket.jpg")
    secret = place / "secret.png"
    Image.new("RGB", (9, 9), "red").save(secret)
    (place / "rocket.jpg").unlink()
    os.symlink(secret, place / "rocket.jpg")
    with pytest.raises(CollectionError, match="was changed since it was indexed"):
        Thumbnails(store).get(unit)
    (place / "rocket.jpg").unlink()
    with pytest.raises(CollectionError, match="it is not there"):
        Thumbnails(store).get(unit)
    assert cached(store) == []


@pytest.mark.parametrize("unit", [0, -1, 99])
def test_there_is_none_of_what_is_not_in_the_collection(store, unit):
    with pytest.raises(CollectionError, match=f"there is no unit {unit} "):
        Thumbnails(store).get(unit)


def test_a_text_and_a_damaged_picture_say_so(store, place):
    note, broken = add(store, place / "note.md"), add(store, place / "broken.jpg")
    with pytest.raises(CollectionError, match=r"note\.md is text, expected a picture"):
        Thumbnails(store).get(note)
    with pytest.raises(CollectionError, match=r"broken\.jpg"):
        Thumbnails(store).get(broken)


def test_many_threads_get_the_same_and_leave_no_unfinished_file(store, place):
    unit = add(store, place / "chelsea.png")
    thumbnails = Thumbnails(store)
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(thumbnails.get, [unit] * 32))
    assert len(made) == 1
    assert len(cached(store)) == 1


def test_the_cache_stays_below_its_limit_and_loses_the_oldest_first(store, place):
    thumbnails = Thumbnails(store)
    old, new = add(store, place / "chelsea.png"), add(store, place / "rocket.jpg")
    thumbnails.get(old)
    os.utime(cached(store)[0], ns=(1, 1))
    kept = thumbnails.get(new)
    Thumbnails(store, limit_bytes=len(kept)).prune()
    assert [file.read_bytes() for file in cached(store)] == [kept]


def test_pictures_of_somebody_else_in_a_folder_of_that_name_stay(store, place):
    theirs = [store.folder / "thumbnails" / name for name in ("20/a.webp", "2024/b.jpg")]
    for file in theirs:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"a picture")
    Thumbnails(store, limit_bytes=0).prune()
    assert all(file.read_bytes() == b"a picture" for file in theirs)


def test_a_collection_that_may_only_be_read_still_shows_pictures(store, place):
    unit = add(store, place / "chelsea.png")
    with read_only(store.folder) as works:
        if not works:
            pytest.skip("needs the right to make a folder read-only")
        assert size_of(Thumbnails(store).get(unit)) == (256, 170)
    assert cached(store) == []


def test_a_thumbnail_has_the_colours_of_a_screen_whatever_the_profile(store, place):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    profile = profile.replace(b"rXYZ", b"____").replace(b"bXYZ", b"rXYZ").replace(b"____", b"bXYZ")
    red_for_blue = place / "red for blue.png"
    Image.new("RGB", (200, 100), (230, 20, 10)).save(red_for_blue, icc_profile=profile)
    with Image.open(io.BytesIO(Thumbnails(store).get(add(store, red_for_blue)))) as shown:
        red, _, blue = shown.convert("RGB").getpixel((50, 20))
    assert blue > 200 > 60 > red


def test_a_thumbnail_of_an_older_version_is_not_shown(store, place):
    """It may have been drawn in other colours."""
    unit = add(store, place / "rocket.jpg")
    content = content_hash((place / "rocket.jpg").read_bytes())
    old = store.folder / "thumbnails" / content[:2] / f"{content}-256.webp"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    assert max(size_of(Thumbnails(store).get(unit))) == 256


def test_a_moment_and_a_subtitle_are_shown_as_the_frame_there_and_only_as_indexed(store, place):
    file = write_scenes(place / "film.mp4", [RED, GREEN])
    known = hash_file(str(file), 10**7)
    moment, later = Place(start_s=0.0, end_s=2.0), Place(start_s=2.5, end_s=3.5)
    draft = FileDraft(
        path=str(file),
        media_type="video",
        content_hash=known.content_hash,
        size=known.size,
        mtime_ns=known.mtime_ns,
        passages=(
            PassageDraft(modality="image", media_type="moment", place=moment),
            PassageDraft(modality="text", media_type="text", text="a kite", place=later),
        ),
    )
    with store.writing("index"):
        units = store.files.put([draft])[0].passages
    with closing(Thumbnails(store)) as thumbnails:
        for unit, colour in zip(units, (RED, GREEN), strict=True):
            with Image.open(io.BytesIO(thumbnails.get(unit, 128))) as shown:
                assert shown.size == (64, 48)
                level = shown.convert("RGB").getpixel((30, 20))
            assert max(abs(one - other) for one, other in zip(level, colour, strict=True)) < 20
            assert video_of(store, unit) == file
        assert len(cached(store)) == 2
        os.utime(file, ns=(1, 1))
        for show in (lambda: thumbnails.get(units[0], 512), lambda: video_of(store, units[0])):
            with pytest.raises(CollectionError, match="was changed since it was indexed"):
                show()
    Thumbnails(store, limit_bytes=0).prune()
    assert cached(store) == []

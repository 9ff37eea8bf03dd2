"""Copies of photographs are told from other photographs by their pixels."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from photographs import folder, photographs
from seesay.search.asking import likeness
from seesay.search.asking.likeness import THRESHOLD, candidates, compared
from seesay.search.reading.pictures import fingerprint

TURN = Image.Transpose.ROTATE_90


def saved(image, **options):
    stream = io.BytesIO()
    image.save(stream, **options)
    with Image.open(stream) as again:
        return again.convert("RGB")


def smaller(image, side):
    copy = image.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return saved(copy, format="JPEG", quality=80)


COPIES = {
    "180 px": lambda image: smaller(image, 180),
    "112 px": lambda image: smaller(image, 112),
    "JPEG 60": lambda image: saved(image, format="JPEG", quality=60),
    "WebP 60": lambda image: saved(image, format="WEBP", quality=60),
}


@pytest.fixture(scope="module")
def pictures():
    found = []
    for file in photographs():
        with Image.open(file) as image:
            found.append(image.convert("RGB").resize((448, 320)))
    return found


def test_smaller_and_compressed_copies_of_real_photographs_are_found(shared):
    """On a part of what benchmarks/duplicates.py measures."""
    with tarfile.open(shared / "flickr8k-bilingual" / "dev-000000.tar") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".jpg"))[:120]
        originals = [Image.open(archive.extractfile(name)).convert("RGB") for name in names]
    for copy in COPIES.values():
        copies = [copy(image) for image in originals]
        prints = np.array([list(fingerprint(image)) for image in (*originals, *copies)], np.uint8)
        pairs = candidates(prints)
        assert all(b - a == len(originals) for a, b in pairs)  # no two different ones
        found = [compared(originals[a], copies[b - len(originals)]) for a, b in pairs]
        alike = [one for one in found if one and one.similarity >= THRESHOLD and one.same_colours]
        assert len(alike) >= 0.95 * len(originals)


@pytest.mark.parametrize("shift", [2, 5])
def test_the_next_picture_of_a_series_is_no_copy(pictures, shift):
    for image in pictures:
        one = image.crop((0, 0, image.width - shift, image.height - shift))
        other = image.crop((shift, shift, image.width, image.height))
        assert compared(one, other).similarity < THRESHOLD


def test_a_small_part_that_changed_makes_another_picture(pictures):
    image = pictures[0]
    other = image.copy()
    other.paste(image.crop((200, 100, 224, 124)), (100, 200))
    assert compared(image, other).similarity < THRESHOLD


def test_other_colours_are_told_and_other_brightness_or_shape_is_another_picture(pictures):
    image = pictures[0]
    grey = compared(image, image.convert("L").convert("RGB"))
    assert grey.similarity >= THRESHOLD and not grey.same_colours
    assert not compared(image, ImageEnhance.Color(image).enhance(0.4)).same_colours
    assert compared(image, ImageEnhance.Brightness(image).enhance(1.1)).similarity < THRESHOLD
    assert compared(image, image.transpose(TURN)) is None
    assert compared(image, image.crop((0, 0, image.width - 20, image.height))) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 16), (3, 500)])
def test_tiny_and_thin_pictures_can_be_compared(size):
    assert compared(Image.new("RGB", size), Image.new("RGB", size)).similarity == 1
    assert compared(Image.new("RGB", size), Image.new("RGB", size, "white")).similarity < THRESHOLD


def test_candidates_of_very_many_pictures_are_found_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 256, (1500, 4, 4), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    prints = fields.reshape(1500, 256)
    noise = rng.integers(-2, 3, prints.shape)
    together = np.concatenate([prints, np.clip(prints + noise, 0, 255).astype(np.uint8)])
    wanted = {(row, row + 1500) for row in range(1500)}
    assert set(candidates(together)) == wanted
    monkeypatch.setattr(likeness, "_TOGETHER", 100)
    monkeypatch.setattr(likeness, "_PER_CENTRE", 150)
    found = set(candidates(together))
    assert found <= wanted and len(found) >= 0.99 * len(wanted)


def test_pictures_of_one_grey_are_no_candidates_and_a_crowd_has_few_each():
    flat = np.full((40, 256), 200, np.uint8)
    assert candidates(flat) == []
    crowd = np.tile(np.arange(256, dtype=np.uint8), (60, 1))
    pairs = candidates(crowd)
    assert max(np.bincount([first for first, _ in pairs])) == likeness._MOST


def test_the_pages_of_a_scan_are_different_pictures():
    with Image.open(folder() / "page.png") as page, Image.open(folder() / "text.png") as text:
        one, other = (image.convert("RGB").resize((384, 192)) for image in (page, text))
    assert compared(one, other).similarity < 0.9

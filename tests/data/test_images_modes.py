"""Every kind of file that can be opened shows the right pixels, or is refused with a reason.

The table of files is in tests/pixel_files.py; `python benchmarks/pixels.py` prints it.
"""

import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from pixel_files import REFUSED, SECOND_DIFFERS, all_files
from pixel_patterns import PixelFile
from seesay.data.images import open_image
from seesay.errors import ImageError

FILES = all_files()
KINDS = sorted({file.kind for file in FILES})


def furthest(actual: np.ndarray, expected: np.ndarray) -> int:
    """The largest difference of any channel of any pixel; 255 for another size."""
    if actual.shape != expected.shape:
        return 255
    return int(np.abs(actual.astype(int) - expected).max())


def listed(file: PixelFile, table: dict[str, str]) -> bool:
    return any(re.search(pattern, file.name) for pattern in table)


@pytest.mark.parametrize("kind", KINDS)
def test_files_show_the_pixels_that_went_in(kind):
    wrong = {}
    for file in FILES:
        if file.kind == kind and not listed(file, REFUSED):
            difference = furthest(np.asarray(open_image(file.data)), file.shows)
            if difference > file.tolerance:
                wrong[file.name] = difference
    assert wrong == {}


def test_what_cannot_be_read_right_is_refused_with_a_reason():
    chosen = [file for file in FILES if listed(file, REFUSED)]
    assert len(chosen) > 100
    for file in chosen:
        with pytest.raises(
            ImageError, match=r"cannot be read \(.+\)|damaged.*\. Expected"
        ) as error:
            open_image(file.data)
            pytest.fail(f"{file.name} is shown")
        assert "Expected" in str(error.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "avif"])
def test_a_second_decoder_shows_the_same(kind, tmp_path):
    mogrify = shutil.which("mogrify")
    if mogrify is None:
        pytest.skip("needs ImageMagick (apt install imagemagick) as a second decoder")
    names = {}
    for number, file in enumerate(FILES):
        if file.kind == kind and not listed(file, REFUSED) and not listed(file, SECOND_DIFFERS):
            names[f"{number:03}"] = file
            (tmp_path / f"{number:03}.{kind}").write_bytes(file.data)
    flat = ("-auto-orient", "-background", "white", "-alpha", "remove", "-alpha", "off")
    subprocess.run(
        [mogrify, "-format", "png24", *flat, "-colorspace", "sRGB", "-depth", "8"]
        + [str(tmp_path / f"{name}.{kind}") for name in names],
        check=False,  # it warns about keys and tags that it leaves aside
        capture_output=True,
    )
    wrong = {}
    for name, file in names.items():
        shown = sorted(tmp_path.glob(f"{name}*.png24"))  # of an animation one for each frame
        pixels = np.asarray(Image.open(shown[0]).convert("RGB")) if shown else np.zeros(0)
        if (difference := furthest(pixels, file.shows)) > file.tolerance + 1:
            wrong[file.name] = difference
    assert names and wrong == {}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("grey12_packed.tif", "grey"),
        ("grey32_uint.tif", "grey"),
        ("grey2_trns.png", "grey2_key"),
        ("grey16_trns.png", "grey_key"),
        ("rgb16_trns.png", "rgb_key"),
        ("zero_alpha.tga", "rgb"),
        ("zero_alpha_v4.bmp", "rgb"),
    ],
)
def test_odd_pictures_look_like_their_plain_twins(odd, plain, shared):
    folder = shared / "odd-pictures"
    expected = np.asarray(open_image(folder / f"PLAIN_{plain}.png"))
    assert furthest(np.asarray(open_image(folder / odd)), expected) <= 1


@pytest.mark.shared
def test_a_sixteen_bit_pgm_of_small_values_is_black(shared):
    assert np.asarray(open_image(shared / "odd-pictures" / "grey16_dark.pgm")).max() == 1


def test_numbers_of_32_bits_keep_the_range_that_they_use():
    """Counts have no usual white: only numbers that pass 31 bits take the whole range."""
    counts = np.linspace(0, 70_000, 256).astype(np.uint32).reshape(16, 16)
    stream = io.BytesIO()
    Image.fromarray(counts.astype(np.int32)).save(stream, "TIFF")
    shown = np.asarray(open_image(stream.getvalue()))[..., 0]
    assert furthest(shown, np.arange(256).reshape(16, 16)) <= 1

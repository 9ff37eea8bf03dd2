"""What every kind of picture file shows: ours beside a second decoder, ImageMagick.

    python benchmarks/pixels.py

One row a file: the largest difference of any channel of any pixel from the numbers that went in,
"refused" where a decoder says so. Files of one kind that differ in byte order and compression only
and give the same figures are one row. Goal: ours never shows wrong pixels.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pixel_files import REFUSED, SECOND_DIFFERS, all_files
from pixel_patterns import PixelFile
from seesay.data.images import open_image
from seesay.errors import ImageError

_FLAT = "-auto-orient -background white -alpha remove -alpha off -colorspace sRGB -depth 8 ppm:-"
_VARIANT = re.compile(r", (little|big) endian, (raw|deflated)$")


def difference(pixels: np.ndarray | None, file: PixelFile) -> str:
    if pixels is None:
        return "refused"
    if pixels.shape != file.shows.shape:
        return "size"
    return str(np.abs(pixels.astype(int) - file.shows).max())


def ours(file: PixelFile) -> np.ndarray | None:
    try:
        return np.asarray(open_image(file.data))
    except ImageError:
        return None


def second(file: PixelFile, convert: str, folder: Path) -> np.ndarray | None:
    path = folder / f"picture.{file.kind}"
    path.write_bytes(file.data)
    done = subprocess.run([convert, f"{path}[0]", *_FLAT.split()], capture_output=True, check=False)
    if done.returncode or not done.stdout:
        return None
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB"))


def reason(file: PixelFile) -> str:
    """Why one of the two decoders does not show what went in."""
    texts = (("refused: ", REFUSED), ("second: ", SECOND_DIFFERS))
    return "; ".join(
        who + next(text for pattern, text in table.items() if re.search(pattern, file.name))
        for who, table in texts
        if any(re.search(pattern, file.name) for pattern in table)
    )


def rows(convert: str | None, folder: Path) -> Iterator[tuple[str, str, str, bool, str]]:
    for file in all_files():
        mine = difference(ours(file), file)
        other = difference(second(file, convert, folder), file) if convert else "-"
        wrong = mine == "size" or (mine != "refused" and int(mine) > file.tolerance)
        yield _VARIANT.sub("", file.name), mine, other, wrong, reason(file)


def main() -> None:
    convert = shutil.which("convert")
    if convert is None:
        print("no second decoder: install ImageMagick (apt install imagemagick) to see one")
    files = wrong = 0
    print(f"{'file':68} {'ours':>8} {'second':>8} {'files':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for row, same in groupby(rows(convert, Path(folder))):
            count = len(list(same))
            files, wrong = files + count, wrong + count * row[3]
            print(f"{row[0]:68} {row[1]:>8} {row[2]:>8} {count:6}  {row[4]}".rstrip())
    print(f"goal: no wrong pixels: {'missed' if wrong else 'met'} ({wrong} of {files} files)")


if __name__ == "__main__":
    main()

import io
import random
import warnings
from datetime import datetime

import pytest
from PIL import Image, TiffImagePlugin

from seesay.search.ingest.reading.exif import details

HANGZHOU = (30.25, 120.166667)


def photo(**tags):
    exif = Image.Exif()
    exif.update(tags.pop("main", {}))
    for directory, values in tags.items():
        exif.get_ifd({"inner": 0x8769, "place": 0x8825}[directory]).update(values)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=exif)
    return Image.open(stream)


def rational(*parts):
    return tuple(TiffImagePlugin.IFDRational(part) for part in parts)


def test_date_place_and_camera_are_read():
    found = details(
        photo(
            main={271: "NIKON CORPORATION\0", 272: "NIKON D90", 306: "2020:01:01 00:00:00"},
            inner={36867: "2019:07:06 21:33:10"},
            place={1: "N", 2: rational(30, 15, 0), 3: "E", 4: rational(120, 10, 0)},
        )
    )
    assert found == {
        "date": datetime(2019, 7, 6, 21, 33, 10),
        "camera": "NIKON D90",
        "latitude": HANGZHOU[0],
        "longitude": HANGZHOU[1],
    }


def test_south_and_west_are_negative():
    found = details(photo(place={1: "S", 2: rational(1, 30, 0), 3: "W", 4: rational(2, 0, 36)}))
    assert (found["latitude"], found["longitude"]) == (-1.5, -2.01)


@pytest.mark.parametrize(
    "tags",
    [
        {"main": {306: "0000:00:00 00:00:00"}},
        {"inner": {36867: "not a date"}},
        {"inner": {36867: "    :  :     :  :  "}},
        {"place": {1: "N", 2: rational(91, 0, 0), 3: "E", 4: rational(0, 0, 0)}},
        {"place": {1: "N", 2: rational(0, 0, 0), 3: "E", 4: rational(0, 0, 0)}},
        {"place": {1: "N", 2: rational(10, 0, 0)}},
        {"main": {271: "\0\0\0", 272: "  "}},
    ],
)
def test_what_makes_no_sense_is_left_out(tags):
    assert details(photo(**tags)) == {}


@pytest.mark.parametrize("seed", range(30))
def test_damaged_exif_neither_fails_nor_prints(seed, capfd):
    rng = random.Random(seed)
    whole = photo(
        main={271: "Maker"},
        inner={36867: "2019:07:06 21:33:10"},
        place={1: "N", 2: rational(30, 15, 0), 3: "E", 4: rational(120, 10, 0)},
    )
    raw = bytearray(whole.info["exif"])
    for _ in range(8):
        raw[rng.randrange(6, len(raw))] = rng.randrange(256)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=bytes(raw))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in a reading process
        found = details(Image.open(stream))
    assert set(found) <= {"date", "camera", "latitude", "longitude"}
    assert capfd.readouterr() == ("", "")

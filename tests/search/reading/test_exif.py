import io
import random
import warnings
from datetime import datetime

import pytest
from PIL import Image, TiffImagePlugin

from seesay.search.reading.pictures import details

HANGZHOU = (30.25, 120.166667)


def photo(**tags):
    exif = Image.Exif()
    exif.update(tags.pop("main", {}))
    for directory, values in tags.items():
        exif.get_ifd({"inner": 0x8769, "place": 0x8825}[directory]).update(values)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=exif)
    return Image.open(stream)


def described(packet, **tags):
    """A photograph with XMP."""
    stream = io.BytesIO()
    exif = photo(**tags).info.get("exif", b"")
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=exif, xmp=packet.encode())
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


DAY = "2010:02:03 04:05:06"
LATER = "2023:01:01 00:00:00"


@pytest.mark.parametrize(
    ("tags", "date"),
    [
        ({"inner": {36867: DAY, 36868: LATER}, "main": {306: LATER}}, DAY),
        ({"inner": {36868: DAY}, "main": {306: LATER}}, DAY),  # a scan that was edited
        ({"inner": {36867: "0000:00:00 00:00:00", 36868: DAY}}, DAY),
        ({"main": {306: DAY}}, DAY),
        ({"inner": {36867: "2010:02:02 28:05:06"}, "main": {306: DAY}}, DAY),
        ({"inner": {36867: "2010-02-03T04:05:06+08:00"}}, DAY),
        ({"inner": {36867: "2010/2/3 4:05:06"}}, DAY),
        ({"inner": {36867: f"{DAY} some more"}}, DAY),
        ({"inner": {36867: "2010:02:02 24:08:19"}}, "2010:02:03 00:08:19"),
        ({"inner": {36867: "2010:02:03 04:05"}}, "2010:02:03 04:05:00"),
        ({"inner": {36867: "2010:02:03"}}, "2010:02:03 00:00:00"),
    ],
)
def test_the_day_it_was_taken_counts_before_that_of_a_scan_and_of_a_change(tags, date):
    assert details(photo(**tags))["date"] == datetime.strptime(date, "%Y:%m:%d %H:%M:%S")


@pytest.mark.parametrize(
    ("packet", "tags", "date"),
    [
        ('<x exif:DateTimeOriginal="2010-02-03T04:05:06.00+01:00"/>', {}, (2010, 2, 3, 4, 5, 6)),
        ("<photoshop:DateCreated>1965</photoshop:DateCreated>", {}, (1965, 1, 1)),
        ('<x xmp:CreateDate="2010-02-03T04:05"/>', {"main": {306: LATER}}, (2010, 2, 3, 4, 5)),
        ("<x xmp:ModifyDate=\"2024-01-01\" xmp:CreateDate='2010-02'/>", {}, (2010, 2, 1)),
        ('<x xmp:ModifyDate="2024-01-01"/>', {"inner": {36868: DAY}}, (2010, 2, 3, 4, 5, 6)),
        ('<x xmp:CreateDate="2010-02-03"/>', {"inner": {36867: LATER}}, (2023, 1, 1)),
    ],
)
def test_what_exif_does_not_say_xmp_may(packet, tags, date):
    assert details(described(packet, **tags))["date"] == datetime(*date)


def test_xmp_that_says_nothing_or_nonsense_is_left_out():
    for packet in ("", "<x/>", "<x xmp:CreateDate=", '<x xmp:CreateDate="9999-99-99"/>', "\0" * 99):
        assert details(described(packet)) == {}

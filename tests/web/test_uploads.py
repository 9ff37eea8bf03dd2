"""A file that cannot be searched with is named, with the reason, in the language of the page."""

import base64
import io
import struct
import zlib

import pytest
from PIL import Image
from playwright.sync_api import expect

from seesay.web.asking import SearchForm
from seesay.web.uploads import decode_picture, name_of, refusal, size_of_unsent
from web_names import DROP

BIG = """([name, bytes]) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([new Uint8Array(bytes)], name));
  document.body.dispatchEvent(
    new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
}"""


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_of(width, height):
    """A PNG that says how large it is, and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def jpeg():
    stream = io.BytesIO()
    Image.effect_noise((300, 300), 60).save(stream, "JPEG")
    return stream.getvalue()


def drop(page, name, content):
    page.evaluate(DROP, [name, "", base64.b64encode(content).decode()])


def test_what_is_no_picture_is_named_with_the_reason(visit):
    page = visit("zh-CN")
    told = page.locator("#results .notice.wrong")
    drop(page, "合同 <b>.pdf", b"%PDF-1.7 " + b"x" * 99)
    expect(told).to_contain_text("合同 <b>.pdf 无法用于查找")
    expect(told).to_contain_text("PDF 文件，不是图片")
    drop(page, "half.jpg", jpeg()[:3000])
    expect(told).to_contain_text("half.jpg 无法用于查找")
    expect(told).to_contain_text("已损坏或不完整")
    drop(page, "nothing.png", b"")
    expect(told).to_contain_text("文件是空的")
    page.locator("#language label", has_text="English").click()
    expect(told).to_contain_text("nothing.png cannot be searched with")
    expect(told).to_contain_text("The file is empty.")


def test_a_file_that_is_too_large_to_be_sent_is_named_with_its_size(visit):
    page = visit()
    sent = []
    page.on("request", lambda request: sent.append(len(request.post_data_buffer or b"")))
    page.evaluate(BIG, ["scan.tif", 31_000_000])
    told = page.locator("#results .notice.wrong")
    expect(told).to_contain_text("scan.tif cannot be searched with")
    expect(told).to_contain_text("It has 31 MB, and your browser cannot make it smaller")
    assert max(sent) < 100_000
    page.locator("#picture .drop-it").click()
    expect(page.locator("#results .tries")).to_be_visible()


@pytest.mark.parametrize(
    ("content", "en", "zh"),
    [
        (b"", "empty", "空的"),
        (b"%PDF-1.7", "a PDF", "PDF"),
        (b"<svg xmlns=", "SVG", "SVG"),
        (b"PK\x03\x04....", "an archive", "压缩包"),
        (b"\0\0\0\x18ftypisom....", "a video", "视频"),
        (b"RIFF....AVI LIST", "a video", "视频"),
        (b"notes of a text", "does not begin like any picture", "不是这里能读取的图片格式"),
        (b"\xff\xd8\xff\xe0 broken", "damaged", "损坏"),
        (png_of(20_000, 20_000), "20000 x 20000 pixels", "20000 x 20000 像素"),
    ],
)
def test_the_reason_is_told_by_how_the_file_begins(content, en, zh):
    told = refusal(content)
    assert en in told.en and zh in told.zh


def test_pictures_pass():
    for kind in ("PNG", "WEBP", "GIF", "BMP", "TIFF"):
        stream = io.BytesIO()
        Image.new("RGB", (20, 10), "red").save(stream, kind)
        assert refusal(stream.getvalue()) is None
    assert refusal(jpeg()) is None


def test_a_name_comes_with_the_data_and_is_cut():
    url = "data:image/png;name=%E7%8C%AB%3B%2C.png;base64,aGVsbG8="
    assert (name_of(url), decode_picture(url)) == ("猫;,.png", b"hello")
    assert name_of("data:image/png;name=%FF%00;base64,") == "\ufffd\0" and name_of(None) == ""
    assert len(name_of(f"data:;name={'x' * 9999};base64,")) <= 120
    assert size_of_unsent("data:application/x-too-large;size=31;name=a;base64,") == 31
    assert size_of_unsent("data:application/x-too-large;size=-1;base64,") == 0
    assert size_of_unsent(f"data:application/x-too-large;size={'9' * 2000};base64,") == 0
    assert size_of_unsent(url) is None and SearchForm(picture=b"").nothing is False

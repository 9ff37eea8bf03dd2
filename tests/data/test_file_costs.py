"""What a file costs is known from its header: a turned picture, the pages of a PDF, a video."""

import zlib

import pytest
from PIL import Image

from seesay.data.file_costs import file_cost, measure_file, page_sizes
from seesay.data.token_budget import document_cost, picture_cost, video_cost
from seesay.errors import DataError, ImageError

A4 = (1240, 1754)


def write_pdf(objects: dict[int, bytes], packed: dict[int, bytes] | None = None) -> bytes:
    """A PDF of these objects, of which some are packed into a compressed stream."""
    parts = [b"%PDF-1.7\n"]
    parts += [b"%d 0 obj\n%s\nendobj\n" % one for one in objects.items()]
    if packed:
        at, places, bodies = 0, [], []
        for number, body in packed.items():
            places.append(b"%d %d" % (number, at))
            bodies.append(body + b" ")
            at += len(body) + 1
        head = b" ".join(places) + b" "
        data = zlib.compress(head + b"".join(bodies))
        about = (len(packed), len(head), len(data))
        parts.append(
            b"99 0 obj\n<</Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d>>\n"
            b"stream\n" % about + data + b"\nendstream\nendobj\n"
        )
    return b"".join(parts)


TREE = {
    1: b"<< /Type /Catalog /Pages 2 0 R >>",
    2: b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 3 /MediaBox [0 0 595.2 841.92] >>",
    3: b"<< /Type /Page /Parent 2 0 R >>",
    4: b"<< /Type /Pages /Parent 2 0 R /Kids 8 0 R /Count 2 /Rotate 90 >>",
    5: b"<< /Type /Page /Parent 4 0 R /Rotate 0 /MediaBox [0 0 72 144] >>",
    6: b"<< /Type /Page /Parent 4 0 R >>",
    8: b"[5 0 R 6 0 R]",
}
SIZES = (A4, (150, 300), (1754, 1240))


def test_the_pages_of_a_document_have_the_sizes_of_their_tree(tmp_path):
    file = tmp_path / "plain.pdf"
    file.write_bytes(write_pdf(TREE))
    assert page_sizes(file) == SIZES
    first = {key: TREE[key] for key in (1,)}
    rest = {key: body for key, body in TREE.items() if key != 1}
    file.write_bytes(write_pdf(first, rest))
    assert page_sizes(file) == SIZES
    file.write_bytes(write_pdf(TREE) + write_pdf({3: b"<< /MediaBox [0 0 72 72] >>"}))
    assert page_sizes(file)[0] == (150, 150)  # a later object replaces an earlier


def test_a_document_costs_what_its_pages_cost(tmp_path):
    page, file = Image.new("RGB", (620, 877)), tmp_path / "pillow.pdf"
    page.save(file, save_all=True, append_images=[page], resolution=75.0)
    size = measure_file(file)
    assert (size.media_type, size.sizes) == ("document", (A4, A4))
    assert file_cost(size, "qwen2-vl") == document_cost(2, "qwen2-vl", A4)
    file.write_bytes(write_pdf(TREE))
    mixed = file_cost(measure_file(file), "internvl-2.5")
    assert mixed.total == sum(picture_cost(one, "internvl-2.5").total for one in SIZES)


def test_a_turned_picture_costs_what_it_costs_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 100)).save(tmp_path / "a.jpg", exif=exif)
    size = measure_file(tmp_path / "a.jpg")
    assert size.sizes == ((100, 400),)
    assert file_cost(size, "llava-1.6") == picture_cost((100, 400), "llava-1.6")


def test_a_video_costs_by_its_length(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in range(30):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), (8 * grey,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    size = measure_file(tmp_path / "a.mp4")
    assert size.sizes == ((64, 48),) and size.seconds == pytest.approx(3)
    assert file_cost(size, "qwen2-vl") == video_cost((64, 48), 3.0, "qwen2-vl", fps=10.0)


DAMAGED = {
    "no pages": write_pdf({1: b"<< /Type /Catalog >>"}),
    "no catalogue": b"%PDF-1.4",
    "a page that is missing": write_pdf({k: v for k, v in TREE.items() if k != 5}),
    "a circle": write_pdf({**TREE, 4: b"<< /Kids [2 0 R] >>"}),
    "no objects in a stream": write_pdf(TREE) + b"98 0 obj <</Type/ObjStm/N 1/First 4>>stream\nxx",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_document_is_one_clear_line(tmp_path, content):
    (tmp_path / "a.pdf").write_bytes(content)
    with pytest.raises(DataError, match=r"pages of a\.pdf cannot be counted") as caught:
        measure_file(tmp_path / "a.pdf")
    assert "无法统计 a.pdf" in caught.value.text.zh


def test_what_is_no_file_or_no_picture_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    for name in ("a.jpg", "missing.jpg"):
        with pytest.raises(ImageError, match=name):
            measure_file(tmp_path / name)


ODD = {
    "a page that holds a form": (
        b"<< /Type /Page /MediaBox [0 0 72 144] /Annots [<< /Kids [7 0 R] /Rotate 90 >>] >>",
        ((150, 300),),
    ),
    "a branch without pages": (b"<< /Type /Pages /Count 0 >>", ()),
    "numbers apart": (b"<< /Type /Page /MediaBox [0 0 9 0 R 144] >>", ((150, 300),)),
    "a box without an area": (b"<< /Type /Page /MediaBox [0 0 0 0] >>", ((1275, 1650),)),
    "a larger unit": (b"<< /Type /Page /MediaBox [0 0 36 72] /UserUnit 2.0 >>", ((150, 300),)),
    "a crop beyond the page": (
        b"<< /Type /Page /MediaBox [0 0 72 144] /CropBox [0 0 900 900] >>",
        ((150, 300),),
    ),
}


@pytest.mark.parametrize(("page", "sizes"), ODD.values(), ids=ODD)
def test_odd_pages_are_read_as_viewers_show_them(tmp_path, page, sizes):
    tree = {
        1: TREE[1],
        2: b"<< /Type /Pages /Kids [3 0 R 4 0 R 4 0 R] >>",
        3: page,
        4: b"<< /Type /Page /MediaBox [0 0 72 72] >>",
        9: b"72",
    }
    file = tmp_path / "odd.pdf"
    file.write_bytes(write_pdf(tree))
    assert page_sizes(file) == (*sizes, (150, 150), (150, 150))


def test_a_crop_above_a_page_holds_for_it(tmp_path):
    tree = {**TREE, 2: TREE[2].replace(b"/Count", b"/CropBox [0 0 72 72] /Count")}
    file = tmp_path / "cropped.pdf"
    file.write_bytes(write_pdf(tree))
    assert page_sizes(file) == ((150, 150),) * 3

"""Objects in pictures: hand-computed boxes, files that are refused, and a real runtime."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from made_detectors import SIDE, Slips, field, node, write_colour_detector, write_detector
from seesay.errors import ConfigError, ImageError, MissingExtraError, WeightsError
from seesay.inference.detector import (
    LABELS,
    STRIDES,
    decode_output,
    load_detector,
    suppress,
)
from seesay.inference.onnx_files import MOST_BYTES

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)
CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return load_detector(write_colour_detector(tmp_path_factory.mktemp("d") / "colours.onnx"))


def boxes(detections) -> list[tuple[str, list[float]]]:
    return sorted((one.label.en, list(one.box)) for one in detections)


def test_labels_are_cocos_in_both_languages():
    assert len(LABELS) == 80 == len({label.en for label in LABELS})
    assert len({label.zh for label in LABELS}) == 80
    by_row = {row: LABELS[row].en for row in (0, 16, 39, 56, 79)}
    assert by_row == {0: "person", 16: "dog", 39: "bottle", 56: "chair", 79: "toothbrush"}
    assert LABELS[16].zh == "狗"


def test_boxes_are_decoded_from_their_cell_and_grid():
    output = np.zeros((CELLS, 85), np.float32)
    # The last cell of the grid of 8 pixels: column 7, row 7; the second of 16: column 1, row 0; the
    # third of 32: column 0, row 1.
    output[63, :5] = 0.5, 0.25, np.log(2), 0, 1
    output[65, :5] = 0, 1, 0, np.log(3), 0.5
    output[82, :5] = 0.5, 0.5, 0, 0, 0.25
    output[:, 5] = 0.8
    found, scores = decode_output(output, SIDE)
    assert found[63].tolist() == pytest.approx([7.5 * 8 - 8, 7.25 * 8 - 4, 7.5 * 8 + 8, 62])
    assert found[65].tolist() == pytest.approx([16 - 8, 16 - 24, 16 + 8, 16 + 24])
    assert found[82].tolist() == pytest.approx([0, 32, 32, 64])
    assert scores[[63, 65, 82], 0].tolist() == pytest.approx([0.8, 0.4, 0.2])


def test_of_boxes_that_overlap_the_likeliest_of_each_class_stays():
    found = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [5, 0, 15, 10], [0, 0, 10, 10]], np.float32)
    scores = np.zeros((4, 3), np.float32)
    scores[:, 1] = 0.6, 0.9, 0.7, 0  # overlaps: 0-1 0.8, 0-2 1/3, 1-2 40/140
    scores[3, 2] = 0.5
    rows, classes = suppress(found, scores, 0.3, 0.45)
    assert [*zip(rows.tolist(), classes.tolist(), strict=True)] == [(1, 1), (2, 1), (3, 2)]
    rows, _ = suppress(found, scores, 0.3, 0.25)
    assert rows.tolist() == [1, 3]
    rows, _ = suppress(found, scores, 0.65, 0.85)
    assert rows.tolist() == [1, 2]


def reference_suppress(boxes, scores, overlap) -> list[int]:
    """By the definition, pair by pair."""
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: -scores[row]):
        left, top, right, bottom = boxes[row]
        for other in kept:
            a, b, c, d = boxes[other]
            shared = max(0, min(right, c) - max(left, a)) * max(0, min(bottom, d) - max(top, b))
            union = (right - left) * (bottom - top) + (c - a) * (d - b) - shared
            if shared / union > overlap:
                break
        else:
            kept.append(row)
    return kept


def test_suppression_is_that_of_the_definition():
    random = np.random.default_rng(1)
    corners = random.uniform(0, 50, (200, 2))
    some = np.concatenate([corners, corners + random.uniform(5, 30, (200, 2))], axis=1)
    scores = random.permutation(np.linspace(0.31, 0.99, 200))
    rows, _ = suppress(some.astype(np.float32), scores[:, None].astype(np.float32), 0.3, 0.45)
    assert rows.tolist() == reference_suppress(some.tolist(), scores.tolist(), 0.45)


def test_suppression_ends_soon_whatever_the_scores():
    some = np.zeros((3549, 4), np.float32)
    some[:, 0] = np.arange(3549)
    some[:, 2:] = some[:, :1] + 1
    rows, _ = suppress(some, np.full((3549, 80), 0.9, np.float32), 0.3, 0.45)
    assert len(rows) <= 3549
    scores = np.random.default_rng(2).uniform(0.4, 1, (3549, 80)).astype(np.float32)
    assert len(suppress(some, scores, 0.3, 0.45)[0]) <= 1000


def test_colours_reach_the_file_blue_first_and_boxes_come_back_in_the_picture(detector):
    picture = Image.new("RGB", (128, 64), GREEN)  # a letterbox of 64 x 32, two cells of 32
    picture.paste(RED, (64, 0, 128, 64))
    assert boxes(detector.detect(picture)) == [("dog", [64, 0, 128, 64])]
    picture.paste(BLUE, (0, 0, 64, 64))
    expected = [("cat", [0, 0, 64, 64]), ("dog", [64, 0, 128, 64])]
    assert boxes(detector.detect(picture)) == expected
    tall = picture.transpose(Image.Transpose.ROTATE_90)  # its lower half is the left one
    assert boxes(detector.detect(tall)) == [("cat", [0, 64, 64, 128]), ("dog", [0, 0, 64, 64])]


def test_the_rest_of_the_letterbox_is_grey_and_boxes_end_at_the_picture(detector):
    found = detector.detect(Image.new("RGB", (64, 16), RED))
    # The upper cells hold 16 rows of the picture and 16 of grey; the lower ones lie outside of it.
    assert boxes(found) == [("dog", [0, 0, 32, 16]), ("dog", [32, 0, 64, 16])]
    assert found[0].score == pytest.approx((1 + 114 / 255) / 2, abs=1e-4)


def test_objects_come_with_the_surest_first_and_scores_up_to_one(detector):
    picture = Image.new("RGB", (64, 64), (200, 0, 150))
    found = detector.detect(picture)
    assert [one.label.en for one in found] == ["dog"] * 4 + ["cat"] * 4
    assert [one.score for one in found[::4]] == pytest.approx([200 / 255, 150 / 255], abs=1e-4)
    assert not detector.detect(Image.new("RGB", (64, 64)))


def test_a_path_that_is_no_picture_is_refused_by_name(detector, tmp_path):
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        detector.detect(tmp_path / "nowhere.jpg")


def test_a_random_file_runs_and_gives_sound_boxes(tmp_path):
    detector = load_detector(write_detector(tmp_path / "random.onnx"))
    pixels = np.random.default_rng(3).integers(0, 256, (50, 70, 3), np.uint8)
    for one in detector.detect(pixels):
        left, top, right, bottom = one.box
        assert 0 <= left < right <= 70 and 0 <= top < bottom <= 50 and 0.3 < one.score <= 1


def test_copies_of_a_file_have_one_name_and_other_weights_another(tmp_path):
    one = load_detector(write_colour_detector(tmp_path / "a.onnx"))
    copy = load_detector(write_colour_detector(tmp_path / "b.onnx"))
    assert one.name == copy.name != load_detector(write_detector(tmp_path / "c.onnx")).name


def nested(operator: str) -> bytes:
    return node(operator, ["joined"], "x", field(1, "body") + field(6, b"") + field(20, 5))


REFUSED = {
    "keeps weights in another file": Slips(of_tensors=field(14, 1)),
    "keeps weights in another": Slips(of_tensors=field(13, field(1, "location") + field(2, "/x"))),
    "has the operator 'Loop'": Slips(nodes=[nested("Loop")]),
    "holds a graph within": Slips(nodes=[nested("Identity")]),
    "an operator of 'evil'": Slips(nodes=[node("Identity", ["joined"], "x") + field(7, "evil")]),
    "needs operators of 'com.x'": Slips(opset=field(1, "com.x") + field(2, 1)),
    "operator set 8": Slips(opset=field(2, 8)),
    "holds functions": Slips(of_model=field(25, b"")),
    "holds functions or training": Slips(of_model=field(20, b"")),
    "sparse weights": Slips(of_graph=field(15, b"")),
    r"has the shapes .*\[1, 84, 25\]": Slips(columns=25),
    "cannot be run": Slips(nodes=[node("Conv", ["nothing"], "x")]),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_what_is_no_plain_yolox_file_is_refused(problem, tmp_path):
    file = write_detector(tmp_path / "bad.onnx", slips=REFUSED[problem])
    with pytest.raises(WeightsError, match=problem) as refused:
        load_detector(file)
    assert str(file) in refused.value.text.zh and refused.value.text.zh != refused.value.text.en


def test_a_tensor_in_an_attribute_may_not_lie_elsewhere_either(tmp_path):
    constant = field(1, "value") + field(5, field(14, 1)) + field(20, 4)
    slips = Slips(nodes=[node("Constant", [], "x", constant)])
    file = write_detector(tmp_path / "bad.onnx", slips=slips)
    with pytest.raises(WeightsError, match="in another file"):
        load_detector(file)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\xff" * 20, b"PK\x03\x04", b"\x3a\xff\xff\xff\x0f"]
)
def test_bytes_that_are_no_model_are_refused(data, tmp_path):
    file = tmp_path / "bytes.onnx"
    file.write_bytes(data)
    with pytest.raises(WeightsError, match=r"bytes\.onnx"):
        load_detector(file)


def test_a_file_that_was_cut_off_is_refused_wherever(tmp_path):
    whole = write_colour_detector(tmp_path / "whole.onnx").read_bytes()
    for length in np.linspace(1, len(whole) - 1, 40).astype(int).tolist():
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            load_detector(tmp_path / "cut.onnx")


def test_files_that_are_too_large_or_none_are_refused(tmp_path):
    with (tmp_path / "large.onnx").open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    for name, problem in (("large.onnx", "bytes long"), ("none.onnx", "cannot be read")):
        with pytest.raises(WeightsError, match=problem):
            load_detector(tmp_path / name)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_detector(tmp_path)


@pytest.mark.parametrize("setting", [dict(threshold=0.0), dict(overlap=1.0), dict(threshold=1.5)])
def test_thresholds_lie_between_0_and_1(setting, tmp_path):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        load_detector(tmp_path / "any.onnx", **setting)


def test_without_onnxruntime_the_command_that_installs_it_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seesay\[detect\]'"):
        load_detector(tmp_path / "any.onnx")


def test_looking_for_objects_needs_no_torch(tmp_path):
    file = write_colour_detector(tmp_path / "colours.onnx")
    code = (
        "import sys, seesay, numpy; d = seesay.load_detector(sys.argv[1]);"
        "print(len(d.detect(numpy.full((8, 8, 3), [255, 0, 0], 'uint8'))), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["4", "False"] and not run.stderr

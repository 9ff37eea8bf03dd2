"""Detect objects in pictures with a YOLOX file that the user provides, run by onnxruntime.

    detector = load_detector("yolox_nano.onnx")
    for one in detector.detect("street.jpg"):
        print(one.label.zh, one.score, one.box)

YOLOX (Ge et al., arXiv 2107.08430): the picture in the upper left corner of a grey square, as blue,
green, red from 0 to 255, without mean or deviation. The output has, for each cell of three grids, a
box, the probability that it holds an object, and the probability of each of COCO's 80 classes.
Works without torch.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from seesay.data.images import ImageSource, open_image
from seesay.data.squares import ImageTransformConfig, square
from seesay.errors import ConfigError, MissingExtraError, WeightsError
from seesay.inference.onnx_files import read_onnx
from seesay.text import Text

STRIDES = (8, 16, 32)  # pixels of a cell of each grid
THRESHOLD = 0.3  # as upstream's demo draws objects
OVERLAP = 0.45  # as upstream's demo removes boxes
MOST_OBJECTS = 100  # in a picture: as many as COCO's evaluation counts
_MOST_CANDIDATES = 1000  # boxes compared with each other: a thousand true objects are rare
MOST_SIDE = 1280  # of the square, in pixels; upstream's largest file has 640
_LARGEST = 20.0  # exponent of a side: larger than any square, and still finite

# The operators of YOLOX exports, with and without simplification. Exp is left out: it occurs in
# files exported with `--decode_in_inference`, whose output is in other units.
OPERATORS = frozenset(
    (
        *("Add", "BatchNormalization", "Cast", "Concat", "Constant", "Conv", "Floor", "Gather"),
        *("Identity", "LeakyRelu", "MaxPool", "Mul", "Relu", "Reshape", "Resize", "Shape"),
        *("Sigmoid", "Slice", "Transpose", "Unsqueeze", "Upsample"),
    )
)

# COCO's 80 classes, in the order of YOLOX's output.
LABELS = tuple(
    Text(*names.split("/"))
    for names in (
        *("person/人", "bicycle/自行车", "car/汽车", "motorcycle/摩托车", "airplane/飞机"),
        *("bus/公交车", "train/火车", "truck/卡车", "boat/船", "traffic light/红绿灯"),
        *("fire hydrant/消防栓", "stop sign/停车标志", "parking meter/停车计时器", "bench/长椅"),
        *("bird/鸟", "cat/猫", "dog/狗", "horse/马", "sheep/羊", "cow/牛", "elephant/大象"),
        *("bear/熊", "zebra/斑马", "giraffe/长颈鹿", "backpack/双肩包", "umbrella/雨伞"),
        *("handbag/手提包", "tie/领带", "suitcase/行李箱", "frisbee/飞盘", "skis/双板滑雪板"),
        *("snowboard/单板滑雪板", "sports ball/球", "kite/风筝", "baseball bat/棒球棒"),
        *("baseball glove/棒球手套", "skateboard/滑板", "surfboard/冲浪板"),
        *("tennis racket/网球拍", "bottle/瓶子", "wine glass/高脚杯", "cup/杯子", "fork/叉子"),
        *("knife/刀", "spoon/勺子", "bowl/碗", "banana/香蕉", "apple/苹果", "sandwich/三明治"),
        *("orange/橙子", "broccoli/西兰花", "carrot/胡萝卜", "hot dog/热狗", "pizza/披萨"),
        *("donut/甜甜圈", "cake/蛋糕", "chair/椅子", "couch/沙发", "potted plant/盆栽"),
        *("bed/床", "dining table/餐桌", "toilet/马桶", "tv/电视", "laptop/笔记本电脑"),
        *("mouse/鼠标", "remote/遥控器", "keyboard/键盘", "cell phone/手机", "microwave/微波炉"),
        *("oven/烤箱", "toaster/烤面包机", "sink/水槽", "refrigerator/冰箱", "book/书"),
        *("clock/时钟", "vase/花瓶", "scissors/剪刀", "teddy bear/泰迪熊", "hair drier/吹风机"),
        "toothbrush/牙刷",
    )
)

Boxes = Float32[np.ndarray, "boxes 4"]
"""Left, top, right, bottom."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """An object in a picture."""

    label: Text
    box: tuple[float, float, float, float]
    """Left, top, right, bottom, in pixels of the upright picture."""
    score: float
    """From 0 to 1."""


class Detector:
    """Finds objects in pictures; see `load_detector`. One thread at a time."""

    def __init__(
        self, session: Any, *, name: str, side: int, threshold: float, overlap: float
    ) -> None:
        self.name = name
        """Identifies the weights: the same for each copy of a file."""
        self.transform = ImageTransformConfig(
            size=side, resize="letterbox", interpolation="bilinear"
        )
        """How a picture becomes the square that the detector sees."""
        self._session = session
        self._threshold = threshold
        self._overlap = overlap

    def __repr__(self) -> str:
        return f"Detector({self.name!r}, side={self.transform.size})"

    def detect(self, image: ImageSource) -> tuple[Detection, ...]:
        """Returns the objects in a picture, highest score first. Raises ImageError."""
        picture = open_image(image)
        pixels = np.asarray(square(picture, self.transform))
        return self.detect_in_square(pixels, *picture.size)

    def detect_in_square(
        self, pixels: UInt8[np.ndarray, "side side 3"], width: int, height: int
    ) -> tuple[Detection, ...]:
        """Like `detect`, for a picture of this width and height after `transform`."""
        blue_first = pixels[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        inputs = {self._session.get_inputs()[0].name: np.ascontiguousarray(blue_first)}
        (output,) = self._session.run(None, inputs)
        boxes, scores = decode_output(output[0], len(pixels))
        rows, classes = suppress(boxes, scores, self._threshold, self._overlap)
        scale = max(width, height) / len(pixels)
        limits = np.array([width, height, width, height], np.float32)
        detections = []
        for row, label in zip(rows.tolist(), classes.tolist(), strict=True):
            left, top, right, bottom = np.clip(boxes[row] * scale, 0, limits).tolist()
            if left < right and top < bottom:  # also false for NaN
                detections.append(
                    Detection(
                        label=LABELS[label],
                        box=(left, top, right, bottom),
                        score=min(float(scores[row, label]), 1.0),
                    )
                )
        return tuple(detections[:MOST_OBJECTS])


def load_detector(
    path: str | Path, *, threshold: float = THRESHOLD, overlap: float = OVERLAP
) -> Detector:
    """Load a detector from a YOLOX file in ONNX, exported as upstream does, without decoding.
    Objects below `threshold` are left out; where boxes of one class overlap by more than `overlap`
    (intersection over union), only the likeliest stays.

    Raises WeightsError for any other file, MissingExtraError without onnxruntime, ConfigError for
    numbers outside 0 to 1."""
    for name, value in (("threshold", threshold), ("overlap", overlap)):
        if not 0 < value < 1:
            raise ConfigError(
                Text(
                    f"{name}={value} lets nothing or everything through; expected a number between "
                    "0 and 1; leave it out for the usual one",
                    f"{name}={value} 会全部放行或全部滤掉；应在 0 与 1 之间；不写则用默认值",
                )
            )
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtraError("onnxruntime", "detect") from None
    data = read_onnx(path, OPERATORS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _processors()
    options.log_severity_level = 4  # errors are raised as well
    # Threads that wait for the next picture leave the processor to those that decode it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other class
        reason = str(error).splitlines()[0][:200]
        raise WeightsError(
            Text(
                f"{path} cannot be run ({reason}); expected a sound ONNX file; export or download "
                "it again",
                f"{path} 无法运行（{reason}）；应为完好的 ONNX 文件；请重新导出或下载",
            )
        ) from None
    return Detector(
        session,
        name=f"yolox {hashlib.sha256(data).hexdigest()[:12]}",
        side=_side(session, path),
        threshold=threshold,
        overlap=overlap,
    )


def _side(session: Any, path: str | Path) -> int:
    """Returns the side of the square that the file takes. Raises WeightsError if input and output
    are not those of YOLOX with COCO's classes."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    floats = all(one.type == "tensor(float)" for one in (*inputs, *outputs))
    if len(inputs) == len(outputs) == 1 and floats and len(inputs[0].shape) == 4:
        side = inputs[0].shape[3]
        if isinstance(side, int) and 0 < side <= MOST_SIDE and side % STRIDES[-1] == 0:
            cells = sum((side // stride) ** 2 for stride in STRIDES)
            if _fits(inputs[0].shape, (3, side, side)) and _fits(
                outputs[0].shape, (cells, 5 + len(LABELS))
            ):
                return side
    shapes = " -> ".join(str([one.shape for one in some]) for some in (inputs, outputs))
    raise WeightsError(
        Text(
            f"{path} has the shapes {shapes}; expected those of YOLOX with COCO's "
            f"{len(LABELS)} classes, such as [1, 3, 416, 416] -> [1, 3549, 85]; name such a file",
            f"{path} 的形状是 {shapes}；应为 YOLOX（COCO 的 {len(LABELS)} 类），"
            "例如 [1, 3, 416, 416] -> [1, 3549, 85]；请换成这样的文件",
        )
    )


def _fits(shape: list[Any], expected: tuple[int, ...]) -> bool:
    """Whether a shape fits, with a batch dimension of one or of any size."""
    return shape[1:] == [*expected] and (shape[0] == 1 or not isinstance(shape[0], int))


def decode_output(
    output: Float32[np.ndarray, "boxes columns"], side: int
) -> tuple[Boxes, Float32[np.ndarray, "boxes classes"]]:
    """Returns boxes in pixels of the square, and the score of each class. A row of the output
    describes a cell: the centre in cells from the cell's corner, logarithms of width and height in
    cells, the probability of an object, and the probability of each class given an object."""
    corners, strides = _cells(side)
    centres = (output[:, :2] + corners) * strides
    halves = np.exp(np.minimum(output[:, 2:4], _LARGEST)) * strides / 2
    scores = output[:, 4:5] * output[:, 5:]
    return np.concatenate([centres - halves, centres + halves], axis=1), scores


@lru_cache(maxsize=4)
def _cells(side: int) -> tuple[Float32[np.ndarray, "boxes 2"], Float32[np.ndarray, "boxes 1"]]:
    """The corner of each cell, in cells, and its size, row by row and grid by grid."""
    corners, strides = [], []
    for stride in STRIDES:
        count = side // stride
        rows, columns = np.divmod(np.arange(count**2), count)
        corners.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((count**2, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppress(
    boxes: Boxes,
    scores: Float32[np.ndarray, "boxes classes"],
    threshold: float,
    overlap: float,
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """Non-maximum suppression within each class: returns the rows and classes that stay, highest
    score first. Upstream's demo compares boxes of all classes, where a rider can hide the horse."""
    if np.count_nonzero(scores > threshold) > _MOST_CANDIDATES:
        threshold = float(np.partition(scores, -_MOST_CANDIDATES, axis=None)[-_MOST_CANDIDATES])
    kept: list[tuple[int, int]] = []
    for label in np.flatnonzero((scores > threshold).any(axis=0)).tolist():
        of_class = scores[:, label]
        rows = np.flatnonzero(of_class > threshold)
        rows = rows[np.argsort(-of_class[rows], kind="stable")]
        while len(rows):
            best, rest = rows[0], rows[1:]
            kept.append((int(best), label))
            rows = rest[_overlaps(boxes[best], boxes[rest]) <= overlap]
    kept.sort(key=lambda one: -float(scores[one]))
    pairs = np.array(kept, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _overlaps(box: Float32[np.ndarray, "4"], others: Boxes) -> Float32[np.ndarray, " boxes"]:
    """Intersection over union of one box with each of the others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    return shared / np.maximum(union, np.float32(1e-9))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

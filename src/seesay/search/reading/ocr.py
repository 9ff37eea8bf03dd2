"""Text in pictures and on scanned pages, read by RapidOCR: PP-OCR models for Chinese and English,
which come with its package. Nothing is downloaded.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from seesay.errors import MissingExtraError
from seesay.search.reading.layout import Line, PageText, Style, blocks_of

if TYPE_CHECKING:
    from PIL import Image

OCR_KEY = "ocr"
"""Metadata key of pictures and passages whose text was read from pixels; its value is ENGINE."""
ENGINE = "PP-OCRv6"
SIDE = 1754
"""Longest side in pixels of a page that is read: A4 at 150 dots per inch."""
PATIENCE = 10.0
"""How many times as long as decoding a picture reading its text may take."""
_MODELS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}


def read_lines(image: "Image.Image", width: float, height: float) -> list[Line]:
    """Returns the lines of text in an RGB picture of a page, or of a part of one, of this width and
    height in points. Raises MissingExtraError without RapidOCR."""
    import numpy as np

    read = _reader()(np.asarray(image)[:, :, ::-1])  # it takes blue first, as OpenCV does
    if read.boxes is None or read.txts is None:
        return []
    across, down = width / image.width, height / image.height
    heights = [down * float(np.ptp(corners[:, 1])) for corners in read.boxes]
    usual = median(heights)
    lines = []
    for corners, text, tall in zip(read.boxes, read.txts, heights, strict=True):
        xs, ys = corners[:, 0] * across, corners[:, 1] * down
        box = float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())
        # Boxes are about a third higher than the font, and differ by the letters in them.
        size = 0.75 * (usual if 0.8 * usual < tall < 1.25 * usual else tall)
        lines.append(Line(text=text, box=box, size=size))
    return lines


def read_picture_text(image: "Image.Image") -> str:
    """Returns the text in a picture, a block on each line; empty without text. Raises
    MissingExtraError without RapidOCR."""
    width, height = map(float, image.size)
    lines = read_lines(image, width, height)
    page = PageText(number=1, width=width, height=height, lines=lines)
    return "\n".join(block.text for block in blocks_of(page, Style(body=0.0)))


def require_ocr() -> None:
    """Raises MissingExtraError without RapidOCR."""
    for package in ("rapidocr", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "documents")


@cache
def _reader() -> Any:
    """Loads the models, which takes a second, once in a process."""
    require_ocr()
    import cv2
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    if absent := next((name for name in _MODELS.values() if not (models / name).is_file()), None):
        raise MissingExtraError(f"rapidocr with {absent}", "documents")
    cv2.setNumThreads(1)
    threads = "EngineConfig.onnxruntime"
    return rapidocr.RapidOCR(
        params={
            **{f"{part}.model_path": str(models / name) for part, name in _MODELS.items()},
            f"{threads}.intra_op_num_threads": 1,
            f"{threads}.inter_op_num_threads": 1,
            "Global.log_level": "critical",
        }
    )

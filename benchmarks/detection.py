"""How well a YOLOX file tells which objects photographs show, and how fast.

    python benchmarks/detection.py --model yolox_nano.onnx [--threshold 0.3]

A photograph counts once for each class: precision is the share of the classes found in photographs
that people marked there too, recall the share of those marked that are found. Boxes are not
compared. The photographs are those of coco-tiny, of which COCO's training may have seen some.
"""

import argparse
import json
import time
from pathlib import Path

from seesay.inference.detector import THRESHOLD, load_detector

DATA = Path(__file__).parents[2] / "shared" / "data" / "coco-tiny"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="a YOLOX file in ONNX")
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    parser.add_argument("--data", type=Path, default=DATA)
    chosen = parser.parse_args()
    detector = load_detector(chosen.model, threshold=chosen.threshold)
    lines = (chosen.data / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    right = found = marked = 0
    began = time.perf_counter()
    for row in rows:
        detections = detector.detect(chosen.data / "images" / row["file_name"])
        seen = {one.label.en for one in detections}
        there = {one["category"] for one in row["objects"]}
        right, found, marked = right + len(seen & there), found + len(seen), marked + len(there)
    seconds = time.perf_counter() - began
    print(f"{detector.name}, threshold {chosen.threshold}, {len(rows)} photographs")
    print(f"presence: precision {right / max(found, 1):.2f}, recall {right / max(marked, 1):.2f}")
    print(f"{len(rows) / seconds:.1f} photographs a second, decoding included")


if __name__ == "__main__":
    main()

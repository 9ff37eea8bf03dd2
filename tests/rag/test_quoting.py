"""Which sentences are quoted, judged without a collection."""

import pytest

from seesay.rag.evidence import Evidence, Rarity
from seesay.rag.questions import Question
from seesay.rag.quoting import quote
from seesay.search.catalog.drafts import Place

MILL = (
    "Harwick Mill\n\nIt opened in 1931 and employs 42 people. At the mill visitors pay 5 euros for "
    "a ticket. Its front door is green. You find Harwick Mill on Lantern Street."
)
CHANG = (
    "临江纺织厂\n\n它于1987年开放，有36名员工。参观者在这里买一张门票要5元。大门漆成绿色。"
    "临江纺织厂就在灯笼街。"
)
OTHER = "A young boy wearing a red shirt stands in the street with his arms open wide."


def quoted(question: str) -> list[str]:
    evidence = [
        Evidence(id=n, unit=n, path=f"/{n}.txt", kind="text", locator=Place(), text=text,
                 confidence=50.0)
        for n, text in enumerate((MILL, CHANG, OTHER), 1)
    ]  # fmt: skip
    return [one.text for one in quote(Question.of(question), evidence, Rarity())]


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("What is the price of a ticket at Harwick Mill?", "5 euros"),
        ("Which colour is the front door of Harwick Mill?", "green"),
        ("On which street does Harwick Mill stand?", "Lantern Street"),
        ("When did Harwick Mill open?", "1931"),
        ("临江纺织厂的门票价格是多少？", "5元"),
        ("临江纺织厂的大门是什么颜色？", "绿色"),
        ("临江纺织厂在哪里？", "灯笼街"),
        ("临江纺织厂是哪一年开放的？", "1987年"),
    ],
)
def test_a_sentence_of_the_type_that_is_asked_for_is_quoted(question, part):
    assert part in quoted(question)[0]


@pytest.mark.parametrize(
    "question",
    [
        "How much did Harwick Mill cost?",
        "On which street does Oldbury Mill stand?",
        "Which colour is the roof of Harwick Mill?",
        "How high is the tower of Harwick Mill?",
        "Who is the owner of the mill?",
        "建造临江纺织厂花了多少钱？",
        "临江纺织厂的屋顶是什么颜色？",
        "临江纺织厂的塔楼有多高？",
    ],
)
def test_a_sentence_of_another_type_or_thing_is_not_quoted(question):
    assert quoted(question) == []


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("永石图书馆的建造费用是多少？", "永石图书馆的门票为35元。"),
        ("松江纺织厂一张门票要多少元？", "建造松江纺织厂花费了11万元。"),
        ("谁设计了金岭博物馆？", "金岭博物馆的钢琴是孙立人捐赠的。"),
        ("How long is a tour of Oldbury Mill?", "After two years Oldbury Mill opened."),
    ],
)
def test_a_sentence_that_says_something_else_of_the_thing_is_not_quoted(question, sentence):
    one = Evidence(
        id=1, unit=1, path="/1.txt", kind="text", locator=Place(), text=sentence, confidence=50.0
    )
    names = ["永石", "图书馆", "松江", "纺织厂", "金岭", "博物馆", "oldbury", "mill"]
    rare = Rarity(dict.fromkeys(names, 4.0))  # the names are rarer than the words for facts
    assert quote(Question.of(question), [one], rare) == []


@pytest.mark.parametrize(
    "question", ["Why is the front door of Harwick Mill green?", "临江纺织厂的大门为什么是绿色？"]
)
def test_a_sentence_that_says_the_same_is_no_reason(question):
    assert quoted(question) == []

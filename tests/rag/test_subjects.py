import pytest

from seesay.rag.questions import Question
from seesay.rag.subjects import is_of_another, subjects

OTHERS = [
    ("When did Kingfield Hospital open?", "Kingfield Mill opened in 1931.", True),
    ("When did Kingfield Hospital open?", "Kingfield Hospital opened in 1931.", False),
    ("What did Kingfield Hospital cost?", "Building Kingfield Hospital cost 2 euros.", False),
    ("When did Kingfield Hospital open?", "Marford Mill opened in 1931.", True),
    ("When did Kingfield Hospital open?", "It opened in 1931, after Marford Mill.", False),
    ("When did Kingfield Hospital open?", "Opened in 1931.", False),
    ("Who built Kingfield Hospital?", "Marford Company built the hospital.", False),
    ("When did the hospital open?", "Kingfield Mill opened in 1931.", False),
    ("新口医院是哪一年开放的？", "新口纺织厂于1931年开放。", True),
    ("新口医院是哪一年开放的？", "新口医院于1931年开放。", False),
    ("新口医院是哪一年开放的？", "1828年，青林博物馆对外开放。", True),
    ("新口医院是哪一年开放的？", "这家医院于1931年开放。", False),
    ("新口医院在哪里？", "位于青林公园旁。", False),
]


@pytest.mark.parametrize("question, sentence, other", OTHERS)
def test_a_sentence_about_another_thing_is_told(question, sentence, other):
    assert is_of_another(Question.of(question), sentence) is other


def test_names_of_things_are_read_and_those_of_people_are_not():
    assert {one.kind for one in subjects("Ada Lovelace left Harwick Library.")} == {"library"}
    assert subjects("这家医院和那座图书馆") == frozenset()
    assert {(one.own, one.kind) for one in subjects("在青山博物馆")} == {("青山", "博物馆")}

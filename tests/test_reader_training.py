"""What the built-in reader is trained on: tools/seesay_reader.py."""

import json
import random

import pytest

from seesay.weights.catalog import find
from seesay_reader import Encoder, Example, batches, cut, from_squad, place

TEXT = "The hall is old. It opened in 1931, after two years. Anyone may come in."


@pytest.fixture(scope="module")
def encoder():
    return Encoder(find("seesay-text").built_in)


def test_questions_keep_their_answers_when_the_passage_is_cut(tmp_path):
    where = TEXT.index("1931")
    paragraph = {
        "context": TEXT * 20,
        "qas": [
            {"question": "When did it open?", "answers": [{"text": "1931", "answer_start": where}]},
            {
                "question": "Who built it?",
                "is_impossible": True,
                "answers": [],
                "plausible_answers": [{"text": "old", "answer_start": 12}],
            },
        ],
    }
    file = tmp_path / "some.json"
    article = {"title": "The_hall", "paragraphs": [paragraph]}
    file.write_text(json.dumps({"data": [article]}), encoding="utf-8")
    asked, *others = from_squad(file, random.Random(0))
    start, end = asked.answer
    assert asked.passage[start:end] == "1931"
    assert len(asked.passage) < 800
    assert all(one.answer is None for one in others)
    assert others[-1].question == "Who built it?"


def test_a_passage_is_cut_between_sentences():
    first, last = cut(TEXT, 30, 34, 20, random.Random(0))
    assert TEXT[first:last].strip() == "It opened in 1931, after two years."
    assert cut(TEXT, 30, 34, 500, random.Random(0)) == (0, len(TEXT))


def test_expected_words_are_found_in_their_sentence_across_lines():
    text = "In 1931 it burnt.\nIt opened again\nin 1931."
    start, end = place(text, "It opened again in 1931.", ["1931"])
    assert (text[start:end], start) == ("1931", text.rindex("1931"))
    assert place(text, "It never opened.", ["1931"]) is None


def test_the_tokens_of_the_answer_are_marked(encoder):
    where = TEXT.index("1931"), TEXT.index("1931") + 4
    one = encoder(Example(question="When?", title="Hall", passage=TEXT, answer=where))
    marked = encoder._tokenizer.decode(one.ids[one.start : one.end + 1])
    assert marked.strip("▁ ,") == "1931"
    none = encoder(Example(question="Who?", title="Hall", passage=TEXT))
    assert (none.start, none.end) == (0, 0)
    far = Example(
        question="When?", title="", passage="No news. " * 400 + "In 1931.", answer=(3603, 3607)
    )
    assert encoder(far) is None


def test_batches_hold_every_row_once_and_stay_within_their_size(encoder):
    rows = [
        encoder(Example(question="When?", title="", passage="It opened. " * n))
        for n in range(1, 90)
    ]
    some = batches(rows, random.Random(0))
    assert sorted(id(one) for batch in some for one in batch) == sorted(map(id, rows))
    assert all(max(len(one.ids) for one in batch) * len(batch) <= 4096 for batch in some)

"""What the built-in reader is trained on: tools/seesay_reader.py."""

import json
import random
from dataclasses import replace

import pytest

from seesay.weights.catalog import find
from seesay_reader import Encoder, Example, batches, cut, example, from_squad, joined, place

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
    number, start, end = asked.answer
    assert asked.sentences[number][start:end] == "1931"
    assert sum(map(len, asked.sentences)) < 800
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
    (one,) = encoder(example("When?", "Hall", TEXT, where))
    marked = encoder._tokenizer.decode(one.ids[one.start : one.end + 1])
    assert marked.strip("▁ ,") == "1931"
    (none,) = encoder(example("Who?", "Hall", TEXT))
    assert (none.start, none.end) == (0, 0)


def test_only_the_row_with_the_answer_of_a_long_passage_is_learnt(encoder):
    long = "No news. " * 400
    (one,) = encoder(
        example("When?", "", f"{long}It was in 1931.", (len(long) + 10, len(long) + 14))
    )
    assert encoder._tokenizer.decode(one.ids[one.start : one.end + 1]).strip("▁ .") == "1931"
    (none,) = encoder(example("Who?", "", long))
    assert len(none.ids) <= 448
    endless = Example(question="When?", title="", sentences=("so " * 999 + "1931",))
    assert [*encoder(replace(endless, answer=(0, 2997, 3001)))] == []


def test_the_cell_of_a_row_is_the_answer_of_a_table():
    text = "prices\nItem | Price\nLoppers | 39.90\nSecateurs | 19.90"
    where = place(text, "Secateurs | 19.90", ["19.90"])
    one = example("How much are the secateurs?", "prices", text, where, is_table=True)
    assert one.sentences == ("Item: Loppers; Price: 39.90", "Item: Secateurs; Price: 19.90")
    number, start, end = one.answer
    assert (number, one.sentences[1][start:end]) == (1, "19.90")


def test_an_answer_stays_where_it_is_when_texts_are_joined():
    one = Example(question="When?", title="a", sentences=("Old.", "In 1931."), answer=(1, 3, 7))
    other = Example(question="Who?", title="b", sentences=("News.", "More."))
    rng = random.Random(0)
    for page in (joined(one, other, rng) for _ in range(8)):
        number, start, end = page.answer
        assert page.sentences[number][start:end] == "1931"
        assert sorted(page.sentences) == sorted((*one.sentences, *other.sentences))


def test_batches_hold_every_row_once_and_stay_within_their_size(encoder):
    rows = [
        row
        for n in range(1, 90)
        for row in encoder(Example(question="When?", title="", sentences=("It opened.",) * n))
    ]
    some = batches(rows, random.Random(0))
    assert sorted(id(one) for batch in some for one in batch) == sorted(map(id, rows))
    assert all(max(len(one.ids) for one in batch) * len(batch) <= 4096 for batch in some)

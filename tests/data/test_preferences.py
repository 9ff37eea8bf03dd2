"""Pairs of answers made by rules: what is rejected is never in the picture, and nothing tells yes
from no but the picture."""

import json
import re
from collections import Counter

import pytest

from seesay.data.questions.facts import FactReader
from seesay.data.questions.lexicon import read_lexicon
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.questions.preferences import Preferences
from seesay.data.sources import RecordsConfig, open_records

OBJECTS = [
    ["dog", "person", "car"],
    ["dog", "person", "bench"],
    ["dog", "person", "car"],
    ["cat", "couch", "tv"],
    ["person"],
]


@pytest.fixture(scope="module")
def lexicon():
    return read_lexicon()


def pairs_of(lexicon, facts, **settings):
    made = Preferences(lexicon, lexicon.things, facts, **{"objects": 3, "seed": 0} | settings)
    return {one.key: list(made.questions(one, ("en", "zh"))) for one in facts}


def listed(answer):
    """The names in an English answer that lists what is there, without articles."""
    [inside] = re.fullmatch(r"The picture shows (.+)\.", answer).groups()
    return [re.sub(r"^an? ", "", one) for one in re.split(r", | and ", inside)]


def test_each_pair_differs_in_an_object_that_is_often_with_the_others(lexicon):
    reader = FactReader(lexicon, lexicon.things)
    facts = [reader.read(f"{n}", {}, OBJECTS[n % len(OBJECTS)]) for n in range(50)]
    made = pairs_of(lexicon, facts)
    english = [one for key in made for one in made[key] if one.language == "en"]
    presence = [one for one in english if one.kind == "presence"]
    assert {(one.answer, one.rejected) for one in presence} == {("yes", "no"), ("no", "yes")}
    # Dogs and people are most often with the car that this picture lacks.
    benches = [one for key in made if int(key) % 5 == 1 for one in made[key]]
    assert any("a car" in one.question for one in benches if one.answer == "no")
    lists = [one for one in benches if one.language == "en" and one.kind != "presence"]
    assert Counter(one.kind for one in lists) == {"swapped": 10, "inserted": 10}
    for one in lists:
        true, false = listed(one.answer), listed(one.rejected)
        assert set(true) == {"dog", "person", "bench"}
        [wrong] = set(false) - set(true)
        assert wrong not in OBJECTS[1]
        assert len(false) == len(true) + (one.kind == "inserted")
    chinese = [one for one in benches if one.language == "zh"]
    assert {one.answer for one in chinese if one.kind == "presence"} == {"有", "没有"}
    chosen = next(one.answer for one in chinese if one.kind != "presence")
    assert chosen.startswith("图里有") and "和" in chosen
    assert made["4"]  # one object is enough here


def test_no_object_is_there_more_often_than_not(lexicon):
    """Else a word would tell its answer without the picture."""
    reader = FactReader(lexicon, lexicon.things)
    facts = [reader.read(f"{n}", {}, OBJECTS[n % len(OBJECTS)]) for n in range(50)]
    answers = {}
    for questions in pairs_of(lexicon, facts).values():
        for one in questions:
            if one.kind == "presence" and one.language == "en":
                name = next(n for n in (*OBJECTS[1], "car", "cat", "couch", "tv")
                            if re.search(rf"\b{n}\b", one.question.lower()))  # fmt: skip
                answers.setdefault(name, Counter())[one.answer] += 1
    assert len(answers) > 3 and sum(count.total() for count in answers.values()) > 60
    assert all(count["yes"] == count["no"] for count in answers.values())


def test_what_may_be_there_is_never_said_to_be_absent(lexicon):
    """A crowd may have men in it, and a puppy is a dog and an animal."""
    reader = FactReader(lexicon, lexicon.things)
    crowd = {"en": ("A crowd of people with a puppy .", "People and a dog ."), "zh": ()}
    others = [
        reader.read(f"{n}", {"en": ("A man and a dog .", "A man with a dog .")}) for n in range(5)
    ]
    cars = [reader.read("car", {"en": ("A car .", "A red car .")})]
    made = pairs_of(lexicon, [reader.read("crowd", crowd), *others, *cars])["crowd"]
    assert made
    said = " ".join(f"{one.question} {one.rejected}" for one in made if one.language == "en")
    assert "car" in said and not re.search(r"\b(man|woman|animal)\b", said)


@pytest.mark.shared
def test_real_annotations_give_balanced_pairs_about_what_is_there(lexicon, shared, tmp_path):
    records = RecordsConfig(
        path=str(shared / "coco-tiny" / "annotations.jsonl"),
        format="table",
        columns={"image": "file_name"},
    )
    out = tmp_path / "pairs.jsonl"
    report = make_questions(records, QuestionsConfig(kind="preferences"), out)
    assert report.asked > 90
    presence = [one for one in report.counts if one.kind == "presence"]
    assert {one.language for one in presence} == {"en", "zh"}
    assert all(one.yes == 0.5 for one in presence)
    labels = {}
    for record in map(open_records(records).__getitem__, range(100)):
        things = [(lexicon.thing_of_label(one), one) for one in record.objects]
        labels[record.key] = {one if thing is None else thing.name for thing, one in things}
    seen = 0
    for line in out.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for one in row["qa"]:
            if one["language"] == "en" and one["kind"] != "presence":
                true, false = set(listed(one["answer"])), set(listed(one["rejected"]))
                if not labels[row["key"]]:  # its captions say what is there
                    continue
                assert true <= labels[row["key"]]
                [wrong] = false - true
                assert wrong not in labels[row["key"]]
                seen += 1
    assert seen > 180
    # A source reads them as they are trained with.
    source = open_records(RecordsConfig(**vars(records) | {"added": str(out)}))
    questions = [one for texts in source[0].questions.values() for one in texts]
    assert questions and all(one.rejected for one in questions)

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
    facts = [reader.read(f"{n}", {}, names) for n, names in enumerate(OBJECTS)]
    made = pairs_of(lexicon, facts)
    english = [one for one in made["1"] if one.language == "en"]
    assert Counter(one.kind for one in english) == {"presence": 6, "swapped": 1, "inserted": 1}
    assert {(one.answer, one.rejected) for one in english[:6]} == {("yes", "no"), ("no", "yes")}
    # Dogs and people are most often with the car that this picture lacks.
    assert any("a car" in one.question for one in english if one.answer == "no")
    for one in english[6:]:
        true, false = listed(one.answer), listed(one.rejected)
        assert set(true) == {"dog", "person", "bench"}
        [wrong] = set(false) - set(true)
        assert wrong not in OBJECTS[1]
        assert len(false) == len(true) + (one.kind == "inserted")
    chinese = [one for one in made["1"] if one.language == "zh"]
    assert {(one.answer, one.rejected) for one in chinese[:6]} == {("有", "没有"), ("没有", "有")}
    assert chinese[6].answer.startswith("图里有") and "和" in chinese[6].answer
    assert len(made["4"]) == 2 * (2 + 2)  # one object is enough here


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

"""Questions made by rules: what captions say, what they leave open, and what is asked."""

import json
from collections import Counter, defaultdict

import pytest

from seesay.data.added import AddedSource
from seesay.data.questions.asking import Asking, AskingConfig
from seesay.data.questions.facts import FactReader
from seesay.data.questions.lexicon import plural_of, read_lexicon
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.questions.pope import Pope
from seesay.data.sources import RecordsConfig, open_records
from seesay.errors import ConfigError, DataError, ImageError
from seesay.text import Text


@pytest.fixture(scope="module")
def lexicon():
    return read_lexicon()


@pytest.fixture(scope="module")
def reader(lexicon):
    return FactReader(lexicon, lexicon.things)


def answers(facts):
    return {(one.kind, one.thing): (one.answer.en, one.answer.zh) for one in facts.answers}


DOGS = {
    "en": (
        "Two black dogs are running on the beach .",
        "Two black dogs run along the beach .",
        "A dog chases another dog .",
    ),
    "zh": ("沙滩上两只狗在奔跑。", "两只黑狗。"),
}
SHIRT = {
    "en": (
        "A young man in a red striped shirt sits on a bench .",
        "A man wearing a red shirt is sitting on a bench .",
        "A man on a bench in the park",
    ),
    "zh": ("一个穿红色衬衫的男人坐在公园的长椅上。", "男子坐在公园里。"),
}


def test_captions_that_agree_answer(reader):
    said = answers(reader.read("a", SHIRT))
    assert said["colour", "shirt"] == ("red", "红色")
    assert said["count", "man"] == ("one", "一个")
    assert said["what", "man"] == ("a man", "男人")
    assert said["doing", "man"] == ("sitting", "坐着")
    assert said["subject_where", "man"] == ("in a park", "在公园里")


def test_counts_take_the_measure_word_and_several_dogs_have_no_one_colour(reader):
    facts = reader.read("a", {**DOGS, "en": DOGS["en"][:2]})
    said = answers(facts)
    assert said["count", "dog"] == ("two", "两只")
    assert said["subject_where", "dog"] == ("on the beach", "在海滩上")
    assert said["doing", "dog"] == ("running", "在跑")
    assert ("colour", "dog") not in said
    assert said["what", "dog"] == ("dogs", "狗")
    asked_of_several = [one for one in facts.answers if one.kind in ("doing", "subject_where")]
    assert all(one.plural for one in asked_of_several)


@pytest.mark.parametrize(
    "captions",
    [
        ["A red ball .", "A blue ball ."],  # they disagree
        ["A red ball .", "A ball .", "A ball ."],  # one says it
        ["A red ball and a red ball .", "A red ball ."],  # there are two
        ["A man in red with a ball .", "A man in red has a ball ."],  # it is not the ball
        ["Red, white and blue ball .", "A red, white and blue ball ."],  # too many
    ],
)
def test_no_colour_is_asked_where_captions_do_not_agree(reader, captions):
    assert ("colour", "ball") not in answers(reader.read("a", {"en": captions}))


def test_two_colours_are_told_in_one_order(reader):
    both = ["A white and black dog .", "A black and white dog ."], ["黑白相间的狗。", "黑白狗。"]
    for language, captions in zip(("en", "zh"), both, strict=True):
        said = answers(reader.read("a", {language: captions}))
        assert said["colour", "dog"] == ("black and white", "黑色和白色")


@pytest.mark.parametrize(
    "captions, number",
    [
        (["Two dogs .", "Three dogs ."], None),
        (["A dog .", "A dog .", "A dog ."], "one"),
        (["A dog .", "A dog .", "A dog next to a larger dog ."], None),
        (["A dog .", "A dog .", "A dog .", "Dogs ."], None),
        (["Five dogs .", "5 small dogs ."], "five"),
        (["A pack of dogs .", "Two dogs .", "Two dogs ."], None),
    ],
)
def test_things_are_counted_only_where_captions_agree(reader, captions, number):
    said = answers(reader.read("a", {"en": captions})).get(("count", "dog"))
    assert said == (number and (number, {"one": "一只", "five": "五只"}[number]))


@pytest.mark.parametrize(
    "captions, absent, open_",
    [
        ({"en": ["A man walks ."]}, ["dog", "woman"], ["man", "person", "boy"]),
        ({"en": ["A person walks ."]}, ["dog"], ["man", "woman"]),
        ({"zh": ["一群人在街上。"]}, ["dog"], ["man", "woman", "car", "street"]),
        ({"en": ["A hot dog on a plate ."]}, ["cat"], ["food", "hot dog", "table", "dog"]),
        ({"zh": ["盘子里有热狗。"]}, ["dog"], ["hot dog", "food"]),
        ({"en": ["A caterpillar on a cart ."]}, ["cat", "dog"], []),
        ({"zh": ["马路上的斑马。"]}, ["horse", "dog"], ["zebra", "street"]),
        ({"en": ["A surfer rides a wave ."]}, ["dog", "street"], ["water", "ocean", "beach"]),
    ],
)
def test_a_thing_is_absent_only_where_no_word_leaves_it_open(reader, captions, absent, open_):
    facts = reader.read("a", captions)
    assert facts.open.isdisjoint(absent)
    assert facts.open.issuperset(open_)


def test_a_thing_is_there_if_two_captions_or_the_only_one_mention_it(reader):
    assert "dog" in reader.read("a", {"en": ["A puppy ."]}).present
    assert "dog" not in reader.read("a", {"en": ["A puppy .", "A field ."]}).present
    assert "dog" in reader.read("a", {"en": ["A puppy ."], "zh": ["一只狗。", "草地。"]}).present
    # A boy is a child and a person; captions may say either.
    assert {"child", "person"} <= reader.read("a", {"en": ["A boy .", "A kid ."]}).present


def test_objects_are_there_and_leave_open_what_they_may_be(reader):
    facts = reader.read("a", {"en": ["A street ."]}, ["person", "person", "dog"])
    assert {"person", "dog"} <= facts.present and "man" in facts.open
    assert answers(facts)["count", "person"] == ("two", "两个")


def pictures(reader, count=24):
    """A third with a dog, a third with a cat, a third with a horse, by a man or on grass."""
    facts = []
    for number in range(count):
        animal = ("dog", "cat", "horse")[number % 3]
        where = ("beside a man", "on the grass")[number % 2]
        caption = f"A {animal} stands {where} ."
        facts.append(reader.read(f"photo-{number}", {"en": [caption, caption]}))
    return facts


def asked(lexicon, facts, **config):
    asking = Asking(lexicon, lexicon.things, facts, AskingConfig(**config))
    return {one.key: list(asking.questions(one, ("en", "zh"))) for one in facts}


def test_every_thing_is_asked_with_yes_and_no_equally_often(lexicon, reader):
    facts = pictures(reader)
    asking = Asking(lexicon, lexicon.things, facts, AskingConfig())
    yes, no = (
        Counter(name for names in one.values() for name in names) for one in (asking.yes, asking.no)
    )
    assert yes == no and {"dog", "cat", "horse", "man", "grass"} <= set(yes)
    for one in facts:
        assert set(asking.yes.get(one.key, ())) <= one.present
        assert one.open.isdisjoint(asking.no.get(one.key, ()))
    answers_by_language = defaultdict(Counter)
    for questions in asked(lexicon, facts).values():
        for one in questions:
            if one.kind == "presence":
                answers_by_language[one.language][one.answer] += 1
    assert answers_by_language["en"]["yes"] == answers_by_language["en"]["no"] == sum(yes.values())
    assert answers_by_language["zh"]["有"] == answers_by_language["zh"]["没有"] == sum(yes.values())


def test_the_order_of_records_changes_nothing_and_the_seed_does(lexicon, reader):
    facts = pictures(reader)
    assert asked(lexicon, facts) == asked(lexicon, facts[::-1])
    assert asked(lexicon, facts) != asked(lexicon, facts, seed=1)


def test_no_picture_gets_more_questions_than_wanted(lexicon, reader):
    for most in (2, 4):
        for questions in asked(lexicon, pictures(reader), most=most).values():
            assert max(Counter(one.language for one in questions).values()) <= most
    with pytest.raises(ConfigError, match="most=1"):
        AskingConfig(most=1)


def test_questions_are_grammatical(lexicon, reader):
    facts = [
        reader.read("a", {"en": ["A man in blue shorts .", "A man in blue shorts ."]}),
        reader.read(
            "b", {"en": ["Two boys sit on the grass .", "Two boys are sitting on grass ."]}
        ),
    ]
    texts = {(q.question, q.answer) for one in asked(lexicon, facts).values() for q in one}
    by_answer = {answer: question for question, answer in texts}
    assert "are the shorts?" in by_answer["blue"] and "短裤" in by_answer["蓝色"]
    assert "are the boys doing" in by_answer["sitting"]
    assert by_answer["on the grass"] == "Where are the boys?"
    assert "几个男孩" in by_answer["两个"] and "How many boys" in by_answer["two"]
    assert all("{" not in question for question, _ in texts)


def test_plurals():
    assert [plural_of(one) for one in ("dog", "bus", "baby", "boy", "bench")] == [
        "dogs",
        "buses",
        "babies",
        "boys",
        "benches",
    ]


OBJECTS = [
    ["dog", "person", "car"],
    ["dog", "person", "bench"],
    ["dog", "person", "car"],
    ["cat", "couch", "tv"],
    ["person"],
]


@pytest.mark.parametrize(
    "strategy, first, absent",
    [
        # Of those not in the cat's picture, person is in most.
        ("popular", 3, ["person", "dog", "car"]),
        # What is most often together with each of what is there.
        ("adversarial", 1, ["car", "car", "car"]),
    ],
)
def test_pope_draws_absent_objects_by_strategy(lexicon, reader, strategy, first, absent):
    facts = [reader.read(f"{n}", {}, names) for n, names in enumerate(OBJECTS)]
    pope = Pope(lexicon.things, facts, strategy=strategy, objects=3, seed=0)
    questions = list(pope.questions(lexicon, facts[first], ("en", "zh")))
    assert [one.answer for one in questions] == ["yes", "no"] * 3 + ["有", "没有"] * 3
    no = [one.question for one in questions[:6] if one.answer == "no"]
    if strategy == "popular":
        assert no == [f"Is there a {name} in the image?" for name in absent]
    else:
        assert "Is there a car in the image?" in no
    assert not list(pope.questions(lexicon, facts[4], ("en",)))  # one kind of object is too few


def test_pope_at_random_draws_every_absent_object(lexicon, reader):
    facts = [reader.read(f"{n}", {}, OBJECTS[n] if n < 3 else OBJECTS[3]) for n in range(43)]
    pope = Pope(lexicon.things, facts, strategy="random", objects=3, seed=0)
    no = Counter(
        one.question
        for fact in facts[3:]
        for one in pope.questions(lexicon, fact, ("en",))
        if one.answer == "no"
    )
    # Each cat's picture is asked about three of the four things of the other pictures.
    assert len(no) == 4 and all(20 < count < 40 for count in no.values())


@pytest.fixture
def table(tmp_path):
    rows = [
        {"image": f"{n}.png", "en": [f"A {animal} .", f"A {animal} ."]}
        for n, animal in enumerate(["dog", "cat", "horse", "dog", "cat", "horse"])
    ]
    file = tmp_path / "captions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return RecordsConfig(path=str(file), format="table")


def test_a_source_reads_the_questions_beside_it(table, tmp_path):
    report = make_questions(table, QuestionsConfig(), out := tmp_path / "vqa.jsonl", sample=3)
    assert report.records == 6 and len(report.examples) == 3
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    source = open_records(RecordsConfig(path=table.path, format="table", added=str(out)))
    for index, line in enumerate(lines):
        record = source[index]
        assert record.key == line["key"] and record.captions
        assert [
            (one.question, one.answer)
            for language in ("en", "zh")
            for one in record.questions[language]
        ] == [(one["question"], one["answer"]) for one in line["qa"]]


def test_a_detector_answers_where_nobody_labelled(tmp_path):
    rows = [{"image": f"{n}.png"} for n in range(6)]
    rows.append({"image": "6.png", "objects": ["horse"]})
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = {
        "0.png": [("dog", 0.9), ("dog", 0.6), ("cat", 0.2)],
        "1.png": [("dog", 0.3), ("cat", 0.8)],
        **{f"{n}.png": [("car", 0.9), ("cat", 0.01)] for n in (2, 3, 4)},
        "5.png": [("bed", 0.04)],
    }
    looked = []

    def detect(record):
        looked.append(record.key)
        if record.key == "3.png":
            raise ImageError(Text("broken", "损坏"))
        return found[record.key]

    records = RecordsConfig(path=str(file), format="table")
    out = tmp_path / "vqa.jsonl"
    report = make_questions(records, QuestionsConfig(), out, detect=detect)
    assert looked == [f"{n}.png" for n in range(6)] and report.damaged == 1
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    questions = {line["key"]: line["qa"] for line in lines}
    of = {
        key: {
            (one["kind"], word): one["answer"]
            for one in asked
            for word in ("dog", "cat", "car")
            if f" {word} " in one["question"].replace("?", " ")
        }
        for key, asked in questions.items()
    }
    assert of["0.png"]["presence", "dog"] == "yes"
    # It may be there, or may not, and a detector does not count.
    assert ("presence", "cat") not in of["0.png"] and ("presence", "dog") not in of["1.png"]
    assert not any(one["kind"] == "count" for key in found for one in questions.get(key, ()))
    absent = [one for key in ("2.png", "4.png") for one in of[key].items() if one[1] == "no"]
    assert absent and all(word in ("dog", "cat") for (_, word), _ in absent)


def test_added_questions_come_after_those_of_the_record(tmp_path):
    file = tmp_path / "t.jsonl"
    rows = [{"image": f"{n}.png", "question": "Who?", "answer": "I"} for n in range(2)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    added = tmp_path / "added.jsonl"
    line = {"key": "1.png", "qa": [{"question": "What?", "answer": "it"}]}
    added.write_text(f"\n{json.dumps(line)}\n", encoding="utf-8")
    source = open_records(RecordsConfig(path=str(file), format="table", added=str(added)))
    assert [[q.question for q in source[n].questions["en"]] for n in (0, 1)] == [
        ["Who?"],
        ["Who?", "What?"],
    ]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "No such file"),
        ("{}", "line 1 has no `key`"),
        ('{"key": "0.png", "qa": []}\nnonsense', "line 2 has no `key`"),
        ('{"key": "0.png", "qa": "none"}', "line 1 has no `key`"),
        ('{"key": "elsewhere", "qa": []}', "nothing for '0.png', but for 'elsewhere'"),
    ],
)
def test_a_wrong_file_of_questions_is_refused(table, tmp_path, content, message):
    file = tmp_path / "added.jsonl"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        AddedSource(open_records(table), str(file))


def test_records_that_answer_nothing_are_refused(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"image": "0.png", "en": "Nothing known ."}', encoding="utf-8")
    records = RecordsConfig(path=str(file), format="table")
    for kind, message in (("rules", "that the lexicon knows"), ("pope", "at least 3 kinds")):
        with pytest.raises(DataError, match=message):
            make_questions(records, QuestionsConfig(kind=kind), tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    "content", ["", "[categories", "[categories.animal.things]\ndog = { legs = 4 }"]
)
def test_a_wrong_lexicon_is_refused(tmp_path, content):
    (file := tmp_path / "words.toml").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="is no lexicon"):
        read_lexicon(file)


def test_classes_are_asked_by_name_and_not_of_what_they_may_be(tmp_path):
    classes = tmp_path / "classes.json"
    names = [("cat", "猫"), ("Persian cat", "波斯猫"), ("ox", "牛")]
    classes.write_text(json.dumps([{"en": en, "zh": zh} for en, zh in names]), encoding="utf-8")
    rows = [{"image": f"{n}.png", "label": n % 3} for n in range(30)]
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    records = RecordsConfig(
        path=str(file), format="table", classes=str(classes), templates={"en": ("{}",)}
    )
    make_questions(records, QuestionsConfig(), out := tmp_path / "vqa.jsonl")
    lines = [json.loads(line)["qa"] for line in out.read_text(encoding="utf-8").splitlines()]
    seen = {(n % 3, q["answer"], "cat" in q["question"]) for n, qa in enumerate(lines) for q in qa}
    assert (2, "an ox", False) in seen and (2, "no", True) in seen
    assert (0, "no", True) not in seen and (1, "no", True) not in seen

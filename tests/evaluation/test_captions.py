"""Captions as a measure: what is asked, of which pictures, and against which references."""

import json
from dataclasses import dataclass, field

import pytest
from PIL import Image

from seesay.errors import ConfigError, DataError
from seesay.evaluation.captions import AT_ONCE, Captions
from seesay.inference.answer import CAPTION, Answer
from seesay.inference.decoding import DecodingConfig

WRITTEN = {"en": "a red square on the left", "zh": "左边的红色方块"}


@dataclass
class Parrot:
    """An assistant that writes the same caption of every picture."""

    decoding: DecodingConfig = field(default_factory=lambda: DecodingConfig(temperature=0.7))
    stop: tuple[str, ...] = ("\n",)
    asked: list = field(default_factory=list)
    used: list = field(default_factory=list)

    def configured(self, decoding, stop):
        self.used.append((decoding, stop))
        return self

    def caption_batch(self, pictures, request, *, max_tokens):
        return self.ask_batch([(one, ("own", request)) for one in pictures], max_tokens=max_tokens)

    def ask_batch(self, questions, *, max_tokens):
        self.asked.append(questions)
        texts = [WRITTEN["zh" if "图" in str(request) else "en"] for _, request in questions]
        return [Answer(text=text, model="parrot", finish_reason="stop") for text in texts]


@pytest.fixture
def table(tmp_path):
    """Writes captions of pictures as a table, and returns the settings that name it."""

    def write(*rows):
        for number in range(len(rows)):
            Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
        lines = [json.dumps({"image": f"{number}.png"} | row) for number, row in enumerate(rows)]
        (tmp_path / "captions.jsonl").write_text("\n".join(lines))
        return {"path": str(tmp_path / "captions.jsonl"), "format": "table"}

    return write


ROWS = [
    {"en": ["A red square on the left.", "something red"], "zh": ["左边的红色方块。"]},
    {"en": ["a blue square on the right"], "zh": ["右边的蓝色方块", "蓝色"]},
    {"en": ["a green square at the top"]},
]


def test_values_are_named_by_language_and_tokens(table):
    measure = Captions(**table(*ROWS))
    measure.check()
    found = dict(measure.measure(Parrot()))
    assert list(found) == measure.names()
    assert measure.names() == [
        *("en_bleu4", "en_rouge_l", "en_cider"),
        *("zh_bleu4_chars", "zh_rouge_l_chars", "zh_cider_chars"),
        *("zh_bleu4_words", "zh_rouge_l_words", "zh_cider_words"),
    ]
    assert all(0 < value < 10 for value in found.values())


def test_only_pictures_with_captions_in_the_language_are_asked_about(table):
    parrot = Parrot()
    list(Captions(**table(*ROWS)).measure(parrot))
    assert [len(questions) for questions in parrot.asked] == [3, 2]
    assert {request for questions in parrot.asked for _, request in questions} == {
        ("own", CAPTION.en),
        ("own", CAPTION.zh),
    }


def test_pictures_are_read_a_few_at_a_time(table):
    parrot = Parrot()
    rows = [{"en": [f"picture {number}"]} for number in range(2 * AT_ONCE + 1)]
    measure = Captions(**table(*rows), languages=("en",), requests={"en": "Say it."}, max_tokens=7)
    list(measure.measure(parrot))
    assert [len(questions) for questions in parrot.asked] == [AT_ONCE, AT_ONCE, 1]
    assert {request for questions in parrot.asked for _, request in questions} == {"Say it."}


def test_captions_are_greedy_or_of_beams_whatever_the_model_samples(table):
    parrot = Parrot()
    list(Captions(**table(*ROWS), beams=3).measure(parrot))
    assert parrot.used == [(DecodingConfig(temperature=0.0, beams=3), ("\n",))]


def test_document_frequencies_may_come_from_another_set(table, tmp_path):
    whole = Captions(**table(*ROWS))
    whole.write_frequencies(tmp_path / "counts.json")
    given = {"scorers": ("cider/coco@1",), "frequencies": str(tmp_path / "counts.json")}
    same = dict(Captions(**table(*ROWS), **given).measure(Parrot()))
    assert same == dict(Captions(**table(*ROWS), scorers=given["scorers"]).measure(Parrot()))
    alone = Captions(**table(ROWS[0]), **given)
    alone.check()
    assert dict(alone.measure(Parrot()))["zh_cider_chars"] == pytest.approx(10)


def test_one_picture_is_too_few_for_cider(table):
    with pytest.raises(DataError, match="of 1 picture, for which CIDEr is always 0"):
        Captions(**table(ROWS[0])).check()
    Captions(**table(ROWS[0]), scorers=("bleu4/coco@1",)).check()


def test_a_language_without_captions_is_refused(table):
    measure = Captions(**table(*ROWS[2:]))
    with pytest.raises(DataError, match=r"no captions in zh .* set languages = \['en'\]"):
        measure.check()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scorers": ("cider/coco@2",)}, "did you mean 'cider/coco@1'"),
        ({"scorers": ()}, "measure nothing"),
        ({"requests": {"en": " "}}, "measure nothing"),
        ({"languages": ("en",), "requests": {"zh": "看"}}, "requests names 'zh'"),
        ({"beams": 0}, "beams=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
    ],
)
def test_settings_that_measure_nothing_are_refused(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        Captions(path="captions.jsonl", **settings)

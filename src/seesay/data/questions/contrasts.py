"""Contrasts: pictures and captions that differ in exactly one thing, by rules from true labels.

    contrasts = make_contrasts(RecordsConfig(path="annotations.jsonl", format="table"), ("space",))
    contrasts[0].captions    # "a dog to the left of a car", "a dog to the right of a car"

What a picture shows is known from the boxes of its objects, its captions and its questions; no foil
is true of its picture, as far as those tell. The words alone must not give a foil away: where
possible, a caption that is true of one picture is the foil of another, and elsewhere as many foils
are the more usual text as captions (`even`).
"""

import json
import math
import re
import shutil
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np

from seesay.data.files import check_folder, write_whole
from seesay.data.formats.records import Box, Record
from seesay.data.questions.asking import Draw
from seesay.data.questions.caption_foils import CaptionFoils, words_and_pairs
from seesay.data.questions.facts import FactReader, Facts
from seesay.data.questions.lexicon import Lexicon, Thing, read_lexicon, tokens_of, with_article
from seesay.data.sources import RecordsConfig, open_records, used_records
from seesay.data.words import as_sentence
from seesay.errors import DataError
from seesay.text import Language, Text

Category = Literal["attribute", "binding", "space", "count", "negation", "small", "sibling", "long"]
T = TypeVar("T")
CATEGORIES: tuple[Category, ...] = get_args(Category)
SMALL, LARGE = 32**2, 96**2
"""Pixels of an object that COCO calls small at most, and large at least."""
BEYOND = 77
"""Words, or Chinese characters, before the last sentence of a long text: as many as the longest
context of the models here has tokens."""
MOST_COUNTED = 5
SHAPES = {"circle": "圆形", "rectangle": "长方形", "triangle": "三角形"}
MORE_COLOURS = {"teal": "蓝绿色"}
SIDES: Mapping[Language, tuple[tuple[str, str], ...]] = {
    "en": (("to the left of", "to the right of"), ("above", "below")),
    "zh": (("左边", "右边"), ("上方", "下方")),
}
FAMILIES = (
    "bicycle, car, motorcycle, airplane, bus, train, truck, boat",
    "traffic light, fire hydrant, stop sign, parking meter, bench",
    "bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe",
    "backpack, umbrella, handbag, tie, suitcase",
    "frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket",
    "bottle, wine glass, cup, fork, knife, spoon, bowl",
    "banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake",
    "chair, couch, potted plant, bed, dining table, toilet",
    "tv, laptop, mouse, remote, keyboard, cell phone",
    "microwave, oven, toaster, sink, refrigerator",
    "book, clock, vase, scissors, teddy bear, hair drier, toothbrush",
)
"""COCO's classes but for "person", which is alone in its own, by their supercategories."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Pictures, and captions of which each picture's own is true of it alone."""

    category: str
    language: Language
    keys: tuple[str, ...]
    """Names of the pictures."""
    images: tuple[bytes | Path, ...]
    captions: tuple[str, ...]
    """The caption of each picture, in their order, and then foils that are true of none."""

    def __post_init__(self) -> None:
        if not self.images or len(self.captions) < max(2, len(self.images)):
            raise DataError(
                Text(
                    f"{self.category}: {len(self.images)} pictures have {len(self.captions)} "
                    "captions, expected a picture, a caption for each, and at least one foil: "
                    "add what is missing",
                    f"{self.category}：{len(self.images)} 张图片有 {len(self.captions)} 条描述；"
                    "至少应有一张图片，每张一条描述，另有至少一条错误描述；请补上",
                )
            )
        folded = [" ".join(one.split()).casefold() for one in self.captions]
        if len(set(folded)) < len(folded):
            twice = next(
                c for c, f in zip(self.captions, folded, strict=True) if folded.count(f) > 1
            )
            raise DataError(
                Text(
                    f"{self.category}: {twice!r:.120} stands twice among the captions of "
                    f"{self.keys[0]}, expected foils that differ from the caption: correct or "
                    "remove them",
                    f"{self.category}：{self.keys[0]} 的描述里 {twice!r:.120} 出现了两次；"
                    "错误描述应与正确描述不同；请改正或删除",
                )
            )


@dataclass(frozen=True)
class _Picture:
    record: Record
    objects: Mapping[str, Sequence[Box]]
    """The boxes of each kind of labelled object, by the name of the thing."""
    facts: Facts

    def may_show(self, thing: str) -> bool:
        """Whether labels or captions say that it shows a thing, or leave that open."""
        return thing in self.facts.open


def make_contrasts(
    records: RecordsConfig,
    categories: Sequence[Category] | None = None,
    *,
    most: int = 200,
    seed: int = 0,
) -> list[Contrast]:
    """Returns at most so many contrasts of each category and language, drawn by the seed; without
    categories, those of all that the labels allow.

    Raises DataError if the records cannot be read or a category has no contrast in a language.
    """
    lexicon = read_lexicon()
    pictures = list(_read(records, lexicon))
    making = _Making(lexicon, pictures, most, Draw(seed))
    made = []
    for category in categories or CATEGORIES:
        for language in records.languages:
            of_language = making.of(category, language)
            if not of_language and categories:
                raise _nothing(records, category, language)
            made += of_language
    if not made:
        raise _nothing(records, "space", records.languages[0])
    return made


def write_contrasts(contrasts: Sequence[Contrast], folder: Path) -> list[Path]:
    """Writes a JSONL file for each category, with the pictures beside it: in each line "images",
    "captions" and "language". Returns the files. Raises DataError if the folder cannot be written.
    """
    if not folder.is_dir():
        check_folder(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    for one in contrasts:
        for key, image in zip(one.keys, one.images, strict=True):
            if key in names:
                continue
            names[key] = (
                f"images/{len(names):06}{image.suffix if isinstance(image, Path) else '.jpg'}"
            )
            if isinstance(image, Path):
                shutil.copyfile(image, folder / names[key])
            else:
                (folder / names[key]).write_bytes(image)
    by_category: dict[str, list[Contrast]] = defaultdict(list)
    for one in contrasts:
        by_category[one.category].append(one)
    for category, some in by_category.items():
        rows = [
            {
                "images": [names[key] for key in one.keys],
                "captions": one.captions,
                "language": one.language,
            }
            for one in some
        ]
        with write_whole(folder / f"{category}.jsonl") as unfinished:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            Path(unfinished).write_text("".join(lines), encoding="utf-8")
    return [folder / f"{category}.jsonl" for category in by_category]


def _read(config: RecordsConfig, lexicon: Lexicon) -> Iterator[_Picture]:
    source, reader = open_records(config), FactReader(lexicon, lexicon.things)
    for number in used_records(config, source):
        record = source[number]
        things = [lexicon.thing_of_label(name) for name in record.objects]
        facts = reader.read(record.key, record.captions, [one.name for one in things if one])
        objects: dict[str, list[Box]] = defaultdict(list)
        if len(record.boxes) == len(things):
            for thing, box in zip(things, record.boxes, strict=True):
                if thing is not None and thing.zh:
                    objects[thing.name].append(box)
        yield _Picture(record, objects, facts)


class _Making:
    """Makes the contrasts of each category. Draws do not depend on the language."""

    def __init__(
        self, lexicon: Lexicon, pictures: Sequence[_Picture], most: int, draw: Draw
    ) -> None:
        self._lexicon, self._most, self._draw = lexicon, most, draw
        self._foils = CaptionFoils(lexicon)
        self._pictures = sorted(pictures, key=lambda one: draw(one.record.key))
        self._rules: dict[Category, Callable[[Language], Iterable[Contrast]]] = {
            "attribute": self._attribute,
            "binding": self._binding,
            "space": self._space,
            "count": self._count,
            "negation": self._negation,
            "small": self._small,
            "sibling": self._sibling,
            "long": self._long,
        }

    def of(self, category: Category, language: Language) -> list[Contrast]:
        """The contrasts of a category in a language, in an order that is drawn."""
        made = list(self._rules[category](language))
        made.sort(key=lambda one: self._draw("order", category, *one.keys))
        return made[: self._most]

    def _contrast(
        self, category: Category, language: Language, pictures: Sequence[_Picture], *texts: str
    ) -> Contrast:
        records = [one.record for one in pictures]
        return Contrast(
            category=category,
            language=language,
            keys=tuple(one.key for one in records),
            images=tuple(one.image for one in records),
            captions=texts,
        )

    # Two pictures, of which each one's caption is false of the other

    def _attribute(self, language: Language) -> Iterator[Contrast]:
        """A shape of a colour, beside another colour or another shape."""
        shown = [(one, shape) for one in self._pictures if (shape := _shape(one.record))]
        for pair in _pairs(shown, lambda a, b: (a[1][0] == b[1][0]) is not (a[1][1] == b[1][1])):
            texts = [self._shape_text(*shape, language) for _, shape in pair]
            yield self._contrast("attribute", language, [one for one, _ in pair], *texts)

    def _shape_text(self, colour: str, shape: str, language: Language) -> str:
        if language == "en":
            return with_article(f"{colour} {shape}")
        known = self._lexicon.colours
        names = {word: one.zh for name, one in known.items() for word in (name, *one.also)}
        return f"{(names | MORE_COLOURS)[colour]}的{SHAPES[shape]}"

    def _small(self, language: Language) -> Iterator[Contrast]:
        """A thing that is small in its picture, beside one that is small in another."""
        small = self._shown(lambda boxes: max(map(_area, boxes)) < SMALL)
        return self._beside_other("small", language, small, lambda a, b: True)

    def _sibling(self, language: Language) -> Iterator[Contrast]:
        """A thing that is large in its picture, beside another of its family."""
        family = {
            thing.name: number
            for number, names in enumerate(FAMILIES)
            for label in names.split(", ")
            if (thing := self._lexicon.thing_of_label(label))
        }
        large = self._shown(lambda boxes: max(map(_area, boxes)) >= LARGE)
        large = [(one, name) for one, name in large if name in family]
        return self._beside_other("sibling", language, large, lambda a, b: family[a] == family[b])

    def _shown(self, fits: Callable[[Sequence[Box]], bool]) -> list[tuple[_Picture, str]]:
        return [
            (one, name)
            for one in self._pictures
            for name in sorted(one.objects)
            if fits(one.objects[name])
        ]

    def _beside_other(
        self,
        category: Category,
        language: Language,
        shown: Sequence[tuple[_Picture, str]],
        alike: Callable[[str, str], bool],
    ) -> Iterator[Contrast]:
        def fit(one: tuple[_Picture, str], two: tuple[_Picture, str]) -> bool:
            false = not one[0].may_show(two[1]) and not two[0].may_show(one[1])
            return false and alike(one[1], two[1])

        for pair in _pairs(shown, fit):
            things = self._lexicon.things
            texts = [
                things[name].label_with_article if language == "en" else things[name].zh[0]
                for _, name in pair
            ]
            yield self._contrast(category, language, [one for one, _ in pair], *texts)

    def _negation(self, language: Language) -> Iterator[Contrast]:
        """A picture with a thing, and one without it."""
        for name in sorted({name for one in self._pictures for name in one.objects}):
            thing = self._lexicon.things[name]
            without = [one for one in self._pictures if not one.may_show(name)]
            without.sort(key=lambda one: self._draw("without", name, one.record.key))
            having = [one for one in self._pictures if name in one.objects]
            for pair in zip(having, without, strict=False):  # what one side has more of stays alone
                texts = [
                    f"a photo {word} {thing.label_with_article}" for word in ("with", "without")
                ]
                if language == "zh":
                    texts = [f"{word}{thing.zh[0]}的照片" for word in ("有", "没有")]
                yield self._contrast("negation", language, pair, *texts)

    # One picture, and a foil

    def _binding(self, language: Language) -> Iterator[Contrast]:
        """The colours of two things swapped in a caption. Chinese captions are short and seldom
        name two colours; then the things of an English one are named in Chinese."""
        made = []
        for one in self._pictures:
            captions = one.record.captions
            pairs = (
                (text, foil)
                for text in captions.get(language, ())
                if (foil := self._foils.colours_swapped(text, language, captions))
            )
            texts = next(pairs, None) or (self._named(one) if language == "zh" else None)
            if texts is not None:
                made.append(self._contrast("binding", language, [one], *texts))
        yield from self._even_by_words(made, language)

    def _named(self, picture: _Picture) -> tuple[str, str] | None:
        """What an English caption says of two coloured things, in Chinese, and its foil."""
        captions = picture.record.captions
        for text in captions.get("en", ()):
            if pair := self._foils.two_coloured(text, "en", captions):
                things = [self._lexicon.things[one.thing].zh[0] for one in pair]
                colours = [self._lexicon.colours[one.colour].zh for one in pair]
                return tuple(  # type: ignore[return-value]
                    "和".join(f"{c}的{thing}" for c, thing in zip(order, things, strict=True))
                    for order in (colours, colours[::-1])
                )
        return None

    def _space(self, language: Language) -> Iterator[Contrast]:
        """Where a thing is, seen from another; both are alone of their kind."""
        made = []
        for picture in self._pictures:
            alone = {name: boxes[0] for name, boxes in picture.objects.items() if len(boxes) == 1}
            for pair in combinations(sorted(alone), 2):
                for axis, names in _beside(alone, pair):
                    words = SIDES[language][axis]
                    direction = -1 if self._draw(picture.record.key, *pair) < 0.5 else 1
                    texts = [
                        self._place_text(names[::direction], word, language)
                        for word in words[::direction]
                    ]
                    one = self._contrast("space", language, [picture], *texts)
                    made.append((axis, direction, one))
        yield from even(made, self._most)

    def _place_text(self, names: Sequence[str], word: str, language: Language) -> str:
        one, two = (self._lexicon.things[name] for name in names)
        if language == "en":
            return f"{one.label_with_article} {word} {two.label_with_article}"
        return f"{one.zh[0]}在{two.zh[0]}的{word}"

    def _count(self, language: Language) -> Iterator[Contrast]:
        """How many of a thing there are, beside one more or one fewer."""
        made = []
        for picture in self._pictures:
            for name, boxes in sorted(picture.objects.items()):
                thing, count = self._lexicon.things[name], len(boxes)
                if count > MOST_COUNTED or thing.mass or thing.pair:
                    continue
                step = 1 if self._draw(picture.record.key, name) < 0.5 else -1
                step = step if 1 <= count + step <= MOST_COUNTED else -step
                texts = [self._count_text(thing, n, language) for n in (count, count + step)]
                one = self._contrast("count", language, [picture], *texts)
                made.append((min(count, count + step), step, one))
        yield from even(made, self._most)

    def _count_text(self, thing: Thing, number: int, language: Language) -> str:
        [(en, one)] = [(n, o) for n, o in self._lexicon.numbers.items() if o.value == number]
        if language == "en":
            return f"{en} {thing.plural if number > 1 else thing.name}"
        return f"{one.zh}{thing.measure}{thing.zh[0]}"

    def _long(self, language: Language) -> Iterator[Contrast]:
        """The last sentence of a long text, beside that of another picture."""
        told = [(one, list(_sentences(one.record, language))) for one in self._pictures]
        lasts = [
            (one, (texts, self._named_in(texts[-1], language)))
            for one, texts in told
            if len(texts) > 1
        ]

        def fit(one: tuple[_Picture, _Told], two: tuple[_Picture, _Told]) -> bool:
            """Whether the last sentence of each names a thing that the other does not show."""
            return not (two[1][1] <= one[0].facts.open or one[1][1] <= two[0].facts.open)

        joint = " " if language == "en" else ""
        made = []
        for one, two in _pairs(lasts, fit):
            for (picture, (own, _)), (_, (others, _)) in ((one, two), (two, one)):
                before = _long_text(own[:-1], language)
                texts = [f"{before}{joint}{last}" for last in (own[-1], others[-1])]
                made.append(self._contrast("long", language, [picture], *texts))
        yield from self._even_by_words(made, language)

    def _even_by_words(self, made: Sequence[Contrast], language: Language) -> Iterator[Contrast]:
        """Yields as many contrasts whose caption is the more usual text as ones whose foil is. How
        usual a text is depends on the others, so that only about as many are compared as stay."""
        made = made[: 2 * self._most]
        usual = usualness([text for one in made for text in one.captions], language)
        directions = [int(np.sign(usual(one.captions[0]) - usual(one.captions[1]))) for one in made]
        return even(
            [(None, sign, one) for sign, one in zip(directions, made, strict=True)], self._most
        )

    def _named_in(self, text: str, language: Language) -> frozenset[str]:
        mentions = self._lexicon.mentions(tokens_of(text, language), language)
        return frozenset(one.name for one in mentions if one.sort == "thing")


_Told = tuple[list[str], frozenset[str]]


def usualness(texts: Iterable[str], language: Language) -> Callable[[str], float]:
    """Returns how usual a text is among others: the mean logarithm of the probability of each word
    after the one before it, smoothed (Chinese: of each character)."""
    counts = Counter(part for text in set(texts) for part in words_and_pairs(text, language))
    words = sum(len(one) == 1 for one in counts)

    def usual(text: str) -> float:
        pairs = [one for one in words_and_pairs(text, language) if len(one) == 2]
        logs = [math.log((counts[one] + 0.1) / (counts[one[:1]] + 0.1 * words)) for one in pairs]
        return sum(logs) / max(1, len(logs))

    return usual


def even(made: Iterable[tuple[Hashable, int, Contrast]], most: int) -> Iterator[Contrast]:
    """Yields at most so many contrasts of a kind and a direction, -1 or 1: one of each direction of
    a kind at a time, and those that have none (0) as they come."""
    waiting: dict[tuple[Hashable, int], deque[Contrast]] = defaultdict(deque)
    for kind, direction, one in made:
        if most < 2:
            return
        opposite = waiting[kind, -direction]
        if direction and not opposite:
            waiting[kind, direction].append(one)
            continue
        both = [opposite.popleft(), one] if direction else [one]
        most -= len(both)
        yield from both


def _pairs(
    shown: Sequence[tuple[_Picture, T]],
    fit: Callable[[tuple[_Picture, T], tuple[_Picture, T]], bool],
) -> Iterator[tuple[tuple[_Picture, T], tuple[_Picture, T]]]:
    """Pairs each with the first later one that fits and has no partner yet."""
    left = list(shown)
    while left:
        one = left.pop(0)
        at = next((n for n, two in enumerate(left) if fit(one, two)), None)
        if at is not None:
            yield one, left.pop(at)


def _shape(record: Record) -> tuple[str, str] | None:
    """The colour and the shape that the answers of easy-VQA tell, if they tell both."""
    questions = record.questions.get("en", ())
    shapes = {one.answer for one in questions if one.answer in SHAPES}
    colours = {one.answer for one in questions if re.search(r"\bcolou?r\b", one.question)}
    return (*colours, *shapes) if len(colours) == len(shapes) == 1 else None  # type: ignore[return-value]


def _area(box: Box) -> float:
    return box.width * box.height


def _beside(
    boxes: Mapping[str, Box], pair: tuple[str, str]
) -> Iterator[tuple[int, tuple[str, str]]]:
    """The axis, 0 or 1, on which one of two boxes lies wholly before the other while they overlap
    on the other axis, and the names of the first and second."""
    for axis in (0, 1):
        for names in (pair, pair[::-1]):
            one, two = boxes[names[0]], boxes[names[1]]
            before = one[axis] + one[axis + 2] <= two[axis]
            across = 1 - axis
            level = min(one[across] + one[across + 2], two[across] + two[across + 2]) > max(
                one[across], two[across]
            )
            if before and level:
                yield axis, names


def _sentences(record: Record, language: Language) -> Iterable[str]:
    return dict.fromkeys(map(as_sentence, record.captions.get(language, ())))


def _long_text(sentences: Sequence[str], language: Language) -> str:
    """The sentences, said again and again until they have `BEYOND` words or characters."""
    text, words = "", 0
    for sentence in cycle(sentences):
        text += (" " if text and language == "en" else "") + sentence
        words += len(tokens_of(sentence, language))
        if words >= BEYOND:
            return text
    return text


def _nothing(records: RecordsConfig, category: Category, language: Language) -> DataError:
    needed = {
        "attribute": Text("questions of easy-VQA", "easy-VQA 的问题"),
        "binding": Text("captions that give two things colours", "给两个事物各写了颜色的描述"),
        "long": Text("several captions of each picture", "每张图片有多条描述"),
    }.get(category, Text('objects with "category" and "bbox"', "带 category 和 bbox 的 objects"))
    return DataError(
        Text(
            f"{records.path} gives no contrast of {category!r} in {language!r}, expected "
            f"{needed.en}: leave it out of categories, or name other files",
            f"{records.path} 里没有 {language!r} 的 {category!r} 对比；应有{needed.zh}；"
            "请在 categories 里去掉它，或换文件",
        )
    )

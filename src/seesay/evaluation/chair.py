"""CHAIR: which objects a caption names that are not in the picture (Rohrbach et al. 2018).

The objects in a picture are those of COCO's classes that are labelled in it, and those that people
name in its captions. CHAIRi is the share of the mentions that are of other objects, CHAIRs that of
the captions with such a mention; less is better. The words that name an object are seesay's own,
for English and Chinese, in coco_objects.toml. The original has another list, so that its figures
are not reproduced.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from seesay.data.questions.lexicon import plural_of
from seesay.evaluation.scoring import Tools, Truth, Values, Verdict, share
from seesay.text import Text

ABSENT = "!"
"""Before a name in a verdict: the object is not in the picture."""
UNLABELLED = Text("the objects in its picture are not labelled", "图片里的物体没有标注")
_WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class ObjectWords:
    """What names an object. An empty name stands for words that name none."""

    english: Mapping[tuple[str, ...], str]
    """By one or two words."""
    chinese: Mapping[str, str]
    longest: int
    """Characters of the longest Chinese word."""

    def mentions(self, text: str) -> list[str]:
        """The name of each object, as often as it is mentioned; English first."""
        return [one for one in (*self._english(text), *self._chinese(text)) if one]

    def _english(self, text: str) -> Iterator[str]:
        words = _WORDS.findall(text.lower())
        at = 0
        while at < len(words):
            two, one = tuple(words[at : at + 2]), (words[at],)
            found = two if two in self.english else one
            yield self.english.get(found, "")
            at += len(found)

    def _chinese(self, text: str) -> Iterator[str]:
        """The longest word at each place counts: 热狗, and not the 狗 in it."""
        at = 0
        while at < len(text):
            sizes = range(min(self.longest, len(text) - at), 0, -1)
            size = next((n for n in sizes if text[at : at + n] in self.chinese), 0)
            yield self.chinese.get(text[at : at + size], "")
            at += size or 1


@cache
def object_words() -> ObjectWords:
    """Those of COCO's 80 classes."""
    content = tomllib.loads(Path(__file__).with_name("coco_objects.toml").read_text("utf-8"))
    english: dict[tuple[str, ...], str] = {}
    chinese: dict[str, str] = dict.fromkeys(content["ignored"]["zh"], "")
    for name, words in content["objects"].items():
        for form in _forms(words["en"]):
            english[form] = name
        chinese |= dict.fromkeys(words["zh"], name)
    single = [(form[0], name) for form, name in english.items() if len(form) == 1]
    before = content["qualifiers"]
    for word, name in single:
        if name in before["before"]:
            english |= {(one, word): name for one in before["en"]}
        if name in before["passenger"]:
            english["passenger", word] = name
    english |= dict.fromkeys(_forms(content["ignored"]["en"]), "")
    return ObjectWords(english, chinese, max(map(len, chinese)))


def _forms(words: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Each word or pair of words, and its plural."""
    for word in words:
        yield tuple(word.split(" "))
        yield tuple(plural_of(word).split(" "))


def chair(answer: str, truth: Truth, _: Tools) -> Verdict:
    """The objects that a caption names. The score is the share of those that are in the picture, 1
    if it names none. Needs the group `objects`: the labelled ones, with commas between them."""
    if not truth.groups.get("objects"):
        return Verdict(parsed=None, score=0.0, note=UNLABELLED, left_out=True)
    words = object_words()
    labels = {label.strip() for label in truth.groups["objects"].split(",")}
    there = labels | {name for caption in truth.answers for name in words.mentions(caption)}
    mentions = words.mentions(answer)
    absent = [name for name in mentions if name not in there]
    parsed = ", ".join(name if name in there else ABSENT + name for name in mentions)
    score = 1 - len(absent) / len(mentions) if mentions else 1.0
    return Verdict(parsed=parsed, score=score)


def chair_values(verdicts: Sequence[Verdict], _: Sequence[Truth]) -> Values:
    """CHAIRs and CHAIRi, and how many objects a caption names on average: captions that name few
    are seldom wrong."""
    mentions = [(one.parsed or "").split(", ") if one.parsed else [] for one in verdicts]
    absent = [sum(name.startswith(ABSENT) for name in some) for some in mentions]
    total = sum(map(len, mentions))
    return {
        "CHAIRi": sum(absent) / total if total else 0.0,
        "CHAIRs": share(float(count > 0) for count in absent),
        "objects": total / len(verdicts),
    }

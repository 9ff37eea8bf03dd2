"""What photographs show, told by what people say of them; shared by the benchmarks of confidence
and classification.

A photograph shows a word where at least two of its captions name it (`said` in words.json), or
where one of its objects is marked as such. It does not where no caption in either language says it
or anything near to it (`near`). All others prove nothing and are left out: captions do not tell
everything that is to be seen.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from no_good_match import DATA, read

COCO = DATA.parents[1] / "coco-tiny"
SHOWN, ABSENT, UNCLEAR = 1, 0, -1


@dataclass(frozen=True, kw_only=True)
class Photograph:
    data: bytes
    captions: dict[str, list[str]]
    objects: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Word:
    names: dict[str, str]
    """In each language."""
    said: dict[str, re.Pattern[str]]
    near: dict[str, re.Pattern[str] | None]
    objects: frozenset[str]
    near_objects: frozenset[str]
    fitted: bool
    """Whether the numbers of the confidence were fitted with it."""

    def shown(self, photograph: Photograph) -> int:
        if self.objects & photograph.objects:
            return SHOWN
        named = {lang: self._times(self.said[lang], lang, photograph) for lang in self.said}
        if named["en"] >= 2:
            return SHOWN
        near = any(
            pattern is not None and self._times(pattern, lang, photograph)
            for lang, pattern in self.near.items()
        )
        clear = not any(named.values()) and not near
        return ABSENT if clear and not self.near_objects & photograph.objects else UNCLEAR

    @staticmethod
    def _times(pattern: re.Pattern[str], language: str, photograph: Photograph) -> int:
        return sum(bool(pattern.search(text)) for text in photograph.captions.get(language, []))


def read_words(*, fitted: bool | None = None) -> list[Word]:
    """The words with which the numbers were fitted, or the others, or all."""
    rows = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
    people = next(row["said"] for row in rows if row["en"] == "people")

    def pattern(text: str, language: str) -> re.Pattern[str] | None:
        return re.compile(text.replace("{people}", people[language]), re.I) if text else None

    words = []
    for row in rows:
        said = {lang: pattern(row["said"][lang], lang) for lang in ("en", "zh")}
        assert said["en"] is not None and said["zh"] is not None
        words.append(
            Word(
                names={"en": row["en"], "zh": row["zh"]},
                said={lang: one for lang, one in said.items() if one is not None},
                near={lang: pattern(row["near"][lang], lang) for lang in ("en", "zh")},
                objects=frozenset(row["objects"]),
                near_objects=frozenset(row["near_objects"]),
                fitted=row["fitted"],
            )
        )
    return [word for word in words if fitted is None or word.fitted == fitted]


def read_flickr() -> list[Photograph]:
    """Those of Flickr8k's dev split that nothing was fitted to: every other one."""
    pictures, captions = read(DATA)
    pairs = list(zip(pictures, captions, strict=True))[::2]
    return [Photograph(data=data, captions=said) for data, said in pairs]


def read_coco() -> list[Photograph]:
    lines = (COCO / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Photograph(
            data=(COCO / "images" / row["file_name"]).read_bytes(),
            captions={"en": row["captions"]},
            objects=frozenset(one["category"] for one in row["objects"]),
        )
        for row in map(json.loads, lines)
    ]


def table(words: list[Word], photographs: list[Photograph]) -> np.ndarray:
    """[word, photograph]: whether it is shown."""
    return np.array([[word.shown(one) for one in photographs] for word in words])

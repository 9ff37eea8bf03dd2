"""Composition: whether a model scores a picture's caption above foils that differ in one thing.

A caption that only ties with a foil is not right, as in ARO, SugarCrepe and Winoground: a model
that scores all texts alike is then never right, where the first of several equal scores would make
it always right. Beside each accuracy stands what guessing gives, and what the texts alone give.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from glob import glob
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from jaxtyping import Bool, Float, Int

from seesay.data.formats.records import LANGUAGES, find_files
from seesay.data.images import open_image
from seesay.data.questions.contrasts import (
    CATEGORIES,
    Category,
    Contrast,
    make_contrasts,
    usualness,
)
from seesay.data.sources import RecordsConfig, check_templates, format_of, require_known
from seesay.data.spelling import as_on_disk, visible
from seesay.data.tables import JSON_LINES
from seesay.errors import DataError
from seesay.evaluation.bootstrap import interval
from seesay.inference.embedder import Embedder, Failure
from seesay.inference.matcher import Matcher
from seesay.models.layers import require_range
from seesay.text import Language, Text, detect_language

if TYPE_CHECKING:
    from seesay.inference.assistant import LocalAssistant

Loader = Literal["rules", "contrasts", "sugarcrepe", "aro", "winoground"]
Windows = Literal["mean", "max", "first"]
Model: TypeAlias = "Embedder | Matcher | LocalAssistant"
Scores: TypeAlias = Float[np.ndarray, "images captions"]
Pairs: TypeAlias = Int[np.ndarray, "pairs 2"]
PAIRED = ("attribute", "negation", "small", "sibling", "winoground")
"""Categories whose contrasts have two pictures, each with a caption that is false of the other."""
VALUES = ("accuracy", "low", "high", "chance", "blind", "longer")
WINOGROUND = ("text", "image", "group")
QUESTIONS: Mapping[Language, str] = {"en": "Is there {} in the picture?", "zh": "图里有{}吗？"}
LONGEST = 4  # tokens of "yes"
YES, NO = ("yes", "是", "有"), ("no", "不", "否", "没")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Share of the pictures whose caption scores higher than each of its foils, by language and
    category (`en_space_accuracy`), with a 95 % bootstrap interval over pictures (`low`, `high`),
    the accuracy of guessing (`chance`), and two text-only baselines: `blind` chooses the text with
    more common words, `longer` the longer one, with half a point for a tie. Where contrasts have
    two pictures, Winoground's `text`, `image` and `group` scores too.

    A model with a matching head scores pairs with it; a model that answers questions is asked
    whether the picture shows the caption."""

    path: str
    """The files, as a path or a glob pattern."""
    loader: Loader = "rules"
    """Format of the files. rules: a training format, from whose labels contrasts are made;
    contrasts: the JSONL of `seesay data contrasts`; sugarcrepe, aro or winoground: as published.
    Categories are named after their files."""
    images: str | None = None
    """Folder of the pictures that files name; none: the folder of the file."""
    categories: tuple[str, ...] = ()
    """With rules, the categories to make: attribute, binding, space, count, negation, small,
    sibling and long; none: all."""
    languages: tuple[Literal["en", "zh"], ...] = ("en", "zh")
    """Languages to make contrasts in; published files are in English."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """With rules, maps the column names of a table: image = "file_name"."""
    start: int = 0
    """With rules, the first record to use."""
    stop: int | None = None
    """With rules, the record to stop before; none: use all."""
    most: int = 200
    """With rules, the maximum number of contrasts per category and language, drawn at random."""
    question: Mapping[Literal["en", "zh"], str] = field(default_factory=lambda: dict(QUESTIONS))
    """By language, the yes/no question for an assistant, with {} for the caption."""
    windows: Windows = "mean"
    """How to compare a text beyond the context: by the mean of its windows (mean), the best window
    (max), or the first window only (first)."""

    def __post_init__(self) -> None:
        require_known("loader", [self.loader], list(LOADERS))
        require_known("categories", self.categories, CATEGORIES)
        require_known("languages", self.languages, LANGUAGES)
        require_known("windows", [self.windows], ("mean", "max", "first"))
        require_known("question", self.question, LANGUAGES)
        require_range(1, most=self.most)
        check_templates({language: [text] for language, text in self.question.items()})

    @cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        return tuple(LOADERS[self.loader](self))

    @property
    def records(self) -> tuple[Contrast, ...]:
        return self.contrasts

    def _measured(self) -> list[tuple[str, str]]:
        """The languages and categories that it measures."""
        languages = self.languages
        names: Sequence[str] = self.categories or CATEGORIES
        if self.loader == "winoground":
            names = ("winoground",)
        elif self.loader != "rules":
            names = [Path(name).stem for name in sorted(glob(self.path))] or [Path(self.path).stem]
        if self.loader not in ("rules", "contrasts"):
            languages = ("en",)
        return [(language, name) for language in languages for name in names]

    def names(self) -> list[str]:
        return [
            f"{language}_{category}_{value}"
            for language, category in self._measured()
            for value in (*VALUES, *(WINOGROUND if category in PAIRED else ()))
        ]

    def check(self) -> None:
        """Raises DataError if a file cannot be read, a foil is its caption, a picture is missing,
        there is nothing in a category and language, or one picture where two are expected."""
        there = {(one.language, one.category) for one in self.contrasts}
        if missing := [one for one in self._measured() if one not in there]:
            language, category = missing[0]
            raise DataError(
                Text(
                    f"{self.path} has no contrast of {category!r} in {language!r}, expected at "
                    "least one for each category and language: set languages, or choose other "
                    "files",
                    f"{self.path} 里没有语言 {language!r} 的 {category!r} 对照组；每个类别和语言"
                    "至少应有一组；请设置 languages，或换文件",
                )
            )

        alone = [one for one in self.contrasts if one.category in PAIRED and len(one.images) < 2]
        if alone:
            raise DataError(
                Text(
                    f"{self.path}: {alone[0].keys[0]} is alone in a contrast of "
                    f"{alone[0].category!r}, expected two pictures in each: rename the "
                    "file, or add the second picture",
                    f"{self.path}：{alone[0].category!r} 的一组里只有 {alone[0].keys[0]} 一张图片；"
                    "每组应有两张；请给文件改名，或补上第二张图片",
                )
            )

    def measure(self, model: Model) -> Iterator[tuple[str, float]]:
        scores = scores_of(model, self.contrasts, windows=self.windows, question=self.question)
        yield from values_of(self.contrasts, scores, self._measured())


# Values


def values_of(
    contrasts: Sequence[Contrast], scores: Sequence[Scores], categories: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, float]]:
    """Yields the values of each language and category from the scores of each contrast."""
    for language, category in categories:
        chosen = [
            (one, of)
            for one, of in zip(contrasts, scores, strict=True)
            if (one.language, one.category) == (language, category)
        ]
        name = f"{language}_{category}"
        for value, number in _values([one for one, _ in chosen], [of for _, of in chosen]).items():
            yield f"{name}_{value}", number
        if category in PAIRED:
            for value, number in winoground_scores([of for _, of in chosen]).items():
                yield f"{name}_{value}", number


def _values(contrasts: Sequence[Contrast], scores: Sequence[Scores]) -> dict[str, float]:
    hits = np.concatenate([right_texts(of) for of in scores])
    keys = [key for one in contrasts for key in one.keys]
    usual = usualness([text for one in contrasts for text in one.captions], contrasts[0].language)
    low, high = interval(hits, keys)
    chances = [1 / len(one.captions) for one in contrasts for _ in one.keys]
    return {
        "accuracy": float(hits.mean()),
        "low": low,
        "high": high,
        "chance": float(np.mean(chances)),
        "blind": _blind(contrasts, usual),
        "longer": _blind(contrasts, len),
    }


def right_texts(scores: Scores) -> Bool[np.ndarray, " images"]:
    """Whether each picture's own caption, on the diagonal, is above all others: a tie is not."""
    own = np.diagonal(scores)
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    return own > others.max(axis=1)


def winoground_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """Winoground's scores of contrasts with two pictures (Thrush et al. 2022, arXiv 2204.03162):
    both texts are right, both pictures are, or all four."""
    paired = [of[:, : len(of)] for of in scores if len(of) > 1]
    texts = np.array([right_texts(of).all() for of in paired])
    images = np.array([right_texts(of.T).all() for of in paired])
    values = (texts, images, texts & images)
    return {name: float(one.mean()) for name, one in zip(WINOGROUND, values, strict=True)}


def _blind(contrasts: Sequence[Contrast], value: Callable[[str], float]) -> float:
    """How often the caption has the highest value of its contrast, by the text alone; where several
    have it, each is chosen equally often."""
    points = []
    for one in contrasts:
        values = [value(text) for text in one.captions]
        best = [at for at, found in enumerate(values) if found == max(values)]
        points += [(at in best) / len(best) for at in range(len(one.images))]
    return float(np.mean(points))


# Scores


def scores_of(
    model: Model,
    contrasts: Sequence[Contrast],
    *,
    windows: Windows = "mean",
    question: Mapping[Language, str] = QUESTIONS,
) -> list[Scores]:
    """The score of each caption of a contrast with each of its pictures. Each picture and each text
    is read once. Raises DataError if a picture cannot be read."""
    if isinstance(model, Embedder):
        return scores_by_windows(model, contrasts, [windows])[0]
    asked = _UniquePairs(contrasts)
    if isinstance(model, Matcher):
        looked, read = model.look(asked.images), model.read(asked.texts)
        _require_readable(looked.failures, asked.keys)
        found = model.judge(looked, read, *asked.pairs.T)
        return asked.given(found + model.similarities(looked, read)[tuple(asked.pairs.T)])
    questions = [
        question[language].replace("{}", text)
        for text, language in zip(asked.texts, asked.languages, strict=True)
    ]
    pairs = [(asked.images[image], questions[text]) for image, text in asked.pairs]
    return asked.given(_sure(model, pairs))


def scores_by_windows(
    embedder: Embedder, contrasts: Sequence[Contrast], ways: Sequence[Windows]
) -> list[list[Scores]]:
    """The same of a dual encoder, for each way to compare long texts."""
    asked = _UniquePairs(contrasts)
    images = embedder.embed_images(asked.images)
    _require_readable(images.failures, asked.keys)
    windows = text_windows(embedder, asked.texts)
    cosines = [windows[text] @ images.vectors[image] for image, text in asked.pairs]
    lengths = [float(np.linalg.norm(windows[text].sum(axis=0))) for _, text in asked.pairs]
    found = {
        "first": [of[0] for of in cosines],
        "max": [of.max() for of in cosines],
        # The cosine with the mean of the windows, which is shorter than they are.
        "mean": [of.sum() / length for of, length in zip(cosines, lengths, strict=True)],
    }
    return [asked.given(np.array(found[way])) for way in ways]


def text_windows(
    embedder: Embedder, texts: Sequence[str]
) -> list[Float[np.ndarray, "windows embed"]]:
    """The vector of each window of each text."""
    tokens = embedder.tokenizer.encode([visible(text) for text in texts])
    vectors = embedder.encoder.texts(tokens.ids)
    return np.split(vectors, np.cumsum(np.bincount(tokens.owners))[:-1])


class _UniquePairs:
    """What a model is asked for contrasts: each picture, each text and each pair of them once."""

    def __init__(self, contrasts: Sequence[Contrast]) -> None:
        self._contrasts = contrasts
        images, texts = dict[str, Any](), dict[tuple[str, Language], None]()
        for one in contrasts:
            images |= zip(one.keys, one.images, strict=True)
            texts |= {(text, one.language): None for text in one.captions}
        self.keys, self.images = list(images), list(images.values())
        self.texts = [text for text, _ in texts]
        self.languages: list[Language] = [language for _, language in texts]
        rows, columns = ({name: at for at, name in enumerate(of)} for of in (images, texts))
        self._counts = [len(one.keys) * len(one.captions) for one in contrasts]
        pairs = [
            (rows[key], columns[text, one.language])
            for one in contrasts
            for key in one.keys
            for text in one.captions
        ]
        self.pairs: Pairs
        self.pairs, self._back = np.unique(pairs, axis=0, return_inverse=True)

    def given(self, scores: Float[np.ndarray, " pairs"]) -> list[Scores]:
        """The scores of the pairs, for each contrast."""
        each = np.split(scores[self._back.ravel()], np.cumsum(self._counts)[:-1])
        return [
            of.reshape(len(one.keys), len(one.captions))
            for one, of in zip(self._contrasts, each, strict=True)
        ]


def _sure(
    assistant: "LocalAssistant", asked: Sequence[tuple[Any, str]]
) -> Float[np.ndarray, " pairs"]:
    """How sure an assistant is of yes: the probability of its answer if that is yes, what is left
    of it if it is no, and a half for any other."""
    found = []
    for answer in assistant.ask_batch(asked, max_tokens=LONGEST):
        sure = float(np.exp(sum(one.log_probability for one in answer.tokens or ())))
        said = answer.text.strip().lower()
        yes, no = said.startswith(YES), said.startswith(NO)
        found.append(sure if yes else 1 - sure if no else 0.5)
    return np.array(found)


def _require_readable(failures: Sequence[Failure], names: Sequence[str]) -> None:
    if failures:
        first, reason = failures[0], Text.of(failures[0].error)
        raise DataError(
            Text(
                f"{len(failures)} pictures cannot be read, the first {names[first.index]}: "
                f"{reason.en}. Figures on part of a set mislead: repair or remove them",
                f"有 {len(failures)} 张图片无法读取，第一张 {names[first.index]}：{reason.zh}。"
                "只用一部分数据得出的数字会误导；请修复或删除它们",
            )
        )


# Files


def _rules(config: Composition) -> list[Contrast]:
    form = format_of(config.path)
    records = RecordsConfig(
        path=config.path,
        format=form,
        languages=config.languages,
        columns=config.columns,
        images=config.images if form == "table" else None,
        start=config.start,
        stop=config.stop,
    )
    categories = cast(tuple[Category, ...], config.categories or CATEGORIES)
    return make_contrasts(records, categories, most=config.most)


def _contrasts(config: Composition) -> Iterator[Contrast]:
    """Lines of "images" and "captions", of which the first are true of the images in their order;
    "language" is optional."""
    for file, row in _rows(config, _lines, ("images", "captions")):
        language = row.get("language") or detect_language(str(row["captions"]))
        if language in config.languages:
            yield _contrast(config, file, row["images"], row["captions"], language)


def _sugarcrepe(config: Composition) -> Iterator[Contrast]:
    """An object of "filename", "caption" and "negative_caption" by number."""
    names = ("filename", "caption", "negative_caption")
    for file, row in _rows(config, lambda file: list(_json(file).values()), names):
        yield _contrast(config, file, [row["filename"]], [row["caption"], row["negative_caption"]])


def _aro(config: Composition) -> Iterator[Contrast]:
    """Visual Genome Relation and Attribution: a list whose pictures are cut out by "bbox_x", ..."""
    sides = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
    names = ("image_path", "true_caption", "false_caption", *sides)
    for file, row in _rows(config, _json, names):
        left, top, width, height = (int(row[side]) for side in sides)
        captions = [row["true_caption"], row["false_caption"]]
        one = _contrast(config, file, [row["image_path"]], captions)
        cut = BytesIO()
        box = (left, top, left + width, top + height)
        open_image(one.images[0]).crop(box).save(cut, "PNG")
        yield replace(one, keys=(f"{one.keys[0]} {box}",), images=(cut.getvalue(),))


def _winoground(config: Composition) -> Iterator[Contrast]:
    """Lines of "image_0", "image_1", "caption_0" and "caption_1"; names without an ending are PNG,
    as in the authors' images.zip."""
    names = ("image_0", "image_1", "caption_0", "caption_1")
    for file, row in _rows(config, _lines, names):
        images = [
            name if Path(name).suffix else f"{name}.png"
            for name in (row["image_0"], row["image_1"])
        ]
        one = _contrast(config, file, images, [row["caption_0"], row["caption_1"]])
        yield replace(one, category="winoground")


def _rows(
    config: Composition, read: Callable[[Path], Any], names: Sequence[str]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The objects in the files, each with these names. Raises DataError, naming what is missing."""
    for file in find_files(config.path, [JSON_LINES, ".json"]):
        try:
            rows = list(read(file))
        except (ValueError, OSError, RecursionError, AttributeError, TypeError) as error:
            raise _wrong(file, config, Text.of(error)) from None
        for number, row in enumerate(rows, 1):
            missing = [
                name
                for name in names
                if not isinstance(row, dict) or (not row.get(name, "") and row.get(name) != 0)
            ]
            if missing:
                reason = Text(
                    f"row {number} has no {missing[0]}", f"第 {number} 行没有 {missing[0]}"
                )
                raise _wrong(file, config, reason)
            yield file, row


def _json(file: Path) -> Any:
    return json.loads(file.read_bytes())


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()]


def _contrast(
    config: Composition,
    file: Path,
    images: Sequence[str],
    captions: Sequence[str],
    language: Language = "en",
) -> Contrast:
    folder = Path(config.images or file.parent).expanduser()
    paths = [Path(as_on_disk(str(folder / name))) for name in images]
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(
            Text(
                f"{file} names {missing[0]}, which does not exist, expected a picture: set images "
                "to their folder, or copy them there",
                f"{file} 提到的 {missing[0]} 不存在；应为图片；请用 images 指明文件夹，"
                "或把图片复制过去",
            )
        )
    return Contrast(
        category=file.stem,
        language=language,
        keys=tuple(map(str, images)),
        images=tuple(paths),
        captions=tuple(map(str, captions)),
    )


def _wrong(file: Path, config: Composition, reason: Text) -> DataError:
    return DataError(
        Text(
            f"{file} is not what loader={config.loader!r} reads: {reason.en}; expected the file as "
            "it was published or written: choose the right loader, or get the file again",
            f"{file} 不能用 loader={config.loader!r} 读取：{reason.zh}；应为发布或生成的原样文件；"
            "请换 loader，或重新获取文件",
        )
    )


LOADERS: dict[str, Callable[[Composition], Iterable[Contrast]]] = {
    "rules": _rules,
    "contrasts": _contrasts,
    "sugarcrepe": _sugarcrepe,
    "aro": _aro,
    "winoground": _winoground,
}
"""What reads the files."""

"""The lowest-scored answers of each task as part of an HTML page: picture, question, reference
answer, answer and score."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape

from PIL import Image

from seesay.data.images import ImageSource, open_image
from seesay.errors import ConfigError, DataError, ImageError, MissingExtraError
from seesay.evaluation.answer_store import AnswerStore, StoredAnswer
from seesay.evaluation.published import load_samples
from seesay.evaluation.report import format_value
from seesay.evaluation.samples import Sample
from seesay.evaluation.scorers import SCORERS
from seesay.evaluation.suites import SuiteConfig, SuiteReport, TaskConfig
from seesay.text import Text

SIDE = 192
"""Of a thumbnail, in pixels."""
QUALITY = 75
MOST_PICTURES = 4
"""Of an answer."""
LONGEST = 300
"""Characters that are shown of a text."""
STYLE = """<style>
.worst { display: grid; gap: 1em; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)) }
.worst figure { margin: 0; padding: .6em; border: 1px solid #ddd; overflow-wrap: anywhere }
.worst img { max-width: 100%; vertical-align: top; margin-right: .2em }
.worst dl { margin: .5em 0 0; font-size: 13px; line-height: 1.4; white-space: pre-line }
.worst dt { color: #555; float: left; clear: left; margin-right: .5em }
.worst dd { margin: 0; overflow-wrap: break-word }
.worst dd::after { content: ""; display: block; clear: left }
</style>"""


@dataclass(frozen=True, kw_only=True)
class WorstAnswers:
    """The answers to a task that scored lowest by a scorer, the worst first."""

    task: str
    scorer: str
    answers: tuple[tuple[StoredAnswer, float], ...]
    """Each with its score."""
    thumbnails: dict[str, tuple[bytes, ...]]
    """By sample, JPEG; none where the data is no longer there."""


def worst_answers(
    suite: SuiteConfig, store: AnswerStore, report: SuiteReport, number: int
) -> list[WorstAnswers]:
    """Finds the `number` lowest-scored answers of each task by its first scorer that scores answers
    one by one, and reads their pictures again from the data. Fully right answers are left out."""
    sheets = []
    for name, task in suite.tasks.items():
        scorers = [one.scorer for one in report.scores if one.task == name and one.values]
        scorer = next((one for one in scorers if not SCORERS[one].whole), None)
        if scorer is None or not (worst := _worst(name, scorer, store, number)):
            continue
        pictures = _thumbnails(task, {answer.sample for answer, _ in worst})
        sheets.append(
            WorstAnswers(task=name, scorer=scorer, answers=tuple(worst), thumbnails=pictures)
        )
    return sheets


def _worst(
    task: str, scorer: str, store: AnswerStore, number: int
) -> list[tuple[StoredAnswer, float]]:
    """Of the same score, the first of each picture come first, and those that the model was most
    certain of."""
    scores = store.scores(task, scorer)
    seen: Counter[str] = Counter()
    ranked = []
    for answer in store.answers(task):
        if answer.sample not in scores:
            continue
        _, score = scores[answer.sample]
        if score < 1 or SCORERS[scorer].each is not None:  # CIDEr goes to 10
            ranked.append((score, seen[answer.pictures], -(answer.certainty or 0.0), answer))
            seen[answer.pictures] += 1
    ranked.sort(key=lambda one: one[:3])
    return [(answer, score) for score, _, _, answer in ranked[:number]]


def _thumbnails(task: TaskConfig, wanted: set[str]) -> dict[str, tuple[bytes, ...]]:
    pictures: dict[str, tuple[bytes, ...]] = {}
    with suppress(DataError, ConfigError, MissingExtraError, OSError):
        for sample in load_samples(task).samples:
            if isinstance(sample, Sample) and sample.key in wanted:
                pictures[sample.key] = tuple(thumbnails(sample.images[:MOST_PICTURES]))
            if len(pictures) == len(wanted):
                break
    return pictures


def thumbnails(images: Iterable[ImageSource]) -> Iterator[bytes]:
    """Yields small JPEGs, of those that can be read."""
    for image in images:
        with suppress(ImageError):
            picture = open_image(image, target=SIDE, srgb=True)
            picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=QUALITY)
            yield stream.getvalue()


def worst_html(sheets: Sequence[WorstAnswers], language: str = "en") -> str:
    """The worst answers of each task as a part of a page; empty if there are none."""
    if not sheets:
        return ""
    parts = [STYLE]
    for one in sheets:
        title = Text(
            f"{one.task}: lowest scores by {one.scorer}", f"{one.task}：{one.scorer} 得分最低"
        ).in_language(language)
        figures = "".join(_figure(one, answer, score, language) for answer, score in one.answers)
        parts.append(f'<h2>{escape(title)}</h2><div class="worst">{figures}</div>')
    return "\n".join(parts)


def _figure(sheet: WorstAnswers, answer: StoredAnswer, score: float, language: str) -> str:
    none = Text("(picture not available)", "（图片已不可用）").in_language(language)
    lines = (
        (Text("question", "问题"), answer.prompt),
        (Text("reference answer", "标准答案"), _truth(answer)),
        (Text("answer", "回答"), answer.answer or Text("(empty)", "（空）").in_language(language)),
        (Text("score", "得分"), format_value(score)),
        (Text("sample", "样本"), answer.sample),
    )
    named = [(name.in_language(language), text) for name, text in lines]
    return figure(sheet.thumbnails.get(answer.sample, ()), named, none)


def figure(pictures: Iterable[bytes], lines: Iterable[tuple[str, str]], none: str) -> str:
    """JPEGs, or the text `none` without one, above lines with a name each, in HTML; STYLE goes with
    it."""
    shown = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(one).decode()}">'
        for one in pictures
    )
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(_short(text))}</dd>" for name, text in lines
    )
    return f"<figure>{shown or escape(none)}<dl>{rows}</dl></figure>"


def _truth(answer: StoredAnswer) -> str:
    options = answer.truth.options
    texts = dict.fromkeys(answer.truth.answers)
    return " · ".join(f"{one}. {options[one]}" if one in options else one for one in texts)


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} …"

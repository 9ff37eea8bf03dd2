"""CapFilt: a filter drops the captions that do not fit their pictures, and a captioner may write
others, which are filtered alike (BLIP, Li et al. 2022, arXiv 2201.12086, section 3.3).

    records = RecordsConfig(path="shards/*.tar")
    run_capfilt(records, CapfiltConfig(), Path("clean"), load_comparing("seesay-base"))

Scores are computed block by block and stored in the folder, so that a run that was killed goes on
with the block it was in. What is kept follows from the scores alone: another threshold takes no
model.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.added import write_added
from seesay.data.files import import_pyarrow, write_whole
from seesay.data.kept import write_kept
from seesay.data.sources import RecordsConfig
from seesay.data.tables import write_csv
from seesay.errors import ConfigError, DataError
from seesay.inference.answer import Assistant
from seesay.inference.embedder import Embedder, require_images
from seesay.inference.matcher import Matcher
from seesay.text import Language, Text
from seesay.training.caption_scoring import CaptionScoring, Report
from seesay.training.pair_scores import MATCHED, cut_from_random
from seesay.training.score_store import DIGITS, ScoredCaption, ScoreStore

SCORES, KEPT, WRITTEN = "scores.sqlite", "kept.parquet", "written.jsonl"
AUDIT, SUMMARY = "audit.csv", "summary.json"
AUDIT_COLUMNS = ("key", "language", "caption", "source", "score", "random", "kept")


@dataclass(frozen=True, kw_only=True)
class CapfiltConfig:
    """How captions are written and which are kept."""

    threshold: float | None = None
    """Score from which a caption is kept; none: 0.5 for a matching head, and for a dual encoder
    the cosine that separates the captions of a language from the same ones with random pictures."""
    keep: float | None = None
    """Share of the captions of each language to keep, those with the highest scores; instead of a
    threshold."""
    top_p: float = 0.9
    """The captioner samples from the smallest set of most likely tokens whose probabilities add up
    to this, as BLIP does; 0: it always takes the most likely token."""
    seed: int = 0
    """Seed of the random pictures and of the captioner."""

    def __post_init__(self) -> None:
        if self.threshold is not None and self.keep is not None:
            raise ConfigError(
                Text(
                    f"threshold={self.threshold} and keep={self.keep} are both set, expected one "
                    "of them: leave the other out",
                    f"threshold={self.threshold} 与 keep={self.keep} 不能同时用；应只用其一；请去"
                    "掉另一个",
                )
            )
        share = 1.0 if self.keep is None else self.keep
        if not 0 < share <= 1 or not 0 <= self.top_p <= 1 or self.seed < 0:
            given = f"keep={self.keep}", f"top_p={self.top_p}", f"seed={self.seed}"
            raise ConfigError(
                Text(
                    f"{', '.join(given)} cannot be used, expected a share above 0 and up to 1, a "
                    "top_p from 0 to 1 and a seed of at least 0: correct them",
                    f"{'、'.join(given)} 不能用；keep 应大于 0 且不超过 1，top_p 应为 0 到 1，"
                    "seed 至少为 0；请改正",
                )
            )


@dataclass(frozen=True, kw_only=True)
class LanguageReport:
    """What came of the captions in a language."""

    language: Language
    threshold: float
    captions: int
    """Those of the records."""
    kept: int
    written: int
    """Those of the captioner."""
    written_kept: int
    random_kept: float | None
    """Share of captions that would be kept with a random other picture; None for a matching
    head."""


@dataclass(frozen=True, kw_only=True)
class CapfiltReport:
    """What came of it."""

    records: int
    """Records that could be read."""
    kept_records: int
    """Records that keep a caption or get one."""
    damaged: int
    unwritten: int
    """Captions that the captioner did not bring to an end, or wrote in another language."""
    languages: tuple[LanguageReport, ...]


def run_capfilt(
    records: RecordsConfig,
    config: CapfiltConfig,
    out: Path,
    comparing: Embedder | Matcher,
    captioner: Assistant | None = None,
    *,
    report: Report | None = None,
) -> CapfiltReport:
    """Scores every caption, and those that `captioner` writes, and fills the folder `out`:
    kept.parquet, the list for `kept` of a source; with a captioner written.jsonl, for `added`;
    audit.csv, every caption with its score; summary.json, settings and totals; scores.sqlite, from
    which a run goes on. Records are read once, and the random pictures that texts are compared with
    a second time; in memory are a block of records and the scores of one language.

    Raises ConfigError if `out` was begun with other data or models or holds something else, or if
    the model does not tell the captions from random ones; DataError if there is no caption or none
    would be kept; MissingExtraError without pyarrow.
    """
    import_pyarrow()
    check_out(out)
    if isinstance(comparing, Embedder):
        require_images(comparing.name, comparing.has_images)
    scoring = CaptionScoring(records, captioner, top_p=config.top_p, seed=config.seed)
    store = _open_store(out, scoring.settings(comparing))
    try:
        scoring.run(store, comparing, report or (lambda done, total, failed: None))
        thresholds = dict(_thresholds(records, config, comparing, store))
        return _write(out, scoring, config, store, thresholds)
    finally:
        store.close()


def check_out(out: Path) -> None:
    """Raises ConfigError if `out` holds anything but what an earlier run wrote."""
    own = {SCORES, f"{SCORES}-journal", KEPT, WRITTEN, AUDIT, SUMMARY}
    there = {file.name for file in out.iterdir()} if out.is_dir() else set[str]()
    # A kill may leave an unfinished file, whose name begins with a full stop.
    foreign = sorted(name for name in there - own if not name.startswith("."))
    if foreign or (there and SCORES not in there) or (out.exists() and not out.is_dir()):
        raise ConfigError(
            Text(
                f"{out} holds something else ({', '.join(foreign[:3]) or 'no scores'}), expected "
                "a new folder, or one that an earlier run began: choose another folder",
                f"{out} 里有别的内容（{'、'.join(foreign[:3]) or '没有分数'}）；应为新文件夹，或"
                "以前运行开始的文件夹；请换一个文件夹",
            )
        )


def _open_store(out: Path, settings: Mapping[str, Any]) -> ScoreStore:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            Text(
                f"the folder {out} cannot be created ({error.strerror}), expected a place with the "
                "right to write: choose another path",
                f"无法创建文件夹 {out}（{error.strerror}）；应为有写权限的位置；请换一个路径",
            )
        ) from None
    return ScoreStore(out / SCORES, settings)


def _thresholds(
    records: RecordsConfig,
    config: CapfiltConfig,
    comparing: Embedder | Matcher,
    store: ScoreStore,
) -> Iterator[tuple[Language, float]]:
    """Yields the threshold of each language that has captions. Raises DataError if none has."""
    none = True
    for language in records.languages:
        scores = store.scores(language)
        if not len(scores):
            continue
        none = False
        if config.keep is not None:
            kept = max(1, round(config.keep * len(scores)))
            yield language, float(np.sort(scores[:, 0])[-kept])
        elif config.threshold is not None:
            yield language, config.threshold
        elif isinstance(comparing, Matcher):
            yield language, MATCHED
        else:
            cut = cut_from_random(scores[:, 0], scores[:, 1])
            if not cut.significant:
                raise _indifferent(comparing.name, language, len(scores))
            yield language, cut.threshold
    if none:
        names = records.languages
        raise DataError(
            Text(
                f"no picture of {records.path} that can be read has a caption in "
                f"{' or '.join(names)}, expected at least one: correct the path, the columns or "
                "the language, or name a captioner",
                f"{records.path} 里能读取的图片都没有 {' 或 '.join(names)} 的描述；至少应有一条；"
                "请改正路径、列名或语言，或指定写描述的模型",
            )
        )


def _indifferent(name: str, language: Language, captions: int) -> ConfigError:
    return ConfigError(
        Text(
            f"{name} scores the {captions} captions in {language!r} no higher than with random "
            "pictures, expected a filter that tells them apart: name another filter, leave the "
            "language out, or give a threshold",
            f"{name} 给 {language!r} 的 {captions} 条描述打的分，并不比配上随机图片时高；应为能区分"
            "两者的过滤模型；请换一个过滤模型、去掉这种语言，或给出阈值",
        )
    )


def _write(
    out: Path,
    scoring: CaptionScoring,
    config: CapfiltConfig,
    store: ScoreStore,
    thresholds: Mapping[Language, float],
) -> CapfiltReport:
    """Writes the files that follow from the scores. Raises DataError if nothing is kept."""

    def kept() -> Iterator[ScoredCaption]:
        return (one for one in store.captions() if one.score >= thresholds[one.language])

    result = _report(store, thresholds)
    if not result.kept_records:
        raise _nothing_kept(out, thresholds)
    with write_whole(out / KEPT) as file:
        captions = (one.as_kept for one in kept())
        write_kept(file, captions, len(scoring.source), scoring.records.languages)
    if scoring.captioner is not None:
        with write_whole(out / WRITTEN) as file:
            write_added(file, _lines(one for one in kept() if one.written))
    with write_whole(out / AUDIT) as file, file.open("w", encoding="utf-8-sig", newline="") as csv:
        write_csv(csv, chain([AUDIT_COLUMNS], _audit(store, thresholds)))
    with write_whole(out / SUMMARY) as file:
        totals = {**asdict(config), **store.settings, **asdict(result)}
        file.write_text(json.dumps(totals, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return result


def _lines(captions: Iterator[ScoredCaption]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yields the key of each record and its captions by language."""
    for _, of_record in groupby(captions, key=lambda one: one.number):
        texts: dict[str, list[str]] = {}
        for one in of_record:
            texts.setdefault(one.language, []).append(one.text)
            key = one.key
        yield key, texts


def _audit(store: ScoreStore, thresholds: Mapping[Language, float]) -> Iterator[Sequence[object]]:
    for one in store.captions():
        source = "written" if one.written else "records"
        kept = "yes" if one.score >= thresholds[one.language] else "no"
        yield one.key, one.language, one.text, source, one.score, one.random, kept


def _report(store: ScoreStore, thresholds: Mapping[Language, float]) -> CapfiltReport:
    counts = Counter[tuple[Language, bool, bool]]()
    kept_records, last = 0, -1
    for one in store.captions():
        kept = one.score >= thresholds[one.language]
        counts[one.language, one.written, kept] += 1
        if kept and one.number != last:
            kept_records, last = kept_records + 1, one.number
    languages = []
    for language, threshold in thresholds.items():
        random = store.scores(language)[:, 1]
        languages.append(
            LanguageReport(
                language=language,
                threshold=round(threshold, DIGITS),
                captions=counts[language, False, False] + counts[language, False, True],
                kept=counts[language, False, True],
                written=counts[language, True, False] + counts[language, True, True],
                written_kept=counts[language, True, True],
                random_kept=None if np.isnan(random).all() else float((random >= threshold).mean()),
            )
        )
    progress = store.progress
    return CapfiltReport(
        records=progress.records,
        kept_records=kept_records,
        damaged=progress.damaged,
        unwritten=progress.unwritten,
        languages=tuple(languages),
    )


def _nothing_kept(out: Path, thresholds: Mapping[Language, float]) -> DataError:
    given = ", ".join(f"{language} {number:.3f}" for language, number in thresholds.items())
    return DataError(
        Text(
            f"no caption reaches the threshold ({given}), expected at least one; the scores are "
            f"in {out}: lower the threshold, or keep a share",
            f"没有描述达到阈值（{given}）；至少应有一条；分数在 {out}；请调低阈值，或改为保留一定"
            "比例",
        )
    )

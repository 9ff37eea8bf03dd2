"""Balances captioned images by concepts, as MetaCLIP does (Xu et al. 2024, arXiv 2309.16671,
algorithm 1).

What is kept or dropped is a pair: an image with one of its captions. A concept in more than `cap`
captions keeps each of their pairs with probability cap / count, any other concept keeps all of
its own, and a pair stays if any concept in its caption keeps it. So what is rare stays whole, and
what is frequent comes to about the cap, or more where it stands beside rarer concepts.

Each draw is a hash of the seed, the concept and the pair. It depends neither on the order of the
records nor on how they are split into files.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from seesay.data.concepts import Concept, Terms
from seesay.data.files import import_pyarrow, write_whole_folder
from seesay.data.formats.records import Record, Source
from seesay.data.kept import KeptCaption, write_kept
from seesay.data.sources import RecordsConfig, open_records, used_records
from seesay.data.tables import write_csv
from seesay.errors import ConfigError, DataError
from seesay.text import Language, Text, to_unicode

KEPT, AUDIT, SUMMARY = "kept.parquet", "audit.csv", "summary.json"
AUDIT_COLUMNS = ("concept", "language", "before", "after", "probability")

Report = Callable[[int, int, int], None]
Note = tuple[KeptCaption, str, list[int]]


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """How records are balanced."""

    cap: int
    """Captions with a concept beyond which it is thinned out; MetaCLIP: 20,000 of 400 million."""
    seed: int = 0
    """Seed of the draws."""
    min_count: int = 20
    """Captions that must have a word before it counts as a concept; 0: only listed concepts
    count."""
    concepts: tuple[Concept, ...] = ()
    """Listed concepts."""
    unmatched: bool = False
    """Whether to keep captions that have none of the concepts."""

    def __post_init__(self) -> None:
        if self.cap < 1 or self.seed < 0 or self.min_count < 0:
            given = f"cap={self.cap}", f"seed={self.seed}", f"min_count={self.min_count}"
            raise ConfigError(
                Text(
                    f"{', '.join(given)} cannot be used, expected at least 1, 0 and 0: raise them",
                    f"{'、'.join(given)} 不能用；应分别至少为 1、0 和 0；请调大",
                )
            )
        if not self.min_count and not self.concepts:
            raise ConfigError(
                Text(
                    "min_count=0 and no listed concept leave nothing to balance by, expected "
                    "either: raise min_count, or give a list of concepts",
                    "min_count=0 又没有概念表，没有可依据的概念；至少应有其一；请调大 min_count，"
                    "或给出概念表",
                )
            )


@dataclass(frozen=True, kw_only=True)
class ConceptCount:
    """A line of the audit: how many captions have a concept before and after."""

    concept: str
    language: Language
    before: int
    after: int
    probability: float
    """That the concept keeps a caption."""


@dataclass(frozen=True, kw_only=True)
class BalanceReport:
    """What came of it. `captions` is the sum of `kept` and `dropped`."""

    captions: int
    """Captions in the languages, each a pair with its image."""
    kept: int
    dropped: int
    unmatched: int
    """Captions that have none of the concepts."""
    records: int
    """Images that could be read."""
    kept_records: int
    """Images that keep a caption."""
    without_captions: int
    """Images without a caption in the languages."""
    damaged: int
    """Records that could not be read."""
    concepts: tuple[ConceptCount, ...]
    """Most frequent first."""


def balance(
    records: RecordsConfig,
    config: BalanceConfig,
    out: Path,
    *,
    replace: bool = False,
    report: Report | None = None,
) -> BalanceReport:
    """Chooses captions and writes the folder `out`: kept.parquet, the list for `kept` of a source;
    audit.csv, the count of each concept; summary.json, the settings and totals. The folder appears
    whole or not at all. Records are read once, one after another; in memory are the different terms
    of all captions with their counts, and on disk, meanwhile, which terms each caption has.

    Raises ConfigError if `out` exists, unless it is such a folder and `replace` is given; DataError
    if there is no caption or none would be kept; MissingExtraError without pyarrow, or for Chinese
    without jieba.
    """
    import_pyarrow()
    check_replaceable(out, replace)
    source = open_records(records)
    with TemporaryFile("w+", encoding="ascii") as notes:
        survey = _Survey(records, Terms(config.concepts), notes)
        survey.read(source, report or (lambda done, total, failed: None))
        draws = _Draws(config, survey.concepts(), survey.notes)
        with write_whole_folder(out, replace=replace) as folder:
            write_kept(folder / KEPT, draws.kept(), len(source), records.languages)
            result = draws.result(survey)
            _check_kept(records, result)
            _write_audit(folder / AUDIT, result)
            _write_summary(folder / SUMMARY, records, config, result)
    return result


def _check_kept(records: RecordsConfig, result: BalanceReport) -> None:
    if not result.kept:
        raise DataError(
            Text(
                f"none of the {result.captions} captions of {records.path} has one of the "
                f"{len(result.concepts)} concepts, expected at least one: lower min_count, add "
                "concepts, or keep captions without any",
                f"{records.path} 的 {result.captions} 条描述都不含 {len(result.concepts)} 个概念中"
                "的任何一个；至少应有一条；请调小 min_count、补充概念，或保留不含概念的描述",
            )
        )


def check_replaceable(out: Path, replace: bool) -> None:
    """Raises ConfigError if `out` exists and must not be replaced: it never is where it holds
    anything that `balance` did not write."""
    if not out.exists():
        return
    own = out.is_dir() and {file.name for file in out.iterdir()} <= {KEPT, AUDIT, SUMMARY}
    if replace and own:
        return
    en, zh = (
        "choose another folder, or replace it by --force",
        "请换一个文件夹，或加上 --force 替换",
    )
    if not own:
        en, zh = "choose another folder", "请换一个文件夹"
    what = Text("exists", "已存在") if own else Text("holds something else", "里有别的内容")
    raise ConfigError(
        Text(
            f"{out} {what.en}, expected a new folder: {en}",
            f"{out} {what.zh}；应为新文件夹；{zh}",
        )
    )


class _Survey:
    """Reads records once, and notes the terms of each caption in a file."""

    def __init__(self, records: RecordsConfig, terms: Terms, file: TextIO) -> None:
        self.captions = self.records = self.without_captions = self.damaged = 0
        self._config, self._terms, self._file = records, terms, file
        self._counts: list[int] = []
        self._numbers: dict[Language, dict[str, int]] = {one: {} for one in records.languages}
        """Of each term, by language: its index in the counts."""

    def read(self, source: Source, report: Report) -> None:
        """Raises DataError if no record has captions in the languages."""
        used = used_records(self._config, source)
        self.damaged = len(source.damaged)
        for done, number in enumerate(used):
            report(done, len(used), self.damaged)
            try:
                record = source[number]
            except DataError:  # training will report it
                self.damaged += 1
            else:
                self.records += 1
                self._note(number, record)
        if not self.captions:
            path, languages = self._config.path, self._config.languages
            raise DataError(
                Text(
                    f"none of the {self.records} records of {path} that can be read has a caption "
                    f"in {' or '.join(languages)}, expected at least one: correct the path, the "
                    "columns or the language",
                    f"{path} 能读取的 {self.records} 条记录都没有 {' 或 '.join(languages)} 的描述；"
                    "至少应有一条；请改正路径、列名或语言",
                )
            )

    def _note(self, number: int, record: Record) -> None:
        before, digest = self.captions, _digest(record)
        for language in self._config.languages:
            for place, text in enumerate(record.captions.get(language, ())):
                caption = KeptCaption(number, record.key, language, place)
                pair = blake2b(text.encode(errors="surrogatepass"), key=digest, digest_size=16)
                terms = self._count(text, language)
                self._file.write(json.dumps([caption, pair.hexdigest(), terms]) + "\n")
                self.captions += 1
        self.without_captions += self.captions == before

    def _count(self, text: str, language: Language) -> list[int]:
        """Returns the numbers of a caption's terms, and counts them."""
        numbers, counts = self._numbers[language], self._counts
        terms = []
        for term in self._terms.of(text, language):
            if (number := numbers.get(term)) is None:
                number = numbers[term] = len(counts)
                counts.append(0)
            counts[number] += 1
            terms.append(number)
        return terms

    def concepts(self) -> list[Concept | None]:
        """Returns the concept of each term, keyed by the term's index."""
        terms = [
            (number, Concept(term, language))
            for language, numbers in self._numbers.items()
            for term, number in numbers.items()
        ]
        counts = {term: self._counts[number] for number, term in terms}
        return [self._terms.concept(term, counts) for _, term in sorted(terms)]

    def notes(self) -> Iterator[Note]:
        """Yields each caption with what tells its pair from others, and its terms."""
        self._file.seek(0)
        for caption, pair, terms in map(json.loads, self._file):
            yield KeptCaption(*caption), pair, terms


class _Draws:
    """The decisions about all captions."""

    def __init__(
        self,
        config: BalanceConfig,
        concepts: list[Concept | None],
        notes: Callable[[], Iterator[Note]],
    ) -> None:
        self._config, self._concepts, self._notes = config, concepts, notes
        counts = Counter(chain.from_iterable(self._of(terms) for *_, terms in notes()))
        listed = dict.fromkeys(config.concepts, 0)
        least = config.min_count or float("inf")
        self._before = listed | {c: n for c, n in counts.items() if c in listed or n >= least}
        self._probability = {c: min(1.0, config.cap / max(n, 1)) for c, n in self._before.items()}
        self._concepts = [one if one in self._before else None for one in concepts]
        self._after: Counter[Concept] = Counter()
        self._unmatched = self._kept = self._kept_records = 0

    def _of(self, terms: list[int]) -> set[Concept]:
        """The concepts of a caption: several terms may be one."""
        return {concept for term in terms if (concept := self._concepts[term]) is not None}

    def kept(self) -> Iterator[KeptCaption]:
        """Yields each caption that stays, and counts its concepts."""
        last = -1
        for caption, pair, terms in self._notes():
            concepts = self._of(terms)
            self._unmatched += not concepts
            if self._stays(concepts, pair):
                self._kept += 1
                self._kept_records += caption.number != last
                last = caption.number
                self._after.update(concepts)
                yield caption

    def _stays(self, concepts: set[Concept], pair: str) -> bool:
        if not concepts:
            return self._config.unmatched
        chances = [(concept, self._probability[concept]) for concept in concepts]
        return any(chance == 1 for _, chance in chances) or any(
            draw(self._config.seed, concept, pair) < chance for concept, chance in chances
        )

    def result(self, survey: _Survey) -> BalanceReport:
        """What came of it, once `kept` has come to its end."""
        ordered = sorted(self._before.items(), key=lambda one: (-one[1], one[0]))
        return BalanceReport(
            captions=survey.captions,
            kept=self._kept,
            dropped=survey.captions - self._kept,
            unmatched=self._unmatched,
            records=survey.records,
            kept_records=self._kept_records,
            without_captions=survey.without_captions,
            damaged=survey.damaged,
            concepts=tuple(
                ConceptCount(
                    concept=concept.name,
                    language=concept.language,
                    before=count,
                    after=self._after[concept],
                    probability=self._probability[concept],
                )
                for concept, count in ordered
            ),
        )


def draw(seed: int, concept: Concept, pair: str) -> float:
    """A number from 0 up to 1 for a concept in a pair."""
    text = f"{seed} {concept.language} {concept.name} {pair}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _digest(record: Record) -> bytes:
    """What tells an image from others wherever it is stored: its bytes, or the name of a file
    beside a table. Keys will not do: those of Parquet files may count rows, and the keys of each
    shard may begin at 0."""
    image = record.image
    if isinstance(image, Path):
        image = image.name.encode(errors="surrogatepass")
    return blake2b(image, digest_size=16).digest()


def _write_audit(file: Path, result: BalanceReport) -> None:
    rows = [[getattr(one, name) for name in AUDIT_COLUMNS] for one in result.concepts]
    with file.open("w", encoding="utf-8-sig", newline="") as stream:  # as spreadsheets expect it
        write_csv(stream, [AUDIT_COLUMNS, *rows])


def _write_summary(
    file: Path, records: RecordsConfig, config: BalanceConfig, result: BalanceReport
) -> None:
    settings = {"cap": config.cap, "seed": config.seed, "min_count": config.min_count}
    totals = {
        "path": to_unicode(records.path),
        "languages": records.languages,
        **settings,
        "keep_unmatched": config.unmatched,
        **{name: value for name, value in asdict(result).items() if name != "concepts"},
        "concepts": len(result.concepts),
    }
    file.write_text(json.dumps(totals, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

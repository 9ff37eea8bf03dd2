"""Balances records by concepts, as MetaCLIP does (Xu et al. 2024, arXiv 2309.16671, algorithm 1).

A concept that is in more than `cap` records keeps each of them with probability cap / count, all
other concepts keep all of theirs, and a record stays if any concept in its captions keeps it. So
what is rare stays whole, and what is frequent comes to about the cap, or more where rarer concepts
stand beside it.

Each draw is a hash of the seed, the concept and what the record holds. It depends neither on the
order of the records nor on how they are split into files.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from seesay.data.concepts import Concept, Terms
from seesay.data.files import import_pyarrow, write_whole_folder
from seesay.data.formats.records import Record, Source
from seesay.data.kept import write_kept
from seesay.data.sources import RecordsConfig, open_records, used_records
from seesay.data.tables import write_csv
from seesay.errors import ConfigError, DataError
from seesay.text import Language, Text, to_unicode

KEPT, AUDIT, SUMMARY = "kept.parquet", "audit.csv", "summary.json"
AUDIT_COLUMNS = ("concept", "language", "before", "after", "probability")

Report = Callable[[int, int, int], None]


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """How records are balanced."""

    cap: int
    """Records with a concept beyond which it is thinned out; MetaCLIP: 20,000 of 400 million."""
    seed: int = 0
    """Seed of the draws."""
    min_count: int = 20
    """Records that must have a word of the captions before it counts as a concept; 0: only listed
    concepts count."""
    concepts: tuple[Concept, ...] = ()
    """Listed concepts."""
    unmatched: bool = False
    """Whether to keep records whose captions have none of the concepts."""

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
    """A line of the audit: how many records have a concept before and after."""

    concept: str
    language: Language
    before: int
    after: int
    probability: float
    """That the concept keeps a record."""


@dataclass(frozen=True, kw_only=True)
class BalanceReport:
    """What came of it. `records` is the sum of `kept` and `dropped`."""

    records: int
    """Records that could be read."""
    kept: int
    dropped: int
    unmatched: int
    """Records with captions that have none of the concepts."""
    without_captions: int
    """Records without a caption in the languages; they are dropped."""
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
    """Chooses records and writes the folder `out`: kept.parquet, the list for `kept` of a source;
    audit.csv, the count of each concept; summary.json, the settings and totals. The folder appears
    whole or not at all. Records are read once, one after another; in memory are the terms of all
    captions and their counts.

    Raises ConfigError if `out` exists, unless it is such a folder and `replace` is given; DataError
    if no record has captions or none would be kept; MissingExtraError without pyarrow, or for
    Chinese without jieba.
    """
    import_pyarrow()
    check_replaceable(out, replace)
    source = open_records(records)
    with TemporaryFile("w+", encoding="ascii") as notes:
        survey = _Survey(records, Terms(config.concepts), notes)
        survey.read(source, report or (lambda done, total, failed: None))
        draws = survey.draws(config)
        with write_whole_folder(out, replace=replace) as folder:
            write_kept(folder / KEPT, draws.kept(), len(source))
            result = draws.result(survey)
            if not result.kept:
                raise DataError(
                    Text(
                        f"none of the {result.records} records of {records.path} has one of the "
                        f"{len(result.concepts)} concepts, expected at least one: lower min_count, "
                        "add concepts, or keep records without any",
                        f"{records.path} 的 {result.records} 条记录都不含 {len(result.concepts)} 个"
                        "概念中的任何一个；至少应有一条；请调小 min_count、补充概念，或保留不含概念"
                        "的记录",
                    )
                )
            _write_audit(folder / AUDIT, result)
            _write_summary(folder / SUMMARY, records, config, result)
    return result


def check_replaceable(out: Path, replace: bool) -> None:
    """Raises ConfigError if `out` exists and must not be replaced: it never is where it holds
    anything that `balance` did not write."""
    if not out.exists():
        return
    own = out.is_dir() and {file.name for file in out.iterdir()} <= {KEPT, AUDIT, SUMMARY}
    if replace and own:
        return
    en, zh = "choose another folder, or replace it by --force", "请换一个文件夹，或加上 --force 替换"
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
    """Reads records once, and notes the terms of each in a file."""

    def __init__(self, records: RecordsConfig, terms: Terms, notes: TextIO) -> None:
        self.without_captions = self.damaged = self.read_count = 0
        self._records, self._terms, self._notes = records, terms, notes
        self._numbers: dict[Concept, int] = {}
        self._counts: Counter[int] = Counter()

    def read(self, source: Source, report: Report) -> None:
        """Raises DataError if no record has captions in the languages."""
        used = used_records(self._records, source)
        self.damaged = len(source.damaged)
        for done, number in enumerate(used):
            report(done, len(used), self.damaged)
            try:
                record = source[number]
            except DataError:  # training will report it
                self.damaged += 1
                continue
            self.read_count += 1
            self._note(number, record)
        if self.read_count == self.without_captions:
            languages = self._records.languages
            raise DataError(
                Text(
                    f"none of the {self.read_count} records of {self._records.path} that can be "
                    f"read has a caption in {' or '.join(languages)}, expected at least one: "
                    "correct the path, the columns or the language",
                    f"{self._records.path} 能读取的 {self.read_count} 条记录都没有 "
                    f"{' 或 '.join(languages)} 的描述；至少应有一条；请改正路径、列名或语言",
                )
            )

    def _note(self, number: int, record: Record) -> None:
        captions = {one: record.captions.get(one, ()) for one in self._records.languages}
        if not any(captions.values()):
            self.without_captions += 1
            return
        numbers = self._numbers
        terms = [numbers.setdefault(term, len(numbers)) for term in self._terms.of(captions)]
        self._counts.update(terms)
        line = json.dumps([number, record.key, _identity(record), terms])
        self._notes.write(line + "\n")

    def draws(self, config: BalanceConfig) -> "_Draws":
        """The decisions about all records, for the concepts that are frequent enough."""
        counts = {term: self._counts[number] for term, number in self._numbers.items()}
        concepts = [self._terms.concept(term, counts) for term in self._numbers]
        return _Draws(config, concepts, self.lines)

    def lines(self) -> Iterator[tuple[int, str, str, list[int]]]:
        """Yields the number, key, identity and terms of each record with captions."""
        self._notes.seek(0)
        yield from map(json.loads, self._notes)


class _Draws:
    def __init__(
        self,
        config: BalanceConfig,
        concepts: list[Concept | None],
        lines: Callable[[], Iterator[tuple[int, str, str, list[int]]]],
    ) -> None:
        self._config, self._concepts, self._lines = config, concepts, lines
        counts = Counter(chain.from_iterable(self._of(terms) for *_, terms in lines()))
        listed = dict.fromkeys(config.concepts, 0)
        least = config.min_count or float("inf")
        self._before = listed | {c: n for c, n in counts.items() if c in listed or n >= least}
        self._after: Counter[Concept] = Counter()
        self._unmatched = self._kept = 0

    def _of(self, terms: list[int]) -> set[Concept]:
        """The concepts of a record: several terms may be one."""
        return {concept for term in terms if (concept := self._concepts[term]) is not None}

    def kept(self) -> Iterator[tuple[int, str]]:
        """Yields the number and key of each record that stays, and counts its concepts."""
        for number, key, identity, terms in self._lines():
            concepts = [concept for concept in self._of(terms) if concept in self._before]
            self._unmatched += not concepts
            stays = any(self._keeps(concept, identity) for concept in concepts)
            if stays or (self._config.unmatched and not concepts):
                self._kept += 1
                self._after.update(concepts)
                yield number, key

    def _probability(self, concept: Concept) -> float:
        return min(1.0, self._config.cap / max(self._before[concept], 1))

    def _keeps(self, concept: Concept, identity: str) -> bool:
        probability = self._probability(concept)
        return probability == 1 or draw(self._config.seed, concept, identity) < probability

    def result(self, survey: _Survey) -> BalanceReport:
        """What came of it, once `kept` has come to its end."""
        return BalanceReport(
            records=survey.read_count,
            kept=self._kept,
            dropped=survey.read_count - self._kept,
            unmatched=self._unmatched,
            without_captions=survey.without_captions,
            damaged=survey.damaged,
            concepts=tuple(
                ConceptCount(
                    concept=concept.name,
                    language=concept.language,
                    before=count,
                    after=self._after[concept],
                    probability=self._probability(concept),
                )
                for concept, count in sorted(
                    self._before.items(), key=lambda one: (-one[1], one[0])
                )
            ),
        )


def draw(seed: int, concept: Concept, identity: str) -> float:
    """A number from 0 up to 1 for a concept in a record."""
    text = f"{seed} {concept.language} {concept.name} {identity}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def _identity(record: Record) -> str:
    """What tells a record from others wherever it is stored: its image, or the file name of one
    that lies beside the table, and its captions. Keys will not do: those of Parquet files may count
    rows, and each shard may begin at 0."""
    is_path = isinstance(record.image, Path)
    image = record.image.name.encode(errors="surrogatepass") if is_path else record.image
    texts = sorted(chain.from_iterable(record.captions.values()))
    identity = blake2b(image, digest_size=16)
    identity.update("\n".join(["", *texts]).encode(errors="surrogatepass"))
    return identity.hexdigest()


def _write_audit(file: Path, result: BalanceReport) -> None:
    rows = [[getattr(one, name) for name in AUDIT_COLUMNS] for one in result.concepts]
    with file.open("w", encoding="utf-8-sig", newline="") as stream:  # as spreadsheets expect it
        write_csv(stream, [AUDIT_COLUMNS, *rows])


def _write_summary(
    file: Path, records: RecordsConfig, config: BalanceConfig, result: BalanceReport
) -> None:
    settings = {"cap": config.cap, "seed": config.seed, "min_count": config.min_count}
    totals: Mapping[str, object] = {
        "path": to_unicode(records.path),
        "languages": records.languages,
        **settings,
        "keep_unmatched": config.unmatched,
        **{name: value for name, value in asdict(result).items() if name != "concepts"},
        "concepts": len(result.concepts),
    }
    file.write_text(json.dumps(totals, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

"""Makes questions about the records of a source, and writes them beside it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from seesay.data.added import write_added
from seesay.data.files import check_folder, write_whole
from seesay.data.formats.records import REJECTED, Record, Source
from seesay.data.questions.asking import NO, YES, Asking, AskingConfig, QuestionPair
from seesay.data.questions.facts import FactReader, Facts
from seesay.data.questions.lexicon import Lexicon, Thing, read_lexicon
from seesay.data.questions.pope import Pope, Strategy
from seesay.data.questions.preferences import Preferences
from seesay.data.sources import RecordsConfig, open_records, read_classes, used_records
from seesay.errors import ConfigError, DataError, ImageError
from seesay.text import Language, Text

Report = Callable[[int, int, int], None]
Detect = Callable[[Record], Sequence[tuple[str, float]]]
"""Returns the labels of what a detector finds in a picture, each with its score."""
CERTAIN, DOUBTFUL = 0.5, 0.05
"""What a detector finds with at least the first score is there; what it finds with less than the
second is not."""


@dataclass(frozen=True, kw_only=True)
class QuestionsConfig(AskingConfig):
    """Which questions are made."""

    kind: Literal["rules", "pope", "preferences"] = "rules"
    """`rules`: all that captions, objects and classes answer; `pope`: whether labelled objects are
    there, to measure how often an assistant sees what is not there; `preferences`: each with a
    wrong answer about an absent object, to learn not to."""
    strategy: Strategy = "random"
    """How POPE draws absent objects."""
    objects: int = 3
    """Present objects, and absent ones, that `pope` and `preferences` ask about in each picture."""
    lexicon: Path | None = None
    """Lexicon file; none: the one that comes with seesay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy not in get_args(Strategy) or self.objects < 1:
            raise ConfigError(
                Text(
                    f"strategy={self.strategy!r} with objects={self.objects} cannot be used, "
                    f"expected {', '.join(get_args(Strategy))} and at least 1: correct them",
                    f"strategy={self.strategy!r}、objects={self.objects} 不能用；应为 "
                    f"{'、'.join(get_args(Strategy))} 之一，且至少为 1；请改正",
                )
            )


@dataclass(frozen=True, kw_only=True)
class QuestionCount:
    """How many questions of a kind are asked in a language."""

    kind: str
    language: Language
    questions: int
    yes: float | None
    """Share that is answered yes; None where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question with what is known of its picture."""

    key: str
    question: str
    answer: str
    rejected: str
    captions: tuple[str, ...]
    objects: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class QuestionsReport:
    """What came of it."""

    records: int
    """Records that could be read."""
    asked: int
    """Records with a question."""
    damaged: int
    counts: tuple[QuestionCount, ...]
    examples: tuple[Example, ...]
    """Drawn at random, as many as were wanted."""


def make_questions(
    records: RecordsConfig,
    config: QuestionsConfig,
    out: Path,
    *,
    detect: Detect | None = None,
    sample: int = 0,
    report: Report | None = None,
) -> QuestionsReport:
    """Writes the questions of every record, by key, to the JSONL file `out`, which `added` of a
    source reads; it appears whole or not at all. In memory are the facts of all records. Where
    nobody labelled the objects of a picture, `detect` may.

    Raises DataError if a file cannot be read or written, or if nothing can be asked.
    """
    check_folder(out)
    survey = _Survey(records, read_lexicon(config.lexicon), detect)
    source = open_records(records)
    facts = survey.read(source, report or (lambda done, total, failed: None))
    ask = _asker(survey, facts, config)
    questions = [(one.key, list(ask(one, records.languages))) for one in facts]
    if not any(asked for _, asked in questions):
        raise _nothing(records, config)
    with write_whole(out) as unfinished:
        write_added(unfinished, ((key, {"qa": [*map(_row, q)]}) for key, q in questions))
    return QuestionsReport(
        records=len(facts),
        asked=sum(1 for _, asked in questions if asked),
        damaged=survey.damaged + len(source.damaged),
        counts=tuple(_counts(records.languages, [one for _, q in questions for one in q])),
        examples=tuple(_examples(source, survey.numbers, questions, config, sample)),
    )


def _row(one: QuestionPair) -> dict[str, str]:
    row = asdict(one)
    return row if one.rejected else {name: row[name] for name in row if name != REJECTED}


class _Survey:
    """Reads the facts of all records."""

    def __init__(self, records: RecordsConfig, lexicon: Lexicon, detect: Detect | None) -> None:
        self.lexicon = lexicon
        self._detect = detect
        self.things: dict[str, Thing] = dict(lexicon.things)
        self.damaged = 0
        self.numbers: dict[str, int] = {}
        """Of the records, by key."""
        self._records = records
        self._reader = FactReader(lexicon, self.things)
        self._classes = self._class_things(records.classes)

    def _class_things(self, classes: str | None) -> list[str]:
        names = []
        for number, row in enumerate(read_classes(classes) if classes else ()):
            thing = Thing(name=row["en"], category="class", zh=(row["zh"],), measure="个")
            names.append(f"class {number}")
            self.things[names[-1]] = thing
        return names

    def read(self, source: Source, report: Report) -> list[Facts]:
        facts: dict[str, Facts] = {}
        used = used_records(self._records, source)
        for done, number in enumerate(used, 1):
            try:
                record = source[number]
                facts[record.key] = self._facts(record)
                self.numbers[record.key] = number
            except (DataError, ImageError):
                self.damaged += 1
            report(done, len(used), self.damaged)
        return list(facts.values())

    def _facts(self, record: Record) -> Facts:
        found = self._detect(record) if self._detect and not record.objects else ()
        labels = record.objects or [label for label, score in found if score >= CERTAIN]
        known = record.label is not None and 0 <= record.label < len(self._classes)
        label = self._classes[record.label] if known and record.label is not None else None
        return self._reader.read(
            record.key,
            record.captions,
            [self._thing(one) for one in labels],
            label,
            counted=not found,
            doubtful=[self._thing(one) for one, score in found if score >= DOUBTFUL],
        )

    def _thing(self, label: str) -> str:
        """The name in `things` of what a label means, added if it is new."""
        thing = self.lexicon.thing_of_label(label)
        if thing is None:
            name = f"label {label}"
            self.things.setdefault(
                name, Thing(name=label, category="label", zh=(), measure="个", coloured=False)
            )
            return name
        return thing.name


def _asker(
    survey: _Survey, facts: Sequence[Facts], config: QuestionsConfig
) -> Callable[[Facts, Sequence[Language]], Iterator[QuestionPair]]:
    if config.kind == "rules":
        asking = Asking(survey.lexicon, survey.things, facts, config)
        return asking.questions
    if config.kind == "preferences":
        preferences = Preferences(
            survey.lexicon, survey.things, facts, objects=config.objects, seed=config.seed
        )
        return preferences.questions
    pope = Pope(
        survey.things,
        facts,
        strategy=config.strategy,
        objects=config.objects,
        seed=config.seed,
    )
    return lambda one, languages: pope.questions(survey.lexicon, one, languages)


def _counts(
    languages: Sequence[Language], asked: Sequence[QuestionPair]
) -> Iterator[QuestionCount]:
    answers = Counter((one.kind, one.language, one.answer) for one in asked)
    for kind in sorted({one.kind for one in asked}):
        for language in languages:
            of_kind = {a: n for (k, of, a), n in answers.items() if (k, of) == (kind, language)}
            yes, no = (of_kind.get(one.in_language(language), 0) for one in (YES, NO))
            share = yes / (yes + no) if yes + no else None
            yield QuestionCount(
                kind=kind, language=language, questions=sum(of_kind.values()), yes=share
            )


def _examples(
    source: Source,
    numbers: Mapping[str, int],
    questions: Sequence[tuple[str, Sequence[QuestionPair]]],
    config: QuestionsConfig,
    wanted: int,
) -> Iterator[Example]:
    import random

    every = [(key, one) for key, asked in questions for one in asked]
    for key, one in random.Random(config.seed).sample(every, min(wanted, len(every))):
        record = source[numbers[key]]
        yield Example(
            key=key,
            question=one.question,
            answer=one.answer,
            rejected=one.rejected,
            captions=tuple(text for texts in record.captions.values() for text in texts),
            objects=record.objects,
        )


def _nothing(records: RecordsConfig, config: QuestionsConfig) -> DataError:
    expected = Text(
        "captions, objects or classes that the lexicon knows", "词表认识的描述、物体或类别"
    )
    if config.kind == "pope":
        expected = Text(
            f"a list `objects` with at least {config.objects} kinds in some record",
            f"有的记录里 objects 至少有 {config.objects} 种物体",
        )
    return DataError(
        Text(
            f"{records.path} gives no question, expected {expected.en}: correct the path, name the "
            "columns, or give the list of classes",
            f"{records.path} 提不出任何问题；应有{expected.zh}；请改正路径、指明列名，或给出类别表",
        )
    )

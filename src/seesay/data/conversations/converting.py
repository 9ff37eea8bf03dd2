"""Converts samples between seesay's records and the formats of fine-tuning toolkits, and checks
them.

    report = convert(ConvertConfig(path="train.json", target="ms-swift"), Path("out"))
    report.written, report.bad, report.problems

A sample that a toolkit would drop or stop at is skipped, counted, and listed with the reason.
"""

import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from seesay.data.conversations.configurations import (
    DEFAULT_MODEL,
    configurations,
    require_template,
)
from seesay.data.conversations.conversation import (
    IMAGE,
    VIDEO,
    Checker,
    Conversation,
    with_placeholders,
)
from seesay.data.conversations.files import DATASET_INFO, ENDINGS, Row, read_rows
from seesay.data.conversations.layouts import (
    LAYOUTS,
    PREFERENCES,
    TARGETS,
    TRAIN,
    DataFile,
    Target,
    Written,
    lost_of,
    write_files,
)
from seesay.data.conversations.records import AskingStyle, conversations_of
from seesay.data.conversations.rows import conversation_from, is_conversation, unread_fields
from seesay.data.files import write_whole_folder
from seesay.data.formats.records import find_files
from seesay.data.sources import RecordsConfig, format_of, open_records, require_known, used_records
from seesay.errors import ConfigError, DataError
from seesay.text import Text

Report = Callable[[int, int, int], None]
NAMED = 10
"""Bad samples that are listed; all are counted."""
_NOTHING = Text(
    "there are no questions with answers; add some (`seesay data vqa`, --added), or give a request "
    "for captions (--request)",
    "没有问答；请补上（`seesay data vqa`、--added），或用 --request 给出索取描述的话",
)


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """What is converted, and how."""

    records: RecordsConfig
    """Where the samples are; the content tells a toolkit's files from seesay's records."""
    target: Target = "ms-swift"
    """The format that is written."""
    copy: bool = False
    """Whether pictures and videos are copied, so that the folder can be moved; else samples name
    the files where they are. Pictures within archives are always written out."""
    style: AskingStyle = field(default_factory=AskingStyle)
    """How the questions of seesay's records become conversations."""
    model: str = DEFAULT_MODEL
    """The model that the configurations name."""

    def __post_init__(self) -> None:
        require_known("target", [self.target], TARGETS)
        require_template(self.target, self.model)


@dataclass(frozen=True, kw_only=True)
class ConvertReport:
    """The result of a conversion or a check."""

    samples: int
    """Samples that were read."""
    good: int
    """Those without a problem."""
    bad: int
    problems: tuple[Text, ...]
    """The first bad samples, each with its place and the reason."""
    placeholders: int
    """Placeholders of pictures and videos in the good samples."""
    images: int
    """Pictures of the good samples, counted once for each sample."""
    videos: int
    unasked: int
    """Records of seesay without a question, which give no sample."""
    placed: int
    """Good samples without placeholders; these were added before the first question."""
    unread: dict[str, int]
    """Fields that were dropped, and how many samples have each."""
    lost: dict[str, int]
    """What the toolkit ignores in training (system, rejected, turns), and how many samples have
    each."""
    files: dict[str, int]
    """The files written, and the number of samples in each."""
    configurations: tuple[str, ...]


class _Sample(NamedTuple):
    place: str
    conversation: Conversation | DataError
    unread: frozenset[str] = frozenset()


def check(config: ConvertConfig, report: Report | None = None) -> ConvertReport:
    """Reads all samples and counts their placeholders and files. Raises DataError if nothing can be
    read."""
    return _Run(config, None).result(report)


def convert(config: ConvertConfig, out: Path, report: Report | None = None) -> ConvertReport:
    """Writes the samples to the new folder `out`, with the toolkit's configurations; it appears
    whole or not at all. Raises ConfigError if `out` exists, DataError if no sample is good or the
    folder cannot be written."""
    if out.exists():
        raise ConfigError(
            Text(
                f"{out} exists, expected a new folder: choose another name, or remove it",
                f"{out} 已存在；应为新文件夹；请换一个名字，或先删除它",
            )
        )
    with write_whole_folder(out) as folder:
        return _Run(config, folder).result(report)


class _Run:
    def __init__(self, config: ConvertConfig, folder: Path | None) -> None:
        self._config = config
        self._layout = LAYOUTS[config.target]
        self._folder = folder
        self._checker = Checker()
        self._copies: dict[Path, str] = {}
        self._files: dict[str, DataFile] = {}
        self._problems: list[Text] = []
        self._counts: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def result(self, report: Report | None) -> ConvertReport:
        counts = self._counts
        with ExitStack() as stack:
            stack.callback(self._close)
            for sample in self._samples():
                counts["samples"] += 1
                self._take(sample)
                if report is not None:
                    report(counts["samples"], 0, counts["bad"])
            names = self._write() if self._folder else ()
        return ConvertReport(
            samples=counts["samples"],
            good=counts["samples"] - counts["bad"],
            bad=counts["bad"],
            problems=tuple(self._problems),
            placeholders=counts["placeholders"],
            images=counts["images"],
            videos=counts["videos"],
            unasked=counts["unasked"],
            placed=counts["placed"],
            unread=dict(self._unread),
            lost=dict(self._lost),
            files={
                f"{name}.{self._layout.ending}": file.count for name, file in self._files.items()
            },
            configurations=tuple(names),
        )

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def _samples(self) -> Iterator[_Sample]:
        path = self._config.records.path
        if Path(path).suffix.lower() in ENDINGS:
            files = find_files(path, ENDINGS)
            if _holds_conversations(files):
                self._require_no_records()
                for file in files:
                    yield from self._rows(file)
                return
        yield from self._records()

    def _require_no_records(self) -> None:
        """Raises ConfigError for settings that only apply to seesay's records."""
        records, style = self._config.records, self._config.style
        if records.added or records.columns or style.requests or style.together:
            raise ConfigError(
                Text(
                    f"{records.path} holds conversations; expected seesay's records with --added, "
                    "--column, --request or --turns: leave these options out",
                    f"{records.path} 里是对话；--added、--column、--request、--turns 只用于 seesay "
                    "的记录；请去掉这些选项",
                )
            )

    def _rows(self, file: Path) -> Iterator[_Sample]:
        images = self._config.records.images
        base = None if images is None else Path(images).expanduser()
        for row in read_rows(file):
            if not isinstance(row, Row):
                yield _Sample("", row)
                continue
            key = row.place.rpartition("/")[2]
            try:
                read = conversation_from(row.value, key, (base or row.folder).absolute())
                yield _Sample(row.place, read, frozenset(unread_fields(row.value)))
            except DataError as error:
                yield _Sample(row.place, error)

    def _records(self) -> Iterator[_Sample]:
        config, style = self._config.records, self._config.style
        style = replace(style, after_picture="\n" if self._config.target == "llava" else "")
        source = open_records(config)
        for damage in source.damaged:
            yield _Sample(damage.key, DataError(damage.reason))
        for number in used_records(config, source):
            place = config.path
            try:
                record = source[number]
                place = f"{config.path}: {record.key}"
                conversations = [*conversations_of(record, config.languages, style)]
                self._counts["unasked"] += not conversations
                for one in conversations:
                    images = (
                        image if isinstance(image, bytes) else image.absolute()
                        for image in one.images
                    )
                    yield _Sample(place, replace(one, images=tuple(images)))
            except DataError as error:
                yield _Sample(place, error)

    def _take(self, sample: _Sample) -> None:
        """Counts a sample, and puts it into a file if it is good."""
        try:
            if isinstance(sample.conversation, DataError):
                raise sample.conversation
            given = sample.conversation
            conversation = with_placeholders(given)
            self._checker.require(conversation)
            if self._folder is not None:
                self._add(conversation, self._folder)
        except DataError as error:
            self._counts["bad"] += 1
            if len(self._problems) < NAMED:
                at = f"{sample.place}: " if sample.place else ""
                self._problems.append(Text(f"{at}{error.text.en}", f"{at}{error.text.zh}"))
            return
        self._unread.update(sample.unread)
        self._counts["placed"] += conversation is not given
        self._counts["placeholders"] += conversation.count(IMAGE) + conversation.count(VIDEO)
        self._counts["images"] += len(conversation.images)
        self._counts["videos"] += len(conversation.videos)

    def _add(self, conversation: Conversation, folder: Path) -> None:
        written = Written(
            conversation=conversation,
            images=[self._place(image, folder, "images") for image in conversation.images],
            videos=[self._place(video, folder, "videos") for video in conversation.videos],
        )
        row = self._layout.row(written)
        apart = self._layout.apart and conversation.rejected is not None
        name = PREFERENCES if apart else TRAIN
        if name not in self._files:
            self._files[name] = DataFile()
        self._files[name].add(row)
        self._lost.update(lost_of(conversation, self._layout))

    def _place(self, media: bytes | Path, folder: Path, into: str) -> str:
        """The path by which a sample names a picture or video. What is written gets a name by its
        content, so that the same picture is written once."""
        if isinstance(media, Path) and not self._config.copy:
            return _writable(media)
        if isinstance(media, bytes):
            name = _named_by_content(io.BytesIO(media), _ending(media), into)
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(media)
            return name
        if media not in self._copies:
            try:
                with media.open("rb") as stream:
                    name = _named_by_content(stream, media.suffix.lower(), into)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(media, folder / name)
            except OSError as error:
                raise DataError(
                    Text(
                        f"{media} cannot be copied: {error.strerror}; expected a readable file and "
                        "disk space; free some space, or leave --copy out",
                        f"无法复制 {media}：{error.strerror}；文件应可读，磁盘空间应足够；请腾出空"
                        "间，或去掉 --copy",
                    )
                ) from None
            self._copies[media] = name
        return self._copies[media]

    def _write(self) -> list[str]:
        if not self._files:
            path, first = self._config.records.path, _NOTHING
            if self._problems:
                first = self._problems[0]
            raise DataError(
                Text(
                    f"{path} holds no sample that can be converted, expected at least one; "
                    f"{self._counts['bad']} are bad: {first.en}",
                    f"{path} 里没有能转换的样本；至少应有一个；{self._counts['bad']} 个有问题"
                    f"：{first.zh}",
                )
            )
        assert self._folder is not None
        written = write_files(self._files, self._layout, self._folder)
        names = [name for name in written if name == DATASET_INFO]
        ready = configurations(
            self._config.target, self._layout, self._config.model, self._files.keys()
        )
        for name, text in ready:
            (self._folder / name).write_text(text, encoding="utf-8", newline="\n")
            names.append(name)
        return names


def _holds_conversations(files: list[Path]) -> bool:
    """Whether the files are those of a toolkit: their first rows tell."""
    for file in files:
        if file.name == DATASET_INFO or file.suffix.lower() != ".jsonl":
            return True  # seesay's records are never plain JSON
        rows = (row for row in islice(read_rows(file), NAMED) if isinstance(row, Row))
        if any(is_conversation(row.value) for row in rows):
            return True
    return False


def records_config(path: str, **settings: object) -> RecordsConfig:
    """The records at a path; a file of a toolkit passes for a table."""
    layout = "table" if path.lower().endswith(".json") else format_of(path)
    return RecordsConfig(path=path, **{"format": layout, **settings})  # type: ignore[arg-type]


def _writable(file: Path) -> str:
    try:
        file.as_posix().encode()
    except UnicodeEncodeError:
        raise DataError(
            Text(
                f"the file name {file.name!a} is not UTF-8, expected one that JSON can hold: "
                "rename the file, or copy it with --copy",
                f"文件名 {file.name!a} 不是 UTF-8；JSON 里只能写 UTF-8；请改名，或加上 --copy",
            )
        ) from None
    return file.as_posix()


def _named_by_content(stream: "io.BufferedIOBase", ending: str, into: str) -> str:
    digest = blake2b(digest_size=10)
    while block := stream.read(1 << 20):
        digest.update(block)
    name = digest.hexdigest()
    return f"{into}/{name[:2]}/{name}{ending}"


def _ending(encoded: bytes) -> str:
    with Image.open(io.BytesIO(encoded)) as image:
        name = (image.format or "png").lower()
    return {"jpeg": ".jpg", "mpo": ".jpg"}.get(name, f".{name}")

"""Request bodies. Nothing in them names a file or an address to be opened."""

import base64
import binascii
import io
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict, JsonValue

from seesay.api.config import (
    MAX_CLASSIFIED,
    MAX_CONDITION,
    MAX_CONDITIONS,
    MAX_DATE,
    MAX_IMAGES,
    MAX_LABELS,
    MAX_NAME,
    MAX_PATH,
    MAX_PATHS,
    MAX_UNITS,
    MAX_UNWANTED,
    MAX_UNWANTED_WORDS,
    MAX_WORDS,
    ServerConfig,
)
from seesay.data.decoding import DecodeLimits, check_size, open_header
from seesay.errors import ConfigError, ImageError
from seesay.inference.classifier import NONE_ABOVE
from seesay.search.asking.query import MOST_HITS, Query, RetrieverName
from seesay.search.asking.tags import LONGEST_LABEL, MOST_LABELS
from seesay.search.catalog.filters import Filter
from seesay.search.filtering import make_filter
from seesay.text import Text

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mP8z4AdMDEMKQkA"
    "zUEBD7t4NqoAAAAASUVORK5CYII="
)
"""An example: a red square of 8 pixels."""
_PREFIX = "data:image/"

Words = Annotated[str, Field(max_length=MAX_WORDS)]
Unwanted = Annotated[str, Field(max_length=MAX_UNWANTED_WORDS)]
Condition = Annotated[str, Field(max_length=MAX_CONDITION)]
Day = Annotated[str, Field(max_length=MAX_DATE)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
DataUrl = Annotated[
    str,
    Field(
        description="A picture inside of the request: data:image/png;base64,... and the like.",
        examples=[PICTURE],
    ),
]
Label = Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)]
FolderPath = Annotated[str, Field(min_length=1, max_length=MAX_PATH)]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]


def _like(**example: JsonValue) -> ConfigDict:
    """Settings of a body that refuses unknown fields, with an example."""
    shown: JsonDict = {"examples": [example]}
    return ConfigDict(extra="forbid", use_attribute_docstrings=True, json_schema_extra=shown)


class _Narrowed(BaseModel):
    """Filters of a request."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    where: list[Condition] = Field(
        default=[], max_length=MAX_CONDITIONS, examples=[["width>=1000"]]
    )
    """Conditions on metadata, all of which must hold: key=value, key!=value, key>value (also >= <
    <=), key~part, or a key alone."""
    folders: list[Condition] = Field(default=[], max_length=MAX_CONDITIONS)
    """Only files indexed in or below one of these folders. Compared as text with the stored
    paths: nothing is opened."""
    since: Day | None = None
    """Only files from this day, month or year on: 2024-05-31, 2024-05 or 2024."""
    until: Day | None = None
    """Only files up to the end of this day, month or year."""
    type: Name | None = None
    """Only passages of this type: image, text, page, moment."""
    collection: Name | None = None
    """The name of a collection; the first one that is served where it is left out."""

    def filter(self) -> Filter | None:
        """Returns the filter for the search."""
        folders = [folder for folder in self.folders if "\0" not in folder]
        return make_filter(
            where=self.where, folders=folders, since=self.since, until=self.until, media=self.type
        )


class _Filtered(_Narrowed):
    """Options of every search."""

    count: int = Field(default=20, ge=1, le=MOST_HITS)
    """How many hits to return; the server may have a lower limit."""
    offset: int = Field(default=0, ge=0, le=MOST_HITS)
    """How many of the first hits to skip."""

    def check(self, config: ServerConfig) -> None:
        """Raises ConfigError for more hits than this server returns at once."""
        if self.count > config.max_count:
            raise ConfigError(
                Text(
                    f"count is {self.count}; expected at most {config.max_count}, which is what "
                    "this server answers at once; ask for the next ones with offset",
                    f"count 为 {self.count}；这台服务器一次最多返回 {config.max_count} 个；"
                    "其余的请用 offset 获取",
                )
            )


class SearchBody(_Filtered):
    """Words, pictures, or both."""

    model_config = _like(query="a dog on the grass", without=["people"], since="2024", count=5)

    query: Words = Field(default="", examples=["a dog on the grass", "草地上的一只狗"])
    """What to look for, in Chinese or English; "in quotes" must occur literally, -word or
    "without a word" excludes it, word^2 counts twice."""
    without: list[Unwanted] = Field(default=[], max_length=MAX_UNWANTED)
    """Things to exclude."""
    images: list[DataUrl] = Field(default=[], max_length=MAX_IMAGES)
    """Pictures that the hits should be similar to."""
    min_confidence: float | None = Field(default=None, ge=0, le=100)
    """Omit hits with a lower match than this (0-100)."""
    retrievers: list[RetrieverName] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        validation_alias=AliasChoices("retrievers", "lanes"),  # as clients of 0.1 send it
    )
    """Search only by pictures ("image"), by the meaning of texts ("text"), or by keywords."""
    rerank: bool = False
    """Have the first results scored again by the server's reranker (`seesay serve --rerank`):
    slower, more exact."""

    def to_query(self, config: ServerConfig) -> Query:
        """As search knows it. Raises ConfigError and ImageError for what cannot be asked."""
        self.check(config)
        return Query.of(
            self.query,
            images=[read_data_url(url, config.max_pixels) for url in self.images],
            without=self.without,
            where=self.filter() or (),
            count=self.count,
            offset=self.offset,
            min_confidence=self.min_confidence,
            retrievers=self.retrievers,
            rerank=config.second_stage(self.rerank),
        )


class SimilarBody(_Filtered):
    """Units and pictures to find similar hits for, and units to avoid."""

    model_config = _like(units=[1], unlike=[2], count=5)

    units: list[Number] = Field(default=[], max_length=MAX_UNITS)
    """Numbers of units from earlier hits."""
    images: list[DataUrl] = Field(default=[], max_length=MAX_IMAGES)
    """Pictures, which need not be in the collection."""
    unlike: list[Number] = Field(default=[], max_length=MAX_UNITS)
    """Numbers of units that the hits should not be similar to."""

    def to_query(self, config: ServerConfig) -> Query:
        """As search knows it. Raises ConfigError and ImageError for what cannot be asked."""
        self.check(config)
        if not self.units and not self.images:
            raise ConfigError(
                Text(
                    "the request names no unit and no picture; expected at least one to be like; "
                    "take the number of a hit of /v1/search",
                    "请求没有指定条目或图片；至少应有一个作为比较对象；"
                    "编号可从 /v1/search 的结果中取得",
                )
            )
        return Query.of(
            like=[*self.units, *(read_data_url(url, config.max_pixels) for url in self.images)],
            unlike=self.unlike,
            where=self.filter() or (),
            count=self.count,
            offset=self.offset,
        )


class AnswersBody(_Narrowed):
    """A question to a collection."""

    model_config = _like(question="When did the library open?", history=[])

    question: Words = Field(
        min_length=1, examples=["When did the library open?", "图书馆是哪一年开放的？"]
    )
    """In Chinese or English; claims come in the language of their evidence."""
    history: list[Words] = Field(default=[], max_length=MAX_UNWANTED)
    """Earlier questions, oldest first, for one that refers to them: "And who designed it?"."""
    mode: Literal["quote", "assistant"] = "quote"
    """Answer with sentences of the collection, or with what the server's model writes from it."""
    rerank: bool = False
    """Have the evidence put in order by the server's reranker (`seesay serve --rerank`)."""
    stream: bool = False
    """Send each step as it comes, as server-sent events."""


class ClassifyBody(BaseModel):
    """Pictures, and labels to choose from."""

    model_config = _like(images=[PICTURE], labels=["cat", "dog", "red square"], top=2)

    images: list[DataUrl] = Field(min_length=1, max_length=MAX_CLASSIFIED)
    """The pictures."""
    labels: list[Label] = Field(min_length=1, max_length=MAX_LABELS)
    """What they may show, in Chinese or English; each once."""
    templates: list[Label] | None = Field(default=None, min_length=1, max_length=8)
    """Sentences in place of the built-in ones, as in "a photo of a {}"."""
    top: int | None = Field(default=None, ge=1, le=MAX_LABELS)
    """How many of the best labels to return. Default: all."""
    none_above: float | None = Field(default=NONE_ABOVE, gt=0, lt=1)
    """Above this chance that unrelated labels would fit as well the answer is none of these; null
    to always answer with a label."""
    collection: Name | None = None
    """The collection whose model is used. Default: the first one."""


class TagsBody(_Narrowed):
    """Labels, and the pictures to tag with them."""

    model_config = _like(labels=["cat", "狗"], type="image")

    labels: list[Label] | None = Field(default=None, min_length=1, max_length=MOST_LABELS)
    """Tags to choose from. Default: about 200 everyday words in each language."""


class IndexBody(BaseModel):
    """What to index."""

    model_config = _like(paths=[])

    paths: list[FolderPath] = Field(default=[], max_length=MAX_PATHS)
    """Full paths of files and folders on the server. Default: the folders already indexed. They
    must lie in one of these, or in a folder that the server was started with."""
    archives: bool = False
    """Also read the pictures and documents in ZIP and TAR archives."""


class RemoveBody(BaseModel):
    """What to remove from a collection."""

    model_config = _like(units=[1])

    units: list[Number] = Field(default=[], max_length=MAX_UNITS)
    """Numbers of units; the whole file of each is removed."""
    folders: list[FolderPath] = Field(default=[], max_length=MAX_PATHS)
    """Folders to remove with everything indexed below them, spelled as in hits. Compared as text
    with the stored paths: nothing is opened."""
    collection: Name | None = None
    """The name of a collection; the first one that is served where it is left out."""


class EmbeddingsBody(BaseModel):
    """What the `openai` client sends."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"model": "seesay-mini", "input": ["a dog", "一只狗", PICTURE]}]
        },
    )

    input: str | list[str] = Field(examples=[["a dog on the grass", "草地上的一只狗", PICTURE]])
    """A text or several; one that begins with data:image/ is a picture."""
    model: Name
    """The model of a collection that is served here; see /v1/models."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers as a list, or as the base64 of little-endian float32."""
    dimensions: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """How many numbers each vector has. Fewer than the model's own only where it was trained to
    be cut (Matryoshka): the first ones, brought back to length 1."""
    user: Condition | None = None
    """Accepted, but not used."""

    @property
    def inputs(self) -> list[str]:
        """The inputs as a list, even if there is only one."""
        return [self.input] if isinstance(self.input, str) else self.input

    def check(self, config: ServerConfig) -> None:
        """Raises ConfigError for more inputs than this server embeds at once."""
        count, most = len(self.inputs), config.max_inputs
        if not 0 < count <= most:
            raise ConfigError(
                Text(
                    f"the request has {count:,} inputs; expected 1 to {most:,} (max_inputs); send "
                    "them in several requests",
                    f"请求有 {count} 个输入；应为 1 到 {most} 个（max_inputs）；请分几次发送",
                )
            )
        lengths = [0 if is_picture(one) else len(one) for one in self.inputs]
        longest, total = max(lengths), sum(lengths)
        if longest > config.max_input_characters:
            raise ConfigError(
                Text(
                    f"input {lengths.index(longest)} has {longest:,} characters; expected at most "
                    f"{config.max_input_characters:,} (max_input_characters); divide the text",
                    f"第 {lengths.index(longest)} 个输入（从 0 数起）有 {longest} 个字符；最多 "
                    f"{config.max_input_characters} 个（max_input_characters）；请拆分文本",
                )
            )
        if total > config.max_request_characters:
            raise ConfigError(
                Text(
                    f"the texts of the request have {total:,} characters; expected at most "
                    f"{config.max_request_characters:,} (max_request_characters); send them in "
                    "several requests",
                    f"请求中的文本共 {total} 个字符；最多 {config.max_request_characters} 个"
                    "（max_request_characters）；请分几次发送",
                )
            )


def is_picture(text: str) -> bool:
    """Whether a text is meant as a picture."""
    return text[: len(_PREFIX)].lower() == _PREFIX


def read_data_url(url: str, max_pixels: int) -> bytes:
    """The file inside a data URL, checked by its header before any decoding.

    Raises ImageError for anything else, and for a picture of more pixels than are allowed."""
    head, comma, data = url.partition(",")
    if not (is_picture(head) and comma and head.lower().endswith(";base64")):
        raise ImageError(
            Text(
                f"{url[:40]!r} is no picture; expected data:image/png;base64,..., since addresses "
                "are never fetched and files of the server are never read; send the picture itself",
                f"{url[:40]!r} 不是图片；应为 data:image/png;base64,...，因为服务器不会下载网址，"
                "也不会读取本机文件；请直接发送图片",
            )
        )
    try:
        content = base64.b64decode("".join(data.split()), validate=True)  # lines are often wrapped
    except (binascii.Error, ValueError):
        raise ImageError(
            Text(
                f"{url[:40]!r} holds something other than base64; expected its letters, digits, + "
                "and /; encode the bytes of the picture file",
                f"{url[:40]!r} 不是 base64；应只含字母、数字、+ 和 /；请对图片文件的字节编码",
            )
        ) from None
    limits = DecodeLimits(max_pixels=max_pixels, max_source_pixels=max_pixels)
    label = f"<{len(content)} bytes>"
    check_size(open_header(io.BytesIO(content), label), label, limits)
    return content

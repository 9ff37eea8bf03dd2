"""A conversation with pictures and videos -> the text and token ids that a model reads.

    template = chat_template("qwen2-vl")
    prompt = render(template, [Message("user", (Media("image", (256,)), "What is this?"))])
    encoded = encode(prompt, tokenizer, limit=32_768)
    encoded.ids, encoded.spans      # where the rows of each picture go

Each picture gives its number of embeddings, and its placeholders are in the ids from the start. So
nothing grows later, and a prompt that is too long is an error, never a truncated picture.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

from tokenizers import Tokenizer as Backend

from seesay.data.chat_templates import ChatTemplate
from seesay.errors import ConfigError, DataError
from seesay.text import Text


@dataclass(frozen=True)
class Media:
    """A picture or video in a message."""

    modality: Literal["image", "video"]
    counts: tuple[int, ...]
    """Embeddings of each part: one number, or one per frame (InternVL) or time step (Qwen3-VL) of a
    video."""
    times: tuple[float, ...] = ()
    """Time of each part in seconds, for templates that include it."""

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1:
            raise ConfigError(
                Text(
                    f"{self.modality} with counts={self.counts} has no place in a prompt, expected "
                    "the number of embeddings of each part, at least 1; take it from its layout.",
                    f"counts={self.counts} 的 {self.modality} 在提示词里没有位置；应为每部分的嵌入"
                    "数，至少为 1；请取自它的切分结果",
                )
            )


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str | tuple[str | Media, ...]

    @property
    def parts(self) -> tuple[str | Media, ...]:
        return (self.content,) if isinstance(self.content, str) else self.content


@dataclass(frozen=True)
class Piece:
    """A piece of a prompt."""

    text: str
    origin: Literal["template", "typed", "answer", "media"] = "template"
    """Who wrote it. "answer" is what the model is trained to write, including its end."""
    media: int = -1
    """Which picture or video it stands for, counted over the whole prompt."""
    count: int = 0
    """How often the placeholder text is repeated."""
    modality: Literal["image", "video", ""] = ""

    @property
    def expanded(self) -> str:
        return self.text * self.count if self.origin == "media" else self.text


@dataclass(frozen=True)
class Prompt:
    """A rendered conversation. `front` comes before the token that starts a text (BLIP-2)."""

    front: tuple[Piece, ...]
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The whole text with every placeholder."""
        return "".join(piece.expanded for piece in (*self.front, *self.pieces))


@dataclass(frozen=True)
class Span:
    """Consecutive ids to replace by the embeddings of one part of a picture or video."""

    start: int
    stop: int
    media: int
    """Which picture or video, counted over the whole prompt."""
    modality: Literal["image", "video"]


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt and what they stand for."""

    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    answer: tuple[bool, ...]
    """Which ids an assistant wrote: the targets in training."""


def render(
    template: ChatTemplate,
    messages: Sequence[Message],
    *,
    opening: bool = True,
    counted: bool | None = None,
) -> Prompt:
    """Returns the prompt of a conversation.

    `opening` ends it where the model's answer starts. `counted` numbers pictures and videos
    ("Picture 1: "); None follows the family. A system message replaces the template's own; an empty
    one removes it. Raises ConfigError for turns in an impossible order.
    """
    _check_turns(messages)
    writer = _Writer(template, template.counted if counted is None else counted)
    rest = list(messages)
    system = rest.pop(0) if rest[0].role == "system" else Message("system", template.system)
    writer.system(system)
    for message in rest:
        writer.turn(message)
    if opening:
        writer.write(template.opening)
    return Prompt(tuple(writer.front), tuple(writer.pieces))


class _Writer:
    """Concatenates the pieces of a prompt."""

    def __init__(self, template: ChatTemplate, counted: bool) -> None:
        self._template = template
        self._counted = counted
        self._numbers = {"image": 0, "video": 0}
        self._media = 0
        self._users = 0
        self._lead: list[Piece] = []  # a system message that goes into the first user turn
        self.front: list[Piece] = []
        self.pieces: list[Piece] = []

    def write(self, text: str, origin: Literal["template", "typed", "answer"] = "template") -> None:
        if text:
            self.pieces.append(Piece(text, origin))

    def system(self, message: Message) -> None:
        if message.parts == ("",):
            return
        before, after = self._template.system_turn.split("{}")
        inside = self._content(message)
        whole = [Piece(before), *inside, Piece(after)]
        if self._template.system_place == "user":
            self._lead = whole
        else:
            self.pieces.extend(piece for piece in whole if piece.text)

    def turn(self, message: Message) -> None:
        template = self._template
        if message.role == "assistant":
            before, after = template.assistant.split("{}")
            self.write(before)
            self.pieces.extend(
                replace(piece, origin="answer") if piece.origin == "typed" else piece
                for piece in self._content(message)
            )
            mark = after.rstrip()
            self.write(mark, "answer")
            self.write(after[len(mark) :])
            return
        before, after = template.user.split("{}")
        self.write(template.next_user if self._users else "")
        self.write(before)
        self.pieces += [*self._lead, *self._content(message)]
        self._lead = []
        self.write(after)
        self._users += 1

    def _content(self, message: Message) -> list[Piece]:
        texts = [part for part in message.parts if isinstance(part, str)]
        media = [part for part in message.parts if not isinstance(part, str)]
        if self._template.media == "inline":
            ordered: list[str | Media] = list(message.parts)
        else:
            ordered = [*media, *texts]
        result: list[Piece] = []
        for part in ordered:
            if isinstance(part, Media):
                place = self.front if self._template.media == "front" else result
                place.extend(self._one(part))
            elif part:
                result += [Piece(part, "typed"), Piece(self._template.text_end)]
        return [piece for piece in result if piece.text]

    def _one(self, media: Media) -> Iterator[Piece]:
        template, marks = self._template, self._template.marks
        video = media.modality == "video"
        self._numbers[media.modality] += 1
        if self._counted:
            name = "Video" if video else "Picture"
            yield Piece(f"{name} {self._numbers[media.modality]}: ")
        before, after = (template.video if video else template.image).split("{}")
        pad = (marks.video or marks.image) if video else marks.image
        parts = media.counts if video and marks.step else (sum(media.counts),)
        yield Piece(before)
        for number, count in enumerate(parts):
            step = _step(marks.step, media, number) if video and marks.step else ""
            yield Piece((marks.between if number else "") + step + marks.start)
            yield Piece(pad, "media", self._media, count, media.modality)
            yield Piece(marks.end)
        yield Piece(after)
        self._media += 1


def _step(form: str, media: Media, number: int) -> str:
    if "{time" in form and len(media.times) != len(media.counts):
        raise ConfigError(
            Text(
                f"a video has {len(media.counts)} parts and {len(media.times)} times, expected one "
                "time for each part, which this family writes into the prompt; give both.",
                f"视频有 {len(media.counts)} 个部分、{len(media.times)} 个时间；该模型会把时间写进"
                "提示词，应每部分各有一个时间；请一并给出",
            )
        )
    return form.format(number=number + 1, time=media.times[number] if media.times else 0.0)


def _check_turns(messages: Sequence[Message]) -> None:
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user" if n % 2 == 0 else "assistant" for n in range(len(turns))]
    if not turns or turns != expected:
        raise ConfigError(
            Text(
                f"the turns of the conversation are {', '.join(roles) or 'none'}; expected an "
                "optional system message, then user and assistant in turn. Reorder or join them.",
                f"对话的角色依次为 {'、'.join(roles) or '空'}；应为可选的 system，然后 user 与 "
                "assistant 交替；请调整顺序或合并",
            )
        )


def encode(
    prompt: Prompt, tokenizer: Backend, limit: int | None = None, *, truncate: bool = False
) -> EncodedPrompt:
    """Returns the token ids of a prompt, including the tokenizer's start tokens.

    Raises DataError for a prompt longer than `limit`, unless `truncate` cuts text (never a picture)
    off its end, and for typed text that contains a special token; ConfigError for a tokenizer
    without the family's placeholders.
    """
    _check_typed(prompt, tokenizer)
    front = [_pad_id(piece, tokenizer) for piece in prompt.front if piece.origin == "media"]
    counts = [piece.count for piece in prompt.front if piece.origin == "media"]
    ids = [number for number, count in zip(front, counts, strict=True) for _ in range(count)]
    before = len(ids)
    text = "".join(piece.expanded for piece in prompt.pieces)
    encoding = tokenizer.encode(text, add_special_tokens=True)
    ids += encoding.ids
    spans = _spans(prompt, tokenizer, ids)
    answer = [False] * before + _answers(prompt, encoding.offsets)
    if limit is not None and len(ids) > limit:
        if not truncate or any(span.stop > limit for span in spans):
            _refuse_length(len(ids), spans, limit)
        ids, answer = ids[:limit], answer[:limit]
    return EncodedPrompt(tuple(ids), spans, tuple(answer))


def _spans(prompt: Prompt, tokenizer: Backend, ids: list[int]) -> tuple[Span, ...]:
    pieces = [piece for piece in (*prompt.front, *prompt.pieces) if piece.origin == "media"]
    pads = {_pad_id(piece, tokenizer) for piece in pieces}
    places = [at for at, number in enumerate(ids) if number in pads]
    spans, used = [], 0
    for piece in pieces:
        mine = places[used : used + piece.count]
        used += piece.count
        whole = len(mine) == piece.count and mine[-1] - mine[0] + 1 == piece.count
        if not whole or not piece.modality:
            _refuse_tokenizer(piece.text)
        spans.append(Span(mine[0], mine[-1] + 1, piece.media, piece.modality))
    if used != len(places):
        _refuse_tokenizer(pieces[0].text)
    return tuple(spans)


def _answers(prompt: Prompt, offsets: list[tuple[int, int]]) -> list[bool]:
    """Returns whether each token has a character that an assistant wrote."""
    ranges, at = [], 0
    for piece in prompt.pieces:
        end = at + len(piece.expanded)
        if piece.origin == "answer":
            ranges.append((at, end))
        at = end
    return [any(a < end and start < b for a, b in ranges) for start, end in offsets]


def _pad_id(piece: Piece, tokenizer: Backend) -> int:
    number = tokenizer.token_to_id(piece.text)
    return _refuse_tokenizer(piece.text) if number is None else number


def _check_typed(prompt: Prompt, tokenizer: Backend) -> None:
    """Refuses special tokens in typed text, which would end a turn or stand for a missing picture.
    Removing them would change the question."""
    added = tokenizer.get_added_tokens_decoder().values()
    pads = {piece.text for piece in prompt.pieces if piece.origin == "media"}
    marks = {token.content for token in added if token.special} | pads
    if not marks:
        return
    pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))
    mark_of_turn = [piece for piece in prompt.pieces if piece.origin == "typed"]
    for piece in mark_of_turn:
        if spelt := pattern.search(piece.text):
            raise DataError(
                Text(
                    f"the text contains {spelt.group()}, a control token of the model; expected "
                    "plain text, with pictures given separately. Reword the text.",
                    f"文本里有 {spelt.group()}，它是模型的控制标记；应为普通文本，图片请另外给出；"
                    "请改写文本",
                )
            )


def _refuse_tokenizer(pad: str) -> NoReturn:
    raise ConfigError(
        Text(
            f"the tokenizer does not read {pad} as one token, expected the tokenizer of a "
            "checkpoint of this family; check both names, or add the token.",
            f"分词器没有把 {pad} 读成一个词元；应为该系列检查点自带的分词器；请核对两者，或添加这个"
            "词元",
        )
    )


def _refuse_length(length: int, spans: Sequence[Span], limit: int) -> NoReturn:
    seen = sum(span.stop - span.start for span in spans)
    raise DataError(
        Text(
            f"the prompt has {length:,} tokens, {seen:,} of them for pictures; expected at most "
            f"{limit:,}. Shorten the text, give fewer or smaller pictures, or begin a new "
            "conversation.",
            f"提示词有 {length:,} 个词元，其中图片占 {seen:,} 个；上限为 {limit:,}；请缩短文本，"
            "减少或缩小图片，或开始新对话",
        )
    )


def end_ids(template: ChatTemplate, tokenizer: Backend) -> set[int]:
    """Returns the tokens that end an answer."""
    ids = (_one_token(text, tokenizer) for text in template.stops)
    return {one for one in ids if one is not None}


def _one_token(text: str, tokenizer: Backend) -> int | None:
    """Returns the single token of a text, looked up as is or as the tokenizer reads it (a line
    break)."""
    if (number := tokenizer.token_to_id(text)) is not None:
        return number
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return ids[0] if len(ids) == 1 and tokenizer.decode(ids) == text else None

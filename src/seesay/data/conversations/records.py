"""seesay's records <-> conversations.

A record is a picture with questions and captions that are learned one by one, so a conversation
becomes one only if it is about a single picture; its turns become separate questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seesay.data.conversations.conversation import IMAGE, Conversation, Turn
from seesay.data.formats.records import Question, Record
from seesay.errors import DataError
from seesay.text import Language, Text, detect_language


@dataclass(frozen=True, kw_only=True)
class AskingStyle:
    """How the questions of a record become conversations."""

    together: bool = False
    """Whether all questions about a picture are turns of one conversation, as in LLaVA's data; else
    each is a conversation of its own, as one with a rejected answer always is."""
    requests: Mapping[Language, Sequence[str]] = field(default_factory=dict)
    """By language, what a user may say to get a caption. None: captions are not used."""
    after_picture: str = ""
    """What stands between the picture and the question."""


def conversations_of(
    record: Record, languages: Sequence[Language], style: AskingStyle
) -> Iterator[Conversation]:
    """Yields the conversations about a record in these languages; none where nothing is asked."""
    pairs: list[Question] = []
    for language in languages:
        pairs += record.questions.get(language, ())
        requests = style.requests.get(language, ())
        captions = record.captions.get(language, ()) if requests else ()
        pairs += (Question(requests[n % len(requests)], text) for n, text in enumerate(captions))
    if not pairs:
        return
    shared = [pair for pair in pairs if style.together and not pair.rejected]
    alone = [pair for pair in pairs if pair not in shared]
    for group in filter(None, [shared, *([pair] for pair in alone)]):
        turns: list[Turn] = []
        for pair in group:
            turns += (Turn("user", pair.question), Turn("assistant", pair.answer))
        turns[0] = Turn("user", f"{IMAGE}{style.after_picture}{turns[0].text}")
        yield Conversation(
            key=record.key,
            turns=tuple(turns),
            images=(record.image,),
            rejected=group[-1].rejected or None,
        )


def questions_of(conversation: Conversation) -> list[dict[str, str]]:
    """Returns the turns of a conversation about one picture as pairs for `qa`. Raises DataError if
    it is about none, several, or a video."""
    placed = conversation.turns[0].text.count(IMAGE)
    if len(conversation.images) != 1 or conversation.videos or placed != 1:
        images, videos = len(conversation.images), len(conversation.videos)
        raise DataError(
            Text(
                f"it is about {images} pictures and {videos} videos, expected one picture, in the "
                "first question, as a seesay record holds no more: remove it, or convert to "
                "another format",
                f"涉及 {images} 张图片和 {videos} 个视频；seesay 的记录只能有一张图片，且在第一个"
                "问题里；请去掉，或转换成别的格式",
            )
        )
    texts = [turn.text.replace(IMAGE, "", 1).strip() for turn in conversation.turns]
    if not all(texts):
        raise DataError(
            Text(
                "there is a picture but no question, expected one: add it, or convert to another "
                "format",
                "只有图片，没有问题；应有问题；请补上，或转换成别的格式",
            )
        )
    pairs = zip(texts[::2], texts[1::2], strict=True)
    rows = [{"question": question, "answer": answer} for question, answer in pairs]
    if conversation.rejected is not None:
        rows[-1]["rejected"] = conversation.rejected
    return rows


def requests_of(texts: Sequence[str]) -> dict[Language, tuple[str, ...]]:
    """Requests for captions by their language, which their characters tell."""
    found: dict[Language, tuple[str, ...]] = {}
    for text in texts:
        language = detect_language(text)
        found[language] = (*found.get(language, ()), text)
    return found


def record_row(conversation: Conversation, image: str) -> dict[str, Any]:
    """The row of a table that `format = "table"` reads."""
    return {"image": image, "qa": questions_of(conversation)}

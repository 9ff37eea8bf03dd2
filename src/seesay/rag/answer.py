"""Asks a collection: an answer as claims that are verified and cited, or "not found".

    answer = seesay.ask("公司三季度收入增长多少？")
    for claim in answer.claims:
        print(claim.text, [answer.evidence[number - 1].path for number in claim.evidence])

There are three ways to answer. *quote*: the sentences that answer, found by rules or by the
built-in reader, without a language model; pictures are asked about with the built-in assistant.
*assistant*: a vision-language model on this machine. *endpoint*: one behind an OpenAI-compatible
API. A model gets the evidence as data and no tools; what it writes is verified like anything else.
In any mode, a question that a table answers with certainty is computed from its cells: see
`computing`.
"""

import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

from seesay.data.chat import Message
from seesay.data.images import ImageSource
from seesay.data.words import singulars
from seesay.errors import CollectionError, ConfigError, MissingExtraError
from seesay.inference.answer import Answer, Assistant
from seesay.inference.answering import open_assistant
from seesay.inference.cancelling import check_cancelled
from seesay.rag.claims import (
    INSTRUCTION,
    SCHEMA,
    CitedAnswer,
    Claim,
    Mode,
    Quote,
    as_data,
    plain_text,
    read_claims,
)
from seesay.rag.computing import Computed, computed
from seesay.rag.conversation import rewritten, self_contained
from seesay.rag.evidence import LEAST, Evidence, EvidenceLimits, gather, likelihoods, rarity
from seesay.rag.questions import Question
from seesay.rag.quoting import quote
from seesay.rag.reading import certain, nearest, read
from seesay.rag.verification import (
    AssistantVerifier,
    PresenceVerifier,
    RuleVerifier,
    Verifier,
    open_verifier,
    verify,
)
from seesay.search.asking.confidence import THRESHOLD
from seesay.search.catalog.filters import Filter
from seesay.search.collection import Collection
from seesay.search.filtering import Where, make_filter
from seesay.text import Text
from seesay.weights.catalog import default_assistant, find_assistant

MODES: tuple[Mode, ...] = get_args(Mode)
_LOOKED_AT = 672  # longest side of a picture that a model sees
_ANSWER_TOKENS = 700
_SHORT = 4  # words of an answer that is no sentence

AnswerStream = Generator[tuple[Evidence, ...] | Claim, None, CitedAnswer]
"""Yields the evidence once, then each supported claim, and returns the answer."""


@dataclass(frozen=True, kw_only=True)
class AskConfig:
    """How a question is answered."""

    mode: str = "quote"
    """One of MODES."""
    model: str | None = None
    """The name of the assistant, or of the model at the endpoint; None for the default one."""
    endpoint: str | None = None
    """Address of an OpenAI-compatible API."""
    filter: Filter | None = None
    """Which passages may be evidence."""
    limits: EvidenceLimits = field(default_factory=EvidenceLimits)
    rerank: str | None = None
    """The name of a model that puts the passages in order before the best become evidence; see
    `Query.rerank`."""
    verifier: str | None = None
    """The name of a model of entailment, such as xlm-r-xnli, that checks what a model writes of
    texts, in place of that model's own yes or no."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(
                Text(
                    f"mode={self.mode!r} is not a way to answer; expected one of "
                    f"{', '.join(MODES)}; choose one",
                    f"mode={self.mode!r} 不是回答方式；应为 {'、'.join(MODES)} 之一；请改选",
                )
            )
        if self.verifier and self.mode == "quote":
            raise ConfigError(
                Text(
                    f"verifier={self.verifier!r} has nothing to check in quote mode, which quotes "
                    "sentences word for word; expected a mode in which a model writes the answer; "
                    "choose the mode assistant or endpoint, or leave the verifier out",
                    f"quote 方式只引用原句，不需要 verifier={self.verifier!r} 核查；"
                    "应为由模型作答的方式；请改用 assistant 或 endpoint，或去掉 verifier",
                )
            )
        if (self.mode == "endpoint") != bool(self.endpoint):
            raise ConfigError(
                Text(
                    f"mode={self.mode!r} and endpoint={self.endpoint!r} do not go together; "
                    "expected an address with the mode endpoint, and none otherwise; give both, "
                    "or neither",
                    f"mode={self.mode!r} 与 endpoint={self.endpoint!r} 不相配；endpoint 方式应给出"
                    "地址，其他方式不应给；请两个都给，或都不给",
                )
            )


def ask(  # noqa: PLR0913  # every choice about a question
    question: str,
    collection: Collection | str | Path | None = None,
    *,
    mode: str | None = None,
    assistant: Assistant | str | None = None,
    endpoint: str | None = None,
    where: Where = (),
    history: Sequence[str] = (),
    limits: EvidenceLimits | None = None,
    rerank: str | None = None,
    verifier: str | None = None,
) -> CitedAnswer:
    """Answers a question from a collection, given open or by name.

    `mode` defaults to "endpoint" with an endpoint, "assistant" with an assistant, else "quote".
    `assistant` is an open one or the name of a model; `where` restricts the evidence (see
    `make_filter`); `history` holds earlier questions, which this one may refer to. For `rerank` and
    `verifier` see AskConfig.

    Raises ConfigError for a question without words and for choices that do not go together,
    CollectionError for a collection that is missing or empty, and what opening the model raises.
    """
    named = assistant if isinstance(assistant, str) else None
    default = "endpoint" if endpoint else "assistant" if assistant else "quote"
    config = AskConfig(
        mode=mode or default,
        model=named,
        endpoint=endpoint,
        filter=make_filter(where=where),
        limits=limits or EvidenceLimits(),
        rerank=rerank,
        verifier=verifier,
    )
    with ExitStack() as open_here:
        if not isinstance(collection, Collection):
            collection = open_here.enter_context(Collection.open(collection))
        given = None if isinstance(assistant, str) else assistant
        stream = stream_answer(collection, question, config, assistant=given, history=history)
        while True:
            try:
                next(stream)
            except StopIteration as end:
                answer: CitedAnswer = end.value
                return answer


def stream_answer(
    collection: Collection,
    question: str,
    config: AskConfig | None = None,
    *,
    assistant: Assistant | None = None,
    history: Sequence[str] = (),
) -> AnswerStream:
    """Answers a question step by step: see `AnswerStream`. An open `assistant` stands in for the
    model that the config names. Raises as `ask` does."""
    start, config = time.perf_counter(), config or AskConfig()
    _check(question)
    work = _Answering(collection, config, assistant)
    understood = work.understand(question, history)
    read = Question.of(understood)
    again = None if config.rerank is None else work.rerank
    evidence = gather(collection, read, limits=config.limits, filter=config.filter, rerank=again)
    value = work.computed(read, evidence)
    if value is not None:
        evidence = (*evidence, value.cells)
    yield evidence
    supported: list[Claim] = []
    dropped: list[Claim] = []
    for claim in work.claims(read, evidence) if value is None else [value.claim]:
        check_cancelled()
        if claim.verdict != "supported":
            dropped.append(claim)
        elif all(claim.text != one.text for one in supported):
            supported.append(claim)
            yield claim
    return CitedAnswer(
        question=question,
        understood=understood,
        status="answered" if supported else "not found",
        claims=tuple(supported),
        evidence=evidence,
        dropped=tuple(dropped),
        nearest=() if supported else work.nearest,
        mode=work.mode,
        model=work.model,
        notes=tuple(work.notes),
        seconds=time.perf_counter() - start,
    )


class _Answering:
    """The work on one question."""

    def __init__(
        self, collection: Collection, config: AskConfig, assistant: Assistant | None
    ) -> None:
        self._collection, self._config, self._assistant = collection, config, assistant
        self.mode = cast(Mode, config.mode)
        self.model: str | None = None
        self.notes: list[Text] = []
        self.nearest: tuple[Quote, ...] = ()

    def understand(self, question: str, history: Sequence[str]) -> str:
        """Returns the question with what it leaves open filled in, by a model that reads texts or
        by rule."""
        if history and self._config.mode != "quote" and not self._sees_only():
            return rewritten(self._open(), question, history)
        return self_contained(question, history)

    def rerank(self, words: str, units: Sequence[int]) -> list[int]:
        """Returns passages in the order of the second stage."""
        found = self._collection.rerank(self._config.rerank or "", words, units)
        self.notes.extend(found.notes)
        return [units[row] for row in found.order.tolist()]

    def computed(self, question: Question, evidence: Sequence[Evidence]) -> Computed | None:
        """Returns the answer that can be computed from a table in the evidence with certainty, in
        any mode; None if there is none."""
        try:
            value = computed(self._collection, question, evidence)
        except MissingExtraError as error:
            self.notes.append(error.text)
            return None
        if value is not None:
            self.mode = "quote"
        return value

    def claims(self, question: Question, evidence: Sequence[Evidence]) -> Iterator[Claim]:
        """Yields the claims with their verdicts, supported or not."""
        if not evidence:
            return
        pictures = [one for one in evidence if one.kind == "image"]
        if question.shown and self._config.mode != "endpoint":
            yield from self._showing(question, pictures)
            return
        if question.about_pictures and pictures and self._config.mode != "endpoint":
            some = list(self._about_pictures(question, pictures))
            yield from some
            if any(claim.verdict == "supported" for claim in some):
                return
            evidence = [one for one in evidence if one.text]
        if self._config.mode == "quote" or (self._config.mode == "assistant" and self._sees_only()):
            if self._config.mode == "assistant" and not question.about_pictures:
                self.notes.append(_READS_NO_TEXT)
            if any(one.text for one in evidence):
                self.mode, self.model = "quote", None
                yield from self._quotes(question, evidence)
            return
        yield from self._written(question, evidence)

    def _quotes(self, question: Question, evidence: Sequence[Evidence]) -> Iterator[Claim]:
        before = question.text
        asked = [question]
        for part in question.parts:
            before = self_contained(part, [before]) if asked != [question] else part
            asked.append(Question.of(before))
        if question.parts:
            asked = asked[1:]
        rare = rarity(self._collection, asked)
        for one in asked:
            claims = quote(one, evidence, rare)
            if not claims:
                ranked = read(one, evidence)
                claims = [*certain(one, ranked)]
                self.nearest = self.nearest or nearest(ranked)
            yield from verify(claims, evidence, [RuleVerifier()])

    def _written(self, question: Question, evidence: Sequence[Evidence]) -> Iterator[Claim]:
        """Yields the claims that a model writes from the evidence, verified by rules and by a
        model."""
        assistant, name = self._open(), self._config.verifier
        by_model = AssistantVerifier(assistant, self._look)
        of_texts: Verifier = by_model if name is None else open_verifier(name)
        looked_at = {one: picture for one in evidence if (picture := self._look(one)) is not None}
        instruction = INSTRUCTION.in_language(question.language)
        shown = "".join(f"\nPicture {n}: id {one.id}" for n, one in enumerate(looked_at, 1))
        messages = [
            Message("system", instruction),
            Message("user", f"{as_data(evidence)}{shown}\n\n{question.text}"),
        ]
        pictures = list(looked_at.values())
        answer = _structured(assistant).ask(pictures or None, messages, max_tokens=_ANSWER_TOKENS)
        if answer.finish_reason == "length":
            self.notes.append(_CUT_OFF)
        seen = {one.id for one in looked_at if not one.text}
        for claim in read_claims(answer.text, evidence):
            # Only a picture without a text has nothing that rules can compare.
            only_seen = set(claim.evidence) <= seen
            verifiers: list[Verifier] = [by_model] if only_seen else [RuleVerifier(), of_texts]
            yield from verify([claim], evidence, verifiers)

    def _showing(self, question: Question, pictures: Sequence[Evidence]) -> Iterator[Claim]:
        """Yields the pictures that the question describes: the single likely one, or every match if
        it asks for several. If the assistant reads text, it checks each of them."""
        if question.several:
            chosen = [one for one in pictures if one.confidence >= THRESHOLD]
        else:
            likely = likelihoods(self._collection, question.shown, self._config.filter)
            chosen = [one for one in pictures if likely.get(one.unit, 0.0) >= LEAST]
        if not chosen:
            fitting = any(one.confidence >= THRESHOLD for one in pictures)
            self.notes.append(_NOT_ONE if fitting else _NO_PICTURE)
        asked = self._config.mode == "assistant" and not self._sees_only()
        if not asked:
            self.mode, self.model = "quote", None
        colon = "：" if question.language == "zh" else ": "
        for one in chosen:
            check_cancelled()
            claim = Claim(text=question.shown, evidence=(one.id,), verdict="supported")
            if asked:
                (claim,) = verify([claim], [one], [AssistantVerifier(self._open(), self._look)])
            yield replace(claim, text=f"{Path(one.path).name}{colon}{question.shown}")

    def _about_pictures(self, question: Question, pictures: Sequence[Evidence]) -> Iterator[Claim]:
        """Yields what an assistant says about each picture that fits the question."""
        fitting = [one for one in pictures if one.confidence >= THRESHOLD]
        if not fitting:
            self.notes.append(_NO_PICTURE)
            return
        assistant = self._open()
        self.mode, self.model = "assistant", assistant.name
        check = PresenceVerifier if self._sees_only() else AssistantVerifier
        verifier: Verifier = check(assistant, self._look)
        for one in fitting:
            check_cancelled()
            picture = self._look(one)
            if picture is None:
                continue
            answer = assistant.ask([picture], question.text, max_tokens=60)
            text = as_claim(question, answer)
            if not text:
                continue
            claim = Claim(text=text, evidence=(one.id,))
            if answer.doubt is not None:
                yield replace(claim, reason=answer.doubt)
                continue
            yield from verify([claim], [one], [verifier])

    def _look(self, evidence: Evidence) -> ImageSource | None:
        """Returns the picture of a passage; None for a text, even one on a page or in a video, and
        for a file that is gone."""
        if not evidence.is_picture:
            return None
        with suppress(CollectionError):
            return self._collection.thumbnail(evidence.unit, _LOOKED_AT)
        return None

    def _open(self) -> Assistant:
        if self._assistant is None:
            config = self._config
            most = config.limits.pictures
            self._assistant = open_assistant(config.model, endpoint=config.endpoint, pictures=most)
        self.model = self._assistant.name
        return self._assistant

    def _sees_only(self) -> bool:
        """Whether the assistant is the built-in one, which looks at pictures and reads no texts."""
        if self._config.mode == "endpoint":
            return False
        known = None if self._assistant is None else self._assistant.name
        return sees_only(known or self._config.model or default_assistant())


def sees_only(assistant: str) -> bool:
    """Whether this is a built-in assistant: one that looks at pictures but reads no text."""
    entry = find_assistant(assistant)
    return entry is not None and entry.built_in is not None


def as_claim(question: Question, answer: Answer) -> str:
    """Returns an answer about a picture as a statement that can be judged without the question:
    "two" to "How many dogs are there?" as "two dogs". Empty for no answer."""
    text = plain_text(answer.text).strip()
    bare = text.rstrip(".。!！")
    words = bare.split() if question.language == "en" else list(bare)
    if not bare or len(words) > _SHORT:
        return text
    if question.expects == "count":
        if question.language == "zh":
            number = re.sub("[个只名位条张]$", "", bare)
            return re.sub("(多少|几)(?=[个只名位条张])|多少", number, question.text.rstrip("?？"))
        counted = re.search(
            r"(?:how many|number of) ([\w\s]+?)(?= are| is| do| can| in|\?|$)", question.text, re.I
        )
        thing = counted[1] if counted else ""
        if bare.lower() in ("one", "1"):
            thing = (singulars(thing) or (thing,))[-1]
        return f"{bare} {thing}" if thing and thing not in bare else bare
    mark = "" if question.text.endswith(("?", "？")) else "?"
    return f"{question.text}{mark} {bare}"


def _structured(assistant: Assistant) -> Assistant:
    """Returns the assistant; one at an endpoint is set to answer with JSON of our schema."""
    from seesay.inference.remote import RemoteAssistant

    if not isinstance(assistant, RemoteAssistant):
        return assistant
    schema = {"name": "claims", "schema": SCHEMA, "strict": True}
    return assistant.configured(response_format={"type": "json_schema", "json_schema": schema})


def _check(question: str) -> None:
    if not re.search(r"\w", question):
        raise ConfigError(
            Text(
                f"the question {question[:40]!r} has no words; expected a question; write one, as "
                'in "When did the library open?"',
                f"问题 {question[:40]!r} 里没有文字；应为一个问题；请写明，例如"
                "“图书馆是什么时候开馆的？”",
            )
        )


_READS_NO_TEXT = Text(
    "the built-in assistant looks at pictures and reads no texts, so sentences are quoted",
    "内置模型只看图片，不读文字，因此改为引用原句",
)
_CUT_OFF = Text("the model's answer was cut off", "模型的回答被截断")
_NO_PICTURE = Text("no picture fits the question", "没有与问题相符的图片")
_NOT_ONE = Text(
    "several pictures may fit, and none is clearly the one",
    "可能有几张图片相符，但不能确定是哪一张",
)

"""Asks a model the questions of a task, in one process or several; each answer is stored as it
arrives.

    with OtherProcesses(3, partial(open_assistant, "seesay-assistant")) as others:
        ask_task("pope", task, assistant, store, others)

Only the process that calls writes the store; the others read pictures and answer. All of them get
batches in the order of the samples, so that the same questions stand in a batch however many
processes there are.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from functools import partial
from glob import glob
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

from seesay.errors import EndpointError, SeesayError
from seesay.evaluation.answer_store import AnswerStore, StoredAnswer
from seesay.evaluation.published import load_samples
from seesay.evaluation.samples import LeftOut, Picture, Sample, find_prompt, question_for
from seesay.evaluation.suites import TaskConfig
from seesay.inference.answer import Answer, Assistant, Question
from seesay.inference.answer_writer import AnswerWriter
from seesay.inference.answering import BATCH, REQUESTS, AnswerConfig, answer_each
from seesay.inference.processes import OtherProcesses
from seesay.text import Text

FAILURES_IN_A_ROW = 5
"""After so many failures an endpoint is taken to be down, and the run stops."""
DIGITS = 4
"""Decimals of a certainty; further ones depend on the machine and its threads."""


class Query(NamedTuple):
    """A question on its way to a model."""

    number: int
    """Of its sample."""
    stored: StoredAnswer
    """As it will be stored, without the answer."""
    pair: tuple[tuple[Picture, ...], Question]


Replies: TypeAlias = list[tuple[Query, Answer | SeesayError]]


def ask_task(
    name: str,
    task: TaskConfig,
    assistant: Assistant,
    store: AnswerStore,
    others: OtherProcesses | None = None,
    report: Callable[[int, int, int], None] = lambda done, total, left_out: None,
) -> None:
    """Asks the questions not yet asked in the same way, and stores each answer. `report` is called
    with the numbers of samples done, in total, and left out.

    Raises EndpointError for an endpoint that fails again and again; what came before is stored.
    """
    config = AnswerConfig(max_tokens=task.max_tokens, contrast=task.contrast)
    loaded = load_samples(task)
    for pattern in filter(None, (task.data, task.annotations)):
        for file in sorted(glob(str(Path(pattern).expanduser()), recursive=True)):
            store.add_fact(f"md5\t{name}\t{file}", _md5(Path(file)))
    store.begin(name)
    queries = _Queries(name, task, store, json.dumps(asdict(config), sort_keys=True))
    failures, before = 0, perf_counter()
    for replies in _replies(assistant, queries.of(loaded.samples), config, others):
        seconds = (perf_counter() - before) / len(replies)
        before = perf_counter()
        answers = []
        for query, reply in replies:
            if isinstance(reply, Answer):
                failures = 0
                answers.append((query.number, _complete(query.stored, reply, seconds)))
                continue
            failures = failures + 1 if isinstance(reply, EndpointError) else 0
            if failures == FAILURES_IN_A_ROW:
                raise reply
            queries.leave_out(LeftOut(query.stored.sample, reply.text))
        store.add(name, answers)
        queries.done += len(answers)
        report(queries.done, max(queries.done, loaded.total), queries.left_out)
    report(queries.done, queries.done, queries.left_out)


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _complete(stored: StoredAnswer, answer: Answer, seconds: float) -> StoredAnswer:
    return replace(
        stored,
        answer=answer.text,
        finish=answer.finish_reason,
        certainty=None if answer.certainty is None else round(answer.certainty, DIGITS),
        prompt_tokens=answer.prompt_tokens,
        answer_tokens=answer.answer_tokens,
        seconds=seconds,
    )


class _Queries:
    """The questions of a task that have to be asked."""

    def __init__(self, name: str, task: TaskConfig, store: AnswerStore, settings: str) -> None:
        self.done = 0
        """Samples with an answer, and those left out."""
        self.left_out = 0
        self._name, self._store, self._settings = name, store, settings
        self._prompt = find_prompt(task.prompt)

    def of(self, samples: Iterable[Sample | LeftOut]) -> Iterator[Query]:
        """Yields what is to be asked; what has been asked is kept as it is."""
        for number, one in enumerate(samples):
            if isinstance(one, LeftOut):
                self.leave_out(one)
                continue
            text = self._prompt.of(one)
            stored = self._stored(one, text)
            if stored is None:
                continue
            if self._store.keep(self._name, number, stored):
                self.done += 1
            else:
                yield Query(number, stored, question_for(one, text))

    def leave_out(self, one: LeftOut) -> None:
        self.done += 1
        self.left_out += 1
        self._store.leave_out(self._name, one)

    def _stored(self, sample: Sample, prompt: str) -> StoredAnswer | None:
        digest = hashlib.sha256()
        for image in sample.images:
            try:
                content = image if isinstance(image, bytes) else image.read_bytes()
            except OSError as error:
                reason = Text(
                    f"{image!s} cannot be read ({error.strerror}), expected a picture: correct "
                    "`images`, or copy it there",
                    f"{image!s} 无法读取（{error.strerror}）；应为图片；请改正 images，"
                    "或把图片复制过去",
                )
                self.leave_out(LeftOut(sample.key, reason))
                return None
            digest.update(hashlib.sha256(content).digest())
        return StoredAnswer(
            sample=sample.key,
            prompt=prompt,
            pictures=digest.hexdigest(),
            settings=self._settings,
            truth=sample.truth,
            answer="",
        )


def _replies(
    assistant: Assistant,
    queries: Iterator[Query],
    config: AnswerConfig,
    others: OtherProcesses | None,
) -> Iterator[Replies]:
    """Yields replies that are to be stored together.

    A model on this machine reads a batch at a time, and the last digits depend on what is in it: a
    batch is stored as a whole, so that a resumed run forms the same ones. An endpoint's answers are
    stored one by one.
    """
    if isinstance(assistant, AnswerWriter):
        yield from _in_batches(assistant, queries, config, others)
        return
    waiting: deque[Query] = deque()

    def pairs() -> Iterator[Any]:
        for query in queries:
            waiting.append(query)
            yield query.pair

    requests = REQUESTS if others is None else others.requests
    for reply in answer_each(assistant, pairs(), config, requests=requests):
        yield [(waiting.popleft(), reply)]


def _in_batches(
    assistant: Assistant,
    queries: Iterator[Query],
    config: AnswerConfig,
    others: OtherProcesses | None,
) -> Iterator[Replies]:
    """Gives batches to the other processes, and answers one here while all of them are busy."""
    pending: dict[Future[list[Answer | SeesayError]], list[Query]] = {}
    while (batch := list(islice(queries, BATCH))) or pending:
        pairs = [query.pair for query in batch]
        future = others.answer(pairs, config) if others and batch else None
        if future is not None:
            pending[future] = batch
        elif batch:
            yield _answer_here(assistant, batch, config)
        for future in wait(pending, 0 if batch else None, FIRST_COMPLETED).done:
            batch = pending.pop(future)
            try:
                yield list(zip(batch, future.result(), strict=True))
            except BrokenProcessPool:  # what a process took with it is asked here
                yield _answer_here(assistant, batch, config)


def _answer_here(assistant: Assistant, batch: list[Query], config: AnswerConfig) -> Replies:
    pairs = [query.pair for query in batch]
    return list(zip(batch, answer_each(assistant, pairs, config), strict=True))

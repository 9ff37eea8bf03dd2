"""Scores captions by how well they fit their pictures, block by block, and has further ones
written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seesay.data.formats.records import Record
from seesay.data.images import open_image
from seesay.data.sources import RecordsConfig, open_records, used_records
from seesay.errors import DataError, ImageError
from seesay.inference.answer import Answer, Assistant
from seesay.inference.answering import CAPTION_TOKENS, AnswerConfig, write_captions
from seesay.inference.embedder import Embedder, fingerprint_of, join
from seesay.inference.matcher import Matcher
from seesay.text import Language, Text, detect_language, to_unicode
from seesay.training.pair_scores import CosineScorer, MatchingScorer, PairScorer
from seesay.training.score_store import DIGITS, Progress, ScoredCaption, ScoreStore

BLOCK, WRITING_BLOCK = 64, 8
"""Records that are scored together, without and with a captioner, for which they are decoded."""
OTHERS, FEWEST = 256, 2
"""Random pictures that texts are compared with, each with one of them, and how many there have to
be."""
SAMPLED = 16
"""Records whose contents are compared when a run goes on."""

Report = Callable[[int, int, int], None]


class CaptionScoring:
    """The captions of a source and, with a captioner, those written for it."""

    def __init__(
        self,
        records: RecordsConfig,
        captioner: Assistant | None = None,
        *,
        top_p: float = 0.9,
        seed: int = 0,
    ) -> None:
        """The captioner samples as `top_p` says; 0: it takes the most likely tokens. Raises
        DataError if there is no record."""
        self.records, self.source, self.captioner = records, open_records(records), captioner
        self._used = used_records(records, self.source)
        self._top_p, self._seed = top_p, seed
        self._writing = AnswerConfig(
            max_tokens=CAPTION_TOKENS,
            temperature=1.0 if top_p else 0.0,
            top_p=top_p or None,
            seed=seed if top_p else None,
        )

    def settings(self, comparing: Embedder | Matcher) -> dict[str, Any]:
        """What scores depend on, which a run that goes on must not change."""
        captioner = self.captioner
        model = getattr(getattr(captioner, "files", None), "model", None)
        return {
            "filter": comparing.name,
            "captioner": None if captioner is None else captioner.name,
            **asdict(self.records),
            "number of records": len(self.source),
            "contents of the records": self._digest(),
            "weights of the filter": fingerprint_of(comparing.model),
            "weights of the captioner": None if model is None else fingerprint_of(model),
            "top_p": self._top_p if captioner is not None else None,
            "seed": self._seed,
        }

    def _digest(self) -> str:
        """A hash of some records, spread over the source."""
        digest = blake2b(digest_size=8)
        for number in self._used[:: max(1, len(self._used) // SAMPLED)]:
            if (record := self._read(number)) is not None:
                digest.update(repr((record.key, sorted(record.captions.items()))).encode())
                digest.update(_encoded(record))
        return digest.hexdigest()

    def _read(self, number: int) -> Record | None:
        try:
            return self.source[number]
        except DataError:  # training will report it
            return None

    def run(self, store: ScoreStore, comparing: Embedder | Matcher, report: Report) -> None:
        """Scores the records that have not been scored yet."""
        progress, total = store.progress, len(self._used)
        if progress.done == total:
            return
        if not progress.done:
            progress = progress._replace(damaged=len(self.source.damaged))
        scorer = self._scorer(store, comparing)
        size = BLOCK if self.captioner is None else WRITING_BLOCK
        while progress.done < total:
            report(progress.done, total, progress.damaged)
            numbers = self._used[progress.done : progress.done + size]
            captions, progress = self._block(scorer, numbers, progress)
            store.add(captions, progress)

    def _scorer(self, store: ScoreStore, comparing: Embedder | Matcher) -> PairScorer:
        if isinstance(comparing, Matcher):
            return MatchingScorer(comparing)
        if store.others is None:
            store.put_others(self._random_pictures(comparing).tobytes())
        stored = np.frombuffer(store.others or b"", np.float32)
        return CosineScorer(comparing, stored.reshape(-1, comparing.dim))

    def _random_pictures(self, embedder: Embedder) -> Any:
        count = min(OTHERS, len(self._used))
        drawn = np.random.default_rng(self._seed).permutation(len(self._used))[:count]
        records = (self._read(self._used[at]) for at in np.sort(drawn))
        parts = embedder.stream_images(one.image for one in records if one is not None)
        vectors = join(list(parts), embedder.dim).vectors
        if len(vectors) < FEWEST:
            raise DataError(
                Text(
                    f"{self.records.path} has {len(vectors)} pictures that can be read, expected "
                    f"at least {FEWEST}, since cosines are compared with those of random pictures: "
                    "give more, or a filter with a matching head",
                    f"{self.records.path} 只有 {len(vectors)} 张能读取的图片；至少应有 {FEWEST} "
                    "张，因为余弦要与随机图片的相比；请增加图片，或改用带匹配头的过滤模型",
                )
            )
        return vectors

    def _block(
        self, scorer: PairScorer, numbers: Sequence[int], progress: Progress
    ) -> tuple[list[ScoredCaption], Progress]:
        opened = [one for number in numbers if (one := self._open(number)) is not None]
        seen = scorer.look([one.image for one in opened])
        pictures = [opened[index] for index in seen.rows]
        written = {language: self._written(language, pictures) for language in self._to_write}
        unwritten = sum(text is None for texts in written.values() for text in texts)
        owners, captions = list[int](), list[ScoredCaption]()
        for row, picture in enumerate(pictures):
            by_captioner = {of: text for of, texts in written.items() if (text := texts[row])}
            of_picture = list(self._captions(picture, by_captioner))
            captions += of_picture
            owners += [row] * len(of_picture)
        scores = np.empty((0, 2))
        if captions:
            draws = np.array([_draw(self._seed, one) for one in captions])
            texts = [one.text for one in captions]
            scores = scorer.score(seen, np.array(owners), texts, draws)
        scored = [
            one._replace(score=round(own, DIGITS), random=_rounded(random))
            for one, (own, random) in zip(captions, scores.tolist(), strict=True)
        ]
        return scored, Progress(
            done=progress.done + len(numbers),
            records=progress.records + len(pictures),
            damaged=progress.damaged + len(numbers) - len(pictures),
            unwritten=progress.unwritten + unwritten,
        )

    def _open(self, number: int) -> "_Picture | None":
        """A record with its picture, decoded for both models, or undecoded for the filter alone,
        which then reads large ones at reduced scale; None if it cannot be read."""
        record = self._read(number)
        if record is None or (isinstance(record.image, Path) and not record.image.is_file()):
            return None
        try:
            if self.captioner is None:
                return _Picture(number, record, record.image)
            return _Picture(number, record, open_image(record.image))
        except ImageError:
            return None

    def _captions(
        self, picture: "_Picture", written: Mapping[Language, str]
    ) -> Iterator[ScoredCaption]:
        """Yields the captions of a picture and those written for it, without scores."""
        key = to_unicode(picture.record.key)
        for language in self.records.languages:
            own = picture.record.captions.get(language, ())
            more = [written[language]] if language in written else []
            for place, text in enumerate([*own, *more]):
                yield ScoredCaption(
                    picture.number,
                    language,
                    place,
                    key,
                    written=place >= len(own),
                    text=to_unicode(text),
                )

    @property
    def _to_write(self) -> Sequence[Language]:
        return () if self.captioner is None else self.records.languages

    def _written(self, language: Language, pictures: Sequence["_Picture"]) -> list[str | None]:
        """The caption written for each picture; None if it did not come to its end or is not in the
        language: some captioners know only one."""
        assert self.captioner is not None
        images = [one.image for one in pictures]
        answers = write_captions(self.captioner, images, language=language, config=self._writing)
        return [_complete(answer, language) for answer in answers]


class _Picture(NamedTuple):
    number: int
    record: Record
    image: Any
    """As the models take it."""


def _encoded(record: Record) -> bytes:
    """The file of a record's picture; empty if it cannot be read."""
    try:
        return record.image if isinstance(record.image, bytes) else record.image.read_bytes()
    except OSError:
        return b""


def _complete(answer: Any, language: Language) -> str | None:
    if not isinstance(answer, Answer) or answer.finish_reason != "stop":
        return None
    text = " ".join(to_unicode(answer.text).split())
    return text if text and detect_language(text) == language else None


def _draw(seed: int, one: ScoredCaption) -> float:
    """A number from 0 up to 1 for a caption, the same in whatever block it is."""
    text = f"{seed} {one.number} {one.language} {one.place}"
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest(), "big") / 2**48


def _rounded(score: float) -> float | None:
    return None if score != score else round(score, DIGITS)

"""The objects that all routes share."""

from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from seesay.api.config import ServerConfig
from seesay.api.failures import RefusedError
from seesay.api.guard import MAY_WRITE
from seesay.api.jobs import Jobs
from seesay.api.metrics import Metrics
from seesay.api.work import Work
from seesay.errors import CollectionError
from seesay.inference.answering import ServedAssistant
from seesay.rag.verification import open_verifier
from seesay.search.asking import second_stage
from seesay.search.collection import Collection
from seesay.search.library import Library
from seesay.text import Text

_ENDPOINT_THREADS = 8


@dataclass
class Readiness:
    """Whether everything is loaded."""

    is_ready: bool = False
    problem: Text | None = None
    """Why loading failed."""


class Service:
    """The parts of one application, made together."""

    def __init__(
        self, library: Library, config: ServerConfig, assistant: ServedAssistant | None = None
    ) -> None:
        self.library = library
        self.assistant = assistant
        self.config = config
        self.jobs = Jobs(library, config.index_folders)
        self.metrics = Metrics()
        self.readiness = Readiness()
        self._works: dict[str, Work] = {}
        # Apart, so that none of these keeps another waiting: not a batch of embeddings the
        # thumbnails, nor a page of these or a hunt for duplicates a search.
        self.searches = self._work("search", config.workers)
        self.pictures = self._work("pictures", config.workers)
        self.embeddings = self._work("embeddings", config.workers)
        self.long = self._work("long", 1)
        # One answer at a time, with half of the processors: the others answer searches. At an
        # endpoint many are written at once, and threads here only wait for them.
        remote = assistant is not None and assistant.is_remote
        self.answers = self._work(
            "answers",
            _ENDPOINT_THREADS if remote else 1,
            timeout_s=config.answer_timeout_s,
            torch_threads=max(1, config.workers // 2),
        )
        works = self._works.items()
        self.metrics.watch(
            waiting={name: partial(getattr, work, "waiting") for name, work in works},
            working={name: partial(getattr, work, "working") for name, work in works},
            indexing={name: partial(self.jobs.is_running, name) for name in library.names},
            ready=lambda: self.readiness.is_ready,
        )

    def collection(self, name: str | None) -> tuple[str, Collection]:
        """The name and the collection that a request means. Raises RefusedError for one that is not
        served: only names are known here, never paths."""
        try:
            return name or self.library.names[0], self.library.get(name)
        except CollectionError as error:
            raise RefusedError(404, "UnknownCollection", error.text) from None

    def writable(self, request: Request, name: str | None) -> tuple[str, Collection]:
        """The same, for a request that changes it. Raises RefusedError where the server or the
        collection only reads, or the token of the request allows no more than that."""
        known_as, collection = self.collection(name)
        if self.config.read_only or collection.store.read_only:
            raise RefusedError(
                403,
                "ReadOnly",
                Text(
                    "this server only reads, expected one that may change collections; do it on "
                    "the machine itself, or start the server without --read-only",
                    "这台服务器只读，不能修改资料库；请在本机上操作，或启动服务时不加 --read-only",
                ),
            )
        if not request.scope.get(MAY_WRITE, False):
            raise RefusedError(
                403,
                "ReadToken",
                Text(
                    "the token of the request only reads, expected the one that may change "
                    "collections; send the token that the server was started with as --token",
                    "请求所带的令牌只能读取；修改资料库应使用启动服务时以 --token 设置的令牌",
                ),
            )
        return known_as, collection

    def warm_up(self) -> None:
        """Load everything; /ready reports a failure."""
        try:
            self.library.warm_up()
            if self.config.rerank is not None:
                second_stage.load(self.config.rerank)
            if self.config.verifier is not None:
                open_verifier(self.config.verifier)
            if self.assistant is not None:
                self.assistant.get()
        except Exception as error:
            self.readiness.problem = Text.of(error)
            raise
        self.readiness.is_ready = True

    def stop(self) -> None:
        """Abandon all work in progress: waiting clients are told that the server is stopping."""
        for work in self._works.values():
            work.stop()

    def close(self) -> None:
        """End background jobs once they have stored their current batch."""
        self.stop()
        self.jobs.close()
        for work in self._works.values():
            work.close()

    def _work(
        self, name: str, threads: int, *, timeout_s: float | None = None, torch_threads: int = 1
    ) -> Work:
        config = self.config
        self._works[name] = Work(
            name,
            threads=threads,
            max_waiting=config.max_waiting,
            timeout_s=timeout_s or config.timeout_s,
            torch_threads=torch_threads,
        )
        return self._works[name]

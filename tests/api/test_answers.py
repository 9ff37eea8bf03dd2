"""POST /v1/answers and the MCP tool `ask`, over a collection of photographs and two notes."""

import asyncio
import json

import pytest
from mcp import Client

from seesay.api.mcp import build_mcp
from seesay.search.library import Library

ASKED = [
    ("Where does the rocket stand?", "launch pad", "rocket.md"),
    ("南京市长江大桥什么时候好看？", "夜里", "桥.txt"),
]


@pytest.mark.parametrize("question, part, name", ASKED)
def test_an_answer_cites_the_file_that_says_so(client, question, part, name):
    answer = client.post("/v1/answers", json={"question": question}).raise_for_status().json()
    assert answer["status"] == "answered"
    (claim,) = answer["claims"]
    assert part in claim["text"] and claim["verdict"] == "supported"
    cited = {one["id"]: one for one in answer["evidence"]}[claim["evidence"][0]]
    assert cited["path"].endswith(name)
    quote = claim["quotes"][0]
    assert cited["text"][quote["start"] : quote["end"]] == quote["text"]


def test_what_is_not_there_is_not_found(client):
    answer = client.post("/v1/answers", json={"question": "How high is the rocket?"}).json()
    assert (answer["status"], answer["claims"]) == ("not found", [])
    assert any(one["path"].endswith("rocket.md") for one in answer["evidence"])


def test_a_stream_has_the_evidence_the_claims_and_the_answer(client):
    body = {"question": ASKED[0][0], "stream": True}
    with client.stream("POST", "/v1/answers", json=body) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    events = [json.loads(line) for line in lines[:-1]]
    assert [one["type"] for one in events] == ["evidence", "claim", "answer"]
    assert events[2]["answer"]["claims"] == [events[1]["claim"]]
    assert events[2]["answer"]["evidence"] == events[0]["evidence"]


def test_a_follow_up_question_refers_to_its_history(client):
    body = {"question": "它什么时候好看？", "history": ["南京市长江大桥在哪里？"]}
    answer = client.post("/v1/answers", json=body).json()
    assert answer["understood"] == "南京市长江大桥什么时候好看？"


WRONG = [
    ({"question": "?!"}, 400, "has no words"),
    ({"question": ""}, 422, "question"),
    ({"question": "Why?", "mode": "endpoint"}, 422, "mode"),
    ({"question": "Why?", "mode": "assistant"}, 404, "no assistant"),
    ({"question": "Why?", "collection": "none"}, 404, "no collection"),
    ({"question": "Why?", "where": ["=1"]}, 400, "=1"),
]


@pytest.mark.parametrize("body, status, told", WRONG)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_asked_is_told_with_its_status(client, body, status, told, stream):
    reply = client.post("/v1/answers", json={**body, "stream": stream})
    assert reply.status_code == status
    assert told in reply.json()["error"]["message"]


def test_an_assistant_asks_with_a_tool(album):
    async def talk(question: str):
        with Library.open([album], read_only=True) as library:
            async with Client(build_mcp(library)) as client:
                return (await client.call_tool("ask", {"question": question})).structured_content

    answer = asyncio.run(talk(ASKED[0][0]))
    (claim,) = answer["claims"]
    assert answer["status"] == "answered" and "launch pad" in claim["claim"]
    assert claim["citations"][0]["path"].endswith("rocket.md")
    assert claim["citations"][0]["quote"] in claim["claim"]
    nothing = asyncio.run(talk("How high is the rocket?"))
    assert nothing["status"] == "not found" and nothing["nearest"]

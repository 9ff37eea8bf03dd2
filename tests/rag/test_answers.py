"""Questions to a small collection, in quote mode and with assistants."""

import json

import pytest

import seesay
from chat_server import chat_server, completion
from hf_references import entailment_folder
from rag_notes import Says
from seesay.errors import ConfigError
from seesay.inference.answer import Answer
from seesay.rag.answer import AskConfig, as_claim, ask, stream_answer
from seesay.rag.claims import CitedAnswer, Claim
from seesay.rag.evidence import EvidenceLimits, gather
from seesay.rag.questions import Question
from seesay.rag.verification import aligned
from seesay.search.plain import to_json

QUOTED = [
    ("Who designed Harwick Library?", "Tobias Finch", "/notes/library.txt"),
    ("When did the library open?", "1931", "/notes/library.txt"),
    ("How many people does the library employ?", "42 people", "/notes/library.txt"),
    ("城南图书馆是哪一年开放的？", "1987年", "/notes/图书馆.txt"),
    ("请问城南图书馆有多少名员工？", "36名员工", "/notes/图书馆.txt"),
    ("How much did the income of Acme grow?", "12%", "/report.pdf"),
    ("When does the comet return?", "2061", "/talk.mp4"),
]


@pytest.mark.parametrize("question, part, path", QUOTED)
def test_the_sentence_that_answers_is_quoted_with_its_place(notes, question, part, path):
    answer = ask(question, notes)
    assert answer.status == "answered" and answer.mode == "quote" and answer.model is None
    assert part in answer.claims[0].text
    assert {one.verdict for one in answer.claims} == {"supported"}
    for claim in answer.claims:
        assert all(aligned(quote, answer.evidence) for quote in claim.quotes)
    (number,) = answer.claims[0].evidence
    assert answer.evidence[number - 1].path == path
    assert [one.id for one in answer.evidence] == [*range(1, len(answer.evidence) + 1)]


UNANSWERABLE = [
    "How much did Harwick Library cost?",
    "Who gave Harwick Library its grand piano?",
    "How high is the tower of Harwick Library?",
    "When did Elmsford Museum open?",
    "城南图书馆的塔楼有多高？",
    "谁向城南图书馆捐赠了钢琴？",
    "青山博物馆是哪一年开放的？",
    "How does photosynthesis work in the shade?",
]


@pytest.mark.parametrize("question", UNANSWERABLE)
def test_what_is_not_there_is_not_found(notes, question):
    answer = ask(question, notes)
    assert (answer.status, answer.claims) == ("not found", ())


def test_where_nothing_is_found_the_nearest_evidence_is_given(notes):
    answer = ask("How much did Harwick Library cost?", notes)
    assert answer.evidence[0].path == "/notes/library.txt"


def test_both_parts_of_a_question_are_answered(notes):
    answer = ask("Where is Harwick Library, and how many people does it employ?", notes)
    text = answer.text
    assert "Lantern Street" in text and "42 people" in text


def test_a_follow_up_question_refers_to_the_one_before(notes):
    first = ask("Who designed Harwick Library?", notes)
    answer = ask("How many people does it employ?", notes, history=[first.understood])
    assert answer.understood == "How many people does Harwick Library employ?"
    assert "42 people" in answer.text


def test_evidence_says_where_it_stands(notes):
    places = {
        one.path: one.locator.label for one in ask("Porto visitors Lisbon comet", notes).evidence
    }
    assert places["/report.pdf"].en == "p. 3"
    assert places["/sales.xlsx"].zh == "Cities!A1:B3"
    assert places["/talk.mp4"].en == "at 1:23"


def test_the_pack_keeps_to_its_limits(notes):
    question = Question.of("library people visitors comet income")
    limits = EvidenceLimits(texts=2, characters=300)
    some = gather(notes, question, limits=limits)
    assert 0 < len(some) <= 2 and sum(len(one.text) for one in some) <= 300


def test_a_filter_restricts_the_evidence(notes):
    config = AskConfig(filter=seesay.make_filter(folders=["/notes"]))
    answer = finish(stream_answer(notes, "When does the comet return?", config))
    assert answer.status == "not found"
    assert all(one.path.startswith("/notes") for one in answer.evidence)


def finish(steps) -> CitedAnswer:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_the_steps_are_the_evidence_the_claims_and_the_answer(notes):
    steps, seen = stream_answer(notes, "When did the library open?"), []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            answer = end.value
            break
    assert seen == [answer.evidence, *answer.claims]


def test_an_answer_is_plain_json(notes):
    answer = json.loads(to_json(ask("When did the library open?", notes)))
    assert answer["claims"][0]["quotes"][0]["evidence"] == answer["claims"][0]["evidence"][0]


def as_claims(*pairs) -> str:
    return json.dumps({"claims": [{"text": text, "evidence": ids} for text, ids in pairs]})


def test_a_model_writes_claims_that_are_verified(notes):
    every = list(range(1, 6))
    true, false = "Harwick Library opened in 1931.", "Harwick Library opened in 1932."
    model = Says(as_claims((true, every[:2]), (false, every[:2])), "yes")
    answer = ask("When did Harwick Library open?", notes, assistant=model)
    assert (answer.mode, answer.model) == ("assistant", "says")
    assert [claim.text for claim in answer.claims] == [true]
    assert [claim.text for claim in answer.dropped] == [false]
    assert answer.dropped[0].verdict == "contradicted" and answer.dropped[0].reason is not None


def test_a_model_that_does_not_agree_keeps_a_claim_back(notes):
    model = Says(as_claims(("Harwick Library opened in 1931.", [1, 2])), "no")
    assert ask("When did Harwick Library open?", notes, assistant=model).status == "not found"


@pytest.mark.parametrize("kind, status", [("entailment", "answered"), ("neutral", "not found")])
def test_a_model_of_entailment_checks_texts_in_place_of_the_one_that_writes(
    notes, tmp_path, kind, status
):
    folder = entailment_folder(tmp_path, favours=kind)
    model = Says(as_claims(("Harwick Library opened in 1931.", [1, 2])), "no")
    question = "When did Harwick Library open?"
    answer = ask(question, notes, assistant=model, verifier=str(folder))
    assert answer.status == status
    assert len(model.asked) == 1  # not for its own yes or no
    if status != "answered":
        assert answer.dropped[0].reason.en == "it does not follow from the evidence"
    with pytest.raises(ConfigError, match="nothing to check in quote mode"):
        ask(question, notes, verifier=str(folder))


def test_a_reranker_puts_the_evidence_in_order(notes):
    read = Question.of("When did the library open?")
    asked = []

    def turned(words, units):
        asked.append(words)
        return list(reversed(units))

    before, after = gather(notes, read), gather(notes, read, rerank=turned)
    assert len(before) > 1 and asked == [read.text]
    assert [one.unit for one in after] != [one.unit for one in before]
    assert after[-1].unit == before[0].unit


def test_an_endpoint_is_asked_for_json_of_the_schema(notes):
    text = as_claims(("Harwick Library opened in 1931.", [1, 2]))
    with chat_server(completion(text), completion("yes")) as endpoint:
        answer = ask("When did Harwick Library open?", notes, endpoint=endpoint.url,
                     assistant="cats-7b")  # fmt: skip
    assert answer.status == "answered" and answer.mode == "endpoint"
    assert endpoint.requests[0].body["response_format"]["type"] == "json_schema"
    assert "tools" not in endpoint.requests[0].body


@pytest.mark.parametrize(
    "how, told",
    [({"mode": "guess"}, "quote, assistant, endpoint"), ({"mode": "endpoint"}, "address")],
)
def test_choices_that_do_not_go_together_are_refused(notes, how, told):
    with pytest.raises(ConfigError, match=told):
        ask("When did it open?", notes, **how)


def test_a_question_needs_words(notes):
    with pytest.raises(ConfigError, match="no words"):
        ask(" ?! ", notes)


STATEMENTS = [
    ("照片里有几只狗？", "两只", "照片里有两只狗"),
    ("How many dogs are in the photo?", "two", "two dogs"),
    ("How many cats are in the photo?", "one", "one cat"),
    ("What colour is the car?", "red", "What colour is the car? red"),
    ("What is in the picture?", "A dog runs on the grass.", "A dog runs on the grass."),
]


@pytest.mark.parametrize("question, answer, statement", STATEMENTS)
def test_a_short_answer_becomes_a_statement(question, answer, statement):
    given = Answer(text=answer, model="m", finish_reason="stop")
    assert as_claim(Question.of(question), given) == statement


def test_the_face_offers_it(notes_folder):
    answer = seesay.ask("When did the library open?", notes_folder)
    assert isinstance(answer, seesay.CitedAnswer) and isinstance(answer.claims[0], Claim)

"""Several processes, tokens and their price, contrastive decoding, and an endpoint beside the model
itself."""

import base64
import io
import os
from dataclasses import replace
from functools import partial
from threading import Barrier

import pytest
from PIL import Image

from chat_server import completion
from seesay.evaluation.running import run_suite
from seesay.evaluation.suite_report import suite_json, suite_markdown
from seesay.evaluation.suites import Prices, read_suite
from seesay.inference.answer_writer import AnswerWriter
from seesay.inference.answering import open_assistant
from seesay.inference.assistant import chat
from seesay.inference.decoding import ContrastConfig
from seesay.inference.processes import OtherProcesses
from small_suite import ROWS, endpoint, opened, pope, suite_of, write_questions

in_numpy = partial(open_assistant, "seesay-assistant", device="cpu", pictures=1)


@pytest.fixture(scope="module")
def quick():
    """The built-in model without torch."""
    assistant = in_numpy()
    assert isinstance(assistant, AnswerWriter)
    return assistant


def test_several_processes_give_the_table_of_one(tmp_path, quick):
    place = write_questions(tmp_path, 44)
    suite = suite_of(place, pope=pope(place, max_tokens=4))
    with opened(place, "one") as store:
        one, answers = run_suite(suite, quick, store), store.answers("pope")
    given = []

    class Counting(OtherProcesses):
        def answer(self, pairs, config):
            future = super().answer(pairs, config)
            given.append(future is not None)
            return future

    with opened(place, "two") as store, Counting(2, in_numpy) as others:
        assert run_suite(suite, quick, store, others=others) == one
        assert store.answers("pope") == answers and len(answers) == 44
    assert given.count(True) >= 2 and not others.broken  # the rest was answered here


def test_a_process_that_dies_loses_no_answer(tmp_path, quick):
    place = write_questions(tmp_path, 20)
    suite = suite_of(place, pope=pope(place, max_tokens=4))
    with opened(place) as store, OtherProcesses(2, partial(os._exit, 9)) as others:
        report = run_suite(suite, quick, store, others=others)
    assert others.broken and report.scores[0].answers == 20


def test_an_endpoint_is_sent_as_many_requests_at_a_time(tmp_path):
    place = write_questions(tmp_path)
    pair = Barrier(2)

    def reply(_):
        pair.wait(60)  # for another request at the same time
        return completion("Yes.")

    with (
        endpoint(reply) as (assistant, server),
        opened(place) as store,
        OtherProcesses(2, None) as others,
    ):
        report = run_suite(suite_of(place), assistant, store, others=others)
    assert len(server.requests) == report.scores[0].answers == ROWS


def test_tokens_and_time_are_counted_and_have_a_price(tmp_path):
    place = write_questions(tmp_path)
    with endpoint(completion("Yes.")) as (assistant, _), opened(place) as store:
        first = run_suite(suite_of(place), assistant, store)
        again = run_suite(suite_of(place), assistant, store)
    [cost] = first.costs
    assert (cost.prompt_tokens, cost.answer_tokens, cost.counted) == (300 * ROWS, 2 * ROWS, ROWS)
    assert 0 < cost.seconds < 60 and again.costs == first.costs  # what was stored costs no more
    prices = Prices(prompt=2.0, answer=10.0)
    assert prices.of(cost) == pytest.approx((300 * 2 + 2 * 10) * ROWS / 1e6)
    assert suite_json(first, prices=prices)["costs"][0]["price"] == prices.of(cost)
    for language in ("en", "zh"):
        page = suite_markdown(first, language=language, prices=prices)
        assert "3,600" in page and f"{prices.of(cost):.4f}" in page


def test_an_endpoint_that_tells_no_tokens_has_no_price(tmp_path):
    place = write_questions(tmp_path)
    told = [completion("Yes."), completion("Yes.", usage=None)]
    with endpoint(*told) as (assistant, _), opened(place) as store:
        report = run_suite(suite_of(place), assistant, store)
    assert (report.costs[0].counted, report.costs[0].answers) == (1, ROWS)
    assert f"300 (1/{ROWS})" in suite_markdown(report)
    unknown = replace(report.costs[0], counted=0, prompt_tokens=0, answer_tokens=0)
    assert "| – | – |" in suite_markdown(replace(report, costs=(unknown,)))


def test_a_task_is_asked_with_contrastive_decoding(tmp_path):
    place = write_questions(tmp_path)
    (place / "suite.toml").write_text(
        'name = "c"\n[tasks.vcd]\ndata = "POPE.tsv"\nprompt = "plain/seesay@1"\n'
        'scorers = ["pope/official@1"]\nlimit = 2\nmax_tokens = 2\n'
        "contrast = { alpha = 0.5 }\n"
    )
    suite = read_suite(place / "suite.toml", data=place)
    assert suite.tasks["vcd"].contrast == ContrastConfig(alpha=0.5)
    with opened(place, "here") as store:
        report = run_suite(suite, chat("seesay-assistant", device="cpu"), store)
        assert '"alpha": 0.5' in store.answers("vcd")[0].settings
    assert report.scores[0].answers == 2
    with endpoint(completion("Yes.")) as (assistant, server), opened(place) as store:
        report = run_suite(suite, assistant, store)
    assert "no contrastive decoding" in report.scores[0].problem.en and not server.requests


def test_a_model_and_an_endpoint_before_it_have_the_same_table(tmp_path, quick):
    place = write_questions(tmp_path)

    def ask(request):
        picture, question = None, ""
        for part in request.body["messages"][-1]["content"]:
            if part["type"] == "image_url":
                content = part["image_url"]["url"].partition(",")[2]
                picture = Image.open(io.BytesIO(base64.b64decode(content)))
            else:
                question = part["text"]
        answer = quick.ask(picture, question, max_tokens=request.body["max_tokens"])
        return completion(answer.text)

    suite = suite_of(place, pope=pope(place, max_tokens=4))
    with opened(place, "here") as store:
        here, answers = run_suite(suite, quick, store), store.answers("pope")
    with endpoint(ask) as (assistant, server), opened(place, "there") as store:
        there, others = run_suite(suite, assistant, store), store.answers("pope")
    assert len(server.requests) == ROWS
    assert [one.answer for one in others] == [one.answer for one in answers]
    values = [[one.values for one in report.scores] for report in (here, there)]
    for ours, theirs in zip(*values, strict=True):
        known = {name: ours[name] for name in theirs}  # an endpoint tells no certainty
        assert known == theirs and "accuracy" in theirs

"""A suite is asked, stored, resumed, scored again and compared."""

import json
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image

from chat_server import completion, refusal
from seesay.errors import ConfigError, DataError, EndpointError
from seesay.evaluation.answer_store import AnswerStore
from seesay.evaluation.asking import FAILURES_IN_A_ROW
from seesay.evaluation.running import NamedJudge, open_model, rescore, run_suite
from seesay.evaluation.scoring import Judge
from seesay.evaluation.suite_report import compare_runs, suite_html, suite_json, suite_markdown
from seesay.evaluation.suites import Scores, read_suite
from seesay.inference.answer import Answer
from seesay.inference.assistant import chat
from small_suite import POPE, ROWS, endpoint, opened, pope, suite_of, write_questions
from tiny_checkpoint import write_checkpoint


@pytest.fixture
def place(tmp_path):
    """Yes/no questions about four pictures, one row of which has no answer."""
    return write_questions(tmp_path)


class Knowing:
    """An assistant that knows which things are there: those with an odd number."""

    name = "knowing"

    def ask(self, images, question, **how):
        text = "yes" if int(question.split()[3].strip("?")) % 2 else "no"
        return Answer(text=text, model=self.name, finish_reason="stop")

    def stream(self, images, question, **how):
        raise NotImplementedError


@pytest.fixture(scope="module")
def built_in():
    return chat("seesay-assistant", device="cpu")


def test_answers_are_scored_by_every_scorer_and_what_is_left_out_is_counted(place):
    seen = []
    with endpoint(completion("Yes.")) as (assistant, server), opened(place) as store:
        report = run_suite(
            suite_of(place), assistant, store, on_progress=lambda *step: seen.append(step)
        )
        stored = store.answers("pope")
    assert len(server.requests) == ROWS and seen[-1] == ("pope", ROWS + 1, ROWS + 1, 1)
    assert [one.scorer for one in report.scores] == list(POPE)
    for one in report.scores:
        assert one.values["accuracy"] == 0.5 and one.values["recall"] == 1
        assert (one.answers, one.left_out) == (ROWS, 1)
        assert "no right answer" in one.reasons[0][0].en
    assert [one.sample for one in stored] == [str(n) for n in range(ROWS)]
    assert stored[0].answer == "Yes." and stored[0].prompt == "Is there thing 0?"
    assert len({one.pictures for one in stored}) == 4
    assert len(report.data[str(place / "POPE.tsv")]) == 32


def test_a_killed_run_ends_with_the_same_values(place, built_in):
    suite = suite_of(place, pope=pope(place, max_tokens=4))
    with opened(place, "whole") as store:
        whole, answers = run_suite(suite, built_in, store), store.answers("pope")

    class KilledError(BaseException):
        pass

    def kill_at(stop, task, done, total, left_out):
        if done == stop:
            raise KilledError

    kept = []
    for stop in (8, ROWS + 1):
        with opened(place) as store, pytest.raises(KilledError):
            run_suite(suite, built_in, store, on_progress=partial(kill_at, stop))
        with opened(place) as store:
            kept.append(len(store.answers("pope")))
    with opened(place) as store:
        assert run_suite(suite, built_in, store) == whole
        assert store.answers("pope") == answers and len(answers) == ROWS
    assert kept == [8, ROWS]  # whole batches


def test_only_a_changed_question_is_asked_again(place):
    suite = suite_of(place)
    with endpoint(completion("Yes.")) as (assistant, server), opened(place) as store:
        run_suite(suite, assistant, store)
        run_suite(suite, assistant, store)
        assert len(server.requests) == ROWS
        Image.new("RGB", (8, 8), (9, 9, 9)).save(place / "0.png")
        run_suite(suite, assistant, store)
        assert len(server.requests) == ROWS + 3  # of the changed picture
        report = run_suite(suite_of(place, pope=pope(place, limit=4)), assistant, store)
        assert len(server.requests) == ROWS + 3 and report.scores[0].answers == 4
        run_suite(suite_of(place, pope=pope(place, prompt="yes-no/seesay@1")), assistant, store)
        assert len(server.requests) == 2 * ROWS + 3


def test_answers_are_scored_again_without_a_model_or_the_data(place):
    with endpoint(completion("Yes, there is.")) as (assistant, _), opened(place) as store:
        first = run_suite(suite_of(place), assistant, store)
    (place / "POPE.tsv").unlink()
    lmms = pope(place, scorers=("pope/lmms@2026-08-06", *POPE))
    with AnswerStore(place / "answers.sqlite") as store:
        with pytest.raises(DataError, match="locked"):
            AnswerStore(place / "answers.sqlite")
        again = rescore(suite_of(place, pope=lmms), store)
    assert again.scores[1:] == first.scores and again.model == "cats-7b"
    assert again.scores[0].values["accuracy"] == 0
    with pytest.raises(ConfigError, match="there are no answers in"):
        AnswerStore(place / "none.sqlite")
    with pytest.raises(ConfigError, match="answers of model 'cats-7b', not of 'dogs'"):
        AnswerStore(place / "answers.sqlite", {"model": "dogs"})
    (place / "torn.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"torn\.sqlite cannot be used"):
        AnswerStore(place / "torn.sqlite")


def test_a_task_that_cannot_be_read_does_not_stop_the_others(place):
    (place / "bad.tsv").write_text("index\tquestion\n1\ta\n")
    (place / "1.png").write_bytes(b"no picture")
    (place / "2.png").unlink()
    tasks = {"bad": pope(place, data=str(place / "bad.tsv")), "good": pope(place)}
    with endpoint(completion("No")) as (assistant, _), opened(place) as store:
        report = run_suite(suite_of(place, **tasks), assistant, store)
    bad, good = report.scores[0], report.scores[-1]
    assert "none for the answer" in bad.problem.en and not bad.values
    assert (good.answers, good.left_out) == (ROWS - 6, 7)
    reasons = " ".join(reason.en for reason, _ in good.reasons)
    assert "does not begin like any picture" in reasons and "2.png cannot be read" in reasons
    page = suite_markdown(report, language="zh")
    assert "没有 answer 这一列" in page and POPE[0] in page


def test_a_dead_endpoint_ends_the_run_and_the_answers_stay(place):
    replies = [completion("Yes.")] * 2 + [refusal(500, "down")]
    with endpoint(*replies) as (assistant, server), opened(place) as store:
        with pytest.raises(EndpointError, match="down"):
            run_suite(suite_of(place), assistant, store)
        assert len(store.answers("pope")) == 2
        assert len(store.left_out("pope")) >= FAILURES_IN_A_ROW - 1
        server.replies[:] = [completion("No")]
        report = run_suite(suite_of(place), assistant, store)
    assert report.scores[0].answers == ROWS


def test_a_judge_is_asked_once_and_its_nonsense_is_counted(place):
    asked = []

    def judge(prompt):
        asked.append(prompt)
        return "well" if "thing 3" in prompt else "0.5"

    task = pope(place, scorers=("mmvet/seesay@1", "pope/official@1"))
    with endpoint(completion("Yes.")) as (assistant, _), opened(place) as store:
        reader = NamedJudge(name="owl", judge=Judge(judge))
        first = run_suite(suite_of(place, vet=task), assistant, store, judge=reader)
        count = len(asked)
        again = run_suite(suite_of(place, vet=task), assistant, store, judge=reader)
        without = rescore(suite_of(place, vet=task), store)
    graded, plain = first.scores
    assert graded.values["accuracy"] == 0.5 and graded.judge == "owl" and not plain.judge
    assert (graded.answers, graded.left_out) == (ROWS - 1, 2)
    assert any("'well'" in reason.en for reason, _ in graded.reasons)
    assert again == first and len(asked) == count == ROWS + 2
    assert "needs a judge" in without.scores[0].problem.en and without.scores[1] == plain


def test_two_runs_are_compared_picture_by_picture(place):
    suite = suite_of(place)
    with opened(place) as good, opened(place, "other") as bad:
        with endpoint(completion("Yes.")) as (assistant, _):
            run_suite(suite, assistant, bad)
        report = run_suite(suite, Knowing(), good)
        found = compare_runs(good, bad, report)
        assert found == compare_runs(good, bad, report)
        one = found[0]
        assert (one.mean, one.other, one.difference, one.answers) == (1, 0.5, 0.5, ROWS)
        assert 0 <= one.low < 0.5 < one.high <= 1
        same = compare_runs(good, good, report)[0]
        assert (same.difference, same.low, same.high, same.clear) == (0, 0, 0, False)
        page = suite_html(report, found)
        assert "paired bootstrap" in page and "[" not in one.scorer
        values = suite_json(report, found)
        assert values["comparison"][0]["scorer"] == POPE[0]
        assert json.loads(json.dumps(values)) == values
        nothing = replace(report, scores=())
        with pytest.raises(DataError, match="share no scored answer"):
            compare_runs(good, bad, nothing)


def test_a_dual_encoder_takes_the_measures_and_leaves_the_tasks(place):
    for number in range(4):
        line = {"image": f"{number}.png", "en": f"picture {number}", "zh": f"图 {number}"}
        with (place / "a.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    (place / "suite.toml").write_text(
        'name = "both"\n[tasks.pope]\ndata = "POPE.tsv"\nprompt = "plain/seesay@1"\n'
        'scorers = ["pope/official@1"]\n[measures.mine]\nkind = "retrieval"\n'
        'path = "a.jsonl"\nformat = "table"\n'
    )
    suite = read_suite(place / "suite.toml", data=place, limit=3)
    assert suite.tasks["pope"].limit == 3 and suite.tasks["pope"].data == str(place / "POPE.tsv")
    model = open_model(str(write_checkpoint(place)))
    with opened(place) as store:
        report = run_suite(suite, model, store)
        again = run_suite(suite, model, store)
    [scores] = report.scores
    assert again == report and report.skipped == ("pope",)
    assert scores.scorer == "retrieval/seesay@1" and scores.answers == 4
    assert 0 <= scores.values["zh_text_to_image_r1"] <= 1


def test_wrong_suites_are_refused_before_anything_is_asked(place):
    file = place / "suite.toml"
    good = (
        'name = "x"\n[tasks.a]\ndata = "a.tsv"\nprompt = "plain/seesay@1"\n'
        'scorers = ["pope/official@1"]\n'
    )
    bad = good.partition("\n")[2].replace("tasks.a", "tasks.b").replace("data", "limits")
    file.write_text(good + bad + 'loader = "tsv"\n')
    with pytest.raises(ConfigError) as refused:
        read_suite(file)
    for problem in ("tasks.b.data is missing", "tasks.b.loader", "tasks.b.limits is no setting"):
        assert problem in str(refused.value)
    file.write_text(good.replace("plain/", "plane/"))
    with pytest.raises(ConfigError, match=r"\[tasks.a\] there is no prompt 'plane/seesay@1'"):
        read_suite(file)
    file.write_text(good.replace("pope/official", "pope/oficial"))
    with pytest.raises(ConfigError, match=r"\[tasks.a\] there is no scorer 'pope/oficial@1'"):
        read_suite(file)
    with pytest.raises(ConfigError, match="there is no scorer 'pope/best@1'"):
        Scores(task="a", scorer="pope/best@1")
    file.write_text('name = "x"\n')
    with pytest.raises(ConfigError, match="measures nothing"):
        read_suite(file)


def test_the_built_in_suites_can_be_read():
    quick, standard, full = (read_suite(name) for name in ("quick", "standard", "full"))
    assert quick.tasks and quick.measures
    # What the built-in models were trained on is passed over.
    assert quick.tasks["easy-vqa"].start == 2700 and quick.measures["tiny-imagenet"].start == 28500
    assert standard.tasks.items() <= full.tasks.items()
    assert {one.loader for one in full.tasks.values()} >= {"vlmevalkit", "parquet", "gqa", "coco"}


def test_a_suite_that_is_not_there_is_refused_with_the_names_of_those_that_are():
    with pytest.raises(ConfigError, match="no suite quik, expected one of quick, "):
        read_suite("quik")

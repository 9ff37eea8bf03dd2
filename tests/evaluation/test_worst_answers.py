"""The worst answers of each task are in the report, with their pictures."""

import re

from chat_server import completion
from seesay.evaluation.running import rescore, run_suite
from seesay.evaluation.suite_report import suite_html
from seesay.evaluation.suites import SuiteConfig, TaskConfig
from seesay.evaluation.worst_answers import worst_answers, worst_html
from small_suite import endpoint, opened, pope, suite_of, write_questions


def test_the_worst_answers_are_shown_with_their_pictures(tmp_path):
    place = write_questions(tmp_path)
    suite = suite_of(place)
    with endpoint(completion("<b>Yes</b> yes")) as (assistant, _), opened(place) as store:
        report = run_suite(suite, assistant, store)
        [sheet] = worst_answers(suite, store, report, 4)
        everything = worst_answers(suite, store, report, 60)
    # Right are all with an odd number; each picture comes before any comes again.
    assert [answer.sample for answer, _ in sheet.answers] == ["0", "2", "4", "6"]
    assert [score for _, score in sheet.answers] == [0] * 4
    assert [answer.sample for answer, _ in everything[0].answers] == ["0", "2", "4", "6", "8", "10"]
    for language, words in (("en", "lowest scores by pope/official@1"), ("zh", "得分最低")):
        page = suite_html(report, language=language, worst=[sheet])
        assert words in page and page.count("<figure>") == 4
        assert "&lt;b&gt;Yes" in page and "<b>Yes" not in page
        sources = set(re.findall(r'src="([^"]{0,40})', page))
        assert sources and all(one.startswith("data:image/jpeg;base64,") for one in sources)
        assert "http" not in page


def test_without_the_data_the_answers_remain(tmp_path):
    place = write_questions(tmp_path)
    suite = suite_of(place)
    with endpoint(completion("Yes")) as (assistant, _), opened(place) as store:
        run_suite(suite, assistant, store)
    (place / "0.png").write_bytes(b"no picture")
    with opened(place) as store:
        [sheet] = worst_answers(suite, store, rescore(suite, store), 2)
        assert list(sheet.thumbnails["0"]) == [] and len(sheet.thumbnails["2"]) == 1
        (place / "POPE.tsv").unlink()
        [sheet] = worst_answers(suite, store, rescore(suite, store), 2)
    assert sheet.thumbnails == {} and "Is there thing 2?" in worst_html([sheet])
    assert "picture not available" in worst_html([sheet]) and worst_html([]) == ""


def test_nothing_is_shown_of_what_is_all_right_or_has_no_score_of_its_own(tmp_path):
    place = write_questions(tmp_path)
    captions = [f"{n}\t{n % 4}.png\tq\ta red picture number {n}" for n in range(4)]
    text = "\n".join(["index\timage_path\tquestion\tanswer", *captions])
    (place / "captions.tsv").write_text(text + "\n")
    given = {"data": str(place / "captions.tsv"), "prompt": "caption/seesay@1"}
    tasks = {
        "pope": pope(place, limit=1),
        "bleu": TaskConfig(**given, scorers=("bleu4/coco@1+ptb@1",)),
        "cider": TaskConfig(**given, scorers=("bleu1/coco@1+ptb@1", "cider/coco@1+ptb@1")),
    }
    suite = SuiteConfig(name="s", tasks=tasks)
    replies = [completion("No"), completion("a red picture number 2")]
    with endpoint(*replies) as (assistant, _), opened(place) as store:
        report = run_suite(suite, assistant, store)
        [sheet] = worst_answers(suite, store, report, 2)
    assert (sheet.task, sheet.scorer) == ("cider", "cider/coco@1+ptb@1")
    scores = [score for _, score in sheet.answers]
    assert scores == sorted(scores) and "2" not in [answer.sample for answer, _ in sheet.answers]

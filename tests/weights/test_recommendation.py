"""Choosing a vision-language model is a selection over the catalogue, with its reasons."""

from dataclasses import replace

import pytest

from seesay.errors import ConfigError
from seesay.weights.catalog import AssistantEntry, Figure, published_assistants
from seesay.weights.recommendation import Need, Recommendations, recommend

GB = 10**9


def entry(alias: str, score: float | None = 50.0, **changes: object) -> AssistantEntry:
    """2 GB in bfloat16, 1 in int8, 0.625 in int4, without a cache worth the name."""
    figures = (
        () if score is None else (Figure(benchmark="A", task="ocr", score=score, source="paper"),)
    )
    one = replace(
        published_assistants()["llava-1.5-7b"],
        alias=alias,
        repo=f"me/{alias}",
        parameters_m=1000,
        layers_m=1000,
        head_m=0,
        context=1,
        languages=("en", "zh"),
        licence="Free",
        licence_zh="",
        commercial="yes",
        terms_en="",
        terms_zh="",
        figures=figures,
    )
    return replace(one, **changes)


def chosen(need: Need, *entries: AssistantEntry) -> Recommendations:
    return recommend(need, {one.alias: one for one in entries})


def names(found: Recommendations) -> list[str]:
    return [one.alias for one in found.ranked]


def why(found: Recommendations) -> dict[str, str]:
    return {one.alias: "; ".join(map(str, one.reasons)) for one in found.excluded}


def test_the_best_figure_comes_first_and_less_memory_among_equals():
    small = entry("small", 50.0, parameters_m=500, layers_m=500)
    found = chosen(Need(task="ocr"), entry("a", 50.0), entry("b", 60.0), small)
    assert names(found) == ["b", "small", "a"]
    assert [one.share for one in found.ranked] == [1.0, 0.8333, 0.8333]


def test_figures_on_several_benchmarks_are_compared_on_each():
    other = Figure(benchmark="B", task="ocr", score=10.0, source="s")
    weak = entry("weak", 30.0, figures=(*entry("x", 30.0).figures, replace(other, score=5.0)))
    strong = entry("strong", None, figures=(other,))
    found = chosen(Need(task="ocr"), weak, strong, entry("first", 60.0))
    assert names(found) == ["first", "strong", "weak"]
    assert found.ranked[-1].share == 0.5


@pytest.mark.parametrize(
    ("gigabytes", "fits"),
    [(2.5, "bfloat16"), (1.5, "int8"), (0.7, "int4"), (0.5, None), (None, "bfloat16")],
)
def test_a_model_is_held_as_precisely_as_memory_allows(gigabytes, fits):
    memory = None if gigabytes is None else round(gigabytes * GB)
    found = chosen(Need(task="ocr", memory=memory), entry("a"))
    assert [one.number_type for one in found.ranked] == ([fits] if fits else [])
    if fits is None:
        assert why(found) == {"a": "needs more memory"}
        assert found.excluded[0].least_memory == pytest.approx(0.625 * GB, rel=1e-2)


def test_a_longer_prompt_needs_more_memory():
    long = entry("a", context=100_000)
    need = Need(task="ocr", memory=round(2.2 * GB), tokens=100)
    assert chosen(need, long).ranked[0].number_type == "bfloat16"
    assert chosen(replace(need, tokens=1000), long).ranked[0].number_type == "int8"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"languages": ("en",)}, "not trained on Chinese"),
        ({"commercial": "no"}, "its licence forbids commercial use"),
        ({"commercial": "unknown"}, "unclear whether it may be used commercially"),
        ({"figures": ()}, "no published figure for this task in the catalogue"),
        ({"purpose": "matcher"}, "compares pictures with texts and writes none"),
    ],
)
def test_what_does_not_fit_says_why(changes, reason):
    need = Need(task="ocr", language="zh", commercial=True)
    found = chosen(need, entry("good"), entry("bad", **changes))
    assert (names(found), why(found)) == (["good"], {"bad": reason})
    assert found.excluded[0].reasons[0].zh != reason


def test_a_licence_with_conditions_is_allowed_and_tells_them():
    terms = {"commercial": "conditions", "terms_en": "up to 10 users", "terms_zh": "最多 10 人"}
    (one,) = chosen(Need(task="ocr", commercial=True), entry("a", **terms)).ranked
    assert "Free: up to 10 users" in one.reason.en and "最多 10 人" in one.reason.zh


def test_a_reason_names_figure_source_memory_and_languages():
    (one,) = chosen(Need(task="ocr", memory=round(1.5 * GB)), entry("a")).ranked
    assert one.reason.en == "A 50.0 (paper); 1.0 GB in int8; English, Chinese; Free"
    assert one.reason.zh == "A 50.0 (paper)；int8 占 1.0 GB；英文、中文；Free"


def test_a_new_line_in_the_catalogue_changes_the_answer():
    need = Need(task="ocr", language="zh", memory=8 * GB)
    published = published_assistants()
    first = recommend(need).ranked[0]
    new = entry("new", None, figures=tuple(replace(f, score=99.0) for f in first.figures))
    found = recommend(need, {**published, "new": new})
    assert names(found)[0] == "new"
    assert set(names(found)) == {"new", *names(recommend(need))}


@pytest.mark.parametrize("task", ["caption", "vqa", "ocr", "documents", "video", "pictures"])
def test_every_published_model_is_either_ranked_or_excluded(task):
    found = recommend(Need(task=task, memory=10 * GB))
    assert found.ranked
    assert sorted([*names(found), *why(found)]) == sorted(published_assistants())
    for one in found.ranked:
        assert one.memory <= 10 * GB and all(figure.task == task for figure in one.figures)


@pytest.mark.parametrize("wrong", [{"memory": 0}, {"tokens": 0}])
def test_an_impossible_need_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"leave no room.*expected numbers above 0"):
        Need(task="ocr", **wrong)

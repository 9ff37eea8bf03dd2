"""How sure a find is, in collections of any size: the built-in model on real photographs."""

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import made_collections as made
from photographs import PHOTOGRAPHS, photographs
from seesay.inference.background import Background, Backgrounds
from seesay.inference.embedder import load
from seesay.search.asking.confidence import THRESHOLD, picture_null
from seesay.search.asking.fusion import in_order
from seesay.search.asking.query import Query
from seesay.search.asking.searcher import Searcher
from seesay.search.catalog.filters import Compare
from seesay.search.catalog.store import Store

NAMES = list(PHOTOGRAPHS)
KNOWN = ["chelsea.png", "camera.png"]  # which the small model knows; no moon was in its training
NOTES = ["two cats asleep on a chair", "how to roast coffee", "月亮绕着地球转", "会议记录"]
SAID = {"en": 0, "zh": 1}
ABSENT = {
    "en": [
        "a plate of sushi with wasabi",
        "a spreadsheet with quarterly sales",
        "a giraffe",
        "stars in the sky",
    ],
    "zh": ["一盘寿司和芥末", "季度销售额的电子表格", "长颈鹿在吃树叶", "天上的星星"],
}


@pytest.fixture(scope="module")
def embedder():
    return load("seesay-mini", device="cpu")


@pytest.fixture(scope="module")
def searcher_of(tmp_path_factory, embedder):
    """From names of photographs to a searcher over these alone."""
    vectors = dict(zip(NAMES, embedder.embed_images(photographs()).vectors, strict=True))
    opened = []

    def searcher(*names: str) -> Searcher:
        store = Store(tmp_path_factory.mktemp("sure") / "c", create=True)
        space = made.add_space(store, dim=embedder.dim)
        with store.writing("activate"):
            store.spaces.activate(space.id)
        made.add_photos(store, space, np.stack([vectors[name] for name in names]))
        opened.append((store, Searcher(store, embedder)))
        return opened[-1][1]

    yield searcher
    for store, one in opened:
        one.close()
        store.close()


def add_notes(store, embedder):
    drafts = [made.note(str(n), text) for n, text in enumerate(NOTES)]
    with store.writing("index"):
        units = [stored.passages[0] for stored in store.files.put(drafts)]
        space = next(iter(store.spaces.all()))
        store.vectors.put(space.id, units, embedder.embed_texts(NOTES).vectors)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_photograph_alone_is_found_by_what_it_shows_and_by_nothing_else(
    searcher_of, name, language
):
    searcher = searcher_of(name)
    assert not searcher.search(Query.of(PHOTOGRAPHS[name][SAID[language]])).no_good_match
    assert all(searcher.search(Query.of(text)).no_good_match for text in ABSENT[language])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_among_six_a_caption_finds_its_photograph_and_others_have_no_good_match(
    searcher_of, language
):
    searcher = searcher_of(*NAMES)
    for name in KNOWN:
        results = searcher.search(Query.of(PHOTOGRAPHS[name][SAID[language]]))
        assert not results.no_good_match
        assert results.hits[0].metadata["number"] == NAMES.index(name)
        assert results.hits[0].confidence > 85 > 1.5 * results.hits[1].confidence
    assert sum(searcher.search(Query.of(text)).no_good_match for text in ABSENT[language]) >= 3


@pytest.mark.parametrize("names", [("chelsea.png",), ("chelsea.png", "moon.png"), tuple(NAMES)])
def test_a_picture_is_like_its_own_crop_whether_there_are_others_or_not(searcher_of, names):
    searcher = searcher_of(*names)
    with Image.open(photographs()[NAMES.index("chelsea.png")]) as cat:
        crop = ImageOps.mirror(cat.convert("RGB").crop((60, 40, 400, 280)))
    found = searcher.search(Query.of("", images=[crop]))
    assert not found.no_good_match and found.hits[0].metadata["number"] == names.index(
        "chelsea.png"
    )
    if len(names) < 3:  # the rocket is like neither of the two
        rocket = photographs()[NAMES.index("rocket.jpg")]
        assert searcher.search(Query.of("", images=[rocket])).no_good_match


def test_a_picture_is_as_sure_under_a_filter_as_without(searcher_of):
    searcher = searcher_of(*NAMES)
    asked = Query.of("the face of a cat")
    cat = NAMES.index("chelsea.png")
    (whole,) = (h for h in searcher.search(asked).hits if h.metadata["number"] == cat)
    query = type(asked)(parts=asked.parts, filter=Compare("number", "=", cat))
    (alone,) = searcher.search(query).hits
    assert alone.confidence == pytest.approx(whole.confidence, abs=1)


QUERIES = (
    "a giraffe -moon",
    "长颈鹿 -月亮",
    "sushi",
    "a close-up of a cat",
    "一辆自行车",
    "cat",
    "月亮",
    "coffee",
    "a rocket at night",
)


@pytest.mark.parametrize("notes", [False, True])
def test_results_stand_in_the_order_of_the_number_that_is_shown(searcher_of, embedder, notes):
    searcher = searcher_of(*NAMES)
    if notes:
        add_notes(searcher._store, embedder)
    for text in QUERIES:
        sure = [hit.confidence for hit in searcher.search(Query.of(text)).hits]
        assert len(sure) >= len(NAMES) and sure == sorted(sure, reverse=True), text
    for unit in range(1, len(NAMES) + 1):
        sure = [hit.confidence for hit in searcher.search(Query(like=(unit,))).hits]
        assert sure == sorted(sure, reverse=True)


def test_likely_hits_stay_as_they_were_ranked_and_contradictions_are_averaged():
    order, shown = in_order(np.array([80.0, 95, 95, 30, 50, 10, 39]), None)
    assert order.tolist() == [0, 1, 2, 4, 6, 3, 5]
    assert shown.tolist() == [90, 90, 90, 50, 39, 30, 10]
    pictures = np.array([True, False, True, False])
    order, shown = in_order(np.array([90.0, 60, 70, 80]), pictures)
    assert order.tolist() == [0, 1, 2, 3]
    assert shown.tolist() == [90, 70, 70, 70]
    assert [some.tolist() for some in in_order(np.empty(0), None)] == [[], []]


def test_pictures_and_texts_that_are_about_as_likely_come_in_turn():
    pictures = np.array([False, False, True, True, False, True])
    order, shown = in_order(np.array([100.0, 99, 90, 88, 35, 5]), pictures)
    assert order.tolist() == [0, 2, 1, 3, 4, 5]
    assert shown.tolist() == [100, 94, 94, 88, 35, 5]
    order, shown = in_order(np.array([60.0, 59, 90, 88, 12, 20]), pictures)
    assert order.tolist() == [2, 3, 0, 1, 5, 4]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_second_photograph_of_the_same_is_as_sure_as_where_it_is_the_only_one(
    searcher_of, language
):
    asked = Query.of(PHOTOGRAPHS["chelsea.png"][SAID[language]])
    alone = searcher_of(*NAMES).search(asked).hits[0].confidence
    first, second, third = searcher_of("chelsea.png", *NAMES).search(asked).hits[:3]
    assert first.confidence == second.confidence > 1.5 * third.confidence
    assert second.confidence == pytest.approx(alone, abs=10)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_in_a_collection_of_nothing_but_cats_all_are_cats_and_none_is_a_car(searcher_of, language):
    searcher = searcher_of(*["chelsea.png"] * 8)
    here, absent = {"en": ("cat", "car"), "zh": ("猫", "汽车")}[language]
    sure = [hit.confidence for hit in searcher.search(Query.of(here)).hits]
    assert sure and min(sure) >= THRESHOLD
    assert searcher.search(Query.of(absent)).no_good_match


PROSE = [
    "We should buy two more GPUs this year: the budget is 4,000 euros, delivery six weeks.",
    "Buy GPUs: two RTX cards for the training server.",
    "Minutes of the meeting about the new heating system.",
    "Dear Sir, please find attached the invoice for March.",
    "Tax return 2023: income, expenses, insurance, donations.",
    "Call the dentist and move the appointment to Thursday.",
    "The contract ends on 31 December unless it is renewed in writing.",
    "Installation: run pip install and restart the computer.",
    "A list of bugs that should be fixed before the release.",
    "Rent for the flat goes up by three percent next year.",
    "采购显卡的备忘：预算三万元，六周交货。",
    "会议记录：新的暖气系统。",
    "三月份的发票请查收。",
    "项目计划：服务器周一开始迁移，周五结束。",
    "合同于年底到期，除非书面续签。",
    "公司第三季度出现亏损。",
    "安装说明：运行安装程序后重启电脑。",
    "明年房租上涨百分之三。",
    "数据库备份每天凌晨两点执行。",
    "出差报销需要的材料清单。",
]
EVERYDAY = [
    *("children", "children last summer", "dog", "a bicycle", "car", "snow", "music", "cat"),
    *("孩子", "去年夏天的孩子", "狗", "自行车", "汽车", "雪", "音乐", "猫"),
]


def test_notes_that_no_everyday_word_fits_are_hardly_ever_likely(searcher_of, embedder):
    """A note about buying GPUs was 60% "children", and one pair in ten was likely like this."""
    vectors = embedder.embed_texts(PROSE).vectors
    likely = []
    for note, vector in zip(PROSE, vectors, strict=True):
        searcher = searcher_of("moon.png")
        with searcher._store.writing("index"):
            (stored,) = searcher._store.files.put([made.note("only", note)])
            space = next(iter(searcher._store.spaces.all()))
            searcher._store.vectors.put(space.id, [stored.passages[0]], vector[None])
        for asked in EVERYDAY:
            (hit,) = (h for h in searcher.search(Query.of(asked)).hits if h.kind == "text")
            likely.append(hit.confidence >= THRESHOLD)
    assert np.mean(likely) <= 0.05


def test_pictures_usually_lie_as_far_apart_as_the_lower_half_of_a_collection_tells(embedder):
    background = Backgrounds(embedder).of("en")
    rng = np.random.default_rng(0)
    alike = made.unit_vectors(1, 64) + 0.2 * rng.standard_normal((40, 64)).astype(np.float32) / 8
    others = made.unit_vectors(160, 64, seed=1)
    pictures = np.concatenate([alike, others])
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    mean, spread = picture_null(pictures, pictures, background)
    assert abs(mean) < 0.05 and 0.08 < spread < 0.2  # random vectors: 0 and 1 / 8
    alone, usual = (picture_null(p, p, background) for p in (pictures[:1], pictures[:0]))
    assert alone == usual
    same = Background(np.full((9, 64), 0.125, np.float32), np.full((9, 64), 0.125, np.float32))
    assert picture_null(pictures[:0], pictures, same)[1] > 0


SHOWN = {
    "en": {
        "dog": r"\b(dogs?|pupp(y|ies)|\w*hounds?|poodles?|retrievers?|terriers?|collies?)\b",
        "grass": r"\bgrass",
        "snow": r"\b(snow|ski|sled)",
    },
    "zh": {"狗": "狗|犬", "草地": "草", "雪地": "雪"},
}


TOPICS = {
    "en": [
        *(
            "a stethoscope on a prescription pad",
            "a blast furnace pouring steel",
            "a bank vault door",
        ),
        *("a page of Arabic calligraphy", "a plate of spaghetti carbonara", "an ultrasound scan"),
        *("a loom weaving cloth", "an aquarium with jellyfish", "a weather map with isobars"),
        *(
            "a stack of newspapers",
            "an octopus",
            "a bottle of pills",
            "a fountain pen on parchment",
        ),
        *("a bathtub with bubbles", "a zebra at a waterhole", "a pair of knitting needles"),
    ],
    "zh": [
        *("处方笺上的听诊器", "高炉里流出的钢水", "银行金库的大门", "一页阿拉伯书法"),
        *("一盘意大利面", "超声波检查图", "织布机", "水族馆里的水母", "标着等压线的天气图"),
        *("一摞报纸", "一只章鱼", "一瓶药片", "羊皮纸上的钢笔", "满是泡泡的浴缸"),
        *("水塘边的斑马", "一副毛线针"),
    ],
}


@pytest.fixture(scope="module")
def flickr(shared, embedder, tmp_path_factory):
    """A searcher over 250 photographs that the numbers were not fitted to, and their captions."""
    pictures, captions = read_photographs(shared / "flickr8k-bilingual" / "dev-000000.tar", 250)
    with Store(tmp_path_factory.mktemp("flickr") / "c", create=True) as store:
        space = made.add_space(store, dim=embedder.dim)
        with store.writing("activate"):
            store.spaces.activate(space.id)
        made.add_photos(store, space, embedder.embed_images(pictures).vectors)
        searcher = Searcher(store, embedder)
        yield searcher, captions
        searcher.close()


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_collection_is_asked_first_whether_it_holds_what_is_wanted(flickr, language):
    searcher, captions = flickr

    def refused(texts):
        return np.mean([searcher.search(Query.of(text)).no_good_match for text in texts])

    assert refused(TOPICS[language]) >= 0.8
    assert refused([one[language][0] for one in captions[:60]]) <= 0.15


@pytest.mark.shared
@pytest.mark.parametrize("language", ["en", "zh"])
def test_plain_words_accept_most_of_the_photographs_that_show_them_and_few_others(flickr, language):
    """Those that some captions name are left out."""
    searcher, captions = flickr
    shown = right = wrong = 0
    for word, pattern in SHOWN[language].items():
        named = np.array(
            [sum(bool(re.search(pattern, c, re.I)) for c in one[language]) for one in captions]
        )
        hits = searcher.search(replace(Query.of(word), count=len(captions))).hits
        taken = np.array([h.metadata["number"] for h in hits if h.confidence >= THRESHOLD], int)
        shown += (named >= 2).sum()
        right += (named[taken] >= 2).sum()
        wrong += (named[taken] == 0).sum()
    assert right / shown >= 0.85 and right / (right + wrong) >= 0.75


def read_photographs(file: Path, count: int) -> tuple[list[bytes], list[dict[str, list[str]]]]:
    """Every other one of a tar of photographs with captions."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name, kind = member.name.rsplit(".", 1)
            found.setdefault(name, {})[kind] = archive.extractfile(member).read()
    kept = [found[name] for name in sorted(found)][: 2 * count : 2]
    return [one["jpg"] for one in kept], [json.loads(one["json"]) for one in kept]

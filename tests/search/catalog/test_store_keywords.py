import io
import json
import os
import subprocess
import sys
import tarfile
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import made_collections as made
from seesay.search.catalog.filters import Compare
from seesay.search.catalog.keywords import Segmenter, match_expression, segment
from seesay.search.catalog.store import Store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its use of pkg_resources and escapes
    import jieba

SENTENCES = [
    "南京市长江大桥在夜晚灯火通明",
    "两只鹦鹉站在树枝上，一只是绿色的",
    "北京烤鸭和豆汁儿都是老北京的味道",
    "一只猫趴在窗台上晒太阳",
    "我在清华大学的图书馆里看书，旁边放着 iPhone 15 手机",
    "The old stone bridge over the river at night",
    "草地上有一只棕色的狗在奔跑",
    "会议记录：三月份的销售额比去年增长了百分之十",
]
PROBES = [  # (query, the sentence it must put first)
    ("桥", 0),  # one character, inside of a longer word
    ("长江", 0),  # two characters, where "市长" and "江大" overlap them
    ("猫", 3),  # one character, a word of its own
    ("北京", 2),
    ("鹦鹉", 1),
    ("大学", 4),  # a word inside of another
    ("销售额 增长", 7),  # words that do not touch
    ("长江大桥", 0),
    ("清华大学图书馆", 4),  # a phrase that the text writes with a word between
    ("手机 iphone", 4),  # both scripts, other capitals
    ("狗奔跑", 6),
]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "c", create=True) as store:
        with store.writing("index"):
            store.files.put([made.photo(n, text=text) for n, text in enumerate(SENTENCES)])
        yield store


def found(store, query, **more):
    return [int(unit) - 1 for unit in store.keywords.search(query, 9, **more)[0]]


def test_passages_with_a_word_are_counted_up_to_a_limit(store):
    counts = [store.keywords.count(words, 9) for words in ("北京", "狗 bridge", "鹦鹉学舌机", "?")]
    assert counts == [1, 2, 1, 0]
    assert store.keywords.count("的", 9) > store.keywords.count("的", 2) == 2


def test_a_filter_does_not_make_sqlite_match_each_passage_on_its_own(store, monkeypatch):
    asked, rows = [], store.database.rows
    monkeypatch.setattr(store.database, "rows", lambda *one: asked.append(one) or rows(*one))
    few = Compare("number", "<", 4)
    assert found(store, "桥", filter=few) == [0]
    ((sql, values),) = (one for one in asked if "MATCH" in one[0])
    plan = " ".join(row[3] for row in rows(f"EXPLAIN QUERY PLAN {sql}", values))
    assert "VIRTUAL TABLE INDEX 0:M" in plan  # "0:=M" looks up single passages


@pytest.mark.parametrize(("query", "row"), PROBES, ids=[query for query, _ in PROBES])
def test_chinese_words_of_one_two_and_more_characters_find_their_row_first(store, query, row):
    assert found(store, query)[:1] == [row]


@pytest.mark.parametrize(
    ("query", "row"),
    [("鸚鵡", 1), ("北京烤鴨", 2), ("銷售額 增長", 7), ("ＳＴＯＮＥ　ＢＲＩＤＧＥ", 5)],
)
def test_script_and_width_make_no_difference(store, query, row):
    assert found(store, query)[0] == row
    with store.writing("index"):
        store.files.put([made.photo(8, text="龍井茶，２０２３年")])
    assert found(store, "龙井") == found(store, "龍\u200b井") == [8]
    assert found(store, "2023年")[0] == 8
    assert found(store, "a", phrases=["龙井"]) == [8]


def test_english_is_found_in_any_form_and_without_its_empty_words(store):
    assert found(store, "bridges") == [5]
    assert found(store, "a bridge at the river") == [5]
    assert found(store, "the") == [5]  # where there is nothing else to look for
    full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in "bridge")
    assert found(store, full_width) == [5]


def test_a_phrase_must_stand_as_it_is_and_what_is_excluded_must_not(store):
    assert found(store, "", phrases=["长江大桥"]) == [0]
    assert found(store, "", phrases=["大桥长江"]) == []
    assert found(store, "", phrases=["stone bridge"]) == [5]
    assert found(store, "", phrases=["bridge stone"]) == []
    assert found(store, "", phrases=["iPhone 15", "看书"]) == [4]
    assert set(found(store, "一只")) == {1, 3, 6}
    assert set(found(store, "一只", excluded=["猫", "绿色"])) == {6}


def test_a_filter_narrows_the_keyword_search(store):
    assert set(found(store, "北京 长江")) == {0, 2}
    assert found(store, "北京 长江", filter=Compare("number", ">", 1)) == [2]


@pytest.mark.parametrize("query", ["", "。！？", '"', "* OR (", "\udce9"])
def test_a_query_without_words_finds_nothing_and_breaks_nothing(store, query):
    assert found(store, query, excluded=["!", '"']) == []


@pytest.mark.parametrize("query", ['"猫"', "NEAR(猫 窗台)", "猫 AND OR", "words:猫", "猫*", "-猫"])
def test_what_looks_like_a_search_language_is_plain_text(store, query):
    assert found(store, query)[:1] == [3]


def test_scores_fall_and_ties_are_in_the_order_of_the_units(store):
    with store.writing("index"):
        store.files.put([made.photo(n, text="熊猫 熊猫") for n in range(20, 25)])
    units, scores = store.keywords.search("熊猫", 9)
    assert list(units) == sorted(units)
    assert len(set(scores)) == 1
    _, scores = store.keywords.search("北京 猫 桥 狗 鹦鹉", 9)
    assert list(scores) == sorted(scores, reverse=True)


def test_what_was_changed_or_removed_is_no_longer_found(store):
    with store.writing("change"):
        store.files.put([made.photo(3, text="一匹马")])
        store.files.remove(item.id for item in store.files.under("/photos/0"))
    assert found(store, "猫") == []
    assert found(store, "桥") == []
    assert store.database.rows("SELECT count(*) FROM keywords") == [(5,)]
    with store.writing("check"):
        store.database.run("INSERT INTO keywords (keywords) VALUES ('integrity-check')")


def test_words_and_characters_are_indexed_both():
    words, characters = segment("南京市长江大桥 Bridge")
    assert {"南京市", "长江", "大桥", "bridge"} <= set(words.split())
    assert characters.split()[:4] == ["南", "京", "市", "长"]
    assert {"南京", "江大", "大桥"} <= set(characters.split())
    assert match_expression("...") is None


def test_the_segmenter_says_nothing_and_writes_nothing(tmp_path):
    code = "from seesay.search.catalog.keywords import segment; assert segment('我爱北京').words"
    temporary, cache = tmp_path / "tmp", tmp_path / "cache"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(cache)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout + run.stderr == ""
    assert list(temporary.iterdir()) == []
    assert not cache.exists()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    tokenizer.initialize()
    return tokenizer


def test_a_sentence_reads_from_the_dictionary_the_words_of_its_characters_alone(reference):
    segmenter = Segmenter()
    assert list(segmenter.cut(SENTENCES[0])) == list(reference.cut(SENTENCES[0]))
    assert len(segmenter._tokenizer.FREQ) < len(reference.FREQ) / 20


@given(st.text(st.sampled_from("".join(SENTENCES) + "𠮷龥가 a1.\n\udce9")))
def test_any_text_is_cut_as_jieba_cuts_it(reference, text):
    segmenter = Segmenter()
    assert list(segmenter.cut(text)) == list(reference.cut(text))
    assert list(segmenter.cut_for_search(text)) == list(reference.cut_for_search(text))


def test_words_have_the_frequencies_that_jieba_gives_them(reference):
    chosen = set(sorted({word[0] for word in reference.FREQ})[::25])
    segmenter = Segmenter()
    segmenter._learn("".join(chosen))
    table = segmenter._tokenizer.FREQ
    expected = {word: count for word, count in reference.FREQ.items() if word[0] in chosen}
    assert {word: count for word, count in table.items() if word[0] in chosen} == expected
    assert reference.total == segmenter._tokenizer.total


def test_a_dictionary_of_another_release_is_read_whole(monkeypatch):
    other = "上海 5 ns\n一江 2 n\n上海市 7 ns\n".encode()  # not sorted
    monkeypatch.setattr(jieba.Tokenizer, "get_dict_file", lambda self: io.BytesIO(other))
    segmenter = Segmenter()
    assert list(segmenter.cut_for_search("一江上海市")) == ["一江", "上海", "上海市"]
    assert segmenter._tokenizer.total == 14


@pytest.mark.shared
def test_captions_that_people_wrote_are_cut_as_jieba_cuts_them(reference, shared):
    segmenter = Segmenter()
    with tarfile.open(next((shared / "flickr8k-bilingual").glob("dev-*.tar"))) as shard:
        texts = [
            caption
            for member in shard
            if member.name.endswith(".json")
            for caption in json.load(shard.extractfile(member))["zh"]
        ]
    assert len(texts) > 1000
    for text in texts:
        assert list(segmenter.cut_for_search(text)) == list(reference.cut_for_search(text))


def test_english_alone_never_loads_the_segmenter():
    code = (
        "import sys; from seesay.search.catalog.keywords import segment, match_expression;"
        "segment('a dog'); match_expression('dogs'); sys.exit('jieba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

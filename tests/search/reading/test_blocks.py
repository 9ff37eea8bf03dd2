"""Blocks of a document become passages that can be found, read and shown alone."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seesay.search.catalog.drafts import Place
from seesay.search.reading.blocks import LONGEST, Block, passages_of


def texts(*blocks):
    return [one.text for one in passages_of(blocks)]


def test_a_passage_begins_with_its_headings():
    blocks = (
        Block(text="Report", heading=1),
        Block(text="Sales", heading=2),
        Block(text="Sales rose by 4%."),
        Block(text="Costs", heading=2),
        Block(text="Costs fell."),
        Block(text="附录", heading=1),
        Block(text="数据来自年报。"),
    )
    assert texts(*blocks) == [
        "Report\nSales\nSales rose by 4%.",
        "Report\nCosts\nCosts fell.",
        "附录\n数据来自年报。",
    ]


def test_short_blocks_share_a_passage_and_long_ones_are_cut_at_sentences():
    sentence = "这句话正好有二十个字，用来测试切分的长度。"
    assert len(texts(*[Block(text=sentence)] * 5)) == 1
    long = texts(Block(text=sentence * 60))
    assert all(200 <= len(one) <= LONGEST and one.endswith("。") for one in long[:-1])
    assert all(two.startswith(sentence) for two in long)


def test_the_last_sentence_is_repeated_if_it_is_short():
    sentences = [f"Sentence number {n} says that {n} comes after {n - 1}." for n in range(1, 30)]
    found = texts(Block(text=" ".join(sentences)))
    for one, two in pairwise(found):
        last = one[one.rindex("Sentence") :]
        assert two.startswith(last + " ")
    joined = " ".join(found)
    assert all(sentence in joined for sentence in sentences)


def test_a_point_inside_a_word_or_number_ends_no_sentence():
    text = "Sales rose by 4.5% (see report.pdf). Costs fell."
    assert texts(Block(text=text)) == [text]


def test_a_passage_stays_on_its_page_and_its_box_holds_its_blocks():
    blocks = (
        Block(text="One.", place=Place(page=1, box=(0.1, 0.1, 0.5, 0.2))),
        Block(text="Two.", place=Place(page=1, box=(0.2, 0.3, 0.9, 0.4))),
        Block(text="Three.", place=Place(page=2, box=(0.1, 0.1, 0.5, 0.2))),
    )
    one, two = passages_of(blocks)
    assert (one.text, one.place) == ("One.\nTwo.", Place(page=1, box=(0.1, 0.1, 0.9, 0.4)))
    assert (two.text, two.place.page) == ("Three.", 2)


def test_a_title_alone_is_found_too():
    (one,) = passages_of([Block(text="Annual report", heading=1, place=Place(page=1))])
    assert (one.text, one.place) == ("Annual report", Place(page=1))


def test_a_heading_with_nothing_under_it_is_a_passage_of_its_own():
    blocks = (
        Block(text="Report", heading=1),
        Block(text="Not yet written", heading=2),
        Block(text="Costs", heading=2),
        Block(text="Costs fell."),
    )
    assert texts(*blocks) == ["Report\nNot yet written", "Report\nCosts\nCosts fell."]


@given(st.lists(st.text(alphabet="ab c。.！\n，", max_size=900), max_size=6))
def test_nothing_is_lost_and_nothing_is_too_long(blocks):
    found = texts(*(Block(text=text) for text in blocks))
    assert all(0 < len(one) <= LONGEST for one in found)
    kept = "".join("".join(found).split())
    for text in blocks:
        at = 0
        for character in "".join(text.split()):  # in order, with repetitions in between
            at = kept.find(character, at)
            assert at >= 0
            at += 1

"""Captions are tokenized as the evaluation of COCO does it, and Chinese by characters and words."""

import hashlib
import json
import tarfile

import pytest

from seesay.evaluation.caption_tokens import tokenize

# What pycocoevalcap 1.2 makes of these: its PTBTokenizer, run with Java.
ENGLISH = {
    "A man's dog doesn't run.": "a man 's dog does n't run",
    "The dogs' bowls aren't full; I can't see 'em.": (
        "the dogs bowls are n't full i ca n't see 'em"
    ),
    "I cannot do it. gonna wanna gotta gimme lemme": (
        "i can not do it gon na wan na got ta gim me lem me"
    ),
    "T-shirt, black-and-white photo, 5-year-old boy": (
        "t-shirt black-and-white photo 5-year-old boy"
    ),
    "and/or 1/2 ½ 10:30 3:00pm 3,000 3.5 $5 5% #1 & AT&T q&a": (
        "and/or 1/2 1/2 10:30 3:00 pm 3,000 3.5 $ 5 5 % # 1 & at&t q & a"
    ),
    "Mr. Smith on Main St. in the U.S. at 5 p.m. yesterday.": (
        "mr. smith on main st. in the u.s. at 5 p.m. yesterday"
    ),
    "next to a.": "next to a.",
    "No. 5 is no. Next": "no. 5 is no next",
    "wait... what -- no — really – yes ---": "wait what no really yes",
    "end!!! end?! end?": "end !!! end ?! end",
    "\"quoted\" \u2018single\u2019 “double” `back` ''": "quoted single double back",
    "(round) [square] {curly} <angle> <3": (
        "-lrb- round -rrb- -lsb- square -rsb- -lcb- curly -rcb- <angle> < 3"
    ),
    "o'clock ma'am y'all o'neill rock 'n' roll 'tis": (
        "o'clock ma'am y' all o'neill rock 'n' roll 't is"
    ),
    "the '90s 90's 1990s": "the '90s 90 's 1990s",
    "I\u2019m he\u2019ll they\u2019re don\u2019t CAN'T can't've": (
        "i 'm he 'll they 're do n't ca n't ca n't 've"
    ),
    "a man,a woman;a dog:a cat!yes?no dogs.another": (
        "a man a woman a dog a cat!yes?no dogs.another"
    ),
    "dog/ cat /bird a- b -c a_b __init__": "dog / cat / bird a b c a_b __ init __",
    "http://example.com/a?b=c, www.example.com me@example.com #tag @user": (
        "http://example.com/a?b=c www.example.com me@example.com #tag @user"
    ),
    "emoji 😀 café 中文。": "emoji café 中文 。",
    "50mph 5'10\" 6ft. 100°": "50mph 5 10 6ft 100 °",
    " two  blanks\tand a tab\n": "two blanks and a tab",
    "": "",
    "...": "",
}
# The same of its output for the 5,000 captions in English of Flickr8k dev.
OF_FLICKR8K = "aee82f5e617785c209777fcacfc1d00a9b1a9857e55077932630b4135013f239"


@pytest.mark.parametrize("caption", ENGLISH)
def test_english_has_the_tokens_of_the_evaluation_of_coco(caption):
    [tokens] = tokenize("ptb@1", [caption])
    assert " ".join(tokens) == ENGLISH[caption]


def test_chinese_is_cut_into_characters_or_words():
    captions = ["一只Brown狗，有2条腿。", "一个男人骑自行车", "！"]
    assert [" ".join(one) for one in tokenize("chars@1", captions)] == [
        "一 只 brown 狗 有 2 条 腿",
        "一 个 男 人 骑 自 行 车",
        "",
    ]
    assert [" ".join(one) for one in tokenize("jieba@1", captions)] == [
        "一只 brown 狗 有 2 条腿",
        "一个 男人 骑 自行车",
        "",
    ]


@pytest.mark.shared
def test_captions_that_people_wrote_have_the_tokens_of_the_evaluation_of_coco(shared):
    with tarfile.open(shared / "flickr8k-bilingual" / "dev-000000.tar") as shard:
        rows = [json.load(shard.extractfile(one)) for one in shard if one.name.endswith(".json")]
    tokens = tokenize("ptb@1", [caption for row in rows for caption in row["en"]])
    lines = "\n".join(" ".join(one) for one in tokens)
    assert len(tokens) == 5000
    assert hashlib.sha256(lines.encode()).hexdigest() == OF_FLICKR8K

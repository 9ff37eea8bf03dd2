"""BLEU, ROUGE-L and CIDEr are those of pycocoevalcap and of their formulas."""

import json
import math
from random import Random

import pytest

from seesay.errors import DataError
from seesay.evaluation.caption_scores import (
    SCORERS,
    Frequencies,
    read_frequencies,
    score_captions,
    write_frequencies,
)

# What pycocoevalcap 1.2 gives for the captions of `corpus`, its Bleu, Rouge and Cider; for
# cider_plain, its Cider without the clipping and the length penalty, which is all that Cider of
# vrama91/cider leaves out.
PUBLISHED = {
    "bleu1/coco@1": 0.459447947974,
    "bleu2/coco@1": 0.374137071702,
    "bleu3/coco@1": 0.335278015351,
    "bleu4/coco@1": 0.311654900041,
    "rouge_l/coco@1": 0.441503127051,
    "cider/coco@1": 1.854583856848,
    "cider_plain/vrama91@1": 2.085301654714,
}


def corpus():
    """200 pictures with one to five references, and captions that are right, wrong, shuffled,
    repetitive, short or empty."""
    random = Random(0)
    words = [f"w{number}" for number in range(60)]
    captions, references = [], []
    for picture in range(200):
        subject = random.choices(words, k=random.randint(1, 12))
        some = [
            tuple(random.choice(words) if random.random() < 0.3 else one for one in subject)
            + tuple(random.choices(words, k=random.randint(0, 3)))
            for _ in range(1 + picture % 5)
        ]
        shuffled = tuple(random.sample(subject, len(subject)))
        kinds = [some[0], tuple(subject), shuffled, tuple(subject[:1]) * 9, tuple(subject[:1]), ()]
        captions.append(kinds[picture % len(kinds)])
        references.append(some)
    return captions, references


def tokens(*texts):
    return [tuple(text.split()) for text in texts]


def score(name, caption, *references, beside=("some thing else entirely",)):
    """Of a caption in a corpus of two pictures; the other one is captioned rightly."""
    captions = tokens(caption, *beside)
    others = [tokens(one) for one in beside]
    return score_captions(captions, [tokens(*references), *others], [name])[name]


def test_a_corpus_scores_as_published():
    assert score_captions(*corpus(), SCORERS) == pytest.approx(PUBLISHED, abs=1e-9)


def test_bleu_is_the_mean_of_precisions_with_a_penalty_for_brevity():
    found = score_captions(
        tokens("the the the cat sat"),
        [tokens("the cat sat on the mat", "a cat sat there on the mat now")],
        ["bleu1/coco@1", "bleu2/coco@1"],
    )
    brevity = math.exp(1 - 6 / 5)  # six tokens are nearer to five than eight
    assert found["bleu1/coco@1"] == pytest.approx(brevity * 4 / 5)  # two of three "the" count
    assert found["bleu2/coco@1"] == pytest.approx(brevity * math.sqrt(4 / 5 * 2 / 4))


def test_of_two_references_equally_near_in_length_the_shorter_counts():
    references = [tokens("a b", "a b c d")]
    assert score_captions(tokens("a b c"), references, ["bleu1/coco@1"]) == pytest.approx(
        {"bleu1/coco@1": 1.0}
    )


def test_bleu_is_of_the_corpus_and_no_mean():
    captions = tokens("a", "b b b b b b b b b")
    found = score_captions(captions, [tokens("a"), tokens("c " * 9)], ["bleu1/coco@1"])
    assert found["bleu1/coco@1"] == pytest.approx(1 / 10)


def test_rouge_takes_the_best_precision_and_the_best_recall():
    found = score_captions(
        tokens("a man rides a horse"), [tokens("a man on a horse", "rides")], ["rouge_l/coco@1"]
    )
    precision, recall = 4 / 5, 1.0  # of the first and of the second reference
    expected = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert found["rouge_l/coco@1"] == pytest.approx(expected)


def test_cider_is_10_for_the_references_themselves():
    assert score("cider/coco@1", "a b c d e", "a b c d e") == pytest.approx(10)
    assert score("cider_plain/vrama91@1", "a b c d e", "a b c d e") == pytest.approx(10)


def test_what_every_picture_has_counts_nothing_in_cider():
    captions = tokens("a dog", "a cat")
    references = [tokens("a horse"), tokens("a cow")]
    assert score_captions(captions, references, ["cider/coco@1"]) == {"cider/coco@1": 0.0}


def test_repeating_gains_nothing_in_cider_d_and_length_costs():
    names = ("cider/coco@1", "cider_plain/vrama91@1")
    short, long = "dog", "dog dog dog dog dog dog dog"
    d, plain = ((score(name, long, short) * 2 - 10) / 10 * 4 for name in names)
    assert plain == pytest.approx(1)  # the same direction: a cosine of 1 for single tokens
    # Clipped to one of the seven, and six tokens longer than the reference.
    assert d == pytest.approx(1 / 7 * math.exp(-(6**2) / (2 * 6**2)))


@pytest.mark.parametrize("name", SCORERS)
def test_an_empty_caption_scores_nothing(name):
    found = score_captions([()], [tokens("a dog")], [name])[name]
    assert found == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", SCORERS)
def test_one_picture_can_be_scored(name):
    found = score_captions(tokens("a dog runs fast"), [tokens("a dog runs fast")], [name])[name]
    assert found == pytest.approx(0 if name.startswith("cider") else 1)  # log(1 document) is 0


@pytest.mark.parametrize(
    ("captions", "references"), [(["a"], [[]]), ([], []), (["a", "b"], [["a"]])]
)
def test_captions_without_references_are_refused(captions, references):
    with pytest.raises(DataError, match="expected at least one caption, and at least one ref"):
        score_captions(tokens(*captions), [tokens(*some) for some in references], SCORERS)


def test_document_frequencies_come_back_from_a_file(tmp_path):
    captions, references = corpus()
    counted = Frequencies.of(references)
    write_frequencies(tmp_path / "counts.json", {"ptb@1": counted})
    read = read_frequencies(tmp_path / "counts.json", ["ptb@1"])["ptb@1"]
    assert read == counted
    few = captions[:9], references[:9], ["cider/coco@1"]
    assert score_captions(*few, read) != score_captions(*few)
    assert score_captions(captions, references, SCORERS, read) == pytest.approx(PUBLISHED, abs=1e-9)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"chars@1": {"documents": 2, "ngrams": {}}}),
        json.dumps({"ptb@1": {"documents": 2, "ngrams": {"a dog": 3}}}),
        json.dumps({"ptb@1": {"documents": 0, "ngrams": {}}}),
        json.dumps({"ptb@1": {"documents": "2", "ngrams": {}}}),
        json.dumps({"ptb@1": {"ngrams": {}}}),
        json.dumps({"ptb@1": None}),
    ],
)
def test_a_file_without_the_wanted_frequencies_is_refused(content, tmp_path):
    (tmp_path / "counts.json").write_text(content)
    with pytest.raises(DataError, match=r"no document frequencies of ptb@1 .* expected JSON such"):
        read_frequencies(tmp_path / "counts.json", ["ptb@1"])

"""Captions as sentences."""

import pytest

from seesay.data.formats.records import Record
from seesay.data.sources import SourceConfig
from seesay.data.words import as_sentence


@pytest.mark.parametrize(
    "caption, sentence",
    [
        ("a dog runs .", "A dog runs."),
        ("Two  boys , one in red ,  jump", "Two boys, one in red, jump."),
        ('" Hello ', "Hello."),
        ("a dog 's ball !", "A dog's ball!"),
        ("一只狗", "一只狗。"),
        ("一只狗在跑。", "一只狗在跑。"),
        ("两个人，", "两个人。"),
        ("", ""),
    ],
)
def test_a_caption_becomes_a_sentence(caption, sentence):
    assert as_sentence(caption) == sentence


def test_only_a_source_that_wants_sentences_gets_them():
    record = Record(key="1", image=b"", captions={"en": ("a dog .",)})
    plain, written = (SourceConfig(path="x.tar", sentences=one) for one in (False, True))
    assert plain.captions_of(record, "en") == ("a dog .",)
    assert written.captions_of(record, "en") == ("A dog.",)
    assert written.captions_of(record, "zh") == ()

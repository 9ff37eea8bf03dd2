"""Texts that tokenizers tend to disagree on."""

from hypothesis import strategies as st

HARD = (
    "",
    " ",
    "a dog",
    "A Dog's  ball; don't, we'll, they've -- I'm O'Neil's 12345.67!",
    "雪地里的狗",
    "一只狗在雪地里追着一个红色的球，旁边站着两个小孩。",
    "中英mix混排text123，\uff26\uff35\uff2c\uff2c\u3000\uff57\uff49\uff44\uff11\uff12！",
    "日本語のテキスト 한국어 텍스트 ไทย עברית العربية हिन्दी",
    "\U00020000 rare 龘 \U0002f800 compatibility 豈",
    "😀 👨\u200d👩\u200d👧 🇨🇳 👍🏽 emoji❤️",
    "Café naïve São Paulo; cafe\u0301 decomposed e\u0301",
    "\x00 nul \x01\x1b control \x7f \u200b zero \ufeff bom \ufffd",
    "white\u00a0space\u3000of\tmany\n\n\r\nkinds\u2028\u2029\x0b  ",
    "  leading and trailing  ",
    "<|endoftext|> and <|startoftext|> typed [SEP] [CLS] [PAD] </s> <eos> <pad>",
    "ΟΔΟΣ İstanbul straße ŒUVRE ﬁne Ǆ",
    "&amp; &lt;b&gt; \u201cquoted\u201d don\u2019t \u2026 x\u00b2 \u00bd \u2163 \u0661",
    "http://example.org/a_b?c=d&e#f user@example.org #tag C++ a/b_c",
    "▁ the sentencepiece mark ▁x",
    "$.,:;!?()[]{}'\"`~@#%^&*-_=+|\\/<>",
    "，。！？；：、《》“”",
    "supercalifragilistic" * 30,
    "字" * 300,
    "a quick brown fox jumps over the lazy dog " * 40,
)

# What open_clip's cleaning changes and transformers' does not.
UNCLEAN = (
    "don\u2019t",
    "\uff24\uff4f\uff47",
    "&amp;",
    "&amp;lt;b&amp;gt;",
    "\ufb01ne",
    "schÃ¶n",
    "ΟΔΟΣ",
    "a\x1b[31mred",
)

# Surrogates cannot be passed to the references at all.
anything = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
wordlike = st.lists(
    st.sampled_from(
        ["dog", "Café", "狗", "雪地", "don't", "12", "😀", "-", ",", "\u3000", "Σ", "e\u0301"]
    )
).map(" ".join)
some_text = anything | wordlike

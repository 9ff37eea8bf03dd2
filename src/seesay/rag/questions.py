"""What a question asks for: the type of its answer, and the words to search for.

Question.of("请问公司三季度收入增长多少？").words     ("公司", "三季度", "收入", "增长")
Question.of("How many people work in Lisbon?").expects   "count"
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from seesay.data.spelling import fold, visible
from seesay.data.words import EMPTY_WORDS, singulars
from seesay.rag.facts import names
from seesay.rag.lexicon import lexicon
from seesay.search.catalog.keywords import cuts_words, segment
from seesay.text import HAN, Language, detect_language

MOST_WORDS = 40
"""Most words of a question that are looked for."""
Expects = Literal[
    "who", "when", "where", "count", "amount", "part", "length", "weight", "time", "degree",
    "money", "colour", "yes/no", "definition", "any",
]  # fmt: skip
"""What an answer must hold: a person, a date, a place, a number of things, another number, a share,
a length, a weight, a duration, a temperature, money, a colour; or what the other words say."""

_EN: tuple[tuple[str, Expects], ...] = (
    (r"\bwho(se|m)?\b|\bby whom\b|\b(what|which) (person|architect|artist|author|writer|painter|"
     r"engineer|designer|director|composer|scientist|inventor)\b", "who"),
    (r"\bwhen\b|\b(what|which) (year|date|day|month|time)\b", "when"),
    (r"\bwhere\b|\b(what|which|in which|in what) (place|city|town|country|street)\b", "where"),
    (r"\b(what|which) (percentage|percent|share|proportion|fraction)\b|\bhow (large|big) a share\b",
     "part"),
    (r"\b(what|which) colou?r\b|^what\b.*\bthe colou?r of\b", "colour"),
    (r"\bhow (long|much time|many (years|months|weeks|days|hours|minutes|seconds))\b", "time"),
    (r"\bhow many\b|\bwhat number of\b|\bthe number of\b", "count"),
    (r"\bhow (tall|high|wide|deep|far|thick)\b|"
     r"\bwhat\b.*\bthe (height|length|width|depth|distance)\b", "length"),
    (r"\bhow heavy\b|\bhow much\b.*\bweigh|\bwhat\b.*\bthe weight\b", "weight"),
    (r"\bhow (hot|cold|warm)\b|\b(what|the) temperature\b", "degree"),
    (r"\bhow much\b.*\b(costs?|pay|paid|spen[dt]|charged?|money|worth)\b|\bhow expensive\b|"
     r"\bwhat\b.*\b(price|costs?|fee|fare)\b", "money"),
    (r"\bhow (much|old|fast|large|big)\b", "amount"),
    (r"^(what|who) (is|are|was|were) (an? |the )?[\w\s'-]{1,40}$|\bwhat does .* mean\b|^define\b",
     "definition"),
    (r"^(is|are|was|were|do|does|did|can|could|has|have|had|will|would|may|must|should)\b",
     "yes/no"),
)  # fmt: skip
_ZH: tuple[tuple[str, Expects], ...] = (
    (r"谁|哪位|什么人|哪个人", "who"),
    (r"什么时候|何时|哪一?年|哪一?天|几月|几号|哪个月|什么日期|什么时间|几点", "when"),
    (r"哪里|哪儿|在哪|何处|什么地方|哪座城市|哪个城市|哪个国家|哪条街", "where"),
    (r"(什么|哪种|何种)颜色|颜色是(什么|哪)", "colour"),
    (r"百分之几|百分之多少|占比|多大比例|几分之几|比例是多少", "part"),
    (r"多久|多长时间|多少(年|个月|天|小时|个小时|分钟|秒|周|个星期)|几(年|天|小时|个小时|个月|分钟)",
     "time"),
    (r"多(高|宽|深|远|厚|长)|多少(米|公里|厘米)|[高长宽深]度(是|为|有)?多少", "length"),
    (r"多重|多少(公斤|千克|吨|克)|重量(是|为|有)?多少", "weight"),
    (r"多(热|冷)|多少度|什么温度|温度(是|为|有)?多少", "degree"),
    (r"(多少|几)[个只名位人条张本件次辆台间座家匹头所种层块幅棵场艘]", "count"),
    (r"(多少|几)(钱|元|块|美元|欧元)|什么价|(价格?|价钱|费用?|花费|造价|成本|金额)(是|为|有)?多少|"
     r"(支付|花费?|付|耗资)了?多少", "money"),
    (r"多少|多大|几岁|多快", "amount"),
    (r"^什么(是|叫)|是什么意思|^[\w\s]{1,12}是什么$|的定义", "definition"),
    (r"吗$|是否|是不是|有没有|能否|能不能|会不会", "yes/no"),
)  # fmt: skip
_ABOUT_PICTURES = re.compile(
    r"\b(photos?|photographs?|pictures?|images?|snapshots?)\b|照片|图片|图中|图里|图上|画面|相片",
    re.IGNORECASE,
)
# "Which photo shows a dog?" and "Find the photos of dogs" ask for pictures by what they show.
_PICTURE = r"(?:photo(?:graph)?|picture|image|snapshot)"
_FINDING = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?:which|what) (?:of (?:the|my|these) )?{_PICTURE}(?P<several>s)?(?: of mine)? "
        r"(?:shows?|depicts?|contains?|(?:is|are) of|(?:has|have) (?=an? |some |two |three ))"
        r"(?: this| the following)?[\s:]*(?P<shown>.+)",
        rf"(?:in|on) (?:which|what) {_PICTURE}(?P<several>s)? "
        r"(?:(?:is|are) there|can (?:you|i|we) see|do (?:you|i|we) see) (?P<shown>.+)",
        r"(?:find|show|give|search for|look for)(?: me| us)? (?:an? |the |some |any |all |every |"
        rf"my |all (?:the|my|of the) )*{_PICTURE}(?P<several>s)? "
        r"(?:of|with|showing|that (?:shows?|has|have)|(?:in|on) which there (?:is|are)) "
        r"(?P<shown>.+)",
        r"(?:is|are) there (?:an? |any |some )"
        rf"{_PICTURE}(?P<several>s)? (?:of|with|showing|that shows?) (?P<shown>.+)",
        r"(?:(?P<several>哪些|哪几[张幅])|哪一?[张幅])(?:照片|图片|图|相片)(?:的内容|里面?|中|上)?"
        r"(?:是|有|拍的是|拍了|拍到了?|拍着|显示了?|展示了?)[：:\s]*(?P<shown>.+)",
        r"(?:找出|找到|找一下|找|搜一下|搜索|看看|给我看)(?:一?[张幅]|(?P<several>几张|所有|全部|一些))?"
        r"(?:有|拍了|关于)?(?P<shown>.+?)的?(?:照片|图片|相片)",
        r"有没有(?:有|拍了|关于)?(?P<shown>.+?)的(?:照片|图片|相片)",
    )
)
_POLITE = re.compile(
    r"^(please|could you|can you|tell me|do you know|i'd like to know|i want to know|say)\b[\s,:]*|"
    r"^(请问|请告诉我|告诉我|我想知道|你知道|麻烦问一下|想问一下|帮我查一下|查一下)[，,：:]?",
    re.IGNORECASE,
)
_ASKING = frozenset(" ".join(lexicon()["asking"]).split())
_HOW_MANY = re.compile("百分(之|$)|几.?$|多少.?$|哪.?$|[多几]长时间$")
_SEPARATORS = re.compile(
    r"[?？;；]+\s*|(?:,\s*|\s)and (?=(?:who|when|where|what|which|how|is|are|did|does|was|were)\b)|"
    r"[，,](?=(?:以及|并且|又|还有)?(?:谁|由谁|由哪|什么时候|何时|哪|多少|几|为什么|是否))|以及(?=谁|何时|哪|多少)",
    re.IGNORECASE,
)
_PHRASE = 4  # characters of a Chinese phrase
_TYPES: Mapping[str, str] = lexicon()["types"]
_IRREGULAR = {
    form: base for base, *forms in map(str.split, lexicon()["irregular"]) for form in forms
}
_ENDINGS = ("ations", "ation", "ings", "ing", "ers", "edly", "ed", "ly", "es", "s", "er", "e")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question as it is searched for and judged."""

    text: str
    language: Language
    expects: Expects
    words: tuple[str, ...]
    """Words of content, folded; see `stem` for comparing them."""
    about_pictures: bool
    """Whether it asks for what pictures show, or for pictures."""
    shown: str = ""
    """What the pictures that it asks for show; empty if it asks for something else."""
    several: bool = False
    """Whether it asks for all such pictures and not for one."""
    parts: tuple[str, ...] = ()
    """The single questions, if it asks several."""
    counted: tuple[str, ...] = ()
    """Stems of the thing to count, of "how many X"."""

    @staticmethod
    def of(text: str) -> "Question":
        """Reads a question in English or Chinese."""
        text = " ".join(visible(text).split())
        bare = text
        while (polite := _POLITE.match(bare)) and polite.end():
            bare = bare[polite.end() :]
        bare = bare or text
        language = detect_language(bare)
        folded = fold(bare).rstrip("?？ 。.!！")
        forms = _ZH if language == "zh" else _EN
        matching = (type_ for form, type_ in forms if re.search(form, folded))
        expects: Expects = next(matching, "any")
        shown, several = _finding(bare)
        split = () if shown else _SEPARATORS.split(bare)
        parts = tuple(part.strip() for part in split if content_words(part))
        return Question(
            text=text,
            language=language,
            expects=expects,
            words=content_words(shown or bare),
            about_pictures=_ABOUT_PICTURES.search(bare) is not None,
            shown=shown,
            several=several,
            parts=parts if len(parts) > 1 else (),
            counted=_counted(folded) if expects == "count" else (),
        )

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The stems of the words that an answer should share. Words that only name the type
        of the answer are left out, unless only a name or a kind of thing would remain: what a mill
        cost is not what anything there costs, and the owner of a library not just anybody in it."""
        words = _whole_words(self.words) if self.language == "zh" else self.words
        types = _TYPES.get(self.expects, "").split()
        telling = stems(one for one in words if one not in types)
        named = stems(word for name, _ in names(self.text) for word in tokens(name))
        kinds = stems(lexicon()["kinds"][self.language].split())
        return telling if telling - named - kinds or self.expects == "where" else stems(words)

    @property
    def query(self) -> str:
        """What to search for: the content words, or for "which photo" the whole description, since
        image models understand sentences better than lists of words."""
        return self.shown or (" " if self.language == "en" else "").join(self.words) or self.text


def _finding(text: str) -> tuple[str, bool]:
    """Returns what the pictures show that a question asks for, and whether it asks for several;
    empty for another question."""
    bare = text.rstrip("?？ 吗呢")
    for form in _FINDING:
        match = form.match(bare)
        if match and content_words(match["shown"]):
            return match["shown"].strip(), "several" in form.groupindex and bool(match["several"])
    return "", False


def content_words(text: str) -> tuple[str, ...]:
    """Returns the words that a question and its answer should share, each once."""
    asking = _ASKING | EMPTY_WORDS
    cut = [word for word in tokens(text) if word not in asking and not _HOW_MANY.match(word)]
    words = _with_names(cut, fold(text)) if HAN.search(text) else cut
    pictures = (word for word in words if not _ABOUT_PICTURES.fullmatch(word))
    return tuple(dict.fromkeys(pictures))[:MOST_WORDS]


def _with_names(words: Sequence[str], text: str) -> list[str]:
    """Joins single characters in a row before a longer word: a name that no dictionary has, as 新林
    in 新林图书馆."""
    found: list[str] = []
    run = ""
    for word in words:
        if len(word) == 1 and HAN.match(word):
            joins = run + word in text
            found += "" if joins else run
            run = run + word if joins else word
            continue
        whole = len(run) > 1 and run + word[0] in text
        found += [run] if whole else run
        run = ""
        found.append(word)
    return [*found, *run]


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """Returns the words of a text in order, folded: Chinese as jieba cuts it, shorter words inside
    of long ones too, or by pairs of characters without jieba."""
    text = fold(text)
    if not HAN.search(text):
        return tuple(
            re.sub("['\u2019]s$", "", word) for word in re.findall(r"\w+(?:['\u2019]s)?", text)
        )
    cut = segment(text)
    words = cut.words.split()
    if not cuts_words():
        words += [pair for pair in cut.characters.split() if len(pair) > 1]
    return tuple(word for word in words if re.search(r"\w", word))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Returns the form by which inflected English words are compared; others as they are."""
    if not word.isascii() or len(word) < 4 or not word.isalpha():
        return _IRREGULAR.get(word, word)
    if word in _IRREGULAR:
        word = _IRREGULAR[word]
    if word.endswith("ies"):
        word = f"{word[:-3]}y"
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            if ending == "s" and word.endswith("ss"):
                continue
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return f"{word[:-1]}i" if len(word) > 3 and word.endswith("y") else word


def stems(words: Iterable[str]) -> frozenset[str]:
    """Returns the stems of words."""
    return frozenset(map(stem, words))


def _whole_words(words: Sequence[str]) -> list[str]:
    """Returns Chinese words without those inside of others: 图书馆 stands for 图书 too. A phrase
    that others make up gives way to them, as 对外开放 to 对外 and 开放."""
    halves = [(one, other) for one in words for other in words if one + other in words]
    phrases = {one + other: (one, other) for one, other in halves if len(one + other) >= _PHRASE}
    rest = [
        one
        for one in words
        if one not in phrases
        and all(one in some or one not in phrase for phrase, some in phrases.items())
    ]
    return [one for one in rest if not any(one != other and one in other for other in rest)]


def words_in(text: str, wanted: frozenset[str]) -> frozenset[str]:
    """Returns which stems are in a text. Chinese words are looked for as they stand, since the text
    may be cut otherwise."""
    folded = fold(text)
    chinese = frozenset(word for word in wanted if HAN.search(word) and word in folded)
    return chinese | (wanted & stems(re.findall(r"[^\W_]+", HAN.sub(" ", folded))))


def spellings_of(word: str) -> tuple[str, ...]:
    """Returns forms of a word that a keyword index, which knows no stems, may hold."""
    if not word.isascii() or not word.isalpha() or len(word) < 4:
        return (word,)
    base = _IRREGULAR.get(word) or next(iter(singulars(word)), word)
    root = base.removesuffix("e")
    forms = (word, base, f"{base}s", f"{root}ed", f"{root}ing", f"{root}er")
    irregular = (form for form, of in _IRREGULAR.items() if of == base)
    return tuple(dict.fromkeys((*forms, *irregular)))


def _counted(folded: str) -> tuple[str, ...]:
    """Returns what is counted: the words after "how many" or 多少个, of which one is the noun."""
    if english := re.search(r"(?:how many|number of) (\w+)(?: (\w+))?", folded):
        some = (word for word in english.groups() if word and word not in EMPTY_WORDS | _ASKING)
        return tuple(map(stem, some))
    chinese = re.search(
        r"(?:多少|几)[个只名位条张本件次辆台间座家匹头所种层块幅棵场艘]?(.*)", folded
    )
    words = [word for word in tokens(chinese[1]) if word not in _ASKING] if chinese else []
    return tuple(words[:1])

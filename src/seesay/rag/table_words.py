"""The words in which Chinese and English questions about tables are asked, as patterns."""

import re
from collections.abc import Iterator

from seesay.data.spelling import fold
from seesay.rag.periods import CHINESE_MONTHS

OPERATIONS: tuple[tuple[str, str], ...] = (
    (
        "percent",
        r"占比|比重|份额|百分之几|比例|占(?!\w*率)|percentage|percent|share|proportion|fraction",
    ),
    ("growth", r"同比|环比|增长率|增长幅度|增幅|涨幅|增速|growth(?: rate)?"),
    ("change", r"增长|增加|上升|上涨|grow(?:n|s)?|grew|increased?|rises?|rose|risen|changed?"),
    ("decline", r"下降|减少|下跌|降低|fall|fell|dropped|drop|declined?|decreased?"),
    ("ratio", r"几倍|多少倍|倍数|how many times|ratio"),
    (
        "difference",
        r"相差|差额|差距|差多少|之差|差值|[多少高低]了?多少|how (?:much|many) (?:more|less"
        r"|higher|lower|fewer|larger|smaller)|differences?|differ",
    ),
    ("mean", r"平均值|平均数|平均|均值|averages?|mean"),
    ("max", r"最高|最大|最多|highest|largest|biggest|greatest|maximum|max|most|top"),
    ("min", r"最低|最小|最少|lowest|smallest|minimum|min|least|fewest|bottom"),
    ("distinct", r"多少种|几种|多少类|几类|how many (?:different|distinct|kinds of|types of)"),
    (
        "count",
        r"(?:多少|(?<!哪)几)(?=[个家条行名位项座款笔只辆人年])|数量是多少|how many"
        r"|the number of|count of|count",
    ),
    (
        "sum",
        r"合计|总共|一共|总计|总额|总和|共计|之和|加起来|总的|总|共有|共|totals?|sum"
        r"|altogether|in all|overall|combined",
    ),
)
COMPARISONS: tuple[tuple[str, str, str], ...] = (
    # before the number; after it; the sign
    (
        r"不少于|不低于|不小于|至少|at least|no less than|not less than|>=|≥",
        r"及以上|以上|or more",
        ">=",
    ),
    (
        r"不超过|不高于|不多于|不大于|至多|最多|at most|no more than|not more than|up to|<=|≤",
        r"及以下|以下"
        r"|以内|or less",
        "<=",
    ),
    (
        r"大于|超过|高于|多于|超出|more than|greater than|higher than|larger than|over|above|exceed"
        r"(?:s|ed|ing)?|>",
        "",
        ">",
    ),
    (
        r"小于|低于|少于|不到|不足|未满|less than|fewer than|lower than|smaller than|under|below|<",
        "",
        "<",
    ),
    (r"等于|正好是|刚好是|equal to|equals|exactly|=", "", "="),
)
_NUMBER = (
    r"-?[¥$€£]?\d[\d,]*(?:\.\d+)?\s?(?:%|百万|千万|万亿|[百千万亿]|(?:thousand|million|billion|k)\b)?"
    r"|[一二三四五六七八九十两][零一二三四五六七八九十百千万亿]*[十百千万亿]"
)
_UNITS = (
    r"(?:人民币|元|yuan|dollars?|美元|吨|公斤|千克|kg|人|件|台|个|家|岁|天|小时|公里|km|平方米|辆)?"
)
AMOUNT = rf"(?P<number>{_NUMBER})\s*(?P<unit>{_UNITS})"
BETWEEN = re.compile(
    rf"(?:在|介于|(?<![a-z])between\s)\s*(?P<low>{_NUMBER})\s*{_UNITS}\s*(?:到|至|和|与|-|~|and|to)"
    rf"\s*(?P<number>{_NUMBER})\s*(?P<unit>{_UNITS})(?!\s*年)\s*(?:之间)?"
)
WHICH = re.compile(
    r"哪[一几]?[个家位种些年月天款类名座只条项样]?|谁|什么|which|who"
    r"|what(?= [a-z]+ (?:has|had|have))"
)
WHEN = re.compile(r"(?<![a-z])when(?![a-z])|什么时候|何时|哪一?[天年]")
EACH = re.compile(
    r"(?:各个?|每一?[个家位种年月天款类名]?|按照?|分别?|(?<![a-z])(?:for each|of each"
    r"|in each|each|per|for every|every|by|broken down by|grouped by)(?![a-z]))\s*$"
)
TOP = re.compile(
    r"前\s*(\d+|[一二三四五六七八九十])\s*[名个位家]?"
    r"|(?:top|first|bottom) (\d+|two|three|five|ten)\b"
    r"|(?<=最[高低大小多少]的)\s*(\d+|[两二三四五六七八九十])\s*[名个位家]"
)
COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "ten": 10, "两": 2} | CHINESE_MONTHS
# Words of grammar, and those that only ask. What is left of a question without them is content.
_GRAMMAR_ZH = (
    "的 了 是 在 有 和 与 及 跟 同 比 为 里 中 内 这 那 些 个 家 条 行 名 位 项 座 款 笔 "
    "人 次 从 到 至 之 多少 几 什么 哪 哪个 请 请问 告诉 我 计算 算 一下 查 查询 统计 所有 "
    "全部 全 其 其中 它 它们 分别 各 每 吗 呢 啊 年 月 日 度 季度 相比 相较 对比 比较 较 "
    "时 时候 情况 数据 表 表格 里面 以及 还有 那么 而 则 被 把 由 对 于 以 将 会 都 也 元 "
    "占 表中 记录 按 价值 达到 达 等 等于 数 值 额"
)
_GRAMMAR_EN = (
    "a an the of in on at for to from by with and or is are was were be been do does did has have "
    "had what which who how much many there that this these those it its their them than as whose "
    "where when please tell me give show list find calculate compute all every each between "
    "compared compare versus vs value values row rows entry entries record records made make "
    "during year years month months quarter table sheet data number per s into as out up "
    "any get total"
)
YES_NO = dict.fromkeys(("yes", "y", "true", "✓", "✔", "√", "是", "有", "对", "已"), True)
YES_NO |= dict.fromkeys(("no", "n", "false", "✗", "✘", "否", "无", "没有", "没", "未"), False)
"""Cells of a column of yes and no."""
EN_WORDS = frozenset(_GRAMMAR_EN.split())
GRAMMAR_ZH = tuple(_GRAMMAR_ZH.split())
ZH_WORDS = re.compile("|".join(sorted(map(re.escape, GRAMMAR_ZH), key=len, reverse=True)))


def alternatives(words: str) -> Iterator[str]:
    """Yields the alternatives of a pattern, those inside of parentheses apart."""
    depth, start = 0, 0
    for at, one in enumerate(words):
        depth += (one == "(") - (one == ")")
        if one == "|" and not depth:
            yield words[start:at]
            start = at + 1
    yield words[start:]


def variants(name: str) -> list[str]:
    """Returns what a question may call a column: its name, with or without its unit."""
    whole = fold(name).strip()
    plain = re.sub(r"\s*[(\[][^()\[\]]*[)\]]\s*$", "", whole).replace("_", " ")
    day = re.sub(r"\s*(?:日期|时间|date)$", "", plain)  # 2019年入职 means the column 入职日期
    return [one for one in dict.fromkeys((whole, plain, day)) if one]


def is_name(text: str) -> bool:
    """Whether a text is long enough to be a name; one character may be anything."""
    if len(text) > 1:
        return text not in EN_WORDS and not ZH_WORDS.fullmatch(text)
    return bool(text) and not text.isascii() and not ZH_WORDS.fullmatch(text)


def as_words(name: str) -> str:
    """Returns a pattern for a name: whole words where it is Latin, in singular or plural."""
    start = r"(?<![a-z0-9])" if name[0].isascii() and name[0].isalnum() else ""
    end = r"(?:e?s|'s)?(?![a-z0-9])" if name[-1].isascii() and name[-1].isalnum() else ""
    if name[0] in "年季月":
        start = r"(?<![一二三四\d第])"  # 三季度 is a period, not the column 季度
    return start + re.escape(name) + end

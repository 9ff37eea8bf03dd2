"""Words that deny: what a sentence does not want, in Chinese and English.

    a dog without a leash       unwanted: a leash. So do but no, not, except, excluding, nobody
    没有人的海滩  海滩 不要人      unwanted: 人. So do 不想要 别有 没带 没戴 不戴 不穿 不含 不包括
                                不是 除了…以外

A denial ends where the next thing begins: in English at a comma and before "and", "on" and the
like; in Chinese at a comma and at 的, but for 不要 after the thing wanted (车，不要红色的车). Names
that hold such a word keep it (no parking sign, 不锈钢, 有没有).

Only a thing that is named shortly is taken apart like this: "a beach without people". A sentence
that tells a story (a man without a shirt on climbs a rock) describes by what is missing, so that
its own words find more than what is left of it: of 17 such captions of Flickr8k 14 find their
photograph among the first ten as they stand, and 7 when taken apart.
"""

import re

SHORT_EN, SHORT_ZH = 5, 8
"""Words, or Chinese characters, of what is wanted up to which it is a thing and no story."""

_LONGEST = 3  # words of what is not wanted; "no shirt climbs a steep cliff" runs on

_NEXT = (
    "and but on in at with near by under over behind beside next while when who which that is are "
    "from to during"
)
_LITERAL = (
    r"no\s+(?:parking|smoking|entry|exit|swimming|trespassing|fishing|photography|overtaking|"
    r"stopping|waiting|vacanc|u-?turn|through\s|man'?s\s+land|way\b|doubt|matter|longer|more\b|"
    r"problem|thanks|(?:\S+\s+){1,2}(?:sign|zone|area|allowed)|[.\d])|not\s+(?:only|to|yet|far)\b"
)
_ENGLISH = re.compile(
    rf"""(?:,\s*|\s)?(?<![-\w'])(?:(?:but|and|with|that\s+has|there\s+(?:is|are)|
          (?:that\s+|which\s+|who\s+)?(?:is|are)(?=\s+not)|(?:that\s+|which\s+)?(?:has|have)|
          wearing)\s+)?
        (?<!\bdo\ )(?<!\bor\ )(?<!\bwhy\ )(?<!\bif\ )(?<!\bsay\ )(?<!\bsays\ )(?<!\bnothing\ )
        (?!{_LITERAL})
        (?:(?P<nobody>nobody|no[ ]one)\b
        |(?:without|no|not|except(?:\s+for)?|excluding)\s+(?P<any>any\s+)?
         (?P<what>[^\s,.;!?].*?)(?:\s+(?:in\s+(?:it|them|sight)|near\s+it|on(?=\s+(?:is|are)\b)))?
         (?=\s*$|\s*[,.;!?]|\s+(?:{_NEXT.replace(" ", "|")})\b))""",
    re.X | re.I,
)
_OR = re.compile(r"\s+n?or\s+", re.I)

_STOP = "，。,;；!！?？"
_WEARS = "带戴穿牵拴系打"
_CHINESE = re.compile(
    rf"""[，,、\s]*(?:但是?|而且|并且)?
        (?:(?<!要)(?:不(?:想)?要|不想(?:要|看到|看见|见到))(?![紧脸钱命得])有?
           (?P<command>[^{_STOP}\s]+)
        |(?:(?<![有并还])没有(?!关系|问题|办法|意思)|不包含|不包括|不含(?!糊)
           |(?<![区特个分识告])别(?:有(?![洞用风一])|出现)
           |(?<![是可])不是(?![很太])|(?<!有)没(?=[人{_WEARS}])
           |(?<![{_WEARS}从永])不(?=[{_WEARS}](?![倒动算领]))|(?:空无一|无)(?=人(?:的|$)))
           (?P<clause>[^{_STOP}\s的]+)的?
        |除了(?P<except>[^{_STOP}]+?)(?:以外|之外|外)的?(?!.*[还也]))""",
    re.X,
)
_AND = re.compile("以及|或者|[也又][没不](?:有|要)?|[和与或、]")


def take_denials(text: str, hidden: str) -> tuple[str, list[str]]:
    """What a text wants, and what it does not; a text that denies nothing comes back as it is.

    `hidden` is the same text, folded character by character, with everything covered that is to be
    read as it stands.
    """
    found = [*_ENGLISH.finditer(hidden)] or [*_CHINESE.finditer(hidden)]
    wanted, unwanted, end, clear = "", list[str](), 0, True
    for denial in found:
        told = _told(denial)
        wanted += text[end : denial.start()] + (" " if denial.re is _ENGLISH else "")
        end = denial.end()
        if "nobody" in told:
            unwanted.append("people")
            continue
        name = next(name for name in ("what", "command", "clause", "except") if name in told)
        what = text[slice(*denial.span(name))]
        if name == "command" and not wanted.strip() and "的" in what.rstrip("的"):
            what, _, rest = what.rpartition("的")  # 不要人的海滩: the thing wanted comes after
            wanted += rest
        clear &= name != "what" or len(what.split()) <= _LONGEST
        separator = _OR if name == "what" else _AND
        parts = (part.strip().removesuffix("的") for part in separator.split(what))
        unwanted += [part for part in parts if part]
    wanted = re.sub(r"\s+", " ", wanted + text[end:]).strip(" ,，、。.")
    explicit = any(told.get("any") or told.get("command") for told in map(_told, found))
    short = bool(found) and _is_short(wanted, english=found[0].re is _ENGLISH)
    if not unwanted or not (explicit or (clear and short)):
        return text.strip(), []
    return wanted, unwanted


def _told(denial: re.Match[str]) -> dict[str, str]:
    return {name: words for name, words in denial.groupdict().items() if words}


def _is_short(wanted: str, *, english: bool) -> bool:
    if english:
        return len(wanted.split()) <= SHORT_EN
    return sum(character.isalnum() for character in wanted) <= SHORT_ZH

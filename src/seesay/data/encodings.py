"""Bytes to clean text: detect the encoding, and remove characters that do not belong in text.

All text from third parties goes through here: notes, tables, captions in shards. UTF-8, UTF-16,
UTF-32, GB18030 (with GBK and GB 2312) and Big5 are read. Western code pages are refused because a
guess among them would be wrong too often, and so are Korean and Japanese encodings, whose bytes are
mostly valid GB18030 too.
"""

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable

from seesay.errors import DataError
from seesay.text import Text

_BLOCK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SPACES = "\n ,\t\u3000\u3002\uff0c"  # show the byte order of UTF-16
_CONTROL = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f\ufeff]")
_BEYOND_ASCII = re.compile("[^\0-\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHIFTED = re.compile(rb"\x1b\$[@-B(-)]")  # ISO-2022: Japanese or Korean in bytes of ASCII
_ESCAPE, _HALF = "seesay.escape", re.compile(b"\xed[\xa0-\xbf][\x80-\xbf]")
_FEW, _MOST_CONTROLS = 4, 0.01  # of the characters; a binary file has far more
_MOST_ZEROS = 0.25  # of the bytes of UTF-8; UTF-16 of mostly ASCII has nearly half
_PLAUSIBLE, _LIKELY = 0.95, 0.8  # of the characters beyond ASCII are in use
_MOSTLY = 0.9  # of the characters beyond ASCII are whole
_RARELY = 1e-4  # of the bytes are damaged
_EVIDENT = 0.2  # of the characters beyond ASCII are frequent
_MUCH_KANA = 0.1  # of them are kana
_TELLING = 30  # characters, of which some must be frequent
# Almost every sentence contains some of these; a sentence decoded wrongly contains few.
_FREQUENT_CHINESE = frozenset(
    "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对"
    "可她里"
    "后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面同三已老"
    "从动两长"
    "知样现分将外但身些与高意进把法此实回二理美点月明其种声工己话儿者向情部正名定女问力等几很业间"
    "新打便位"
    "這個說們為時會著過學對裡麼沒於發當無開進樣將長見經頭動實現與點種聲話兒問幾業間狗貓图片圖照車"
    "车花草水山"
)
_KANA = frozenset(map(chr, range(0x3041, 0x30FF)))
_FREQUENT_KOREAN = frozenset("이다는에의가을고하지한로사기도를은서그나자시어아리일인해으")


def find_encoding(stream: io.BufferedIOBase) -> str:
    """Detects the encoding of a seekable stream, reading as far as necessary, and rewinds it.
    Raises DataError if it is not text in one of these encodings."""
    head = stream.read(_BLOCK)
    try:
        for mark, name in _MARKS:
            if head.startswith(mark):
                return _checked(head, name)
        failed = _not_utf8(head, stream)
        if failed is None and not _SHIFTED.search(head):
            return _checked(head, "utf-8")
        found = None if failed is None else _by_zero_bytes(head) or _by_characters(failed)
        if found is None:
            raise DataError(
                Text(
                    "its bytes are no text in UTF-8, UTF-16, GB18030 or Big5. Expected one of "
                    "these. Save it as UTF-8.",
                    "内容不是 UTF-8、UTF-16、GB18030 或 Big5 文本；应为其中一种；请另存为 UTF-8",
                )
            )
        return _checked(head, found)
    finally:
        stream.seek(0)


def on_error(encoding: str) -> str:
    """Returns how `open` and `decode` should treat a wrong byte in this encoding: it becomes a
    surrogate if the codec can tell it from its neighbours."""
    if encoding.startswith("utf-8"):
        return _ESCAPE
    return "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"


def decode_text(data: bytes) -> str:
    """Returns the clean text of a file. Raises DataError if it is not text in one of these
    encodings."""
    name = find_encoding(io.BytesIO(data))
    return clean_text(data.decode(name, on_error(name)))


def clean_text(text: str) -> str:
    """Returns the text in a form that can be stored, shown and embedded anywhere: two halves of an
    emoji are joined, a single half or an undecodable byte becomes U+FFFD, and control characters
    other than tabs and line breaks are removed."""
    if text.isascii() and text.isprintable():
        return text
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROL.sub("", text)


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Java and Oracle write an emoji as two halves of three bytes each and call it UTF-8
    (CESU-8)."""
    if isinstance(error, UnicodeDecodeError):
        half = error.object[error.start : error.start + 3]
        if _HALF.fullmatch(half):
            return half.decode("utf-8", "surrogatepass"), error.start + 3
    return codecs.lookup_error("surrogateescape")(error)


codecs.register_error(_ESCAPE, _escape)


def _checked(head: bytes, name: str) -> str:
    """Returns the name of the encoding, unless the result is not text."""
    text = head.decode(name, on_error(name))
    if len(_CONTROL.findall(text)) > max(_FEW, _MOST_CONTROLS * len(text)):
        raise DataError(
            Text(
                f"it begins like {name} but holds bytes that no text has. Expected a text file. "
                "Check that it is one and whole.",
                f"开头像 {name}，却含有文本中不会出现的字节；应为文本文件；请确认它是文本且完整",
            )
        )
    if name == "utf-8-sig" and not _is_mostly(head, name):
        raise DataError(
            Text(
                "it begins with the mark of UTF-8 and goes on in another encoding. Expected one. "
                "Save it as UTF-8.",
                "开头有 UTF-8 的标记，后面却是另一种编码；应为同一种编码；请另存为 UTF-8",
            )
        )
    return name


def _not_utf8(head: bytes, stream: io.BufferedIOBase) -> bytes | None:
    """Returns the first block that is not UTF-8; None if everything is."""
    if head.count(0) > _MOST_ZEROS * len(head):
        return head
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = head
    while block:
        try:
            decoder.decode(block)
        except UnicodeDecodeError:
            return block
        block = stream.read(_BLOCK)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return head  # cut off in the middle of a character
    return None


def _by_zero_bytes(head: bytes) -> str | None:
    """UTF-16 and UTF-32 without a mark: a byte of ASCII characters and spaces is zero."""
    if 0 not in head:
        return None
    whole = head[: len(head) // 4 * 4]
    for name, high, middle in (("utf-32-le", whole[3::4], whole[2::4]),
                               ("utf-32-be", whole[::4], whole[1::4])):  # fmt: skip
        if whole and not any(high) and max(middle) <= 0x10 and _decoded(whole, name):
            return name
    marks = {}
    for name in ("utf-16-le", "utf-16-be"):
        text = _decoded(head[: len(head) // 2 * 2], name) or ""
        marks[name] = sum(text.count(mark) for mark in _SPACES) + text.isascii() * len(text)
    best = max(marks, key=lambda name: marks[name])
    return best if marks[best] else None


def _by_characters(block: bytes) -> str | None:
    """Returns the encoding that yields plausible characters."""
    if _is_mostly(block, "utf-8"):
        return "utf-8"
    found: dict[str, float] = {}
    for name, is_used in (("gb18030", _in_gb2312), ("big5hkscs", _in_big5)):
        strange = _beyond_ascii(block, name)
        used = _share(strange, is_used)
        frequent = _share(strange, _FREQUENT_CHINESE.__contains__)
        surely = used >= _PLAUSIBLE and (frequent or strange.total() < _TELLING)
        if surely or (used >= _LIKELY and frequent >= _EVIDENT):
            found[name] = used
    best = max(found, key=lambda name: found[name], default=None)
    return None if best is None or _is_korean_or_japanese(block, best) else best


def _is_korean_or_japanese(block: bytes, chinese: str) -> bool:
    """Whether another decoding of the bytes is likelier than the Chinese one."""
    as_chinese, korean = _beyond_ascii(block, chinese), _beyond_ascii(block, "cp949")
    if _share(as_chinese, _KANA.__contains__) > _MUCH_KANA:  # has the same bytes in EUC-JP
        return True
    frequent = _share(as_chinese, _FREQUENT_CHINESE.__contains__) * as_chinese.total()
    return _share(korean, _FREQUENT_KOREAN.__contains__) * korean.total() > max(1, frequent)


def _beyond_ascii(block: bytes, name: str) -> Counter[str]:
    """Counts each character beyond ASCII."""
    counts = Counter(_decoded(block, name) or "")
    return Counter({character: n for character, n in counts.items() if not character.isascii()})


def _share(counts: Counter[str], counted: Callable[[str], bool]) -> float:
    total = sum(n for character, n in counts.items() if counted(character))
    return total / max(counts.total(), 1)


def _is_mostly(block: bytes, name: str) -> bool:
    """Whether few of the characters beyond ASCII are damaged, or next to none of all."""
    text = _HALF.sub("\N{REPLACEMENT CHARACTER}".encode(), block).decode(name, "surrogateescape")
    beyond = len(_BEYOND_ASCII.findall(text))
    damaged = len(_SURROGATE.findall(text))
    return damaged <= max((1 - _MOSTLY) * beyond, _RARELY * len(text))


def _decoded(block: bytes, name: str) -> str | None:
    """The text of a block, whose ends may lie within a character."""
    decode: Callable[..., str] = codecs.getincrementaldecoder(name)().decode
    start = block.find(b"\n") + 1 if len(block) == _BLOCK else 0
    try:
        return decode(block[start:], len(block) < _BLOCK)
    except UnicodeDecodeError:
        return None


def _in_gb2312(character: str) -> bool:
    """Whether it is one of the 7,445 characters of GB 2312, or a frequent traditional one."""
    try:
        return len(character.encode("gb2312")) == 2
    except UnicodeEncodeError:
        return _in_big5(character)


def _in_big5(character: str) -> bool:
    """Whether it is a sign or one of the 5,401 frequent characters of Big5."""
    try:
        return "\xa1\x40" <= character.encode("big5").decode("latin-1") <= "\xc6\x7e"
    except UnicodeEncodeError:
        return False

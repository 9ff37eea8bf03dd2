"""Tables as nobody should write them, the same ones each time."""

import json
import random

FORMATS = (".csv", ".csv", ".tsv", ".tab", ".jsonl", ".jsonl")
ENCODINGS = (
    *("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"),
    *("gb18030", "gbk", "big5", "cp1252", "shift_jis", "euc_kr", "cp1251"),
)
PATHS = ("file", "path", "image", "Filename", "路径", "url", "source", " img ")
NAMES = (
    *("caption", "text", "date", "date", "date", "rating", "taken", "tag", "width", "location"),
    *("", " ", "file.path", "unit.item", "file.", "kind", "unit", "locator", "vector", "metadata"),
    *("日期", "e\u0301", "é", "\ud83d", "a\0b", "\x1b[31m", "=key", "'=key", "k" * 300, "null"),
)
_WIDE = "".join(chr(ord(c) + 0xFEE0) for c in "1999-12-31")
DATES = (
    *("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00+14:00"),
    *("0000-00-00", "2021/5/4", "2021年5月4日", "4/5/2021", "2021:05:04 24:08:19", "24:08:19"),
    *("2021-02-30", "2021-05-04T10:11:12.123456789Z", _WIDE, "19991231", "12345"),
    *("-0001-01-01", "10000-01-01", "1e9", "2021-W18-2", "yesterday", "2021", "99999999999999"),
)
NUMBERS = (
    *("0", "-0.0", "1e999", "-1e999", "NaN", "nan", "inf", "Infinity", "1_000", "٣", "0x10"),
    *(
        "9" * 30,
        "9" * 5000,
        "1" * 19,
        "-9223372036854775809",
        "5e-324",
        "1,5",
        "½",
        _WIDE[:2],
        "--1",
    ),
)
TEXTS = (
    *(
        "",
        " ",
        "a dog",
        "一只狗",
        "😀",
        "👩‍👩‍👧‍👦",
        "\ud83d",
        "\udcff",
        "\ude00\ud83d",
        "a\0b",
        "\x01\x02\x7f",
    ),
    *("\u200b\ufeff", "\u202eevil", "e\u0301", "ﬁ", "=1+1", "+cmd|' /C calc'!A0", "@x", "'-1"),
    *(
        '"',
        '""',
        '"open',
        'mid"dle',
        "a,b",
        "a\tb",
        "a;b",
        "two\nlines",
        "cr\rhere",
        "\r\n",
        "\v\f",
    ),
    *("<script>", "../../etc/passwd", "%s%n", "'; DROP TABLE items; --", "null", "None", "true"),
    *("x" * 5000, "狗" * 3000, "w " * 2000, "\u0301" * 500, "\U0010fe80", "\U0010ffff", "\ufffd"),
)
ODD_PATHS = (
    *("", ".", "..", "/", "a", "nowhere.jpg", "x" * 5000, "a\0.jpg", "\ud83d.jpg", "é.jpg", "~/x"),
    *(
        "http://127.0.0.1:1/x.jpg",
        "http://",
        "https://[::1",
        "file:///etc/passwd",
        "/dev/null",
        "t0.csv",
    ),
)


def hostile_table(number: int, pictures: list[str]) -> tuple[str, bytes]:
    """The name and content of table `number`, which speaks of some of the pictures and of more."""
    rng = random.Random(number)
    ending = rng.choice(FORMATS)
    rows = _rows(rng, pictures)
    text = _json_lines(rng, rows) if ending == ".jsonl" else _cells(rng, rows, ending)
    encoding = rng.choice(ENCODINGS)
    errors = "surrogatepass" if encoding.startswith("utf") else "replace"
    return f"t{number}{ending}", _damaged(rng, text.encode(encoding, errors))


def _rows(rng: random.Random, pictures: list[str]) -> list[dict[str, str]]:
    names = [rng.choice(NAMES) for _ in range(rng.randrange(7))]
    if rng.random() < 0.005:
        names += [f"c{n}" for n in range(1500)]
    if rng.random() < 0.95:
        names.insert(rng.randrange(len(names) + 1), rng.choice(PATHS))
    kinds = {name: rng.choice((DATES, NUMBERS, TEXTS, DATES + NUMBERS + TEXTS)) for name in names}
    rows = []
    for _ in range(rng.randrange(7)):
        row = {name: rng.choice(kinds[name]) for name in names}
        for name in {*PATHS}.intersection(row):
            row[name] = rng.choice(pictures if rng.random() < 0.85 else ODD_PATHS)
        rows.append(row)
    return rows


def _cells(rng: random.Random, rows: list[dict[str, str]], ending: str) -> str:
    """With quotes where they belong, or not."""
    delimiter = rng.choice(",;\t") if ending == ".csv" else "\t"
    end = rng.choice(("\n", "\r\n", "\r"))
    careful = rng.random() < 0.7
    names = list(rows[0]) if rows else ["file", "caption"]
    if rng.random() < 0.1:
        names += names[:1]
    lines = [names, *([row.get(name, "") for name in names] for row in rows)]
    return end.join(
        delimiter.join(_quoted(cell) if careful else cell for cell in line) for line in lines
    ) + rng.choice(("", end, end * 3, '"', "\x1a"))


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in '",;\t\r\n') else cell


def _json_lines(rng: random.Random, rows: list[dict[str, str]]) -> str:
    lines = []
    for row in rows:
        values = {name: _wrapped(rng, value) for name, value in row.items()}
        if rng.random() < 0.3:
            values["metadata"] = {"metadata": dict(values), **values, "rating": rng.choice(NUMBERS)}
        line = json.dumps(values, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.1:
            line = line[:-1] + ', "n": ' + rng.choice(("NaN", "1e999", "9" * 4000)) + "}"
        if rng.random() < 0.1:
            line = rng.choice(("[" * 5000, "[1, 2]", "null", line[:-3], line * 2, '{"a": {' * 3000))
        lines.append(line)
    return rng.choice(("\n", "\r\n")).join(lines)


def _wrapped(rng: random.Random, value: str) -> object:
    """The value, or something of another type."""
    if rng.random() < 0.8:
        return value
    others = (None, True, 0, -1.5, 10**30, [value, value], [1, [2, [3]]], {"a": value}, [], {})
    return rng.choice(others)


def _damaged(rng: random.Random, data: bytes) -> bytes:
    """In one of five, some bytes are others; some end too early."""
    if not data or rng.random() < 0.8:
        return data
    raw = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        raw[rng.randrange(len(raw))] = rng.choice((0, 10, 13, 34, 44, 128, 255, rng.randrange(256)))
    return bytes(raw[: rng.randrange(len(raw))] if rng.random() < 0.3 else raw)

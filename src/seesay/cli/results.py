"""Print results as a table, JSON, bare paths for a pipe, or a contact sheet."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seesay.cli.output import (
    cell_width,
    console,
    language,
    localized,
    print_indented,
    print_json,
    print_table,
    say,
    warn,
)
from seesay.data.files import write_text
from seesay.text import Text, printable

if TYPE_CHECKING:
    from seesay.search.asking.results import Comparison, Hit, Results, RetrieverReport
    from seesay.search.collection import Collection
    from seesay.web.report import Tile

SNIPPET = 120  # characters of a text in the table
LONG_PATH = 40
_BESIDE_PATH = 24  # columns of a terminal that the match and the ways it was found take


def show_results(
    results: "Results",
    *,
    as_json: bool,
    paths: bool,
    zero: bool,
    explain: bool,
    misfits: int | None,
) -> None:
    """The finds in the form that was asked for; `misfits` is how many of those that hardly fit are
    shown, None for all of them. JSON has them all, and says how sure each is."""
    if as_json:
        from seesay.search.plain import to_plain

        print_json(to_plain(results))
        return
    fitting = sum(hit.confidence >= results.explain.threshold for hit in results.hits)
    most = len(results.hits) if misfits is None else fitting + misfits
    shown = replace(results, hits=results.hits[:most])
    if paths or zero:
        if results.no_good_match:
            warn(say("no good match", "没有足够相符的结果"))
        print_paths(dict.fromkeys(hit.path for hit in shown.hits), zero=zero)
        return
    _draw(shown)
    if more := len(results.hits) - len(shown.hits):
        print(
            say(
                f"{more} more fit still less; --count {len(results.hits)} shows them",
                f"另有 {more} 条更不相符；加 --count {len(results.hits)} 可以看到",
            )
        )
    if explain:
        draw_explanation(shown)


def print_paths(paths: Iterable[str], *, zero: bool) -> None:
    """Each on a line of its own, or ended by a zero byte; byte for byte as the system has them. A
    path with a line break in it would be read as two others, and is only printed with a zero."""
    end = b"\0" if zero else b"\n"
    sys.stdout.flush()
    stream = sys.stdout.buffer
    broken = 0
    for path in paths:
        if not zero and "\n" in path:
            broken += 1
        else:
            stream.write(os.fsencode(path) + end)
    stream.flush()
    if broken:
        warn(
            say(
                f"{broken} paths have a line break in them and are not printed; use -0 instead of "
                "--paths",
                f"有 {broken} 个路径含有换行符，未打印；请用 -0 代替 --paths",
            )
        )


def _draw(results: "Results") -> None:
    for note in results.explain.notes:
        line = printable(localized(note))
        console(stderr=True).print(line, style="dim", markup=False)
    if not results.hits:
        print(say("nothing found", "没有找到任何内容"))
        if within := results.explain.filter:
            warn(
                say(
                    f"the filter takes {within}; `seesay stats` lists the folders and keys",
                    f"筛选条件是 {within}；文件夹和键名见 `seesay stats`",
                )
            )
        return
    if results.no_good_match:
        print(
            say(
                "no good match; these come nearest, and are probably something else:",
                "没有足够相符的结果；下面只是最接近的，多半不是你要找的：",
            )
        )
    rows = [
        [f"{hit.confidence:.0f}%", _placed(hit), _said(hit), localized(retrievers_of(hit))]
        for hit in results.hits
    ]
    heads = [
        say("match", "匹配度"),
        say("file", "文件"),
        say("text", "文字"),
        say("found by", "依据"),
    ]
    told = any(row[2] for row in rows)
    keep = [0, 1, 2, 3] if told else [0, 1, 3]
    widest = max(cell_width(printable(row[1])) for row in rows)
    if widest + _BESIDE_PATH > console().width:
        for hit, (match, _, text, found) in zip(results.hits, rows, strict=True):
            print(f"{match:>4}  {printable(short_path(hit.path))}")  # whole, so it can be copied
            parts = (place_of(hit), printable(text), found)
            print_indented(" · ".join(part for part in parts if part))
        return
    print_table([heads[i] for i in keep], [[row[i] for i in keep] for row in rows])


def place_of(hit: "Hit") -> str:
    """Where in its file a find is: see `Place.label`; empty for the whole file."""
    label = hit.locator.label
    return localized(label) if label else ""


def _placed(hit: "Hit") -> str:
    place = place_of(hit)
    return short_path(hit.path) + (f" · {place}" if place else "")


def draw_explanation(results: "Results") -> None:
    """What each retriever did with the query, and how it ranked each result."""
    from seesay.search.asking.fusion import METHOD

    explain = results.explain
    kinds = {
        "text": say("words", "文字"),
        "image": say("picture", "图片"),
        "unit": say("find", "条目"),
    }
    parts = [[part.shown, kinds[part.kind], f"{part.weight:+g}"] for part in explain.parts]
    if parts:
        heads = [say("asked for", "查询内容"), say("kind", "类型"), say("weight", "权重")]
        print_table(heads, parts)
    heads = [
        say("retriever", "检索方式"),
        say("weight", "权重"),
        say("found", "找到"),
        say("how", "方式"),
    ]
    heads += [say("does not fit", "不相符"), say("fits", "相符"), say("best", "最好")]
    print_table(heads, [_retriever_row(one) for one in explain.retrievers])
    ranks = [[_short(hit.path), f"{hit.score:.4f}", _places(hit)] for hit in results.hits]
    print_table(
        [say("file", "文件"), say("fused", "融合分数"), say("ranks", "各种方式的名次")], ranks
    )
    told = [
        say("threshold", "阈值") + f" {explain.threshold:.0f}%",
        localized(METHOD),
        explain.filter and say("filter", "筛选") + f" {explain.filter}",
        say("model", "模型") + f" {explain.model}",
        say(f"{1000 * results.seconds:.1f} ms", f"{1000 * results.seconds:.1f} 毫秒"),
    ]
    print(printable(" · ".join(part for part in told if part)))


def _retriever_row(one: "RetrieverReport") -> list[str]:
    ways = {
        "scan": say("all compared", "逐一比较"),
        "index": say("by the index", "经索引"),
        "nothing": say("nothing to compare", "无可比较"),
    }
    known = one.comparison
    return [
        localized(retriever_name(one.retriever)),
        f"{one.weight:g}",
        str(one.found),
        ways[one.plan.path] if one.plan else _words(one.expression or ""),
        *(["", "", ""] if known is None else _compared(known)),
    ]


def _compared(known: "Comparison") -> list[str]:
    """The cosine of what does not fit; how many spreads above it lie what fits, and the best."""
    return [f"{known.null:.3f} ± {known.spread:.3f}", f"{known.match:+.1f}", f"{known.best:+.1f}"]


def _words(expression: str) -> str:
    """What the keyword index was asked, without the signs of its language."""
    wanted, *excluded = expression.split(" NOT ")
    words = dict.fromkeys(_quoted(wanted))
    return say(", ", "、").join(
        [*words, *(f"-{word}" for one in excluded for word in _quoted(one))]
    )


def _quoted(expression: str) -> list[str]:
    return re.findall(r'words : "([^"]*)"', expression) or re.findall(r'"([^"]*)"', expression)


def _places(hit: "Hit") -> str:
    """Where each retriever ranked it; BM25 has no scale, so that it would say nothing."""
    places = [
        f"{localized(_found_as(hit, one.retriever))} #{one.rank}"
        + ("" if one.retriever == "keyword" else f" ({one.score:.3f})")
        for one in hit.retrievers
    ]
    return say(", ", "，").join(places)


def _short(path: str) -> str:
    """Its folder and name, where the whole would be folded."""
    shown = short_path(path)
    return shown if len(shown) <= LONG_PATH else os.path.join("…", *Path(path).parts[-2:])


def write_sheet(collection: "Collection", file: Path, asked: str, results: "Results") -> None:
    """The finds as a PNG or a page, by the ending of the file."""
    from seesay.cli.contact_sheet import shows_chinese, write_contact_sheet
    from seesay.web.report import Section, to_page

    cards = tuple(to_tile(collection, hit) for hit in results.hits)
    if file.suffix.lower() == ".png":
        if not shows_chinese() and any(
            ord(c) > 0x2000 for c in asked + str([c.name for c in cards])
        ):
            warn(
                say(
                    "no font with Chinese characters was found; an .html sheet shows them",
                    "没有找到中文字体，图中的汉字会显示为问号；可改存为 .html",
                )
            )
        write_contact_sheet(file, asked, cards)
        _say_where(file)
        return
    section = Section(
        title=Text("Search", "查找"), asked=asked, no_good_match=results.no_good_match, cards=cards
    )
    name = collection.store.folder.name
    known = Text(f"Collection {name}", f"资料库 {name}")
    write_text(file, to_page(Text("seesay", "看图说话"), known, [section], language()))
    _say_where(file)


def _say_where(file: Path) -> None:
    warn(say(f"wrote {file}", f"已写入 {file}"))


def check_sheet(file: Path | None) -> None:
    """Raises ConfigError for an ending that is no picture and no page, and DataError for a folder
    that is not there: before the work."""
    from seesay.data.files import check_folder
    from seesay.errors import ConfigError

    if file is None:
        return
    check_folder(file)
    if file.suffix.lower() not in (".png", ".html", ".htm"):
        raise ConfigError(
            Text(
                f"--sheet {file} ends in {file.suffix or 'nothing'}; expected .png or .html; "
                "choose a name with one of these endings",
                f"--sheet {file} 的扩展名是 {file.suffix or '空的'}；应为 .png 或 .html；"
                "请换成这样的文件名",
            )
        )


def to_tile(collection: "Collection", hit: "Hit") -> "Tile":
    """A find as it is drawn, with its thumbnail where there can be one."""
    from seesay.errors import CollectionError
    from seesay.web.report import Tile, file_link

    picture = None
    if hit.has_picture:
        try:
            picture = collection.thumbnail(hit.unit)
        except CollectionError as error:
            warn(str(error))
    link, page = file_link(hit.path), hit.locator.page
    return Tile(
        name=" · ".join(filter(None, (Path(hit.path).name, place_of(hit)))),
        folder=str(Path(hit.path).parent),
        picture=picture,
        text=hit.text,
        confidence=hit.confidence,
        link=f"{link}#page={page}" if link and page and hit.has_picture else link,
        note=retrievers_of(hit),
    )


def retrievers_of(hit: "Hit") -> Text:
    """Which retrievers found it, and how many copies were folded."""
    names = Text(", ", "、").join(_found_as(hit, one.retriever) for one in hit.retrievers)
    if not (count := len(hit.duplicates)):
        return names
    copies = "copy" if count == 1 else "copies"
    return Text(f"{names.en} (+{count} {copies})", f"{names.zh}（另有 {count} 份相同）")


def _found_as(hit: "Hit", retriever: str) -> Text:
    from seesay.search.catalog.drafts import TEXT_TYPES

    is_caption = retriever == "text" and hit.kind not in TEXT_TYPES
    return Text("caption", "图片说明") if is_caption else retriever_name(retriever)


def retriever_name(retriever: str) -> Text:
    return {
        "image": Text("picture", "画面"),
        "text": Text("meaning", "文意"),
        "keyword": Text("keywords", "关键词"),
    }[retriever]


def short_path(path: str) -> str:
    """A relative path if the file lies below the current folder."""
    here = os.getcwd().rstrip(os.sep) + os.sep
    return path.removeprefix(here)


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, rest = divmod(whole, 3600)
    clock = f"{rest // 60:02d}:{rest % 60:02d}"
    return f"{hours}:{clock}" if hours else clock.removeprefix("0")


def size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.1f} GB"


def _said(hit: "Hit") -> str:
    text = " ".join((hit.text or "").split())
    return text if len(text) <= SNIPPET else text[:SNIPPET].rstrip() + " …"


def names(rows: Sequence[str], limit: int = 8) -> str:
    """The first few of many."""
    more = len(rows) - limit
    return ", ".join(rows[:limit]) + (f" … (+{more})" if more > 0 else "")

"""How the results were found, in plain words."""

from html import escape
from pathlib import PurePath

from seesay.search.asking.fusion import METHOD
from seesay.search.asking.results import Explain, PartReport, Results, RetrieverReport
from seesay.text import to_unicode
from seesay.web import words
from seesay.web.cards import reasons_of
from seesay.web.report import Bilingual, both


def explanation(results: Results) -> str:
    """A panel that opens: what was understood, what each retriever did, where each find stood."""
    explain = results.explain
    told = [*map(_part, explain.parts), *map(_retriever, explain.lanes), *_rest(explain, results)]
    notes = "".join(f"<li>{both((note.en, note.zh))}</li>" for note in explain.notes)
    rows = "".join(
        f"<tr><td>{escape(_name(hit.path))}</td><td>{hit.confidence:.0f}%</td><td>"
        + "<br>".join(map(both, reasons_of(hit)))
        + f"</td><td>{hit.score:.4f}</td></tr>"
        for hit in results.hits
        if hit.lanes
    )
    heads = (("File", "文件"), ("Match", "匹配度"), ("Found by", "依据"), ("Sum", "合计"))
    table = (
        f'<div class="wide"><table><thead><tr>{"".join(f"<th>{both(h)}</th>" for h in heads)}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        if rows
        else ""
    )
    body = "".join(f"<li>{both(one)}</li>" for one in told)
    return (
        f'<details class="explain"><summary>{both(words.HOW)}</summary>'
        f"<ul>{body}{notes}</ul>{table}</details>"
    )


def _part(part: PartReport) -> Bilingual:
    kinds = {"text": ("words", "文字"), "image": ("picture", "图片"), "unit": ("find", "条目")}
    english, chinese = kinds[part.kind]
    shown = f"“{part.shown}”"
    if part.weight < 0:
        return f"Left out: the {english} {shown}.", f"排除{chinese}{shown}。"
    counts = "" if part.weight == 1 else f", counted {part.weight:g} times"
    weighs = "" if part.weight == 1 else f"，权重 {part.weight:g}"
    return f"SearchForm for: the {english} {shown}{counts}.", f"要找的{chinese}：{shown}{weighs}。"


def _retriever(lane: RetrieverReport) -> Bilingual:
    english, chinese = words.LANES[lane.lane]
    en = f"By {english}: {lane.found} candidates"
    zh = f"按{chinese}：{lane.found} 个候选"
    known = lane.comparison
    if known is None:
        return en + ".", zh + "。"
    above = "above" if known.best >= 0 else "below"
    over = "高" if known.best >= 0 else "低"
    return (
        f"{en}; the best lies {abs(known.best):.1f} spreads {above} what does not fit "
        f"({known.null:.3f} ± {known.spread:.3f}); what fits is expected {known.match:.1f} above.",
        f"{zh}；最好的一个比不相符的内容（{known.null:.3f} ± {known.spread:.3f}）{over} "
        f"{abs(known.best):.1f} 个标准差，相符的内容预计高 {known.match:.1f} 个。",
    )


def _rest(explain: Explain, results: Results) -> list[Bilingual]:
    told = []
    if len(explain.lanes) > 1:
        told.append(
            (
                f"Sorted {METHOD.en}.",
                f"排序方式：{METHOD.zh}。",
            )
        )
    told.append(
        (
            f"Below {explain.threshold:.0f}% a match counts as unlikely.",
            f"匹配度低于 {explain.threshold:.0f}% 视为可能性较低。",
        )
    )
    if explain.filter:
        told.append((f"Filter: {explain.filter}.", f"筛选：{explain.filter}。"))
    spent = f"{1000 * results.seconds:.0f}"
    told.append(
        (f"Model {explain.model}, {spent} ms.", f"模型 {explain.model}，用时 {spent} 毫秒。")
    )
    return told


def _name(path: str) -> str:
    return to_unicode(PurePath(path).name)

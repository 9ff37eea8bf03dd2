"""How the results were found, in plain words."""

from html import escape
from pathlib import PurePath

from seesay.search.asking.fusion import METHOD
from seesay.search.asking.results import Explain, PartReport, Results, RetrieverReport
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.cards import reasons_of
from seesay.web.report import both

_KINDS = {
    "text": Text("words", "文字"),
    "image": Text("picture", "图片"),
    "unit": Text("find", "条目"),
}


def explanation(results: Results) -> str:
    """A panel that opens: what was understood, what each retriever did, where each find stood."""
    explain = results.explain
    told = [
        *map(_part, explain.parts),
        *map(_retriever, explain.retrievers),
        *_rest(explain, results),
    ]
    notes = "".join(f"<li>{both(note)}</li>" for note in explain.notes)
    rows = "".join(
        f"<tr><td>{escape(_name(hit.path))}</td><td>{hit.confidence:.0f}%</td><td>"
        + "<br>".join(map(both, reasons_of(hit)))
        + f"</td><td>{hit.score:.4f}</td></tr>"
        for hit in results.hits
        if hit.retrievers
    )
    heads = (
        *(Text("File", "文件"), Text("Match", "匹配度")),
        *(Text("Found by", "依据"), Text("Sum", "合计")),
    )
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


def _part(part: PartReport) -> Text:
    kind = _KINDS[part.kind]
    shown = f"“{part.shown}”"
    if part.weight < 0:
        return Text(f"Left out: the {kind.en} {shown}.", f"排除{kind.zh}{shown}。")
    counts = "" if part.weight == 1 else f", counted {part.weight:g} times"
    weighs = "" if part.weight == 1 else f"，权重 {part.weight:g}"
    return Text(
        f"Searched for: the {kind.en} {shown}{counts}.", f"要找的{kind.zh}：{shown}{weighs}。"
    )


def _retriever(one: RetrieverReport) -> Text:
    name = words.RETRIEVERS[one.retriever]
    en = f"By {name.en}: {one.found} candidates"
    zh = f"按{name.zh}：{one.found} 个候选"
    known = one.comparison
    if known is None:
        return Text(en + ".", zh + "。")
    above = "above" if known.best >= 0 else "below"
    over = "高" if known.best >= 0 else "低"
    return Text(
        f"{en}; the best lies {abs(known.best):.1f} spreads {above} what does not fit "
        f"({known.null:.3f} ± {known.spread:.3f}); what fits is expected {known.match:.1f} above.",
        f"{zh}；最好的一个比不相符的内容（{known.null:.3f} ± {known.spread:.3f}）{over} "
        f"{abs(known.best):.1f} 个标准差，相符的内容预计高 {known.match:.1f} 个。",
    )


def _rest(explain: Explain, results: Results) -> list[Text]:
    told = []
    if len(explain.retrievers) > 1:
        told.append(Text("Sorted {method}.", "排序方式：{method}。").format(method=METHOD))
    told.append(
        Text(
            f"Below {explain.threshold:.0f}% a match counts as unlikely.",
            f"匹配度低于 {explain.threshold:.0f}% 视为可能性较低。",
        )
    )
    if explain.filter:
        told.append(Text(f"Filter: {explain.filter}.", f"筛选：{explain.filter}。"))
    spent = f"{1000 * results.seconds:.0f}"
    told.append(
        Text(f"Model {explain.model}, {spent} ms.", f"模型 {explain.model}，用时 {spent} 毫秒。")
    )
    return told


def _name(path: str) -> str:
    return to_unicode(PurePath(path).name)

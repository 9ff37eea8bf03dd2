"""`seesay stats`: contents and size of a collection; loads no model."""

from typing import TYPE_CHECKING

from seesay.cli.options import Collection, Json
from seesay.cli.output import localized, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from seesay.search.catalog.store import Run
    from seesay.search.statistics import EmbeddingSpaceStatistics, Statistics


def stats(collection: Collection = None, json: Json = False) -> None:
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, print_table

    with opened(collection) as here:
        found = here.stats()
    if json:
        from seesay.search.plain import to_plain

        print_json(to_plain(found))
        return
    print_table([say("collection", "资料库"), found.folder], _facts(found))
    if found.spaces:
        heads = [say("model", "模型"), say("size", "维数"), say("pictures", "图片")]
        heads += [say("texts", "文字"), say("captions", "图片说明"), say("state", "状态")]
        print_table(heads, [_space(space) for space in found.spaces])
    indexes = [row for space in found.spaces for row in _indexes(space)]
    if indexes:
        heads = [say("model", "模型"), say("searched by", "检索方式"), say("engine", "引擎")]
        heads += [say("index", "索引"), say("place", "位置")]
        print_table(heads, indexes)


def _facts(found: "Statistics") -> list[tuple[str, str]]:
    from seesay.cli.results import names, size

    run = found.last_run
    facts = [
        (say("files", "文件"), _counts(found.items)),
        (say("found as", "可查找的"), _counts(found.units)),
        (say("missing files", "缺失的文件"), f"{found.missing:,}" if found.missing else ""),
        (say("unreadable files", "无法读取"), f"{found.failed:,}" if found.failed else ""),
        (say("folders", "文件夹"), names(found.roots)),
        (say("filters on", "可筛选的"), names(found.metadata, 20)),
        (say("database", "数据库"), size(found.database_bytes)),
        (say("indexes", "索引"), f"{size(found.index_bytes)} · {found.engine}"),
        (say("thumbnails", "缩略图"), size(found.thumbnail_bytes)),
        (say("last run", "上次运行"), _run(run) if run else ""),
    ]
    return [fact for fact in facts if fact[1]]


def _run(run: "Run") -> str:
    states = {
        "running": say("running", "进行中"),
        "done": say("done", "已完成"),
        "failed": say("failed", "出错中止"),
        "interrupted": say("interrupted", "被中断"),
    }
    action = say(run.action, "收录") if run.action == "index" else run.action
    return f"{action}{say(': ', '：')}{states[run.state]}"


def _space(space: "EmbeddingSpaceStatistics") -> list[str]:
    states = {
        "active": say("in use", "使用中"),
        "ready": say("kept", "保留"),
        "filling": say("being filled", "填充中"),
    }
    state = states["active" if space.active else space.state]
    counts = [f"{count:,}" for count in (space.images, space.texts, space.captions)]
    return [space.model, str(space.dim), *counts, state]


def _indexes(space: "EmbeddingSpaceStatistics") -> "Iterator[list[str]]":
    from seesay.cli.rebuild import index_type_name
    from seesay.cli.results import retriever_name, short_path

    for one in space.indexes:
        retriever, kind = localized(retriever_name(one.modality)), index_type_name(one.kind)
        yield [space.model, retriever, one.engine, kind, short_path(one.place)]


def _counts(counts: "Mapping[str, int]") -> str:
    words = {
        "image": say("pictures", "图片"),
        "text": say("texts", "文字"),
        "table": say("tables", "表格"),
        "page": say("pages", "页"),
        "moment": say("moments", "片段"),
    }
    return " · ".join(f"{words.get(kind, kind)} {count:,}" for kind, count in counts.items()) or "0"

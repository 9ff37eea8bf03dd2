"""Which commands there are for collections, in the order in which a person meets them."""

from collections.abc import Callable
from typing import Any

import typer

from seesay.cli.collections.duplicates import duplicates
from seesay.cli.collections.export import export
from seesay.cli.collections.index import index
from seesay.cli.collections.search import search
from seesay.cli.collections.similar import similar
from seesay.cli.collections.tags import tags
from seesay.cli.collections.upkeep.errors import errors
from seesay.cli.collections.upkeep.rebuild import rebuild
from seesay.cli.collections.upkeep.stats import stats
from seesay.cli.collections.verify import verify
from seesay.cli.collections.watch import watch
from seesay.cli.help import Command
from seesay.cli.messages import say

VERBS: tuple[tuple[Callable[..., Any], str], ...] = (
    (
        index,
        say(
            "Take pictures and texts into a collection, or bring it up to date.",
            "把图片和文字收进资料库，或更新资料库。",
        ),
    ),
    (search, say("Find by words, by pictures, or by both.", "用文字、图片或二者一起查找。")),
    (similar, say("Find what looks or reads like a file.", "查找与某个文件相似的内容。")),
    (duplicates, say("Find files that show the same.", "查找重复或几乎相同的图片。")),
    (
        tags,
        say(
            "Tag pictures with your words, without training.", "用你给的词给图片加标签，无需训练。"
        ),
    ),
    (watch, say("Keep a collection up to date while files change.", "文件一有变化就更新资料库。")),
    (errors, say("List files that could not be read, and why.", "列出无法读取的文件及原因。")),
    (stats, say("Say what a collection holds.", "显示资料库里有什么。")),
    (export, say("Write vectors and metadata to a file.", "把向量和元数据导出到文件。")),
    (verify, say("Check a collection for damage.", "检查资料库是否损坏。")),
    (
        rebuild,
        say("Build the indexes again; nothing is embedded again.", "重建索引，无需重新计算向量。"),
    ),
)


def add_verbs(app: typer.Typer) -> None:
    """Make each a command of the program."""
    for function, meaning in VERBS:
        app.command(function.__name__, cls=Command, help=meaning)(function)

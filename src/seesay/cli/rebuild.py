"""`seesay rebuild`: build the indexes again from the stored vectors."""

from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Collection, Json
from seesay.cli.output import localized, say

if TYPE_CHECKING:
    from seesay.search.checking.repair import BuiltIndex

Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help=say(
            "Keep the indexes in another engine from now on: faiss, chroma (in files), "
            "chroma=HOST:PORT or milvus=http://HOST:PORT. Tokens: SEESAY_CHROMA_TOKEN, "
            "SEESAY_MILVUS_TOKEN.",
            "从此改用另一种索引引擎：faiss、chroma（存为文件）、chroma=HOST:PORT 或 "
            "milvus=http://HOST:PORT。令牌请放在环境变量 SEESAY_CHROMA_TOKEN、"
            "SEESAY_MILVUS_TOKEN 里。",
        ),
    ),
]
ForgetUnused = Annotated[
    bool,
    typer.Option(
        "--forget-unused",
        help=say(
            "Also remove the vectors of models that searches no longer use.",
            "同时移除查找已不再使用的模型的向量。",
        ),
    ),
]


def rebuild(
    engine: Engine = None,
    forget_unused: ForgetUnused = False,
    collection: Collection = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import opened
    from seesay.cli.output import print_json, working
    from seesay.search.plain import to_plain

    with opened(collection) as here, working(say("building the indexes", "正在重建索引")):
        forgotten = here.forget_unused() if forget_unused else []
        built = here.rebuild(engine)
    if json:
        print_json({"built": to_plain(built), "forgotten": to_plain(forgotten)})
        return
    for space in forgotten:
        print(say(f"removed the vectors of {space.model}", f"已移除 {space.model} 的向量"))
    _show(built)


def index_type_name(kind: str) -> str:
    """Print what was built."""
    return (
        say("none: an exact scan is as fast", "无：逐个精确比较一样快") if kind == "scan" else kind
    )


def _show(built: "list[BuiltIndex]") -> None:
    from seesay.cli.output import print_table, warn
    from seesay.cli.results import duration, retriever_name

    heads = [
        say("model", "模型"),
        say("searched by", "检索方式"),
        say("vectors", "向量"),
        say("engine", "引擎"),
        say("index", "索引"),
        say("time", "用时"),
    ]
    rows = [
        [
            one.model,
            localized(retriever_name(one.modality)),
            f"{one.status.vectors:,}",
            one.status.engine or "",
            index_type_name(one.status.kind or "") or say("nothing to index", "没有可索引的"),
            duration(one.seconds),
        ]
        for one in built
    ]
    print_table(heads, rows)
    for problem in dict.fromkeys(filter(None, (one.status.problem for one in built))):
        warn(
            say(
                f"an index cannot be used, so searches compare all vectors: {problem.en}",
                f"有一个索引无法使用，查找时会逐一比较全部向量：{problem.zh}",
            )
        )
    for engine in dict.fromkeys(engine for one in built for engine in one.status.left):
        warn(
            say(
                f"{engine} could not be asked, and keeps the former index, which nothing uses any "
                "more",
                f"没能联系 {engine}，原来的索引还留在那里，但已不再使用",
            )
        )

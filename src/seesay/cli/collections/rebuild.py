"""`seesay rebuild`: the indexes anew, from the stored vectors."""

from typing import Annotated

import typer

from seesay.cli.collections.options import Collection
from seesay.cli.messages import say
from seesay.cli.options import Json

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
    forget_unused: ForgetUnused = False, collection: Collection = None, json: Json = False
) -> None:
    from seesay.cli.collections.opened import opened
    from seesay.cli.collections.shown import lane_name
    from seesay.cli.output import print_json, print_table, working
    from seesay.search.report.plain import to_plain

    with opened(collection) as here, working(say("building the indexes", "正在重建索引")):
        forgotten = here.forget_unused() if forget_unused else []
        built = here.rebuild()
    if json:
        print_json({"built": to_plain(built), "forgotten": to_plain(forgotten)})
        return
    for space in forgotten:
        print(say(f"removed the vectors of {space.model}", f"已移除 {space.model} 的向量"))
    rows = [
        [
            one.model,
            say(*lane_name(one.modality)),
            f"{one.status.vectors:,}",
            one.status.engine or say("none needed", "无需索引"),
        ]
        for one in built
    ]
    heads = [
        say("model", "模型"),
        say("lane", "通道"),
        say("vectors", "向量"),
        say("index", "索引"),
    ]
    print_table(heads, rows)

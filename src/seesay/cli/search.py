"""`seesay search`: search by words, pictures, or both; results with their match and reasons."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from seesay.cli.options import (
    RESULTS,
    Collection,
    Count,
    Device,
    Folder,
    Json,
    PathsOnly,
    Sheet,
    Since,
    Type,
    Until,
    Where,
    Zero,
    most_misfits,
)
from seesay.cli.output import say

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="QUERY",
        help=say(
            'What to look for, in Chinese or English; "in quotes" as it stands, -word or "without '
            'a word" leaves it out, word^2 counts twice.',
            "要找什么，中英文均可；加引号则逐字查找，“不要某物”或 -某物 表示排除，"
            "某物^2 权重加倍。",
        ),
    ),
]
Image = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        "-i",
        help=say(
            "Look for what is like this picture; repeatable.", "查找与这张图片相似的；可重复使用。"
        ),
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--not",
        metavar="WORDS",
        help=say("Leave out what shows this; repeatable.", "排除含有此内容的；可重复使用。"),
    ),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        "--min-match",
        min=0,
        max=100,
        help=say(
            "Leave out what matches less than this (0-100).", "不显示匹配度低于此值的（0–100）。"
        ),
    ),
]
Only = Annotated[
    Literal["image", "text", "keyword"] | None,
    typer.Option(
        "--only",
        help=say(
            "Search only by pictures, by the meaning of texts, or by keywords.",
            "只按画面、文意或关键词查找。",
        ),
    ),
]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="NAME",
        help=say(
            "Rerank the first 50 texts with this reranker, such as bge-reranker-v2-m3, or the "
            "first 50 pages with colqwen2 (after index --late): slower, more accurate.",
            "用这个重排模型（如 bge-reranker-v2-m3）给前 50 条文字重新打分，"
            "或用 colqwen2 给前 50 页重新打分（先运行 index --late）：较慢，但更准。",
        ),
    ),
]
ExplainWhy = Annotated[
    bool, typer.Option("--explain", help=say("Say how it was found.", "说明查找过程。"))
]


def search(
    query: Words = None,
    image: Image = None,
    without: Without = None,
    count: Count = None,
    where: Where = None,
    folder: Folder = None,
    since: Since = None,
    until: Until = None,
    type: Type = None,
    only: Only = None,
    min_confidence: MinConfidence = None,
    rerank: Rerank = None,
    explain: ExplainWhy = False,
    sheet: Sheet = None,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    device: Device = None,
    json: Json = False,
) -> None:
    # A second thread would spend a tenth of the processor time of a search waiting for the first.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from seesay.cli.inputs import load_model, opened
    from seesay.cli.results import check_sheet, show_results, write_sheet
    from seesay.search.asking.query import Query

    check_sheet(sheet)
    words = " ".join(query or ())
    asked = Query.of(
        words,
        images=image or [],
        without=without or [],
        where=where or [],
        folders=folder or [],
        since=since,
        until=until,
        media=type,
        count=count or RESULTS,
        min_confidence=min_confidence,
        retrievers=None if only is None else (only,),
        rerank=rerank,
    )
    with opened(collection, device=device) as here:
        if only != "keyword":
            load_model(here, for_words=not image)
        results = here.search(asked)
        misfits = most_misfits(count, paths=paths or zero)
        show_results(
            results,
            as_json=json,
            paths=paths,
            zero=zero,
            explain=explain,
            misfits=misfits if min_confidence is None else None,
        )
        if sheet is not None:
            write_sheet(here, sheet, words, results)


Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILES",
        help=say(
            "Files of the collection, or any pictures: more like all of them together.",
            "资料库里的文件，或任意图片；给出多个则查找与它们整体相似的。",
        ),
    ),
]


def similar(
    files: Files,
    count: Count = None,
    where: Where = None,
    folder: Folder = None,
    type: Type = None,
    sheet: Sheet = None,
    paths: PathsOnly = False,
    zero: Zero = False,
    collection: Collection = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import load_model, opened
    from seesay.cli.results import check_sheet, show_results, write_sheet
    from seesay.search.asking.query import Query

    check_sheet(sheet)
    asked = Query.of(
        like=files,
        where=where or (),
        folders=folder or (),
        media=type,
        count=count or RESULTS,
    )
    with opened(collection, device=device) as here:
        load_model(here)
        results = here.search(asked)
        misfits = most_misfits(count, paths=paths or zero)
        show_results(results, as_json=json, paths=paths, zero=zero, explain=False, misfits=misfits)
        if sheet is not None:
            write_sheet(here, sheet, " ".join(file.name for file in files), results)

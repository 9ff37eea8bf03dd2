"""`seesay compare`: the same small training with each choice of a part, over several seeds."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from seesay.cli.options import Json
from seesay.cli.output import say

Part = Annotated[
    Literal["connectors", "fusion"],
    typer.Argument(
        metavar="PART",
        help=say(
            "connectors: how pictures reach the language model; fusion: how a classifier "
            "combines picture and question.",
            "connectors：图片怎样接入语言模型；fusion：分类模型怎样融合图片与问题。",
        ),
    ),
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help=say(
            "Pictures with questions, such as easy-VQA's shards: a path or a glob pattern.",
            "带问题的图片，如 easy-VQA 的分片：路径或通配符。",
        ),
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help=say(
            "Where the runs go; else runs/compare-PART.",
            "训练结果存放的文件夹；默认为 runs/compare-部件名。",
        ),
    ),
]
Choices = Annotated[
    list[str] | None,
    typer.Option(
        "--choice",
        metavar="NAME",
        help=say(
            "Compare only this one, such as mlp; repeatable.",
            "只对比这一种，如 mlp；可重复使用。",
        ),
    ),
]
CaptionData = Annotated[
    str | None,
    typer.Option(
        "--captions",
        metavar="DATA",
        help=say(
            "Pictures with captions, such as Flickr8k's shards: learnt and measured too; "
            "only for connectors.",
            "带描述的图片，如 Flickr8k 的分片：一并训练和评测；只用于 connectors。",
        ),
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        help=say("Runs of each choice, with different seeds.", "每种选项各用几个随机种子训练。"),
    ),
]
Steps = Annotated[
    int, typer.Option("--steps", help=say("Steps of each training.", "每次训练的步数。"))
]
BatchSize = Annotated[
    int, typer.Option("--batch", help=say("Pictures in a step.", "每步的图片数。"))
]
HeldOut = Annotated[
    int,
    typer.Option(
        "--held-out",
        help=say(
            "Pictures at the end, held out for measuring.",
            "末尾留作评测、不参与训练的图片数。",
        ),
    ),
]
TextLanguage = Annotated[
    Literal["en", "zh"],
    typer.Option(
        "--language",
        "-l",
        help=say("Language of the questions and captions.", "问题和描述的语言。"),
    ),
]


def compare(
    part: Part,
    data: Data,
    folder: Folder = None,
    choice: Choices = None,
    captions: CaptionData = None,
    seeds: Seeds = 3,
    steps: Steps = 500,
    batch: BatchSize = 32,
    held_out: HeldOut = 300,
    language: TextLanguage = "en",
    json: Json = False,
) -> None:
    from seesay.cli.sweep import run_and_print
    from seesay.training.comparison import ComparisonConfig, summarise, write_comparison

    config = ComparisonConfig(
        of=part,
        path=data,
        folder=str(folder or f"runs/compare-{part}"),
        choices=tuple(choice or ()),
        captions=captions,
        seeds=seeds,
        steps=steps,
        batch=batch,
        held_out=held_out,
        language=language,
    )
    run_and_print(write_comparison(config), train=True, as_json=json, summarise=summarise)

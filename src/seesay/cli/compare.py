"""`seesay compare`: the same small training with each of several parts, over several seeds."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from seesay.cli.help import Command, Commands
from seesay.cli.options import Json
from seesay.cli.output import say

app = typer.Typer(
    cls=Commands,
    help=say(
        "Compare parts of a model by the same small training, over several seeds.",
        "用相同的小规模训练、多个随机种子，对比模型的部件。",
    ),
)


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
    Path, typer.Option("--folder", help=say("Where the runs go.", "训练结果存放的文件夹。"))
]
ONLY = say("Compare only this one; repeatable.", "只对比这一种；可重复使用。")
Connectors = Annotated[list[str] | None, typer.Option("--connector", metavar="NAME", help=ONLY)]
Strategies = Annotated[list[str] | None, typer.Option("--strategy", metavar="NAME", help=ONLY)]
Seeds = Annotated[int, typer.Option("--seeds", help=say("Trainings of each.", "每种训练的次数。"))]
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
            "Pictures at the end that measure and train nothing.",
            "末尾留作评测、不参与训练的图片数。",
        ),
    ),
]
QuestionLanguage = Annotated[
    Literal["en", "zh"],
    typer.Option("--language", "-l", help=say("Of the questions.", "问题的语言。")),
]


CaptionData = Annotated[
    str | None,
    typer.Option(
        "--captions",
        metavar="DATA",
        help=say(
            "Pictures with captions, such as Flickr8k's shards: learnt and measured too.",
            "带描述的图片，如 Flickr8k 的分片：一并训练和评测。",
        ),
    ),
]


@app.command(
    "connectors",
    cls=Command,
    help=say(
        "Compare how pictures reach the language model, by questions about pictures.",
        "用看图问答对比图像接入语言模型的各种方式。",
    ),
)
def compare_connectors(
    path: Data,
    folder: Folder = Path("runs/compare-connectors"),
    connector: Connectors = None,
    captions: CaptionData = None,
    seeds: Seeds = 3,
    steps: Steps = 500,
    batch: BatchSize = 32,
    held_out: HeldOut = 300,
    language: QuestionLanguage = "en",
    json: Json = False,
) -> None:
    _compare(
        json,
        of="connectors",
        path=path,
        folder=str(folder),
        choices=tuple(connector or ()),
        captions=captions,
        seeds=seeds,
        steps=steps,
        batch=batch,
        held_out=held_out,
        language=language,
    )


@app.command(
    "fusion",
    cls=Command,
    help=say(
        "Compare how picture and question are combined, by questions about pictures.",
        "用看图问答对比图像与问题的融合方式。",
    ),
)
def compare_fusion(
    path: Data,
    folder: Folder = Path("runs/compare-fusion"),
    strategy: Strategies = None,
    seeds: Seeds = 3,
    steps: Steps = 500,
    batch: BatchSize = 32,
    held_out: HeldOut = 300,
    language: QuestionLanguage = "en",
    json: Json = False,
) -> None:
    _compare(
        json,
        of="fusion",
        path=path,
        folder=str(folder),
        choices=tuple(strategy or ()),
        seeds=seeds,
        steps=steps,
        batch=batch,
        held_out=held_out,
        language=language,
    )


def _compare(as_json: bool, **settings: Any) -> None:
    from seesay.cli.sweep import run_and_report
    from seesay.training.comparison import ComparisonConfig, summaries, write_comparison

    file = write_comparison(ComparisonConfig(**settings))
    run_and_report(file, train=True, as_json=as_json, summarise=summaries)

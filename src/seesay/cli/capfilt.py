"""`seesay capfilt`: keep the captions that fit their pictures, and have others written."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.data import Columns, DataFormat, DataPath, OneLanguage, Seed, records_of
from seesay.cli.options import DEFAULT_MODEL, Device, Endpoint, Json
from seesay.cli.output import say

if TYPE_CHECKING:
    from seesay.training.capfilt import CapfiltReport

CapfiltFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help=say(
            "Folder for the lists that a recipe reads and for audit.csv; a run that was stopped "
            "goes on in it.",
            "输出文件夹，存放配方要读的清单和逐条明细 audit.csv；中断后会在其中接着做。",
        ),
    ),
]
Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="NAME",
        help=say(
            "What judges captions: an embedding model, or one with a matching head.",
            "判断描述的模型：向量模型，或带匹配头的模型。",
        ),
    ),
]
Captioner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=say(
            "Vision-language model that writes a caption for each picture and language.",
            "给每张图片按每种语言写一条描述的视觉语言模型。",
        ),
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help=say(
            "Score from which a caption is kept; by default 0.5 for a matching head, else found "
            "among the scores.",
            "分数达到多少才保留；匹配头默认 0.5，否则根据分数自动确定。",
        ),
    ),
]
Keep = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help=say(
            "Keep this share of the captions of each language instead (0 to 1).",
            "改为每种语言保留这个比例的描述（0 到 1）。",
        ),
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help=say(
            "The captioner draws from the likeliest tokens that make up this share; 0 takes the "
            "likeliest.",
            "写描述时只从合计概率达到此值的最可能词元中抽取；0 总取最可能的。",
        ),
    ),
]


def capfilt(
    path: DataPath,
    out: CapfiltFolder,
    filter: Filter = DEFAULT_MODEL,
    captioner: Captioner = None,
    endpoint: Endpoint = None,
    threshold: Threshold = None,
    keep: Keep = None,
    top_p: TopP = 0.9,
    language: OneLanguage = None,
    seed: Seed = 0,
    format: DataFormat = None,
    column: Columns = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import load_assistant
    from seesay.cli.output import print_json, progress, working
    from seesay.training.capfilt import CapfiltConfig, check_out, run_capfilt

    records = records_of(path, format, language, column)
    config = CapfiltConfig(threshold=threshold, keep=keep, top_p=top_p, seed=seed)
    check_out(out)
    with working(say(f"loading {filter}", f"正在加载 {filter}")):
        from seesay.inference.matcher import load_comparing

        comparing = load_comparing(filter, device=device)
    writes = captioner is not None or endpoint is not None
    assistant = load_assistant(captioner, endpoint, device) if writes else None
    with progress(say("captions", "描述")) as report:
        result = run_capfilt(records, config, out, comparing, assistant, report=report)
    if json:
        print_json({"folder": str(out), **asdict(result)})
    else:
        _print(result, out, written=writes)


def _print(result: "CapfiltReport", out: Path, *, written: bool) -> None:
    from seesay.cli.output import percent, print_table

    heads = [
        say("language", "语言"),
        say("source", "来源"),
        say("captions", "描述"),
        say("kept", "保留"),
        say("share", "比例"),
        say("threshold", "阈值"),
        say("random kept", "随机配对保留"),
    ]
    rows = []
    for one in result.languages:
        rest = [f"{one.threshold:.3f}", percent(one.random_kept)]
        sources = [(say("records", "数据"), one.captions, one.kept)]
        if written:
            sources.append((say("written", "生成"), one.written, one.written_kept))
        for name, count, kept in sources:
            share = percent(kept / count if count else None)
            rows.append([one.language, name, f"{count}", f"{kept}", share, *rest])
    print_table(heads, rows)
    print(
        say(
            f"{result.kept_records:,} of {result.records:,} pictures have a caption that is kept, "
            f"{result.damaged:,} others are damaged",
            f"{result.records:,} 张图片中有 {result.kept_records:,} 张留有描述，另有 "
            f"{result.damaged:,} 张损坏",
        )
    )
    if result.unwritten:
        print(
            say(
                f"{result.unwritten:,} captions were not finished, or not written in the language",
                f"{result.unwritten:,} 条描述没有写完，或不是所要的语言",
            )
        )
    lists = [f'kept = "{out / "kept.parquet"}"']
    lists += [f'added = "{out / "written.jsonl"}"'] if written else []
    print(f"{say('in a recipe: ', '在配方里写：')}{', '.join(lists)}")

"""Options that several commands share, so that they are called and explained the same."""

from typing import Annotated

import typer

from seesay.cli.messages import say

DEFAULT_MODEL = "seesay-mini"

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help=say(
            "Name from `seesay models`, hub repository, or folder.",
            "模型名（见 `seesay models`）、仓库名或文件夹。",
        ),
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help=say("cpu, cuda or mps; by default the fastest.", "cpu、cuda 或 mps；默认选最快的。"),
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help=say("Print JSON on stdout.", "在标准输出打印 JSON。"))
]

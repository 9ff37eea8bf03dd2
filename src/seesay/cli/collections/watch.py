"""`seesay watch`: indexes what changes, until Ctrl-C."""

from typing import Annotated

import typer

from seesay.cli.collections.index import summary
from seesay.cli.collections.options import Collection, MaxFileSize, MaxPixels, Seconds
from seesay.cli.messages import say
from seesay.cli.options import Device, Json

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATHS",
        help=say("Folders; without any, those of before.", "文件夹；不写则为以前收录过的。"),
    ),
]


def watch(
    paths: Paths = None,
    collection: Collection = None,
    device: Device = None,
    max_pixels: MaxPixels = None,
    max_file_size: MaxFileSize = None,
    seconds: Seconds = None,
    json: Json = False,
) -> None:
    from seesay.cli.collections.limits import read_limits
    from seesay.cli.collections.opened import started
    from seesay.cli.output import print_json, warn
    from seesay.search.indexing.options import IndexOptions
    from seesay.search.report.plain import to_plain

    options = IndexOptions(limits=read_limits(max_pixels, max_file_size, seconds))
    with started(collection, paths or [], device=device) as here:
        warn(say("watching; Ctrl-C ends it", "正在留意变化；按 Ctrl-C 结束"))
        here.watch(
            paths or [],
            options,
            on_report=lambda report: (
                print_json(to_plain(report), compact=True)
                if json
                else print(summary(report), flush=True)
            ),
        )

"""`seesay verify`: is everything as it was written?"""

from typing import Annotated

import typer

from seesay.cli.collections.options import Collection
from seesay.cli.messages import say
from seesay.cli.options import Json

Deep = Annotated[
    bool, typer.Option("--deep", help=say("Read every row and page.", "逐行逐页检查。"))
]


def verify(deep: Deep = False, collection: Collection = None, json: Json = False) -> None:
    from seesay.cli.collections.opened import opened
    from seesay.cli.output import print_json, warn, working

    with opened(collection) as here, working(say("checking", "正在检查")):
        problems = here.verify(deep=deep)
    if json:
        print_json({"problems": problems})
    elif not problems:
        print(say("all is well", "一切正常"))
    else:
        for problem in problems:
            warn(problem)
    if problems:
        raise typer.Exit(1)

"""`seesay tags`: your words as tags on pictures, without training; filters find by them."""

from collections.abc import Mapping
from typing import Annotated

import typer

from seesay.cli.options import Collection, Device, Folder, Json, Where
from seesay.cli.output import say
from seesay.text import Text

Labels = Annotated[
    str | None,
    typer.Argument(
        metavar="LABELS",
        help=say(
            'Words such as "cat,dog", or a file with one per line; without any, everyday words.',
            "如“猫，狗”，或每行一个词的文件；不写则使用一组日常词语。",
        ),
    ),
]


def tags(
    labels: Labels = None,
    where: Where = None,
    folder: Folder = None,
    collection: Collection = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import load_model, opened
    from seesay.cli.output import print_json, print_table, progress, warn
    from seesay.inference.labels import read_labels
    from seesay.search.filtering import make_filter
    from seesay.search.plain import to_plain

    wanted = None if labels is None else _words(read_labels(labels), labels)
    filter = make_filter(where=where or (), folders=folder or ())
    with opened(collection, device=device) as here:
        load_model(here)
        with progress(say("pictures", "图片")) as tell:
            report = here.tag(wanted, where=filter or (), on_progress=tell)
    if json:
        print_json(to_plain(report))
        return
    rows = [[tag, f"{count:,}"] for tag, count in report.counts.items()]
    rows += [[word, "0"] for word in wanted or () if word not in report.counts]
    if not report.pictures:
        warn(say("there is no picture to tag", "没有可加标签的图片"))
        return
    print_table([say("tag", "标签"), say("pictures", "图片")], rows)
    print(
        say(
            "search within a tag: seesay search QUERY --where tag=NAME",
            "在某个标签内查找：seesay search 查询 --where tag=标签",
        )
    )


def _words(read: Mapping[str, str], given: str) -> list[str]:
    """Raises ConfigError if no word is left, before a model is loaded."""
    from seesay.errors import ConfigError

    if not read or not all(read):
        raise ConfigError(
            Text(
                f"the labels {given!r} hold {'an empty word' if read else 'no word'}; expected "
                'words such as "cat,dog" or "猫，狗"; name some, or leave them out for everyday '
                "words",
                f"标签 {given!r} 里{'有空的词' if read else '没有词'}；应如“猫，狗”；"
                "请写上几个，或者不写，使用日常词语",
            )
        )
    return list(read)

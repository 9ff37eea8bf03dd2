"""`seesay models`: list the published models, and download one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seesay.cli.help import Command, Commands
from seesay.cli.options import Json
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.weights.catalog import CatalogEntry
    from seesay.weights.hub import Located


WIDE, NARROW = 110, 70  # columns of a terminal from which on licences and recommendations fit


class _ListsAlone(Commands):
    """`seesay models` alone is `seesay models list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        return super().parse_args(ctx, args or ["list"])


app = typer.Typer(
    cls=_ListsAlone,
    help=say("List, look up and download models.", "列出、查看和下载模型。"),
)


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help=say(
            "Name from `seesay models list`, or hub repository.", "列表中的名称或模型仓库名。"
        ),
    ),
]


@app.command("list", cls=Command, help=say("Models that seesay knows.", "seesay 已知的模型。"))
def list_models(
    language: Annotated[
        Literal["en", "zh", "multilingual"] | None,
        typer.Option(
            "--language", "-l", help=say("Only models for it.", "只列出支持该语言的模型。")
        ),
    ] = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import console, print_json, print_table
    from seesay.weights.catalog import published_models

    entries = [
        e for e in published_models().values() if language is None or language in e.languages
    ]
    if json:
        print_json([_record(entry) for entry in entries])
        return
    heads = [
        say("name", "名称"),
        say("languages", "语言"),
        say("download", "下载大小"),
        "ImageNet",
        say("licence", "许可"),
        say("recommended for", "推荐用于"),
    ]
    width = console().width
    shown = [0, 1, 2, 3, *([4] if width >= WIDE else []), *([5] if width >= NARROW else [])]
    rows = [_row(entry) for entry in entries]
    print_table([heads[i] for i in shown], [[row[i] for i in shown] for row in rows])
    print(
        say(
            "ImageNet: published zero-shot accuracy, with English prompts or (zh) Chinese ones. "
            "More on one model: seesay models show NAME",
            "ImageNet：公开的零样本准确率，使用英文提示词，标 zh 的使用中文。"
            "查看某个模型：seesay models show 名称",
        )
    )


@app.command("show", cls=Command, help=say("All about one model.", "某个模型的全部信息。"))
def show(name: Name, json: Json = False) -> None:
    from seesay.cli.output import print_json, print_table
    from seesay.weights.catalog import find, unknown_model
    from seesay.weights.hub import in_cache

    entry = find(name)
    if entry is None:
        raise unknown_model(name)
    folder = in_cache(entry)
    if json:
        print_json({**_record(entry), "folder": None if folder is None else str(folder)})
        return
    where = str(folder) if folder else say("not yet: seesay models download", "尚未下载")
    rows = [*_facts(entry), (say("on this machine", "本机位置"), where)]
    print_table([entry.alias, entry.family], [row for row in rows if row[1]])


@app.command("download", cls=Command, help=say("Bring a model here.", "下载模型到本机。"))
def download(
    name: Name,
    revision: Annotated[
        str | None,
        typer.Option(help=say("Branch, tag or commit.", "分支、标签或提交号。")),
    ] = None,
    hub: Annotated[
        Literal["huggingface", "modelscope"] | None,
        typer.Option(help=say("Where from (or SEESAY_HUB).", "下载来源（或用 SEESAY_HUB）。")),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help=say("Copy it into this new folder too.", "另外复制到这个新文件夹。")),
    ] = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import print_json
    from seesay.weights.hub import locate

    if to is not None:
        _refuse_existing(to)  # before the download, not after
    with bytes_bar(name) as on_progress:
        located = locate(name, revision=revision, hub=hub, on_progress=on_progress)
    folder = located.folder if to is None else _copy(located, to)
    if json:
        print_json({"name": name, "folder": str(folder), "revision": located.revision})
    else:
        print(say(f"{name} is in {folder}", f"{name} 位于 {folder}"))


def _record(entry: "CatalogEntry") -> dict[str, Any]:
    from dataclasses import asdict

    return {"name": entry.name, **asdict(entry)}


def _row(entry: "CatalogEntry") -> list[str]:
    return [
        entry.alias,
        _languages(entry),
        _size(entry),
        _figure(entry),
        _licence(entry).split(" (")[0],
        say(entry.recommended_en, entry.recommended_zh),
    ]


def _facts(entry: "CatalogEntry") -> list[tuple[str, str]]:
    millions = entry.parameters_m
    chinese = f"{millions / 100:.2f} 亿" if millions >= 100 else f"{100 * millions:,} 万"
    count = say(f"{millions} million", chinese)
    return [
        (say("repository", "仓库"), entry.repo),
        ("ModelScope", entry.modelscope),
        (say("revision", "版本"), entry.revision if entry.repo else ""),
        (say("image half", "图像部分"), entry.image_half),
        (say("languages", "语言"), _languages(entry)),
        (say("download", "下载大小"), _size(entry)),
        (say("parameters", "参数量"), count),
        (say("image size", "图像尺寸"), f"{entry.image_size} px" if entry.image_size else ""),
        (say("ImageNet, zero-shot", "ImageNet 零样本"), _figure(entry)),
        (say("figure from", "数据来源"), entry.source),
        (say("licence of the weights", "权重许可"), _licence(entry)),
        (say("recommended for", "推荐用于"), say(entry.recommended_en, entry.recommended_zh)),
    ]


def _licence(entry: "CatalogEntry") -> str:
    return say(entry.licence, entry.licence_zh or entry.licence)


def _languages(entry: "CatalogEntry") -> str:
    return " ".join("…" if code == "multilingual" else code for code in entry.languages)


def _size(entry: "CatalogEntry") -> str:
    if not entry.repo:
        return say("built in", "内置")
    large = entry.megabytes >= 1000
    return f"{entry.megabytes / 1000:.1f} GB" if large else f"{entry.megabytes} MB"


def _figure(entry: "CatalogEntry") -> str:
    if entry.top1 is None:
        return "–"
    return f"{entry.top1:.1f}%" + (" (zh)" if entry.prompts == "zh" else "")


def _refuse_existing(folder: Path) -> None:
    from seesay.errors import ConfigError

    if folder.exists():
        raise ConfigError(
            Text(
                f"--to {folder} is there already; expected the name of a new folder. Choose "
                "another, or delete this one",
                f"--to {folder} 已经存在；应为一个新文件夹的名字；请换一个，或删掉它",
            )
        )


def _copy(located: "Located", to: Path) -> Path:
    """A folder with files of its own in place of the cache's links; whole or not there."""
    import shutil
    import tempfile

    from seesay.errors import DownloadError
    from seesay.weights.hub import IMAGE_HALF

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
        try:
            shutil.copytree(located.folder, unfinished / "whole")
            if located.image_folder is not None:
                shutil.copytree(located.image_folder, unfinished / "whole" / IMAGE_HALF)
            (unfinished / "whole").rename(to)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        raise DownloadError(
            Text(
                f"{to} cannot be written ({error}); expected a place with room and the right to "
                f"write. The model itself is in {located.folder}: use it from there, or choose "
                "another folder",
                f"无法写入 {to}（{error}）；应为有空间、有写权限的位置；模型已在 "
                f"{located.folder}：可直接使用，或换一个文件夹",
            )
        ) from error
    return to


@contextmanager
def bytes_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with megabytes, speed and time left on a terminal; nothing elsewhere."""
    import io
    from contextlib import redirect_stderr

    from rich import progress

    from seesay.cli.output import console

    screen = console(stderr=True)
    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(compact=True),
        console=screen,
        transient=True,
        expand=True,
        disable=not screen.is_terminal,
    )
    task = bar.add_task(name, total=None)
    # ModelScope's library draws bars of its own, which cannot be turned off.
    with bar, redirect_stderr(io.StringIO()):
        yield lambda done, total: bar.update(task, completed=done, total=total)

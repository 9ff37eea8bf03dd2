"""`seesay models`: list the published models, choose one for a need, and download it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seesay.cli.help import Command, Commands
from seesay.cli.options import Json
from seesay.cli.output import say
from seesay.errors import ConfigError
from seesay.text import Text
from seesay.weights.catalog import CONTEXT, Task

if TYPE_CHECKING:
    from seesay.weights.catalog import AssistantEntry, CatalogEntry, EmbeddingEntry
    from seesay.weights.hub import Located
    from seesay.weights.recommendation import Recommendations


WIDE, NARROW = 110, 70  # columns of a terminal from which on licences and recommendations fit


class _ListsAlone(Commands):
    """`seesay models` alone, or with an option of it, is `seesay models list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        alone = not args or (args[0].startswith("-") and args[0] not in ("-h", "--help"))
        return super().parse_args(ctx, ["list", *args] if alone else args)


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
    kind: Annotated[
        Literal["embedding", "text", "assistant", "captioner", "matcher"] | None,
        typer.Option(
            "--kind",
            "-k",
            help=say(
                "Only models that embed pictures and texts, that embed texts alone, that answer, "
                "that describe, or that compare.",
                "只列出这一种：图文嵌入、文本嵌入、问答、图片描述或图文匹配模型。",
            ),
        ),
    ] = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import console, localized, print_folded, print_json, print_table
    from seesay.weights.catalog import (
        AssistantEntry,
        EmbeddingEntry,
        published_assistants,
        published_models,
    )

    every: list[EmbeddingEntry | AssistantEntry] = [
        *published_models().values(),
        *published_assistants().values(),
    ]
    entries = [
        e
        for e in every
        if (language is None or language in e.languages) and kind in (None, e.purpose)
    ]
    if json:
        print_json([_record(entry) for entry in entries])
        return
    embedding = [_embedding_row(e) for e in entries if isinstance(e, EmbeddingEntry)]
    assistants = [_assistant_row(e) for e in entries if isinstance(e, AssistantEntry)]
    width = console().width
    for heads, rows, note in (
        (_embedding_heads(), embedding, _EMBEDDING_NOTE),
        (_assistant_heads(), assistants, _ASSISTANT_NOTE),
    ):
        if rows:
            shown = [at for at, (_, least) in enumerate(heads) if width >= least]
            print_table([heads[at][0] for at in shown], [[row[at] for at in shown] for row in rows])
            print_folded(localized(note))
    if not entries:
        print(
            say(
                "No model of the catalogue fits. Leave out --language or --kind to see more.",
                "目录里没有这样的模型；去掉 --language 或 --kind 可看到更多。",
            )
        )


_EMBEDDING_NOTE = Text(
    "ImageNet: published zero-shot accuracy, with English prompts or (zh) Chinese ones. "
    "More on one model: seesay models show NAME",
    "ImageNet：公开的零样本准确率，使用英文提示词，标 zh 的使用中文。"
    "查看某个模型：seesay models show 名称",
)
_ASSISTANT_NOTE = Text(
    f"Memory: weights in bfloat16, and the cache of {CONTEXT:,} tokens. Choose one: seesay models "
    "recommend --task ocr --memory 8GB",
    f"内存：bfloat16 的权重加 {CONTEXT:,} 个词元的缓存。挑选模型：seesay models recommend "
    "--task ocr --memory 8GB",
)


@app.command(
    "recommend",
    cls=Command,
    help=say(
        "Vision-language models for a task that fit, best first, and why the others do not.",
        "适合某项任务的视觉语言模型，从优到劣，并说明其余的为何不合适。",
    ),
)
def recommend_models(
    task: Annotated[
        Task,
        typer.Option(
            "--task",
            "-t",
            help=say(
                "What it is for: pictures means several at once, chinese questions in Chinese.",
                "用途：pictures 指同时看多张图，chinese 指中文提问。",
            ),
        ),
    ],
    language: Annotated[
        Literal["en", "zh", "multilingual"] | None,
        typer.Option(
            "--language", "-l", help=say("A language that it must know.", "必须掌握的语言。")
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help=say("Memory for it, such as 8GB.", "可用内存，如 8GB。")),
    ] = None,
    licence: Annotated[
        Literal["any", "commercial"],
        typer.Option(
            help=say("Only models that may be used commercially.", "只要允许商用的模型。"),
        ),
    ] = "any",
    tokens: Annotated[
        int,
        typer.Option(
            min=1,
            help=say("Tokens of prompt and answer to keep memory for.", "为多少词元留出缓存。"),
        ),
    ] = CONTEXT,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help=say("How many to show.", "显示几个。"))
    ] = 5,
    json: Json = False,
) -> None:
    from dataclasses import asdict

    from seesay.cli.output import print_json
    from seesay.weights.recommendation import Need, recommend

    need = Need(
        task=task,
        language=language,
        memory=None if memory is None else read_memory(memory),
        commercial=licence == "commercial",
        tokens=tokens,
    )
    found = recommend(need)
    if json:
        print_json(asdict(found))
    else:
        _print_recommendations(found, count)


def _print_recommendations(found: "Recommendations", count: int) -> None:
    from seesay.cli.output import localized, print_folded, print_indented

    if not found.ranked:
        print(say("No model of the catalogue fits.", "目录里没有合适的模型。"))
    for number, one in enumerate(found.ranked[:count], 1):
        print(f"{number}. {one.alias}")
        print_indented(localized(one.reason))
    if (more := len(found.ranked) - count) > 0:
        every = f"--count {count + more}"
        print(say(f"{more} more fit: {every}", f"另有 {more} 个合适：{every}"))
    groups: dict[str, list[str]] = {}
    for other in found.excluded:
        groups.setdefault(localized(other.reasons[0]), []).append(other.alias)
    print(say(f"Left out: {len(found.excluded)}", f"不合适：{len(found.excluded)} 个"))
    for reason, names in groups.items():
        print_indented(say(f"{reason}: {', '.join(names)}", f"{reason}：{'、'.join(names)}"))
    print_folded(
        say(
            "Figures are published ones; those on different benchmarks cannot be compared exactly. "
            "More on one model: seesay models show NAME",
            "成绩均为公开数据；不同评测之间不能精确比较。查看某个模型：seesay models show 名称",
        )
    )


_UNITS = {"": 1e9, "GB": 1e9, "MB": 1e6, "GIB": 2**30, "MIB": 2**20}


def read_memory(written: str) -> int:
    """Bytes of "8GB", "7.5 GiB" or "900 MB"; without a unit, gigabytes. Raises ConfigError."""
    import re

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([GM]i?B)?", written.strip(), re.IGNORECASE)
    size = round(float(found[1]) * _UNITS[(found[2] or "").upper()]) if found else 0
    if size <= 0:
        raise ConfigError(
            Text(
                f"--memory {written!r} is no size; expected a number above 0 with GB, GiB, MB or "
                "MiB, such as 8GB. Correct it",
                f"--memory {written!r} 不是有效的大小；应为大于 0 的数加 GB、GiB、MB 或 MiB，"
                "如 8GB；请改正",
            )
        )
    return size


@app.command("show", cls=Command, help=say("All about one model.", "某个模型的全部信息。"))
def show(name: Name, json: Json = False) -> None:
    from seesay.cli.output import print_json, print_table
    from seesay.weights.catalog import AssistantEntry, find, find_assistant, unknown_model
    from seesay.weights.hub import in_cache

    entry = find(name) or find_assistant(name)
    if entry is None:
        raise unknown_model(name)
    folder = in_cache(entry)
    if json:
        print_json({**_record(entry), "folder": None if folder is None else str(folder)})
        return
    where = str(folder) if folder else say("not yet: seesay models download", "尚未下载")
    facts = _assistant_facts(entry) if isinstance(entry, AssistantEntry) else _facts(entry)
    rows = [*facts, (say("on this machine", "本机位置"), where)]
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


def _record(entry: "EmbeddingEntry | AssistantEntry") -> dict[str, Any]:
    from dataclasses import asdict

    from seesay.weights.catalog import AssistantEntry

    record = {"name": entry.name, "kind": entry.purpose, **asdict(entry)}
    if isinstance(entry, AssistantEntry):
        del record["purpose"]
        record["memory"] = {one: entry.memory(one) for one in entry.number_types}
    return record


def _embedding_heads() -> list[tuple[str, int]]:
    """The columns, and from how wide a terminal on they fit."""
    return [
        (say("name", "名称"), 0),
        (say("kind", "种类"), NARROW),
        (say("languages", "语言"), 0),
        (say("download", "下载大小"), 0),
        ("ImageNet", 0),
        (say("licence", "许可"), WIDE),
        (say("recommended for", "推荐用于"), NARROW),
    ]


def _embedding_row(entry: "EmbeddingEntry") -> list[str]:
    return [
        entry.alias,
        entry.purpose,
        _languages(entry),
        _size(entry),
        _figure(entry),
        _licence(entry).split(" (")[0],
        say(entry.recommended_en, entry.recommended_zh),
    ]


def _assistant_heads() -> list[tuple[str, int]]:
    return [
        (say("name", "名称"), 0),
        (say("kind", "种类"), NARROW),
        (say("languages", "语言"), 0),
        (say("download", "下载大小"), 0),
        (say("memory", "内存"), NARROW),
        (say("figures for", "有成绩的任务"), WIDE),
        (say("licence", "许可"), WIDE),
    ]


def _assistant_row(entry: "AssistantEntry") -> list[str]:
    return [
        entry.alias,
        entry.purpose,
        _languages(entry),
        _size(entry),
        _bytes(entry.memory("bfloat16")),
        " ".join(entry.tasks) or "–",
        _licence(entry),
    ]


def _facts(entry: "EmbeddingEntry") -> list[tuple[str, str]]:
    return [
        *_common_facts(entry),
        (say("image half", "图像部分"), entry.image_half),
        (say("image size", "图像尺寸"), f"{entry.image_size} px" if entry.image_size else ""),
        (say("ImageNet, zero-shot", "ImageNet 零样本"), _figure(entry)),
        (say("figure from", "数据来源"), entry.source),
        (say("licence of the weights", "权重许可"), _licence(entry)),
        (say("recommended for", "推荐用于"), say(entry.recommended_en, entry.recommended_zh)),
    ]


def _assistant_facts(entry: "AssistantEntry") -> list[tuple[str, str]]:
    memory = ", ".join(f"{one} {_bytes(entry.memory(one))}" for one in entry.number_types)
    photo, page = f"{entry.photo_tokens:,}", f"{entry.page_tokens:,}"
    purposes = {
        "assistant": say("answers questions", "回答问题"),
        "captioner": say("describes pictures", "描述图片"),
        "matcher": say("compares pictures with texts", "比较图片与文字"),
    }
    return [
        (say("purpose", "用途"), purposes[entry.purpose]),
        *_common_facts(entry),
        (say("layout of the files", "文件布局"), entry.files if entry.repo else ""),
        (say("in the other layout", "另一种布局"), entry.other_form),
        (say("image tower", "图像塔"), entry.tower),
        (say("connector", "连接器"), entry.connector),
        (say("language model", "语言模型"), entry.language_model),
        (
            say("tokens of a picture", "图片词元数"),
            say(
                f"{photo} (1024 x 768), {page} (A4 page)", f"{photo}（1024 x 768）、{page}（A4 页）"
            ),
        ),
        (say("context", "上下文"), f"{entry.context:,}"),
        (say(f"memory, {CONTEXT:,} tokens", f"内存（{CONTEXT:,} 个词元）"), memory),
        *((one.task, f"{one.benchmark} {one.score:.1f} ({one.source})") for one in entry.figures),
        (say("licence of the weights", "权重许可"), _licence(entry)),
        (say("terms", "条件"), say(entry.terms_en, entry.terms_zh)),
    ]


def _common_facts(entry: "CatalogEntry") -> list[tuple[str, str]]:
    millions = entry.parameters_m
    chinese = f"{millions / 100:.2f} 亿" if millions >= 100 else f"{100 * millions:,} 万"
    return [
        (say("repository", "仓库"), entry.repo),
        ("ModelScope", entry.modelscope),
        (say("revision", "版本"), entry.revision if entry.repo else ""),
        (say("languages", "语言"), _languages(entry)),
        (say("download", "下载大小"), _size(entry)),
        (say("parameters", "参数量"), say(f"{millions} million", chinese)),
    ]


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def _licence(entry: "CatalogEntry") -> str:
    return say(entry.licence, entry.licence_zh or entry.licence)


def _languages(entry: "CatalogEntry") -> str:
    return " ".join("…" if code == "multilingual" else code for code in entry.languages)


def _size(entry: "CatalogEntry") -> str:
    if not entry.repo:
        return say("built in", "内置")
    large = entry.megabytes >= 1000
    return f"{entry.megabytes / 1000:.1f} GB" if large else f"{entry.megabytes} MB"


def _figure(entry: "EmbeddingEntry") -> str:
    if entry.top1 is None:
        return "–"
    return f"{entry.top1:.1f}%" + (" (zh)" if entry.prompts == "zh" else "")


def _refuse_existing(folder: Path) -> None:
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

"""`seesay data convert`: samples for ms-swift, LLaMA-Factory and LLaVA, and back."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seesay.cli.data import Columns, DataFormat, DataPath, OneLanguage, columns_of
from seesay.cli.options import Json
from seesay.cli.output import localized, say, warn
from seesay.errors import ConfigError
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.data.conversations.converting import ConvertConfig, ConvertReport

To = Annotated[
    Literal["seesay", "llava", "ms-swift", "llama-factory", "llama-factory-alpaca"] | None,
    typer.Option(
        "--to",
        help=say(
            "Format to write; the input format is detected from the content.",
            "写出的格式；读入的格式按内容自动识别。",
        ),
    ),
]
NewFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help=say(
            "New folder for the samples and the toolkit's configurations.",
            "存放样本和训练工具配置的新文件夹。",
        ),
    ),
]
CheckAlone = Annotated[
    bool,
    typer.Option(
        "--check",
        help=say(
            "Only check the placeholders and pictures of the samples, and list the bad ones.",
            "只检查样本的占位符和图片，列出有问题的样本。",
        ),
    ),
]
ImageFolder = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="FOLDER",
        help=say(
            "Folder that picture paths are relative to; default: the folder of the file.",
            "图片的相对路径从这个文件夹算起；默认是文件所在的文件夹。",
        ),
    ),
]
CopyFiles = Annotated[
    bool,
    typer.Option(
        "--copy",
        help=say(
            "Copy pictures and videos into the new folder, so that it can be moved.",
            "把图片和视频复制到新文件夹，便于整体移动。",
        ),
    ),
]
Together = Annotated[
    bool,
    typer.Option(
        "--turns",
        help=say(
            "Put all questions about a picture into one conversation; default: one each.",
            "同一张图片的所有问题合成一段多轮对话；默认一问一段。",
        ),
    ),
]
Requests = Annotated[
    list[str] | None,
    typer.Option(
        "--request",
        metavar="TEXT",
        help=say(
            'Also use captions, as answers to this, such as "Describe the picture."; repeatable.',
            "也使用图片描述，作为对这句话的回答，如“描述这张图片。”；可重复使用。",
        ),
    ),
]
AddedFile = Annotated[
    Path | None,
    typer.Option(
        "--added",
        metavar="FILE",
        help=say(
            "File of questions for the records, written by `seesay data vqa`.",
            "为记录附加问题的文件，由 `seesay data vqa` 写出。",
        ),
    ),
]
TrainedModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=say(
            "Model to train in the configurations; default: Qwen3-VL-2B-Instruct.",
            "配置里要训练的模型；默认 Qwen3-VL-2B-Instruct。",
        ),
    ),
]


def convert_data(
    path: DataPath,
    to: To = None,
    out: NewFolder = None,
    check: CheckAlone = False,
    images: ImageFolder = None,
    copy: CopyFiles = False,
    turns: Together = False,
    request: Requests = None,
    added: AddedFile = None,
    model: TrainedModel = None,
    language: OneLanguage = None,
    format: DataFormat = None,
    column: Columns = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import print_json, progress
    from seesay.data.conversations import converting
    from seesay.data.conversations.configurations import DEFAULT_MODEL
    from seesay.data.conversations.records import AskingStyle, requests_of

    _require_use(to, out, check=check)
    records = converting.records_config(
        path,
        languages=("en", "zh") if language is None else (language,),
        columns=columns_of(column or ()),
        images=None if images is None else str(images),
        added=None if added is None else str(added),
        **({} if format is None else {"format": format}),
    )
    config = converting.ConvertConfig(
        records=records,
        target=to or "ms-swift",
        copy=copy,
        style=AskingStyle(together=turns, requests=requests_of(request or ())),
        model=model or DEFAULT_MODEL,
    )
    with progress(say("samples", "样本")) as report:
        if out is None:
            result = converting.check(config, report)
        else:
            result = converting.convert(config, out, report)
    for problem in result.problems:
        warn(localized(problem))
    if json:
        print_json({"folder": None if out is None else str(out), **asdict(result)})
    else:
        _print(result, config, out)
    if result.bad:
        raise typer.Exit(1)


def _require_use(to: str | None, out: Path | None, *, check: bool) -> None:
    if (to is None and out is None) if check else (to and out):
        return
    raise ConfigError(
        Text(
            f"--to {to}, --out {out} and --check {str(check).lower()} do not go together, "
            "expected --to with --out, or --check alone: add or remove options",
            f"--to {to}、--out {out}、--check {str(check).lower()} 不能一起用；应同时给出 --to 和 "
            "--out，或只用 --check；请增减选项",
        )
    )


def _print(result: "ConvertReport", config: "ConvertConfig", out: Path | None) -> None:
    print(
        say(
            f"{result.good:,} of {result.samples:,} samples are good, {result.bad:,} bad; "
            f"{result.placeholders:,} placeholders for {result.images:,} pictures and "
            f"{result.videos:,} videos",
            f"{result.samples:,} 个样本中 {result.good:,} 个可用，{result.bad:,} 个有问题；"
            f"{result.placeholders:,} 个占位符对应 {result.images:,} 张图片和 {result.videos:,} 个"
            "视频",
        )
    )
    if result.unasked:
        print(
            say(
                f"{result.unasked:,} records without questions were skipped",
                f"{result.unasked:,} 条记录没有问题，已跳过",
            )
        )
    if result.placed:
        print(
            say(
                f"{result.placed:,} samples had no placeholder: their pictures were placed before "
                "the first question",
                f"{result.placed:,} 个样本没有占位符，图片已放在第一个问题之前",
            )
        )
    for name, count in result.unread.items():
        print(
            say(
                f"dropped the field `{name}` from {count:,} samples",
                f"已从 {count:,} 个样本去掉字段 `{name}`",
            )
        )
    lost = {
        "system": Text("a system prompt", "系统提示词"),
        "rejected": Text("a rejected answer", "rejected 回答"),
        "turns": Text("several turns in order", "先后有序的多轮"),
    }
    for name, count in result.lost.items():
        what = lost[name]
        print(
            say(
                f"{count:,} samples have {what.en}, which {config.target} ignores in training",
                f"{count:,} 个样本有{what.zh}，{config.target} 训练时会忽略",
            )
        )
    for file, count in result.files.items():
        print(say(f"{out}/{file}: {count:,} samples", f"{out}/{file}：{count:,} 个样本"))
    for file in result.configurations:
        print(f"{out}/{file}")
    if out is not None and config.target == "seesay":
        table = out / next(iter(result.files))
        print(
            f'{say("in a recipe: ", "在配方里写：")}path = "{table}", format = "table", '
            "questions = 2"
        )

"""Options that several commands share, with the same names and help."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seesay.cli.output import say
from seesay.weights.catalog import default_model

if TYPE_CHECKING:
    from seesay.inference.answer import Assistant as AnyAssistant
    from seesay.inference.answering import AnswerConfig

DEFAULT_MODEL = default_model()

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
Adapter = Annotated[
    Path | None,
    typer.Option(
        "--adapter",
        metavar="FOLDER",
        help=say(
            "Put the low-rank adapters in this folder on the model; training and peft write such.",
            "给模型加上这个文件夹里的低秩适配器，由训练或 peft 写出。",
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


Collection = Annotated[
    str | None,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help=say(
            "Name of a collection, or the path of its folder; else the one named default.",
            "资料库的名称，或其文件夹的路径；默认使用名为 default 的资料库。",
        ),
    ),
]
CollectionModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=say(
            "Name from `seesay models`, hub repository, or folder; else that of the collection.",
            "模型名（见 `seesay models`）、仓库名或文件夹；默认沿用资料库的模型。",
        ),
    ),
]
RESULTS, MISFITS = 20, 5  # at most, where no count is given
Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        "-n",
        min=1,
        help=say(
            f"How many results at most; {RESULTS} by default, of which {MISFITS} that hardly fit.",
            f"最多显示多少条结果；默认 {RESULTS} 条，其中不太相符的最多 {MISFITS} 条。",
        ),
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="CONDITION",
        help=say(
            "Only what fits, as in width>=1000, camera=Canon, camera~canon (contains), date=2024; "
            "repeatable.",
            "只要符合条件的，如 width>=1000、camera=Canon、camera~canon（包含）、date=2024；"
            "可重复使用。",
        ),
    ),
]
Folder = Annotated[
    list[Path] | None,
    typer.Option(
        "--folder",
        "-f",
        help=say("Only in this folder and below; repeatable.", "只在此文件夹及其下；可重复使用。"),
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help=say(
            "Only from this day, month or year on, as in 2024-05.",
            "只要此日、月或年以来的，如 2024-05。",
        ),
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help=say("Only up to this day, month or year.", "只要到此日、月或年为止的。"),
    ),
]
Type = Annotated[
    Literal["image", "page", "moment", "text", "table"] | None,
    typer.Option(
        "--type",
        "-t",
        help=say(
            "Only pictures, pages, moments of videos, texts or tables.",
            "只要图片、页面、视频片段、文字或表格。",
        ),
    ),
]
PathsOnly = Annotated[
    bool,
    typer.Option("--paths", help=say("Print paths alone, one per line.", "只打印路径，每行一个。")),
]
Zero = Annotated[
    bool,
    typer.Option(
        "--print0",
        "-0",
        help=say(
            "Print paths alone, each ended by a zero byte, for xargs -0.",
            "只打印路径，以零字节结尾，供 xargs -0 使用。",
        ),
    ),
]
MaxPixels = Annotated[
    str | None,
    typer.Option(
        "--max-pixels",
        metavar="NUMBER",
        help=say(
            "Most pixels of a picture that is decoded, as in 300M; 134M by default.",
            "一张图片最多解码多少像素，如 300M；默认 134M。",
        ),
    ),
]
MaxPages = Annotated[
    int | None,
    typer.Option(
        "--max-pages",
        metavar="NUMBER",
        min=1,
        help=say(
            "Most pages of a document that are read; 5,000 by default.",
            "一份文档最多读取多少页；默认 5,000。",
        ),
    ),
]
MaxFileSize = Annotated[
    str | None,
    typer.Option(
        "--max-file-size",
        metavar="BYTES",
        help=say(
            "Largest file that is opened, as in 2G; by default 268M, for texts and tables 8.4M.",
            "最大读取多大的文件，如 2G；默认 268M，文字和表格默认 8.4M。",
        ),
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="SECONDS",
        min=0.1,
        max=86_400.0,
        help=say(
            "Most seconds that one file or page may take to read; 30 by default.",
            "读取一个文件或一页最多用多少秒；默认 30。",
        ),
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet",
        metavar="FILE",
        help=say(
            "Write a contact sheet too: .png, or .html with the pictures inside.",
            "另存为缩略图总览：.png，或内嵌图片的 .html。",
        ),
    ),
]


Assistant = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help=say(
            "Vision-language model: name from `seesay models`, hub repository or folder; with "
            "--endpoint the endpoint's name of it. Else SEESAY_ASSISTANT, or the built-in one.",
            "视觉语言模型：`seesay models` 里的名称、仓库名或文件夹；配合 --endpoint 时为端点上的"
            "模型名。默认取 SEESAY_ASSISTANT，未设置时用内置模型。",
        ),
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help=say(
            "Ask a model behind an OpenAI-compatible API, as in http://localhost:11434/v1; its key "
            "comes from OPENAI_API_KEY and the like for known hosts, else SEESAY_REMOTE_KEY.",
            "改用兼容 OpenAI 的 API 后面的模型，如 http://localhost:11434/v1；知名主机的密钥取自 "
            "OPENAI_API_KEY 等环境变量，其他取自 SEESAY_REMOTE_KEY。",
        ),
    ),
]
MaxTokens = Annotated[
    int, typer.Option(min=1, help=say("Longest answer in tokens.", "回答最多多少个词元。"))
]
Temperature = Annotated[
    float,
    typer.Option(
        min=0,
        help=say(
            "0 takes the likeliest token each time; larger values vary the answer.",
            "0 总取可能性最大的词元；数值越大，回答越多变。",
        ),
    ),
]
TopP = Annotated[
    float | None,
    typer.Option(
        max=1,
        help=say(
            "Draw from the likeliest tokens that make up this share (0 to 1).",
            "只从合计概率达到此值的最可能词元中抽取（0 到 1）。",
        ),
    ),
]
Beams = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=say(
            "Follow so many beams, at temperature 0; not at an endpoint.",
            "束搜索的束数，温度须为 0；端点不支持。",
        ),
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help=say("Draw the same answer each time.", "固定随机种子，每次得到同样的回答。")),
]


@dataclass(frozen=True, kw_only=True)
class Answering:
    """The options of commands that let a model answer."""

    model: Assistant = None
    adapter: Adapter = None
    endpoint: Endpoint = None
    max_tokens: MaxTokens = 512
    temperature: Temperature = 0.0
    top_p: TopP = None
    beams: Beams = None
    seed: Seed = None
    device: Device = None

    def config(self) -> "AnswerConfig":
        """Raises ConfigError for options that do not go together."""
        from seesay.inference.answering import AnswerConfig

        names = ("max_tokens", "temperature", "top_p", "beams", "seed")
        return AnswerConfig(**{name: getattr(self, name) for name in names})

    def load(self, pictures: int) -> "AnyAssistant":
        """Opens the model to see so many pictures, with a notice on a terminal meanwhile."""
        from seesay.cli.inputs import assistant_name, load_assistant

        name = assistant_name(self.model, self.adapter, self.endpoint)
        return load_assistant(name, self.endpoint, self.device, pictures)


Verifier = Annotated[
    str | None,
    typer.Option(
        "--verifier",
        metavar="NAME",
        help=say(
            "Entailment model, such as xlm-r-xnli, that verifies claims about text, instead of "
            "asking the model that wrote them.",
            "用这个文本蕴含模型（如 xlm-r-xnli）核查依据文字写出的论断，而不是再问写出论断的模型。",
        ),
    ),
]
RerankEvidence = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="NAME",
        help=say(
            "Rerank the evidence with this reranker, as in search.",
            "用这个重排模型给依据重新排序，与 search 相同。",
        ),
    ),
]


def with_answering(
    *, max_tokens: int = 512
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of Answering in place of its parameter `answering`, which Typer,
    knowing no groups of options, could not fill."""
    options = dict(signature(Answering).parameters)
    options["max_tokens"] = options["max_tokens"].replace(default=max_tokens)

    def expand(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def expanded(**given: Any) -> None:
            answering = Answering(**{name: given.pop(name) for name in options})
            command(**given, answering=answering)

        own, parameters = signature(command), list[Parameter]()
        for name, one in own.parameters.items():
            parameters += options.values() if name == "answering" else [one]
        keywords = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
        expanded.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
        expanded.__annotations__ = {one.name: one.annotation for one in keywords}
        return expanded

    return expand


def most_misfits(count: int | None, *, paths: bool) -> int | None:
    """How many results that hardly fit are shown; None for all, since their number was asked for.
    Bare paths go on to other programs, and are those of what fits."""
    if paths:
        return 0
    return MISFITS if count is None else None

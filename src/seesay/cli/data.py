"""`seesay data`: work on the data that models are trained on."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seesay.cli.help import Command, Commands
from seesay.cli.options import Json
from seesay.cli.output import say
from seesay.errors import ConfigError
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.data.balancing import BalanceReport
    from seesay.data.questions.making import Detect, QuestionsReport
    from seesay.data.sources import Format, RecordsConfig
    from seesay.text import Language

SHOWN = 12  # concepts in the printed summary; audit.csv has all

DataPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help=say(
            'Files as a recipe names them: a path, or a pattern in quotes, "shards/*.tar".',
            '与配方里相同的文件：路径，或带引号的通配符，如 "shards/*.tar"。',
        ),
    ),
]
OneLanguage = Annotated[
    Literal["en", "zh"] | None,
    typer.Option("--language", "-l", help=say("Only captions in it.", "只看这种语言的描述。")),
]
Seed = Annotated[int, typer.Option(min=0, help=say("Seed of the draws.", "随机种子。"))]
DataFormat = Annotated[
    Literal["webdataset", "table", "parquet", "chinese-clip"] | None,
    typer.Option(
        "--format",
        help=say("Layout of the files; else by their ending.", "文件格式；默认按扩展名判断。"),
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME=THEIRS",
        help=say(
            "A column with another name, as in image=filepath; repeatable.",
            "列名不同时指明，如 image=filepath；可重复使用。",
        ),
    ),
]
Cap = Annotated[
    int,
    typer.Option(
        min=1,
        help=say(
            "Thin out concepts that more captions than this have. MetaCLIP: 20000 for 400 million.",
            "出现在超过多少条描述中的概念要抽稀。MetaCLIP 对 4 亿对图文取 20000。",
        ),
    ),
]
BalanceFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help=say(
            "New folder for kept.parquet, the list that a recipe reads, and audit.csv.",
            "新文件夹，放配方要读的清单 kept.parquet 和统计表 audit.csv。",
        ),
    ),
]
ConceptFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--concepts",
        "-c",
        metavar="FILE",
        help=say(
            "Further concepts, one on each line, or a JSON list of classes; repeatable.",
            "另外的概念，每行一个，或 JSON 类别表；可重复使用。",
        ),
    ),
]
MinCount = Annotated[
    int,
    typer.Option(
        "--min-count",
        min=0,
        help=say(
            "Captions that must have a word before it counts as a concept; 0: only --concepts "
            "count.",
            "一个词至少出现在多少条描述中才算概念；0 表示只用 --concepts。",
        ),
    ),
]
KeepUnmatched = Annotated[
    bool,
    typer.Option(
        "--keep-unmatched",
        help=say("Keep captions without any of the concepts.", "保留不含任何概念的描述。"),
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help=say("Replace a folder that an earlier run wrote.", "替换以前运行写出的同名文件夹。"),
    ),
]
QuestionFile = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help=say(
            "JSONL file for the questions, which a recipe adds to these records.",
            "写入问答的 JSONL 文件，配方用它给这些记录附加问题。",
        ),
    ),
]
QuestionKind = Annotated[
    Literal["rules", "pope", "preferences"],
    typer.Option(
        help=say(
            "rules: questions of all kinds, for training. pope: whether labelled objects are "
            "there, for evaluation. preferences: questions with a rejected answer about an absent "
            'object, for kind = "preference".',
            "rules：各类问题，用于训练。pope：标注的物体是否在图中，用于评测。preferences：每题另附"
            '一个说错物体的 rejected 回答，用于 kind = "preference"。',
        ),
    ),
]
AbsentStrategy = Annotated[
    Literal["random", "popular", "adversarial"],
    typer.Option(help=say("How POPE draws absent objects.", "POPE 怎样选取不在图中的物体。")),
]
Objects = Annotated[
    int,
    typer.Option(
        min=1,
        help=say(
            "Number of present and of absent objects that pope and preferences ask about per "
            "picture.",
            "pope 和 preferences 对每张图片询问几个在图中的物体和几个不在图中的物体。",
        ),
    ),
]
Most = Annotated[
    int,
    typer.Option(
        min=2,
        help=say(
            "Most questions about each picture in each language.",
            "每张图片每种语言最多几个问题。",
        ),
    ),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=say("JSON list of the classes.", "JSON 类别表。"),
    ),
]
LexiconFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=say(
            "Words and phrasings, instead of those of the package.",
            "词和问法的 TOML 文件，代替自带的词表。",
        ),
    ),
]
DetectorFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help=say(
            "YOLOX file in ONNX: looks for objects in pictures that have no labels.",
            "YOLOX 的 ONNX 文件：图片没有物体标签时，由它检测。",
        ),
    ),
]
SampleCount = Annotated[
    int,
    typer.Option(
        min=0,
        help=say(
            "Print so many questions, drawn at random, with the captions.",
            "随机打印若干问答及图片描述，供检查。",
        ),
    ),
]

ContrastFolder = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        help=say(
            "Folder for a JSONL file per category and the pictures.",
            "输出文件夹，存放图片和每个类别的 JSONL 文件。",
        ),
    ),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        "-c",
        metavar="NAME",
        help=say(
            "attribute, binding, space, count, negation, small, sibling or long; repeatable. "
            "Default: all that the labels allow.",
            "attribute、binding、space、count、negation、small、sibling 或 long；可重复使用。"
            "默认是标注能生成的全部类别。",
        ),
    ),
]
MostContrasts = Annotated[
    int,
    typer.Option(
        "--most",
        min=1,
        help=say(
            "Maximum number of contrasts per category and language.",
            "每个类别、每种语言最多多少组。",
        ),
    ),
]
ImageFolder = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="FOLDER",
        help=say("Folder that paths in a table are relative to.", "表格里的路径从这个文件夹算起。"),
    ),
]

app = typer.Typer(
    cls=Commands,
    help=say("Prepare the data that models are trained on.", "准备训练数据。"),
)


@app.command(
    "balance",
    cls=Command,
    help=say(
        "Choose captions so that frequent concepts stop crowding out rare ones, as MetaCLIP does.",
        "按概念筛选图文对，避免常见概念挤占罕见概念，做法同 MetaCLIP。",
    ),
)
def balance_data(
    path: DataPath,
    cap: Cap,
    out: BalanceFolder,
    concepts: ConceptFiles = None,
    min_count: MinCount = 20,
    language: OneLanguage = None,
    seed: Seed = 0,
    keep_unmatched: KeepUnmatched = False,
    format: DataFormat = None,
    column: Columns = None,
    force: Force = False,
    json: Json = False,
) -> None:
    from seesay.cli.output import print_json, progress
    from seesay.data.balancing import BalanceConfig, balance
    from seesay.data.concepts import read_concepts

    records = records_of(path, format, language, column)
    config = BalanceConfig(
        cap=cap,
        seed=seed,
        min_count=min_count,
        concepts=tuple(one for file in concepts or () for one in read_concepts(file)),
        unmatched=keep_unmatched,
    )
    with progress(say("reading captions", "正在读取描述")) as report:
        result = balance(records, config, out, replace=force, report=report)
    if json:
        print_json({"folder": str(out), **asdict(result)})
    else:
        _print(result, out)


@app.command(
    "vqa",
    cls=Command,
    help=say(
        "Make questions and answers in Chinese and English from captions, object labels and "
        "classes, by rules.",
        "按规则从图片描述、物体标签和类别名生成中英文问答。",
    ),
)
def make_vqa(
    path: DataPath,
    out: QuestionFile,
    kind: QuestionKind = "rules",
    strategy: AbsentStrategy = "random",
    objects: Objects = 3,
    most: Most = 12,
    classes: Classes = None,
    lexicon: LexiconFile = None,
    detector: DetectorFile = None,
    sample: SampleCount = 0,
    language: OneLanguage = None,
    seed: Seed = 0,
    format: DataFormat = None,
    column: Columns = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import print_json, progress
    from seesay.data.questions.making import QuestionsConfig, make_questions

    records = records_of(path, format, language, column)
    if classes is not None:
        records = replace(records, classes=str(classes), templates={"en": ("{}",)})
    config = QuestionsConfig(
        most=most, seed=seed, kind=kind, strategy=strategy, objects=objects, lexicon=lexicon
    )
    detect = None if detector is None else _detect_with(detector)
    with progress(say("records", "记录")) as report:
        result = make_questions(records, config, out, detect=detect, sample=sample, report=report)
    if json:
        print_json({"file": str(out), **asdict(result)})
    else:
        _print_questions(result, out)


@app.command(
    "contrasts",
    cls=Command,
    help=say(
        "Make pairs of a caption and a false one that differs in one thing from labels, in Chinese "
        "and English, to test composition.",
        "根据标注生成只差一处的正确与错误描述（中英文），用于评测组合理解。",
    ),
)
def write_contrasts_of(
    path: DataPath,
    out: ContrastFolder,
    category: Categories = None,
    most: MostContrasts = 200,
    images: ImageFolder = None,
    language: OneLanguage = None,
    seed: Seed = 0,
    format: DataFormat = None,
    column: Columns = None,
    json: Json = False,
) -> None:
    from collections import Counter

    from seesay.cli.output import print_json, print_table
    from seesay.data.questions.contrasts import CATEGORIES, make_contrasts, write_contrasts
    from seesay.data.sources import require_known

    require_known("--category", category or (), CATEGORIES)
    records = records_of(path, format, language, column)
    records = replace(records, images=None if images is None else str(images))
    made = make_contrasts(records, category, most=most, seed=seed)  # type: ignore[arg-type]
    files = write_contrasts(made, out)
    counts = Counter((one.category, one.language) for one in made)
    if json:
        rows = [{"category": c, "language": of, "contrasts": n} for (c, of), n in counts.items()]
        print_json({"files": list(map(str, files)), "counts": rows})
        return
    heads = [say("category", "类别"), say("language", "语言"), say("contrasts", "组数")]
    print_table(heads, [[c, of, f"{n:,}"] for (c, of), n in counts.items()])
    pattern = out / "*.jsonl"
    print(
        say(
            f'in a suite: kind = "composition", loader = "contrasts", path = "{pattern}"',
            f'在套件里写：kind = "composition"、loader = "contrasts"、path = "{pattern}"',
        )
    )


def _detect_with(file: Path) -> "Detect":
    from seesay.data.questions.making import DOUBTFUL
    from seesay.inference.detector import load_detector

    detector = load_detector(file, threshold=DOUBTFUL)

    return lambda record: [(one.label.en, one.score) for one in detector.detect(record.image)]


def records_of(
    path: str, format: "Format | None", language: "Language | None", column: "list[str] | None"
) -> "RecordsConfig":
    """The records that a command's options name. Raises ConfigError."""
    from seesay.data.sources import RecordsConfig, format_of

    return RecordsConfig(
        path=path,
        format=format or format_of(path),
        languages=("en", "zh") if language is None else (language,),
        columns=columns_of(column or ()),
    )


def columns_of(given: "list[str] | tuple[str, ...]") -> dict[str, str]:
    """The columns that --column names, ours -> theirs. Raises ConfigError."""
    columns = {}
    for pair in given:
        ours, _, theirs = pair.partition("=")
        if not ours or not theirs:
            raise ConfigError(
                Text(
                    f"--column {pair} names no column, expected NAME=THEIRS: write it as in "
                    "image=filepath",
                    f"--column {pair} 没有指明列；应为 NAME=THEIRS；请写成 image=filepath 这样",
                )
            )
        columns[ours] = theirs
    return columns


def _print(result: "BalanceReport", out: Path) -> None:
    from seesay.cli.output import percent, print_table

    heads = [
        say("concept", "概念"),
        say("language", "语言"),
        say("before", "之前"),
        say("after", "之后"),
        say("probability", "保留概率"),
    ]
    rows = [
        [c.concept, c.language, f"{c.before}", f"{c.after}", f"{c.probability:.3f}"]
        for c in result.concepts[:SHOWN]
    ]
    print_table(heads, rows)
    thinned = sum(one.probability < 1 for one in result.concepts)
    absent = sum(one.before == 0 for one in result.concepts)
    print(
        say(
            f"{len(result.concepts):,} concepts, {thinned:,} thinned out, {absent:,} in no "
            f"caption; {result.unmatched:,} captions without any; {result.without_captions:,} "
            f"images without captions, {result.damaged:,} damaged",
            f"共 {len(result.concepts):,} 个概念，抽稀 {thinned:,} 个，{absent:,} 个没有出现；"
            f"不含概念的描述 {result.unmatched:,} 条；没有描述的图片 {result.without_captions:,} "
            f"张，损坏的 {result.damaged:,} 张",
        )
    )
    share = percent(result.kept / result.captions)
    print(
        say(
            f"kept {result.kept:,} of {result.captions:,} captions ({share}), dropped "
            f"{result.dropped:,}; {result.kept_records:,} of {result.records:,} images keep one",
            f"{result.captions:,} 条描述保留 {result.kept:,} 条（{share}），去掉 "
            f"{result.dropped:,} 条；{result.records:,} 张图片中有 {result.kept_records:,} 张留下",
        )
    )
    print(f'{say("in a recipe: ", "在配方里写：")}kept = "{out / "kept.parquet"}"')


def _print_questions(result: "QuestionsReport", out: Path) -> None:
    from seesay.cli.output import percent, print_table

    for one in result.examples:
        print(
            f"{one.key}: {one.question} {one.answer}{f' / {one.rejected}' if one.rejected else ''}"
        )
        print(f"    {' | '.join((*one.captions, *one.objects))}")
    heads = [
        say("kind", "类型"),
        say("language", "语言"),
        say("questions", "问题数"),
        say("yes", "答“有”"),
    ]
    rows = [
        [one.kind, one.language, f"{one.questions:,}", "" if one.yes is None else percent(one.yes)]
        for one in result.counts
    ]
    print_table(heads, rows)
    total = sum(one.questions for one in result.counts)
    print(
        say(
            f"{total:,} questions about {result.asked:,} of {result.records:,} pictures, "
            f"{result.damaged:,} damaged",
            f"对 {result.records:,} 张图片中的 {result.asked:,} 张提出 {total:,} 个问题，损坏的 "
            f"{result.damaged:,} 张",
        )
    )
    print(f'{say("in a recipe: ", "在配方里写：")}added = "{out}"')

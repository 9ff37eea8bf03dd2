"""`seesay classify`: which of the given labels fits each picture, and how often that is right."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seesay.cli.options import DEFAULT_MODEL, Adapter, Device, Json, Model
from seesay.cli.output import language as spoken_language
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.inference.classifier import Prediction, ZeroShotClassifier

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATHS",
        help=say("Pictures, or folders with pictures in them.", "图片，或者含有图片的文件夹。"),
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        "-l",
        help=say(
            'Class names as in "cat,dog", or a file with one per line; "tabby=striped cat" '
            "shows one name and asks for another.",
            "类别名，如“猫，狗”，或每行一个类别的文件；“狸花=带条纹的猫”显示前者，提问用后者。",
        ),
    ),
]
Language = Annotated[
    Literal["en", "zh"] | None,
    typer.Option(
        help=say("Language of the labels; else told from each.", "类别名的语言；默认逐个判断。")
    ),
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        help=say(
            'Sentence instead of the built-in ones, as in "a photo of a {}"; repeatable.',
            "代替内置句式的句子，如“一张{}的照片”；可重复使用。",
        )
    ),
]
Templates = Annotated[
    Path | None,
    typer.Option(help=say("File with one such sentence per line.", "每行一个句式的文件。")),
]
Top = Annotated[
    int, typer.Option(min=1, help=say("How many of the best labels to show.", "显示前几个类别。"))
]
NoneAbove = Annotated[
    float | None,
    typer.Option(
        help=say(
            'Answer "none of these" where the chance that no label fits is above this '
            "(0 to 1; usual 0.9).",
            "若所有类别都不符合的可能性高于此值，就回答“都不是”（0 到 1，通常 0.9）。",
        )
    ),
]
NoNone = Annotated[
    bool, typer.Option("--no-none", help=say("Always answer with a label.", "总是回答一个类别。"))
]
Evaluate = Annotated[
    bool,
    typer.Option(
        "--evaluate",
        help=say(
            "PATHS is one folder with a sub-folder per class: measure how often answers are right.",
            "评测：给出每个类别一个子文件夹的目录，测量回答的准确率。",
        ),
    ),
]
Csv = Annotated[
    Path | None, typer.Option("--csv", help=say("Write a CSV file too.", "另存为 CSV 文件。"))
]
Html = Annotated[
    Path | None,
    typer.Option(help=say("With --evaluate: write a page too.", "配合 --evaluate：另存为网页。")),
]


def classify(
    paths: Paths,
    labels: Labels = None,
    language: Language = None,
    template: Template = None,
    templates: Templates = None,
    top: Top = 3,
    none_above: NoneAbove = None,
    no_none: NoNone = False,
    evaluate: Evaluate = False,
    csv: Csv = None,
    html: Html = None,
    model: Model = DEFAULT_MODEL,
    adapter: Adapter = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import load_embedder, warn_about_language
    from seesay.cli.output import progress
    from seesay.data.files import check_folder, read_lines
    from seesay.inference.classifier import NONE_ABOVE, ZeroShotClassifier

    for file in filter(None, (csv, html)):
        check_folder(file)
    names = _labels(labels, paths, evaluate=evaluate)
    sentences = [*(template or ()), *(read_lines(templates) if templates else ())]
    usual = NONE_ABOVE if none_above is None else none_above
    embedder = load_embedder(model, device, adapter)
    warn_about_language(model, names.values())
    with progress(say("label sentences", "类别的句子")) as report_progress:
        classifier = ZeroShotClassifier(
            embedder,
            names,
            templates=sentences if template or templates else None,
            language=language,
            none_above=None if no_none else usual,
            on_progress=report_progress,
        )
    if evaluate:
        _evaluate(classifier, paths[0], csv, html, as_json=json)
    else:
        print_answers(
            partial(classifier.classify, top=top),
            paths,
            about={
                "model": classifier.embedder.name,
                "labels": list(classifier.labels),
                "none_above": classifier.none_above,
            },
            measure=say("share", "占比"),
            csv=csv,
            as_json=json,
        )


def _labels(given: str | None, paths: list[Path], *, evaluate: bool) -> dict[str, str]:
    from seesay.errors import ConfigError
    from seesay.evaluation.data_sets import find_classes
    from seesay.inference.labels import folder_labels, read_labels

    if evaluate and len(paths) != 1:
        raise ConfigError(
            Text(
                f"--evaluate got {len(paths)} paths; expected one folder with a sub-folder per "
                "class; give that folder alone",
                f"--evaluate 得到了 {len(paths)} 个路径；应为一个文件夹，其中每个类别一个子文件夹；"
                "请只给出这个文件夹",
            )
        )
    if given is not None:
        return read_labels(given)
    if not evaluate:
        raise ConfigError(
            Text(
                "no labels were given; expected class names; "
                'add them as in --labels "cat,dog" or --labels "猫，狗"',
                "没有给出类别；应有类别名；请补上，如 --labels “猫，狗”",
            )
        )
    return folder_labels(find_classes(paths[0]))


def _evaluate(
    classifier: "ZeroShotClassifier",
    folder: Path,
    csv: Path | None,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    from seesay.cli.output import fail_unless_whole, print_json, print_table, progress
    from seesay.data.files import write_text
    from seesay.evaluation.report import tables, to_csv, to_html
    from seesay.evaluation.zero_shot import evaluate_zero_shot

    with progress(say("pictures", "图片")) as report_progress:
        report = evaluate_zero_shot(classifier, folder, on_progress=report_progress)
    if csv is not None:
        write_text(csv, to_csv(report))
    if html is not None:
        write_text(html, to_html(report, spoken_language()))
    if as_json:
        print_json(asdict(report))
    else:
        for table in tables(report, spoken_language()):
            print_table(table.head, table.rows, table.title)
    total = report.images + len(report.failures)
    fail_unless_whole(report.failures, total, listed=as_json)


def print_answers(
    ask: Callable[..., Any],
    paths: Sequence[Path],
    *,
    about: Mapping[str, Any],
    measure: str,
    csv: Path | None = None,
    as_json: bool,
) -> None:
    """Asks for a prediction for each picture and prints them: `about` stands first in the JSON,
    `measure` says in the table what the numbers are."""
    from seesay.cli.inputs import collect_images
    from seesay.cli.output import fail_unless_whole, print_json, progress
    from seesay.data.files import write_text

    files, failures = collect_images(paths)
    with progress(say("pictures", "图片")) as report_progress:
        result = ask(files, on_progress=report_progress)
    failures += [(str(files[f.index]), str(f.error)) for f in result.failures]
    sources = [str(files[row]) for row in result.rows]
    if csv is not None:
        write_text(csv, _to_csv(sources, result.predictions, failures))
    if as_json:
        images = [
            {"source": source, **asdict(prediction)}
            for source, prediction in zip(sources, result.predictions, strict=True)
        ]
        failed = [{"source": source, "error": error} for source, error in failures]
        print_json({**about, "images": images, "failures": failed})
    else:
        _print_table(sources, result.predictions, measure)
    fail_unless_whole(failures, len(sources) + len(failures), listed=as_json)


def _print_table(sources: list[str], predictions: Sequence[Any], measure: str) -> None:
    from seesay.cli.output import percent, print_table

    rows = []
    for source, prediction in zip(sources, predictions, strict=True):
        none = say("none of these", "都不是")
        scores = [f"{score.label} {score.probability:.0%}" for score in prediction.ranked]
        if prediction.label is None:
            rows.append([source, none, "", ", ".join(scores)])
        else:
            rest = ", ".join(scores[1:])
            rows.append([source, prediction.label, percent(prediction.probability), rest])
    if rows:
        heads = [say("picture", "图片"), say("answer", "回答"), measure]
        print_table([*heads, say("next best", "其次")], rows)


def _to_csv(
    sources: list[str], predictions: "tuple[Prediction, ...]", failures: list[tuple[str, str]]
) -> str:
    import io

    from seesay.data.tables import write_csv

    stream = io.StringIO()
    columns = ("label", "none", "probability", "margin", "chance")
    places = max((len(p.ranked) for p in predictions), default=0)
    ranks = [f"{name}_{place + 1}" for place in range(places) for name in ("label", "probability")]
    rows: list[list[object]] = [["source", *columns, *ranks, "error"]]
    for source, prediction in zip(sources, predictions, strict=True):
        ranked = [cell for s in prediction.ranked for cell in (s.label, s.probability)]
        rows.append([source, *(getattr(prediction, c) for c in columns), *ranked, ""])
    rows += ([source, *[""] * (len(columns) + len(ranks)), error] for source, error in failures)
    write_csv(stream, rows)
    return stream.getvalue()

"""`seesay probe`: fit a classifier to a model's frozen vectors, measure it, and use it."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seesay.cli.classify import print_answers
from seesay.cli.options import DEFAULT_MODEL, Adapter, Device, Json
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.evaluation.probing import ProbeReport

Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA",
        help=say(
            "A folder with a sub-folder per class, or a table with the columns image and label; "
            "with --predict, pictures and folders.",
            "每个类别一个子文件夹的目录，或含 image、label 两列的表格；"
            "使用 --predict 时为图片或文件夹。",
        ),
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help=say("Folder to write the probe to.", "保存探针的文件夹。")),
]
Test = Annotated[
    Path | None,
    typer.Option(
        help=say(
            "Measure on these pictures; else a fifth of each class is held out.",
            "在这些图片上测量；默认从每个类别留出五分之一。",
        ),
    ),
]
Predict = Annotated[
    Path | None,
    typer.Option(
        metavar="PROBE",
        help=say("Fit nothing; classify DATA by this probe.", "不再训练，用这个探针给图片分类。"),
    ),
]
Method = Annotated[
    Literal["linear", "tip", "tip-trained"],
    typer.Option(
        help=say(
            "Logistic regression; or for few pictures Tip-Adapter, zero-shot with votes of the "
            "nearest ones, which trains nothing, or whose keys are trained for seconds.",
            "逻辑回归（linear）；图片很少时可用 Tip-Adapter，在零样本上加相近图片的投票，"
            "不训练（tip），或用几秒训练其中的键（tip-trained）。",
        ),
    ),
]
Shots = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=say(
            "Learn from so many pictures of each class, drawn by --seed; else from all.",
            "每个类别只用这么多张图片学习，由 --seed 抽取；默认用全部。",
        ),
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        "-l",
        help=say(
            'What zero-shot calls the classes, as in "n02123045=tabby cat", or a file of such '
            "lines; else by their own names.",
            "零样本分类时各类别的叫法，如“n02123045=虎斑猫”，或每行一个的文件；默认用类别名。",
        ),
    ),
]
Top = Annotated[
    int,
    typer.Option(
        min=1,
        help=say("With --predict: how many classes to show.", "配合 --predict：显示前几个类别。"),
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        help=say("Which pictures are held out and drawn.", "决定留出和抽取哪些图片。"),
    ),
]
ModelOrNone = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=say(
            f"Name from `seesay models`, hub repository, or folder; by default {DEFAULT_MODEL}, "
            "with --predict that of the probe.",
            f"模型名（见 `seesay models`）、仓库名或文件夹；默认为 {DEFAULT_MODEL}，"
            "使用 --predict 时为探针自己的模型。",
        ),
    ),
]


def probe(
    paths: Paths,
    out: Out = None,
    test: Test = None,
    predict: Predict = None,
    method: Method = "linear",
    shots: Shots = None,
    labels: Labels = None,
    top: Top = 3,
    seed: Seed = 0,
    model: ModelOrNone = None,
    adapter: Adapter = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.inputs import load_embedder
    from seesay.cli.output import fail_unless_whole, print_json, progress
    from seesay.errors import ConfigError
    from seesay.evaluation.probing import train_probe
    from seesay.inference.labels import read_labels
    from seesay.inference.probe import check_replaceable

    if predict is not None:
        _predict(predict, paths, top, model, adapter, device, as_json=json)
        return
    if len(paths) != 1:
        raise ConfigError(
            Text(
                f"a probe is fitted to one set of pictures, and {len(paths)} paths were given; "
                "expected a folder with a sub-folder per class, or a table; name one, or classify "
                "them by --predict PROBE",
                f"探针用一份图片训练，却给出了 {len(paths)} 个路径；"
                "应为每个类别一个子文件夹的目录，或一张表格；请只给一个，"
                "或用 --predict 探针 给它们分类",
            )
        )
    if out is not None:
        check_replaceable(out)
    names = read_labels(labels) if labels is not None else None
    embedder = load_embedder(model or DEFAULT_MODEL, device, adapter)
    with progress(say("pictures", "图片")) as report_progress:
        fitted, report = train_probe(
            embedder,
            paths[0],
            method=method,
            shots=shots,
            test=test,
            names=names,
            seed=seed,
            on_progress=report_progress,
        )
    if out is not None:
        fitted.save(out, asdict(report))
    if json:
        print_json({**asdict(report), "out": None if out is None else str(out)})
    else:
        _show(report, out)
    total = report.fitted + report.tested + len(report.failures)
    fail_unless_whole(report.failures, total, listed=json)


def _show(report: "ProbeReport", out: Path | None) -> None:
    from seesay.cli.output import percent, print_table

    one, two = report.probe, report.zero_shot
    own = say("linear probe", "线性探针") if report.method == "linear" else report.method
    heads = [own, say("zero-shot", "零样本")]
    measures = {
        "top-1": (one.top1, two.top1),
        "top-5": (one.top5, two.top5),
        say("mean per class", "各类平均"): (one.mean_per_class, two.mean_per_class),
    }
    rows = [[name, *map(percent, pair)] for name, pair in measures.items() if None not in pair]
    print_table([say("accuracy", "准确率"), *heads], rows)
    classes = [[c.label, c.support, percent(c.probe), percent(c.zero_shot)] for c in report.classes]
    print_table([say("class", "类别"), say("pictures", "图片数"), *heads], classes)
    settings = {"l2": report.l2, "alpha": report.alpha, "beta": report.beta}
    chosen = [f"{name} {value:.3g}" for name, value in settings.items() if value is not None]
    print(
        say(
            f"fitted to {report.fitted} pictures with {', '.join(chosen)}, tested on "
            f"{report.tested} others",
            f"用 {report.fitted} 张图片训练（{'，'.join(chosen)}），"
            f"在另外 {report.tested} 张上测试",
        )
    )
    if out is not None:
        print(say(f"the probe is in {out}", f"探针已存入 {out}"))


def _predict(
    folder: Path,
    paths: Sequence[Path],
    top: int,
    model: str | None,
    adapter: Path | None,
    device: str | None,
    *,
    as_json: bool,
) -> None:
    from seesay.cli.inputs import load_embedder
    from seesay.inference.probe import Probe
    from seesay.weights.hub import split_adapter

    fitted = Probe.load(folder)
    own = fitted.model if adapter is None else split_adapter(fitted.model)[0]
    embedder = load_embedder(model or own, device, adapter)
    print_answers(
        partial(fitted.classify, embedder, top=top),
        paths,
        about={"model": embedder.name, "labels": list(fitted.labels)},
        measure=say("probability", "概率"),
        as_json=as_json,
    )

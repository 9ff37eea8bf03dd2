"""`seesay interpolate`: a model between one and what it became by training further."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Device, Json
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.evaluation.interpolation import Point

Before = Annotated[
    str,
    typer.Argument(
        metavar="BEFORE",
        help=say("The model that training began with: a name or folder.", "训练前的模型。"),
    ),
]
After = Annotated[
    str,
    typer.Argument(
        metavar="AFTER", help=say("What it became: a name or folder.", "训练后的模型。")
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help=say(
            "How far to go: 0 is BEFORE, 1 is AFTER. By default the best on --data, else 0.5.",
            "取两者之间的哪一点：0 为训练前，1 为训练后。默认取 --data 上最好的，否则为 0.5。",
        ),
    ),
]
Alphas = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help=say(
            "Which ones to measure on --data, as in 0,0.5,1.",
            "在 --data 上测量哪些点，如 0,0.5,1。",
        ),
    ),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        help=say(
            "Measure on a folder with a sub-folder per class, or on captions in a table or tar "
            "shards; repeatable.",
            "用于测量的数据：每个类别一个子文件夹的目录，或带描述的表格、tar 分片；可重复使用。",
        ),
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help=say("Folder for the new model.", "新模型的文件夹。")),
]


def interpolate(
    before: Before,
    after: After,
    alpha: Alpha = None,
    out: Out = None,
    data: Data = None,
    alphas: Alphas = None,
    device: Device = None,
    json: Json = False,
) -> None:
    from seesay.cli.output import print_json, working
    from seesay.evaluation.interpolation import best_point, measure_alphas
    from seesay.inference.devices import choose_device
    from seesay.weights.interpolation import interpolate, load_by_name
    from seesay.weights.saving import save_bundle

    numbers = _numbers(alphas)
    _check(out, data, (before, after))
    with working(say("loading both models", "正在加载两个模型")):
        first, second = load_by_name(before), load_by_name(after)
        mixed = interpolate(first, second, 0.5 if alpha is None else alpha)  # which refuses two
    points: list[Point] = []
    if data:
        with working(say("measuring", "正在测量")):
            points = measure_alphas(first, second, numbers, data, device=choose_device(device))
    if alpha is None and points:
        alpha = best_point(points).alpha
        mixed = interpolate(first, second, alpha)
    alpha = 0.5 if alpha is None else alpha
    if out is not None:
        save_bundle(out, mixed)
    if json:
        place = None if out is None else str(out)
        print_json({"alpha": alpha, "model": place, "points": [asdict(p) for p in points]})
    else:
        _show(points, alpha, out)


def _numbers(given: str | None) -> list[float]:
    from seesay.errors import ConfigError
    from seesay.evaluation.interpolation import ALPHAS

    if given is None:
        return list(ALPHAS)
    try:
        numbers = [float(part) for part in given.replace("，", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 <= number <= 1 for number in numbers):
        raise ConfigError(
            Text(
                f"--alphas is {given!r}; expected numbers from 0 to 1; write them as in 0,0.5,1",
                f"--alphas 的值是 {given!r}；应为 0 到 1 的数；请写成 0,0.5,1 这样",
            )
        )
    return numbers


def _check(out: Path | None, data: Sequence[Path] | None, models: Sequence[str]) -> None:
    from seesay.errors import ConfigError
    from seesay.weights.saving import check_replaceable

    if out is None and not data:
        raise ConfigError(
            Text(
                "there is nothing to do with the models between these; expected a folder to write "
                "one to, or data to measure them on; add --out FOLDER or --data PATH",
                "没有说明要做什么；应给出存放新模型的文件夹，或用来测量的数据；"
                "请加上 --out 文件夹 或 --data 路径",
            )
        )
    if out is None:
        return
    if any(Path(model).expanduser().resolve() == out.resolve() for model in models):
        raise ConfigError(
            Text(
                f"--out is {out}, one of the two models; expected another folder, since both are "
                "still needed; choose one",
                f"--out 是 {out}，即两个模型之一；两者都还要用，应写到别处；请换一个文件夹",
            )
        )
    check_replaceable(out)


def _show(points: "Sequence[Point]", alpha: float, out: Path | None) -> None:
    from seesay.cli.output import print_table

    if points:
        names = list(points[0].measures)
        rows = [[f"{p.alpha:g}", *(f"{p.measures[name]:.3f}" for name in names)] for p in points]
        print_table(["alpha", *names], rows)
    if out is not None:
        print(
            say(
                f"the model at alpha {alpha:g} is in {out}",
                f"alpha 为 {alpha:g} 的模型已存入 {out}",
            )
        )

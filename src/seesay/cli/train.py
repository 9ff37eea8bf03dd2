"""`seesay train`: a recipe in, a model folder out.

Over several processes: torchrun --nproc-per-node 4 --no-python seesay train RECIPE
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seesay.cli.options import Json
from seesay.cli.output import say
from seesay.text import Text

if TYPE_CHECKING:
    from seesay.training.recipe import Recipe
    from seesay.training.run import Trained

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help=say("Change a setting of the recipe; repeatable.", "修改配方中的一项；可重复使用。"),
    ),
]


def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECIPE",
            help=say("Recipe in TOML, as in recipes/.", "TOML 配方文件，见 recipes/。"),
        ),
    ] = None,
    set_: Set = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help=say(
                "Go on from the last checkpoint, to the same result as without the break.",
                "从最近的检查点继续训练，结果与不中断时完全相同。",
            ),
        ),
    ] = False,
    reference: Annotated[
        bool,
        typer.Option(
            "--reference",
            help=say("Print what a recipe may set, and stop.", "显示配方的全部可设项后退出。"),
        ),
    ] = False,
    json: Json = False,
) -> None:
    from seesay.errors import ConfigError

    if reference:
        _print_reference(json)
        return
    if recipe is None:
        raise ConfigError(_no_recipe())
    from seesay.training.recipe import read_recipe
    from seesay.training.run import train as run

    settings = read_recipe(recipe, tuple(set_ or ()))
    try:
        trained = run(settings, resume=resume)
    except ConfigError:
        raise
    except BaseException:
        _tell_how_to_go_on(settings)
        raise
    if trained.first:  # of several processes one speaks
        _show(trained, as_json=json)


def _tell_how_to_go_on(recipe: "Recipe") -> None:
    from os import environ

    from seesay.cli.output import warn
    from seesay.training.run_folder import checkpoints_of

    steps = checkpoints_of(recipe).steps()
    if steps and environ.get("RANK", "0") == "0":  # of several processes one speaks
        warn(
            say(
                f"the training stopped; its state after step {steps[-1]} is kept: go on with the "
                "same command and --resume",
                f"训练已停止，第 {steps[-1]} 步的状态已保存；在同一命令后加上 --resume 即可继续",
            )
        )


def _show(trained: "Trained", *, as_json: bool) -> None:
    from seesay.cli.output import print_json

    if as_json:
        print_json(
            {
                "model": str(trained.folder),
                "step": trained.step,
                "before": trained.before,
                "dev": trained.measured,
            }
        )
        return
    _print_gain(trained)
    step, folder = trained.step, trained.folder
    if trained.already_finished:
        told = say(
            f"nothing was left to train; the model of step {step} is in {folder}",
            f"训练早已完成，无需继续；第 {step} 步的模型在 {folder}",
        )
    else:
        told = say(f"the model of step {step} is in {folder}", f"第 {step} 步的模型已存入 {folder}")
    print(told)


def _print_gain(trained: "Trained") -> None:
    """What was measured before the first step, if it was, and of the model that was kept."""
    from seesay.cli.output import print_table

    rows = []
    for name, value in trained.measured.items():
        before = trained.before.get(name)
        compared = ["–", f"{value:.3f}", "–"]
        if before is not None:
            compared = [f"{before:.3f}", f"{value:.3f}", f"{value - before:+.3f}"]
        rows.append([name, *compared])
    if rows:
        heads = [say("measure", "指标"), say("before", "训练前"), say("after", "训练后")]
        print_table([*heads, say("gain", "提升")], rows)


def _no_recipe() -> Text:
    return Text(
        "there is no recipe; expected a TOML file, such as those in recipes/; name one, or see "
        "what it may hold: seesay train --reference",
        "没有给出配方；应为 TOML 文件，如 recipes/ 里的；请写上一个，"
        "或查看可设的项：seesay train --reference",
    )


def _print_reference(json: bool) -> None:
    from seesay.cli.output import print_json
    from seesay.training.recipe_reference import recipe_reference, recipe_settings

    if json:
        print_json(recipe_settings())
    else:
        print(recipe_reference())

"""`seesay index --model NAME` without paths: everything over to another model."""

from typing import TYPE_CHECKING

import typer

from seesay.cli.messages import say

if TYPE_CHECKING:
    from seesay.search.reading.files import ReadLimits


def switch(
    name: str | None, model: str, device: str | None, *, limits: "ReadLimits", as_json: bool
) -> None:
    """Embed the whole collection with this model; searches use the former one until then."""
    from seesay.cli.collections.index import STOPPED, say_how_to_go_on
    from seesay.cli.collections.opened import opened
    from seesay.cli.collections.shown import duration
    from seesay.cli.output import print_json, progress, warn

    with opened(name, device=device) as here:
        former = here.model.name
        bring(model)
        with progress(say("files", "文件")) as tell:
            report = here.switch_model(
                model,
                limits=limits,
                on_progress=lambda p: tell(p.done, p.total or 0, p.failed),
            )
        if as_json:
            from seesay.search.report.plain import to_plain

            print_json({"model": here.model.name, "former": former, **to_plain(report)})
        elif report.complete:
            took = duration(report.seconds)
            print(
                say(
                    f"searches use {here.model.name} now: embedded {report.embedded:,} · skipped "
                    f"{report.failed:,} · {took}",
                    f"现在使用 {here.model.name} 查找：已计算 {report.embedded:,} · 跳过 "
                    f"{report.failed:,} · {took}",
                )
            )
            if former != here.model.name:
                warn(
                    say(
                        f"the vectors of {former} are kept for switching back; to remove them: "
                        "seesay rebuild --forget-unused",
                        f"{former} 的向量仍保留，便于换回；移除：seesay rebuild --forget-unused",
                    )
                )
    if not report.complete:
        say_how_to_go_on()
        raise typer.Exit(STOPPED)


def bring(model: str) -> None:
    """Download a model that is not here yet, with a bar."""
    from seesay.cli.models import bytes_bar
    from seesay.weights.hub import locate

    with bytes_bar(model) as on_progress:
        locate(model, on_progress=on_progress)

"""`openreels train RECIPE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.terminal import number_above_zero, whole_number

app = typer.Typer()


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="What to train: pocket.", show_default=False)],
    workdir: Annotated[Path, typer.Option(metavar="DIR", help="Checkpoints, logs and samples.")] = Path("runs/pocket"),
    minutes: Annotated[
        float | None, typer.Option(metavar="M", parser=number_above_zero, help="Wall-clock budget of this call.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", parser=whole_number(1, 10**9), help="Length of each stage instead.")
    ] = None,
    part: Annotated[str | None, typer.Option(metavar="NAME", help="One part of the recipe only.")] = None,
    processes: Annotated[
        int, typer.Option(metavar="N", parser=whole_number(1, 1024), help="Average gradients over N processes.")
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 2**31), help="Of weights, data, noise.")] = 0,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to train.")] = "cpu",
    export: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the finished weights there.")] = None,
) -> None:
    """Train a model from scratch; the same command again goes on where the last one stopped."""
    from openreels.recipes import RECIPES

    if recipe not in RECIPES:
        raise typer.BadParameter(f"RECIPE must be one of {', '.join(RECIPES)}, not {recipe!r}")
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device must be cpu or cuda, not {device!r}")

    from importlib import import_module

    chosen = import_module(RECIPES[recipe])
    plan = chosen.plan()
    if part is not None and part not in plan.parts:
        raise typer.BadParameter(f"--part must be one of {', '.join(plan.parts)}, not {part!r}")
    if minutes is None and steps is None and export is None:
        raise typer.BadParameter("give a budget with --minutes or --steps (or --export alone)")

    from openreels.training.loop import Interrupted
    from openreels.training.plan import train as run

    try:
        if minutes is not None or steps is not None:
            run(plan, workdir, minutes=minutes, steps=steps, part=part, processes=processes, seed=seed, device=device)
    except Interrupted as stop:
        print(stop)
        return
    if export is not None:
        chosen.export(plan, workdir, export)
        print(f"{export}: weights written")

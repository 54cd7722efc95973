"""`openreels eval pocket`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.terminal import make_folder, progress_bar, show_json, whole_number

app = typer.Typer(name="eval", help="Measure a model from pixels and samples alone.")


@app.callback()
def verbs() -> None:
    """With a single verb typer would drop its name."""


@app.command()
def pocket(
    count: Annotated[int, typer.Option(metavar="N", parser=whole_number(1, 10_000), help="How many clips.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 10**9), help="Which prompts and noise.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", parser=whole_number(1, 1000), help="Sampling steps. (default: the model's)"),
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="One of the pocket kind: a name or a folder.")] = "pocket",
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a contact sheet and the figures.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Generate from held-out prompts of the world and measure: each figure beside true clips and chance."""
    from openreels.cli.making import loaded
    from openreels.pipelines.registry import find

    find(model)
    if save is not None:
        make_folder(save)

    from openreels.evaluation import evaluate, print_report, save_report

    with progress_bar(f"{model} is measured", quiet=as_json) as progress:
        report = evaluate(loaded(model), count, seed, steps, progress)
    if save is not None:
        save_report(report, save)
    if as_json:
        show_json(report.to_dict())
    else:
        print_report(report)
        if save is not None:
            print(f"{save}: contact sheet and figures written")

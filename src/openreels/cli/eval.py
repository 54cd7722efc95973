"""`openreels eval`: `pocket`, what a model makes of prompts, and `tasks`, how often it does each of its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.terminal import Mistake, make_folder, progress_bar, show_json, whole_number

app = typer.Typer(name="eval", help="Measure a model from pixels and samples alone.")

Steps = Annotated[
    int | None,
    typer.Option(metavar="N", parser=whole_number(1, 1000), help="Sampling steps. (default: the model's)"),
]
Model = Annotated[str, typer.Option(metavar="NAME", help="One of the pocket kind: a name or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def rows(text: str) -> tuple[str, ...]:
    """The parser of a flag."""
    from openreels.evaluation.tasks import chosen_rows

    try:
        return chosen_rows(text)
    except ValueError as error:
        raise Mistake(str(error).removeprefix("rows ")) from error


@app.command()
def pocket(
    count: Annotated[int, typer.Option(metavar="N", parser=whole_number(1, 10_000), help="How many clips.")] = 200,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 10**9), help="Which prompts and noise.")] = 0,
    steps: Steps = None,
    model: Model = "pocket",
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a contact sheet and the figures.", show_default=False)
    ] = None,
    as_json: AsJson = False,
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


@app.command()
def tasks(
    rows: Annotated[
        tuple | None,
        typer.Option(
            metavar="A,B", parser=rows, help="Only these rows of the table. (default: all)", show_default=False
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", parser=whole_number(1, 10_000), help="Cases of each row.")] = 50,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 10**6), help="Which cases and noise.")] = 0,
    steps: Steps = None,
    model: Model = "pocket",
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep figures and contact sheets there; after an interruption the same command goes on.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how often each task succeeds on held-out cases, beside true results and doing nothing."""
    from openreels.cli.making import loaded
    from openreels.pipelines.registry import find

    find(model)
    if save is not None:
        make_folder(save)

    from openreels.evaluation.tasks import chosen_rows, evaluate_tasks, print_task_report, save_task_report

    with progress_bar(f"{model} is measured", quiet=as_json) as progress:
        report = evaluate_tasks(loaded(model), rows or chosen_rows(None), count, seed, steps, save, progress)
    if save is not None:
        save_task_report(report, save)
    if as_json:
        show_json(report.to_dict())
    else:
        print_task_report(report)
        if save is not None:
            print(f"{save}: figures and contact sheets written")

"""`openreels models`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """List the models and what each can do."""
    from openreels.pipelines.registry import available

    cards = available()
    if as_json:
        from dataclasses import asdict

        from openreels.cli.terminal import show_json

        show_json(
            [
                {"name": card.name, "description": card.description}
                | asdict(card.capabilities)
                | {"fps": str(card.capabilities.fps)}
                for card in cards
            ]
        )
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("model", "tasks", "seconds", "sizes", "aspects", "fps", "sound", ""):
        table.add_column(heading)
    for card in cards:
        can = card.capabilities
        shortest, longest = can.durations
        table.add_row(
            card.name,
            " ".join(can.tasks),
            f"{shortest:g}-{longest:g}",
            " ".join(can.resolutions),
            " ".join(can.aspects),
            f"{float(can.fps):g}",
            f"{can.sample_rate:,} Hz" if can.sample_rate else "none",
            card.description,
        )
    Console().print(table)

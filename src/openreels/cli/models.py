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

    from openreels.cli.terminal import show_facts

    for card in cards:
        can = card.capabilities
        shortest, longest = can.durations
        longer = {}
        if can.extensions is not None:
            longer["  extension"] = "{:g} to {:g} s of new video".format(*can.extensions)
        if can.films is not None:
            longer["  film"] = f"up to {can.films:g} s, in stretches"
        print(f"{card.name}: {card.description}")
        show_facts(
            {
                "  tasks": ", ".join(can.tasks),
                "  duration": f"{shortest:g} to {longest:g} s",
                **longer,
                "  resolution": ", ".join(can.resolutions),
                "  aspect": ", ".join(can.aspects),
                "  fps": f"{float(can.fps):g}",
                "  sound": f"{can.sample_rate:,} Hz" if can.sample_rate else "none",
            }
        )

"""`openreels world preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.terminal import make_folder, whole_number

app = typer.Typer(name="world", help="The procedural audio-video world that the pocket model learns from.")


@app.command()
def preview(
    folder: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where to.")] = Path("runs/world"),
    count: Annotated[int, typer.Option(metavar="N", parser=whole_number(1, 1000), help="How many clips.")] = 12,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 2**63 - 1), help="Which clips.")] = 0,
) -> None:
    """Render clips of the world with their sound, and a contact sheet of them."""
    make_folder(folder)

    from openreels.world.preview import preview

    for path in preview(folder, count, seed):
        print(path)

"""`openreels replay CLIP -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def replay(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A file that openreels made.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write it again.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a clip again from the recipe it carries: bit-identical with the same versions on the same machine."""
    from openreels.cli.making import make
    from openreels.cli.terminal import warn
    from openreels.media.error import MediaError
    from openreels.media.probe import probe
    from openreels.media.recipe import Recipe
    from openreels.request import Request

    recipe = Recipe.from_metadata(probe(clip).metadata, source=str(clip))
    if recipe is None:
        raise MediaError(f"{clip} carries no recipe; accepted are clips that openreels made")

    def compare(now: Recipe) -> None:
        for difference in recipe.differences(now):
            warn(f"the clip may come out different: {difference}")

    make(Request.parse(recipe.request), recipe.model, output, as_json, before=compare)

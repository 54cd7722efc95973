"""`openreels avatar IMAGE AUDIO [PROMPT] -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.options import AsJson, Cache, Guidance, Model, Negative, Seed, Size, Steps

app = typer.Typer()

SPEAKER = "SOUND[@left,top,right,bottom | @MASK]"


@app.command()
def avatar(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The portrait.", show_default=False)],
    audio: Annotated[
        str, typer.Argument(metavar="AUDIO", help=f"What is said; of several people: {SPEAKER}.", show_default=False)
    ],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What is seen.")] = "a person is talking",
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="mp4 or mov.")],
    model: Model = "pocket",
    speaker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEAKER",
            help=f"One more person: {SPEAKER}, shares of the portrait's size. Repeatable.",
        ),
    ] = None,
    resolution: Size = None,
    aspect: Annotated[
        str | None, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="(default: the portrait's own)")
    ] = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="Of the result, for V3. (default: 25)")] = None,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    shift: Annotated[str | None, typer.Option(metavar="S", help="Of the sampling times, for V3. (default: 11)")] = None,
    negative: Negative = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Make a portrait say what a sound says; several people, each with a sound of their own."""
    from openreels.cli.making import make, request_of
    from openreels.cli.parts import speaker_of

    fields = {
        "prompt": prompt,
        "image": str(image.absolute()),
        "speakers": [speaker_of(text) for text in (audio, *(speaker or ()))],
        "resolution": resolution,
        "aspect": aspect,
        "fps": fps,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "shift": shift,
        "negative": negative,
        "cache": cache,
    }
    make(request_of(fields), model, output, as_json)

"""`openreels extend VIDEO PROMPT -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def extend(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The clip that goes on.", show_default=False)],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What happens next.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="mp4 or mov.")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A folder or a hub id, such as Skywork/SkyReels-V3-V2V-14B.")
    ],
    duration: Annotated[str | None, typer.Option(metavar="SECONDS", help="Of the new part. (default: 5)")] = None,
    transition: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Cut to a new shot: cut-in, cut-out, multi-angle, shot-reverse-shot, cut-away, or none, as the prompt "
            "says. (default: the shot goes on)",
        ),
    ] = None,
    resolution: Annotated[str | None, typer.Option(metavar="480p|540p|720p", help="(default: 720p)")] = None,
    aspect: Annotated[
        str | None, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="(default: the clip's own)")
    ] = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="Of the result. (default: the clip's own)")] = None,
    seed: Annotated[str | None, typer.Option(metavar="N", help="The same seed, the same clip. (default: 0)")] = None,
    steps: Annotated[str | None, typer.Option(metavar="N", help="Sampling steps. (default: the model's)")] = None,
    guidance: Annotated[str | None, typer.Option(metavar="G", help="(default: the model's)")] = None,
    shift: Annotated[str | None, typer.Option(metavar="S", help="Of the sampling times. (default: 8)")] = None,
    negative: Annotated[str | None, typer.Option(metavar="TEXT", help="What not to see.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Extend a clip: the shot goes on, or a new one follows."""
    from openreels.cli.making import make, request_of

    fields = {
        "prompt": prompt,
        "video": str(video.absolute()),
        "duration": duration,
        "transition": transition,
        "resolution": resolution,
        "aspect": aspect,
        "fps": fps,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "shift": shift,
        "negative": negative,
    }
    make(request_of(fields), model, output, as_json)

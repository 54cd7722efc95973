"""`openreels extend VIDEO PROMPT -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreels.cli.options import (
    AsJson,
    Cache,
    Guidance,
    Model,
    Negative,
    NoAudio,
    Ref,
    Seed,
    Size,
    Sounds,
    Steps,
)

if TYPE_CHECKING:
    pass

app = typer.Typer()


@app.command()
def extend(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The clip that goes on.", show_default=False)],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What happens next.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="mp4 or mov.")],
    model: Model = "pocket",
    duration: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Of the new part. (default: the model's)")
    ] = None,
    transition: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Cut to a new shot: cut-in, cut-out, multi-angle, shot-reverse-shot, cut-away, or none, as the prompt "
            "says; auto: whether and how is decided from prompt and clip. (default: the shot goes on)",
        ),
    ] = None,
    resolution: Size = None,
    aspect: Annotated[
        str | None, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="(default: the clip's own)")
    ] = None,
    fps: Annotated[
        str | None, typer.Option(metavar="RATE", help="Of the result, for V3. (default: the clip's own)")
    ] = None,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    shift: Annotated[str | None, typer.Option(metavar="S", help="Of the sampling times, for V3. (default: 8)")] = None,
    negative: Negative = None,
    cache: Cache = None,
    ref: Ref = None,
    sounds: Sounds = None,
    no_audio: NoAudio = False,
    as_json: AsJson = False,
) -> None:
    """Extend a clip: the shot goes on, or a new one follows."""
    from openreels.cli.making import make, request_of
    from openreels.cli.parts import modality_of, reference_of, sounds_of

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
        "cache": cache,
        "references": [reference_of(text) for text in ref or ()],
        "sounds": sounds_of(sounds),
        "modality": modality_of(output, no_audio),
    }
    make(request_of(fields), model, output, as_json)

"""`openreels generate PROMPT -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.options import (
    AsJson,
    Enhance,
    EnhancerModel,
    EnhancerName,
    EnhancerPictures,
    Guidance,
    Negative,
    Seed,
    Steps,
)

app = typer.Typer()


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to see and hear.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="mp4 or mov; wav, flac, mp3 or m4a for sound alone.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="One that `models` lists, a folder, a hub id.")] = "pocket",
    seed: Seed = None,
    duration: Annotated[str | None, typer.Option(metavar="SECONDS", help="How long. (default: 2)")] = None,
    resolution: Annotated[str | None, typer.Option(metavar="64p|...", help="Short side. (default: 64p)")] = None,
    aspect: Annotated[
        str | None, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="Width to height. (default: 1:1)")
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    shift: Annotated[str | None, typer.Option(metavar="S", help="Of the sampling times, for V3. (default: 5)")] = None,
    cache: Annotated[
        str | None,
        typer.Option(metavar="N", help="Compute one of N steps, extrapolate the rest: faster, less exact."),
    ] = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="For V3. (default: 24)")] = None,
    ref: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG=PICTURE", help="Somebody or something to appear, @TAG in the prompt. Repeatable."),
    ] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Video without sound.")] = False,
    audio_only: Annotated[bool, typer.Option("--audio-only", help="Sound without video.")] = False,
    enhance: Enhance = None,
    enhancer: EnhancerName = None,
    enhancer_model: EnhancerModel = None,
    enhancer_pictures: EnhancerPictures = False,
    as_json: AsJson = False,
) -> None:
    """Generate a video with its sound from a prompt."""
    from openreels.cli.enhancing import enhancing
    from openreels.cli.making import make, request_of
    from openreels.request import RequestError

    if no_audio and audio_only:
        raise RequestError("--no-audio and --audio-only together leave nothing to make; accepted is one of them")
    fields = {
        "prompt": prompt,
        "negative": negative,
        "duration": duration,
        "resolution": resolution,
        "aspect": aspect,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "shift": shift,
        "cache": cache,
        "fps": fps,
        "references": [reference_of(text) for text in ref or ()],
        "modality": "video" if no_audio else "audio" if audio_only else "video+audio",
    }
    rewrite = enhancing(enhance, enhancer, enhancer_model, enhancer_pictures, model, quiet=as_json)
    make(request_of(fields), model, output, as_json, enhance=rewrite)


def reference_of(text: str) -> dict[str, str]:
    """The fields of a reference, as `Request` reads them. Raises RequestError where there is no tag."""
    from openreels.request import RequestError, shown

    tag, equals, path = text.partition("=")
    if not (equals and path):
        raise RequestError(f"--ref must be TAG=PICTURE, such as cat=cat.png, not {shown(text)}")
    return {"tag": tag.removeprefix("@"), "path": str(Path(path).absolute())}

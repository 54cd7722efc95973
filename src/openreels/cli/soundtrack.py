"""`openreels soundtrack VIDEO PROMPT -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.options import AsJson, Cache, Guidance, Model, Negative, Seed, Sounds, Steps

app = typer.Typer()


@app.command()
def soundtrack(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The clip; sound it has is replaced.")],
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to hear.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="mp4 or mov; wav, flac, mp3 or m4a for the sound alone."),
    ],
    model: Model = "pocket",
    sounds: Sounds = None,
    audio_only: Annotated[bool, typer.Option("--audio-only", help="The sound without the video.")] = False,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Make the sound of a silent clip, in step with what is seen; the picture stays as it is."""
    from openreels.cli.making import make, request_of
    from openreels.cli.parts import modality_of, sounds_of

    fields = {
        "prompt": prompt,
        "video": str(video.absolute()),
        "use": "sound",
        "sounds": sounds_of(sounds),
        "modality": modality_of(output, audio_only=audio_only),
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "negative": negative,
        "cache": cache,
    }
    make(request_of(fields), model, output, as_json)

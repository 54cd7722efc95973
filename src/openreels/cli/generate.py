"""`openreels generate PROMPT -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openreels.cli.options import (
    AsJson,
    Cache,
    Enhance,
    EnhancerModel,
    EnhancerName,
    EnhancerPictures,
    Guidance,
    Model,
    Negative,
    NoAudio,
    Ref,
    Seed,
    Sounds,
    Steps,
)

app = typer.Typer()


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to see and hear.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="mp4 or mov; wav, flac, mp3 or m4a for sound alone; png, jpg or webp for a picture.",
        ),
    ],
    model: Model = "pocket",
    seed: Seed = None,
    duration: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="How long. (default: 2, or as the sound)")
    ] = None,
    resolution: Annotated[str | None, typer.Option(metavar="64p|...", help="Short side. (default: 64p)")] = None,
    aspect: Annotated[
        str | None, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="Width to height. (default: 1:1)")
    ] = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    shift: Annotated[str | None, typer.Option(metavar="S", help="Of the sampling times, for V3. (default: 5)")] = None,
    cache: Cache = None,
    fps: Annotated[str | None, typer.Option(metavar="RATE", help="For V3. (default: 24)")] = None,
    ref: Ref = None,
    first_frame: Annotated[
        Path | None, typer.Option(metavar="IMG", help="What the video starts with; with --speaker, a portrait.")
    ] = None,
    last_frame: Annotated[Path | None, typer.Option(metavar="IMG", help="What it ends with.")] = None,
    keyframe: Annotated[
        list[str] | None,
        typer.Option(metavar="IMG@SECONDS|IMG@auto", help="What it shows at a time; auto: evenly spread. Repeatable."),
    ] = None,
    audio: Annotated[Path | None, typer.Option(metavar="WAV", help="A sound that the picture follows.")] = None,
    speaker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TAG=]WAV[@REGION]",
            help="What somebody says: a reference's TAG, or a place of the first frame: left,top,right,bottom or a "
            "mask. Repeatable.",
        ),
    ] = None,
    voice: Annotated[
        list[str] | None,
        typer.Option(metavar="[TAG=]WAV[@REGION]", help="How somebody speaks, the same way; the prompt says what."),
    ] = None,
    sounds: Sounds = None,
    no_audio: NoAudio = False,
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
    from openreels.cli.parts import keyframes_of, modality_of, reference_of, sounds_of, tagged_speaker_of

    speakers = [tagged_speaker_of(text) for text in speaker or ()]
    speakers += [tagged_speaker_of(text, "voice") for text in voice or ()]
    # A first frame with people who speak is their portrait.
    portrait = first_frame if speakers else None
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
        "image": None if portrait is None else str(portrait.absolute()),
        "keyframes": keyframes_of(None if speakers else first_frame, last_frame, keyframe),
        "audio": None if audio is None else str(audio.absolute()),
        "speakers": speakers,
        "sounds": sounds_of(sounds),
        "modality": modality_of(output, no_audio, audio_only),
    }
    rewrite = enhancing(enhance, enhancer, enhancer_model, enhancer_pictures, model, quiet=as_json)
    make(request_of(fields), model, output, as_json, enhance=rewrite)

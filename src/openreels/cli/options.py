"""Flags that mean the same in every verb which makes a clip.

Numbers arrive as text and `Request` reads them: one place knows what is accepted, and says so in one way.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "Cache",
    "Enhance",
    "EnhancerModel",
    "EnhancerName",
    "EnhancerPictures",
    "Guidance",
    "Model",
    "Negative",
    "NoAudio",
    "Ref",
    "Seed",
    "Size",
    "Sounds",
    "Steps",
]

Seed = Annotated[str | None, typer.Option(metavar="N", help="The same seed, the same clip. (default: 0)")]
Steps = Annotated[str | None, typer.Option(metavar="N", help="Sampling steps. (default: the model's)")]
Guidance = Annotated[
    str | None, typer.Option(metavar="G", help="How closely to follow the prompt. (default: the model's)")
]
Negative = Annotated[str | None, typer.Option(metavar="TEXT", help="What not to see or hear.")]
Size = Annotated[str | None, typer.Option(metavar="64p|480p|720p|...", help="Short side. (default: the model's)")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Model = Annotated[
    str, typer.Option(metavar="NAME[+LORA]", help="One that `models` lists, a folder, a hub id; with a LoRA's folder.")
]
Cache = Annotated[
    str | None, typer.Option(metavar="N", help="Compute one of N steps, extrapolate the rest: faster, less exact.")
]
NoAudio = Annotated[bool, typer.Option("--no-audio", help="Video without sound.")]
Ref = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TAG=PATH",
        help="A picture, a clip or a sound of what should appear or be heard, @TAG in the prompt. Repeatable.",
    ),
]
Sounds = Annotated[
    str | None,
    typer.Option(metavar="KIND,...", help="Only these: speech, effects, music. (default: as the prompt says)"),
]

Enhance = Annotated[
    bool | None,
    typer.Option(
        "--enhance/--no-enhance",
        help="Write a structured caption from the prompt; it is shown and stored. (default: for models that know them)",
        show_default=False,
    ),
]
EnhancerName = Annotated[
    str | None,
    typer.Option(
        "--enhancer",
        metavar="NAME",
        help="Who writes it: a chat endpoint such as http://localhost:8000/v1, a folder or a hub id of a chat model. "
        "(default: embedded, rules without a model)",
    ),
]
EnhancerModel = Annotated[
    str | None, typer.Option("--enhancer-model", metavar="NAME", help="What the endpoint calls its model.")
]
EnhancerPictures = Annotated[bool, typer.Option("--enhancer-pictures", help="Show the endpoint the references too.")]

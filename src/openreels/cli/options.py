"""Flags that mean the same in every verb which makes a clip.

Numbers arrive as text and `Request` reads them: one place knows what is accepted, and says so in one way.
"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AsJson", "Guidance", "Negative", "Seed", "Size", "Steps"]

Seed = Annotated[str | None, typer.Option(metavar="N", help="The same seed, the same clip. (default: 0)")]
Steps = Annotated[str | None, typer.Option(metavar="N", help="Sampling steps. (default: the model's)")]
Guidance = Annotated[
    str | None, typer.Option(metavar="G", help="How closely to follow the prompt. (default: the model's)")
]
Negative = Annotated[str | None, typer.Option(metavar="TEXT", help="What not to see or hear.")]
Size = Annotated[str | None, typer.Option(metavar="480p|540p|720p", help="Short side. (default: 720p)")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

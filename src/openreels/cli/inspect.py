"""`openreels inspect CLIP`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from openreels.media import Clip

app = typer.Typer()


@app.command()
def inspect(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A video, picture or sound file.", show_default=False)],
    shots: Annotated[bool, typer.Option("--shots", help="Find its shots and the kinds of its cuts.")] = False,
    drift: Annotated[
        bool, typer.Option("--drift", help="Measure how colour, identity and sync change over time.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Say what is in a file: streams, length, loudness, and the recipe that made it; if asked, its shots and drift."""
    from openreels.cli.terminal import show_facts, show_json
    from openreels.media import Clip

    opened = Clip.open(clip)
    facts = facts_of(opened, clip)
    if shots:
        facts["shots"] = shots_of(opened, clip, as_json)
    if drift:
        facts["drift"] = drift_of(opened, clip, as_json)
    (show_json if as_json else show_facts)(facts)


def facts_of(clip: Clip, path: Path) -> dict[str, Any]:
    from dataclasses import asdict
    from math import isfinite

    from openreels.media.audio import loudness, peak
    from openreels.media.probe import probe
    from openreels.media.recipe import Recipe

    header = probe(path)
    recipe = Recipe.from_metadata(header.metadata, source=str(path))
    facts: dict[str, Any] = {"file": str(path), "container": header.container, **clip.facts()}
    if header.video:
        facts["video_codec"] = header.video.codec
    if header.audio:
        facts["audio_codec"] = header.audio.codec
    if clip.audio is not None:
        levels = {"loudness_lufs": loudness(clip.audio, clip.sample_rate), "peak_dbfs": peak(clip.audio)}
        facts |= {name: round(level, 2) if isfinite(level) else None for name, level in levels.items()}
    return facts | ({"recipe": asdict(recipe)} if recipe else {"metadata": dict(header.metadata)})


def shots_of(clip: Clip, path: Path, as_json: bool) -> list[dict[str, Any]] | dict[str, str]:
    """Every shot as data, or as a line for people. Raises MediaError where there are no pictures."""
    from dataclasses import asdict

    from openreels.media.error import MediaError
    from openreels.shots import SINGLE_SHOT, detect_shots

    if clip.frames is None:
        raise MediaError(f"{path} holds sound alone, so it has no shots")
    found = detect_shots(clip.frames, clip.fps)
    if as_json:
        return [asdict(shot) for shot in found]
    return {
        str(number): f"{shot.start:.2f} to {shot.end:.2f} s"
        + (f", after a {shot.cut} ({shot.confidence:.0%} sure)" if shot.cut != SINGLE_SHOT else "")
        for number, shot in enumerate(found, 1)
    }


def drift_of(clip: Clip, path: Path, as_json: bool) -> dict[str, Any]:
    """Slopes over time; as data with every window. Raises MediaError where there are no pictures."""
    from dataclasses import asdict

    from openreels.cli.terminal import progress_bar
    from openreels.evaluation.drift import measure_drift
    from openreels.media.error import MediaError

    if clip.frames is None:
        raise MediaError(f"{path} holds sound alone, so there is no picture that could drift")
    with progress_bar(f"{path} is measured", quiet=as_json) as progress:
        found = measure_drift(clip, progress)
    return asdict(found) if as_json else found.facts()

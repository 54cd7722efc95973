"""`openreels init PRESET`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreels.cli.options import AsJson
from openreels.cli.terminal import one_of, whole_number

if TYPE_CHECKING:
    from openreels.models.warm_start import WarmStart
    from openreels.recipes.presets import Preset

app = typer.Typer()


@app.command()
def init(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="full or full-hv1.", show_default=False)],
    source: Annotated[
        tuple[str, Path],
        typer.Option("--from", metavar="KIND PATH", help="hunyuanvideo-1.5 or hunyuanvideo-1.0, a diffusers folder."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder for transformer/.")],
    audio: Annotated[
        str,
        typer.Option(metavar="fresh|copy", parser=one_of(("fresh", "copy")), help="What the audio branch starts as."),
    ] = "fresh",
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="float32|bfloat16|float16",
            parser=one_of(("float32", "bfloat16", "float16")),
            help="Of the weights. (default: the source's)",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", parser=whole_number(0, 2**31), help="Of the fresh weights.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a V4 transformer that starts as an open video model: its output is the source's until it is trained."""
    import torch

    from openreels.cli.terminal import no_library_bars, progress_bar, show_facts, show_json, warn
    from openreels.models.warm_start import plan_warm_start, write_warm_start
    from openreels.recipes.presets import preset as preset_of
    from openreels.request import RequestError

    no_library_bars()
    folder = output / "transformer"
    try:
        chosen = preset_of(preset)
        if chosen.warm_start != source[0]:
            starts = f"starts from {chosen.warm_start}" if chosen.warm_start else "has no warm start"
            raise ValueError(f"preset {preset} {starts}, not from {source[0]}")
        plan = plan_warm_start(*source, chosen.transformer, audio=audio)
        if other := differences(plan, chosen):
            warn(f"the source is not of the preset's size, and decides: {', '.join(other)}")
        with progress_bar("weights", quiet=as_json) as progress:
            dtype_of = None if dtype is None else getattr(torch, dtype)
            write_warm_start(plan, folder, dtype=dtype_of, seed=seed, progress=progress)
    except (ValueError, OSError) as error:
        raise RequestError(str(error)) from error

    found = facts(plan, folder)
    if as_json:
        show_json(found)
        return
    numbers = {name: f"{count / 1e9:.4f} B" for name, count in found["parameters"].items()}
    show_facts(found | {"parameters": numbers, "dropped": ", ".join(found["dropped"]) or "nothing"})


def differences(plan: WarmStart, chosen: Preset) -> list[str]:
    return [
        f"{name} {value} instead of {chosen.transformer.get(name)}"
        for name, value in plan.config.items()
        if value != chosen.transformer.get(name)
    ]


def facts(plan: WarmStart, folder: Path) -> dict[str, Any]:
    in_all, taken, copied = plan.numbers(), plan.numbers(plan.theirs), plan.numbers(plan.copied)
    return {
        "folder": str(folder),
        "source": plan.source.title,
        "tensors used": sum(len(names) for names in plan.theirs.values()),
        "dropped": dict(plan.dropped),
        "parameters": {"in all": in_all, "source": taken, "copied": copied, "fresh": in_all - taken - copied},
    }

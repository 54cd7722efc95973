"""`openreels init PRESET`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreels.cli.options import AsJson
from openreels.cli.terminal import one_of, whole_number

if TYPE_CHECKING:
    from openreels.models.warm_start import WarmStart
    from openreels.pipelines.assembly import Parts
    from openreels.recipes.presets import Preset

app = typer.Typer()


@app.command()
def init(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="full or full-hv1.", show_default=False)],
    source: Annotated[
        tuple[str, Path],
        typer.Option("--from", metavar="KIND PATH", help="hunyuanvideo-1.5 or hunyuanvideo-1.0, a diffusers folder."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="A new folder for the model.")],
    audio_parts: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A folder with MMAudio's audio_vae/ and vocoder/: a whole model is written."),
    ] = None,
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
    """Make a V4 model that starts as an open video model: its output is the source's until it is trained.

    From a whole pipeline's folder, its codec and text encoder come along; without, the transformer alone is written.
    """
    import torch

    from openreels.cli.terminal import no_library_bars, progress_bar, show_facts, show_json, warn
    from openreels.models.warm_start import plan_warm_start, write_warm_start
    from openreels.pipelines.assembly import assemble
    from openreels.recipes.pipeline_settings import pipeline_settings
    from openreels.recipes.presets import preset as preset_of
    from openreels.request import RequestError

    no_library_bars()
    try:
        chosen = preset_of(preset)
        if chosen.warm_start != source[0]:
            starts = f"starts from {chosen.warm_start}" if chosen.warm_start else "has no warm start"
            raise ValueError(f"preset {preset} {starts}, not from {source[0]}")
        plan = plan_warm_start(*source, chosen.transformer, audio=audio)
        parts = gathered(source[1], audio_parts)
        whole = None if parts.missing else assemble(plan.model, parts, output, **pipeline_settings(chosen))
        if other := differences(plan, chosen):
            warn(f"the source is not of the preset's size, and decides: {', '.join(other)}")
        with progress_bar("weights", quiet=as_json) as progress:
            dtype_of = None if dtype is None else getattr(torch, dtype)
            write = partial(write_warm_start, plan, dtype=dtype_of, seed=seed, progress=progress)
            folder = output / "transformer" if whole is None else output
            write(folder) if whole is None else whole.write(folder, write)
    except (ValueError, OSError) as error:
        raise RequestError(str(error)) from error

    if whole is None:
        warn(f"written is the transformer alone, for `train v4`; {what_is_left(parts)}")
    found = facts(plan, parts, folder)
    if as_json:
        show_json(found)
        return
    numbers = {name: f"{count / 1e9:.4f} B" for name, count in found["parameters"].items()}
    lists = {name: ", ".join(found[name]) or "nothing" for name in ("missing", "dropped")}
    show_facts(found | {"parameters": numbers} | lists)


def gathered(source: Path, audio_parts: Path | None) -> Parts:
    """What goes with the transformer. Raises ValueError where --audio-parts has not both."""
    from openreels.pipelines.assembly import parts_in

    parts = parts_in(source)
    if audio_parts is not None:
        sound = parts_in(audio_parts).only("audio_vae", "vocoder")
        if lacking := [name for name in ("audio_vae", "vocoder") if name not in sound.found]:
            raise ValueError(
                f"--audio-parts must be a folder with audio_vae/ and vocoder/ in diffusers' layout; "
                f"{audio_parts} lacks {' and '.join(sound.lack(name) for name in lacking)}"
            )
        parts |= sound
    return parts


def what_is_left(parts: Parts) -> str:
    """To bring, for a whole model, and how."""
    left = f"a whole model lacks {', '.join(parts.missing)}"
    if not parts.found and not parts.unfit:
        left += "; --from a whole pipeline's folder brings its codec and text encoder"
    return left if "audio_vae" in parts.found else f"{left}; --audio-parts brings audio_vae and vocoder"


def differences(plan: WarmStart, chosen: Preset) -> list[str]:
    return [
        f"{name} {value} instead of {chosen.transformer.get(name)}"
        for name, value in plan.config.items()
        if value != chosen.transformer.get(name)
    ]


def facts(plan: WarmStart, parts: Parts, folder: Path) -> dict[str, Any]:
    in_all, taken, copied = plan.numbers(), plan.numbers(plan.theirs), plan.numbers(plan.copied)
    return {
        "folder": str(folder),
        "source": plan.source.title,
        "parts": {} if parts.missing else {name: part.class_name for name, part in parts.found.items()},
        "missing": parts.missing,
        "tensors used": sum(len(names) for names in plan.theirs.values()),
        "dropped": dict(plan.dropped),
        "parameters": {"in all": in_all, "source": taken, "copied": copied, "fresh": in_all - taken - copied},
    }

"""`openreels encode CLIPS`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openreels.cli.options import AsJson, Model, Size
from openreels.cli.terminal import make_folder, one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openreels.training.sharded.cached import Entry

app = typer.Typer()


@app.command()
def encode(
    clips: Annotated[
        Path,
        typer.Argument(
            metavar="CLIPS",
            help="A folder of clips with their captions (a.mp4, a.txt), or a table (.jsonl).",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="For `train v4 --data`.")],
    model: Model = "pocket",
    resolution: Size = None,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", parser=one_of(("cpu", "cuda")), help="Where to encode.")
    ] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Encode your clips and captions into latents to train on; again, it goes on, or takes up what was added."""
    from openreels.cli.terminal import no_library_bars, progress_bar, show_json
    from openreels.cli.train import check_device
    from openreels.pipelines.registry import capabilities, find
    from openreels.request import RequestError
    from openreels.training.sharded.listing import check_listed, listed_clips

    folder = find(model)
    if not isinstance(folder, Path):
        raise RequestError(f"--model must be a name or a folder here, not the hub id {model}")
    can = capabilities(folder)
    if resolution is not None and resolution not in can.resolutions:
        raise RequestError(f"{model} accepts resolutions of {', '.join(can.resolutions)}, not {resolution}")
    check_device(device)
    try:
        listed = listed_clips(clips)
        check_listed(listed, shown=sees_pictures(folder))
    except ValueError as error:
        raise RequestError(str(error)) from error
    make_folder(output)

    from openreels.pipelines.encoding import load_encoding_parts
    from openreels.tasks.window import Model as Canvases
    from openreels.training.sharded.encoding import ClipEncoder, encode_clips

    no_library_bars()
    try:
        parts = load_encoding_parts(folder, device)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RequestError(f"the codecs and the text encoder of {model} cannot be loaded: {reason}") from error
    canvases = Canvases(can, parts.video.spatial_factor, parts.video.temporal_factor, parts.audio.channels)
    encoder = ClipEncoder(canvases, parts.video, parts.audio, parts.text, resolution, device)
    made_by = f"{parts.weight_hash} at {resolution or can.resolution or can.resolutions[0]}"
    made_by += ", in tiles" if parts.video.tiling else ""
    with progress_bar("clips", quiet=as_json) as progress:
        try:
            entries = encode_clips(listed, encoder, output, made_by, progress).entries
        except ValueError as error:
            raise RequestError(str(error)) from error
    found = facts(entries)
    if as_json:
        show_json({"folder": str(output), **found})
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found["clips"].items())
    print(f"{output}: {kinds}, for {', '.join(found['tasks'])}")


def sees_pictures(folder: Path) -> bool:
    """Whether the text encoder of a model is shown references: one that sees has a processor in model_index.json."""
    return any(json.loads((folder / "model_index.json").read_text()).get("image_processor") or ())


def facts(entries: Sequence[Entry]) -> dict[str, Any]:
    from openreels.training.sharded.conditions import TASKS

    def kind(entry: Entry) -> str:
        if entry.grid is None:
            return "sounds"
        if entry.grid[0] == 1:
            return "stills"
        return "clips with sound" if entry.audio_tokens else "silent clips"

    tasks = [task for task in TASKS if any(entry.serves(task) for entry in entries)]
    return {"clips": dict(Counter(map(kind, entries))), "tasks": tasks}

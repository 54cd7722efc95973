"""`openreels edit VIDEO INSTRUCTION -o out.mp4`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openreels.cli.options import AsJson, Cache, Guidance, Model, Negative, NoAudio, Ref, Seed, Size, Sounds, Steps
from openreels.cli.terminal import Mistake

if TYPE_CHECKING:
    from openreels.request import Request

app = typer.Typer()


@app.command()
def edit(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The clip to edit.", show_default=False)],
    instruction: Annotated[
        str,
        typer.Argument(
            metavar="INSTRUCTION", help="What to change; with a mask, what to see there.", show_default=False
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="mp4 or mov.")] = None,
    model: Model = "pocket",
    mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MASK|x0,y0,x1,y1",
            help="Where: white in a picture or a mask video, or a box in fractions from the top left. Repeatable. "
            "(default: everywhere)",
        ),
    ] = None,
    polygon: Annotated[
        list[str] | None, typer.Option(metavar="x,y,x,y,...", help="Where: its corners, in fractions. Repeatable.")
    ] = None,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Everywhere but there.")] = False,
    span: Annotated[str | None, typer.Option(metavar="START-END", help="When, in seconds: the rest is kept.")] = None,
    preview_mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only show what would be made anew, as a png or an mp4. Loads no model."),
    ] = None,
    ref: Ref = None,
    keep_audio: Annotated[bool, typer.Option("--keep-audio", help="Keep the sound of the clip.")] = False,
    audio: Annotated[Path | None, typer.Option(metavar="WAV", help="A sound that the new picture follows.")] = None,
    sounds: Sounds = None,
    no_audio: NoAudio = False,
    resolution: Size = None,
    aspect: Annotated[
        str | None, typer.Option(metavar="16:9|4:3|1:1|3:4|9:16", help="(default: the clip's own)")
    ] = None,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Edit a clip: all of it as told, or what a mask and a span of time mark; the rest stays pixel for pixel."""
    from openreels.cli.making import make, request_of
    from openreels.cli.parts import masks_of, modality_of, reference_of, sounds_of, span_of

    if output is None and preview_mask is None:
        raise Mistake("Missing option '-o' / '--output' (see openreels edit --help)")
    fields = {
        "prompt": instruction,
        "video": str(video.absolute()),
        "use": "edit",
        "masks": masks_of(mask, polygon, invert_mask),
        "span": span_of(span),
        "references": [reference_of(text) for text in ref or ()],
        "keep_audio": keep_audio,
        "audio": None if audio is None else str(audio.absolute()),
        "sounds": sounds_of(sounds),
        "modality": "video+audio" if output is None else modality_of(output, no_audio),
        "resolution": resolution,
        "aspect": aspect,
        "seed": seed,
        "steps": steps,
        "guidance": guidance,
        "negative": negative,
        "cache": cache,
    }
    request = request_of(fields)
    if preview_mask is not None:
        show_region(request, preview_mask)
    if output is not None:
        make(request, model, output, as_json)


def show_region(request: Request, path: Path) -> None:
    """Writes the clip with what is made anew tinted. Raises MediaError, RequestError."""
    from openreels.cli.making import check_files
    from openreels.media import Clip
    from openreels.media.masks import region_mask, save_preview, spanned
    from openreels.media.write import check_output
    from openreels.request import RequestError

    if not request.masks and request.span is None:
        raise RequestError("--preview-mask shows a mask or a span, and there is none; accepted with --mask, --polygon "
                           "or --span")  # fmt: skip
    check_files(request)
    check_output(path, video=True, audio=True, still=path.suffix.lower() not in (".mp4", ".mov"))
    clip = Clip.open(request.video)
    region_THW = region_mask(request.masks, *clip.frames.shape[:3], clip.fps)
    if request.span is not None:
        region_THW &= spanned(request.span, len(clip.frames), clip.fps)[:, None, None]
    save_preview(clip, region_THW, path)
    print(f"{path}: tinted is what would be made anew, {region_THW.mean():.0%} of the clip")

"""What is refused of a request before a V3 model loads: tens of gigabytes later the pipeline would refuse it as well.

Files are read by the pipelines' own functions, so that both accept the same and say the same. No network is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from openreels.media import Clip
from openreels.pipelines.registry import V3
from openreels.pipelines.v3.images import Canvas, picture_of
from openreels.pipelines.v3.planning import MODELS
from openreels.pipelines.v3.plans import SLOTS, shot_seconds
from openreels.pipelines.v3.sizes import AVATAR_BUCKETS, pick_size
from openreels.pipelines.v3.speakers import check_masks, masks_of, speakers_in
from openreels.request import Capabilities, Request, RequestError, check

__all__ = ["check_duration", "precheck"]


def precheck(request: Request, model: str, found: Path | str, others: Mapping[str, Capabilities] | None = None) -> None:
    """Raises RequestError or MediaError, one sentence, where a V3 model cannot serve a request.

    model: what the user calls it. found: its folder, or its hub id; of an unknown one nothing is known before it is
    fetched. others: installed models, of which the sentence names those that could.
    """
    known = capabilities_of_hub(found) if isinstance(found, str) else capabilities_of_folder(model, found)
    if known is None:
        return
    variant, able = known
    check(request, able, model, others)
    {"r2v": check_references, "v2v": check_extension, "a2v": check_avatar}[variant](request, able)


def capabilities_of_hub(hub_id: str) -> tuple[str, Capabilities] | None:
    """(variant, what it can do) of the released models; the name of a shot-switching network alone is none of them."""
    return next(((name, V3[name]) for name in V3 if hub_id in MODELS[name].hub_ids), None)


def capabilities_of_folder(model: str, folder: Path) -> tuple[str, Capabilities]:
    """(variant, what it can do with the networks that are there)."""
    from openreels.pipelines.v3.loading import detect  # torch's side of it, which a hub id does not need

    try:
        layout = detect(folder)
    except ValueError as error:
        raise RequestError(f"the model {model} cannot be loaded: {error}") from error
    return layout.variant, replace(V3[layout.variant], tasks=layout.tasks)


def check_references(request: Request, able: Capabilities) -> None:
    if len(request.references) > SLOTS:
        raise RequestError(f"references must be 1 to {SLOTS} pictures, not {len(request.references)}")
    for reference in request.references:
        picture_of(Path(reference.path), f"reference @{reference.tag}")


def check_extension(request: Request, able: Capabilities) -> None:
    if request.transition not in (None, "auto"):  # which is decided for a length that is possible
        shot_seconds(request.duration or able.duration)
    if Clip.open(request.video).frames is None:
        raise RequestError(f"video must have frames, and {request.video} is a sound alone")


def check_avatar(request: Request, able: Capabilities) -> None:
    check_duration(request)
    size = picture_of(Path(request.image), "image").size[::-1]
    speakers = speakers_in(request)
    for number, speaker in enumerate(speakers, 1):
        speaker.speech(f"the audio of speaker {number}")
    drawn = pick_size(size, AVATAR_BUCKETS, (request.resolution or able.resolution).upper(), request.aspect)
    check_masks(masks_of(speakers, size), Canvas.of(size, drawn, request.aspect))


def check_duration(request: Request) -> None:
    """Raises RequestError where a length is asked of an avatar."""
    if request.duration is not None:
        raise RequestError(
            f"a portrait speaks as long as its sound lasts; duration must be left out, not {request.duration:g} s"
        )

"""What goes together in a request, and what does not: one sentence for each contradiction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openreels.request.request import Request

__all__ = ["contradictions"]


def contradictions(request: Request) -> Iterator[str]:
    """Everything about a request, whose fields are right by themselves, that cannot be; nothing where it can."""
    yield from _of_tags(request)
    yield from _of_portraits(request)
    yield from _of_video(request)
    yield from _of_sound(request)
    yield from _of_modality(request)


def _of_tags(request: Request) -> Iterator[str]:
    for one, two in combinations(request.references, 2):
        if one.tag == two.tag:
            yield f"references must have different tags; two of them are @{one.tag}"
    for one, two in combinations(request.keyframes, 2):
        if one.at == two.at != "auto":
            yield f"keyframes must have different times; two of them are at {one.at}"


def _of_portraits(request: Request) -> Iterator[str]:
    if request.image is not None and not request.speakers:
        yield "a portrait (image) needs at least one speaker; accepted otherwise is a key frame at first"
    if request.image is not None and request.keyframes:
        yield "image and keyframes are not used together; a portrait is the first frame"
    own = [speaker.audio is not None for speaker in request.speakers]
    for number, speaker in enumerate(request.speakers, 1):
        name = f"speaker {number}"
        if speaker.audio is None and speaker.voice is None:
            yield f"{name} needs an audio (what they say) or a voice (how they say what the prompt says)"
        if speaker.audio is not None and speaker.voice is not None:
            yield f"{name} has an audio and a voice; accepted is one of them"
        if speaker.region is not None and speaker.mask is not None:
            yield f"{name} needs a region or a mask, not both"
        if speaker.region is not None or speaker.mask is not None:
            if request.image is None:
                yield f"{name} has a place in a portrait, and there is none; accepted with image"
            if speaker.tag is not None:
                yield f"{name} has a tag and a place in the portrait; accepted is one of them"
        if speaker.region is not None:
            left, top, right, bottom = speaker.region
            if not (left < right and top < bottom):
                yield (f"the region of {name} must be left, top, right, bottom with left < right and top < bottom, "
                       f"not {left:g}, {top:g}, {right:g}, {bottom:g}")  # fmt: skip
        tags = [reference.tag for reference in request.references]
        if speaker.tag is not None and speaker.tag not in tags:
            given = ", ".join(f"@{tag}" for tag in tags) or "none"
            yield f"{name} is @{speaker.tag}, which is no reference; given are {given}"
    if any(own) and not all(own):
        yield f"speaker {own.index(False) + 1} needs an audio, as the others have: what is heard is given or made"


def _of_video(request: Request) -> Iterator[str]:
    of_edits = [name for name in ("masks", "span", "keep_audio") if getattr(request, name)]
    if request.video is None:
        if request.transition is not None:
            yield "a transition needs the video that it leads on from"
        for name in ("use", *of_edits):
            if getattr(request, name):
                yield f"{name} speaks of a video, and there is none; accepted with video"
        return
    for name in ("image", "keyframes", "speakers"):
        if getattr(request, name):
            yield f"{name} and video are not used together; accepted is one of them"
    use = request.use or "extend"
    for name in of_edits if use != "edit" else ():
        yield f"{name} speaks of an edit; accepted with use edit, not {use}"
    if request.transition is not None and use != "extend":
        yield f"a transition leads on from a video to a new shot; accepted with use extend, not {use}"
    if request.span is not None and request.span[0] >= request.span[1]:
        start, end = request.span
        yield f"span must be start, end in seconds with start < end, not {start:g}, {end:g}"
    if use != "extend" and request.duration is not None:
        made = "an edited video" if use == "edit" else "a soundtrack"
        yield f"{made} is as long as the video; duration must be left out, not {request.duration:g} s"
    if use == "sound":
        for name in ("aspect", "resolution", "references"):
            if value := getattr(request, name):
                unless = f"not {value}" if isinstance(value, str) else "these are for new pictures"
                yield f"a soundtrack leaves the picture as it is; {name} must be left out, {unless}"


def _of_sound(request: Request) -> Iterator[str]:
    if request.audio is not None:
        if request.speakers:
            yield "audio and speakers are not used together; what a speaker says is its own audio"
        if request.keep_audio:
            yield "audio and keep_audio are not used together; accepted is one of them"
        if request.video is not None and request.use != "edit":
            yield f"audio drives a new or an edited video; accepted with use edit, not {request.use or 'extend'}"
    if request.sounds is not None and request.sound_is_given:
        yield "sounds says which kinds of sound are made, and here the sound is given; accepted is one of them"


def _of_modality(request: Request) -> Iterator[str]:
    modality, seen = request.modality, [name for name in ("video", "image", "keyframes") if getattr(request, name)]
    if modality == "audio":
        for name in seen:
            if name != "video" or request.use != "sound":
                yield f"from {name} a video is made; accepted modalities are video+audio and video, not audio"
        if request.audio is not None or any(speaker.audio for speaker in request.speakers):
            yield "the sound is given, so a video is made; accepted modalities are video+audio and video, not audio"
    if modality == "image":
        given = [name for name in ("audio", "speakers", "duration") if getattr(request, name)]
        for name in (*seen, *given):
            yield f"a single picture is made of a prompt and references; {name} must be left out"
    if not request.with_audio:
        silent = "a single picture" if modality == "image" else "a video without sound"
        for name in ("sounds", "keep_audio"):
            if getattr(request, name):
                yield f"{name} speaks of sound, and {silent} has none; accepted modalities are video+audio and audio"
        if any(speaker.voice for speaker in request.speakers):
            yield f"a voice speaks, and {silent} has no sound; accepted modalities are video+audio and audio"
        if request.use == "sound":
            yield f"use sound makes the sound of a video; accepted modalities are video+audio and audio, not {modality}"

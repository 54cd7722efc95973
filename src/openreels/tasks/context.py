"""References of a request, read: what the model sees and hears in context, and what the prompt calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from openreels.media import Clip
from openreels.media.timing import frames_for
from openreels.request import Request, RequestError
from openreels.request.request import SOURCE
from openreels.tasks.canvas import Canvas
from openreels.tasks.sound import heard
from openreels.tasks.speakers import faces_of
from openreels.tasks.window import Model, Read
from openreels.tasks.wording import followed, kind_of, own_tags, renamed, sounds_sentence, voice_sentence

__all__ = ["InContext", "codec_sound", "in_context", "picture", "sounding"]


@dataclass(frozen=True, eq=False)
class InContext:
    """prompt: with the tags that models know. pictures, sounds: as `Given` has them. media: by tag, those mentioned."""

    prompt: str
    pictures: tuple[Tensor, ...] = ()
    sounds: tuple[Tensor, ...] = ()
    media: Mapping[str, Clip] | None = None


def picture(read: Read, path: str, name: str) -> Clip:
    """A file with frames. Raises RequestError where it has none."""
    clip = read(path)
    if clip.frames is None:
        raise RequestError(f"{name} must be a picture or a clip, and {path} is a sound alone")
    return clip


def sounding(read: Read, path: str, name: str) -> Clip:
    """A file with sound. Raises RequestError where it has none."""
    clip = read(path)
    if clip.audio is None:
        raise RequestError(f"{name} must have sound, and {path} has none")
    return clip


def codec_sound(audio_KS: np.ndarray) -> Tensor:
    """As the audio codec takes it: (S,) of one channel, else (K, S)."""
    return torch.from_numpy(audio_KS[0] if len(audio_KS) == 1 else audio_KS)


def in_context(request: Request, canvas: Canvas, model: Model, read: Read, source: Clip | None = None) -> InContext:
    """Everything that a request gives besides what is kept of its result.

    Video references stand in the order given and the source of an edit last, so that a frame of it has the same
    distance from its counterpart in the result whatever else is given. Sounds likewise, voices of speakers last.
    source: the clip that is edited, where it is a reference. Raises RequestError.
    """
    clips = {reference.tag: read(reference.path) for reference in request.references}
    kinds = [kind_of(clip) for clip in clips.values()]
    if not request.with_video and (seen := [tag for tag, kind in zip(clips, kinds, strict=True) if kind != "audio"]):
        raise RequestError(f"references of a sound must be sounds, and @{seen[0]} is something to see")
    for tag, clip in clips.items():
        check_length(model, f"@{tag}", clip)
    # The clip that is edited is @video_1, also where only a part of it is made anew.
    tags = dict(zip(clips, own_tags(kinds, ["video"] if request.use == "edit" else []), strict=True))
    media = {tags[tag]: clip for tag, clip in clips.items()}
    prompt = renamed(request.prompt, ({SOURCE: SOURCE} if request.use == "edit" else {}) | tags)

    told = []
    for speaker, face in zip(request.speakers, faces_of(request, tags, read), strict=True):
        if len(request.speakers) == 1 and speaker.audio is not None:
            continue  # the one that is heard is the one that is seen
        voice = own_tags(["audio"], [kind_of(clip) for clip in media.values()])[0]
        spoken = sounding(read, speaker.audio or speaker.voice, "the sound of a speaker")
        media[voice] = replace(spoken, frames=None, fps=Fraction(0))
        check_length(model, "the sound of a speaker", media[voice])
        told.append(voice_sentence(request.prompt, face, voice))
    told.append(sounds_sentence(request.prompt, request.sounds))

    if source is not None:
        media[SOURCE] = source
    return InContext(
        followed(prompt, told),
        tuple(canvas.shown(clip) for clip in media.values() if kind_of(clip) != "audio"),
        tuple(
            codec_sound(heard(clip, model.sample_rate, model.channels))
            for clip in media.values()
            if kind_of(clip) == "audio"
        ),
        media,
    )


def check_length(model: Model, name: str, clip: Clip) -> None:
    """Raises RequestError where a reference is longer than what the model makes."""
    if kind_of(clip) != "image":
        model.check_length(name, frames_for(clip.duration, model.fps), shortest=False)

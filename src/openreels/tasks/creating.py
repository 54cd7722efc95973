"""A new clip: of words, references, key frames, a portrait; and of a sound that the picture follows.

Legend: T frames, H W pixels.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from openreels.media import Clip
from openreels.media.timing import frames_for
from openreels.request import Request
from openreels.tasks.context import in_context, picture, sounding
from openreels.tasks.keyframes import key_indices
from openreels.tasks.parts import canvas_for, clip_of, kept_of, whole_sound, window
from openreels.tasks.sound import heard, lasting, mixed
from openreels.tasks.window import Making, Model, Read

__all__ = ["created"]


def created(request: Request, model: Model, read: Read) -> Making:
    """A clip of words and whatever else is given."""
    sound = given_sound(request, model, read)
    if request.modality == "image":
        frames = 1
    elif request.duration is not None:
        frames = frames_for(request.duration, model.fps)
    else:
        # Of the sound, whatever pictures there are beside it.
        frames = frames_for(Fraction(sound.audio.shape[1], sound.sample_rate), model.fps)
        model.check_length("the sound", frames)
    stills = [("image", request.image, 0)] if request.image is not None else []
    if request.keyframes:
        indices = key_indices(request.keyframes, frames, model.fps)
        numbered = enumerate(zip(request.keyframes, indices, strict=True), 1)
        stills = [(f"keyframe {number}", keyframe.path, index) for number, (keyframe, index) in numbered]
    shown = [(picture(read, path, name), index) for name, path, index in stills]
    canvas = canvas_for(request, model, shown[0][0] if shown else None)
    context = in_context(request, canvas, model, read)
    given = {}
    if shown:
        kept, keep = np.zeros((frames, canvas.height, canvas.width, 3), np.uint8), np.zeros(frames, bool)
        for still, index in shown:
            kept[index], keep[index] = canvas.filled(Clip(still.frames[:1], 1))[0], True
        given |= kept_of(canvas, kept, np.broadcast_to(keep[:, None, None], kept.shape[:3]))
    if sound is not None:
        given["sound_S"] = whole_sound(sound, model, canvas, frames)
    made = yield window(request, context, canvas, frames, **given)
    rate = Fraction(1) if request.modality == "image" else model.fps
    if sound is None or not request.with_audio:
        return clip_of(made.frames, rate, made.sound if request.with_audio else None, model.sample_rate)
    return clip_of(made.frames, rate, lasting(sound, frames / model.fps), sound.sample_rate)


def given_sound(request: Request, model: Model, read: Read) -> Clip | None:
    """The sound that the picture follows: one that is given, or what all speakers say."""
    if request.audio is not None:
        return sounding(read, request.audio, "audio")
    said = [speaker.audio for speaker in request.speakers if speaker.audio is not None]
    if not said:
        return None
    if len(said) == 1:
        return sounding(read, said[0], "the audio of speaker 1")
    voices = [sounding(read, path, f"the audio of speaker {number}") for number, path in enumerate(said, 1)]
    return Clip(
        audio=mixed([heard(voice, model.sample_rate, model.channels) for voice in voices]),
        sample_rate=model.sample_rate,
    )

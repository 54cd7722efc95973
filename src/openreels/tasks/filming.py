"""A film longer than the model's clips: key frames first, then the stretches between them.

The key frames are spread frames of one clip that the model makes of the prompt, so whom they show cannot drift. Every
stretch is a clip of the model's usual length that is given its first and last frame, the two key frames that it lies
between; neighbours share theirs. The first key frame is a reference picture of all of them, and the end of the sound so
far an audio reference of the next.

Legend: T frames, H W pixels, K channels, S samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openreels.media import Clip
from openreels.media.audio import fit_length
from openreels.media.timing import frames_for, samples_for
from openreels.request import Request
from openreels.tasks.context import in_context
from openreels.tasks.parts import canvas_for, clip_of, kept_of, window, with_sound
from openreels.tasks.sound import before, joined
from openreels.tasks.window import Making, Model, Read

__all__ = ["filmed", "key_moments"]


def key_moments(stretches: int, frames: int) -> list[int]:
    """Which frames of a clip are the key frames of so many stretches: one more than these, evenly spread."""
    return [round(number * (frames - 1) / stretches) for number in range(stretches + 1)]


def filmed(request: Request, model: Model, read: Read) -> Making:
    """A film of the duration asked for, to the frame and the sample."""
    canvas = canvas_for(request, model, None)
    context = in_context(request, canvas, model, read)
    total, length = frames_for(request.duration, model.fps), model.usual
    count = -(-(total - 1) // (length - 1))

    made = yield replace(window(request, context, canvas, length, audio=False), parts=count + 1)
    keys_THWC = made.frames[key_moments(count, length)]
    anchor = canvas.shown(Clip(keys_THWC[:1], model.fps))
    context = replace(context, pictures=(*context.pictures, anchor))

    stretches, sound_KS = [keys_THWC[:1]], None
    keep = np.isin(np.arange(length), (0, length - 1))[:, None, None]
    for part in range(count):
        kept_THWC = np.zeros_like(made.frames)
        kept_THWC[0], kept_THWC[-1] = keys_THWC[part : part + 2]
        told = context
        if sound_KS is not None:
            told = with_sound(context, before(sound_KS, model.sample_rate, sound_KS.shape[1] / model.sample_rate))
        given = kept_of(canvas, kept_THWC, np.broadcast_to(keep, kept_THWC.shape[:3]))
        made = yield replace(window(request, told, canvas, length, **given), part=part + 1, parts=count + 1)
        stretches.append(made.frames[1:])
        if request.with_audio:
            start, end = (samples_for(frames, model.fps, model.sample_rate) for frames in _span(part, length))
            if sound_KS is None:
                sound_KS = made.sound
            else:
                sound_KS = joined(sound_KS, made.sound, sound_KS.shape[1] - start, model.sample_rate)
            sound_KS = fit_length(sound_KS, end)
    if sound_KS is not None:
        sound_KS = fit_length(sound_KS, samples_for(total, model.fps, model.sample_rate))
    return clip_of(np.concatenate(stretches)[:total], model.fps, sound_KS, model.sample_rate)


def _span(part: int, length: int) -> tuple[int, int]:
    """First frame of a stretch, and the one after its last."""
    return part * (length - 1), (part + 1) * (length - 1) + 1

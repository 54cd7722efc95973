"""A video goes on: window after window, each beginning with the last frames of what is there.

Legend: T frames, H W pixels, K channels, S samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openreels.media.audio import fit_length
from openreels.media.timing import frames_for, samples_for
from openreels.request import Request
from openreels.tasks.context import in_context
from openreels.tasks.parts import canvas_for, clip_of, kept_of, moving, window, with_sound
from openreels.tasks.sound import before, heard, joined
from openreels.tasks.window import Making, Model, Read
from openreels.tasks.wording import cut_sentence

__all__ = ["extended", "stretches"]

REMEMBERED = 0.4  # share of a window that is given, where more than one is needed


def stretches(there: int, new: int, usual: int, group: int) -> list[tuple[int, int]]:
    """(given, new) frames of each window in which `new` frames follow on those that are `there`.

    usual: frames of a window. Of what is there, a window is given whole latent frames, as many as fit beside its new
    ones, so that it has the length that the model knows best.
    """
    whole = lambda frames: group * ((frames - 1) // group) + 1  # noqa: E731
    least = whole(max(1, round(REMEMBERED * usual)))
    found = []
    while new > 0:
        made = min(new, usual - min(least, whole(there)))
        given = min(whole(there), max(whole(usual - made), 1))
        found.append((given, made))
        there, new = there + made, new - made
    return found


def extended(request: Request, model: Model, read: Read) -> Making:
    """The video, then its continuation of exactly the duration asked for.

    Its sound goes on too: the end of it is an audio reference, and the two cross where the video ends. A silent video
    stays silent in its part.
    """
    source = moving(request, read)
    canvas = canvas_for(request, model, source)
    context = in_context(request, canvas, model, read)
    frames_THWC = canvas.filled(source)

    def samples(frames: int) -> int:
        return samples_for(frames, model.fps, model.sample_rate)

    sound_KS = None
    if request.with_audio:
        sound_KS = np.zeros((model.channels, samples(len(frames_THWC))), np.float32)
        if source.audio is not None:
            sound_KS = fit_length(heard(source, model.sample_rate, model.channels), sound_KS.shape[1])
    wanted = frames_for(request.duration, model.fps)
    plan = stretches(len(frames_THWC), wanted, model.usual, model.group)
    cut = cut_sentence(request.prompt, request.transition or "none")
    for part, (given, new) in enumerate(plan):
        told = context
        if cut and part == 0:
            told = replace(context, prompt=f"{cut} {context.prompt}")
        begin = len(frames_THWC) - given
        if sound_KS is not None and (part or source.audio is not None):
            told = with_sound(told, before(sound_KS, model.sample_rate, len(frames_THWC) / model.fps))
        kept = np.zeros((given + new, *frames_THWC.shape[1:]), np.uint8)
        kept[:given] = frames_THWC[begin:]
        keep = np.broadcast_to((np.arange(given + new) < given)[:, None, None], kept.shape[:3])
        scene = window(request, told, canvas, given + new, **kept_of(canvas, kept, keep))
        made = yield replace(scene, part=part, parts=len(plan))
        frames_THWC = np.concatenate([frames_THWC, made.frames[given:]])
        if sound_KS is not None:
            overlap = sound_KS.shape[1] - samples(begin)
            length = samples(len(frames_THWC))
            sound_KS = fit_length(joined(sound_KS, made.sound, overlap, model.sample_rate), length)
    return clip_of(frames_THWC, model.fps, sound_KS, model.sample_rate)

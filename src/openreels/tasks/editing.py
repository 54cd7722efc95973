"""A video made anew: inside masks, inside a span of time, or all of it by instruction; or only its sound.

Whatever is kept of it is kept exactly where it has the size and rate of the result; else as it is after scaling and
resampling.

Legend: T frames, H W pixels, K channels, S samples.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from openreels.media import Clip
from openreels.media.audio import fit_length
from openreels.media.masks import region_mask, spanned
from openreels.media.timing import nearest, samples_for
from openreels.request import Request, RequestError
from openreels.tasks.canvas import Canvas
from openreels.tasks.context import in_context, sounding
from openreels.tasks.given import Given
from openreels.tasks.parts import canvas_for, clip_of, kept_of, moving, whole_sound, window, with_sound
from openreels.tasks.sound import heard, lasting, replaced, silenced
from openreels.tasks.window import Making, Model, Read, Window

__all__ = ["edited", "scored"]


def edited(request: Request, model: Model, read: Read) -> Making:
    """A video made anew as the prompt says: where masks and a span say, or all of it."""
    source = moving(request, read)
    canvas = canvas_for(request, model, source)
    frames_THWC = canvas.filled(source)
    frames, span = len(frames_THWC), request.span
    model.check_length("video", frames)
    fitted = Clip(frames_THWC, model.fps)
    given = {} if span is not None else {"source_THWC": canvas.drawn(frames_THWC)}
    if span is None and not request.masks:
        context = in_context(request, canvas, model, read, source=fitted)
    else:
        context = in_context(request, canvas, model, read)
        given |= kept_of(canvas, frames_THWC, ~remade(request, canvas, source, model, read, frames))

    sound = None
    if request.keep_audio:
        sound = sounding(read, request.video, "video, whose sound is kept,")
    elif request.audio is not None:
        sound = sounding(read, request.audio, "audio")
    samples = samples_for(frames, model.fps, model.sample_rate)
    kept_KS = None
    if sound is not None:
        given["sound_S"] = whole_sound(sound, model, canvas, frames)
    elif span is not None and request.with_audio:
        kept_KS = np.zeros((model.channels, samples), np.float32)
        if source.audio is not None:
            kept_KS = fit_length(heard(source, model.sample_rate, model.channels), samples)
            context = with_sound(context, silenced(kept_KS, model.sample_rate, span))

    made = yield window(request, context, canvas, frames, **given)
    if not request.with_audio:
        return clip_of(made.frames, model.fps)
    if sound is not None:
        return clip_of(made.frames, model.fps, lasting(sound, frames / model.fps), sound.sample_rate)
    new = made.sound if kept_KS is None else replaced(kept_KS, made.sound, model.sample_rate, span)
    return clip_of(made.frames, model.fps, new, model.sample_rate)


def remade(request: Request, canvas: Canvas, source: Clip, model: Model, read: Read, frames: int) -> np.ndarray:
    """Where the video is made anew, bool (T, H, W) over the result. Raises RequestError, MediaError."""
    height, width = source.frames.shape[1:3]
    region_THW = np.ones((frames, canvas.height, canvas.width), bool)
    if request.masks:
        drawn = region_mask(request.masks, len(source.frames), height, width, source.fps, read)
        region_THW = canvas.region(drawn, source)
        if not region_THW.any():
            raise RequestError(f"masks hold nothing of the picture once it is {canvas.width} x {canvas.height} pixels; "
                               f"accepted are larger ones")  # fmt: skip
    if request.span is not None:
        region_THW = region_THW & spanned(request.span, frames, model.fps)[:, None, None]
    if region_THW.all():
        given = "span is the whole video" if request.span is not None else "masks hold the whole picture of the result"
        raise RequestError(f"{given}, so nothing of it would be kept; leave it out to have all of the video edited by "
                           "the instruction")  # fmt: skip
    return region_THW


def scored(request: Request, model: Model, read: Read) -> Making:
    """The sound of a video, which stays as it is; or that sound alone."""
    source = moving(request, read)
    canvas = canvas_for(request, model, source)
    frames_THWC = canvas.filled(source)
    model.check_length("video", len(frames_THWC))
    context = in_context(request, canvas, model, read)
    scene = Window(
        context.prompt,
        canvas,
        len(frames_THWC),
        video=True,
        audio=True,
        given=Given(sounds=context.sounds, picture_THWC=canvas.drawn(frames_THWC)),
    )
    made = yield scene
    lasts = Fraction(len(source.frames)) / source.fps
    sound = fit_length(made.sound, nearest(lasts * model.sample_rate))
    if not request.with_video:
        return Clip(audio=sound, sample_rate=model.sample_rate)
    return clip_of(source.frames, source.fps, sound, model.sample_rate)

"""What all tasks are put together from.

Legend: T frames, H W pixels, K channels, S samples.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from torch import Tensor

from openreels.media import Clip
from openreels.media.audio import fit_length
from openreels.media.timing import samples_for
from openreels.prompts import parse
from openreels.request import Request, RequestError
from openreels.tasks.canvas import Canvas
from openreels.tasks.context import InContext, codec_sound, picture
from openreels.tasks.fitting import nearest_aspect
from openreels.tasks.given import Given
from openreels.tasks.sound import heard
from openreels.tasks.window import Model, Read, Window

__all__ = ["canvas_for", "clip_of", "kept_of", "moving", "whole_sound", "window", "with_sound"]


def canvas_for(request: Request, model: Model, shown: Clip | None) -> Canvas:
    """Of the aspect asked for, else of the one nearest to what is shown, else of the model's own."""
    aspect = request.aspect
    if aspect is None and shown is not None:
        aspect = nearest_aspect(*shown.frames.shape[1:3], model.capabilities.aspects)
    aspect = aspect or model.capabilities.aspect or model.capabilities.aspects[0]
    return model.canvas(aspect, request.resolution)


def moving(request: Request, read: Read) -> Clip:
    """The video of a request. Raises RequestError where it does not move."""
    source = picture(read, request.video, "video")
    if len(source.frames) == 1:
        raise RequestError(f"video must be a clip, and {request.video} is a single picture")
    return source


def window(
    request: Request, context: InContext, canvas: Canvas, frames: int, audio: bool | None = None, **given
) -> Window:
    """A run of the model. audio: whether that stream takes part, by default where there is sound. given: of `Given`."""
    mentioned = set(parse(context.prompt, context.media).tags)
    return Window(
        context.prompt,
        canvas,
        frames,
        request.with_video,
        request.with_audio or request.sound_is_given if audio is None else audio,
        Given(pictures=context.pictures, sounds=context.sounds, **given),
        {tag: clip for tag, clip in context.media.items() if tag in mentioned},
    )


def whole_sound(sound: Clip, model: Model, canvas: Canvas, frames: int) -> Tensor:
    """A sound for the model to follow, as long as what it draws."""
    samples = samples_for(canvas.whole(frames), model.fps, model.sample_rate)
    return codec_sound(fit_length(heard(sound, model.sample_rate, model.channels), samples))


def kept_of(canvas: Canvas, frames_THWC: np.ndarray, keep_THW: np.ndarray) -> dict:
    """The fields of `Given` for the kept part of a result."""
    return {"frames_THWC": canvas.drawn(frames_THWC), "keep_THW": canvas.kept(keep_THW)}


def with_sound(context: InContext, audio_KS: np.ndarray) -> InContext:
    return InContext(context.prompt, context.pictures, (*context.sounds, codec_sound(audio_KS)), context.media)


def clip_of(frames: np.ndarray | None, fps: Fraction, sound: np.ndarray | None = None, sample_rate: int = 0) -> Clip:
    """Of what there is."""
    parts = {} if frames is None else {"frames": frames, "fps": fps}
    return Clip(**parts) if sound is None else Clip(**parts, audio=sound, sample_rate=sample_rate)

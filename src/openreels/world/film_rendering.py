"""Films to pictures and sound, shot by shot, with the renderers of scenes.

The camera of a shot that moves stands elsewhere in each frame.

Legend: T frames  H, W pixels  S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil

import torch

from openreels.media import Clip
from openreels.world.camera import Camera
from openreels.world.films import Film, Shot
from openreels.world.rendering import render_frames
from openreels.world.sound import SAMPLE_RATE, render_sound

__all__ = ["cut_frames", "film_frames", "render_film"]

SLICE_PIXELS = 24 * 256 * 256  # drawn together: a near view of a large subject needs many numbers for each


def cut_frames(film: Film, fps: float) -> tuple[int, ...]:
    """Index of the first frame after each cut."""
    return tuple(ceil(time * fps - 1e-9) for time in film.cut_times)


def _cameras(shot: Shot, times: Sequence[float]) -> Camera | list[Camera]:
    """Where it is seen from at these times, in seconds from its start."""
    if shot.move is None:
        return shot.camera
    return [shot.move.at(shot.camera, min(max(time / shot.duration, 0.0), 1.0)) for time in times]


def film_frames(
    film: Film, *, fps: float, height: int, width: int, first: int = 0, last: int | None = None
) -> torch.Tensor:
    """Frames `first` to `last` (excluded; by default to the end), uint8 (T, H, W, 3). Frame t shows t / fps seconds."""
    total = round(film.duration * fps)
    last = total if last is None else min(last, total)
    borders = (0, *cut_frames(film, fps), total)
    step = max(SLICE_PIXELS // (height * width), 1)
    parts = [torch.empty(0, height, width, 3, dtype=torch.uint8)]
    for shot, begun, (begin, end) in zip(film.shots, (0.0, *film.cut_times), pairwise(borders), strict=True):
        begin, end = max(begin, first), min(end, last)
        for frame in range(begin, end, step):
            frames = range(frame, min(frame + step, end))
            part = render_frames(
                [shot.scene],
                fps=fps,
                frames=len(frames),
                height=height,
                width=width,
                start=shot.start + frame / fps - begun,
                camera=_cameras(shot, [each / fps - begun for each in frames]),
            )
            parts.append(part[0])
    return torch.cat(parts)


def render_film(film: Film, *, fps: int = 16, height: int, width: int, sample_rate: int = SAMPLE_RATE) -> Clip:
    """The whole film with its sound (mono). While the scene stays the same, sound goes on over a cut."""
    frames_THWC = film_frames(film, fps=fps, height=height, width=width)
    samples = round(len(frames_THWC) / fps * sample_rate)
    borders = [*(round(time * sample_rate) for time in (0.0, *film.cut_times)), samples]
    parts_S = [
        render_sound([shot.scene], samples=end - begin, sample_rate=sample_rate, start=shot.start)[0]
        for shot, (begin, end) in zip(film.shots, pairwise(borders), strict=True)
    ]
    audio_S = torch.cat(parts_S)
    return Clip(frames_THWC.numpy(), Fraction(fps), audio_S[None].numpy(), sample_rate)

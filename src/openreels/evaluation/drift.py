"""Drift: how a long clip changes that should stay the same. Colour, identity and sync, window by window, as slopes.

    found = measure_drift(clip)
    found.subject_slope      # levels of 0..255 per second
    found.same_at_ends       # whether whoever is seen at its beginning is seen at its end

Colour of the whole picture is measured of any clip; subjects and sync where the oracle knows what it sees.

Legend: T frames  H, W pixels  C = 3 channels, 0..255  N windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from openreels.evaluation.oracle import Sight, contact_matches, listen, look, mouth_correlation, standard
from openreels.evaluation.scenery import find_scenery
from openreels.evaluation.subjects import find_things, foreground
from openreels.media import Clip

__all__ = ["Drift", "Window", "cut", "measure_drift"]

WINDOW = 2.0  # seconds; the oracle was made for such clips

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Window:
    """A stretch of the clip. start: its first moment, seconds.

    picture: mean colour, RGB 0..255. subject: mean colour of the largest subject's pixels. names: (colour, kind) of
    each subject. identity: share of the first window's subjects that are here too. sync, 0..1: of the visible contacts
    those that are heard in time, or the correlation of mouth and voice. None where there is nothing to measure.
    """

    start: float
    picture: Colour
    subject: Colour | None
    names: tuple[tuple[str | None, str | None], ...]
    identity: float | None
    sync: float | None


@dataclass(frozen=True)
class Drift:
    """windows: in order. Slopes are of straight lines fitted to them, per second; None where fewer than two can be
    measured.

    picture_slope, subject_slope: of colours, levels of 0..255, over the three channels together (Euclidean).
    identity_slope, sync_slope: of shares 0..1. same_at_ends: whether the oracle names the same subjects in the first
    and in the last window; None where there is only one, or nothing that it knows in the first.
    """

    windows: tuple[Window, ...]
    same_at_ends: bool | None
    picture_slope: float | None
    subject_slope: float | None
    identity_slope: float | None
    sync_slope: float | None

    def facts(self) -> dict[str, object]:
        """For people and for JSON: the slopes, and whether the ends agree."""
        slopes = ("picture_slope", "subject_slope", "identity_slope", "sync_slope")
        rounded = {name: None if (x := getattr(self, name)) is None else round(x, 4) for name in slopes}
        return {"windows": len(self.windows), "same_at_ends": self.same_at_ends, **rounded}


def cut(clip: Clip, start: float, end: float) -> Clip:
    """The clip from `start` to `end` seconds, frames and sound, to the nearest frame."""
    first, last = (round(time * clip.fps) for time in (Fraction(start), Fraction(end)))
    frames = clip.frames[first : max(last, first + 1)]
    if clip.audio is None:
        return replace(clip, frames=frames)
    begin, stop = (int(index * clip.sample_rate / clip.fps) for index in (first, last))
    audio = clip.audio[:, begin : max(stop, begin + 1)]
    return replace(clip, frames=frames, audio=audio if audio.size else None, sample_rate=clip.sample_rate)


def measure_drift(clip: Clip, progress: Callable[[int, int], None] | None = None) -> Drift:
    """Of a clip with frames. progress: called after each window. Raises ValueError for a sound alone."""
    if clip.frames is None:
        raise ValueError("drift is measured in pictures, and the clip is a sound alone")
    starts = window_starts(clip.duration)
    windows: list[Window] = []
    for number, start in enumerate(starts, 1):
        windows.append(measure_window(cut(clip, start, start + WINDOW), start, windows[0] if windows else None))
        if progress is not None:
            progress(number, len(starts))
    first, last = windows[0].names, windows[-1].names
    return Drift(
        tuple(windows),
        same_at_ends=Counter(first) == Counter(last) if first and len(windows) > 1 else None,
        picture_slope=slope(starts, [window.picture for window in windows]),
        subject_slope=slope(starts, [window.subject for window in windows]),
        identity_slope=slope(starts, [window.identity for window in windows]),
        sync_slope=slope(starts, [window.sync for window in windows]),
    )


def window_starts(duration: float) -> list[float]:
    """Evenly spread, as few as cover all of it; the first begins with the clip and the last ends with it."""
    count = max(1, int(np.ceil(duration / WINDOW - 1e-6)))
    return np.linspace(0, max(duration - WINDOW, 0), count).tolist()


def measure_window(clip: Clip, start: float, first: Window | None) -> Window:
    """first: the clip's first window, None for that one itself."""
    sight = look(clip)
    names = names_of(sight)
    here = Counter(names)
    wanted = here if first is None else Counter(first.names)
    identity = (here & wanted).total() / wanted.total() if wanted else None
    picture = tuple(clip.frames.mean(axis=(0, 1, 2)).tolist())
    return Window(start, picture, subject_colour(clip) if names else None, names, identity, sync_of(clip, sight))


def names_of(sight: Sight) -> tuple[tuple[str | None, str | None], ...]:
    return tuple((subject.colour, subject.kind) for subject in sight.subjects)


def subject_colour(clip: Clip) -> Colour | None:
    """Mean colour of the largest subject's pixels, those of the frames in which it is seen."""
    frames_THWC = standard(clip.frames)
    scenery = find_scenery(frames_THWC)
    if scenery.background is None:
        return None
    _, mask_THW, colour_THW = foreground(frames_THWC.clone(), scenery)
    things = find_things(mask_THW, colour_THW)
    if not things:
        return None
    largest = max(things, key=lambda thing: thing.area_T.sum())
    return tuple(frames_THWC.numpy()[largest.mask_THW].mean(axis=0).tolist())


def sync_of(clip: Clip, sight: Sight) -> float | None:
    if clip.audio is None:
        return None
    heard = listen(clip)
    found = []
    if sight.contacts:
        times = tuple(impact.time for impact in heard.impacts)
        found.append(contact_matches(sight.contacts, times) / len(sight.contacts))
    if sight.mouth_T is not None and heard.voice.present:
        found.append(mouth_correlation(sight, heard))
    return float(np.mean(found)) if found else None


def slope(times: Sequence[float], values: Sequence[float | Colour | None]) -> float | None:
    """Of the line of least squares through the values that are there; of colours the Euclidean norm over channels."""
    known = [(time, np.atleast_1d(value)) for time, value in zip(times, values, strict=True) if value is not None]
    if len(known) < 2:
        return None
    time_N = np.array([time for time, _ in known], float)
    time_N -= time_N.mean()
    value_NC = np.stack([value for _, value in known])
    slope_C = time_N @ (value_NC - value_NC.mean(0)) / (time_N @ time_N)
    return float(slope_C[0]) if len(slope_C) == 1 else float(np.linalg.norm(slope_C))

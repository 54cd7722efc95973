"""The oracle: what a clip shows and sounds like, from its pixels and samples alone.

    sight, heard = look(clip), listen(clip)
    sight.background, sight.subjects[0].colour, heard.impacts[0].material
    contact_matches(sight.contacts, heard.impacts), mouth_correlation(sight, heard)

Legend: T frames  H, W pixels  C = 3 channels or channels of sound  S samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from openreels.evaluation.faces import find_face, mouth_opening
from openreels.evaluation.hearing import RATE, Heard, Voice, hear
from openreels.evaluation.motions import Travel, judge_motion, rolls, track_of
from openreels.evaluation.scenery import UNIT, find_scenery
from openreels.evaluation.silhouettes import judge_shape
from openreels.evaluation.subjects import find_things, foreground
from openreels.media import Clip
from openreels.media.audio import resample, to_mono

__all__ = ["TOLERANCE", "Seen", "Sight", "contact_matches", "listen", "look", "mouth_correlation", "standard"]

TOLERANCE = 0.08  # seconds between a visible contact and its sound
ONE_EVENT = 0.07  # contacts of two subjects nearer than this are heard as one
LAST_MOMENT = 0.06  # seconds before the end in which a contact has no time left to be heard; it is not counted
TOGETHER = 0.15  # seconds by which the two tracks of one collision may disagree
TOUCHING = 5.0  # pixels of the `UNIT` picture between two subjects that have hit each other


@dataclass(frozen=True)
class Seen:
    """One subject. colour, kind (a shape or a face), motion: as the world names them, None when nothing fits.

    side: of a slide, roll or collision: -1 to the left, 1 to the right, else 0. x: mean centre, fraction of the width.
    likeness: 0..1, how well the best kind fits. contacts: seconds. nearest: the most alike kind, if it fits or not.
    x_T, y_T: its centre, fractions of the width and the height from the top left, NaN where it is not seen. mouth_T:
    opening of a face's mouth in radii, None for a shape.
    """

    colour: str | None
    kind: str | None
    motion: str | None
    side: int
    x: float
    likeness: float
    contacts: tuple[float, ...]
    nearest: str | None
    x_T: np.ndarray
    y_T: np.ndarray
    mouth_T: np.ndarray | None


@dataclass(frozen=True)
class Sight:
    """What the frames show. background, night: None when no place fits. subjects: from left to right.

    contacts: seconds, in order, up to `LAST_MOMENT`; what happens within `ONE_EVENT` is one.
    """

    background: str | None
    night: bool | None
    subjects: tuple[Seen, ...]
    contacts: tuple[float, ...]

    @property
    def mouth_T(self) -> np.ndarray | None:
        """Of the first face, None without a face."""
        return next((seen.mouth_T for seen in self.subjects if seen.mouth_T is not None), None)


def standard(frames_THWC: np.ndarray) -> torch.Tensor:
    """float32 0..255 with a short side of `UNIT`."""
    planes = torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float()
    height, width = planes.shape[2:]
    short = min(height, width)
    if short != UNIT:
        size = (round(height * UNIT / short), round(width * UNIT / short))
        planes = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    return planes.permute(0, 2, 3, 1).contiguous()


def merged(times: list[float]) -> tuple[float, ...]:
    groups: list[list[float]] = []
    for time in sorted(times):
        if groups and time - groups[-1][0] < ONE_EVENT:
            groups[-1].append(time)
        else:
            groups.append([time])
    return tuple(float(np.mean(group)) for group in groups)


def _collision(travels: list[Travel], boxes: list[np.ndarray], fps: float) -> float | None:
    """When the two subjects hit each other, if both tracks turn back then and the subjects touch."""
    if len(travels) != 2 or any(travel.kind != "collide" or not travel.contacts for travel in travels):
        return None
    times = [travel.contacts[0] for travel in travels]
    if abs(times[0] - times[1]) > TOGETHER:
        return None
    gaps_T = boxes[1][:, 0] - boxes[0][:, 2]
    frame = round(float(np.mean(times)) * fps)
    near = gaps_T[max(frame - 2, 0) : frame + 3]
    near = near[np.isfinite(near)]
    # Where they touch they may be one part of the picture for a frame, so the gap there is unknown or tiny.
    return float(np.mean(times)) if len(near) and near.min() <= TOUCHING else None


@torch.no_grad()
def look(clip: Clip) -> Sight:
    """Measure the frames. A clip without frames, or of nothing that the world knows, gives None and empty tuples."""
    if clip.frames is None:
        return Sight(None, None, (), ())
    frames_THWC = standard(clip.frames)
    _, height, width, _ = frames_THWC.shape
    fps, duration = float(clip.fps), len(frames_THWC) / float(clip.fps)
    scenery = find_scenery(frames_THWC)
    if scenery.background is None:
        # Without knowing the stage nothing before it can be told apart from it.
        return Sight(None, None, (), ())
    distance_THW, mask_THW, colour_THW = foreground(frames_THWC, scenery)
    things = find_things(mask_THW, colour_THW)
    tracks = [track_of(thing, fps, width) for thing in things]
    travels = [judge_motion(track, fps, duration) for track in tracks]
    hit = _collision(travels, [thing.box_T4 for thing in things], fps)
    seen, contacts = [], [hit] if hit is not None else []
    for thing, track, travel in zip(things, tracks, travels, strict=True):
        face = find_face(thing, frames_THWC, scenery.plate_HWC)
        if face is not None:
            kind, likeness, mouth_T = face.kind, face.likeness, mouth_opening(face, frames_THWC)
            nearest = kind
        else:
            outline, mouth_T = judge_shape(thing, frames_THWC, distance_THW), None
            kind, likeness, nearest = outline.kind, outline.likeness, outline.nearest
        motion, times = travel.kind, travel.contacts
        if motion == "slide" and rolls(thing, track, frames_THWC):
            motion = "roll"
        if motion == "collide":
            motion, times = ("collide", (hit,)) if hit is not None else (None, ())
        else:
            contacts += times
        x_T, y_T = track.x_T * UNIT / width, track.y_T * UNIT / height
        x = float(np.nanmean(thing.x_T)) / width
        seen.append(Seen(thing.colour, kind, motion, travel.side, x, likeness, times, nearest, x_T, y_T, mouth_T))
    return Sight(
        scenery.background,
        scenery.night,
        tuple(seen),
        merged([time for time in contacts if time < duration - LAST_MOMENT]),
    )


def listen(clip: Clip) -> Heard:
    """Measure the sound; silence for a clip without it."""
    frames, fps = (len(clip.frames), clip.fps) if clip.frames is not None else (32, Fraction(16))
    if clip.audio is None:
        return Heard((), Voice(False, None, np.zeros(frames)), False)
    sound_S = to_mono(resample(clip.audio, clip.sample_rate, RATE))[0]
    return hear(sound_S, frames, float(fps))


def contact_matches(contacts: tuple[float, ...], impacts: tuple[float, ...], tolerance: float = TOLERANCE) -> int:
    """How many contacts have a sound of their own within the tolerance: most pairs, each time used once (seconds)."""
    # Both are sorted, so taking the earliest possible partner each time is a largest matching.
    matched = first = 0
    for contact in sorted(contacts):
        while first < len(impacts) and impacts[first] < contact - tolerance:
            first += 1
        if first < len(impacts) and impacts[first] <= contact + tolerance:
            matched, first = matched + 1, first + 1
    return matched


def mouth_correlation(sight: Sight, heard: Heard) -> float:
    """Correlation of the mouth's opening with the voice's loudness, frame by frame; 0 without a face or a voice."""
    if sight.mouth_T is None or not heard.voice.present:
        return 0.0
    frames = min(len(sight.mouth_T), len(heard.voice.loudness_T))
    mouth_T, voice_T = sight.mouth_T[:frames], heard.voice.loudness_T[:frames]
    if mouth_T.std() < 1e-3 or voice_T.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(mouth_T, voice_T)[0, 1])

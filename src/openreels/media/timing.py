"""Frames, seconds, latent frames, samples and audio tokens: every conversion between them, exact.

Time is a `Fraction` of seconds everywhere: 29.97 fps is 30000/1001, and a long clip does not drift. A float enters by
its decimal meaning (0.1 is one tenth). Where a count must be whole it is the *nearest* one, halves up, so a clip is
off by at most half a unit; no count ever depends on the order in which conversions are made.

The paper's example: 81 frames at 16 fps are 21 latent frames; their 5.0625 s at 44,100 Hz and 1,024 samples per token
are 218 audio tokens; audio token i sits at latent position i * 21 / 218.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

__all__ = [
    "audio_tokens",
    "decoded_frames",
    "exact",
    "frames_for",
    "latent_frames",
    "nearest_frames",
    "padded_frames",
    "samples_for",
    "seconds_for",
    "tidy_rate",
]

NTSC_RATES = tuple(Fraction(base * 1000, 1001) for base in (24, 30, 48, 60, 120))


def exact(value: Fraction | float | int | str) -> Fraction:
    """A number by its decimal meaning: 0.1 -> 1/10, "30000/1001" -> 30000/1001. Raises ValueError on inf and nan."""
    return Fraction(str(value)) if isinstance(value, float | str) else Fraction(value)


def nearest(value: Fraction) -> int:
    """The nearest whole number, halves up (Python's own `round` sends halves to even: 0.5 -> 0, 1.5 -> 2)."""
    return floor(value + Fraction(1, 2))


# -- frames and seconds -----------------------------------------------------------------------------------------------


def frames_for(duration: Fraction | float, fps: Fraction | int) -> int:
    """How many frames last `duration` seconds at `fps`; at least one."""
    return max(1, nearest(exact(duration) * fps))


def seconds_for(frames: int, fps: Fraction | int) -> Fraction:
    """How long `frames` frames last, in seconds."""
    return Fraction(frames) / fps


def tidy_rate(rate: Fraction) -> Fraction:
    """The frame rate that was meant by a measured one.

    Containers that keep time in milliseconds report 29.97 fps as 29.9697; a whole or NTSC rate within 1 in 1,000 is
    taken instead (24 and 23.976 are 1 in 1,001 apart: the nearer one wins). Any other rate keeps a denominator up to
    1,001. Frames are placed on the tidy rate's grid by time, so tidying moves no frame by more than half a tick.
    """
    meant = min((*NTSC_RATES, Fraction(max(1, nearest(rate)))), key=lambda known: abs(known - rate))
    return meant if abs(meant - rate) * 1000 <= rate else rate.limit_denominator(1001)


def nearest_frames(times: Sequence[Fraction], end: Fraction, fps: Fraction) -> list[int]:
    """Constant rate from variable: the index of the frame nearest in time to each tick of `fps`.

    times: when each frame begins, ascending, in seconds; ticks start at times[0]. end: when the last frame ends.
    Raises ValueError without frames.
    """
    if not times:
        raise ValueError("nearest_frames needs at least one frame time")
    picks, index = [], 0
    for tick in range(frames_for(end - times[0], fps)):
        now = times[0] + Fraction(tick) / fps
        while index + 1 < len(times) and abs(times[index + 1] - now) <= abs(times[index] - now):
            index += 1
        picks.append(index)
    return picks


# -- frames and latent frames -----------------------------------------------------------------------------------------


def latent_frames(frames: int, temporal_factor: int = 4) -> int:
    """Latent frames that hold `frames` frames: the first frame has its own, then one per `temporal_factor`."""
    return 1 + -(-(frames - 1) // temporal_factor)


def decoded_frames(latents: int, temporal_factor: int = 4) -> int:
    """Frames that `latents` latent frames decode to: temporal_factor * (latents - 1) + 1."""
    return temporal_factor * (latents - 1) + 1


def padded_frames(frames: int, temporal_factor: int = 4) -> int:
    """The smallest temporal_factor * k + 1 that holds `frames` frames: generate it, keep the first `frames`."""
    return decoded_frames(latent_frames(frames, temporal_factor), temporal_factor)


# -- samples and audio tokens -----------------------------------------------------------------------------------------


def samples_for(frames: int, fps: Fraction | int, sample_rate: int) -> int:
    """Samples per channel that last as long as `frames` frames."""
    return nearest(seconds_for(frames, fps) * sample_rate)


def audio_tokens(samples: int, samples_per_token: int) -> int:
    """Audio tokens for `samples` samples: the nearest count, at least one (the paper's 218.02 tokens are 218)."""
    return max(1, nearest(Fraction(samples, samples_per_token)))

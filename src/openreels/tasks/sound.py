"""Sounds that are given: brought to a model's rate, silenced where they are made anew, joined with what was made.

Legend: K channels, S samples.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from openreels.media import Clip
from openreels.media.audio import fit_length, resample, to_mono
from openreels.media.timing import exact, nearest

__all__ = ["CROSSFADE", "MEMORY", "before", "heard", "joined", "lasting", "mixed", "replaced", "silenced"]

CROSSFADE = Fraction(1, 50)  # seconds: long enough not to click, too short to be heard

MEMORY = Fraction(3, 4)  # seconds of sound that a continuation has heard: always as many, so that it can be learnt


def before(audio_KS: np.ndarray, sample_rate: int, end: Fraction | float) -> np.ndarray:
    """The last `MEMORY` of what is heard before `end` (seconds), with silence in front where that is not enough."""
    stop, length = nearest(exact(end) * sample_rate), nearest(MEMORY * sample_rate)
    heard_KS = audio_KS[:, max(stop - length, 0) : stop]
    return np.pad(heard_KS, ((0, 0), (length - heard_KS.shape[1], 0)))


def heard(clip: Clip, sample_rate: int, channels: int) -> np.ndarray:
    """The clip's sound at a model's rate and with its channels, float32 (K, S)."""
    audio_KS = resample(clip.audio, clip.sample_rate, sample_rate)
    if audio_KS.shape[0] != channels:
        audio_KS = np.repeat(to_mono(audio_KS), channels, axis=0)
    return np.ascontiguousarray(audio_KS)


def lasting(clip: Clip, seconds: Fraction) -> np.ndarray:
    """The clip's sound as it is, cut or completed with silence to a length."""
    return fit_length(clip.audio, nearest(seconds * clip.sample_rate))


def mixed(sounds: list[np.ndarray]) -> np.ndarray:
    """Several (K, S) at once, as long as the longest."""
    longest = max(sound.shape[1] for sound in sounds)
    return np.sum([fit_length(sound, longest) for sound in sounds], axis=0, dtype=np.float32)


def silenced(audio_KS: np.ndarray, sample_rate: int, span: tuple[float, float]) -> np.ndarray:
    """Without what is heard in the span (seconds)."""
    start, end = (nearest(exact(second) * sample_rate) for second in span)
    audio_KS = audio_KS.copy()
    audio_KS[:, start:end] = 0
    return audio_KS


def replaced(kept_KS: np.ndarray, made_KS: np.ndarray, sample_rate: int, span: tuple[float, float]) -> np.ndarray:
    """`made` inside the span (seconds), `kept` outside, bit for bit; they cross inside, at either end."""
    start, end = (min(nearest(exact(second) * sample_rate), kept_KS.shape[1]) for second in span)
    fade = min(nearest(CROSSFADE * sample_rate), (end - start) // 2)
    weight_S = np.zeros(kept_KS.shape[1], np.float32)
    weight_S[start:end] = 1
    rise = _rise(fade)
    if start > 0:
        weight_S[start : start + fade] = rise
    if end < kept_KS.shape[1]:
        weight_S[end - fade : end] = rise[::-1]
    blend_KS = kept_KS * (1 - weight_S) + made_KS * weight_S
    return np.where(weight_S == 0, kept_KS, np.where(weight_S == 1, made_KS, blend_KS)).astype(np.float32)


def joined(before_KS: np.ndarray, made_KS: np.ndarray, overlap: int, sample_rate: int) -> np.ndarray:
    """A sound and its continuation, whose first `overlap` samples are the same time as the sound's last.

    They cross at the very end of the sound; before that it stays bit for bit.
    """
    fade = min(nearest(CROSSFADE * sample_rate), overlap)
    end, rise = before_KS.shape[1] - fade, _rise(fade)
    seam_KS = before_KS[:, end:] * (1 - rise) + made_KS[:, overlap - fade : overlap] * rise
    return np.concatenate([before_KS[:, :end], seam_KS, made_KS[:, overlap:]], axis=1, dtype=np.float32)


def _rise(samples: int) -> np.ndarray:
    """From just above 0 to just below 1."""
    return ((np.arange(samples) + 0.5) / max(samples, 1)).astype(np.float32)

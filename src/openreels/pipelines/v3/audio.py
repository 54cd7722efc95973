"""Speech on its way into the avatar model: 16 kHz, mono, -23 LUFS, one stretch of features per video frame.

Two loudness meters: `media.audio.loudness` is the standard's (ITU-R BS.1770-4); `official_loudness` here is the
one that the official code calls (pyloudnorm's default), whose two filters are another approximation of the standard's
and differ from it by some hundredths of a decibel. Source: shared/spec/v3.md, section 6.3.

Legend: N samples, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from torch import Tensor

from openreels.media import Clip
from openreels.media.audio import fit_length, loudness, resample, to_mono
from openreels.media.timing import exact, nearest
from openreels.pipelines.v3.plans import AVATAR_FPS, AVATAR_FRAMES
from openreels.request import RequestError

__all__ = ["SAMPLE_RATE", "Speech", "official_loudness", "official_speech", "soundtrack", "speech", "speech_of"]

SAMPLE_RATE = 16_000
TARGET_LUFS = -23.0
SHORTEST_SECONDS = 0.4  # one block of the loudness meter


@dataclass(frozen=True)
class Speech:
    """What one person says. sound: the original (C, N) float32 in [-1, 1]. start: second at which it begins."""

    sound: np.ndarray
    sample_rate: int
    start: float = 0.0

    @property
    def seconds(self) -> Fraction:
        return exact(self.start) + Fraction(self.sound.shape[1], self.sample_rate)


def speech_of(
    given: Clip | np.ndarray | Tensor, sample_rate: int | None, start: float = 0.0, name: str = "audio"
) -> Speech:
    """From a clip with sound, or (N,) or (C, N) samples with their rate. Raises ValueError: one sentence.

    Speech shorter than 0.4 s, or that ends after 200 s, is refused.
    """
    if isinstance(given, Clip):
        if given.audio is None:
            raise RequestError(f"{name} must have sound, and this clip is silent")
        sound, rate = given.audio, given.sample_rate
    else:
        sound = np.atleast_2d(np.asarray(given, dtype=np.float32))
        rate = sample_rate
        if not rate or rate <= 0:
            raise RequestError(f"{name} given as samples needs audio_sample_rate, in Hz")
        if sound.ndim != 2 or not np.isfinite(sound).all():
            raise RequestError(f"{name} must be finite samples (N,) or (C, N), not of shape {np.shape(given)}")
    seconds = sound.shape[1] / rate
    if seconds < SHORTEST_SECONDS:
        raise RequestError(f"{name} must last at least {SHORTEST_SECONDS} s, not {seconds:.2f} s")
    if start < 0:
        raise RequestError(f"{name} cannot start before the video, at {start} s")
    made = Speech(sound, rate, start)
    if made.seconds * AVATAR_FPS > AVATAR_FRAMES:
        raise RequestError(f"{name} must end by {AVATAR_FRAMES // AVATAR_FPS} s, not at {float(made.seconds):.1f} s")
    return made


# -- for the encoder --------------------------------------------------------------------------------------------------


def speech(given: Speech, seconds: Fraction) -> np.ndarray:
    """(N,) float32 at 16 kHz, -23 LUFS, silent where this person is: before the start, after the end, up to `seconds`.

    Silence keeps its level.
    """
    mono = resample(to_mono(given.sound), given.sample_rate, SAMPLE_RATE)
    measured = loudness(mono, SAMPLE_RATE)
    if np.isfinite(measured):
        mono = mono * np.float32(10 ** ((TARGET_LUFS - measured) / 20))
    before = np.zeros((1, nearest(exact(given.start) * SAMPLE_RATE)), np.float32)
    return fit_length(np.concatenate([before, mono], axis=1), ceil(seconds * SAMPLE_RATE))[0]


def official_speech(given: Speech) -> np.ndarray:
    """(N,) float64 at 16 kHz, -23 LUFS by `official_loudness`, as the official code prepares it.

    Resampled as librosa does it (soxr at high quality, the length rounded up); silence, whose loudness is not a
    number, stays as it is.
    """
    import soxr  # 0.1 s of import, needed here alone

    mono = to_mono(given.sound)[0]
    if given.sample_rate != SAMPLE_RATE:
        length = ceil(mono.size * SAMPLE_RATE / given.sample_rate)
        mono = fit_length(soxr.resample(mono, given.sample_rate, SAMPLE_RATE, quality="HQ")[None], length)[0]
    measured = official_loudness(mono, SAMPLE_RATE)
    return mono if not np.isfinite(measured) or abs(measured) > 100 else 10 ** ((TARGET_LUFS - measured) / 20) * mono


def official_loudness(mono_N: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS by the filters of pyloudnorm's default meter; -inf for silence."""
    filtered = filtered_by(mono_N, shelf(4.0, 1500.0, sample_rate), high_pass(38.0, 0.5, sample_rate))
    block, step = 0.4, 0.25
    count = int(np.round((mono_N.size / sample_rate - block) / (block * step))) + 1
    energy = np.concatenate([[0.0], np.cumsum(filtered**2)])
    index = np.arange(count)
    starts = (block * (index * step) * sample_rate).astype(int)
    ends = np.minimum((block * (index * step + 1) * sample_rate).astype(int), mono_N.size)
    power = (energy[ends] - energy[starts]) / (block * sample_rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = -0.691 + 10 * np.log10(np.maximum(power, 0))
        loud = levels >= -70
        if not loud.any():
            return float("-inf")
        gate = -0.691 + 10 * np.log10(power[loud].mean()) - 10
        loud = (levels > gate) & (levels > -70)
        return float(-0.691 + 10 * np.log10(power[loud].mean())) if loud.any() else float("-inf")


Biquad = tuple[tuple[float, float, float], tuple[float, float, float]]  # numerator, denominator in z^-1


def shelf(gain: float, frequency: float, sample_rate: int) -> Biquad:
    """High shelf of the audio EQ cookbook (R. Bristow-Johnson) with Q = 1/sqrt(2): `gain` dB above `frequency`."""
    amplitude, angle = 10 ** (gain / 40), 2 * np.pi * frequency / sample_rate
    cosine, slope = np.cos(angle), 2 * np.sqrt(amplitude) * np.sin(angle) / np.sqrt(2)
    more, less = amplitude + 1, amplitude - 1
    zeros = (
        amplitude * (more + less * cosine + slope),
        -2 * amplitude * (less + more * cosine),
        amplitude * (more + less * cosine - slope),
    )
    return zeros, (more - less * cosine + slope, 2 * (less - more * cosine), more - less * cosine - slope)


def high_pass(frequency: float, q: float, sample_rate: int) -> Biquad:
    """High-pass of the same cookbook."""
    angle = 2 * np.pi * frequency / sample_rate
    cosine, alpha = np.cos(angle), np.sin(angle) / (2 * q)
    return ((1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2), (1 + alpha, -2 * cosine, 1 - alpha)


def filtered_by(mono_N: np.ndarray, *biquads: Biquad) -> np.ndarray:
    """(N,) float64 through the filters: rational in frequency, so one FFT applies them; no recursion, no scipy."""
    size = mono_N.size + SAMPLE_RATE  # room for the tails, which would wrap around
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    response = np.ones_like(z)
    for zeros, poles in biquads:
        response *= np.polyval(zeros[::-1], z) / np.polyval(poles[::-1], z)
    return np.fft.irfft(np.fft.rfft(mono_N.astype(np.float64), size) * response, size)[: mono_N.size]


# -- for the result ---------------------------------------------------------------------------------------------------


def soundtrack(speeches: Sequence[Speech], seconds: Fraction) -> tuple[np.ndarray, int]:
    """((C, N) float32, sample rate) of what all say together, at the highest of their rates, `seconds` long.

    One person from second 0 keeps every sample and channel; sums of several are clipped to [-1, 1].
    """
    rate = max(each.sample_rate for each in speeches)
    channels = max(each.sound.shape[0] for each in speeches)
    length = nearest(seconds * rate)
    total = np.zeros((channels, length), np.float32)
    for each in speeches:
        sound = resample(each.sound, each.sample_rate, rate)
        sound = np.broadcast_to(to_mono(sound), (channels, sound.shape[1])) if len(sound) < channels else sound
        first = nearest(exact(each.start) * rate)
        part = sound[:, : max(0, length - first)]
        total[:, first : first + part.shape[1]] += part
    return np.clip(total, -1, 1) if len(speeches) > 1 else total, rate

"""Waveforms in memory: (C, N) float32 in [-1, 1], as in `Clip`."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from openreels.media.timing import nearest

__all__ = ["fit_length", "loudness", "peak", "resample", "to_mono"]


def resample(audio: np.ndarray, sample_rate: int, new_rate: int) -> np.ndarray:
    """(C, N) at `sample_rate` Hz -> (C, N * new_rate / sample_rate to the nearest sample) at `new_rate` Hz."""
    if sample_rate == new_rate:
        return audio
    import soxr  # 0.1 s of import, needed by few clips

    resampled = soxr.resample(audio.T, sample_rate, new_rate, quality="VHQ").T
    # soxr may be off by a sample; exact lengths are what keeps sound and picture together.
    return fit_length(resampled.astype(np.float32), nearest(Fraction(audio.shape[1] * new_rate, sample_rate)))


def to_mono(audio: np.ndarray) -> np.ndarray:
    """(C, N) -> (1, N): the mean of the channels."""
    return audio.mean(axis=0, keepdims=True, dtype=np.float32)


def fit_length(audio: np.ndarray, samples: int) -> np.ndarray:
    """(C, N) -> (C, samples): cut at the end, or silence appended."""
    missing = samples - audio.shape[1]
    return np.pad(audio, ((0, 0), (0, missing))) if missing > 0 else np.ascontiguousarray(audio[:, :samples])


def peak(audio: np.ndarray) -> float:
    """Sample peak in dBFS; -inf for digital silence."""
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(np.abs(audio).max()))


def loudness(audio: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4, gated); -inf for silence, and for less than one 400 ms block.

    Channels weigh 1 each: the standard's 1.41 for surrounds needs a layout, which a Clip does not keep.
    """
    block, hop = int(0.4 * sample_rate), int(0.1 * sample_rate)
    if audio.shape[1] < block:
        return float("-inf")
    energy = np.cumsum(np.pad(k_weighted(audio, sample_rate) ** 2, ((0, 0), (1, 0))), axis=1).sum(axis=0)
    starts = np.arange(0, audio.shape[1] - block + 1, hop)
    power = (energy[starts + block] - energy[starts]) / block

    def lufs(mean_power: np.ndarray) -> np.ndarray:
        return -0.691 + 10 * np.log10(np.maximum(mean_power, 1e-20))

    loud = power[lufs(power) > -70]
    if not loud.size:
        return float("-inf")
    loud = loud[lufs(loud) > lufs(loud.mean()) - 10]
    return float(lufs(loud.mean()))


def k_weighted(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(C, N) float64 through the standard's ear filter: a shelf (+4 dB above 1.7 kHz), then a high-pass at 38 Hz.

    The filters are rational in frequency, so one FFT applies both exactly: no recursive filter, no scipy.
    """
    size = audio.shape[1] + sample_rate // 2  # room for the filters' tail, which would wrap around
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))

    k = np.tan(np.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    shelf = (high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k)
    shelf_poles = (1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)

    k = np.tan(np.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    pass_poles = (1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k)

    def at(coefficients: tuple[float, float, float]) -> np.ndarray:
        return coefficients[0] + coefficients[1] * z + coefficients[2] * z * z

    # The standard leaves the high-pass numerator unnormalised (1, -2, 1) over poles normalised to 1.
    response = at(shelf) / at(shelf_poles) * at((1, -2, 1)) / at(pass_poles) * pass_poles[0]
    return np.fft.irfft(np.fft.rfft(audio.astype(np.float64), size) * response, size)[:, : audio.shape[1]]
